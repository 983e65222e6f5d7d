//! The fixed part of our firewall: sets, chains and rules.
//!
//! What they mean is told by [`zdocker_net::firewall::RULESET`], which is the same in nft's language; a test compares
//! what the two load. Chains stand before the rules that go to them.

use zdocker_net::firewall::Table;
use zdocker_net::installation::Installation;
use zdocker_net::subnet::Family;

use super::expr::*;

/// A type of nft's language: its number there (`enum datatypes`, nftables/include/datatype.h) and its length in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Type(pub(super) u32, pub(super) u32);

const NF_PROTO: Type = Type(2, 1);
pub(super) const INTEGER_16_BYTES: Type = Type(4, 16);
const IPV4_ADDR: Type = Type(7, 4);
const IPV6_ADDR: Type = Type(8, 16);
const ETHER_ADDR: Type = Type(9, 6);
pub(super) const ETHER_TYPE_ID: Type = Type(10, 2);
const INET_PROTO: Type = Type(12, 1);
const INET_SERVICE: Type = Type(13, 2);
pub(super) const CT_STATE_BITS: Type = Type(26, 4);
pub(super) const ICMPV6_TYPE_ID: Type = Type(29, 1);
pub(super) const IFNAME: Type = Type(41, 16);

/// What a map gives for a key.
pub(super) enum Gives {
    Verdict,
    Data(&'static [Type]),
}

/// A set or map.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) key: &'static [Type],
    pub(super) gives: Option<Gives>,
    pub(super) interval: bool,
}

const fn set(name: &'static str, key: &'static [Type]) -> Set {
    Set {
        name,
        key,
        gives: None,
        interval: false,
    }
}

const fn interval_set(name: &'static str, key: &'static [Type]) -> Set {
    Set {
        name,
        key,
        gives: None,
        interval: true,
    }
}

/// A map from intervals to one value each.
const fn interval_map(name: &'static str, key: &'static [Type], data: &'static [Type]) -> Set {
    Set {
        name,
        key,
        gives: Some(Gives::Data(data)),
        interval: true,
    }
}

const fn map(name: &'static str, key: &'static [Type], gives: Gives) -> Set {
    Set {
        name,
        key,
        gives: Some(gives),
        interval: false,
    }
}

const INET_SETS: [Set; 22] = [
    map(
        "pub4",
        &[IPV4_ADDR, INET_PROTO, INET_SERVICE],
        Gives::Data(&[IPV4_ADDR, INET_SERVICE]),
    ),
    map(
        "pub4any",
        &[INET_PROTO, INET_SERVICE],
        Gives::Data(&[IPV4_ADDR, INET_SERVICE]),
    ),
    map(
        "pub6",
        &[IPV6_ADDR, INET_PROTO, INET_SERVICE],
        Gives::Data(&[IPV6_ADDR, INET_SERVICE]),
    ),
    map(
        "pub6any",
        &[INET_PROTO, INET_SERVICE],
        Gives::Data(&[IPV6_ADDR, INET_SERVICE]),
    ),
    set("open4", &[IPV4_ADDR, INET_PROTO, INET_SERVICE]),
    set("open6", &[IPV6_ADDR, INET_PROTO, INET_SERVICE]),
    interval_map("snat4", &[IPV4_ADDR], &[IPV4_ADDR]),
    interval_map("snat6", &[IPV6_ADDR], &[IPV6_ADDR]),
    interval_set("masq4", &[IPV4_ADDR]),
    interval_set("masq6", &[IPV6_ADDR]),
    interval_set("same4", &[IPV4_ADDR, IPV4_ADDR]),
    interval_set("same6", &[IPV6_ADDR, IPV6_ADDR]),
    set("bridges", &[IFNAME]),
    set("internal", &[IFNAME]),
    map("links", &[IFNAME, IFNAME], Gives::Verdict),
    set("strict", &[IFNAME]),
    set("mutual", &[IFNAME]),
    set("tolerant", &[IFNAME]),
    set("apart", &[IFNAME, IFNAME]),
    set("routed", &[NF_PROTO, IFNAME]),
    set("unprotected", &[NF_PROTO, IFNAME]),
    set("trusted", &[IFNAME, IFNAME]),
];

const BRIDGE_SETS: [Set; 4] = [
    set("pins4", &[IFNAME, ETHER_ADDR, IPV4_ADDR]),
    set("pins6", &[IFNAME, ETHER_ADDR, IPV6_ADDR]),
    set("targets6", &[IFNAME, INTEGER_16_BYTES]),
    set("free", &[IFNAME]),
];

