//! Real traffic: servers that say who asked them, and clients that say who answered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::panic::Location;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::netns::NetNs;
use super::wait::until_some;

/// How long a client waits for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for an answer that must not come. On an idle machine an answer takes less than a millisecond.
const IMPATIENCE: Duration = Duration::from_millis(400);

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proto {
    Tcp,
    Udp,
}

/// Answers `SERVERNAME ADDRESS-OF-THE-CLIENT` to whoever asks by TCP or UDP, IPv4 or IPv6, until dropped.
pub(crate) struct Server {
    worker: Option<JoinHandle<()>>,
    /// Closed to end the worker.
    stop: Option<io::PipeWriter>,
}

impl Server {
    /// Starts to serve at `port` of every address of `net`; from then on it answers.
    pub(crate) fn start(net: &NetNs, name: &str, port: u16) -> Self {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        // A program that another test starts holds what is open here until it has begun: an earlier server's sockets.
        let (tcp, udp) = until_some("the port is free", || {
            net.run(|| Some((TcpListener::bind(any).ok()?, UdpSocket::bind(any).ok()?)))
        });
        let (stopped, stop) = io::pipe().unwrap();
        let name = name.to_owned();
        let worker = thread::spawn(move || serve(&name, &tcp, &udp, &stopped));
        Server {
            worker: Some(worker),
            stop: Some(stop),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.worker.take().map(JoinHandle::join);
    }
}

fn serve(name: &str, tcp: &TcpListener, udp: &UdpSocket, stopped: &io::PipeReader) {
    let is_ready = |fd: &PollFd| fd.any().unwrap_or(true);
    loop {
        let mut fds = [tcp.as_fd(), udp.as_fd(), stopped.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut fds, PollTimeout::NONE).is_err() || is_ready(&fds[2]) {
            return;
        }
        let answer = |client: SocketAddr| format!("{name} {}", client.ip().to_canonical());
        if is_ready(&fds[0])
            && let Ok((mut stream, client)) = tcp.accept()
        {
            // A client that went away has no need of its answer.
            let _ = stream.write_all(answer(client).as_bytes());
        }
        if is_ready(&fds[1])
            && let Ok((_, client)) = udp.recv_from(&mut [0; 64])
        {
            let _ = udp.send_to(answer(client).as_bytes(), client);
        }
    }
}

/// Who answered, and by which address it knew the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The server's name.
    pub(crate) server: String,
    /// The source address that the server saw.
    pub(crate) source: IpAddr,
}

impl Answer {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let parts = text.split_once(' ').and_then(|(server, source)| {
            Some(Answer {
                server: server.to_owned(),
                source: source.parse().ok()?,
            })
        });
        parts.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("not an answer: {text:?}")))
    }
}

/// Asks the server at `target` from within `net`, and returns its answer when one comes within `patience`.
pub(crate) fn try_reach(net: &NetNs, proto: Proto, target: SocketAddr, patience: Duration) -> io::Result<Answer> {
    match proto {
        Proto::Tcp => {
            let mut stream = net.run(|| TcpStream::connect_timeout(&target, patience))?;
            stream.set_read_timeout(Some(patience))?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            Answer::parse(&bytes)
        }
        Proto::Udp => UdpFlow::open(net, target).ask(patience),
    }
}

/// The answer that must come from `target`, asked from within `net`.
#[track_caller]
pub(crate) fn reaches(net: &NetNs, proto: Proto, target: impl Into<SocketAddr>) -> Answer {
    let target = target.into();
    try_reach(net, proto, target, PATIENCE).unwrap_or_else(|e| panic!("no answer from {target} by {proto:?}: {e}"))
}

/// Checks that nobody answers at `target` when asked from within `net`. A test that calls this also shows that the server
/// answers somebody else.
#[track_caller]
pub(crate) fn does_not_reach(net: &NetNs, proto: Proto, target: impl Into<SocketAddr>) {
    let target = target.into();
    if let Ok(answer) = try_reach(net, proto, target, IMPATIENCE) {
        let place = Location::caller();
        panic!("{place}: {target} must not be reachable by {proto:?}, but answered {answer:?}");
    }
}

/// A UDP flow: the same two ports for every question.
pub(crate) struct UdpFlow(UdpSocket);

impl UdpFlow {
    /// A flow from a free port of `net` to `target`.
    pub(crate) fn open(net: &NetNs, target: SocketAddr) -> Self {
        let any = crate::harness::ip(if target.is_ipv4() { "0.0.0.0" } else { "::" });
        UdpFlow(net.run(|| {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            // Without a route there is no answer either; asking then says so.
            let _ = socket.connect(target);
            socket
        }))
    }

    /// Asks, and asks again as packets may be lost, until an answer comes or `patience` is over.
    pub(crate) fn ask(&self, patience: Duration) -> io::Result<Answer> {
        let start = Instant::now();
        self.0
            .set_read_timeout(Some(patience.min(Duration::from_millis(250))))?;
        loop {
            let mut buffer = [0; 128];
            match self.0.send(b"who are you").and_then(|_| self.0.recv(&mut buffer)) {
                Ok(length) => return Answer::parse(&buffer[..length]),
                // Refused is what ICMP said about an earlier question.
                Err(e) if start.elapsed() >= patience => return Err(e),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The answer that must come.
    #[track_caller]
    pub(crate) fn answer(&self) -> Answer {
        self.ask(PATIENCE)
            .unwrap_or_else(|e| panic!("no answer in the UDP flow: {e}"))
    }

    /// Checks that no answer comes, and nothing late is left from before.
    #[track_caller]
    pub(crate) fn is_silent(&self) {
        if let Ok(answer) = self.ask(IMPATIENCE) {
            panic!("the UDP flow must be cut, but {answer:?} came");
        }
    }
}
