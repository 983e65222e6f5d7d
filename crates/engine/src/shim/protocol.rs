//! What the shim and its clients say to each other, over one stream socket: frames of a kind (one byte), a length (four
//! bytes, little endian) and a payload.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zdocker_net::publish::Relay;

use crate::containers::paths::ContainerPaths;
use crate::runtime::RuntimeError;
use crate::signals::ProcessRef;
use crate::terminal::WindowSize;

/// The longest payload, in bytes; a longer one is no frame of ours.
const MAX_PAYLOAD: usize = 128 * 1024;

/// Kind and length.
const HEADER: usize = 5;

/// What the launcher asks of the shim: create and start the container of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The container's files; its bundle is complete.
    pub paths: ContainerPaths,
    /// An OCI runtime binary, in place of the embedded runtime.
    pub runtime: Option<PathBuf>,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// Whether standard input is kept open for clients.
    pub open_stdin: bool,
    /// The terminal's first size.
    pub window: Option<WindowSize>,
    /// What the launcher itself attaches to, from the first byte on; `None` for a detached container. When it attaches
    /// to standard input, the end of its input (or of itself) is the end of the container's.
    pub attach: Option<Streams>,
    /// What the shim relays from `::1` while the container runs.
    pub relays: Vec<Relay>,
}

/// The streams of the container that a client attaches to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The client may write to the container's standard input.
    pub stdin: bool,
    /// The client gets standard output (with a terminal: everything).
    pub stdout: bool,
    /// The client gets standard error.
    pub stderr: bool,
}

/// One of the two streams that a container writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output; with a terminal, everything.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a container's init process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// What it exited with, 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// What the shim answers to a [`StartRequest`].
pub type StartResult = Result<ProcessRef, RuntimeError>;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Launcher to shim, once: make the container.
    Start(Box<StartRequest>),
    /// Shim to launcher, once.
    Started(StartResult),
    /// The first frame of every later client.
    Attach(Streams),
    /// Client to shim.
    Stdin(Vec<u8>),
    /// Client to shim: there is no more input.
    StdinEnd,
    /// Client to shim: the client's terminal has this size.
    Resize(WindowSize),
    /// Client to shim: send this signal to the container's init process.
    Signal(i32),
    /// Client to shim: the client leaves, its input has not ended.
    Detach,
    /// Shim to client.
    Output(OutputStream, Vec<u8>),
    /// Shim to client, last: the container has ended and everything of it is cleaned up.
    Exit(ExitStatus),
    /// Client to shim: relay these from `::1`, and nothing else from now on.
    Relay(Vec<Relay>),
    /// Shim to client: it is so, but for what is wrong.
    Relayed(Vec<String>),
}

impl Frame {
    /// Appends the frame to `buffer`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let start = buffer.len();
        buffer.extend([self.kind(), 0, 0, 0, 0]);
        match self {
            Self::Start(request) => serde_json::to_writer(&mut *buffer, request)?,
            Self::Started(result) => serde_json::to_writer(&mut *buffer, result)?,
            Self::Attach(streams) => serde_json::to_writer(&mut *buffer, streams)?,
            Self::Resize(size) => serde_json::to_writer(&mut *buffer, size)?,
            Self::Signal(number) => serde_json::to_writer(&mut *buffer, number)?,
            Self::Exit(status) => serde_json::to_writer(&mut *buffer, status)?,
            Self::Relay(relays) => serde_json::to_writer(&mut *buffer, relays)?,
            Self::Relayed(warnings) => serde_json::to_writer(&mut *buffer, warnings)?,
            Self::Stdin(data) | Self::Output(_, data) => buffer.extend_from_slice(data),
            Self::StdinEnd | Self::Detach => {}
        }
        let length = buffer.len() - start - HEADER;
        let length = u32::try_from(length)
            .ok()
            .filter(|length| *length as usize <= MAX_PAYLOAD);
        let length = length.ok_or_else(|| io::Error::other("a message to or from the shim is too long"))?;
        buffer[start + 1..start + HEADER].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Start(_) => 1,
            Self::Started(_) => 2,
            Self::Attach(_) => 3,
            Self::Stdin(_) => 4,
            Self::StdinEnd => 5,
            Self::Resize(_) => 6,
            Self::Signal(_) => 7,
            Self::Detach => 8,
            Self::Output(OutputStream::Stdout, _) => 9,
            Self::Output(OutputStream::Stderr, _) => 10,
            Self::Exit(_) => 11,
            Self::Relay(_) => 12,
            Self::Relayed(_) => 13,
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> io::Result<Self> {
        fn json<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
            Ok(serde_json::from_slice(payload)?)
        }
        Ok(match kind {
            1 => Self::Start(json(payload)?),
            2 => Self::Started(json(payload)?),
            3 => Self::Attach(json(payload)?),
            4 => Self::Stdin(payload.to_vec()),
            5 => Self::StdinEnd,
            6 => Self::Resize(json(payload)?),
            7 => Self::Signal(json(payload)?),
            8 => Self::Detach,
            9 => Self::Output(OutputStream::Stdout, payload.to_vec()),
            10 => Self::Output(OutputStream::Stderr, payload.to_vec()),
            11 => Self::Exit(json(payload)?),
            12 => Self::Relay(json(payload)?),
            13 => Self::Relayed(json(payload)?),
            other => return Err(invalid(format!("unknown message kind {other}"))),
        })
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Puts frames together from the bytes of a socket.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
}

impl FrameReader {
    /// Takes more bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Err(invalid(format!("a message of {length} bytes")));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame::decode(kind, payload)?;
        self.bytes.drain(..HEADER + length);
        Ok(Some(frame))
    }

    /// Waits for a frame on a blocking socket; `None` at its end.
    pub(crate) fn wait(&mut self, mut socket: impl Read) -> io::Result<Option<Frame>> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(frame) = self.next()? {
                return Ok(Some(frame));
            }
            match socket.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(length) => self.extend(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sends one frame on a blocking socket.
pub(crate) fn send(mut socket: impl Write, frame: &Frame) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes)?;
    socket.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_whole_however_they_are_cut() {
        let frames = [
            Frame::Attach(Streams {
                stdin: true,
                stdout: true,
                stderr: false,
            }),
            Frame::Stdin(vec![0, 255, 10]),
            Frame::StdinEnd,
            Frame::Resize(WindowSize { rows: 24, columns: 80 }),
            Frame::Signal(15),
            Frame::Detach,
            Frame::Output(OutputStream::Stdout, b"out".to_vec()),
            Frame::Output(OutputStream::Stderr, Vec::new()),
            Frame::Started(Err(RuntimeError::failed("create", "why"))),
            Frame::Exit(ExitStatus {
                code: 137,
                signal: Some(9),
            }),
            Frame::Relay(vec![Relay {
                protocol: zdocker_net::ports::Protocol::Tcp,
                port: 8080,
                to: "[fd00::2]:80".parse().unwrap(),
            }]),
            Frame::Relayed(vec!["why".to_owned()]),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes).unwrap());
        let mut reader = FrameReader::default();
        let mut received = Vec::new();
        for byte in bytes {
            reader.extend(&[byte]);
            received.extend(reader.next().unwrap());
        }
        assert_eq!(received, frames);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let check = |bytes: &[u8]| {
            let mut reader = FrameReader::default();
            reader.extend(bytes);
            assert_eq!(reader.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
        };
        check(&[0, 0, 0, 0, 0]);
        check(&[4, 255, 255, 255, 255]);
        check(&[3, 1, 0, 0, 0, b'x']);
    }
}
