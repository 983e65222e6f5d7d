//! The relay from `::1` to a container's published ports: the kernel cannot send packets to `::1` anywhere else.
//!
//! It works within the shim's one thread, has two sets of descriptors of its own that the shim's loop waits for (those
//! that clients arrive at, and those of the clients that are there), and holds no memory for clients that are not
//! there.

mod tcp;
mod udp;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustix::process::{Resource, getrlimit};
use zdocker_net::ports::Protocol;
use zdocker_net::publish::Relay;

use self::tcp::Pair;
use self::udp::Datagrams;

/// How many ports one container's relay listens at, at most: the shim stays small, and a program of this host that
/// wants one of thousands of ports does not look for it at `::1` only.
pub const MAX_PORTS: usize = 256;

/// How many clients there are at once, at most.
const MAX_CLIENTS: usize = 256;

/// Descriptors that are left to the rest of the shim.
const SPARE_DESCRIPTORS: usize = 64;

/// How much is read at once, in bytes: no datagram is longer.
const CHUNK: usize = 64 * 1024;

/// Events and clients that are taken at once, so that nobody waits for long.
const AT_ONCE: usize = 32;

/// How long no client is accepted after the kernel could not make a socket for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Clients of `::1` and the listeners that they come to.
pub(super) struct Loopback {
    listeners: Slots<Listener>,
    clients: Slots<Client>,
    /// Of the listeners.
    arrivals: Epoll,
    /// Of the clients.
    traffic: Epoll,
    max_ports: usize,
    max_clients: usize,
    /// There while there are clients.
    buffer: Vec<u8>,
    /// Until when no client is accepted.
    pause: Option<Instant>,
}

struct Listener {
    relay: Relay,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

enum Client {
    Tcp(Pair),
    Udp(Datagrams),
}

impl Loopback {
    /// A relay without ports.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = || Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let free = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(SPARE_DESCRIPTORS);
        // A client takes two.
        let max_ports = MAX_PORTS.min(free / 3);
        Ok(Self {
            listeners: Slots::default(),
            clients: Slots::default(),
            arrivals: epoll()?,
            traffic: epoll()?,
            max_ports,
            max_clients: MAX_CLIENTS.min((free - max_ports) / 2),
            buffer: Vec::new(),
            pause: None,
        })
    }

    /// Listens for `wanted` and for nothing else; gives what is wrong with those that it cannot listen for. TCP
    /// connections that are there go on.
    pub(super) fn set(&mut self, wanted: &[Relay]) -> Vec<String> {
        let place = |relay: &Relay| (relay.protocol, relay.port);
        for index in self.listeners.indexes() {
            let Some(listener) = self.listeners.get_mut(index) else {
                continue;
            };
            match wanted.iter().find(|relay| place(relay) == place(&listener.relay)) {
                Some(relay) => listener.relay = *relay,
                None => self.close(index),
            }
        }
        let held: Vec<_> = self.listeners.iter().map(|listener| place(&listener.relay)).collect();
        let new = wanted.iter().filter(|relay| !held.contains(&place(relay)));
        let mut warnings = Vec::new();
        for relay in new {
            if let Err(error) = self.listen(*relay)
                && !is_without_ipv6(&error)
            {
                let (port, protocol) = (relay.port, relay.protocol);
                warnings.push(format!("port {port}/{protocol} is not served at [::1]: {error}"));
            }
        }
        warnings
    }

