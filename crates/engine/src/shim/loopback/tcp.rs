//! A TCP connection of a client, and the one to the container that carries it on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt};

/// How many times one end is read before others have their turn.
const ROUNDS: usize = 8;

/// Two connections that are one to those at their far ends.
pub(super) struct Pair {
    /// The client's, and the container's.
    ends: [TcpStream; 2],
    /// What goes from each end to the other.
    ways: [Way; 2],
    /// Whether the container has answered.
    connected: bool,
    /// What each end is watched for; not at all if it is nothing.
    watched: [EpollFlags; 2],
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What was read and is not written yet; while there is any, nothing more is read.
    pending: Vec<u8>,
    written: usize,
    state: Progress,
}

#[derive(Default, PartialEq, Eq)]
enum Progress {
    /// More may come.
    #[default]
    Open,
    /// Nothing more comes; what is pending is still to be written.
    Ending,
    /// The far end was told that nothing more comes.
    Ended,
}

/// Which client an event is about, and which of its ends.
pub(super) fn place(token: u64) -> (usize, usize) {
    ((token >> 1) as usize, (token & 1) as usize)
}

/// The inverse of [`place`].
pub(super) fn token(index: usize, end: usize) -> u64 {
    (index as u64) << 1 | end as u64
}

impl Pair {
    /// Begins to connect `client` to a container.
    pub(super) fn connect(client: TcpStream, to: SocketAddr) -> io::Result<Self> {
        let container = match begin_to_connect(to) {
            Ok(container) => container,
            Err(error) => {
                reset(&client);
                return Err(error);
            }
        };
        client.set_nonblocking(true)?;
        for end in [&client, &container] {
            // What comes in pieces is to go on in pieces.
            end.set_nodelay(true)?;
        }
        Ok(Self {
            ends: [client, container],
            ways: Default::default(),
            connected: false,
            watched: [EpollFlags::empty(); 2],
        })
    }

    /// Does what `events` at one end allow; false when the connection is over.
    pub(super) fn move_on(&mut self, end: usize, events: EpollFlags, buffer: &mut [u8]) -> bool {
        if self.try_to_move_on(end, events, buffer).is_err() {
            // What the one end was told by a reset, the other is told, too.
            self.ends.iter().for_each(reset);
            return false;
        }
        !self.ways.iter().all(|way| way.state == Progress::Ended)
    }

    fn try_to_move_on(&mut self, end: usize, events: EpollFlags, buffer: &mut [u8]) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.ends[1].take_error()? {
                return Err(error);
            }
            self.connected = events.contains(EpollFlags::EPOLLOUT);
            return Ok(());
        }
        if events.contains(EpollFlags::EPOLLOUT) {
            self.flush(1 - end)?;
        }
        if events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.copy(end, buffer)?;
        }
        Ok(())
    }

    /// Copies what has come to one end to the other.
    fn copy(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..ROUNDS {
            let way = &mut self.ways[from];
            if way.state != Progress::Open || !way.pending.is_empty() {
                return Ok(());
            }
            match (&self.ends[from]).read(buffer) {
                Ok(0) => {
                    way.state = Progress::Ending;
                    self.flush(from)?;
                }
                Ok(length) => {
                    let written = write(&self.ends[1 - from], &buffer[..length])?;
                    way.pending.extend_from_slice(&buffer[written..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what came from one end and is pending.
    fn flush(&mut self, from: usize) -> io::Result<()> {
        let (way, to) = (&mut self.ways[from], &self.ends[1 - from]);
        way.written += write(to, &way.pending[way.written..])?;
        if way.written < way.pending.len() {
            return Ok(());
        }
        // An idle connection holds no memory.
        way.pending = Vec::new();
        way.written = 0;
        if way.state == Progress::Ending {
            way.state = Progress::Ended;
            match to.shutdown(Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Has both ends watched for what can be done next.
    pub(super) fn watch(&mut self, epoll: &Epoll, index: usize) -> io::Result<()> {
        for end in [0, 1] {
            let wanted = self.wanted(end);
            let (before, fd) = (self.watched[end], self.ends[end].as_fd());
            if wanted == before {
                continue;
            }
            let mut event = EpollEvent::new(wanted, token(index, end));
            // An end that nothing is wanted of would still be reported when it hangs up, again and again.
            match (before.is_empty(), wanted.is_empty()) {
                (true, _) => epoll.add(fd, event)?,
                (false, true) => epoll.delete(fd)?,
                (false, false) => epoll.modify(fd, &mut event)?,
            }
            self.watched[end] = wanted;
        }
        Ok(())
    }

    /// How much was read and is not written yet, in bytes.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.ways.iter().map(|way| way.pending.len()).sum()
    }

    fn wanted(&self, end: usize) -> EpollFlags {
        let mut wanted = EpollFlags::empty();
        if !self.connected {
            wanted.set(EpollFlags::EPOLLOUT, end == 1);
            return wanted;
        }
        let (from, to) = (&self.ways[end], &self.ways[1 - end]);
        wanted.set(
            EpollFlags::EPOLLIN,
            from.state == Progress::Open && from.pending.is_empty(),
        );
        wanted.set(EpollFlags::EPOLLOUT, !to.pending.is_empty());
        wanted
    }
}

/// Writes as much as `to` takes now.
fn write(mut to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn begin_to_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(family, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}

/// Has the far end told by a reset, once the connection is closed, that it has failed.
fn reset(end: &TcpStream) {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // It may be gone already.
    let _ = setsockopt(end, sockopt::Linger, &at_once);
}
