//! Kernel variables of a container's interface, as the reference plug-ins set them.

use zdocker_net::model::{Driver, Network};
use zdocker_net::names::InterfaceName;
use zdocker_net::subnet::Family;

/// Interfaces have no IPv6 whose packets are smaller (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// Those of `interface` on a network, whose subnets say which addresses it gets.
pub(super) fn variables(network: &Network, interface: &InterfaceName, hears_routers: bool) -> Vec<(String, String)> {
    let has = |family| network.pools.iter().any(|pool| pool.subnet.family() == family);
    let on_wire = matches!(network.driver, Driver::Macvlan | Driver::Ipvlan);
    let (interface, lo) = (interface.as_str(), "lo");
    let wanted = if network.pools.is_empty() {
        // Who gives it addresses does so from within, or by its neighbours: it is as the kernel makes one.
        let listens = has_ipv6(network);
        vec![
            (listens && hears_routers, "ipv6", interface, "accept_ra", "1"),
            (listens, "ipv6", interface, "addr_gen_mode", "0"),
        ]
    } else {
        vec![
            // Container engines turn IPv6 off where they know of no network that has it.
            (has(Family::V6), "ipv6", lo, "disable_ipv6", "0"),
            (has(Family::V6), "ipv6", interface, "disable_ipv6", "0"),
            // Neighbours, and switches, learn at once where an address is now.
            (
                has(Family::V4) && network.driver != Driver::Ptp,
                "ipv4",
                interface,
                "arp_notify",
                "1",
            ),
            (has(Family::V6) && on_wire, "ipv6", interface, "ndisc_notify", "1"),
        ]
    };
    let wanted = wanted.into_iter().filter(|(is_wanted, ..)| *is_wanted);
    wanted
        .map(|(_, family, link, name, value)| (format!("net/{family}/conf/{link}/{name}"), value.to_owned()))
        .collect()
}

fn has_ipv6(network: &Network) -> bool {
    let parent = network.parent.as_ref().and_then(|parent| parent.mtu);
    // 0 stands for what is found to be right later.
    let bridge = network.bridge.as_ref().map(|bridge| bridge.mtu).filter(|mtu| *mtu != 0);
    let is_small = parent.or(bridge).is_some_and(|mtu| mtu < IPV6_MIN_MTU);
    !is_small && crate::faces::has_ipv6()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zdocker_net::names::Id;

    #[test]
    fn routers_are_heard_by_who_is_given_no_addresses_and_may() {
        let network = Network::foreign(Id::named(&["n"]), "n".parse().unwrap(), Driver::Bridge, 0);
        let heard = |may| {
            let variables = variables(&network, &"eth0".parse().unwrap(), may);
            variables.iter().any(|(key, _)| key.ends_with("/eth0/accept_ra"))
        };
        assert_eq!((heard(true), heard(false)), (crate::faces::has_ipv6(), false));
    }
}
