//! From the records and what was seen of the kernel to what is different and the fewest steps that mend it.
//!
//! Only what is ours is looked at: an address, a route or a rule of policy routing that somebody added stays. Our
//! tables are ours alone, so an element that belongs to nobody goes.

mod elements;
mod endpoint;
mod seen;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

pub use self::elements::{Owned, concerns, elements};
pub use self::endpoint::endpoint;
pub use self::seen::{SeenInterface, SeenNamespace, SeenPort, SeenRoute, SeenRule, SeenTables};
use crate::model::{BridgeDevice, Network, Ownership};
use crate::names::InterfaceName;
use crate::op::{Op, Place};
use crate::plan;
use crate::seen::Seen;
use crate::subnet::Family;

/// What is different from the records. Its `Display` is said of a network, a container or the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The host does not forward what its networks need.
    Forwarding,
    /// The tables are not as they were loaded.
    Tables,
    /// Elements belong to nobody, or lead elsewhere.
    StrayElements,
    /// Elements are missing.
    LostElements,
    /// The bridge is not there.
    LostBridge,
    /// The bridge is not as recorded.
    Bridge,
    /// The parent interface is not there.
    LostParent,
    /// The endpoint's interface is not there.
    LostInterface,
    /// The host's end is in no bridge, or in another.
    Unplugged,
    /// The host's end is not as recorded.
    Port,
    /// The interface within the container, its addresses, routes or settings are not as recorded.
    Interface,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Forwarding => "does not forward packets",
            Fault::Tables => "has lost its firewall rules, or has others",
            Fault::StrayElements => "has elements in its firewall that belong to nobody",
            Fault::LostElements => "has lost elements of its firewall",
            Fault::LostBridge => "has lost its bridge",
            Fault::Bridge => "has a bridge that is not as recorded",
            Fault::LostParent => "has lost its parent interface",
            Fault::LostInterface => "has lost its interface to",
            Fault::Unplugged => "is unplugged from the bridge of",
            Fault::Port => "has a port that is not as recorded at the bridge of",
            Fault::Interface => "has an interface that is not as recorded to",
        })
    }
}

/// A difference, and the steps that mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What is different.
    pub fault: Fault,
    /// What mends it.
    pub steps: Vec<Op>,
}

/// An interface is where one of ours should be, and it is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOurs(pub InterfaceName);

/// What the host as a whole needs for these networks.
pub fn host<'a>(networks: impl IntoIterator<Item = &'a Network>, seen: &Seen) -> Option<Repair> {
    let mut steps: Vec<Op> = Vec::new();
    for network in networks.into_iter().filter(|network| network.passes_tables()) {
        let more = plan::forwarding(network, seen);
        steps.extend(more.into_iter().filter(|op| !steps.contains(op)).collect::<Vec<_>>());
    }
    repair(Fault::Forwarding, steps)
}

/// Compares the bridge of a network with its record; without steps where it is not ours to make. What others may have
/// set up of a bridge that is not ours alone, is as they want it.
///
/// # Errors
/// [`NotOurs`] when an interface of its name has another Ethernet address.
pub fn bridge(network: &Network, host: &SeenNamespace) -> Result<Option<Repair>, NotOurs> {
    let Some(bridge) = &network.bridge else {
        return Ok(None);
    };
    let foreign = bridge.ownership == Ownership::Foreign;
    let Some(link) = host.interface(&bridge.name) else {
        let steps = (!foreign).then(|| plan::create_bridge(network, bridge));
        return Ok(Some(Repair {
            fault: Fault::LostBridge,
            steps: steps.unwrap_or_default(),
        }));
    };
    let mut steps = Vec::new();
    if bridge.ownership == Ownership::Own {
        if link.mac != Some(bridge.mac) {
            return Err(NotOurs(bridge.name.clone()));
        }
        steps.extend(own_bridge_steps(bridge, link));
    }
    let fresh = plan::create_bridge(network, bridge);
    let master = link.master.and_then(|index| host.numbered(index));
    let lacks = |op: &&Op| match op {
        Op::FilterVlans { .. } => !link.vlan_filtering,
        Op::JoinVrf { vrf, .. } => !foreign && master.is_none_or(|master| master.name != *vrf),
        _ => false,
    };
    steps.extend(fresh.iter().filter(lacks).cloned());
    if !foreign {
        if !link.route_localnet {
            let key = format!("net/ipv4/conf/{}/route_localnet", bridge.name);
            steps.push(set(key, "1"));
        }
        steps.extend(addresses_and_up(&fresh, &Place::Host, link, host));
    }
    Ok(repair(Fault::Bridge, steps))
}

fn set(key: String, value: &str) -> Op {
    Op::SetSysctl {
        place: Place::Host,
        key,
        value: value.to_owned(),
    }
}

/// What nobody else decides about a bridge of our own.
fn own_bridge_steps(bridge: &BridgeDevice, link: &SeenInterface) -> Vec<Op> {
    let mut steps = Vec::new();
    if link.mtu != bridge.mtu {
        steps.push(Op::SetMtu {
            place: Place::Host,
            link: bridge.name.clone(),
            mtu: bridge.mtu,
        });
    }
    if link.accept_ra.is_some_and(|accepts| accepts != 0) {
        steps.push(set(format!("net/ipv6/conf/{}/accept_ra", bridge.name), "0"));
    }
    steps
}

/// Compares the parent of a network with its record; without steps where it is not ours to make.
pub fn parent(network: &Network, seen: &Seen) -> Option<Repair> {
    let parent = network.parent.as_ref()?;
    if seen.link(&parent.name).is_some() {
        return None;
    }
    Some(Repair {
        fault: Fault::LostParent,
        steps: plan::create_network(network, seen),
    })
}

/// Those of the steps in `fresh`, which are to give a new interface its addresses and set it up, that `link` lacks.
fn addresses_and_up(fresh: &[Op], place: &Place, link: &SeenInterface, seen: &SeenNamespace) -> Vec<Op> {
    let mut steps = Vec::new();
    let own: Vec<_> = seen
        .addresses
        .iter()
        .filter(|(index, _)| *index == link.index)
        .collect();
    for op in fresh {
        match op {
            Op::AddAddress { address, prefix, .. } => {
                let same = own.iter().filter(|(_, has)| has.address == *address);
                let others = same.clone().filter(|(_, has)| has.prefix != *prefix);
                steps.extend(others.map(|(_, has)| Op::DeleteAddress {
                    place: place.clone(),
                    link: link.name.clone(),
                    address: has.address,
                    prefix: has.prefix,
                }));
                if same.clone().all(|(_, has)| has.prefix != *prefix) {
                    steps.push(op.clone());
                }
            }
            Op::SetUp { .. } if !link.up => steps.push(op.clone()),
            _ => {}
        }
    }
    steps
}

fn repair(fault: Fault, steps: Vec<Op>) -> Option<Repair> {
    (!steps.is_empty()).then_some(Repair { fault, steps })
}

/// The metric that the kernel gives a route that was given none (`IP6_RT_PRIO_USER`, linux/ipv6_route.h).
fn default_metric(destination: IpAddr) -> u32 {
    match Family::of(destination) {
        Family::V4 => 0,
        Family::V6 => 1024,
    }
}
