//! From networks, endpoints and what was seen of the host to the steps that make them real, and those that take them away.
//!
//! Every choice is made here (and in [`crate::spec`]); carrying the steps out makes none.

use crate::firewall::{Element, endpoint_elements, network_elements};
use crate::model::{BridgeDevice, Endpoint, Network};
use crate::op::{HostPort, NamespacePath, Op, Place};
use crate::ports::{Protocol, PublishedPort};
use crate::seen::{Seen, SeenBridge};
use crate::subnet::{Family, Subnet};

/// Prefix length of IPv6 link-local addresses (RFC 4291, 2.5.6).
const LINK_LOCAL_PREFIX: u8 = 64;

/// Makes `network` real. Nothing for networks without a bridge.
pub fn create_network(network: &Network, seen: &Seen) -> Vec<Op> {
    let Some(bridge) = &network.bridge else {
        return Vec::new();
    };
    let mut ops = forwarding(network, seen);
    if !seen.firewall {
        ops.push(Op::LoadFirewall);
    }
    ops.extend(create_bridge(network, bridge));
    // The elements come last: they are what an undo has to take back by name.
    ops.push(Op::AddElements(network_elements(network)));
    ops
}

fn create_bridge(network: &Network, bridge: &BridgeDevice) -> Vec<Op> {
    let BridgeDevice { name, mac, mtu } = bridge;
    let mut ops = vec![Op::CreateBridge {
        name: name.clone(),
        mac: *mac,
        mtu: *mtu,
    }];
    let address = |address, prefix| Op::AddAddress {
        place: Place::Host,
        link: name.clone(),
        address,
        prefix,
    };
    ops.extend(
        network
            .pools
            .iter()
            .map(|pool| address(pool.gateway, pool.subnet.prefix())),
    );
    if network.pool(Family::V6).is_some() {
        ops.push(address(mac.link_local().into(), LINK_LOCAL_PREFIX));
    }
    ops.push(Op::SetUp {
        place: Place::Host,
        link: name.clone(),
    });
    ops
}

/// Lets the host forward the packets of the network's families.
fn forwarding(network: &Network, seen: &Seen) -> Vec<Op> {
    let set = |key: String, value: &str| Op::SetSysctl {
        key,
        value: value.to_owned(),
    };
    let mut ops = Vec::new();
    if network.pool(Family::V4).is_some() && !seen.forwarding_v4 {
        ops.push(set("net/ipv4/ip_forward".to_owned(), "1"));
    }
    if network.pool(Family::V6).is_some() && seen.forwarding_v6 == Some(false) {
        // A host that forwards no longer listens to router advertisements, and would lose the default route that it has
        // from them, unless its interfaces are told to listen all the same (Documentation/networking/ip-sysctl.rst).
        ops.extend(
            seen.accept_ra
                .iter()
                .map(|link| set(format!("net/ipv6/conf/{link}/accept_ra"), "2")),
        );
        ops.push(set("net/ipv6/conf/all/forwarding".to_owned(), "1"));
    }
    ops
}

/// Takes `network` away, planned from its record alone.
pub fn remove_network(network: &Network) -> Vec<Op> {
    let Some(bridge) = &network.bridge else {
        return Vec::new();
    };
    vec![
        Op::DeleteLink {
            name: bridge.name.clone(),
        },
        Op::DeleteElements(network_elements(network)),
    ]
}

/// What stands in the way of making a network real again, as it must be after a reboot or a flush of the firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: bridge and tables are there.
    Nothing,
    /// The bridge is not there.
    Bridge,
    /// The bridge is there, the tables or some of their rules are not.
    Firewall,
    /// An interface of the bridge's name is there, and it is not ours.
    NotOurs,
}

/// Compares the record of a network with what was seen of its bridge.
pub fn missing(bridge: &BridgeDevice, seen: &SeenBridge) -> Missing {
    match &seen.link {
        None => Missing::Bridge,
        Some(link) if link.mac != Some(bridge.mac) => Missing::NotOurs,
        Some(_) if !seen.firewall => Missing::Firewall,
        Some(_) => Missing::Nothing,
    }
}

/// Makes the network namespace of a container.
pub fn create_namespace(namespace: &NamespacePath) -> Op {
    Op::CreateNamespace {
        path: namespace.clone(),
    }
}

