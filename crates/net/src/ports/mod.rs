//! Published ports: host address, host port and protocol that lead to a port of a container.

mod parse;
mod request;
mod select;

pub use parse::PortError;
pub use request::{ContainerPorts, PortRequest, WantedPort, first_conflict, publish_all, without};
pub use select::PortSelector;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::subnet::Family;

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The number in the IP header (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// One port or several that follow each other; never none, and never port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`; `None` if there are none, or port 0 would be one.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (0 < first && first <= last).then_some(PortRange { first, last })
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many ports, less one: so it fits.
    pub fn span(self) -> u16 {
        self.last - self.first
    }

    /// Whether it has this port.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// The lowest port that both have.
    pub fn meets(self, other: PortRange) -> Option<u16> {
        let first = self.first.max(other.first);
        (first <= self.last.min(other.last)).then_some(first)
    }

    /// Every port, the lowest first.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first < self.last {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

/// A published port with everything chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address; `None` is every address of both families, `0.0.0.0` every IPv4 and `::` every IPv6 address.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl PublishedPort {
    /// Whether the port listens at addresses of `family`.
    pub fn serves(&self, family: Family) -> bool {
        self.host_ip.is_none_or(|ip| Family::of(ip) == family)
    }

    /// Whether it is at the host's own `::1` alone, from where the kernel leads nothing on.
    pub fn is_at_loopback_v6(&self) -> bool {
        self.host_ip.is_some_and(|ip| ip.is_ipv6() && ip.is_loopback())
    }

    /// The one host address that it listens at, or `None` if it listens at all addresses of its family or families.
    pub fn bound_address(&self) -> Option<IpAddr> {
        self.host_ip.filter(|ip| !ip.is_unspecified())
    }

    /// The host's addresses as Docker writes them: one, or both wildcards.
    pub fn host_addresses(&self) -> Vec<IpAddr> {
        match self.host_ip {
            Some(ip) => vec![ip],
            None => vec![Family::V4.unspecified(), Family::V6.unspecified()],
        }
    }

    /// Whether both cannot be published at once: the same port and protocol at an address that both listen at.
    pub fn conflicts_with(&self, other: &PublishedPort) -> bool {
        let same_port = self.host_port == other.host_port && self.protocol == other.protocol;
        same_port && share_address(self.host_ip, other.host_ip)
    }
}

/// Whether some address of the host is meant by both: `None` is every address, `0.0.0.0` and `::` every one of a
/// family.
fn share_address(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            Family::of(one) == Family::of(other) && (one == other || one.is_unspecified() || other.is_unspecified())
        }
        _ => true,
    }
}

/// Writes a host address and what separates it from a port.
fn write_host(f: &mut fmt::Formatter<'_>, host_ip: Option<IpAddr>) -> fmt::Result {
    match host_ip {
        None => Ok(()),
        Some(IpAddr::V4(ip)) => write!(f, "{ip}:"),
        Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:"),
    }
}

impl fmt::Display for PublishedPort {
    /// As `docker port` writes it: `8080:80/tcp`, `127.0.0.1:8080:80/tcp`, `[::1]:8080:80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, self.host_ip)?;
        write!(f, "{}:{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts() {
        let port = |ip: Option<&str>| PublishedPort {
            host_ip: ip.map(|ip| ip.parse().unwrap()),
            host_port: 80,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        for (a, b, expected) in [
            (None, None, true),
            (None, Some("127.0.0.1"), true),
            (Some("0.0.0.0"), Some("127.0.0.1"), true),
            (Some("0.0.0.0"), Some("::"), false),
            (Some("127.0.0.1"), Some("127.0.0.2"), false),
            (Some("127.0.0.1"), Some("127.0.0.1"), true),
            (Some("::"), Some("::1"), true),
            (Some("::"), Some("127.0.0.1"), false),
        ] {
            assert_eq!(port(a).conflicts_with(&port(b)), expected, "{a:?} {b:?}");
            assert_eq!(port(b).conflicts_with(&port(a)), expected, "{b:?} {a:?}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(PortRange::new(0, 3), None);
        assert_eq!(PortRange::new(4, 3), None);
        let range = PortRange::new(3, 5).unwrap();
        assert_eq!(range.ports().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(range.meets(PortRange::new(5, 9).unwrap()), Some(5));
        assert_eq!(range.meets(PortRange::new(6, 9).unwrap()), None);
        assert_eq!(PortRange::new(1, 65535).unwrap().ports().count(), 65535);
    }
}
