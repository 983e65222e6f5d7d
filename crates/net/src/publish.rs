//! Publishing ports of a container that is plugged in, and the relays that lead on from `::1`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::firewall::{Element, publish_elements};
use crate::model::{Endpoint, Network};
use crate::op::Op;
use crate::plan::forget_udp_flows;
use crate::ports::{Protocol, PublishedPort};
use crate::subnet::Family;

/// A port of `::1` and where what comes to it is sent on to. The kernel translates no packet to `::1` for any other place,
/// so a process has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relay {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port of `::1`.
    pub port: u16,
    /// The container's address and port.
    pub to: SocketAddr,
}

/// The relays of a container with these endpoints: one for each port that is published at every address, at every IPv6
/// address, or at `::1`. A container without an IPv6 address is reached at its IPv4 address.
pub fn relays<'a>(endpoints: impl IntoIterator<Item = (&'a Network, &'a Endpoint)>) -> Vec<Relay> {
    let open = endpoints.into_iter().filter(|(network, _)| !network.internal);
    let mut relays: Vec<Relay> = open.flat_map(|(_, endpoint)| relays_of(endpoint)).collect();
    relays.sort_unstable();
    relays
}

fn relays_of(endpoint: &Endpoint) -> impl Iterator<Item = Relay> {
    let address = endpoint.address(Family::V6).or(endpoint.address(Family::V4));
    let ports = endpoint
        .ports
        .iter()
        .filter(|port| port.protocol != Protocol::Sctp && listens_at_loopback_v6(port));
    ports.filter_map(move |port| {
        Some(Relay {
            protocol: port.protocol,
            port: port.host_port,
            to: SocketAddr::new(address?, port.container_port),
        })
    })
}

fn listens_at_loopback_v6(port: &PublishedPort) -> bool {
    port.serves(Family::V6) && (port.bound_address().is_none() || port.is_at_loopback_v6())
}

/// Where a published port of `endpoint` is reached, with wildcards for all addresses of a family: those of the families
/// that the container has, and `::1`, which is relayed.
pub fn reached_at(endpoint: &Endpoint, port: &PublishedPort) -> Vec<SocketAddr> {
    let has = |ip: &IpAddr| endpoint.address(Family::of(*ip)).is_some() || *ip == Ipv6Addr::LOCALHOST;
    let addresses = port.host_addresses().into_iter().filter(has);
    addresses.map(|ip| SocketAddr::new(ip, port.host_port)).collect()
}

/// Publishes `added` of an endpoint that is plugged in and has published `before`.
pub fn publish(network: &Network, endpoint: &Endpoint, before: &[PublishedPort], added: &[PublishedPort]) -> Vec<Op> {
    let mut ops = Vec::new();
    if added.is_empty() {
        return ops;
    }
    let elements: Vec<Element> = publish_elements(endpoint, added).collect();
    if !elements.is_empty() {
        ops.push(Op::AddElements(elements));
    }
    ops.extend(hairpin(network, endpoint, before.is_empty(), true));
    ops.extend(forget_udp_flows(added));
    ops
}

/// Unpublishes `removed` of an endpoint that is plugged in and then has `left`. TCP connections that are established go on
/// until they end, as they do when a server stops listening; UDP flows, which have no end, are cut.
pub fn unpublish(network: &Network, endpoint: &Endpoint, removed: &[PublishedPort], left: &[PublishedPort]) -> Vec<Op> {
    let mut ops = Vec::new();
    if removed.is_empty() {
        return ops;
    }
    let elements: Vec<Element> = publish_elements(endpoint, removed).collect();
    if !elements.is_empty() {
        ops.push(Op::DeleteElements(elements));
    }
    ops.extend(forget_udp_flows(removed));
    ops.extend(hairpin(network, endpoint, left.is_empty(), false));
    ops
}

