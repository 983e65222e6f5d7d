//! An endpoint: its two interfaces, and what is set within the container.

use super::{
    Fault, NotOurs, Repair, SeenInterface, SeenNamespace, SeenRoute, addresses_and_up, default_metric, repair,
};
use crate::model::{BridgeDevice, Children, Endpoint, Network, ParentDevice, Route};
use crate::op::{NamespacePath, Op, Place};
use crate::{plan, shaping};

/// The number of the main routing table (`RT_TABLE_MAIN`, linux/rtnetlink.h).
const MAIN_TABLE: u32 = 254;

/// Compares an endpoint that is plugged in with its record.
///
/// # Errors
/// [`NotOurs`] when the container has an interface of the endpoint's name that is no end of its pair.
pub fn endpoint(
    network: &Network,
    endpoint: &Endpoint,
    namespace: &NamespacePath,
    (host, inside): (&SeenNamespace, &SeenNamespace),
) -> Result<Vec<Repair>, NotOurs> {
    if let Some(parent) = &network.parent {
        return Ok(on_parent(network, parent, endpoint, (namespace, inside)));
    }
    if !network.has_pairs() {
        return Ok(Vec::new());
    }
    let ends = (
        host.interface(&endpoint.host_interface),
        inside.interface(&endpoint.interface),
    );
    let (port, interface) = match ends {
        (Some(port), Some(interface)) if is_pair(port, interface) => (port, interface),
        (_, Some(interface)) => return Err(NotOurs(interface.name.clone())),
        (port, None) => {
            // Its other end has another name, or is somewhere else: it goes with this one.
            let rest = port.map(|port| Op::DeleteLink {
                name: port.name.clone(),
            });
            let mut steps: Vec<Op> = rest.into_iter().collect();
            let queue = host.knows(&shaping::send_queue(endpoint));
            steps.extend(plan::reattach(network, endpoint, namespace, queue));
            return Ok(repair(Fault::LostInterface, steps).into_iter().collect());
        }
    };
    let place = Place::Namespace(namespace.clone());
    let mut own = interface_steps(endpoint, &place, interface, network.pair_mtu());
    own.extend(mac_steps(endpoint, &place, interface));
    let repairs = [
        match &network.bridge {
            Some(bridge) => host_end(network, bridge, endpoint, (host, port)),
            None => routed_end(network, endpoint, (host, port)),
        },
        repair(Fault::Interface, own),
        repair(
            Fault::Interface,
            settings(network, endpoint, namespace, (inside, interface)),
        ),
    ];
    Ok(repairs.into_iter().flatten().collect())
}

/// An endpoint that is but an interface within the container.
fn on_parent(
    network: &Network,
    parent: &ParentDevice,
    endpoint: &Endpoint,
    (namespace, inside): (&NamespacePath, &SeenNamespace),
) -> Vec<Repair> {
    let place = Place::Namespace(namespace.clone());
    let Some(interface) = inside.interface(&endpoint.interface) else {
        // What its container has given another name stays the container's.
        let steps = if inside.knows(&endpoint.host_interface) {
            Vec::new()
        } else {
            plan::reattach(network, endpoint, namespace, false)
        };
        return repair(Fault::LostInterface, steps).into_iter().collect();
    };
    let mtu = parent.mtu.unwrap_or(interface.mtu);
    let mut own = interface_steps(endpoint, &place, interface, mtu);
    // Those of ipvlan have their parent's.
    if matches!(parent.children, Children::Macvlan { .. }) {
        own.extend(mac_steps(endpoint, &place, interface));
    }
    let settings = settings(network, endpoint, namespace, (inside, interface));
    [repair(Fault::Interface, own), repair(Fault::Interface, settings)]
        .into_iter()
        .flatten()
        .collect()
}

fn mac_steps(endpoint: &Endpoint, place: &Place, interface: &SeenInterface) -> Option<Op> {
    (interface.mac != Some(endpoint.mac)).then(|| Op::SetMac {
        place: place.clone(),
        link: interface.name.clone(),
        mac: endpoint.mac,
    })
}

fn is_pair(port: &SeenInterface, interface: &SeenInterface) -> bool {
    port.other == Some(interface.index) && interface.other == Some(port.index)
}

fn host_end(
    network: &Network,
    bridge: &BridgeDevice,
    endpoint: &Endpoint,
    (host, port): (&SeenNamespace, &SeenInterface),
) -> Option<Repair> {
    let master = port.master.and_then(|index| host.numbered(index));
    let plugged = master.is_some_and(|master| master.name == bridge.name);
    let wanted = plan::port_settings(network, endpoint);
    let mut steps = Vec::new();
    if !plugged || port.port != Some(wanted) {
        steps.push(plan::join_bridge(network, bridge, endpoint));
    }
    if !plugged || port.vlan != bridge.vlan {
        steps.extend(plan::join_vlans(bridge, endpoint));
    }
    steps.extend(mtu_and_up(&Place::Host, port, bridge.mtu));
    repair(if plugged { Fault::Port } else { Fault::Unplugged }, steps)
}

