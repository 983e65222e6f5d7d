//! From networks, endpoints and what was seen of the host to the steps that make them real, and those that take them away.
//!
//! Every choice is made here (and in [`crate::spec`]); carrying the steps out makes none.

mod parent;

use std::net::IpAddr;

use std::collections::HashSet;

use crate::firewall::{Element, endpoint_elements, network_elements};
use crate::mend::SeenPort;
use crate::model::{BridgeDevice, Endpoint, Network, Pool, Route};
use crate::names::InterfaceName;
use crate::op::{HostPort, NamespacePath, Op, Place};
use crate::ports::{Protocol, PublishedPort};
use crate::seen::{Seen, SeenBridge};
use crate::shaping;
use crate::subnet::{Family, Subnet};

/// Prefix length of IPv6 link-local addresses (RFC 4291, 2.5.6).
const LINK_LOCAL_PREFIX: u8 = 64;

/// Makes `network` real. Nothing for networks without an interface of their own.
pub fn create_network(network: &Network, seen: &Seen) -> Vec<Op> {
    if let Some(device) = &network.parent {
        return parent::create(device, seen);
    }
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

pub(crate) fn create_bridge(network: &Network, bridge: &BridgeDevice) -> Vec<Op> {
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
    let borne = |pool: &&Pool| network.settings.has_gateway_address(pool.subnet.family());
    let pools = network.pools.iter().filter(borne);
    ops.extend(pools.map(|pool| address(pool.gateway, pool.subnet.prefix())));
    if network.pool(Family::V6).is_some() && network.settings.has_gateway_address(Family::V6) {
        ops.push(address(mac.link_local().into(), LINK_LOCAL_PREFIX));
    }
    ops.push(Op::SetUp {
        place: Place::Host,
        link: name.clone(),
    });
    ops
}

/// Lets the host forward the packets of the network's families.
pub(crate) fn forwarding(network: &Network, seen: &Seen) -> Vec<Op> {
    let set = |key: String, value: &str| Op::SetSysctl {
        place: Place::Host,
        key,
        value: value.to_owned(),
    };
    let mut ops = Vec::new();
    if network.pool(Family::V4).is_some() && !seen.forwarding_v4 {
        ops.push(set("net/ipv4/ip_forward".to_owned(), "1"));
    }
    if network.pool(Family::V6).is_some() && seen.forwarding_v6 == Some(false) {
        // A host that forwards no longer listens to router advertisements, and would lose the default route that it has
        // from them, unless its interfaces are told to listen all the same (Documentation/networking/ip-sysctl.rst). A
        // bridge's port, as those of containers are that come and go, listens to none.
        let listening = seen.accept_ra.iter().filter(|link| seen.master(link).is_none());
        ops.extend(listening.map(|link| set(format!("net/ipv6/conf/{link}/accept_ra"), "2")));
        ops.push(set("net/ipv6/conf/all/forwarding".to_owned(), "1"));
    }
    ops
}

/// Takes `network` away, planned from its record alone.
pub fn remove_network(network: &Network) -> Vec<Op> {
    if let Some(device) = &network.parent {
        return parent::remove(device);
    }
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
    /// The parent interface is not there.
    Parent,
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

/// Plugs `endpoint` into `network`.
pub fn attach(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    if let Some(device) = &network.parent {
        return parent::plug(network, device, endpoint, namespace);
    }
    let Some(bridge) = &network.bridge else {
        return Vec::new();
    };
    // The guard stands before the port does.
    let mut ops = vec![Op::AddElements(endpoint_elements(network, endpoint))];
    ops.extend(plug(network, bridge, endpoint, namespace));
    ops.extend(forget_udp_flows(&endpoint.ports));
    ops
}

/// Plugs `endpoint` in again after somebody deleted its interface; its elements are still there. `queue` is whether what
/// limited the interface has outlived it.
pub fn reattach(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath, queue: bool) -> Vec<Op> {
    let mut ops: Vec<Op> = shaping::unlimit(endpoint).filter(|_| queue).into_iter().collect();
    match (&network.bridge, &network.parent) {
        (Some(bridge), _) => ops.extend(plug(network, bridge, endpoint, namespace)),
        (None, Some(device)) => ops.extend(parent::plug(network, device, endpoint, namespace)),
        (None, None) => {}
    }
    ops
}

fn plug(network: &Network, bridge: &BridgeDevice, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let mut ops = vec![Op::CreateVeth {
        host: endpoint.host_interface.clone(),
        bridge: bridge.name.clone(),
        namespace: namespace.clone(),
        peer: endpoint.interface.clone(),
        mac: endpoint.mac,
        mtu: bridge.mtu,
        hairpin: hairpin(network, endpoint),
        isolated: network.settings.no_neighbours,
    }];
    ops.extend(shaping::limit(endpoint, bridge.mtu));
    ops.extend(configure(network, endpoint, namespace));
    ops
}

/// Gives the interface of an endpoint its addresses and routes, and sets it up.
pub(crate) fn configure(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let inside = Place::Namespace(namespace.clone());
    let mut ops: Vec<Op> = Vec::new();
    ops.extend(endpoint.settings.sysctls.iter().map(|(key, value)| Op::SetSysctl {
        place: inside.clone(),
        key: key.clone(),
        value: value.clone(),
    }));
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
    ops.extend(routes(network, endpoint).into_iter().map(|way| way.add(namespace)));
    ops
}

/// Whether the port of `endpoint` sends frames back where they came from, as its container needs to reach what is
/// published of itself.
pub(crate) fn hairpin(network: &Network, endpoint: &Endpoint) -> bool {
    !endpoint.ports.is_empty() && !network.settings.no_hairpin
}

/// How the port of `endpoint` is to be set up.
pub(crate) fn port_settings(network: &Network, endpoint: &Endpoint) -> SeenPort {
    SeenPort {
        hairpin: hairpin(network, endpoint),
        isolated: network.settings.no_neighbours,
    }
}

/// Unplugs `endpoint`, planned from its record alone. The interface goes with the container's namespace, which is not
/// waited for; from a namespace that `stays` it is deleted at once instead. What limits what it sends is in no such
/// namespace, and is waited for.
pub fn detach(network: &Network, endpoint: &Endpoint, stays: Option<&NamespacePath>) -> Vec<Op> {
    let mut ops = Vec::new();
    if network.parent.is_none() {
        ops.push(Op::DeleteElements(endpoint_elements(network, endpoint)));
    }
    ops.extend(forget_udp_flows(&endpoint.ports));
    if let Some(namespace) = stays {
        ops.push(if network.parent.is_some() {
            parent::unplug(endpoint, namespace)
        } else {
            Op::DeleteLink {
                name: endpoint.host_interface.clone(),
            }
        });
        // Routes go with the interface, rules do not.
        let rules = routes(network, endpoint).into_iter().filter(Way::is_rule);
        ops.extend(rules.map(|rule| rule.delete(namespace)));
    }
    ops.extend(shaping::unlimit(endpoint));
    ops
}

/// Changes the routes and ports of an endpoint that stays plugged in from what it is to what it is to be.
pub fn change(network: &Network, before: &Endpoint, after: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let (old, new) = (routes(network, before), routes(network, after));
    let mut ops: Vec<Op> = Vec::new();
    // A route that takes another's place comes first: there is a way at every moment.
    ops.extend(
        new.iter()
            .filter(|way| !old.contains(way))
            .map(|way| way.add(namespace)),
    );
    ops.extend(
        old.iter()
            .filter(|way| !new.contains(way))
            .map(|way| way.delete(namespace)),
    );
    ops.extend(change_ports(network, before, after));
    ops
}

fn change_ports(network: &Network, before: &Endpoint, after: &Endpoint) -> Vec<Op> {
    let (old, new) = (endpoint_elements(network, before), endpoint_elements(network, after));
    let (gone, added) = (without(&old, &new), without(&new, &old));
    let mut ops = Vec::new();
    if let Some(bridge) = &network.bridge
        && hairpin(network, before) != hairpin(network, after)
    {
        ops.push(join_bridge(network, bridge, after));
    }
    if !gone.is_empty() {
        ops.push(Op::DeleteElements(gone));
    }
    if !added.is_empty() {
        ops.push(Op::AddElements(added));
    }
    ops.extend(forget_udp_flows(&before.ports).filter(|_| before.ports != after.ports));
    ops.extend(forget_udp_flows(&after.ports).filter(|_| before.ports != after.ports));
    ops
}

/// Those of the elements that are none of the `others`.
pub(crate) fn without(elements: &[Element], others: &[Element]) -> Vec<Element> {
    let others: HashSet<&Element> = others.iter().collect();
    let left = elements.iter().filter(|element| !others.contains(element));
    left.cloned().collect()
}

/// Gives an endpoint that stays plugged in all its routes, some of which may be there, others not.
pub fn restore_routes(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    routes(network, endpoint)
        .into_iter()
        .map(|way| way.add(namespace))
        .collect()
}

/// A part of an endpoint's routing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Route(InterfaceName, Route, Option<u32>),
    Rule(IpAddr, u32),
}

impl Way {
    fn is_rule(&self) -> bool {
        matches!(self, Way::Rule(..))
    }

    fn add(&self, namespace: &NamespacePath) -> Op {
        let place = Place::Namespace(namespace.clone());
        match self.clone() {
            Way::Route(link, route, table) => Op::AddRoute {
                place,
                link,
                route,
                table,
            },
            Way::Rule(from, table) => Op::AddRule { place, from, table },
        }
    }

    fn delete(&self, namespace: &NamespacePath) -> Op {
        let place = Place::Namespace(namespace.clone());
        match self.clone() {
            Way::Route(link, route, table) => Op::DeleteRoute {
                place,
                link,
                route,
                table,
            },
            Way::Rule(from, table) => Op::DeleteRule { place, from, table },
        }
    }
}

/// All routing that an endpoint brings: default routes, its network's other routes, and a table by which answers leave.
fn routes(network: &Network, endpoint: &Endpoint) -> Vec<Way> {
    let by = |route, table| Way::Route(endpoint.interface.clone(), route, table);
    let default_route = |gateway: IpAddr| Route {
        destination: Subnet::default_route(Family::of(gateway)),
        via: (!network.is_routed_by_link()).then_some(gateway),
        metric: endpoint.metric,
    };
    let defaults = endpoint
        .gateways
        .iter()
        .map(|gateway| by(default_route(*gateway), None));
    let mut ways: Vec<Way> = defaults.collect();
    ways.extend(endpoint.routes.iter().map(|route| by(route.clone(), None)));
    let Some(table) = endpoint.reply_table else {
        return ways;
    };
    for own in &endpoint.addresses {
        let Some(pool) = network.pool_of(own.address) else {
            continue;
        };
        let link = Route {
            destination: pool.subnet,
            via: None,
            metric: None,
        };
        ways.push(by(link, Some(table)));
        if network.gives_default_route(pool.subnet.family()) {
            ways.push(by(default_route(pool.gateway), Some(table)));
        }
        ways.push(Way::Rule(own.address, table));
    }
    ways
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

/// Puts the port of an endpoint into the bridge, where it may be already, and sets it up as the endpoint needs it.
pub(crate) fn join_bridge(network: &Network, bridge: &BridgeDevice, endpoint: &Endpoint) -> Op {
    Op::JoinBridge {
        link: endpoint.host_interface.clone(),
        bridge: bridge.name.clone(),
        hairpin: hairpin(network, endpoint),
        isolated: network.settings.no_neighbours,
    }
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
    astray.map(|endpoint| join_bridge(network, bridge, endpoint)).collect()
}

#[cfg(test)]
mod tests;
