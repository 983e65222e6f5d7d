//! A netlink socket: requests go out several at once, and each answer finds its request.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use zdocker_net::names::InterfaceName;

use super::message::{DONE, DUMP, DUMP_INTERRUPTED, ERROR, Message, Requests, Writer, messages};

/// A kernel subsystem that is spoken to by netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// `NETLINK_ROUTE`: interfaces, addresses, routes.
    Route,
    /// `NETLINK_NETFILTER`: nftables and connection tracking.
    Netfilter,
}

impl std::fmt::Display for Subsystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Subsystem::Route => "rtnetlink",
            Subsystem::Netfilter => "nfnetlink",
        })
    }
}

/// The kernel's "no" to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the requests that were sent together, from 0 on.
    pub position: usize,
    /// Why.
    pub errno: Errno,
    /// Why in the kernel's words (the extended acknowledgement), where it has some.
    pub explanation: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", io::Error::from(self.errno))?;
        match &self.explanation {
            Some(text) => write!(f, ": {text}"),
            None if self.errno == Errno::EPERM => {
                f.write_str(": this needs root, or a network namespace of the user's own")
            }
            None => Ok(()),
        }
    }
}

/// Why speaking with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open an {subsystem} socket: {source}")]
    Open {
        /// Of what kind.
        subsystem: Subsystem,
        /// Why.
        source: io::Error,
    },
    /// The requests did not leave.
    #[error("cannot send to {subsystem}: {source}")]
    Send {
        /// To whom.
        subsystem: Subsystem,
        /// Why.
        source: io::Error,
    },
    /// The answer did not arrive; whether the requests took effect is not known.
    #[error("cannot receive from {subsystem}: {source}")]
    Receive {
        /// From whom.
        subsystem: Subsystem,
        /// Why.
        source: io::Error,
    },
    /// The kernel said no.
    #[error("{0}")]
    Refused(Refusal),
    /// What was asked for changed each time while it was read.
    #[error("{0} changed at every one of {DUMP_ATTEMPTS} attempts to read it")]
    Unstable(Subsystem),
}

impl NetlinkError {
    /// The kernel's errno, if it said no.
    pub fn refusal(&self) -> Option<Errno> {
        match self {
            NetlinkError::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }
}

/// Largest message the kernel sends: dumps are cut into pieces of at most 32 KiB (`netlink_dump`, af_netlink.c).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// What the kernel lets a socket send at once without asking (`net.core.wmem_default` is seldom less).
const SEND_AT_ONCE: usize = 128 * 1024;

/// How many answers, should every request be refused, surely fit into a socket's buffer; and what each takes there.
pub(crate) const ANSWERS_AT_ONCE: usize = 100;
const ANSWER_SIZE: usize = 1024;

/// How often a dump that was interrupted is tried.
const DUMP_ATTEMPTS: usize = 10;

/// A socket to one subsystem, in the network namespace that it was opened in for ever.
pub(crate) struct Socket {
    fd: OwnedFd,
    subsystem: Subsystem,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(subsystem: Subsystem) -> Result<Self, NetlinkError> {
        let protocol = match subsystem {
            Subsystem::Route => libc::NETLINK_ROUTE,
            Subsystem::Netfilter => libc::NETLINK_NETFILTER,
        };
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        let fd = Errno::result(fd).map_err(|errno| NetlinkError::Open {
            subsystem,
            source: errno.into(),
        })?;
        // SAFETY: the descriptor was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Socket {
            fd,
            subsystem,
            sequence: 1,
            buffer: vec![0; RECEIVE_BUFFER],
        };
        // Both only make errors better (and shorter), and both exist since Linux 4.12: nothing is lost without.
        let _ = socket.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        let _ = socket.set_option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        Ok(socket)
    }

