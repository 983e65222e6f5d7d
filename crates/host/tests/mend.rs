//! What the kernel has is read back as it was written, and compared with the records.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use zdocker_host::Kernel;
use zdocker_net::firewall::Element;
use zdocker_net::mend::{self, SeenTables};
use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::op::Op;
use zdocker_net::ports::Protocol;
use zdocker_net::subnet::{Family, Subnet};

/// How long the kernel may take for what it does behind.
const PATIENCE: Duration = Duration::from_secs(10);

fn nothing(_: &Op, _: Duration) {}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
    ]
}

fn any_name() -> impl Strategy<Value = InterfaceName> {
    "[!-$&-.0-9;-~]{1,15}".prop_filter_map("a name", |text| text.parse().ok())
}

/// Subnets that do not overlap: each is within one of 64 parts of all addresses.
fn any_subnet(part: u8) -> impl Strategy<Value = Subnet> {
    (any_address(), 6u8..=128).prop_map(move |(address, prefix)| {
        let address = match address {
            IpAddr::V4(address) => IpAddr::V4((address.to_bits() >> 6 | u32::from(part) << 26).into()),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 6 | u128::from(part) << 122).into()),
        };
        Subnet::containing(address, prefix)
    })
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

fn any_mac() -> impl Strategy<Value = MacAddress> {
    any::<[u8; 6]>().prop_map(MacAddress::local)
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn like(address: IpAddr, other: u128) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4((other as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(other.into()),
    }
}

fn published() -> impl Strategy<Value = Element> {
    let at = (any_address(), any::<bool>(), any::<u128>());
    let ports = (any_protocol(), 1..=u16::MAX, 1..=u16::MAX);
    (at, ports).prop_map(|((address, any, other), (protocol, port, target))| {
        let to = SocketAddr::new(like(address, other), target);
        match any {
            true => Element::PublishAny { protocol, port, to },
            false => Element::PublishAt {
                address,
                protocol,
                port,
                to,
            },
        }
    })
}

fn of_names() -> impl Strategy<Value = Element> {
    prop_oneof![
        any_name().prop_map(Element::Bridge),
        any_name().prop_map(Element::Internal),
        any_name().prop_map(Element::Within),
        any_name().prop_map(Element::Apart),
        any_name().prop_map(Element::Strict),
        any_name().prop_map(Element::Mutual),
        any_name().prop_map(Element::Tolerant),
        any_name().prop_map(Element::Free),
        (any_family(), any_name()).prop_map(|(family, name)| Element::Routed(family, name)),
        (any_family(), any_name()).prop_map(|(family, name)| Element::Unprotected(family, name)),
        (any_name(), any_name()).prop_map(|(from, bridge)| Element::Trusted { from, bridge }),
    ]
}

fn of_endpoints() -> impl Strategy<Value = Element> {
    prop_oneof![
        (any_address(), any_protocol(), 1..=u16::MAX).prop_map(|(address, protocol, port)| Element::Open {
            address,
            protocol,
            port
        }),
        (any_name(), any_mac(), any_address()).prop_map(|(port, mac, address)| Element::Pin { port, mac, address }),
        (any_name(), any::<u128>()).prop_map(|(port, bits)| Element::Target {
            port,
            address: bits.into()
        }),
    ]
}

fn of_subnets() -> impl Strategy<Value = Vec<Element>> {
    let one = |part: u8| {
        (any_subnet(part), any::<u128>(), any::<bool>()).prop_map(|(subnet, other, masquerade)| {
            let address = like(subnet.address(), other);
            match masquerade {
                true => vec![Element::Masquerade(subnet), Element::Same(subnet, subnet)],
                false => vec![Element::Outbound { subnet, address }, Element::Same(subnet, subnet)],
            }
        })
    };
    (one(0), one(7), one(8), one(40), one(63)).prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat())
}

/// Elements none of which leads elsewhere from another's key.
fn any_elements() -> impl Strategy<Value = Vec<Element>> {
    let single = prop_oneof![published(), of_names(), of_endpoints()];
    (prop::collection::vec(single, 0..60), of_subnets()).prop_map(|(single, subnets)| {
        let mut keys = HashSet::new();
        let all = single.into_iter().chain(subnets);
        all.filter(|element| keys.insert(element.key())).collect()
    })
}