/// Lets the bridge port send back what came by it, or not, if that `changes`: a container reaches its own published port.
fn hairpin(network: &Network, endpoint: &Endpoint, changes: bool, hairpin: bool) -> Option<Op> {
    let bridge = network.bridge.as_ref().filter(|_| changes)?;
    Some(Op::JoinBridge {
        link: endpoint.host_interface.clone(),
        bridge: bridge.name.clone(),
        hairpin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BridgeDevice, Driver, EndpointSettings, InterfaceAddress, Pool, Settings};
    use crate::names::{Id, MacAddress};

    fn network() -> Network {
        let subnet: crate::subnet::Subnet = "10.1.0.0/24".parse().unwrap();
        Network {
            id: Id::new([1; 32]),
            name: "web".parse().unwrap(),
            driver: Driver::Bridge,
            pools: vec![Pool::new(subnet, subnet.nth(1).unwrap())],
            bridge: Some(BridgeDevice {
                name: "web".parse().unwrap(),
                mac: MacAddress::local([1; 6]),
                mtu: 1500,
            }),
            parent: None,
            internal: false,
            masquerade: true,
            settings: Settings::default(),
            options: Default::default(),
            labels: Default::default(),
            created: 0,
        }
    }

    fn endpoint(addresses: &[&str], ports: &[PublishedPort]) -> Endpoint {
        let address = |text: &&str| InterfaceAddress {
            address: text.parse().unwrap(),
            prefix: 24,
        };
        Endpoint {
            id: Id::new([2; 32]),
            network: Id::new([1; 32]),
            container: Id::new([3; 32]),
            interface: "eth0".parse().unwrap(),
            host_interface: "zdv1".parse().unwrap(),
            mac: MacAddress::local([2; 6]),
            addresses: addresses.iter().map(address).collect(),
            gateways: Vec::new(),
            metric: None,
            routes: Vec::new(),
            ports: ports.to_vec(),
            settings: EndpointSettings::default(),
        }
    }

    fn port(host_ip: &str, protocol: Protocol) -> PublishedPort {
        PublishedPort {
            host_ip: host_ip.parse().ok(),
            host_port: 8080,
            container_port: 80,
            protocol,
        }
    }

    #[test]
    fn what_is_relayed_and_where_it_is_reached() {
        let (v4, both) = (&["10.1.0.2"][..], &["10.1.0.2", "fd00::2"][..]);
        for (host_ip, addresses, relayed, reached) in [
            ("*", both, Some("[fd00::2]:80"), "0.0.0.0:8080 [::]:8080"),
            ("*", v4, Some("10.1.0.2:80"), "0.0.0.0:8080"),
            ("::", both, Some("[fd00::2]:80"), "[::]:8080"),
            ("::1", both, Some("[fd00::2]:80"), "[::1]:8080"),
            ("::1", v4, Some("10.1.0.2:80"), "[::1]:8080"),
            ("0.0.0.0", both, None, "0.0.0.0:8080"),
            ("127.0.0.1", both, None, "127.0.0.1:8080"),
            ("2001:db8::1", both, None, "[2001:db8::1]:8080"),
        ] {
            let ports = [port(host_ip, Protocol::Tcp), port(host_ip, Protocol::Sctp)];
            let endpoint = endpoint(addresses, &ports);
            let got: Vec<String> = relays([(&network(), &endpoint)])
                .iter()
                .map(|r| r.to.to_string())
                .collect();
            assert_eq!(got, relayed.into_iter().collect::<Vec<_>>(), "{host_ip}");
            let got: Vec<String> = reached_at(&endpoint, &ports[0])
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got.join(" "), reached, "{host_ip}");
        }
        let internal = Network {
            internal: true,
            ..network()
        };
        assert!(relays([(&internal, &endpoint(v4, &[port("*", Protocol::Tcp)]))]).is_empty());
    }

    fn check(plan: &[Op], expected: &[&str]) {
        let shown: Vec<String> = plan.iter().map(ToString::to_string).collect();
        let lines: Vec<&str> = shown.iter().flat_map(|op| op.lines()).collect();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, words) in lines.iter().zip(expected) {
            assert!(line.contains(words), "{line:?} has no {words:?}");
        }
    }

    #[test]
    fn the_first_port_and_the_last() {
        let network = network();
        let (tcp, udp) = (port("*", Protocol::Tcp), port("127.0.0.1", Protocol::Udp));
        let endpoint = endpoint(&["10.1.0.2"], &[]);
        check(
            &publish(&network, &endpoint, &[], &[tcp, udp]),
            &[
                "add element inet zdocker pub4any",
                "add element inet zdocker pub4 ",
                "master web",
                "hairpin on",
                "conntrack -D -p udp --orig-port-dst 8080",
            ],
        );
        check(
            &publish(&network, &endpoint, &[tcp], &[udp]),
            &["pub4 ", "conntrack -D"],
        );
        check(
            &unpublish(&network, &endpoint, &[tcp], &[udp]),
            &["delete element inet zdocker pub4any"],
        );
        check(
            &unpublish(&network, &endpoint, &[udp], &[]),
            &["pub4 ", "conntrack -D", "master web", "hairpin off"],
        );
        check(
            &publish(&network, &endpoint, &[tcp], &[port("::1", Protocol::Tcp)]),
            &[],
        );
        check(&publish(&network, &endpoint, &[], &[]), &[]);
        check(&unpublish(&network, &endpoint, &[], &[tcp]), &[]);
    }
}
