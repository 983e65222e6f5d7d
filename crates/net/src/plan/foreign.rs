//! Networks that other engines define: their bridges may be there already, and change.

use std::net::IpAddr;

use super::{create_bridge, gateways};
use crate::model::{BridgeDevice, HostInVlan, Network, Ownership, Pool};
use crate::op::{Op, Place};
use crate::seen::Seen;
use crate::subnet::Subnet;

/// Of an interface where nothing else is known (RFC 894).
const ETHERNET_MTU: u32 = 1500;

/// `network` with what its device takes over from what is there: its Ethernet address where it is not to be ours alone,
/// and where no size of its packets is given (0), that of the bridge, or of the way out of the host or of the bridge's
/// VRF. Where no parent is chosen, the way out is.
pub fn adopting(network: &Network, seen: &Seen) -> Network {
    let mut network = network.clone();
    if let Some(bridge) = &mut network.bridge {
        let there = seen.link(&bridge.name).filter(|_| bridge.ownership != Ownership::Own);
        let mac = there.and_then(|link| link.mac).unwrap_or(bridge.mac);
        // One that has our address was made by us.
        if bridge.ownership == Ownership::Kept && mac == bridge.mac {
            bridge.ownership = Ownership::Shared;
        }
        bridge.mac = mac;
        if bridge.mtu == 0 {
            let way_out = match &bridge.vrf {
                Some(vrf) => seen.way_out_of(vrf).map(|link| link.mtu),
                None => seen.egress_mtu,
            };
            let mtu = there.map(|link| link.mtu).or(way_out);
            bridge.mtu = mtu.unwrap_or(ETHERNET_MTU);
        }
    }
    if let Some(parent) = &mut network.parent
        && parent.is_unchosen()
        && let Some(way_out) = &seen.egress
    {
        parent.name = way_out.clone();
    }
    network
}

/// `wanted` with what was chosen once for the network as it is recorded.
pub fn like(wanted: &Network, recorded: &Network) -> Network {
    let mut network = wanted.clone();
    network.created = recorded.created;
    network.settings.ingress = recorded.settings.ingress;
    if network.settings.host_in_vlan == HostInVlan::Wished {
        network.settings.host_in_vlan = recorded.settings.host_in_vlan;
    }
    if network.settings.pools_grow {
        let known = |pool: &&Pool| !wanted.pools.iter().any(|other| other.subnet == pool.subnet);
        network.pools.extend(recorded.pools.iter().filter(known).cloned());
    }
    if let (Some(bridge), Some(before)) = (&mut network.bridge, &recorded.bridge)
        && bridge.name == before.name
    {
        bridge.mac = before.mac;
        if bridge.ownership == Ownership::Kept {
            bridge.ownership = before.ownership;
        }
        if bridge.mtu == 0 {
            bridge.mtu = before.mtu;
        }
    }
    if let (Some(parent), Some(before)) = (&mut network.parent, &recorded.parent)
        && parent.is_unchosen()
    {
        parent.name = before.name.clone();
    }
    network
}

/// Makes a bridge that is there what its network needs, beside what it is to others: nothing but its VLANs changes on a
/// foreign one.
pub fn complete_bridge(network: &Network, seen: &Seen) -> Vec<Op> {
    let there = |bridge: &&BridgeDevice| seen.link(&bridge.name).is_some();
    let Some(bridge) = network.bridge.as_ref().filter(there) else {
        return Vec::new();
    };
    let foreign = bridge.ownership == Ownership::Foreign;
    let lacks = |op: &Op| match op {
        Op::CreateBridge { .. } => false,
        Op::FilterVlans { .. } => true,
        _ if foreign => false,
        Op::AddAddress { address, .. } => !seen.addresses.contains(address),
        Op::JoinVrf { vrf, .. } => seen.master(&bridge.name) != Some(vrf),
        _ => true,
    };
    let mut steps: Vec<Op> = create_bridge(network, bridge).into_iter().filter(lacks).collect();
    if !foreign && !network.internal {
        // As a bridge of our own has it from its creation.
        steps.push(Op::SetSysctl {
            place: Place::Host,
            key: format!("net/ipv4/conf/{}/route_localnet", bridge.name),
            value: "1".to_owned(),
        });
    }
    steps
}

/// Takes from the bridge of a network the gateways that it had `before` and has no more, but those that `others` on the
/// same bridge have. If it is not told otherwise, those stay whose subnets containers have addresses of, and what a
/// bridge had that was not ours to make.
pub fn drop_gateways(before: &Network, after: &Network, others: &[Network], held: &[IpAddr]) -> Vec<Op> {
    let is_same = |bridge: &&BridgeDevice| after.bridge.as_ref().is_some_and(|other| other.name == bridge.name);
    let Some(bridge) = before.bridge.as_ref().filter(is_same) else {
        return Vec::new();
    };
    let forced = after.settings.force_address;
    let may_drop = match bridge.ownership {
        Ownership::Foreign => false,
        Ownership::Kept => forced,
        Ownership::Own | Ownership::Shared => true,
    };
    let on_bridge = others
        .iter()
        .filter(|other| other.bridge.as_ref().is_some_and(|of| of.name == bridge.name));
    let kept: Vec<(IpAddr, u8)> = on_bridge.chain([after]).flat_map(gateways).collect();
    let is_held = |(gateway, prefix): &(IpAddr, u8)| {
        let subnet = Subnet::containing(*gateway, *prefix);
        held.iter().any(|address| subnet.contains(*address))
    };
    let lost = gateways(before)
        .into_iter()
        .filter(|gateway| may_drop && !kept.contains(gateway));
    lost.filter(|gateway| forced || !is_held(gateway))
        .map(|(address, prefix)| Op::DeleteAddress {
            place: Place::Host,
            link: bridge.name.clone(),
            address,
            prefix,
        })
        .collect()
}
