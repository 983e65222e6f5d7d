//! The table of the bridge family: frames bear their endpoint's addresses.

use super::super::expr::*;
use super::*;

/// Before the bridge family's destination NAT, so before all else (linux/netfilter_bridge.h).
const BRIDGE_FIRST: i32 = -300;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: [u8; 1] = [17];
const DHCP_SERVER: u16 = 67;
const DHCPV6_SERVER: u16 = 547;
const ND_ROUTER_ADVERT: u8 = 134;
const ND_NEIGHBOR_ADVERT: u8 = 136;
const ND_REDIRECT: u8 = 137;

const ROUTER_MESSAGES: u32 = 102;
const GUARD_MAP: u32 = 103;

pub(super) const SETS: [Set; 4] = [
    set("pins4", &[IFNAME, ETHER_ADDR, IPV4_ADDR]),
    set("pins6", &[IFNAME, ETHER_ADDR, IPV6_ADDR]),
    set("targets6", &[IFNAME, INTEGER_16_BYTES]),
    set("free", &[IFNAME]),
];

pub(super) fn nameless() -> Vec<Nameless> {
    let of_type = |ether_type: [u8; 2], chain| (ether_type.to_vec(), Some(Verdict::Goto(chain)));
    let guards = vec![
        of_type(ETHERTYPE_ARP, "guard_arp"),
        of_type(ETHERTYPE_IPV4, "guard_ip"),
        of_type(ETHERTYPE_IPV6, "guard_ip6"),
    ];
    let router_messages = vec![(vec![ND_ROUTER_ADVERT], None), (vec![ND_REDIRECT], None)];
    vec![
        Nameless {
            id: ROUTER_MESSAGES,
            key: ICMPV6_TYPE_ID,
            elements: router_messages,
        },
        Nameless {
            id: GUARD_MAP,
            key: ETHER_TYPE_ID,
            elements: guards,
        },
    ]
}

pub(super) fn chains(port_prefix: &str) -> Vec<Chain> {
    let from_port = |rule: Rule, port: u16| {
        rule.load(L4PROTO)
            .equals(&UDP)
            .load(TH_SPORT)
            .equals(&port.to_be_bytes())
            .verdict(Verdict::Drop)
    };
    let icmpv6 = || {
        rule()
            .load(ETHER_TYPE)
            .equals(&ETHERTYPE_IPV6)
            .load(L4PROTO)
            .equals(&ICMPV6)
            .load(ICMPV6_TYPE)
    };
    let pinned = |protocol: &[u8], address, pins| {
        let ours = rule()
            .load(PROTOCOL)
            .equals(protocol)
            .load(IIFNAME)
            .load(ETHER_SADDR)
            .load(address);
        ours.in_set(pins).verdict(Verdict::Accept)
    };
    vec![
        chain(
            "guard_arp",
            None,
            [
                rule()
                    .load(ETHER_TYPE)
                    .equals(&ETHERTYPE_ARP)
                    .load(IIFNAME)
                    .load(ETHER_SADDR)
                    .load(ARP_SADDR_IP)
                    .in_set("pins4")
                    .load(IIFNAME)
                    .load(ARP_SADDR_ETHER)
                    .load(ARP_SADDR_IP)
                    .in_set("pins4")
                    .verdict(Verdict::Accept),
                rule().verdict(Verdict::Drop),
            ],
        ),
        chain(
            "guard_ip",
            None,
            [
                from_port(rule(), DHCP_SERVER),
                pinned(&ETHERTYPE_IPV4, IP_SADDR, "pins4"),
                rule().verdict(Verdict::Drop),
            ],
        ),
        chain(
            "guard_ip6",
            None,
            [
                from_port(rule(), DHCPV6_SERVER),
                icmpv6().in_nameless_set(ROUTER_MESSAGES).verdict(Verdict::Drop),
                icmpv6()
                    .equals(&[ND_NEIGHBOR_ADVERT])
                    .load(IIFNAME)
                    .load(ND_TARGET)
                    .not_in_set("targets6")
                    .verdict(Verdict::Drop),
                pinned(&ETHERTYPE_IPV6, IP6_SADDR, "pins6"),
                rule().verdict(Verdict::Drop),
            ],
        ),
        chain(
            "guard",
            None,
            [
                rule().load(IIFNAME).in_set("free").verdict(Verdict::Accept),
                rule().load(ETHER_TYPE).verdict_of_nameless(GUARD_MAP),
                rule().verdict(Verdict::Drop),
            ],
        ),
        chain(
            "prerouting",
            Some(("filter", PREROUTING, BRIDGE_FIRST)),
            [rule()
                .load(IIFNAME)
                .equals(port_prefix.as_bytes())
                .verdict(Verdict::Goto("guard"))],
        ),
    ]
}