    fn listen(&mut self, relay: Relay) -> io::Result<()> {
        if self.listeners.iter().count() >= self.max_ports {
            let what = format!("{} ports are served there already", self.max_ports);
            return Err(io::Error::other(what));
        }
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, relay.port));
        let socket = match relay.protocol {
            Protocol::Tcp => Socket::Tcp(TcpListener::bind(address)?),
            Protocol::Udp => Socket::Udp(UdpSocket::bind(address)?),
            Protocol::Sctp => return Err(io::ErrorKind::Unsupported.into()),
        };
        match &socket {
            Socket::Tcp(listener) => listener.set_nonblocking(true)?,
            Socket::Udp(socket) => socket.set_nonblocking(true)?,
        }
        let index = self.listeners.add(Listener { relay, socket });
        let added = self.listeners.get_mut(index).map(|listener| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            self.arrivals.add(listener.fd(), event)
        });
        if let Some(Err(error)) = added {
            self.listeners.remove(index);
            return Err(error.into());
        }
        Ok(())
    }

    /// Stops listening; the socket's end takes it out of its set.
    fn close(&mut self, index: usize) {
        self.listeners.remove(index);
        for client in self.clients.indexes() {
            if let Some(Client::Udp(datagrams)) = self.clients.get_mut(client)
                && datagrams.listener == index
            {
                self.clients.remove(client);
            }
        }
    }

    /// What to wait for until something can be read of it; then [`Self::serve`] does something.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let arrivals = (!self.is_full() && self.pause.is_none()).then_some(self.arrivals.0.as_fd());
        arrivals.into_iter().chain([self.traffic.0.as_fd()])
    }

    /// When [`Self::serve`] has something to do although nothing can be read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let idle = self.clients.iter().filter_map(|client| match client {
            Client::Tcp(_) => None,
            Client::Udp(datagrams) => Some(datagrams.end()),
        });
        idle.chain(self.pause).min()
    }

    /// Serves whoever has something to say, without waiting.
    pub(super) fn serve(&mut self) {
        let now = Instant::now();
        self.pause = self.pause.filter(|end| *end > now);
        for (index, events) in ready(&self.traffic) {
            self.move_on(index, events, now);
        }
        for index in self.clients.indexes() {
            if let Some(Client::Udp(datagrams)) = self.clients.get_mut(index)
                && datagrams.end() <= now
            {
                self.clients.remove(index);
            }
        }
        if self.pause.is_none() {
            for (index, _) in ready(&self.arrivals) {
                self.receive(index as usize, now);
            }
        }
        if self.clients.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// All clients are TCP connections, and there are as many as there may be.
    fn is_full(&self) -> bool {
        self.clients
            .iter()
            .filter(|client| matches!(client, Client::Tcp(_)))
            .count()
            >= self.max_clients
    }

    /// Sees to it that there is room for one more client; the UDP flow that is idle for longest goes for it.
    fn make_room(&mut self) -> bool {
        if self.clients.iter().count() < self.max_clients {
            return true;
        }
        let flow = |client: &Client| match client {
            Client::Tcp(_) => None,
            Client::Udp(datagrams) => Some(datagrams.end()),
        };
        let oldest = self
            .clients
            .entries()
            .filter_map(|(index, client)| Some((flow(client)?, index)));
        let oldest = oldest.min().map(|(_, index)| index);
        oldest.is_some_and(|index| self.clients.remove(index).is_some())
    }

    fn receive(&mut self, index: usize, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some(listener) = self.listeners.get_mut(index) else {
                return;
            };
            let received = match listener.socket {
                Socket::Tcp(_) => self.accept(index),
                Socket::Udp(_) => self.take_datagram(index, now),
            };
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_shortage(&error) => {
                    self.pause = Some(now + PAUSE);
                    return;
                }
                // A client that is gone already, or a container that cannot be reached: the next one.
                Err(_) => {}
            }
        }
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        if !self.make_room() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Some(Listener {
            relay,
            socket: Socket::Tcp(listener),
        }) = self.listeners.get_mut(index)
        else {
            return Ok(());
        };
        let (client, _) = listener.accept()?;
        let pair = Pair::connect(client, relay.to)?;
        self.buffer.resize(CHUNK, 0);
        let token = self.clients.add(Client::Tcp(pair));
        if let Some(Client::Tcp(pair)) = self.clients.get_mut(token) {
            pair.watch(&self.traffic, token)?;
        }
        Ok(())
    }

    fn take_datagram(&mut self, index: usize, now: Instant) -> io::Result<()> {
        let Some(Listener {
            relay,
            socket: Socket::Udp(listener),
        }) = self.listeners.get_mut(index)
        else {
            return Ok(());
        };
        let to = relay.to;
        self.buffer.resize(CHUNK, 0);
        let (length, client) = listener.recv_from(&mut self.buffer)?;
        let same =
            |found: &Client| matches!(found, Client::Udp(flow) if flow.listener == index && flow.client == client);
        let known = self
            .clients
            .entries()
            .find(|(_, found)| same(found))
            .map(|(token, _)| token);
        let token = match known {
            Some(token) => token,
            None if self.make_room() => {
                let flow = Datagrams::new(index, client, to, now)?;
                let token = self.clients.add(Client::Udp(flow));
                if let Some(Client::Udp(flow)) = self.clients.get_mut(token) {
                    flow.watch(&self.traffic, token)?;
                }
                token
            }
            // As a router does that cannot keep up.
            None => return Ok(()),
        };
        if let Some(Client::Udp(flow)) = self.clients.get_mut(token) {
            flow.send(&self.buffer[..length], now);
        }
        Ok(())
    }

    fn move_on(&mut self, token: u64, events: EpollFlags, now: Instant) {
        let (index, end) = tcp::place(token);
        match self.clients.get_mut(index) {
            Some(Client::Tcp(pair)) => {
                let goes_on = pair.move_on(end, events, &mut self.buffer);
                if !goes_on || pair.watch(&self.traffic, index).is_err() {
                    self.clients.remove(index);
                }
            }
            Some(Client::Udp(flow)) => {
                if let Some(Listener {
                    socket: Socket::Udp(listener),
                    ..
                }) = self.listeners.get_mut(flow.listener)
                {
                    flow.answer(listener, &mut self.buffer, now);
                }
            }
            // It was just removed.
            None => {}
        }
    }
}

impl Listener {
    fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Udp(socket) => socket.as_fd(),
        }
    }
}

/// What can be done at once.
fn ready(epoll: &Epoll) -> Vec<(u64, EpollFlags)> {
    let mut events = [EpollEvent::empty(); AT_ONCE];
    let count = epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or_default();
    events[..count]
        .iter()
        .map(|event| (event.data(), event.events()))
        .collect()
}

/// The host has no IPv6, or none at its loopback interface: then nobody comes there.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Values that keep their index until they are removed.
struct Slots<T>(Vec<Option<T>>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots(Vec::new())
    }
}

impl<T> Slots<T> {
    fn add(&mut self, value: T) -> usize {
        match self.0.iter().position(Option::is_none) {
            Some(index) => {
                self.0[index] = Some(value);
                index
            }
            None => {
                self.0.push(Some(value));
                self.0.len() - 1
            }
        }
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.0.get_mut(index)?.as_mut()
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        let removed = self.0.get_mut(index)?.take();
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
        removed
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn indexes(&self) -> std::ops::Range<usize> {
        0..self.0.len()
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(index, value)| Some((index, value.as_ref()?)))
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests;
