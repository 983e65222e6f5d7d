//! Published ports, as Podman writes them, and by which of the container's networks they are reached.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{anyhow, bail};
use serde_json::Value;
use zdocker_net::ports::{Protocol, PublishedPort};
use zdocker_net::subnet::Family;

use super::input::Object;
use super::network::Wanted;

/// Every port of a list of mappings, which may be ranges, and for several protocols.
///
/// # Errors
/// What is no port.
pub(super) fn read(mappings: &Value) -> anyhow::Result<Vec<PublishedPort>> {
    let mut ports = Vec::new();
    for mapping in mappings.as_array().into_iter().flatten() {
        expand(Object::of("a port mapping", mapping)?, &mut ports)?;
    }
    Ok(ports)
}

fn expand(mapping: Object, ports: &mut Vec<PublishedPort>) -> anyhow::Result<()> {
    let (host, container) = (mapping.number("host_port")?, mapping.number("container_port")?);
    let count = mapping.number("range")?.max(1);
    let host_ip = match mapping.text("host_ip")? {
        "" => None,
        text => Some(
            text.parse::<IpAddr>()
                .map_err(|_| anyhow!("invalid host ip \"{text}\" provided for port {host}"))?,
        ),
    };
    let protocols = match mapping.text("protocol")? {
        "" => "tcp",
        text => text,
    };
    if host == 0
        || container == 0
        || host.checked_add(count - 1).is_none()
        || container.checked_add(count - 1).is_none()
    {
        bail!("invalid port mapping {host}:{container} with range {count}: ports are from 1 to 65535");
    }
    for protocol in protocols.split(',') {
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => bail!("unknown protocol \"{other}\" of port {host}: there are tcp, udp and sctp"),
        };
        ports.extend((0..count).map(|offset| PublishedPort {
            host_ip,
            host_port: host + offset,
            container_port: container + offset,
            protocol,
        }));
    }
    Ok(())
}

/// Has each port published by the first network that can, for each family by itself.
pub(super) fn share_out(ports: &[PublishedPort], networks: &mut [Wanted]) {
    let first = |family: Family| networks.iter().position(|wanted| wanted.publishes(family));
    let (v4, v6) = (first(Family::V4), first(Family::V6));
    // What is asked for twice is published once.
    let mut seen = HashSet::new();
    for place in ports.iter().flat_map(|port| places(port, v4, v6)) {
        if seen.insert(place) {
            networks[place.0].request.ports.push(place.1);
        }
    }
}

/// The networks that a port is published by, and how.
fn places(port: &PublishedPort, v4: Option<usize>, v6: Option<usize>) -> Vec<(usize, PublishedPort)> {
    if let (None, Some(both), true) = (port.host_ip, v4, v4 == v6) {
        return vec![(both, *port)];
    }
    let families = [(Family::V4, v4), (Family::V6, v6)].into_iter();
    let served = families.filter(|(family, _)| port.serves(*family));
    let place = |(family, network): (Family, Option<usize>)| {
        let host_ip = Some(port.host_ip.unwrap_or(family.unspecified()));
        Some((network?, PublishedPort { host_ip, ..*port }))
    };
    served.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(mapping: Value) -> String {
        match read(&json!([mapping])) {
            Ok(ports) => ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn mappings_are_expanded() {
        let mapping = |ip: &str, host: u32, container: u32, protocol: &str, range: u32| {
            shown(
                json!({"host_ip": ip, "host_port": host, "container_port": container, "protocol": protocol,
                "range": range}),
            )
        };
        assert_eq!(mapping("", 80, 8080, "", 0), "80:8080/tcp");
        assert_eq!(
            mapping("127.0.0.1", 80, 90, "tcp,udp", 2),
            "127.0.0.1:80:90/tcp 127.0.0.1:81:91/tcp 127.0.0.1:80:90/udp 127.0.0.1:81:91/udp"
        );
        assert_eq!(mapping("::", 80, 80, "sctp", 1), "[::]:80:80/sctp");
        assert_eq!(
            mapping("abcd", 8080, 80, "tcp", 1),
            "error: invalid host ip \"abcd\" provided for port 8080"
        );
        for wrong in [
            mapping("", 65535, 80, "tcp", 2),
            mapping("", 80, 65535, "tcp", 2),
            mapping("", 0, 80, "tcp", 1),
            mapping("", 80, 70000, "tcp", 1),
            mapping("", 80, 80, "dccp", 1),
            shown(json!({"host_port": 80})),
        ] {
            assert!(wrong.starts_with("error: "), "{wrong}");
        }
    }

    #[test]
    fn each_family_has_its_first_network() {
        let port = |ip: Option<&str>| PublishedPort {
            host_ip: ip.map(|ip| ip.parse().unwrap()),
            host_port: 80,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let shown = |ip, v4, v6| {
            let places = places(&port(ip), v4, v6).into_iter();
            places
                .map(|(network, port)| format!("{network} {port}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(shown(None, Some(0), Some(0)), "0 80:80/tcp");
        assert_eq!(shown(None, Some(0), Some(1)), "0 0.0.0.0:80:80/tcp, 1 [::]:80:80/tcp");
        assert_eq!(shown(None, Some(0), None), "0 0.0.0.0:80:80/tcp");
        assert_eq!(shown(None, None, None), "");
        assert_eq!(shown(Some("127.0.0.1"), Some(1), Some(0)), "1 127.0.0.1:80:80/tcp");
        assert_eq!(shown(Some("::1"), Some(1), None), "");
    }
}
