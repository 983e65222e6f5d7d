//! Containers that the host routes to, each by a veth pair of its own and without a bridge.
//!
//! Both ends have their addresses alone, without a subnet: the way from one to the other is by routes, and every other
//! container is reached by way of the host.

use std::net::Ipv6Addr;

use super::{LINK_LOCAL_PREFIX, Way, configure};
use crate::model::{Endpoint, InterfaceAddress, Network, Route};
use crate::op::{NamespacePath, Op, Place};
use crate::shaping;
use crate::subnet::{Family, Subnet};

/// Of every host's end; its other end has another, made of its Ethernet address.
const HOST_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Makes the veth pair of `endpoint`, and the ways between its ends.
pub(super) fn plug(network: &Network, endpoint: &Endpoint, namespace: &NamespacePath) -> Vec<Op> {
    let mtu = network.pair_mtu();
    let mut ops = vec![Op::CreateVeth {
        host: endpoint.host_interface.clone(),
        bridge: None,
        namespace: namespace.clone(),
        peer: endpoint.interface.clone(),
        mac: endpoint.mac,
        mtu,
        hairpin: false,
        isolated: false,
    }];
    ops.extend(shaping::limit(endpoint, mtu));
    ops.extend(host_end(network, endpoint));
    ops.extend(configure(network, endpoint, namespace));
    ops
}

/// The host's addresses and routes on its end.
pub(crate) fn host_end(network: &Network, endpoint: &Endpoint) -> Vec<Op> {
    let link = || endpoint.host_interface.clone();
    let mut ops: Vec<Op> = Vec::new();
    for own in &endpoint.addresses {
        if let Some(address) = network.pool_of(own.address).and_then(|pool| pool.gateway) {
            let op = Op::AddAddress {
                place: Place::Host,
                link: link(),
                address,
                prefix: Family::of(address).bits(),
            };
            if !ops.contains(&op) {
                ops.push(op);
            }
        }
    }
    // Without it the host could not ask for the container's neighbour entry on behalf of others (RFC 4861, 4.3).
    if endpoint.address(Family::V6).is_some() {
        ops.push(Op::AddAddress {
            place: Place::Host,
            link: link(),
            address: HOST_LINK_LOCAL.into(),
            prefix: LINK_LOCAL_PREFIX,
        });
    }
    ops.extend(endpoint.addresses.iter().map(|own| Op::AddRoute {
        place: Place::Host,
        link: link(),
        route: Route::new(alone(own), None, None),
        table: None,
    }));
    ops
}

/// How a container finds its gateway, and by it its subnet.
pub(super) fn ways(network: &Network, endpoint: &Endpoint, own: &InterfaceAddress, table: Option<u32>) -> Vec<Way> {
    let Some(pool) = network.pool_of(own.address) else {
        return Vec::new();
    };
    let Some(gateway) = pool.gateway else {
        return Vec::new();
    };
    let by = |route| Way::Route(endpoint.interface.clone(), route, table);
    let to_gateway = Subnet::containing(gateway, Family::of(gateway).bits());
    vec![
        by(Route::new(to_gateway, None, None)),
        by(Route::new(pool.subnet, Some(gateway), None)),
    ]
}

/// The subnet of this one address.
fn alone(own: &InterfaceAddress) -> Subnet {
    Subnet::containing(own.address, Family::of(own.address).bits())
}
