//! From networks, endpoints and what was seen of the host to the steps that make them real, and those that take them
//! away.
//!
//! Every choice is made here (and in [`crate::spec`]); carrying the steps out makes none.

mod foreign;
mod network;
mod parent;
mod ptp;

pub(crate) use ptp::host_end as ptp_host_end;

pub use foreign::{adopting, complete_bridge, drop_gateways, like};
pub use network::{Missing, contend_for_vlan, create_network, missing, remove_network};
pub(crate) use network::{create_bridge, forwarding, gateways};

use std::net::IpAddr;

use std::collections::HashSet;

use crate::attach;
use crate::firewall::{Element, endpoint_elements};
use crate::mend::SeenPort;
use crate::model::{BridgeDevice, Driver, Endpoint, InterfaceAddress, Network, Route};
use crate::names::InterfaceName;
use crate::op::{HostPort, NamespacePath, Op, Place};
use crate::ports::{Protocol, PublishedPort};
use crate::seen::Seen;
use crate::shaping;
use crate::subnet::{Family, Subnet};

/// Prefix length of IPv6 link-local addresses (RFC 4291, 2.5.6).
const LINK_LOCAL_PREFIX: u8 = 64;

/// Makes the network namespace of a container.
pub fn create_namespace(namespace: &NamespacePath) -> Op {
    Op::CreateNamespace {
        path: namespace.clone(),
    }
}

/// Sets `lo` up in a namespace that another engine made.
pub fn set_loopback_up(namespace: &NamespacePath) -> Op {
    Op::SetUp {
        place: Place::Namespace(namespace.clone()),
        link: InterfaceName::loopback(),
    }
}

/// Plugs `endpoint` into `network`.
pub fn attach(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    if let Some(device) = &network.parent {
        return parent::plug(network, device, endpoint, namespace);
    }
    if !network.passes_tables() {
        return Vec::new();
    }
    // The guard stands before the port does.
    let mut ops = vec![Op::AddElements(endpoint_elements(network, endpoint))];
    ops.extend(plug(network, endpoint, namespace));
    ops.extend(forget_udp_flows(&endpoint.ports));
    ops
}

/// Plugs `endpoint` in again after somebody deleted its interface; its elements are still there. `queue` is whether
/// what limited the interface has outlived it.
pub fn reattach(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath, queue: bool) -> Vec<Op> {
    let mut ops: Vec<Op> = shaping::unlimit(endpoint).filter(|_| queue).into_iter().collect();
    match &network.parent {
        Some(device) => ops.extend(parent::plug(network, device, endpoint, namespace)),
        None => ops.extend(plug(network, endpoint, namespace)),
    }
    ops
}

/// Makes the interface of an endpoint whose packets pass our tables.
fn plug(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    match (&network.bridge, network.driver) {
        (Some(bridge), _) => plug_into_bridge(network, bridge, endpoint, namespace),
        (None, Driver::Ptp) => ptp::plug(network, endpoint, namespace),
        // It is there.
        (None, _) => shaping::limit(endpoint, endpoint.settings.mtu.unwrap_or(network.pair_mtu())),
    }
}

fn plug_into_bridge(
    network: &Network,
    bridge: &BridgeDevice,
    endpoint: &Endpoint,
    namespace: &NamespacePath,
) -> Vec<Op> {
    let mut ops = vec![Op::CreateVeth {
        host: endpoint.host_interface.clone(),
        bridge: Some(bridge.name.clone()),
        namespace: namespace.clone(),
        peer: endpoint.interface.clone(),
        mac: endpoint.mac,
        mtu: bridge.mtu,
        hairpin: hairpin(network, endpoint),
        isolated: network.settings.keeps_apart(),
    }];
    ops.extend(join_vlans(bridge, endpoint));
    ops.extend(shaping::limit(endpoint, bridge.mtu));
    ops.extend(configure(network, endpoint, namespace));
    ops
}

/// Gives the interface of an endpoint its addresses and routes, and sets it up.
pub(crate) fn configure(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let inside = Place::Namespace(namespace.clone());
    let mut ops: Vec<Op> = Vec::new();
    // In namespaces of our own making interfaces are born deaf.
    if endpoint.sandbox.is_some() && !endpoint.settings.chooses_routers() {
        ops.push(Op::IgnoreRouters {
            namespace: namespace.clone(),
            link: endpoint.interface.clone(),
        });
    }
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
    // Without a bridge nothing of its subnet is on the link.
    let prefix = |own: &InterfaceAddress| match network.driver {
        Driver::Ptp => Family::of(own.address).bits(),
        _ => own.prefix,
    };
    ops.extend(endpoint.addresses.iter().map(|own| address(own.address, prefix(own))));
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
    let needed = network.settings.hairpin || !endpoint.ports.is_empty();
    needed && !network.settings.no_hairpin
}

