//! A client's datagrams, and the socket that carries them on to the container and its answers back.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use zdocker_net::subnet::Family;

use super::tcp;

/// How long a client that nothing comes from or to is remembered; as long as the kernel remembers a flow of UDP
/// (nf_conntrack_udp_timeout_stream).
const IDLE: Duration = Duration::from_secs(120);

/// How many answers are passed on before others have their turn.
const ROUNDS: usize = 32;

/// The flow of one client.
pub(super) struct Datagrams {
    /// The index of the listener that the client sends to.
    pub(super) listener: usize,
    /// The client.
    pub(super) client: SocketAddr,
    socket: UdpSocket,
    last: Instant,
}

impl Datagrams {
    /// The flow of a client that has just sent to `listener`.
    pub(super) fn new(listener: usize, client: SocketAddr, to: SocketAddr, now: Instant) -> io::Result<Self> {
        let socket = UdpSocket::bind((Family::of(to.ip()).unspecified(), 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        Ok(Self {
            listener,
            client,
            socket,
            last: now,
        })
    }

    /// Has answers watched for.
    pub(super) fn watch(&self, epoll: &Epoll, index: usize) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, tcp::token(index, 1));
        Ok(epoll.add(self.socket.as_fd(), event)?)
    }

    /// When it has been idle for too long, if nothing comes any more.
    pub(super) fn end(&self) -> Instant {
        self.last + IDLE
    }

    /// Carries a datagram to the container. It may be lost, as any.
    pub(super) fn send(&mut self, datagram: &[u8], now: Instant) {
        self.last = now;
        // What is wrong with the last one is told at this one: that nobody listens in the container.
        if self.socket.send(datagram).is_err() {
            let _ = self.socket.send(datagram);
        }
    }

    /// Carries answers to the client.
    pub(super) fn answer(&mut self, listener: &UdpSocket, buffer: &mut [u8], now: Instant) {
        for _ in 0..ROUNDS {
            match self.socket.recv(buffer) {
                Ok(length) => {
                    self.last = now;
                    let _ = listener.send_to(&buffer[..length], self.client);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody listens in the container; reading it has cleared it.
                Err(_) => {}
            }
        }
    }
}
