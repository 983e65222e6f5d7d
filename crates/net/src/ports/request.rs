//! What a user asked to publish and to expose.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{PortRange, Protocol, PublishedPort, share_address, write_host};

/// What one `-p` asks for: a container's ports, each to be published at a port of the host.
///
/// It is recorded as the text that it is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRequest {
    host_ip: Option<IpAddr>,
    /// As long as `container`; or longer, if that is one port.
    host: Option<PortRange>,
    container: PortRange,
    protocol: Protocol,
}

/// One port of a container that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WantedPort {
    /// The host's address to listen at; `None` is every address of both families.
    pub host_ip: Option<IpAddr>,
    /// The host's port: the one of the range, or a free one of several, or any free one.
    pub host_port: Option<PortRange>,
    /// The container's port.
    pub container_port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl PortRequest {
    /// Publishes the ports `container` at `host_ip` (`None`: every address of both families): each at the one of `host`
    /// that has its place; a single one at a free one of `host`; all at free ports if `host` is missing.
    ///
    /// `None` if there are several ports on either side and not as many on the other.
    pub fn new(
        host_ip: Option<IpAddr>,
        host: Option<PortRange>,
        container: PortRange,
        protocol: Protocol,
    ) -> Option<Self> {
        let fits = host.is_none_or(|host| container.span() == 0 || container.span() == host.span());
        fits.then_some(PortRequest {
            host_ip,
            host,
            container,
            protocol,
        })
    }

    /// The host's address to listen at; `None` is every address of both families.
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host_ip
    }

    /// The container's ports.
    pub fn container(&self) -> PortRange {
        self.container
    }

    /// The transport protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The same, at `address` if it names none.
    #[must_use]
    pub fn or_at(self, address: Option<IpAddr>) -> Self {
        PortRequest {
            host_ip: self.host_ip.or(address),
            ..self
        }
    }

    /// The host's ports, if it leaves no choice of them.
    pub fn fixed(&self) -> Option<PortRange> {
        self.host.filter(|host| host.span() == self.container.span())
    }

    /// Each port, the lowest first.
    pub fn wanted(&self) -> impl Iterator<Item = WantedPort> + use<> {
        let request = *self;
        let fixed = self.fixed();
        self.container.ports().map(move |container_port| {
            // Both ranges are of one length, so the sum is a port of the host's.
            let own = |host: PortRange| host.first() + (container_port - request.container.first());
            WantedPort {
                host_ip: request.host_ip,
                host_port: match fixed {
                    Some(host) => PortRange::new(own(host), own(host)),
                    None => request.host,
                },
                container_port,
                protocol: request.protocol,
            }
        })
    }

    /// What is left of it without these ports of the container.
    fn without(&self, gone: &HashSet<u16>) -> Vec<PortRequest> {
        if gone.is_empty() {
            return vec![*self];
        }
        let left = self.wanted().filter(|wanted| !gone.contains(&wanted.container_port));
        let single = |wanted: WantedPort| {
            let container = PortRange::new(wanted.container_port, wanted.container_port)?;
            PortRequest::new(wanted.host_ip, wanted.host_port, container, wanted.protocol)
        };
        left.filter_map(single).collect()
    }

    /// Whether `port` may have come of this request.
    fn may_be(&self, port: &PublishedPort) -> bool {
        let offset = |host: PortRange| port.host_port - host.first() == port.container_port - self.container.first();
        self.protocol == port.protocol
            && self.container.contains(port.container_port)
            && (self.host_ip.is_none() || self.host_ip == port.host_ip)
            && self.host.is_none_or(|host| host.contains(port.host_port))
            && self.fixed().is_none_or(offset)
    }

    /// The lowest port of the host that both ask for, at an address that both listen at.
    fn conflict(&self, other: &PortRequest) -> Option<u16> {
        if self.protocol != other.protocol || !share_address(self.host_ip, other.host_ip) {
            return None;
        }
        self.fixed()?.meets(other.fixed()?)
    }
}

impl fmt::Display for PortRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, self.host_ip)?;
        match (self.host, self.host_ip) {
            (Some(host), _) => write!(f, "{host}:")?,
            (None, Some(_)) => f.write_str(":")?,
            (None, None) => {}
        }
        write!(f, "{}/{}", self.container, self.protocol)
    }
}

impl From<PortRequest> for String {
    fn from(request: PortRequest) -> String {
        request.to_string()
    }
}