/// How the port of `endpoint` is to be set up.
pub fn port_settings(network: &Network, endpoint: &Endpoint) -> SeenPort {
    SeenPort {
        hairpin: hairpin(network, endpoint),
        isolated: network.settings.keeps_apart(),
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
    if network.driver == Driver::Adopted {
        // The interface is not ours, and stays.
        ops.extend(shaping::lift(endpoint));
        return ops;
    }
    if let Some(namespace) = stays {
        ops.push(if network.parent.is_some() {
            parent::unplug(endpoint, namespace)
        } else {
            Op::DeleteLink {
                name: endpoint.host_interface.clone(),
            }
        });
        let outliving = routes(network, endpoint).into_iter().filter(Way::outlives_interface);
        ops.extend(outliving.map(|way| way.delete(namespace)));
    }
    ops.extend(shaping::unlimit(endpoint));
    ops
}

/// Unplugs the endpoint of a container that another engine runs, whose namespace may be gone or stay.
pub fn detach_from(network: &Network, endpoint: &Endpoint, namespace: Option<&NamespacePath>) -> Vec<Op> {
    if !network.driver.plugs_in() {
        return Vec::new();
    }
    let mut ops = detach(network, endpoint, namespace);
    let link = Op::DeleteLink {
        name: endpoint.host_interface.clone(),
    };
    if network.has_pairs() && !ops.contains(&link) {
        ops.push(link);
    }
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
            .filter(|way| !new.iter().any(|other| way.gives_way_to(other)))
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
pub fn without(elements: &[Element], others: &[Element]) -> Vec<Element> {
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
    /// Whether it stays when the interface goes.
    fn outlives_interface(&self) -> bool {
        match self {
            Way::Route(_, route, _) => !route.is_bound(),
            Way::Rule(..) => true,
        }
    }

    /// Whether `other`, when it is added, takes its place.
    fn gives_way_to(&self, other: &Way) -> bool {
        match (self, other) {
            (Way::Route(_, own, own_table), Way::Route(_, new, new_table)) => {
                let place = |route: &Route| (route.destination, route.metric.unwrap_or(0));
                let same_place = place(own) == place(new) && own_table == new_table;
                same_place && (!new.beside || self == other)
            }
            (own, other) => own == other,
        }
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
    let by = |mut route: Route, table: Option<u32>| {
        // Another engine may want several default routes of one metric.
        let is_default = route.destination.prefix() == 0;
        route.beside = is_default && endpoint.sandbox.is_some() && table.is_none();
        Way::Route(endpoint.interface.clone(), route, table)
    };
    let default_route = |gateway: IpAddr| {
        let via = (!network.is_routed_by_link()).then_some(gateway);
        Route::new(Subnet::default_route(Family::of(gateway)), via, endpoint.metric)
    };
    let mut ways: Vec<Way> = Vec::new();
    if network.driver == Driver::Ptp {
        let addresses = endpoint.addresses.iter();
        ways.extend(addresses.flat_map(|own| ptp::ways(network, endpoint, own, None)));
    }
    let gateways = attach::first_of_each_family(endpoint.gateways.iter().copied());
    ways.extend(gateways.into_iter().map(|gateway| by(default_route(gateway), None)));
    ways.extend(endpoint.routes.iter().map(|route| by(route.clone(), None)));
    let Some(table) = endpoint.reply_table else {
        return ways;
    };
    let mut answers: Vec<Way> = Vec::new();
    let pool_of = |own: &InterfaceAddress| network.pool_of(own.address);
    for own in &endpoint.addresses {
        if network.driver == Driver::Ptp {
            answers.extend(ptp::ways(network, endpoint, own, Some(table)));
            continue;
        }
        let subnet = pool_of(own).map_or(Subnet::containing(own.address, own.prefix), |pool| pool.subnet);
        answers.push(by(Route::new(subnet, None, None), Some(table)));
    }
    let gateways = endpoint.addresses.iter().filter_map(|own| pool_of(own)?.gateway);
    let gateways = gateways.filter(|gateway| network.gives_default_route(Family::of(*gateway)));
    for gateway in attach::first_of_each_family(gateways) {
        answers.push(by(default_route(gateway), Some(table)));
    }
    answers.extend(endpoint.addresses.iter().map(|own| Way::Rule(own.address, table)));
    // Addresses of one subnet share its route.
    for way in answers {
        if !ways.contains(&way) {
            ways.push(way);
        }
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
pub fn join_bridge(network: &Network, bridge: &BridgeDevice, endpoint: &Endpoint) -> Op {
    Op::JoinBridge {
        link: endpoint.host_interface.clone(),
        bridge: bridge.name.clone(),
        hairpin: hairpin(network, endpoint),
        isolated: network.settings.keeps_apart(),
    }
}

/// Puts the port of an endpoint, which is in the bridge, in the VLANs of its network.
pub(crate) fn join_vlans(bridge: &BridgeDevice, endpoint: &Endpoint) -> Vec<Op> {
    let link = &endpoint.host_interface;
    let vlan = bridge.vlan.map(|vlan| Op::JoinVlan {
        link: link.clone(),
        vlan,
    });
    let trunk = bridge.trunk.clone().map(|trunk| Op::JoinTrunk {
        link: link.clone(),
        trunk,
    });
    vlan.into_iter().chain(trunk).collect()
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
    astray
        .flat_map(|endpoint| {
            let join = join_bridge(network, bridge, endpoint);
            [join].into_iter().chain(join_vlans(bridge, endpoint))
        })
        .collect()
}

#[cfg(test)]
mod tests;
