//! What a client has not read yet. A slow client holds up nobody: beyond a little memory, its output goes to a file
//! without a name, and it gets every byte of it in the end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::private;

/// How much is kept in memory, in bytes.
const MEMORY: usize = 64 * 1024;

/// Bytes on their way to a client, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    directory: PathBuf,
    /// The oldest bytes, to be written next from `sent` on.
    memory: Vec<u8>,
    sent: usize,
    /// Later bytes.
    overflow: Option<Overflow>,
}

#[derive(Debug)]
struct Overflow {
    file: File,
    read: u64,
    written: u64,
}

impl Outbox {
    /// An empty outbox, whose overflow file would be made in `directory`.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            memory: Vec::new(),
            sent: 0,
            overflow: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.memory.len() && self.overflow.is_none()
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.overflow.is_none() && self.memory.len() - self.sent + bytes.len() <= MEMORY {
            self.memory.drain(..self.sent);
            self.sent = 0;
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let overflow = match &mut self.overflow {
            Some(overflow) => overflow,
            none => none.insert(Overflow::new(&self.directory)?),
        };
        overflow.file.write_all_at(bytes, overflow.written)?;
        overflow.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes as much as `socket`, which does not block, takes.
    pub(super) fn flush(&mut self, mut socket: impl Write) -> io::Result<()> {
        loop {
            if self.sent == self.memory.len() && !self.refill()? {
                return Ok(());
            }
            match socket.write(&self.memory[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the next bytes out of the overflow; false when there are none.
    fn refill(&mut self) -> io::Result<bool> {
        self.memory.clear();
        self.sent = 0;
        let Some(overflow) = &mut self.overflow else {
            // An idle client holds no memory.
            self.memory.shrink_to_fit();
            return Ok(false);
        };
        let length = (overflow.written - overflow.read).min(MEMORY as u64);
        self.memory.resize(length as usize, 0);
        overflow.file.read_exact_at(&mut self.memory, overflow.read)?;
        overflow.read += length;
        if overflow.read == overflow.written {
            self.overflow = None;
        }
        Ok(true)
    }
}

impl Overflow {
    fn new(directory: &Path) -> io::Result<Self> {
        let path = directory.join("overflow");
        let file = private::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self {
            file,
            read: 0,
            written: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_client_that_does_not_read_gets_everything_later() {
        let dir = tempfile::tempdir().unwrap();
        let (shim, mut client) = UnixStream::pair().unwrap();
        shim.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::new(dir.path());
        let mut expected = Vec::new();
        for number in 0..20_000u32 {
            let bytes = format!("line {number} of a talkative container\n").into_bytes();
            outbox.push(&bytes).unwrap();
            outbox.flush(&shim).unwrap();
            expected.extend(bytes);
        }
        assert!(outbox.overflow.is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut received = vec![0; expected.len()];
        let mut length = 0;
        while length < expected.len() {
            length += client.read(&mut received[length..]).unwrap();
            outbox.flush(&shim).unwrap();
        }
        assert!(received == expected && outbox.is_empty());
    }

    #[test]
    fn a_client_that_is_gone_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (shim, client) = UnixStream::pair().unwrap();
        drop(client);
        let mut outbox = Outbox::new(dir.path());
        outbox.push(b"x").unwrap();
        assert_eq!(outbox.flush(&shim).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
