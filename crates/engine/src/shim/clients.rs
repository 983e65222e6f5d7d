//! The clients that are attached to a container: its launcher, and whoever came by the socket.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::outbox::Outbox;
use super::protocol::{Frame, FrameReader, OutputStream, Streams};

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: UnixStream,
    inbox: FrameReader,
    outbox: Outbox,
    streams: Streams,
    /// Whether the end of this client is the end of the container's input.
    pub(super) owns_stdin: bool,
}

/// What has come from a client.
pub(super) enum Received {
    /// Whole frames, perhaps none.
    Frames(Vec<Frame>),
    /// The client is gone, or talks nonsense.
    Gone,
}

impl Client {
    /// A client on `socket` that gets `streams`; `directory` is for what it is slow to read.
    pub(super) fn new(socket: UnixStream, streams: Streams, directory: &Path) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (inbox, outbox) = (FrameReader::default(), Outbox::new(directory));
        Ok(Self {
            socket,
            inbox,
            outbox,
            streams,
            owns_stdin: false,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn attach(&mut self, streams: Streams) {
        self.streams = streams;
    }

    /// Whether the client may write to the container's standard input.
    pub(super) fn feeds_stdin(&self) -> bool {
        self.streams.stdin
    }

    /// Whether the client wants this stream.
    pub(super) fn wants(&self, stream: OutputStream) -> bool {
        match stream {
            OutputStream::Stdout => self.streams.stdout,
            OutputStream::Stderr => self.streams.stderr,
        }
    }

    /// Sends bytes that are encoded already; an error means that the client is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outbox.push(bytes)?;
        self.flush()
    }

    /// Sends what the client takes of what is waiting.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.outbox.flush(&self.socket)
    }

    /// Reads what has come, as much as `buffer` holds.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match (&self.socket).read(buffer) {
            Ok(0) => return Received::Gone,
            Ok(length) => self.inbox.extend(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return Received::Gone,
        }
        let mut frames = Vec::new();
        loop {
            match self.inbox.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return Received::Frames(frames),
                Err(_) => return Received::Gone,
            }
        }
    }
}
