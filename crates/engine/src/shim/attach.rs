//! The client's side of an attached container.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use zdocker_net::publish::Relay;

use super::protocol::{ExitStatus, Frame, FrameReader, OutputStream, Streams, send};
use crate::containers::paths::ContainerPaths;
use crate::runtime::console;
use crate::terminal::{DetachKeys, RawMode, WindowSize};

/// How much is read at once, in bytes; well below what a frame may hold.
const CHUNK: usize = 32 * 1024;

/// The signals that are passed on to a container without a terminal, or end the client of one with.
const PROXIED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// A connection to a running container's streams.
#[derive(Debug)]
pub struct Attachment {
    socket: UnixStream,
    inbox: FrameReader,
    streams: Streams,
}

/// How an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachEnd {
    /// The container ended, and everything of it is cleaned up.
    Exited(ExitStatus),
    /// The user typed the detach keys (ctrl-p ctrl-q); the container goes on.
    Detached,
    /// This process was told to end by a signal, of that number; the container, which has a terminal, goes on.
    Interrupted(i32),
}

/// Why attaching failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nobody listens: the container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The connection broke before the container's end was known.
    #[error("lost the connection to the container's shim: {0}")]
    Lost(io::Error),
    /// Our own standard streams cannot be read or written; the container goes on.
    #[error("cannot {action}: {source}")]
    Caller {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Attachment {
    pub(super) fn new(socket: UnixStream, inbox: FrameReader, streams: Streams) -> Self {
        Self { socket, inbox, streams }
    }

    /// Attaches to a running container.
    ///
    /// # Errors
    /// [`AttachError::NotRunning`] when it does not run.
    pub fn connect(paths: &ContainerPaths, streams: Streams) -> Result<Self, AttachError> {
        let connected = console::by_short_path(&paths.attach_socket(), |path| UnixStream::connect(path));
        let socket = connected.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AttachError::NotRunning(paths.id().to_owned())
            }
            _ => AttachError::Lost(error),
        })?;
        send(&socket, &Frame::Attach(streams)).map_err(AttachError::Lost)?;
        Ok(Self::new(socket, FrameReader::default(), streams))
    }

    /// Has the shim relay these from `::1` and nothing else; gives what is wrong. When the container, whose first
    /// process is `init`, ends meanwhile, nothing is: the shim then answers only after it has taken everything down.
    ///
    /// # Errors
    /// [`AttachError::Lost`] when the shim dies, or is of a zdocker that relays nothing.
    pub(crate) fn relay_from_loopback(
        mut self,
        relays: Vec<Relay>,
        init: &OwnedFd,
    ) -> Result<Vec<String>, AttachError> {
        send(&self.socket, &Frame::Relay(relays)).map_err(AttachError::Lost)?;
        let mut buffer = [0; 4096];
        loop {
            match self.inbox.next().map_err(AttachError::Lost)? {
                Some(Frame::Relayed(warnings)) => return Ok(warnings),
                Some(_) => continue,
                None => {}
            }
            let mut fds = [self.socket.as_fd(), init.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(AttachError::Lost(error.into())),
            }
            let [answered, ended] = fds.map(|fd| fd.any().unwrap_or(true));
            if answered {
                match self.socket.read(&mut buffer) {
                    Ok(0) => return Err(AttachError::Lost(io::ErrorKind::UnexpectedEof.into())),
                    Ok(length) => self.inbox.extend(&buffer[..length]),
                    Err(error) if is_transient(&error) => {}
                    Err(error) => return Err(AttachError::Lost(error)),
                }
            } else if ended {
                return Ok(Vec::new());
            }
        }
    }

    /// The socket, which is readable when the container has written, or has ended.
    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Waits for the container's end; whatever it writes is thrown away.
    ///
    /// # Errors
    /// [`AttachError::Lost`] when the shim dies.
    pub fn wait(mut self) -> Result<ExitStatus, AttachError> {
        loop {
            match self.inbox.wait(&self.socket).map_err(AttachError::Lost)? {
                Some(Frame::Exit(status)) => return Ok(status),
                Some(_) => {}
                None => return Err(AttachError::Lost(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Copies between our standard streams and the container's until it ends or the user detaches. With `tty`, our
    /// terminal is in raw mode meanwhile; without, INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to the container.
    /// Call it in a process with a single thread.
    ///
    /// # Errors
    /// When the shim dies, or our own streams fail. Our terminal is as it was in any case.
    pub fn relay(self, tty: bool) -> Result<AttachEnd, AttachError> {
        let caller = |action| move |source| AttachError::Caller { action, source };
        let watched = SigSet::from_iter(PROXIED.into_iter().chain([Signal::SIGWINCH]));
        let earlier = watched.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK);
        let earlier = earlier.map_err(|error| caller("watch signals")(error.into()))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let end = SignalFd::with_flags(&watched, flags)
            .map_err(|error| caller("watch signals")(error.into()))
            .and_then(|signals| {
                let raw = match tty && self.streams.stdin {
                    true => RawMode::enter(rustix::stdio::stdin()).map_err(caller("use the terminal"))?,
                    false => None,
                };
                let end = Copier::new(self, signals, tty)?.run();
                drop(raw);
                end
            });
        // Signals that came meanwhile act as they would have.
        let _ = earlier.thread_set_mask();
        end
    }
}

/// The state of one relay.
struct Copier {
    attachment: Attachment,
    signals: SignalFd,
    tty: bool,
    /// Whether our standard input still has something for the container.
    reads_stdin: bool,
    keys: DetachKeys,
    /// What the shim has not taken yet.
    outbox: Vec<u8>,
    buffer: Vec<u8>,
}

impl Copier {
    fn new(attachment: Attachment, signals: SignalFd, tty: bool) -> Result<Self, AttachError> {
        attachment.socket.set_nonblocking(true).map_err(AttachError::Lost)?;
        let reads_stdin = attachment.streams.stdin;
        let (keys, outbox, buffer) = (DetachKeys::default(), Vec::new(), vec![0; CHUNK]);
        let mut relay = Self {
            attachment,
            signals,
            tty,
            reads_stdin,
            keys,
            outbox,
            buffer,
        };
        relay.resize()?;
        Ok(relay)
    }

    fn run(mut self) -> Result<AttachEnd, AttachError> {
        loop {
            // What came with the answer to a start request is here before anything is readable.
            while let Some(frame) = self.attachment.inbox.next().map_err(AttachError::Lost)? {
                if let Some(end) = self.obey(frame)? {
                    return Ok(end);
                }
            }
            let (from_shim, to_shim, signals, stdin) = self.poll()?;
            let end = match () {
                () if signals => self.take_signals()?,
                () if to_shim => self.flush().map(|()| None)?,
                () if from_shim => self.receive().map(|()| None)?,
                () if stdin => self.read_stdin()?,
                () => None,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Which of these is ready: reading from and writing to the shim, signals, standard input.
    fn poll(&self) -> Result<(bool, bool, bool, bool), AttachError> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, !self.outbox.is_empty());
        let mut fds = vec![
            PollFd::new(self.attachment.socket.as_fd(), events),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        let stdin = rustix::stdio::stdin();
        if self.reads_stdin && self.outbox.is_empty() {
            fds.push(PollFd::new(stdin, PollFlags::POLLIN));
        }
        while let Err(error) = poll(&mut fds, PollTimeout::NONE) {
            if error != Errno::EINTR {
                return Err(AttachError::Lost(error.into()));
            }
        }
        let events = |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let shim = events(0);
        let writable = shim.contains(PollFlags::POLLOUT);
        Ok((
            !(shim - PollFlags::POLLOUT).is_empty(),
            writable,
            !events(1).is_empty(),
            !events(2).is_empty(),
        ))
    }

    fn obey(&mut self, frame: Frame) -> Result<Option<AttachEnd>, AttachError> {
        match frame {
            Frame::Exit(status) => Ok(Some(AttachEnd::Exited(status))),
            Frame::Output(stream, bytes) => {
                let written = match stream {
                    OutputStream::Stdout => write(io::stdout().lock(), &bytes),
                    OutputStream::Stderr => write(io::stderr().lock(), &bytes),
                };
                written.map_err(|source| AttachError::Caller {
                    action: "write the output",
                    source,
                })?;
                Ok(None)
            }
            // Nothing that the shim has to say.
            _ => Ok(None),
        }
    }

    fn receive(&mut self) -> Result<(), AttachError> {
        match self.attachment.socket.read(&mut self.buffer) {
            Ok(0) => Err(AttachError::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => {
                self.attachment.inbox.extend(&self.buffer[..length]);
                Ok(())
            }
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(AttachError::Lost(error)),
        }
    }

    fn read_stdin(&mut self) -> Result<Option<AttachEnd>, AttachError> {
        let typed = match rustix::io::read(rustix::stdio::stdin(), &mut self.buffer) {
            Ok(length) => &self.buffer[..length],
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(None),
            // A terminal that hangs up says EIO: the end of input, as any other.
            Err(_) => &[],
        };
        if typed.is_empty() {
            self.reads_stdin = false;
            return self.send(&Frame::StdinEnd).map(|()| None);
        }
        let (typed, detach) = match self.tty {
            true => self.keys.filter(typed),
            false => (typed.to_vec(), false),
        };
        if !typed.is_empty() {
            self.send(&Frame::Stdin(typed))?;
        }
        if detach {
            self.send(&Frame::Detach)?;
            return Ok(Some(AttachEnd::Detached));
        }
        Ok(None)
    }

    fn take_signals(&mut self) -> Result<Option<AttachEnd>, AttachError> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = signal.ssi_signo as i32;
            if number == libc::SIGWINCH {
                self.resize()?;
            } else if self.tty {
                self.send(&Frame::Detach)?;
                return Ok(Some(AttachEnd::Interrupted(number)));
            } else {
                self.send(&Frame::Signal(number))?;
            }
        }
        Ok(None)
    }

    fn resize(&mut self) -> Result<(), AttachError> {
        match WindowSize::of_caller().filter(|_| self.tty) {
            Some(size) => self.send(&Frame::Resize(size)),
            None => Ok(()),
        }
    }

    fn send(&mut self, frame: &Frame) -> Result<(), AttachError> {
        frame.encode(&mut self.outbox).map_err(AttachError::Lost)?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), AttachError> {
        while !self.outbox.is_empty() {
            match self.attachment.socket.write(&self.outbox) {
                Ok(length) => drop(self.outbox.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The shim has ended; what it has said before is still to be read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.outbox.clear(),
                Err(error) => return Err(AttachError::Lost(error)),
            }
        }
        Ok(())
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn write(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
