//! What surrounds a test's host: an outside world, and another host on the same wire.

use std::net::IpAddr;

use super::netns::NetNs;

/// The host's outer IPv4 address.
pub(crate) const HOST_V4: &str = "203.0.113.1";
/// The host's outer IPv6 address.
pub(crate) const HOST_V6: &str = "2001:db8::1";
/// The outside world's IPv4 address, the host's default gateway.
pub(crate) const OUTSIDE_V4: &str = "203.0.113.2";
/// The outside world's IPv6 address, the host's default gateway.
pub(crate) const OUTSIDE_V6: &str = "2001:db8::2";
/// The IPv4 address of the other host on the wire.
pub(crate) const NEIGHBOUR_V4: &str = "203.0.113.3";

/// Reads an address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Joins `host` to a new namespace by a veth pair and returns it. The host's interface is `eth0`, the outside's is `lan`.
pub(crate) fn connect_outside(host: &NetNs) -> NetNs {
    let outside = NetNs::new();
    outside.ip(&format!(
        "link add lan type bridge stp_state 0 forward_delay 0
         link set lan addrgenmode none
         link add wire type veth peer name eth0 netns {}
         link set wire addrgenmode none
         link set wire master lan
         addr add {OUTSIDE_V4}/24 dev lan
         addr add {OUTSIDE_V6}/64 dev lan nodad
         addr add fe80::2/64 dev lan nodad
         link set wire up
         link set lan up",
        host.path()
    ));
    host.ip(&format!(
        "link set eth0 addrgenmode none
         addr add {HOST_V4}/24 dev eth0
         addr add {HOST_V6}/64 dev eth0 nodad
         addr add fe80::1/64 dev eth0 nodad
         link set eth0 up
         route add default via {OUTSIDE_V4}
         route add ::/0 via {OUTSIDE_V6}"
    ));
    outside
}

/// Another host on the wire between host and outside, by whose routing table a test may lead packets to the host.
pub(crate) fn connect_neighbour(outside: &NetNs) -> NetNs {
    let neighbour = NetNs::new();
    outside.ip(&format!(
        "link add wire2 type veth peer name eth0 netns {}
         link set wire2 addrgenmode none
         link set wire2 master lan
         link set wire2 up",
        neighbour.path()
    ));
    neighbour.ip(&format!(
        "link set eth0 addrgenmode none
         addr add {NEIGHBOUR_V4}/24 dev eth0
         addr add 2001:db8::3/64 dev eth0 nodad
         addr add fe80::3/64 dev eth0 nodad
         link set eth0 up"
    ));
    neighbour
}
