//! The shim's ends of a container's standard streams.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::pipe::PipeFlags;

use super::protocol::{OutputStream, StartRequest};
use crate::runtime::ProcessStdio;
use crate::runtime::console::ConsoleSocket;
use crate::terminal::WindowSize;

/// How much input is kept for a container that does not read it, in bytes; then its clients wait.
const MAX_INPUT: usize = 64 * 1024;

/// What the shim reads from and writes to; nothing of it blocks.
#[derive(Debug)]
pub(super) struct ContainerStdio {
    /// What the container writes, until it ends.
    pub(super) outputs: Vec<(OutputStream, File)>,
    /// Where input goes; `None` when the container has none (any more).
    pub(super) input: Option<Input>,
    /// The terminal's master end.
    terminal: Option<File>,
}

/// Streams whose other ends the runtime has not taken yet.
pub(super) enum Pending {
    Pipes(ContainerStdio),
    Terminal(ConsoleSocket, Option<WindowSize>),
}

impl Pending {
    /// The shim's side and the runtime's side.
    pub(super) fn new(request: &StartRequest, run_dir: &Path) -> io::Result<(Self, ProcessStdio)> {
        if request.tty {
            let socket = ConsoleSocket::bind(run_dir, "console.sock")?;
            let stdio = ProcessStdio::Terminal {
                console_socket: socket.path().to_owned(),
            };
            return Ok((Self::Terminal(socket, request.window), stdio));
        }
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (input, stdin) = match request.open_stdin {
            true => pipe().map(|(reader, writer)| (Some(writer), reader))?,
            false => (None, File::open("/dev/null")?.into()),
        };
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let shim = ContainerStdio {
            outputs: vec![
                (OutputStream::Stdout, nonblocking(out)?),
                (OutputStream::Stderr, nonblocking(err)?),
            ],
            input: input.map(nonblocking).transpose()?.map(Input::new),
            terminal: None,
        };
        Ok((Self::Pipes(shim), ProcessStdio::Descriptors { stdin, stdout, stderr }))
    }

    /// The shim's side, now that the runtime has created the container.
    pub(super) fn ready(self) -> io::Result<ContainerStdio> {
        let (socket, window) = match self {
            Self::Pipes(stdio) => return Ok(stdio),
            Self::Terminal(socket, window) => (socket, window),
        };
        let master = nonblocking(socket.receive()?)?;
        if let Some(size) = window {
            size.apply(&master)?;
        }
        Ok(ContainerStdio {
            outputs: vec![(OutputStream::Stdout, master.try_clone()?)],
            input: Some(Input::new(master.try_clone()?)),
            terminal: Some(master),
        })
    }
}

impl ContainerStdio {
    /// Reads from the output at `index`; `None` at its end, 0 when there is nothing at the moment.
    pub(super) fn read(&mut self, index: usize, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.outputs[index].1.read(buffer) {
                Ok(0) => return None,
                Ok(length) => return Some(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(0),
                // A terminal that nobody has open any more says EIO.
                Err(_) => return None,
            }
        }
    }

    /// Gives the terminal a new size.
    pub(super) fn resize(&self, size: WindowSize) {
        if let Some(terminal) = &self.terminal {
            // A terminal that hangs up at this moment needs no size.
            let _ = size.apply(terminal);
        }
    }
}

/// Standard input of the container.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    waiting: Vec<u8>,
    ended: bool,
}

impl Input {
    fn new(file: File) -> Self {
        Self {
            file,
            waiting: Vec::new(),
            ended: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether there is something to write.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether clients must wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_INPUT
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.waiting.extend_from_slice(bytes);
        }
    }

    /// There will be no more input than what is waiting.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Writes what the container takes; false when that was the last of it, or the container takes no more.
    pub(super) fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        !self.ended
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<File> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(File::from(fd))
}
