//! Networks whose interfaces are made on a parent interface: `macvlan` and `ipvlan`.
//!
//! Their packets pass neither our bridges nor, but for ipvlan's mode `l3s`, the host's firewall: a container's
//! interface is all there is of its endpoint, and it exists in the container's namespace only.

use super::configure;
use crate::model::{Children, Endpoint, MadeParent, Network, ParentDevice};
use crate::op::{NamespacePath, Op, Place};
use crate::seen::Seen;

/// Makes the parent, if it is ours to make and not there.
pub(super) fn create(parent: &ParentDevice, seen: &Seen) -> Vec<Op> {
    let name = parent.name.clone();
    let creation = match &parent.made {
        Some(_) if seen.link(&name).is_some() => return Vec::new(),
        Some(MadeParent::Vlan { on, id }) => Op::CreateVlan {
            name: name.clone(),
            on: on.clone(),
            id: *id,
        },
        Some(MadeParent::Dummy) => Op::CreateDummy { name: name.clone() },
        None => return Vec::new(),
    };
    let up = Op::SetUp {
        place: Place::Host,
        link: name,
    };
    vec![creation, up]
}

/// Takes the parent away, if it is ours.
pub(super) fn remove(parent: &ParentDevice) -> Vec<Op> {
    let name = parent.name.clone();
    parent
        .made
        .iter()
        .map(|_| Op::DeleteLink { name: name.clone() })
        .collect()
}

/// Makes the interface of `endpoint` straight in the container's namespace.
pub(super) fn plug(
    network: &Network,
    parent: &ParentDevice,
    endpoint: &Endpoint,
    namespace: &NamespacePath,
) -> Vec<Op> {
    let (name, mtu) = (parent.name.clone(), parent.mtu);
    let (link, id) = (endpoint.interface.clone(), endpoint.host_interface.clone());
    let mut ops = vec![match parent.children {
        Children::Macvlan { mode, broadcast_limit } => Op::CreateMacvlan {
            parent: name,
            namespace: namespace.clone(),
            link,
            id,
            mac: endpoint.mac,
            mtu,
            mode,
            broadcast_limit,
        },
        Children::Ipvlan { mode, flag } => Op::CreateIpvlan {
            parent: name,
            namespace: namespace.clone(),
            link,
            id,
            mtu,
            mode,
            flag,
        },
    }];
    ops.extend(configure(network, endpoint, namespace));
    ops
}

/// Takes the interface of `endpoint` out of a namespace that stays.
pub(super) fn unplug(endpoint: &Endpoint, namespace: &NamespacePath) -> Op {
    Op::DeleteInside {
        namespace: namespace.clone(),
        // Whatever its container calls it by now.
        link: endpoint.host_interface.clone(),
    }
}
