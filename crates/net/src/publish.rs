//! Publishing ports of a container that is plugged in, and the relays that lead on from `::1`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::firewall::port_elements;
use crate::model::{Endpoint, Network};
use crate::op::Op;
use crate::plan::{forget_udp_flows, hairpin, join_bridge, without};
use crate::ports::{Protocol, PublishedPort};
use crate::subnet::Family;

/// A port of `::1` and where what comes to it is sent on to. The kernel translates no packet to `::1` for any other
/// place, so a process has to.
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
    let mut relays: Vec<Relay> = open
        .flat_map(|(network, endpoint)| relays_of(network, endpoint))
        .collect();
    relays.sort_unstable();
    relays
}

fn relays_of(network: &Network, endpoint: &Endpoint) -> impl Iterator<Item = Relay> {
    // Where nothing is translated, ports of the host lead nowhere.
    let translated = |family: &Family| network.settings.gateway_mode(*family).translates();
    let families = [Family::V6, Family::V4].into_iter().filter(translated);
    let address = families.filter_map(|family| endpoint.address(family)).next();
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

/// Publishes more ports of an endpoint that is plugged in: `before` becomes `after`, which has all of its ports.
pub fn publish(network: &Network, before: &Endpoint, after: &Endpoint) -> Vec<Op> {
    let gained = without(
        &port_elements(network, after, &after.ports),
        &port_elements(network, before, &before.ports),
    );
    let mut ops = Vec::new();
    if !gained.is_empty() {
        ops.push(Op::AddElements(gained));
    }
    ops.extend(turn_hairpin(network, before, after));
    ops.extend(forget_udp_flows(&beside(&after.ports, &before.ports)));
    ops
}

/// Unpublishes ports of an endpoint that is plugged in: `before` becomes `after`, which has no others. TCP connections
/// that are established go on until they end, as they do when a server stops listening; UDP flows, which have no end,
/// are cut.
pub fn unpublish(network: &Network, before: &Endpoint, after: &Endpoint) -> Vec<Op> {
    let lost = without(
        &port_elements(network, before, &before.ports),
        &port_elements(network, after, &after.ports),
    );
    let mut ops = Vec::new();
    if !lost.is_empty() {
        ops.push(Op::DeleteElements(lost));
    }
    ops.extend(forget_udp_flows(&beside(&before.ports, &after.ports)));
    ops.extend(turn_hairpin(network, before, after));
    ops
}

/// Those of the `ports` that are none of the `others`.
pub fn beside(ports: &[PublishedPort], others: &[PublishedPort]) -> Vec<PublishedPort> {
    let others: HashSet<&PublishedPort> = others.iter().collect();
    ports.iter().filter(|port| !others.contains(port)).copied().collect()
}

/// Those of the ports that are among the `others`, too.
pub fn common(ports: &[PublishedPort], others: &[PublishedPort]) -> Vec<PublishedPort> {
    let others: HashSet<&PublishedPort> = others.iter().collect();
    ports.iter().filter(|port| others.contains(port)).copied().collect()
}

/// Lets the bridge port send back what came by it, or not any more: a container reaches its own published port.
fn turn_hairpin(network: &Network, before: &Endpoint, after: &Endpoint) -> Option<Op> {
    let bridge = network.bridge.as_ref()?;
    (hairpin(network, before) != hairpin(network, after)).then(|| join_bridge(network, bridge, after))
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
            bridge: Some(BridgeDevice::own(
                "web".parse().unwrap(),
                MacAddress::local([1; 6]),
                1500,
            )),
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
            reply_table: None,
            routes: Vec::new(),
            ports: ports.to_vec(),
            settings: EndpointSettings::default(),
            sandbox: None,
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
        let with = |ports: &[PublishedPort]| endpoint(&["10.1.0.2"], ports);
        check(
            &publish(&network, &with(&[]), &with(&[tcp, udp])),
            &[
                "add element inet zdocker pub4any",
                "add element inet zdocker pub4 ",
                "master web",
                "hairpin on",
                "conntrack -D -p udp --orig-port-dst 8080",
            ],
        );
        check(
            &publish(&network, &with(&[tcp]), &with(&[tcp, udp])),
            &["pub4 ", "conntrack -D"],
        );
        check(
            &unpublish(&network, &with(&[tcp, udp]), &with(&[udp])),
            &["delete element inet zdocker pub4any"],
        );
        check(
            &unpublish(&network, &with(&[udp]), &with(&[])),
            &["pub4 ", "conntrack -D", "master web", "hairpin off"],
        );
        let relayed = port("::1", Protocol::Tcp);
        check(&publish(&network, &with(&[tcp]), &with(&[tcp, relayed])), &[]);
        check(&publish(&network, &with(&[tcp]), &with(&[tcp])), &[]);
    }

    #[test]
    fn what_two_ports_need_stays_with_the_second() {
        let mut network = network();
        network.settings.trusted = vec!["eth9".parse().unwrap()];
        let (one, two) = (port("192.0.2.1", Protocol::Tcp), port("192.0.2.2", Protocol::Tcp));
        let with = |ports: &[PublishedPort]| endpoint(&["10.1.0.2"], ports);
        let opens = |plan: Vec<Op>| {
            plan.iter()
                .filter(|op| op.to_string().contains("10.1.0.2 . tcp . 80"))
                .count()
        };
        assert_eq!(opens(publish(&network, &with(&[]), &with(&[one]))), 1);
        assert_eq!(opens(publish(&network, &with(&[one]), &with(&[one, two]))), 0);
        assert_eq!(opens(unpublish(&network, &with(&[one, two]), &with(&[two]))), 0);
        assert_eq!(opens(unpublish(&network, &with(&[two]), &with(&[]))), 1);
    }
}
