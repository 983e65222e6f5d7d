//! Reading a container's log, in Docker's json-file format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;

use crate::containers::paths::ContainerPaths;
use crate::shim::attach::Attachment;
use crate::shim::protocol::{OutputStream, Streams};

/// What part of a log to show, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Go on until the container ends.
    pub follow: bool,
}

#[derive(Deserialize)]
struct Entry {
    log: String,
    stream: OutputStream,
    time: String,
}

/// Copies the container's log, what it wrote on standard output to `stdout` and the rest to `stderr`. A container that
/// has never run has an empty log.
///
/// # Errors
/// When the log cannot be read or the output not be written.
pub fn copy(
    paths: &ContainerPaths,
    options: LogOptions,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<()> {
    // First the connection: what is written after the end of the file was seen is announced by it.
    let running = if options.follow {
        Attachment::connect(paths, Streams::default()).ok()
    } else {
        None
    };
    let mut file = match File::open(paths.log()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(lines) = options.tail {
        let start = tail_start(&file, lines)?;
        file.seek(SeekFrom::Start(start))?;
    }
    let mut printer = Printer {
        timestamps: options.timestamps,
        at_start: [true; 2],
        stdout,
        stderr,
    };
    let mut reader = BufReader::new(file);
    match running {
        Some(shim) => follow(&mut reader, &paths.log(), &shim, &mut printer),
        None => print_all(&mut reader, &mut Vec::new(), &mut printer),
    }
}

/// Prints what is there and what comes, until the shim says that the container has ended, or dies.
fn follow(reader: &mut impl BufRead, path: &Path, shim: &Attachment, printer: &mut Printer) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    // A log that is removed at this moment belongs to a container that has ended.
    let _ = inotify.add_watch(path, AddWatchFlags::IN_MODIFY);
    let mut partial = Vec::new();
    loop {
        print_all(reader, &mut partial, printer)?;
        let mut fds = [
            PollFd::new(inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(shim.socket().as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = fds[1].revents().is_some_and(|events| !events.is_empty());
        while inotify.read_events().is_ok() {}
        if ended {
            return print_all(reader, &mut partial, printer);
        }
    }
}

/// Prints every complete entry; an entry that is being written stays in `partial`.
fn print_all(reader: &mut impl BufRead, partial: &mut Vec<u8>, printer: &mut Printer) -> io::Result<()> {
    while reader.read_until(b'\n', partial)? > 0 {
        if partial.last() == Some(&b'\n') {
            // A line that is no entry was cut short by a crash.
            if let Ok(entry) = serde_json::from_slice(partial) {
                printer.print(&entry)?;
            }
            partial.clear();
        }
    }
    printer.flush()
}

/// The offset of the last `lines` lines of output; a long line of several entries counts once.
fn tail_start(file: &File, lines: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let length = file.metadata()?.len();
    // Backwards, block by block, until enough ends of lines are in sight.
    let (mut start, mut text) = (length, Vec::new());
    while start > 0 {
        let size = start.min(BLOCK);
        start -= size;
        let mut block = vec![0; size as usize];
        file.read_exact_at(&mut block, start)?;
        block.append(&mut text);
        text = block;
        if let Some(offset) = nth_last_line(&text, lines, start == 0) {
            return Ok(start + offset as u64);
        }
    }
    Ok(0)
}

/// Where in `text` the last `lines` lines begin; `None` when more text is needed. `complete` says that `text` begins at
/// the start of the log.
fn nth_last_line(text: &[u8], lines: usize, complete: bool) -> Option<usize> {
    let mut offset = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if lines == 0 {
        return Some(offset);
    }
    let (mut found, mut first) = (0, true);
    while offset > 0 {
        let before = &text[..offset - 1];
        let newline = before.iter().rposition(|byte| *byte == b'\n');
        let begin = newline.map(|end| end + 1).or(complete.then_some(0))?;
        // An entry that ends a line, and the last one whatever it is, begins a new line when seen from behind.
        if first || ends_line(&text[begin..offset]) {
            if found == lines {
                return Some(offset);
            }
            found += 1;
        }
        first = false;
        offset = begin;
    }
    complete.then_some(0)
}

fn ends_line(entry: &[u8]) -> bool {
    serde_json::from_slice::<Entry>(entry).map_or(true, |entry| entry.log.ends_with('\n'))
}

struct Printer<'a> {
    timestamps: bool,
    /// Whether the next entry of standard output, and of standard error, begins a line.
    at_start: [bool; 2],
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
}

impl Printer<'_> {
    fn print(&mut self, entry: &Entry) -> io::Result<()> {
        let out = match entry.stream {
            OutputStream::Stdout => &mut *self.stdout,
            OutputStream::Stderr => &mut *self.stderr,
        };
        let at_start = &mut self.at_start[entry.stream as usize];
        if self.timestamps && *at_start {
            write!(out, "{} ", entry.time)?;
        }
        *at_start = entry.log.ends_with('\n');
        out.write_all(entry.log.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()?;
        self.stderr.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log_of(entries: &[(&str, &str)]) -> (tempfile::TempDir, ContainerPaths) {
        let root = tempfile::tempdir().unwrap();
        let paths = ContainerPaths::new(root.path(), root.path(), "c");
        fs::create_dir_all(paths.state_dir()).unwrap();
        let line = |(stream, log): &(&str, &str)| {
            let log = serde_json::to_string(log).unwrap();
            format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"T\"}}\n")
        };
        fs::write(paths.log(), entries.iter().map(line).collect::<String>()).unwrap();
        (root, paths)
    }

    fn show(paths: &ContainerPaths, options: LogOptions) -> (String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        copy(paths, options, &mut stdout, &mut stderr).unwrap();
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn streams_are_kept_apart_and_times_begin_lines_only() {
        let (_root, paths) = log_of(&[
            ("stdout", "a\n"),
            ("stderr", "e\n"),
            ("stdout", "long"),
            ("stdout", " line\n"),
        ]);
        assert_eq!(
            show(&paths, LogOptions::default()),
            ("a\nlong line\n".into(), "e\n".into())
        );
        let timestamps = LogOptions {
            timestamps: true,
            ..Default::default()
        };
        assert_eq!(show(&paths, timestamps), ("T a\nT long line\n".into(), "T e\n".into()));
    }

    #[test]
    fn the_tail_counts_lines_and_not_entries() {
        let entries = [
            ("stdout", "a\n"),
            ("stdout", "b"),
            ("stdout", "c\n"),
            ("stdout", "d\n"),
            ("stdout", "e"),
        ];
        let (_root, paths) = log_of(&entries);
        let tail = |lines| {
            show(
                &paths,
                LogOptions {
                    tail: Some(lines),
                    ..Default::default()
                },
            )
            .0
        };
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "e");
        assert_eq!(tail(2), "d\ne");
        assert_eq!(tail(3), "bc\nd\ne");
        assert_eq!(tail(4), "a\nbc\nd\ne");
        assert_eq!(tail(100), "a\nbc\nd\ne");
    }

    #[test]
    fn a_tail_longer_than_one_block() {
        let lines: Vec<String> = (0..5000).map(|number| format!("line {number}\n")).collect();
        let entries: Vec<_> = lines.iter().map(|line| ("stdout", line.as_str())).collect();
        let (_root, paths) = log_of(&entries);
        let tail = show(
            &paths,
            LogOptions {
                tail: Some(3000),
                ..Default::default()
            },
        )
        .0;
        assert_eq!(tail, lines[2000..].concat());
    }

    #[test]
    fn no_log_is_an_empty_log_and_rubbish_is_skipped() {
        let (_root, paths) = log_of(&[("stdout", "a\n")]);
        let mut text = fs::read(paths.log()).unwrap();
        text.extend_from_slice(b"half an entry\n");
        text.extend_from_slice(b"{\"log\":\"being writ");
        fs::write(paths.log(), text).unwrap();
        assert_eq!(show(&paths, LogOptions::default()).0, "a\n");
        fs::remove_file(paths.log()).unwrap();
        assert_eq!(
            show(
                &paths,
                LogOptions {
                    follow: true,
                    ..Default::default()
                }
            )
            .0,
            ""
        );
    }
}
