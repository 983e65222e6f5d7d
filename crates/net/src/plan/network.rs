//! Making networks real, and taking them away.

use std::net::IpAddr;

use super::{LINK_LOCAL_PREFIX, foreign, parent};
use crate::firewall::network_elements;
use crate::model::{BridgeDevice, Network, Ownership};
use crate::op::{Op, Place};
use crate::seen::{Seen, SeenBridge};
use crate::subnet::Family;

/// Makes `network` real. Nothing for networks without an interface of their own.
pub fn create_network(network: &Network, seen: &Seen) -> Vec<Op> {
    if let Some(device) = &network.parent {
        return parent::create(device, seen);
    }
    if !network.passes_tables() {
        return Vec::new();
    }
    let mut ops = forwarding(network, seen);
    if !seen.firewall {
        ops.push(Op::LoadFirewall);
    }
    if let Some(bridge) = &network.bridge {
        let adopted = bridge.ownership.is_shared() && seen.link(&bridge.name).is_some();
        ops.extend(if adopted || bridge.ownership == Ownership::Foreign {
            foreign::complete_bridge(network, seen)
        } else {
            create_bridge(network, bridge)
        });
    }
    // The elements come last: they are what an undo has to take back by name.
    let elements = network_elements(network);
    ops.extend((!elements.is_empty()).then_some(Op::AddElements(elements)));
    ops
}

/// Makes the bridge of `network`.
pub(crate) fn create_bridge(network: &Network, bridge: &BridgeDevice) -> Vec<Op> {
    let BridgeDevice { name, mac, mtu, .. } = bridge;
    let mut ops = vec![Op::CreateBridge {
        name: name.clone(),
        mac: *mac,
        mtu: *mtu,
    }];
    if bridge.has_vlans() {
        ops.push(Op::FilterVlans { bridge: name.clone() });
    }
    ops.extend(bridge.vrf.clone().map(|vrf| Op::JoinVrf {
        link: name.clone(),
        vrf,
    }));
    let address = |(address, prefix)| Op::AddAddress {
        place: Place::Host,
        link: name.clone(),
        address,
        prefix,
    };
    let addresses = bridge_addresses(network, bridge);
    if let Some(vlan) = bridge.vlan.filter(|_| !addresses.is_empty()) {
        ops.push(Op::AnswerVlan {
            bridge: name.clone(),
            vlan,
        });
    }
    ops.extend(addresses.into_iter().map(address));
    ops.push(Op::SetUp {
        place: Place::Host,
        link: name.clone(),
    });
    ops
}

/// The addresses that the bridge of `network` bears, with their prefix lengths.
fn bridge_addresses(network: &Network, bridge: &BridgeDevice) -> Vec<(IpAddr, u8)> {
    let mut addresses = gateways(network);
    if network.has_gateway(Family::V6) && network.settings.has_gateway_address(Family::V6) {
        addresses.push((bridge.mac.link_local().into(), LINK_LOCAL_PREFIX));
    }
    addresses
}

/// The gateways that the bridge of `network` is. Pools may be several parts of one subnet, with one gateway.
pub(crate) fn gateways(network: &Network) -> Vec<(IpAddr, u8)> {
    let mut gateways = Vec::new();
    for pool in &network.pools {
        let own = pool.gateway.map(|gateway| (gateway, pool.subnet.prefix()));
        let borne = own.filter(|_| network.settings.has_gateway_address(pool.subnet.family()));
        gateways.extend(borne.filter(|gateway| !gateways.contains(gateway)));
    }
    gateways
}

/// Whether two networks cannot both be real: the host is in one VLAN of a bridge, by which it is the gateway of its
/// networks.
pub fn contend_for_vlan(one: &Network, other: &Network) -> bool {
    let gateway_at = |network: &Network| {
        let bridge = network.bridge.as_ref().filter(|_| !network.is_on_foreign_bridge())?;
        let vlan = (!gateways(network).is_empty()).then_some(bridge.vlan)?;
        Some((bridge.name.clone(), vlan))
    };
    match (gateway_at(one), gateway_at(other)) {
        (Some(one), Some(other)) => one.0 == other.0 && one.1 != other.1,
        _ => false,
    }
}

/// Lets the host forward the packets of the network's families. What leaves a bridge of somebody else's is his to
/// decide about, and nothing leaves an internal network.
pub(crate) fn forwarding(network: &Network, seen: &Seen) -> Vec<Op> {
    if network.is_on_foreign_bridge() || network.internal {
        return Vec::new();
    }
    let set = |key: String, value: &str| Op::SetSysctl {
        place: Place::Host,
        key,
        value: value.to_owned(),
    };
    let mut ops = Vec::new();
    if network.has_gateway(Family::V4) && !seen.forwarding_v4 {
        ops.push(set("net/ipv4/ip_forward".to_owned(), "1"));
    }
    if network.has_gateway(Family::V6) && seen.forwarding_v6 == Some(false) {
        // A host that forwards no longer listens to router advertisements, and would lose the default route that it has
        // from them, unless its interfaces are told to listen all the same (Documentation/networking/ip-sysctl.rst). A
        // bridge's port, as those of containers are that come and go, listens to none.
        let listening = seen.accept_ra.iter().filter(|link| seen.master(link).is_none());
        ops.extend(listening.map(|link| set(format!("net/ipv6/conf/{link}/accept_ra"), "2")));
        ops.push(set("net/ipv6/conf/all/forwarding".to_owned(), "1"));
    }
    ops
}

/// Takes `network` away, planned from its record alone. Whether a bridge that others may have ports on goes, depends on
/// what is there then.
pub fn remove_network(network: &Network) -> Vec<Op> {
    if let Some(device) = &network.parent {
        return parent::remove(device);
    }
    if !network.passes_tables() || network.is_on_foreign_bridge() {
        return Vec::new();
    }
    let link = network.bridge.as_ref().map(|bridge| Op::DeleteLink {
        name: bridge.name.clone(),
    });
    let elements = Op::DeleteElements(network_elements(network));
    link.into_iter().chain([elements]).collect()
}

/// What stands in the way of making a network real again, as it must be after a reboot or a flush of the firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: bridge and tables are there.
    Nothing,
    /// The bridge is not there, or lacks addresses that it is to have.
    Bridge,
    /// The bridge is there, the tables or some of their rules are not.
    Firewall,
    /// An interface of the bridge's name is there, and it is not ours.
    NotOurs,
    /// The parent interface is not there.
    Parent,
}

/// Compares the record of a network with what was seen of its bridge. A bridge that is not ours alone may have any
/// address.
pub fn missing(network: &Network, bridge: &BridgeDevice, seen: &SeenBridge) -> Missing {
    let Some(link) = &seen.link else {
        return Missing::Bridge;
    };
    let borne = |gateway: &(IpAddr, u8)| seen.addresses.contains(&gateway.0);
    match bridge.ownership {
        Ownership::Own if link.mac != Some(bridge.mac) => Missing::NotOurs,
        Ownership::Shared | Ownership::Kept if !gateways(network).iter().all(borne) => Missing::Bridge,
        _ if !seen.firewall => Missing::Firewall,
        _ => Missing::Nothing,
    }
}
