//! The host's own sockets: whether a port is free to be published, and which program holds it if it is not.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};
use zdocker_net::ports::Protocol;

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
        /// TCP or UDP.
        protocol: Protocol,
        /// Who holds it, in words.
        holder: String,
    },
    /// The address to listen at is none of the host's.
    #[error("cannot publish at {0}: this host has no such address")]
    NoSuchAddress(IpAddr),
    /// Anything else.
    #[error("cannot try port {port}/{protocol}: {source}")]
    Other {
        /// The port; 0 when any would do.
        port: u16,
        /// TCP or UDP.
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

/// A port that no program of the host holds at `address`, or at any address: the kernel's choice.
///
/// # Errors
/// [`PortError`] when the address is not the host's, or no port is free.
pub fn any_free(address: Option<IpAddr>, protocol: Protocol) -> Result<u16, PortError> {
    let error = |errno| refusal(address, 0, protocol, errno);
    let socket = bind(address, 0, protocol).map_err(error)?;
    let bound: SockaddrStorage = socket::getsockname(std::os::fd::AsRawFd::as_raw_fd(&socket)).map_err(error)?;
    let v4 = bound.as_sockaddr_in().map(socket::SockaddrIn::port);
    Ok(v4
        .or(bound.as_sockaddr_in6().map(socket::SockaddrIn6::port))
        .unwrap_or_default())
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
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if family == AddressFamily::Inet6 {
        socket::setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &one_family)?;
    }
    if protocol == Protocol::Tcp {
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
        let port = any_free(Some(address), Protocol::Tcp).unwrap();
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

    #[test]
    fn a_free_port_is_free() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // A child that another test is just starting holds copies of our sockets for a moment.
            let found_free = (0..50).any(|_| check_free(None, any_free(None, protocol).unwrap(), protocol).is_ok());
            assert!(found_free, "{protocol}");
        }
    }
}