#[test]
fn elements_are_read_as_they_were_written() {
    on_a_host(|| {
        let mut kernel = Kernel::new();
        assert_eq!(kernel.observe_tables().unwrap(), SeenTables::Damaged);
        kernel.apply(&[Op::LoadFirewall], &mut nothing).unwrap();
        assert_eq!(kernel.observe_tables().unwrap(), SeenTables::Whole(Vec::new()));
        let config = Config {
            cases: 40,
            failure_persistence: None,
            ..Config::default()
        };
        let read = |kernel: &mut Kernel| match kernel.observe_tables().unwrap() {
            SeenTables::Whole(elements) => {
                let count = elements.len();
                let elements: HashSet<Element> = elements.into_iter().collect();
                assert_eq!(elements.len(), count);
                elements
            }
            SeenTables::Damaged => panic!("the tables are not as they were loaded"),
        };
        let kernel = std::cell::RefCell::new(kernel);
        TestRunner::new(config)
            .run(&any_elements(), |elements| {
                let mut kernel = kernel.borrow_mut();
                let all: HashSet<Element> = elements.iter().cloned().collect();
                kernel
                    .apply(&[Op::AddElements(elements.clone())], &mut nothing)
                    .unwrap();
                prop_assert_eq!(&read(&mut kernel), &all);
                // Again: what is there stays.
                kernel
                    .apply(&[Op::AddElements(elements.clone())], &mut nothing)
                    .unwrap();
                prop_assert_eq!(&read(&mut kernel), &all);
                prop_assert!(kernel.remove(&[Op::DeleteElements(elements)], &mut nothing).is_empty());
                prop_assert!(read(&mut kernel).is_empty());
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn every_change_of_the_tables_is_damage() {
    on_a_host(|| {
        let mut kernel = Kernel::new();
        for damage in [
            "flush chain inet zdocker publish",
            "add rule inet zdocker forward accept",
            "insert rule inet zdocker forward drop",
            "add chain inet zdocker other",
            "add set inet zdocker other { type ipv4_addr; }",
            "add chain inet zdocker forward { policy drop; }",
            "delete table inet zdocker",
            "delete table bridge zdocker",
            "flush ruleset",
            "flush chain inet zdocker clamp; add rule inet zdocker clamp accept; add rule inet zdocker clamp accept",
            // Elements that can be none of ours.
            "add element inet zdocker masq4 { 10.0.0.1-10.0.0.9 }",
            "add element inet zdocker pub4any { 33 . 80 : 10.0.0.2 . 80 }",
            "add element inet zdocker links { \"a\" . \"b\" : drop }",
            "add element inet zdocker same4 { 10.0.0.1-10.0.0.9 . 10.0.0.0/24 }",
        ] {
            kernel.apply(&[Op::RestoreFirewall(Vec::new())], &mut nothing).unwrap();
            assert_eq!(kernel.observe_tables().unwrap(), SeenTables::Whole(Vec::new()));
            sh(&format!("nft '{damage}'"));
            assert_eq!(kernel.observe_tables().unwrap(), SeenTables::Damaged, "{damage}");
        }
        // What others have is no damage.
        kernel.apply(&[Op::RestoreFirewall(Vec::new())], &mut nothing).unwrap();
        sh(
            "nft 'add table inet other; add chain inet other c; add table ip zdocker; add chain ip zdocker c; \
            add set ip zdocker s { type ipv4_addr; elements = { 10.0.0.1 } }'",
        );
        assert_eq!(kernel.observe_tables().unwrap(), SeenTables::Whole(Vec::new()));
    });
}

/// A network with an endpoint of all kinds of routes is as its records say when it has just been made, and each damage is
/// found and mended.
#[test]
fn what_is_damaged_is_found_and_mended() {
    on_a_host(|| {
        let (mut kernel, directory) = (Kernel::new(), directory());
        kernel.apply(&prepare_host(), &mut nothing).unwrap();
        let mut network = network(7);
        network.settings.no_neighbours = true;
        let mut endpoint = endpoint(&network, 2, &["8080:80"]);
        endpoint.metric = Some(70);
        endpoint.reply_table = Some(1000);
        endpoint.settings.sysctls = vec![("net/ipv4/conf/eth0/log_martians".to_owned(), "1".to_owned())];
        let path = namespace_path(directory.path(), &endpoint);
        let seen = kernel.observe().unwrap();
        let mut plan = zdocker_net::plan::create_network(&network, &seen);
        plan.push(Op::CreateNamespace { path: path.clone() });
        plan.extend(zdocker_net::plan::attach(&network, &endpoint, &path));
        kernel.apply(&plan, &mut nothing).unwrap();
        let compare = |kernel: &mut Kernel| {
            let host = kernel.observe_host().unwrap();
            let sysctls = [endpoint.settings.sysctls[0].0.clone()];
            let inside = kernel.observe_inside(&path, &sysctls).unwrap().unwrap();
            let bridge = mend::bridge(&network, &host).unwrap();
            let endpoint = mend::endpoint(&network, &endpoint, &path, (&host, &inside)).unwrap();
            let host = mend::host([&network], &kernel.observe().unwrap());
            host.into_iter().chain(bridge).chain(endpoint).collect::<Vec<_>>()
        };
        assert_eq!(compare(&mut kernel), []);
        // The host's end of a pair that is made anew has another Ethernet address.
        let shown = || {
            let state = State::see(directory.path());
            (state.addresses, state.routes)
        };
        let before = shown();
        let inside = format!("nsenter --net={} ", path.0);
        let within = |command: &str| format!("{inside}{command}");
        for damage in [
            "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
            "sysctl -qw net.ipv6.conf.all.forwarding=0".to_owned(),
            "ip link set br7 mtu 1300".to_owned(),
            "ip link set br7 down".to_owned(),
            "ip addr del 10.7.0.1/24 dev br7".to_owned(),
            "ip addr flush dev br7".to_owned(),
            "ip addr del 10.7.0.1/24 dev br7; ip addr add 10.7.0.1/16 brd + dev br7".to_owned(),
            "sysctl -qw net.ipv4.conf.br7.route_localnet=0".to_owned(),
            "sysctl -qw net.ipv6.conf.br7.accept_ra=1".to_owned(),
            "ip link del br7".to_owned(),
            "ip link set zdv7x2 nomaster".to_owned(),
            "ip link set zdv7x2 down".to_owned(),
            "ip link set zdv7x2 mtu 1300".to_owned(),
            "bridge link set dev zdv7x2 hairpin off".to_owned(),
            "bridge link set dev zdv7x2 isolated off".to_owned(),
            "ip link del zdv7x2".to_owned(),
            within("ip link set eth0 down"),
            within("ip link set lo down"),
            within("ip link set eth0 mtu 1300"),
            within("ip link set eth0 address 02:00:00:00:00:99"),
            within("ip addr del 10.7.0.2/24 dev eth0"),
            within("ip addr flush dev eth0"),
            within("ip route del default metric 70"),
            within("ip -6 route del default metric 70"),
            within("ip route replace default via 10.7.0.9 metric 70"),
            within("ip route flush table 1000"),
            within("ip -6 route flush table 1000"),
            within("ip rule del pref 30000"),
            format!(
                "{0}ip rule del pref 30000; {0}ip rule add from 10.7.0.2 lookup 2000 pref 30000",
                inside
            ),
            within("sysctl -qw net.ipv4.conf.eth0.log_martians=0"),
            within("sysctl -qw net.ipv6.conf.eth0.accept_ra=2"),
            format!("{0}ip link set eth0 down; {0}ip link set eth0 name other0", inside),
        ] {
            sh(&damage);
            let repairs = compare(&mut kernel);
            assert!(!repairs.is_empty(), "{damage}");
            let steps: Vec<Op> = repairs.into_iter().flat_map(|repair| repair.steps).collect();
            kernel
                .apply(&steps, &mut nothing)
                .unwrap_or_else(|error| panic!("{damage}: {error}"));
            assert_eq!(compare(&mut kernel), [], "{damage}");
            // Some routes of its own the kernel adds and marks when it gets round to it.
            let deadline = Instant::now() + PATIENCE;
            while shown() != before && Instant::now() < deadline {}
            assert_eq!(shown(), before, "{damage}");
        }
    });
}

/// How many ports a bridge takes is known above (`BRIDGE_PORTS`), and this is why.
#[test]
fn a_bridge_takes_1023_ports() {
    on_a_host(|| {
        sh("ip link add name full type bridge");
        let pairs = |from: u32, to: u32| {
            let pair = |number: u32| format!("link add p{number} master full type veth peer name q{number}\n");
            (from..=to).map(pair).collect::<String>()
        };
        sh(&format!("ip -batch - <<'END'\n{}END", pairs(1, 1023)));
        let refused = sh(&format!("ip -batch - <<'END' 2>&1 || true\n{}END", pairs(1024, 1024)));
        // EXFULL
        assert!(refused.contains("Exchange full"), "{refused}");
    });
}