/// Plugs `endpoint` into `network`'s bridge.
pub fn attach(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let Some(bridge) = &network.bridge else {
        return Vec::new();
    };
    // The guard stands before the port does.
    let mut ops = vec![Op::AddElements(endpoint_elements(network, endpoint))];
    ops.extend(plug(bridge, endpoint, namespace));
    ops.extend(forget_udp_flows(&endpoint.ports));
    ops
}

/// Plugs `endpoint` in again after somebody deleted its interface; its elements are still there.
pub fn reattach(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    match &network.bridge {
        Some(bridge) => plug(bridge, endpoint, namespace),
        None => Vec::new(),
    }
}

fn plug(bridge: &BridgeDevice, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let inside = Place::Namespace(namespace.clone());
    let mut ops = vec![Op::CreateVeth {
        host: endpoint.host_interface.clone(),
        bridge: bridge.name.clone(),
        namespace: namespace.clone(),
        peer: endpoint.interface.clone(),
        mac: endpoint.mac,
        mtu: bridge.mtu,
        hairpin: !endpoint.ports.is_empty(),
    }];
    let address = |address, prefix| Op::AddAddress {
        place: inside.clone(),
        link: endpoint.interface.clone(),
        address,
        prefix,
    };
    ops.extend(endpoint.addresses.iter().map(|a| address(a.address, a.prefix)));
    if endpoint.address(Family::V6).is_some() {
        ops.push(address(endpoint.mac.link_local().into(), LINK_LOCAL_PREFIX));
    }
    ops.push(Op::SetUp {
        place: inside.clone(),
        link: endpoint.interface.clone(),
    });
    ops.extend(endpoint.gateways.iter().map(|gateway| Op::AddRoute {
        place: inside.clone(),
        destination: Subnet::default_route(Family::of(*gateway)),
        via: *gateway,
        link: endpoint.interface.clone(),
    }));
    ops
}

/// Unplugs `endpoint`, planned from its record alone. The interface goes with the container's namespace, which is not
/// waited for; `keeps_namespace` deletes it at once instead, for a container that stays.
pub fn detach(network: &Network, endpoint: &Endpoint, keeps_namespace: bool) -> Vec<Op> {
    let mut ops = vec![Op::DeleteElements(endpoint_elements(network, endpoint))];
    ops.extend(forget_udp_flows(&endpoint.ports));
    if keeps_namespace {
        ops.push(Op::DeleteLink {
            name: endpoint.host_interface.clone(),
        });
    }
    ops
}

pub(crate) fn forget_udp_flows(ports: &[PublishedPort]) -> Option<Op> {
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let host_port = |port: &PublishedPort| HostPort {
        address: port.bound_address(),
        port: port.host_port,
    };
    let mut ports: Vec<HostPort> = udp.map(host_port).collect();
    ports.sort_unstable();
    ports.dedup();
    (!ports.is_empty()).then_some(Op::ForgetUdpFlows { ports })
}

/// Puts the ports of endpoints back into the bridge of their network: those that are there, and in no bridge or in
/// another. So it is after somebody deleted the bridge.
pub fn rejoin<'a>(network: &Network, endpoints: impl IntoIterator<Item = &'a Endpoint>, seen: &Seen) -> Vec<Op> {
    let Some(bridge) = &network.bridge else {
        return Vec::new();
    };
    let astray = endpoints
        .into_iter()
        .filter(|endpoint| seen.link(&endpoint.host_interface).is_some())
        .filter(|endpoint| seen.master(&endpoint.host_interface) != Some(&bridge.name));
    let join = |endpoint: &Endpoint| Op::JoinBridge {
        link: endpoint.host_interface.clone(),
        bridge: bridge.name.clone(),
        hairpin: !endpoint.ports.is_empty(),
    };
    astray.map(join).collect()
}

/// Loads the firewall anew, with the elements of all networks that are real and of all endpoints plugged into them.
pub fn restore_firewall<'a>(
    networks: impl IntoIterator<Item = &'a Network>,
    endpoints: impl IntoIterator<Item = (&'a Network, &'a Endpoint)>,
) -> Vec<Op> {
    let mut elements: Vec<Element> = networks.into_iter().flat_map(network_elements).collect();
    elements.extend(
        endpoints
            .into_iter()
            .flat_map(|(network, endpoint)| endpoint_elements(network, endpoint)),
    );
    vec![Op::RestoreFirewall(elements)]
}