/// What is left of requests when `removed` of what they have published is to be published no more. Each port came of
/// one of them; of several that may be it, the one that left the least choice.
pub fn without(requests: &[PortRequest], removed: &[PublishedPort]) -> Vec<PortRequest> {
    let choice = |request: &PortRequest| match (request.fixed(), request.host) {
        (Some(_), _) => 0,
        (None, Some(_)) => 1,
        (None, None) => 2,
    };
    let mut gone: Vec<HashSet<u16>> = vec![HashSet::new(); requests.len()];
    for port in removed {
        let may_be = requests
            .iter()
            .zip(&mut gone)
            .filter(|(request, gone)| request.may_be(port) && !gone.contains(&port.container_port));
        if let Some((_, gone)) = may_be.min_by_key(|(request, _)| choice(request)) {
            gone.insert(port.container_port);
        }
    }
    let left = requests.iter().zip(&gone);
    left.flat_map(|(request, gone)| request.without(gone)).collect()
}

/// The lowest port of the host that two of them ask for, at an address that both listen at; with one of the two.
pub fn first_conflict(requests: &[PortRequest]) -> Option<(u16, &PortRequest)> {
    let mut fixed: Vec<(PortRange, &PortRequest)> = requests
        .iter()
        .filter_map(|request| Some((request.fixed()?, request)))
        .collect();
    fixed.sort_unstable_by_key(|(range, _)| *range);
    fixed.iter().enumerate().find_map(|(place, (range, one))| {
        // Those behind begin where this one does, or later.
        let near = fixed[place + 1..]
            .iter()
            .take_while(|(other, _)| other.first() <= range.last());
        let conflicts = near.filter_map(|(_, other)| Some((one.conflict(other)?, *one)));
        conflicts.min_by_key(|(port, _)| *port)
    })
}

/// Ports that a container says it listens at (`--expose`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPorts {
    /// The ports.
    pub ports: PortRange,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for ContainerPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ports, self.protocol)
    }
}

impl From<ContainerPorts> for String {
    fn from(ports: ContainerPorts) -> String {
        ports.to_string()
    }
}

