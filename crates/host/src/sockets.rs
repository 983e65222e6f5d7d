//! The host's own sockets: whether a port is free to be published, and which program holds it if it is not.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt};
use zdocker_net::ports::{PortRange, Protocol};

use crate::sysctl::{self, SysctlError};

/// The variable that says which ports the kernel gives to whoever asks for none.
const LOCAL_PORTS: &str = "net/ipv4/ip_local_port_range";

/// A program that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process number.
    pub pid: i32,
    /// Its name, as `ps` shows it.
    pub name: String,
}

/// Why a port of the host cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// A program listens there.
    #[error("port {port}/{protocol} of this host is in use by {holder}; stop it, or publish another port")]
    InUse {
        /// The port.
        port: u16,
        /// The transport protocol.
        protocol: Protocol,
        /// Who holds it, in words.
        holder: String,
    },
    /// The address to listen at is none of the host's.
    #[error("cannot publish at {0}: this host has no such address")]
    NoSuchAddress(IpAddr),
    /// Nothing that comes to such a port could be led on.
    #[error(
        "{0} ports cannot be published: this host's kernel {1} (it needs CONFIG_IP_SCTP, often a module: modprobe sctp)"
    )]
    NoProtocol(Protocol, &'static str),
    /// Anything else.
    #[error("cannot try port {port}/{protocol}: {source}")]
    Other {
        /// The port; 0 when any would do.
        port: u16,
        /// The transport protocol.
        protocol: Protocol,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Checks that no program of the host holds `port` at `address`, or at any address.
///
/// # Errors
/// [`PortError`] names the program that does.
pub fn check_free(address: Option<IpAddr>, port: u16, protocol: Protocol) -> Result<(), PortError> {
    bind(address, port, protocol)
        .map(drop)
        .map_err(|error| refusal(address, port, protocol, error))
}

/// The ports that are given to whoever asks for none in particular (`net.ipv4.ip_local_port_range`).
///
/// # Errors
/// [`SysctlError`] when it cannot be read.
pub fn ephemeral_ports() -> Result<PortRange, SysctlError> {
    let text = sysctl::read(LOCAL_PORTS)?.unwrap_or_default();
    let numbers: Vec<u16> = text.split_whitespace().flat_map(str::parse).collect();
    let range = match numbers[..] {
        [first, last] => PortRange::new(first, last),
        _ => None,
    };
    let malformed = || SysctlError {
        doing: "understand",
        key: LOCAL_PORTS.to_owned(),
        source: io::Error::other(format!("{text:?} is no range of ports")),
    };
    range.ok_or_else(malformed)
}

/// Checks that the kernel can publish ports of `protocol`: it has sockets of it, and connection tracking knows its
/// ports.
///
/// # Errors
/// [`PortError::NoProtocol`].
pub fn check_protocol(protocol: Protocol) -> Result<(), PortError> {
    if protocol != Protocol::Sctp {
        return Ok(());
    }
    let lacks = |what| Err(PortError::NoProtocol(protocol, what));
    if let Err(nix::Error::EPROTONOSUPPORT) = open(AddressFamily::Inet, protocol) {
        return lacks("has no SCTP");
    }
    // Where connection tracking is not loaded yet, nothing can be said.
    let tracks = |key| sysctl::read(key).is_ok_and(|value| value.is_some());
    if tracks("net/netfilter/nf_conntrack_max") && !tracks("net/netfilter/nf_conntrack_sctp_timeout_established") {
        return lacks("does not track SCTP connections");
    }
    Ok(())
}

fn bind(address: Option<IpAddr>, port: u16, protocol: Protocol) -> nix::Result<OwnedFd> {
    match address {
        Some(address) => bind_at(SocketAddr::new(address, port), true, protocol),
        // One socket of both families meets every socket of either.
        None => match bind_at(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), false, protocol) {
            Err(nix::Error::EAFNOSUPPORT | nix::Error::EADDRNOTAVAIL) => {
                bind_at(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), true, protocol)
            }
            bound => bound,
        },
    }
}

fn bind_at(address: SocketAddr, one_family: bool, protocol: Protocol) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = open(family, protocol)?;
    if family == AddressFamily::Inet6 {
        socket::setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &one_family)?;
    }
    if protocol != Protocol::Udp {
        // Connections of a former listener that linger in TIME_WAIT are no reason to refuse; a listener still is
        // (socket(7)). We never listen ourselves: a client would be accepted, and lost.
        socket::setsockopt(&socket.as_fd(), sockopt::ReuseAddr, &true)?;
    }
    socket::bind(
        std::os::fd::AsRawFd::as_raw_fd(&socket),
        &SockaddrStorage::from(address),
    )?;
    Ok(socket)
}

