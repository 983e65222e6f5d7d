//! A container sends whatever frames it likes: only those that bear its own addresses get through.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::time::Duration;

use common::*;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike};
use zdocker_host::Kernel;
use zdocker_host::netns::Namespace;
use zdocker_net::firewall::{Element, endpoint_elements};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::MacAddress;
use zdocker_net::op::Op;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const VLAN: u16 = 0x8100;
const IPV6: u16 = 0x86dd;
const LLDP: u16 = 0x88cc;

/// What IP packets carry.
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const OPTIONS: u8 = 60;

/// Sends and receives whole frames at `eth0` of a namespace; every frame that arrives there is seen.
fn packet_socket(namespace: &Namespace) -> std::fs::File {
    let open = || {
        let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        assert!(fd >= 0);
        // SAFETY: the descriptor was just opened and belongs to nobody else.
        let file = unsafe { std::fs::File::from_raw_fd(fd) };
        // SAFETY: all zeros is a valid address of this type.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = nix::net::if_::if_nametoindex("eth0").unwrap() as i32;
        // SAFETY: the pointer is to an address of the length given.
        let bound = unsafe {
            libc::bind(
                file.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        assert_eq!(bound, 0);
        setsockopt(&file, ReceiveTimeout, &TimeVal::seconds(10)).unwrap();
        file
    };
    namespace.run(open).unwrap()
}

fn frame(to: MacAddress, from: MacAddress, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to.octets()[..], &from.octets(), &ether_type.to_be_bytes(), payload].concat()
}

fn arp(operation: u8, sender: (MacAddress, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let (mac, address) = sender;
    [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &mac.octets(),
        &address.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let number = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum: u32 = bytes.chunks(2).map(number).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    [
        &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0],
        &from.octets()[..],
        &to.octets(),
        payload,
    ]
    .concat()
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    [
        &[0x60, 0, 0, 0, 0, 0, next, 255],
        &from.octets()[..],
        &to.octets(),
        payload,
    ]
    .concat()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0], payload].concat()
}

/// Router advertisement 134, neighbour solicitation 135, advertisement 136, redirect 137; all but the first name a
/// target.
fn icmpv6(kind: u8, target: Ipv6Addr) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets()].concat()
}

/// A destination options header with nothing but padding before `next`.
fn behind_options(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], payload].concat()
}

/// Puts a name behind a frame, as part of its IP packet: bridges may cut off what is not.
fn named(frame: &[u8], name: &str) -> Vec<u8> {
    let mut all = [frame, b"<", name.as_bytes(), b">"].concat();
    let ether_type = |at: usize| u16::from_be_bytes([all[at], all[at + 1]]);
    let (ether_type, packet) = match ether_type(12) {
        VLAN => (ether_type(16), 18),
        other => (other, 14),
    };
    let length = all.len() - packet;
    match ether_type {
        IPV4 => {
            all[packet + 2..packet + 4].copy_from_slice(&(length as u16).to_be_bytes());
            all[packet + 10..packet + 12].fill(0);
            let sum = checksum(&all[packet..packet + 20]);
            all[packet + 10..packet + 12].copy_from_slice(&sum);
        }
        IPV6 => {
            let length = (length as u16 - 40).to_be_bytes();
            all[packet + 4..packet + 6].copy_from_slice(&length);
            let options = if all[packet + 6] == OPTIONS { 8 } else { 0 };
            let message = packet + 40 + options;
            if all[if options > 0 { packet + 40 } else { packet + 6 }] == ICMPV6 {
                // The pseudo header has the length of the message alone (RFC 8200, section 8.1).
                let length = (all.len() - message) as u32;
                let pseudo = [&all[packet + 8..packet + 40], &length.to_be_bytes(), &[0, 0, 0, ICMPV6]].concat();
                all[message + 2..message + 4].fill(0);
                let sum = checksum(&[&pseudo[..], &all[message..]].concat());
                all[message + 2..message + 4].copy_from_slice(&sum);
            }
        }
        _ => {}
    }
    all
}