/// The host's end without a bridge. Its routes are not compared: they are there as long as it is up.
fn routed_end(
    network: &Network,
    endpoint: &Endpoint,
    (host, port): (&SeenNamespace, &SeenInterface),
) -> Option<Repair> {
    let mut steps = mtu_and_up(&Place::Host, port, network.pair_mtu());
    let fresh = plan::ptp_host_end(network, endpoint);
    let lacking = addresses_and_up(&fresh, &Place::Host, port, host);
    if !port.up || !lacking.is_empty() {
        let routes = fresh.into_iter().filter(|op| matches!(op, Op::AddRoute { .. }));
        steps.extend(lacking.into_iter().chain(routes));
    }
    repair(Fault::Port, steps)
}

fn mtu_and_up(place: &Place, link: &SeenInterface, mtu: u32) -> Vec<Op> {
    let (place, name) = (place.clone(), link.name.clone());
    let mut steps = Vec::new();
    if link.mtu != mtu {
        steps.push(Op::SetMtu {
            place: place.clone(),
            link: name.clone(),
            mtu,
        });
    }
    if !link.up {
        steps.push(Op::SetUp { place, link: name });
    }
    steps
}

/// What the interface within the container is by itself; that it is up comes after its addresses.
fn interface_steps(endpoint: &Endpoint, place: &Place, interface: &SeenInterface, mtu: u32) -> Vec<Op> {
    let up = SeenInterface {
        up: true,
        ..interface.clone()
    };
    let mut steps = mtu_and_up(place, &up, endpoint.settings.mtu.unwrap_or(mtu));
    let chosen = endpoint.settings.chooses_routers();
    if interface.accept_ra.is_some_and(|accepts| accepts != 0) && !chosen {
        steps.push(Op::SetSysctl {
            place: place.clone(),
            key: format!("net/ipv6/conf/{}/accept_ra", interface.name),
            value: "0".to_owned(),
        });
    }
    steps
}

/// Addresses, routes, rules and kernel variables: those of a fresh endpoint that are not there.
fn settings(
    network: &Network,
    endpoint: &Endpoint,
    namespace: &NamespacePath,
    (inside, interface): (&SeenNamespace, &SeenInterface),
) -> Vec<Op> {
    let place = Place::Namespace(namespace.clone());
    let fresh = plan::configure(network, endpoint, namespace);
    let mut steps: Vec<Op> = Vec::new();
    let lo = inside.interfaces.iter().find(|link| link.name.as_str() == "lo");
    if let Some(lo) = lo.filter(|lo| !lo.up) {
        steps.extend(mtu_and_up(&place, lo, lo.mtu));
    }
    let differs = |key: &String, value: &str| inside.sysctls.get(key).is_some_and(|has| !is_same(has, value));
    steps.extend(
        fresh
            .iter()
            .filter(|op| matches!(op, Op::SetSysctl { key, value, .. } if differs(key, value)))
            .cloned(),
    );
    steps.extend(addresses_and_up(&fresh, &place, interface, inside));
    // Setting an interface up that was down brings its routes on the link; all others are added anew.
    for op in &fresh {
        match op {
            Op::AddRoute { route, table, .. } if !has_route(inside, interface, route, *table) => {
                steps.push(op.clone());
            }
            Op::AddRule { from, table, .. } => {
                let at_place = inside.rules.iter().filter(|rule| rule.from == *from);
                let wrong = at_place.clone().filter(|rule| rule.table != *table);
                steps.extend(wrong.map(|rule| Op::DeleteRule {
                    place: place.clone(),
                    from: rule.from,
                    table: rule.table,
                }));
                if at_place.clone().all(|rule| rule.table != *table) {
                    steps.push(op.clone());
                }
            }
            _ => {}
        }
    }
    steps
}

fn has_route(inside: &SeenNamespace, interface: &SeenInterface, route: &Route, table: Option<u32>) -> bool {
    let metric = route.metric.filter(|metric| *metric > 0);
    let wanted = SeenRoute {
        table: table.unwrap_or(MAIN_TABLE),
        destination: route.destination,
        via: route.via.filter(|_| route.kind.is_unicast()),
        index: route.is_bound().then_some(interface.index),
        kind: route.kind,
        mtu: route.mtu,
        advmss: route.advmss,
        metric: metric.unwrap_or(default_metric(route.destination.address())),
    };
    let mut routes = inside.routes.iter();
    routes.any(|seen| {
        // The kernel has found an interface for it.
        let index = seen.index.filter(|_| !route.any_link);
        wanted == SeenRoute { index, ..seen.clone() }
    })
}

/// Whether the kernel shows `has` where `wanted` was written: numbers may be written in several ways.
fn is_same(has: &str, wanted: &str) -> bool {
    let number = |word: &str| word.parse::<i64>().ok();
    let (mut has, mut wanted) = (has.split_whitespace(), wanted.split_whitespace());
    loop {
        match (has.next(), wanted.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || (number(a).is_some() && number(a) == number(b)) => {}
            _ => return false,
        }
    }
}