    fn set_option(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> nix::Result<()> {
        // SAFETY: the pointer is to an int that outlives the call, and the length is an int's.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        Errno::result(result).map(drop)
    }

    /// Sends the requests in one message and reads until the last is answered.
    ///
    /// The kernel goes on after a request that it refuses, so the rest may have taken effect: every refusal is given.
    /// `reply` is called with the position of the request and what the kernel sent for it.
    pub(crate) fn exchange(
        &mut self,
        mut requests: Requests,
        mut reply: impl FnMut(usize, Message<'_>),
    ) -> Result<Vec<Refusal>, NetlinkError> {
        let Some(last) = requests.answered() else {
            return Ok(Vec::new());
        };
        let first = self.send(&mut requests)?;
        let mut refusals = Vec::new();
        loop {
            let length = self.receive()?;
            for message in messages(&self.buffer[..length]) {
                // What is left of an exchange that was given up has an older number.
                let position = message.sequence.wrapping_sub(first) as usize;
                if position >= requests.count() {
                    continue;
                }
                if message.kind != ERROR {
                    reply(position, message);
                    continue;
                }
                if message.errno() != 0 {
                    refusals.push(refusal(position, &message));
                }
                let was_refused = position == 0 && message.errno() != 0;
                if position == last || (was_refused && self.looks_no_further(&requests, message.errno())) {
                    return Ok(refusals);
                }
            }
        }
    }

    /// Whether requests of any length can be sent together, and refused one by one. In a user namespace the buffers do
    /// not grow (`CAP_NET_ADMIN` over the machine, socket(7)).
    pub(crate) fn takes_any_length(&self) -> bool {
        self.set_option(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_AT_ONCE as libc::c_int)
            .is_ok()
    }

    /// Whether the kernel answers only the first of requests that were sent together, having refused it so.
    fn looks_no_further(&self, requests: &Requests, errno: i32) -> bool {
        // The frame of a batch; or who has no right to ask is told so once (`nfnetlink_rcv`, nfnetlink.c).
        requests.is_framed() || (self.subsystem == Subsystem::Netfilter && errno == libc::EPERM)
    }

    /// As [`Self::exchange`], for requests that are all expected to be granted: the first refusal is the error.
    pub(crate) fn request(
        &mut self,
        requests: Requests,
        reply: impl FnMut(usize, Message<'_>),
    ) -> Result<(), NetlinkError> {
        match self.exchange(requests, reply)?.into_iter().next() {
            Some(refusal) => Err(NetlinkError::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// Asks for all objects of a kind.
    ///
    /// A dump that the kernel could not keep consistent, or that overran us, is repeated.
    pub(crate) fn dump(&mut self, kind: u16, payload: impl Fn(&mut Writer)) -> Result<Dump, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut requests = Requests::default();
            requests.push_unanswered(kind, DUMP, &payload);
            let first = self.send(&mut requests)?;
            if let Some(dump) = self.read_dump(first)? {
                return Ok(dump);
            }
        }
        Err(NetlinkError::Unstable(self.subsystem))
    }

    /// `None` when the dump must be repeated.
    fn read_dump(&mut self, sequence: u32) -> Result<Option<Dump>, NetlinkError> {
        let mut dump = Dump::default();
        let mut interrupted = false;
        loop {
            let length = match self.receive() {
                Err(NetlinkError::Receive { source, .. }) if source.raw_os_error() == Some(libc::ENOBUFS) => {
                    interrupted = true;
                    continue;
                }
                result => result?,
            };
            let received = &self.buffer[..length];
            // The last piece may end with the answer that it is the last.
            if messages(received).all(|message| message.sequence == sequence) {
                dump.pieces.push(received.to_vec());
            }
            for message in messages(received).filter(|message| message.sequence == sequence) {
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                if matches!(message.kind, ERROR | DONE) {
                    if message.errno() != 0 {
                        return Err(NetlinkError::Refused(refusal(0, &message)));
                    }
                    return Ok((!interrupted).then_some(dump));
                }
            }
        }
    }

    /// The index of the interface of this name in the socket's network namespace (`SIOCGIFINDEX`, netdevice(7)).
    /// Cheaper than asking by message, which describes the whole interface.
    pub(crate) fn interface_index(&self, name: &InterfaceName) -> Result<Option<u32>, NetlinkError> {
        // SAFETY: all zeros is a valid value of this type.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // An interface's name is at most 15 bytes long, so the last zero stays.
        for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: the pointer is to a request that outlives the call, which writes within it.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) };
        match Errno::result(result) {
            // SAFETY: the call has written this field of the union.
            Ok(_) => Ok(Some(unsafe { request.ifr_ifru.ifru_ifindex } as u32)),
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(NetlinkError::Send {
                subsystem: self.subsystem,
                source: errno.into(),
            }),
        }
    }

    /// Sends; gives the first message's sequence number.
    fn send(&mut self, requests: &mut Requests) -> Result<u32, NetlinkError> {
        let subsystem = self.subsystem;
        let first = self.sequence;
        let count = requests.count();
        self.sequence = self.sequence.wrapping_add(count as u32);
        let bytes = requests.seal(first);
        // The kernel doubles the sizes itself. Should it refuse them, then sending or receiving says so.
        if bytes.len() > SEND_AT_ONCE {
            let length = bytes.len() as libc::c_int;
            let _ = self
                .set_option(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, length)
                .or_else(|_| self.set_option(libc::SOL_SOCKET, libc::SO_SNDBUF, length));
        }
        if count > ANSWERS_AT_ONCE {
            let size = count.saturating_mul(ANSWER_SIZE);
            let _ = self.set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size as libc::c_int);
        }
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(first),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(NetlinkError::Send {
                        subsystem,
                        source: errno.into(),
                    });
                }
            }
        }
    }

    fn receive(&mut self) -> Result<usize, NetlinkError> {
        let error = |errno: Errno| NetlinkError::Receive {
            subsystem: self.subsystem,
            source: errno.into(),
        };
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => return Err(error(Errno::EMSGSIZE)),
                Ok(length) => return Ok(length),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

fn refusal(position: usize, message: &Message<'_>) -> Refusal {
    Refusal {
        position,
        errno: Errno::from_raw(message.errno()),
        explanation: message.explanation(),
    }
}

/// The answer to a dump.
#[derive(Default)]
pub(crate) struct Dump {
    pieces: Vec<Vec<u8>>,
}

impl Dump {
    /// The objects.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Message<'_>> {
        let all = self.pieces.iter().flat_map(|piece| messages(piece));
        all.filter(|message| !matches!(message.kind, ERROR | DONE))
    }
}
