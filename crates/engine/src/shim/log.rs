//! Writing a container's log: Docker's json-file format, one JSON object a line.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use super::protocol::OutputStream;
use crate::private;

/// The longest piece of a line in one entry, in bytes (as Docker); a longer line becomes several entries, of which all
/// but the last lack the newline.
const MAX_ENTRY: usize = 16 * 1024;

/// One entry of the log.
#[derive(Serialize)]
struct Entry<'a> {
    log: &'a str,
    stream: OutputStream,
    time: &'a str,
}

/// A log that is being written. A full disk loses entries, says so in the log as soon as there is room, and never stops
/// the container.
#[derive(Debug)]
pub(super) struct ContainerLog {
    file: File,
    /// Length of the file up to the last complete entry.
    length: u64,
    /// Lines that have no newline yet, of standard output and of standard error.
    pending: [Vec<u8>; 2],
    /// How many entries could not be written, and why the last one could not.
    lost: u64,
    reason: String,
}

impl ContainerLog {
    /// Opens the log for appending; it is kept over restarts of the container.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = private::options().create(true).append(true).open(path)?;
        private::close_file(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            file,
            length,
            pending: Default::default(),
            lost: 0,
            reason: String::new(),
        })
    }

    /// Logs what the container has written.
    pub(super) fn write(&mut self, stream: OutputStream, bytes: &[u8]) {
        let mut line = std::mem::take(&mut self.pending[stream as usize]);
        line.extend_from_slice(bytes);
        let mut rest = &line[..];
        let mut entries = Vec::new();
        while let Some(length) = entry_length(rest) {
            let (entry, after) = rest.split_at(length);
            entries.push(entry);
            rest = after;
        }
        self.append(stream, &entries);
        self.pending[stream as usize] = rest.to_vec();
    }

    /// Logs the last line of a stream that has ended, which need not end with a newline.
    pub(super) fn finish(&mut self, stream: OutputStream) {
        let line = std::mem::take(&mut self.pending[stream as usize]);
        if !line.is_empty() {
            self.append(stream, &[&line]);
        }
    }

    fn append(&mut self, stream: OutputStream, entries: &[&[u8]]) {
        if entries.is_empty() {
            return;
        }
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
        let mut text = Vec::new();
        if self.lost > 0 {
            let note = format!("[zdocker: {} log entries lost: {}]\n", self.lost, self.reason);
            encode(&mut text, OutputStream::Stderr, &note, &time);
        }
        for entry in entries {
            encode(&mut text, stream, &String::from_utf8_lossy(entry), &time);
        }
        match self.file.write_all(&text) {
            Ok(()) => {
                self.length += text.len() as u64;
                self.lost = 0;
            }
            Err(error) => {
                self.lost += entries.len() as u64;
                self.reason = error.to_string();
                // Half an entry would make the next one unreadable too. Cutting a file short needs no space.
                let _ = self.file.set_len(self.length);
            }
        }
    }
}

/// How many bytes make the next entry: up to a newline, or as many as one may have; `None` when more are to come.
fn entry_length(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(MAX_ENTRY)];
    if let Some(newline) = head.iter().position(|byte| *byte == b'\n') {
        return Some(newline + 1);
    }
    if bytes.len() < MAX_ENTRY {
        return None;
    }
    // A character is not cut in two.
    match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => Some(error.valid_up_to()),
        _ => Some(head.len()),
    }
}

fn encode(text: &mut Vec<u8>, stream: OutputStream, log: &str, time: &str) {
    // Strings in memory can neither fail to be encoded nor to be written.
    let _ = serde_json::to_writer(&mut *text, &Entry { log, stream, time });
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entries(path: &Path) -> Vec<(String, String)> {
        let entry = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(chrono::DateTime::parse_from_rfc3339(value["time"].as_str().unwrap()).is_ok());
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            (text("stream"), text("log"))
        };
        fs::read_to_string(path).unwrap().lines().map(entry).collect()
    }

    fn pair(stream: &str, log: &str) -> (String, String) {
        (stream.to_owned(), log.to_owned())
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = ContainerLog::open(&path).unwrap();
        log.write(OutputStream::Stdout, b"one\ntw");
        log.write(OutputStream::Stderr, b"err \xff \"quoted\"\n");
        log.write(OutputStream::Stdout, b"o\n\nlast");
        log.finish(OutputStream::Stdout);
        log.finish(OutputStream::Stderr);
        let expected = [
            pair("stdout", "one\n"),
            pair("stderr", "err \u{fffd} \"quoted\"\n"),
            pair("stdout", "two\n"),
            pair("stdout", "\n"),
            pair("stdout", "last"),
        ];
        assert_eq!(entries(&path), expected);
    }

    #[test]
    fn a_long_line_becomes_several_entries_of_whole_characters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let line = format!("{}\u{20ac}end\n", "x".repeat(MAX_ENTRY - 1));
        let mut log = ContainerLog::open(&path).unwrap();
        line.as_bytes()
            .chunks(1000)
            .for_each(|chunk| log.write(OutputStream::Stdout, chunk));
        let entries = entries(&path);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].1.len(), MAX_ENTRY - 1);
        assert_eq!(entries[1].1, "\u{20ac}end\n");
    }

    #[test]
    fn a_full_disk_loses_entries_but_not_the_format() {
        let disk = crate::test_support::SmallDisk::new();
        let path = disk.path().join("log");
        let mut log = ContainerLog::open(&path).unwrap();
        log.write(OutputStream::Stdout, b"before\n");
        let filler = disk.fill();
        for _ in 0..200 {
            log.write(OutputStream::Stdout, &[b'x'; 100]);
            log.write(OutputStream::Stdout, b"\n");
        }
        assert!(log.lost > 0);
        fs::remove_file(filler).unwrap();
        log.write(OutputStream::Stdout, b"after\n");
        let entries = entries(&path);
        assert_eq!(entries[0], pair("stdout", "before\n"));
        let note = &entries[entries.len() - 2];
        assert_eq!(note.0, "stderr");
        assert!(note.1.contains("log entries lost: No space left on device"), "{note:?}");
        assert_eq!(entries[entries.len() - 1], pair("stdout", "after\n"));
    }
}