fn open(family: AddressFamily, protocol: Protocol) -> nix::Result<OwnedFd> {
    let (kind, protocol) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)
}

fn refusal(address: Option<IpAddr>, port: u16, protocol: Protocol, error: nix::Error) -> PortError {
    match (error, address) {
        (nix::Error::EADDRINUSE, _) => {
            let holder = match holder(port, protocol) {
                Some(Holder { pid, name }) => format!("{name} (process {pid})"),
                None => "another program".to_owned(),
            };
            PortError::InUse { port, protocol, holder }
        }
        (nix::Error::EADDRNOTAVAIL, Some(address)) => PortError::NoSuchAddress(address),
        _ => PortError::Other {
            port,
            protocol,
            source: error.into(),
        },
    }
}

/// The program that holds `port`, found by its socket's inode number (proc_pid_net(5)).
fn holder(port: u16, protocol: Protocol) -> Option<Holder> {
    let tables = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        // Its table has no inode numbers that could be looked for.
        Protocol::Sctp => return None,
    };
    let inode = tables.iter().find_map(|table| socket_inode(table, port, protocol))?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find_map(|pid| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
            let holds = descriptors
                .flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|l| l.as_os_str() == link.as_str()));
            let name = || fs::read_to_string(format!("/proc/{pid}/comm")).ok();
            holds.then(name).flatten().map(|name| Holder {
                pid,
                name: name.trim_end().to_owned(),
            })
        })
}

fn socket_inode(table: &str, port: u16, protocol: Protocol) -> Option<u64> {
    const LISTENING: &str = "0A";
    let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
    let suffix = format!(":{port:04X}");
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let listens = protocol == Protocol::Udp || *state == LISTENING;
        (listens && local.ends_with(&suffix))
            .then(|| inode.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn a_listener_is_found_and_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = std::process::id().to_string();
        for address in [
            Some("127.0.0.1".parse().unwrap()),
            Some("0.0.0.0".parse().unwrap()),
            None,
        ] {
            let message = check_free(address, port, Protocol::Tcp).unwrap_err().to_string();
            assert!(message.contains(&me), "{address:?}: {message}");
        }
        assert!(check_free(Some("127.0.0.2".parse().unwrap()), port, Protocol::Tcp).is_ok());
    }

    #[test]
    fn nobody_is_accepted_by_a_check() {
        let address: IpAddr = "127.0.0.77".parse().unwrap();
        let port = free_port(address);
        let accepted = || {
            let attempts = (0..20_000).map(|_| TcpStream::connect((address, port)));
            attempts.filter(Result::is_ok).count()
        };
        std::thread::scope(|scope| {
            let client = scope.spawn(accepted);
            while !client.is_finished() {
                check_free(Some(address), port, Protocol::Tcp).unwrap();
            }
            assert_eq!(client.join().unwrap(), 0);
        });
    }

    #[test]
    fn a_listener_that_lets_its_address_be_reused_is_found() {
        let listener = TcpListener::bind("127.0.0.78:0").unwrap();
        assert!(socket::getsockopt(&listener, sockopt::ReuseAddr).unwrap());
        let port = listener.local_addr().unwrap().port();
        // Connections with the listener's port do not hide it.
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap();
        let check = || check_free(Some("127.0.0.78".parse().unwrap()), port, Protocol::Tcp);
        assert!(matches!(check(), Err(PortError::InUse { .. })));
        drop(listener);
        drop(accepted);
        drop(client);
        assert!(check().is_ok());
    }

    #[test]
    fn udp_has_ports_of_its_own() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(matches!(
            check_free(None, port, Protocol::Udp),
            Err(PortError::InUse { .. })
        ));
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        let address = "203.0.113.77".parse().unwrap();
        assert!(matches!(
            check_free(Some(address), 80, Protocol::Tcp),
            Err(PortError::NoSuchAddress(_))
        ));
    }

    fn free_port(address: IpAddr) -> u16 {
        TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn ports_for_whoever_asks_for_none() {
        let range = ephemeral_ports().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(range.contains(socket.local_addr().unwrap().port()), "{range}");
    }

    #[test]
    fn sctp_is_refused_where_the_kernel_lacks_it() {
        assert!(check_protocol(Protocol::Tcp).is_ok() && check_protocol(Protocol::Udp).is_ok());
        let has = open(AddressFamily::Inet, Protocol::Sctp).is_ok();
        match check_protocol(Protocol::Sctp) {
            Ok(()) => assert!(has),
            Err(error) => assert!(error.to_string().contains("sctp ports cannot be published"), "{error}"),
        }
    }
}