/// What `-P` adds to what was asked for: every exposed port that is not published, at a free port of the host.
pub fn publish_all(exposed: &[ContainerPorts], published: &[PortRequest]) -> Vec<PortRequest> {
    let mut missing: BTreeSet<(Protocol, u16)> = BTreeSet::new();
    for ContainerPorts { ports, protocol } in exposed {
        missing.extend(ports.ports().map(|port| (*protocol, port)));
    }
    for request in published {
        for port in request.container.ports() {
            missing.remove(&(request.protocol, port));
        }
    }
    let mut added: Vec<PortRequest> = Vec::new();
    for (protocol, port) in missing {
        match added.last_mut() {
            Some(run) if run.protocol == protocol && run.container.last + 1 == port => run.container.last = port,
            _ => added.push(PortRequest {
                host_ip: None,
                host: None,
                container: PortRange {
                    first: port,
                    last: port,
                },
                protocol,
            }),
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Vec<String> {
        let request: PortRequest = text.parse().unwrap();
        let show = |wanted: WantedPort| {
            let host = wanted.host_port.map_or_else(String::new, |range| range.to_string());
            format!("{host}:{}/{}", wanted.container_port, wanted.protocol)
        };
        request.wanted().map(show).collect()
    }

    #[test]
    fn each_port_of_a_range() {
        assert_eq!(wanted("8080:80"), ["8080:80/tcp"]);
        assert_eq!(
            wanted("8000-8002:80-82/udp"),
            ["8000:80/udp", "8001:81/udp", "8002:82/udp"]
        );
        assert_eq!(wanted("8000-8002:80"), ["8000-8002:80/tcp"]);
        assert_eq!(wanted("80-81"), [":80/tcp", ":81/tcp"]);
        assert_eq!(wanted("1-65535:1-65535").len(), 65535);
    }

    #[test]
    fn what_cannot_both_be() {
        for (one, other, port) in [
            ("8080:80", "8080:81", Some(8080)),
            ("8000-8080:80-160", "8070-8090:300-320", Some(8070)),
            ("8080:80", "127.0.0.1:8080:80", Some(8080)),
            ("127.0.0.1:8080:80", "127.0.0.2:8080:80", None),
            ("8080:80/tcp", "8080:80/udp", None),
            ("80", "80", None),
            // One of these is chosen, and another one will do.
            ("8080-8081:80", "8080:80", None),
            ("[::1]:8080:80", "127.0.0.1:8080:80", None),
            ("[::1]:8080:80", "8080:80", Some(8080)),
        ] {
            let (one, other): (PortRequest, PortRequest) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.conflict(&other), port, "{one} {other}");
            assert_eq!(other.conflict(&one), port, "{other} {one}");
            let among_others = ["1:1", "9999:1"].map(|text| text.parse().unwrap());
            let all = [&among_others[..], &[one, other]].concat();
            assert_eq!(first_conflict(&all).map(|(port, _)| port), port, "{one} {other}");
        }
        let many: Vec<PortRequest> = (1..=20_000).map(|port| format!("{port}:80").parse().unwrap()).collect();
        assert_eq!(first_conflict(&many), None);
    }

    #[test]
    fn all_that_is_exposed_and_not_published_is_added() {
        let exposed: Vec<ContainerPorts> = ["80-84", "82", "53/udp"].map(|text| text.parse().unwrap()).to_vec();
        let given = ["8080:82", "8053:53/tcp"].map(|text| text.parse().unwrap());
        let added: Vec<String> = publish_all(&exposed, &given).iter().map(ToString::to_string).collect();
        assert_eq!(added, ["80-81/tcp", "83-84/tcp", "53/udp"]);
        assert!(publish_all(&["1-65535".parse().unwrap()], &["1-65535".parse().unwrap()]).is_empty());
    }

    #[test]
    fn a_default_address_is_for_what_names_none() {
        let default = Some("127.0.0.1".parse().unwrap());
        let at = |text: &str| text.parse::<PortRequest>().unwrap().or_at(default).to_string();
        assert_eq!(at("8080:80"), "127.0.0.1:8080:80/tcp");
        assert_eq!(at("80"), "127.0.0.1::80/tcp");
        assert_eq!(at("0.0.0.0:8080:80"), "0.0.0.0:8080:80/tcp");
    }

    #[test]
    fn each_port_came_of_one_request() {
        let port = |host_port, container_port| PublishedPort {
            host_ip: None,
            host_port,
            container_port,
            protocol: Protocol::Tcp,
        };
        for (asked, removed, left) in [
            ("80 81:80", vec![port(81, 80)], "80/tcp"),
            ("80 81:80", vec![port(81, 80), port(32768, 80)], ""),
            ("8080-8090:80 8081:80", vec![port(8081, 80)], "8080-8090:80/tcp"),
            ("80 80", vec![port(32768, 80)], "80/tcp"),
        ] {
            let asked: Vec<PortRequest> = asked.split(' ').map(|text| text.parse().unwrap()).collect();
            let got: Vec<String> = without(&asked, &removed).iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), left);
        }
    }

    #[test]
    fn what_is_left_of_a_request() {
        let port = |host_ip: Option<&str>, host_port, container_port| PublishedPort {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port,
            protocol: Protocol::Tcp,
        };
        for (request, removed, left) in [
            ("8080:80", port(None, 8080, 80), ""),
            ("8080:80", port(None, 8081, 80), "8080:80/tcp"),
            ("8080:80/udp", port(None, 8080, 80), "8080:80/udp"),
            ("8000-8002:80-82", port(None, 8001, 81), "8000:80/tcp 8002:82/tcp"),
            ("8000-8002:80-82", port(None, 8001, 80), "8000-8002:80-82/tcp"),
            ("8000-8002:80", port(None, 8001, 80), ""),
            ("80-81", port(None, 40000, 80), "81/tcp"),
            ("80", port(Some("127.0.0.1"), 40000, 80), ""),
            (
                "127.0.0.1:8080:80",
                port(Some("127.0.0.2"), 8080, 80),
                "127.0.0.1:8080:80/tcp",
            ),
        ] {
            let request: PortRequest = request.parse().unwrap();
            let got: Vec<String> = without(&[request], &[removed])
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got.join(" "), left, "{request} without {removed}");
        }
    }

    #[test]
    fn requests_are_recorded_as_they_are_written() {
        let request: PortRequest = "[::1]:8000-8010:80-90/udp".parse().unwrap();
        assert_eq!(String::from(request), "[::1]:8000-8010:80-90/udp");
        assert_eq!(PortRequest::try_from(String::from(request)).unwrap(), request);
    }
}