/// Where a chain is called from: type, hook and priority, as nft names them.
pub(super) type Hook = (&'static str, u32, i32);

/// A chain with its rules; without a hook it is only gone to.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

fn chain(name: &'static str, hook: Option<Hook>, rules: impl IntoIterator<Item = Rule>) -> Chain {
    Chain {
        name,
        hook,
        rules: rules.into_iter().collect(),
    }
}

/// Hooks of the inet family (linux/netfilter.h).
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// Priorities of the inet family (linux/netfilter_ipv4.h).
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

/// Before the bridge family's destination NAT, so before all else (linux/netfilter_bridge.h).
const BRIDGE_FIRST: i32 = -300;

const RTN_LOCAL: u32 = 2;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMP: [u8; 1] = [1];
const ICMPV6: [u8; 1] = [58];
const TCP: [u8; 1] = [6];
const UDP: [u8; 1] = [17];
const DHCP_SERVER: u16 = 67;
const DHCPV6_SERVER: u16 = 547;
const ND_ROUTER_ADVERT: u8 = 134;
const ND_NEIGHBOR_ADVERT: u8 = 136;
const ND_REDIRECT: u8 = 137;

/// A set or map that a rule spells out; it has a number and no name.
pub(super) struct Nameless {
    /// Apart from the numbers of the named ones.
    pub(super) id: u32,
    pub(super) key: Type,
    /// Each key, for a map with what it gives.
    pub(super) elements: Vec<(Vec<u8>, Option<Verdict>)>,
}

const CT_STATE_MAP: u32 = 101;
const ROUTER_MESSAGES: u32 = 102;
const GUARD_MAP: u32 = 103;
const ICMPS: u32 = 104;

/// Bits of `ct state` (`NF_CT_STATE_BIT`, linux/netfilter/nf_conntrack_common.h).
const ESTABLISHED: u32 = 2;
const RELATED: u32 = 4;

fn inet_nameless() -> Vec<Nameless> {
    let of_state = |state: u32, verdict| (state.to_ne_bytes().to_vec(), Some(verdict));
    let elements = vec![
        of_state(ESTABLISHED, Verdict::Accept),
        of_state(RELATED, Verdict::Accept),
    ];
    vec![
        Nameless {
            id: ICMPS,
            key: INET_PROTO,
            elements: vec![(ICMP.to_vec(), None), (ICMPV6.to_vec(), None)],
        },
        Nameless {
            id: CT_STATE_MAP,
            key: CT_STATE_BITS,
            elements,
        },
    ]
}

fn bridge_nameless() -> Vec<Nameless> {
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

/// The named sets and maps of a table.
pub(super) fn sets(table: Table) -> &'static [Set] {
    match table {
        Table::Inet => &INET_SETS,
        Table::Bridge => &BRIDGE_SETS,
    }
}

/// The sets and maps that the rules of a table spell out.
pub(super) fn nameless(table: Table) -> Vec<Nameless> {
    match table {
        Table::Inet => inet_nameless(),
        Table::Bridge => bridge_nameless(),
    }
}

/// The chains of a table.
pub(super) fn chains(whose: &Installation, table: Table) -> Vec<Chain> {
    match table {
        Table::Inet => inet_chains(),
        Table::Bridge => bridge_chains(whose.port_prefix()),
    }
}

/// How many rules each chain of a table has and, as the kernel counts them together, how many places lead to it.
pub(super) fn uses(whose: &Installation, table: Table) -> Vec<(&'static str, u32)> {
    let (chains, nameless) = (chains(whose, table), nameless(table));
    let by_rules = chains.iter().flat_map(|chain| &chain.rules).filter_map(Rule::goes_to);
    let elements = nameless.iter().flat_map(|set| &set.elements);
    let by_maps = elements.filter_map(|(_, verdict)| verdict.and_then(Verdict::goes_to));
    let ways: Vec<&str> = by_rules.chain(by_maps).collect();
    let uses = |chain: &Chain| chain.rules.len() + ways.iter().filter(|name| **name == chain.name).count();
    chains.iter().map(|chain| (chain.name, uses(chain) as u32)).collect()
}

fn rule() -> Rule {
    Rule::default()
}

fn inet_chains() -> Vec<Chain> {
    let dnat = |rule: Rule, map, family| rule.load(L4PROTO).load(TH_DPORT).dnat_to(map, family);
    let to_this_host = || {
        rule()
            .load(DESTINATION_TYPE)
            .equals(&RTN_LOCAL.to_ne_bytes())
            .verdict(Verdict::Goto("publish"))
    };
    let same4 = |rule: Rule| rule.ipv4().load(IP_SADDR).load(IP_DADDR).in_set("same4");
    let same6 = |rule: Rule| rule.ipv6().load(IP6_SADDR).load(IP6_DADDR).in_set("same6");
    let mut lo = [0; 16];
    lo[..2].copy_from_slice(b"lo");
    let loopback6 = std::net::Ipv6Addr::LOCALHOST.octets();
    vec![
        chain(
            "publish",
            None,
            [
                rule()
                    .ipv6()
                    .load(IP6_DADDR)
                    .equals(&loopback6)
                    .verdict(Verdict::Return),
                dnat(rule().ipv4().load(IP_DADDR), "pub4", Family::V4),
                dnat(rule(), "pub4any", Family::V4),
                dnat(rule().ipv6().load(IP6_DADDR), "pub6", Family::V6),
                dnat(rule(), "pub6any", Family::V6),
            ],
        ),
        chain(
            "raw_pre",
            Some(("filter", PREROUTING, RAW)),
            [rule()
                .load(IIFNAME)
                .differs(&lo)
                .ipv4()
                .load(IP_DADDR_FIRST)
                .equals(&[127])
                .verdict(Verdict::Drop)],
        ),
        chain("prerouting", Some(("nat", PREROUTING, DSTNAT)), [to_this_host()]),
        chain("output", Some(("nat", OUTPUT, DSTNAT)), [to_this_host()]),
        chain(
            "postrouting",
            Some(("nat", POSTROUTING, SRCNAT)),
            [
                same4(rule().ct_status_dnat()).masquerade(),
                same6(rule().ct_status_dnat()).masquerade(),
                rule()
                    .ct_status_dnat()
                    .ipv4()
                    .load(IP_SADDR_FIRST)
                    .equals(&[127])
                    .load(OIFNAME)
                    .in_set("bridges")
                    .masquerade(),
                same4(rule()).verdict(Verdict::Return),
                same6(rule()).verdict(Verdict::Return),
                rule()
                    .load(OIFNAME)
                    .in_set("mutual")
                    .ct_status_not_dnat()
                    .verdict(Verdict::Return),
                rule()
                    .load(OIFNAME)
                    .in_set("tolerant")
                    .ct_status_not_dnat()
                    .verdict(Verdict::Return),
                rule().ipv4().load(IP_SADDR).snat_to("snat4", Family::V4),
                rule().ipv6().load(IP6_SADDR).snat_to("snat6", Family::V6),
                rule().ipv4().load(IP_SADDR).in_set("masq4").masquerade(),
                rule().ipv6().load(IP6_SADDR).in_set("masq6").masquerade(),
            ],
        ),
        clamp(),
        open(),
        inward(),
        forward(),
    ]
}

/// SYN and RST of the flags of a TCP packet.
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;

fn clamp() -> Chain {
    let clamped = |way| rule().load(way).in_set("bridges").clamp_segment_size();
    chain("clamp", None, [clamped(IIFNAME), clamped(OIFNAME)])
}

fn open() -> Chain {
    let port = |rule: Rule, set| rule.load(L4PROTO).load(TH_DPORT).in_set(set).verdict(Verdict::Accept);
    chain(
        "open",
        None,
        [
            rule().load(L4PROTO).in_nameless_set(ICMPS).verdict(Verdict::Accept),
            port(rule().ipv4().load(IP_DADDR), "open4"),
            port(rule().ipv6().load(IP6_DADDR), "open6"),
        ],
    )
}

fn inward() -> Chain {
    let from = |set| rule().load(IIFNAME).in_set(set);
    chain(
        "inward",
        None,
        [
            from("strict").verdict(Verdict::Drop),
            from("bridges").load(OIFNAME).in_set("strict").verdict(Verdict::Drop),
            rule().ct_status_dnat().verdict(Verdict::Accept),
            rule()
                .load(NFPROTO)
                .load(OIFNAME)
                .in_set("routed")
                .verdict(Verdict::Jump("open")),
            rule()
                .load(IIFNAME)
                .load(OIFNAME)
                .in_set("trusted")
                .verdict(Verdict::Jump("open")),
            rule()
                .load(IIFNAME)
                .load(OIFNAME)
                .in_set("apart")
                .verdict(Verdict::Drop),
            from("mutual").load(OIFNAME).in_set("mutual").verdict(Verdict::Accept),
            from("mutual").load(OIFNAME).in_set("tolerant").verdict(Verdict::Accept),
            from("tolerant").load(OIFNAME).in_set("mutual").verdict(Verdict::Accept),
            from("bridges").verdict(Verdict::Drop),
            rule()
                .load(NFPROTO)
                .load(OIFNAME)
                .in_set("unprotected")
                .verdict(Verdict::Accept),
            rule().verdict(Verdict::Drop),
        ],
    )
}

fn forward() -> Chain {
    let from = |set| rule().load(IIFNAME).in_set(set);
    let to = |set| rule().load(OIFNAME).in_set(set);
    chain(
        "forward",
        Some(("filter", FORWARD, FILTER)),
        [
            rule()
                .load(L4PROTO)
                .equals(&TCP)
                .load(TCP_FLAGS)
                .masked(&[TCP_SYN | TCP_RST])
                .equals(&[TCP_SYN])
                .verdict(Verdict::Jump("clamp")),
            rule().load(CT_STATE).verdict_of_nameless(CT_STATE_MAP),
            from("bridges").ct_state_invalid().verdict(Verdict::Drop),
            to("bridges").ct_state_invalid().verdict(Verdict::Drop),
            rule().load(IIFNAME).load(OIFNAME).verdict_of("links"),
            from("internal").verdict(Verdict::Drop),
            to("internal").verdict(Verdict::Drop),
            to("bridges").verdict(Verdict::Goto("inward")),
        ],
    )
}

fn bridge_chains(port_prefix: &str) -> Vec<Chain> {
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
