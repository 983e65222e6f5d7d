//! Published ports: host address, host port and protocol that lead to a port of a container.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

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
}

impl Protocol {
    /// The number in the IP header (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Why a text is not a published port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid published port {text:?}: {reason} (want [IP:][HOSTPORT:]CONTAINERPORT[/tcp|udp], IPv6 addresses in brackets)"
)]
pub struct PortError {
    text: String,
    reason: &'static str,
}

/// What a user asked to publish; without a host port, a free one is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRequest {
    /// The host's address to listen at; `None` is every address of both families.
    pub host_ip: Option<IpAddr>,
    /// The host's port; `None` leaves the choice to us.
    pub host_port: Option<u16>,
    /// The container's port.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl FromStr for PortRequest {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let error = |reason| PortError {
            text: text.to_owned(),
            reason,
        };
        let (rest, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, protocol)) if protocol.eq_ignore_ascii_case("tcp") => (rest, Protocol::Tcp),
            Some((rest, protocol)) if protocol.eq_ignore_ascii_case("udp") => (rest, Protocol::Udp),
            Some(_) => return Err(error("the protocol must be tcp or udp")),
        };
        let (host_ip, ports) = split_address(rest).map_err(error)?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (host, container),
            None => ("", ports),
        };
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            _ => Err(error("a port is a number from 1 to 65535")),
        };
        // Docker reads a host port of 0 as "any".
        let host_port = if matches!(host, "" | "0") {
            None
        } else {
            Some(port(host)?)
        };
        Ok(PortRequest {
            host_ip,
            host_port,
            container_port: port(container)?,
            protocol,
        })
    }
}

/// Cuts a leading `IP:` or `[IPv6]:` off.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), &'static str> {
    const BAD: &str = "the host address is not an IP address";
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        let ports = rest.strip_prefix(':').ok_or("a ':' must follow the address")?;
        return Ok((Some(address.parse().map_err(|_| BAD)?), ports));
    }
    let Some((address, ports)) = text.split_once(':').filter(|(_, ports)| ports.contains(':')) else {
        return Ok((None, text));
    };
    if ports.matches(':').count() > 1 {
        return Err("an IPv6 address must stand in brackets");
    }
    if address.is_empty() {
        return Ok((None, ports));
    }
    Ok((Some(address.parse().map_err(|_| BAD)?), ports))
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
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl PublishedPort {
    /// Whether the port listens at addresses of `family`.
    pub fn serves(&self, family: Family) -> bool {
        self.host_ip.is_none_or(|ip| Family::of(ip) == family)
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
        let share_address = [Family::V4, Family::V6].into_iter().any(|family| {
            self.serves(family)
                && other.serves(family)
                && match (self.bound_address(), other.bound_address()) {
                    (Some(a), Some(b)) => a == b,
                    _ => true,
                }
        });
        same_port && share_address
    }
}

impl fmt::Display for PublishedPort {
    /// As `docker port` writes it: `8080:80/tcp`, `127.0.0.1:8080:80/tcp`, `[::1]:8080:80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            None => {}
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
        }
        write!(f, "{}:{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Option<(Option<&str>, Option<u16>, u16, Protocol)>) {
        let got = text.parse::<PortRequest>().ok();
        let expected = expected.map(|(ip, host_port, container_port, protocol)| PortRequest {
            host_ip: ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port,
            protocol,
        });
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn every_form() {
        use Protocol::{Tcp, Udp};
        check("80", Some((None, None, 80, Tcp)));
        check("8080:80", Some((None, Some(8080), 80, Tcp)));
        check("8080:80/udp", Some((None, Some(8080), 80, Udp)));
        check("8080:80/TCP", Some((None, Some(8080), 80, Tcp)));
        check("127.0.0.1:8080:80", Some((Some("127.0.0.1"), Some(8080), 80, Tcp)));
        check("127.0.0.1::80", Some((Some("127.0.0.1"), None, 80, Tcp)));
        check("0:80", Some((None, None, 80, Tcp)));
        check("[::1]:8080:80", Some((Some("::1"), Some(8080), 80, Tcp)));
        check("[fd00::1]::53/udp", Some((Some("fd00::1"), None, 53, Udp)));
        check(":8080:80", Some((None, Some(8080), 80, Tcp)));
        for bad in [
            "",
            "0",
            "65536",
            "-1:80",
            "80/",
            "80/icmp",
            "x:80",
            "1.2.3:1:80",
            "::1:8080:80",
            "[::1]8080:80",
            "[::1:80",
            "1:2:3:4",
            "+80",
            "8080:",
        ] {
            check(bad, None);
        }
    }

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

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<PortRequest>();
        }
    }
}
