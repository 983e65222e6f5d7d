//! Which of a container's published ports are meant.

use std::fmt;
use std::str::FromStr;

use super::parse::{Parts, Reason, SELECTOR};
use super::{PortError, PortRange, Protocol, PublishedPort};

/// Names published ports that are there: by the container's port, by the host's, or by what they were published as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSelector {
    text: String,
    parts: Parts,
}

impl FromStr for PortSelector {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let error = |reason: Reason| reason.of(text, SELECTOR);
        let parts = Parts::parse(text).map_err(error)?;
        match (parts.host, parts.container) {
            (None, None) => return Err(error(Reason::NoContainerPort)),
            (Some(host), Some(container)) if container.span() > 0 && container.span() != host.span() => {
                return Err(error(Reason::Lengths(host, container)));
            }
            _ => {}
        }
        Ok(PortSelector {
            text: text.to_owned(),
            parts,
        })
    }
}

impl PortSelector {
    /// Whether `port` is one of those that are meant. What is not said does not matter; only without a protocol it is
    /// TCP.
    pub fn takes(&self, port: &PublishedPort) -> bool {
        let Parts {
            host_ip,
            host,
            container,
            protocol,
        } = &self.parts;
        let has = |range: &Option<PortRange>, port| range.is_none_or(|range| range.contains(port));
        let pair = match (host, container) {
            (Some(host), Some(container)) if container.span() > 0 => {
                host.contains(port.host_port)
                    && container.contains(port.container_port)
                    && port.host_port - host.first() == port.container_port - container.first()
            }
            _ => has(host, port.host_port) && has(container, port.container_port),
        };
        pair && host_ip.is_none_or(|ip| port.host_ip == Some(ip)) && port.protocol == protocol.unwrap_or(Protocol::Tcp)
    }
}

impl fmt::Display for PortSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_meant_by_any_part() {
        let port = |host_ip: Option<&str>, host_port, container_port, protocol| PublishedPort {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port,
            protocol,
        };
        let ports = [
            port(None, 8080, 80, Protocol::Tcp),
            port(None, 8080, 80, Protocol::Udp),
            port(Some("127.0.0.1"), 9090, 80, Protocol::Tcp),
            port(None, 8081, 81, Protocol::Tcp),
            port(None, 82, 8080, Protocol::Tcp),
        ];
        for (text, expected) in [
            ("80", vec![0, 2]),
            ("80/udp", vec![1]),
            ("80-81", vec![0, 2, 3]),
            ("8080:80", vec![0]),
            ("8080:80/tcp", vec![0]),
            ("8080-8081:80-81", vec![0, 3]),
            ("8081-8082:80-81", vec![]),
            ("127.0.0.1:9090:80", vec![2]),
            ("127.0.0.1::80", vec![2]),
            ("127.0.0.2:9090:80", vec![]),
            ("8080", vec![4]),
            ("published=8080", vec![0]),
            ("published=8080-9090", vec![0, 2, 3]),
            ("published=8080,target=81", vec![]),
            ("target=80,protocol=udp", vec![1]),
        ] {
            let selector: PortSelector = text.parse().unwrap();
            let taken: Vec<usize> = (0..ports.len()).filter(|n| selector.takes(&ports[*n])).collect();
            assert_eq!(taken, expected, "{text}");
        }
        for bad in ["", "x", "mode=host", "published=", "1-2:1-3"] {
            assert!(bad.parse::<PortSelector>().is_err(), "{bad}");
        }
    }
}
