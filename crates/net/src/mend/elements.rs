//! The elements of our maps and sets: each belongs to a network or an endpoint, or goes.

use std::collections::HashSet;
use std::net::IpAddr;

use super::{Fault, Repair, repair};
use crate::firewall::Element;
use crate::model::Network;
use crate::op::Op;

/// What the records say of elements.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    /// Those that must be there, without doubles.
    pub required: Vec<Element>,
    /// Those that may be there: of what is recorded, also while it comes or goes.
    pub allowed: HashSet<Element>,
    /// Addresses of containers that somebody is just changing: what leads to them is his.
    pub in_change: HashSet<IpAddr>,
}

impl Owned {
    fn is_stray(&self, element: &Element) -> bool {
        !self.allowed.contains(element)
            && element
                .container_address()
                .is_none_or(|address| !self.in_change.contains(&address))
    }
}

/// Compares elements with the records: those that belong to nobody, and those that are missing. `concerns` limits the
/// former; those that stand where one that is missing should be are taken away in any case.
pub fn elements(owned: &Owned, seen: &[Element], concerns: impl Fn(&Element) -> bool) -> [Option<Repair>; 2] {
    let there: HashSet<&Element> = seen.iter().collect();
    let required = owned.required.iter();
    let missing: Vec<Element> = required.filter(|e| !there.contains(e)).cloned().collect();
    let places: HashSet<Element> = missing.iter().map(Element::key).collect();
    let in_the_way = |element: &Element| places.contains(&element.key());
    let stray = seen.iter().filter(|element| owned.is_stray(element));
    let stray: Vec<Element> = stray
        .filter(|element| in_the_way(element) || concerns(element))
        .cloned()
        .collect();
    [
        repair(
            Fault::StrayElements,
            (!stray.is_empty())
                .then_some(Op::DeleteElements(stray))
                .into_iter()
                .collect(),
        ),
        repair(
            Fault::LostElements,
            (!missing.is_empty())
                .then_some(Op::AddElements(missing))
                .into_iter()
                .collect(),
        ),
    ]
}

/// Whether an element that belongs to nobody would be of `network`.
pub fn concerns(network: &Network, element: &Element) -> bool {
    let bridge = |name: &_| network.bridge.as_ref().is_some_and(|bridge| bridge.name == *name);
    let address = |address: IpAddr| network.pool_of(address).is_some();
    match element {
        Element::Masquerade(subnet) | Element::Outbound { subnet, .. } | Element::Same(subnet, _) => {
            address(subnet.address())
        }
        Element::Bridge(name)
        | Element::Internal(name)
        | Element::Within(name)
        | Element::Apart(name)
        | Element::Strict(name)
        | Element::Mutual(name)
        | Element::Tolerant(name)
        | Element::Routed(_, name)
        | Element::Unprotected(_, name)
        | Element::Trusted { bridge: name, .. } => bridge(name),
        // The name of a port does not tell its network.
        Element::Free(_) => false,
        Element::PublishAny { .. }
        | Element::PublishAt { .. }
        | Element::Open { .. }
        | Element::Pin { .. }
        | Element::Target { .. } => element.container_address().is_some_and(address),
    }
}
