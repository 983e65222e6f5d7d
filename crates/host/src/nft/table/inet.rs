//! The table of the inet family: what is published, translated, forwarded.

use zdocker_net::subnet::Family;

use super::super::expr::*;
use super::*;

/// Hooks of the inet family (linux/netfilter.h).
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// Priorities of the inet family (linux/netfilter_ipv4.h).
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

const RTN_LOCAL: u32 = 2;
const ICMP: [u8; 1] = [1];
const TCP: [u8; 1] = [6];

const CT_STATE_MAP: u32 = 101;
const ICMPS: u32 = 104;

/// Bits of `ct state` (`NF_CT_STATE_BIT`, linux/netfilter/nf_conntrack_common.h).
const ESTABLISHED: u32 = 2;
const RELATED: u32 = 4;

pub(super) const SETS: [Set; 22] = [
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

pub(super) fn nameless() -> Vec<Nameless> {
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

pub(super) fn chains() -> Vec<Chain> {
    let to_this_host = || {
        rule()
            .load(DESTINATION_TYPE)
            .equals(&RTN_LOCAL.to_ne_bytes())
            .verdict(Verdict::Goto("publish"))
    };
    vec![
        publish(),
        raw_pre(),
        chain("prerouting", Some(("nat", PREROUTING, DSTNAT)), [to_this_host()]),
        chain("output", Some(("nat", OUTPUT, DSTNAT)), [to_this_host()]),
        postrouting(),
        clamp(),
        open(),
        inward(),
        forward(),
    ]
}

fn publish() -> Chain {
    let dnat = |rule: Rule, map, family| rule.load(L4PROTO).load(TH_DPORT).dnat_to(map, family);
    let loopback6 = std::net::Ipv6Addr::LOCALHOST.octets();
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
    )
}

/// Loopback addresses lead to published ports (`route_localnet`), for this host alone.
fn raw_pre() -> Chain {
    let mut lo = [0; 16];
    lo[..2].copy_from_slice(b"lo");
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
    )
}

fn postrouting() -> Chain {
    let same4 = |rule: Rule| rule.ipv4().load(IP_SADDR).load(IP_DADDR).in_set("same4");
    let same6 = |rule: Rule| rule.ipv6().load(IP6_SADDR).load(IP6_DADDR).in_set("same6");
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
    )
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