struct Side {
    mac: MacAddress,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

fn side(endpoint: &Endpoint) -> Side {
    match (endpoint.addresses[0].address, endpoint.addresses[1].address) {
        (IpAddr::V4(v4), IpAddr::V6(v6)) => Side {
            mac: endpoint.mac,
            v4,
            v6,
        },
        other => panic!("{other:?}"),
    }
}

/// Name, whether it must arrive, and the frame.
fn frames(own: &Side, victim: &Side, gateway: &Side) -> Vec<(&'static str, bool, Vec<u8>)> {
    let (to, local) = (victim.mac, own.mac.link_local());
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let ether = |from: MacAddress, kind, payload: Vec<u8>| frame(to, from, kind, &payload);
    let from_own = |kind, payload| ether(own.mac, kind, payload);
    let v6 = |from, next, payload: &[u8]| from_own(IPV6, ipv6(from, victim.v6, next, payload));
    let hello = udp(1000, 1000, b"");
    let advertised = |target| v6(local, ICMPV6, &icmpv6(136, target));
    let router = ipv6(local, all_nodes, ICMPV6, &icmpv6(134, own.v6));
    let tagged = [&[0, 0][..], &IPV6.to_be_bytes(), &router].concat();
    vec![
        ("ARP request", true, from_own(ARP, arp(1, (own.mac, own.v4), victim.v4))),
        ("ARP reply", true, from_own(ARP, arp(2, (own.mac, own.v4), victim.v4))),
        (
            "ARP for the gateway",
            false,
            from_own(ARP, arp(2, (own.mac, gateway.v4), victim.v4)),
        ),
        (
            "ARP with another's MAC",
            false,
            from_own(ARP, arp(2, (gateway.mac, own.v4), victim.v4)),
        ),
        (
            "ARP from another's MAC",
            false,
            ether(gateway.mac, ARP, arp(2, (own.mac, own.v4), victim.v4)),
        ),
        ("RARP", false, from_own(RARP, arp(3, (own.mac, own.v4), victim.v4))),
        ("IPv4", true, from_own(IPV4, ipv4(own.v4, victim.v4, UDP, &hello))),
        (
            "IPv4 from the gateway's address",
            false,
            from_own(IPV4, ipv4(gateway.v4, victim.v4, UDP, &hello)),
        ),
        (
            "IPv4 from another's MAC",
            false,
            ether(gateway.mac, IPV4, ipv4(own.v4, victim.v4, UDP, &hello)),
        ),
        (
            "DHCP answer",
            false,
            from_own(IPV4, ipv4(own.v4, victim.v4, UDP, &udp(67, 68, b""))),
        ),
        (
            "DHCP question",
            true,
            from_own(IPV4, ipv4(own.v4, victim.v4, UDP, &udp(68, 67, b""))),
        ),
        ("IPv6", true, v6(own.v6, UDP, &hello)),
        ("IPv6 from its link-local address", true, v6(local, UDP, &hello)),
        ("IPv6 from the gateway's address", false, v6(gateway.v6, UDP, &hello)),
        (
            "IPv6 from another's MAC",
            false,
            ether(gateway.mac, IPV6, ipv6(own.v6, victim.v6, UDP, &hello)),
        ),
        ("DHCPv6 answer", false, v6(local, UDP, &udp(547, 546, b""))),
        (
            "neighbour solicitation",
            true,
            v6(own.v6, ICMPV6, &icmpv6(135, victim.v6)),
        ),
        ("neighbour advertisement", true, advertised(own.v6)),
        ("neighbour advertisement, link-local", true, advertised(local)),
        ("neighbour advertisement for the gateway", false, advertised(gateway.v6)),
        ("neighbour advertisement for the victim", false, advertised(victim.v6)),
        (
            "neighbour advertisement behind options",
            false,
            v6(local, OPTIONS, &behind_options(ICMPV6, &icmpv6(136, gateway.v6))),
        ),
        ("router advertisement", false, from_own(IPV6, router.clone())),
        (
            "router advertisement behind options",
            false,
            v6(local, OPTIONS, &behind_options(ICMPV6, &icmpv6(134, own.v6))),
        ),
        ("router advertisement with a VLAN tag", false, from_own(VLAN, tagged)),
        ("redirect", false, v6(local, ICMPV6, &icmpv6(137, gateway.v6))),
        ("LLDP", false, from_own(LLDP, vec![0; 46])),
        // The last, which must arrive: all before it have then arrived or never will.
        ("end", true, from_own(IPV4, ipv4(own.v4, victim.v4, UDP, &hello))),
    ]
}

fn inside(directory: &Path, endpoint: &Endpoint) -> Namespace {
    Namespace::open(Path::new(&namespace_path(directory, endpoint).0)).unwrap()
}

/// Sends all frames from `attacker`, each with its name behind it, and gives the names that arrive at `victim`.
fn arriving(
    directory: &Path,
    attacker: &Endpoint,
    victim: &Endpoint,
    all: &[(&str, bool, Vec<u8>)],
) -> BTreeSet<String> {
    let mut receiver = packet_socket(&inside(directory, victim));
    let mut sender = packet_socket(&inside(directory, attacker));
    for (name, _, frame) in all {
        sender.write_all(&named(frame, name)).unwrap();
    }
    let mut names = BTreeSet::new();
    let mut buffer = [0; 2048];
    while !names.contains("end") {
        let length = receiver.read(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if let Some((_, name)) = text.trim_end_matches('\0').trim_end_matches('>').rsplit_once('<') {
            // The victim's answers hold parts of what they answer.
            if all.iter().any(|(known, _, _)| *known == name) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// How the names begin of frames that must not arrive.
const LAST: &str = "last ";

/// Whether none of the frames arrives within a time in which the last of them would have.
fn nothing_arrives(directory: &Path, attacker: &Endpoint, victim: &Endpoint, all: &[(&str, bool, Vec<u8>)]) -> bool {
    let mut receiver = packet_socket(&inside(directory, victim));
    let mut sender = packet_socket(&inside(directory, attacker));
    setsockopt(&receiver, ReceiveTimeout, &TimeVal::milliseconds(300)).unwrap();
    for (name, _, frame) in all {
        sender.write_all(&named(frame, &format!("{LAST}{name}"))).unwrap();
    }
    let mut buffer = [0; 2048];
    while let Ok(length) = receiver.read(&mut buffer) {
        // An error message about a frame that was let through before may come late, and has that frame's name in it.
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.contains(&format!("<{LAST}")) {
            return false;
        }
    }
    true
}

#[test]
fn frames_with_others_addresses_do_not_arrive() {
    on_a_host(|| {
        let directory = common::directory();
        let mut kernel = Kernel::new();
        let mut nothing = |_: &Op, _: Duration| {};
        // What the IP rules drop of bridged packets is another matter.
        sh("for call in /proc/sys/net/bridge/bridge-nf-call-*; do if [ -e $call ]; then echo 0 > $call; fi; done");
        let network: Network = network(7);
        let (attacker, victim) = (endpoint(&network, 2, &[]), endpoint(&network, 3, &[]));
        let mut ops = prepare_host();
        ops.extend(create(&network));
        for endpoint in [&attacker, &victim] {
            ops.extend(attach(directory.path(), &network, endpoint));
        }
        kernel.apply(&ops, &mut nothing).unwrap();
        let all = frames(&side(&attacker), &side(&victim), &side(&endpoint(&network, 1, &[])));
        let expected = |passes: &dyn Fn(bool) -> bool| {
            all.iter()
                .filter(|(_, good, _)| passes(*good))
                .map(|(name, _, _)| (*name).to_owned())
                .collect::<BTreeSet<_>>()
        };

        assert_eq!(
            arriving(directory.path(), &attacker, &victim, &all),
            expected(&|good| good)
        );

        // All arrive from a port that may do as it likes.
        let unguarded = Element::Free(attacker.host_interface.clone());
        let freed = [Op::AddElements(vec![unguarded.clone()])];
        let undo = kernel.apply(&freed, &mut nothing).unwrap();
        assert_eq!(
            arriving(directory.path(), &attacker, &victim, &all),
            expected(&|_| true)
        );
        assert!(kernel.remove(&undo, &mut nothing).is_empty());

        // The same frames all arrive when no port is guarded, so it is the guard that stops them. (LLDP is never
        // forwarded by a bridge when sent to its group address, but to a station's it is.)
        sh("nft flush chain bridge zdocker prerouting");
        assert_eq!(
            arriving(directory.path(), &attacker, &victim, &all),
            expected(&|_| true)
        );

        // A port whose endpoint was removed, and whose namespace somebody still holds, gets nothing through.
        sh("nft add rule bridge zdocker prerouting iifname 'zdv*' goto guard");
        let detached = [Op::DeleteElements(endpoint_elements(&network, &attacker))];
        assert!(kernel.remove(&detached, &mut nothing).is_empty());
        assert!(nothing_arrives(directory.path(), &attacker, &victim, &all));
    });
}
