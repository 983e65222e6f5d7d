//! Containers of other engines: plugged into networks that these define, looked at, unplugged, and put right whatever
//! happened in between. Needs root.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

#[path = "../../host/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::Duration;

use common::{State, directory, ip, name, on_a_host, sh, subnet};
use zdocker_engine::config::Config;
use zdocker_engine::plug::{PlugRequest, UnplugRequest};
use zdocker_engine::{Engine, EngineError, Journal};
use zdocker_net::attach::foreign::{Addresses, ForeignRequest};
use zdocker_net::model::{
    BridgeDevice, Driver, InterfaceAddress, Isolation, Network, Ownership, Pool, Route, RouteKind,
};
use zdocker_net::names::{Id, MacAddress};
use zdocker_net::op::{NamespacePath, Shown};
use zdocker_net::ports::{Protocol, PublishedPort};

struct Silent;

impl Journal for Silent {
    fn step(&mut self, _: &Shown<'_>, _: Duration) {}
    fn warn(&mut self, text: &str) {
        panic!("{text}");
    }
}

fn engine(records: &Path) -> Engine {
    Engine::open_foreign("test", records.to_owned(), Config::default(), Box::new(Silent)).unwrap()
}

/// A network with one subnet of each family on a bridge of the name `bridge`.
fn network(number: u8, bridge: &str) -> Network {
    let label = format!("net{number}");
    let mut network = Network::foreign(Id::named(&["test", &label]), label.parse().unwrap(), Driver::Bridge, 1);
    network.pools = vec![
        Pool::new(subnet(&format!("10.{number}.0.0/24")), ip(&format!("10.{number}.0.1"))),
        Pool::new(subnet(&format!("fd00:{number}::/64")), ip(&format!("fd00:{number}::1"))),
    ];
    let mut device = BridgeDevice::own(name(bridge), MacAddress::local([2, 0, 0, 0, 0, number]), 1500);
    device.ownership = Ownership::Shared;
    network.bridge = Some(device);
    network.masquerade = true;
    network.settings.isolation = Isolation::None;
    network
}

fn given(number: u8, interface: &str, host: u8) -> ForeignRequest {
    let address = |text: String, prefix| InterfaceAddress {
        address: ip(&text),
        prefix,
    };
    ForeignRequest {
        addresses: Addresses::Given(vec![
            address(format!("10.{number}.0.{host}"), 24),
            address(format!("fd00:{number}::{host}"), 64),
        ]),
        default_route: true,
        metric: Some(100 + u32::from(number)),
        ..ForeignRequest::new(name(interface))
    }
}

fn port(host: u16) -> PublishedPort {
    PublishedPort {
        host_ip: None,
        host_port: host,
        container_port: 80,
        protocol: Protocol::Tcp,
    }
}

/// A namespace that another engine made.
fn namespace(label: &str) -> NamespacePath {
    sh(&format!("mkdir -p /run/netns; ip netns add {label}"));
    NamespacePath(format!("/run/netns/{label}"))
}

fn plug(container: &str, namespace: &NamespacePath, endpoints: Vec<(Network, ForeignRequest)>) -> PlugRequest {
    PlugRequest {
        container: Id::named(&[container]),
        namespace: namespace.clone(),
        endpoints,
    }
}

fn unplug(request: &PlugRequest) -> UnplugRequest {
    UnplugRequest {
        container: request.container.clone(),
        namespace: Some(request.namespace.clone()),
        endpoints: request.endpoints.clone(),
        remove_unused: true,
    }
}

/// Nothing differs from what was plugged in.
#[track_caller]
fn assert_as_recorded(engine: &mut Engine, request: &PlugRequest) {
    for (network, _) in &request.endpoints {
        assert_eq!(engine.check_plugged(&request.container, &network.id).unwrap(), [""; 0]);
    }
}

fn on_a_test_host(test: impl FnOnce(&Path) + Send) {
    on_a_host(|| {
        sh("mount -t tmpfs tmpfs /run");
        let records = directory();
        test(records.path());
    });
}

/// The host without the records, and without what the first plugging switches on for the whole host.
fn state(records: &Path) -> State {
    let mut state = State::see(records);
    state.files.clear();
    state
}

#[test]
fn two_networks_and_back() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let before = state(records);
        let mut engine = engine(records);
        let mut first = given(1, "eth0", 2);
        first.ports = vec![port(8080)];
        let request = plug(
            "box",
            &inside,
            vec![(network(1, "br1"), first), (network(2, "br2"), given(2, "eth1", 7))],
        );
        let endpoints = engine.plug(&request).unwrap();
        assert_eq!(endpoints[1].mac.to_string(), "02:42:0a:02:00:07");
        for target in ["10.1.0.2", "10.2.0.7", "fd00:1::2", "fd00:2::7"] {
            sh(&format!("ping -c1 -w10 {target}"));
        }
        for gateway in ["10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"] {
            sh(&format!("ip netns exec box ping -c1 -w10 {gateway}"));
        }
        assert_as_recorded(&mut engine, &request);
        assert_eq!(engine.plugged().unwrap().len(), 2);
        let again = engine.plug(&request).unwrap_err();
        assert!(matches!(again, EngineError::PluggedAlready { .. }), "{again}");

        engine.unplug(&unplug(&request)).unwrap();
        engine.finish().unwrap();
        assert_eq!(state(records), before);
        assert!(engine.plugged().unwrap().is_empty());
        engine.unplug(&unplug(&request)).unwrap();
        engine.finish().unwrap();
        assert_eq!(state(records), before);
    });
}

#[test]
fn addresses_are_leased_and_given_back() {
    on_a_test_host(|records| {
        let (one, two) = (namespace("one"), namespace("two"));
        let mut engine = engine(records);
        let leased = || ForeignRequest {
            addresses: Addresses::Leased(Vec::new()),
            ..ForeignRequest::new(name("eth0"))
        };
        let first = plug("one", &one, vec![(network(1, "br1"), leased())]);
        let second = plug("two", &two, vec![(network(1, "br1"), leased())]);
        let addresses = |endpoints: Vec<zdocker_net::model::Endpoint>| {
            let all = endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            all.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses(engine.plug(&first).unwrap()), ["10.1.0.2/24", "fd00:1::2/64"]);
        assert_eq!(
            addresses(engine.plug(&second).unwrap()),
            ["10.1.0.3/24", "fd00:1::3/64"]
        );
        sh("ip netns exec one ping -c1 -w10 10.1.0.3");
        engine.unplug(&unplug(&first)).unwrap();
        engine.finish().unwrap();
        let asked = ForeignRequest {
            addresses: Addresses::Leased(vec![ip("10.1.0.2")]),
            ..leased()
        };
        let third = plug("three", &one, vec![(network(1, "br1"), asked)]);
        assert_eq!(addresses(engine.plug(&third).unwrap()), ["10.1.0.2/24", "fd00:1::4/64"]);
    });
}

#[test]
fn a_plug_that_fails_leaves_nothing() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let before = state(records);
        let mut engine = engine(records);
        let twice = plug(
            "box",
            &inside,
            vec![
                (network(1, "br1"), given(1, "eth0", 2)),
                (network(2, "br2"), given(2, "eth0", 2)),
            ],
        );
        engine.plug(&twice).unwrap_err();
        assert_eq!(state(records), before);
        let nowhere = plug(
            "box",
            &NamespacePath("/run/netns/none".into()),
            vec![(network(1, "br1"), given(1, "eth0", 2))],
        );
        engine.plug(&nowhere).unwrap_err();
        assert_eq!(state(records), before);
    });
}

#[test]
fn what_is_gone_is_no_failure_and_records_may_be_lost() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let before = state(records);
        let mut wish = given(1, "eth0", 2);
        wish.ports = vec![port(8080)];
        let request = plug("box", &inside, vec![(network(1, "br1"), wish)]);
        engine(records).plug(&request).unwrap();
        sh(&format!("rm -r '{}'/*", records.display()));
        let mut second = engine(records);
        second.unplug(&unplug(&request)).unwrap();
        second.finish().unwrap();
        assert_eq!(state(records), before);

        second.plug(&request).unwrap();
        sh("ip netns del box; ip link del br1; nft flush ruleset");
        second.unplug(&unplug(&request)).unwrap();
        second.finish().unwrap();
        sh("ip netns add box");
        assert_eq!(state(records), before);
    });
}

#[test]
fn ports_of_a_plugged_endpoint_change() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let mut engine = engine(records);
        let request = plug("box", &inside, vec![(network(1, "br1"), given(1, "eth0", 2))]);
        let endpoint = engine.plug(&request).unwrap().remove(0);
        engine.republish(&endpoint.id, &[port(8080), port(8081)]).unwrap();
        let published = || sh("nft list ruleset | grep -o 'tcp . 80[0-9]*' | sort -u || true");
        assert_eq!(published(), "tcp . 8080\ntcp . 8081\n");
        engine.republish(&endpoint.id, &[port(8081), port(8082)]).unwrap();
        assert_eq!(published(), "tcp . 8081\ntcp . 8082\n");
        let other = plug(
            "other",
            &namespace("other"),
            vec![(network(1, "br1"), given(1, "eth0", 3))],
        );
        let other = engine.plug(&other).unwrap().remove(0);
        let taken = engine.republish(&other.id, &[port(8082)]).unwrap_err();
        assert!(taken.to_string().contains("8082"), "{taken}");
        engine.republish(&endpoint.id, &[]).unwrap();
        assert_eq!(published(), "");
    });
}

#[test]
fn a_bridge_that_others_use_stays() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let other = namespace("other");
        sh(
            "ip link add br1 type bridge; ip link set br1 addrgenmode none; ip link set br1 up
            ip link add port0 master br1 up type veth peer name port1; ip link set port0 addrgenmode none",
        );
        let mut engine = engine(records);
        let request = plug("box", &inside, vec![(network(1, "br1"), given(1, "eth0", 2))]);
        engine.plug(&request).unwrap();
        sh("ip netns exec box ping -c1 -w10 10.1.0.1; ip netns exec box ping -c1 -w10 fd00:1::1");
        // Its Ethernet address may change with its ports; an address that it lost comes back.
        sh("ip link set br1 address 02:00:00:00:00:99; ip addr del 10.1.0.1/24 dev br1");
        let second = plug("other", &other, vec![(network(1, "br1"), given(1, "eth0", 3))]);
        engine.plug(&second).unwrap();
        sh("ip netns exec other ping -c1 -w10 10.1.0.1; ip netns exec other ping -c1 -w10 10.1.0.2");
        assert_as_recorded(&mut engine, &request);
        for request in [&request, &second] {
            engine.unplug(&unplug(request)).unwrap();
            engine.finish().unwrap();
        }
        assert!(sh("ip link show port0").contains("master br1"));
        sh("ip link del port0");
        // Nobody else is on it any more when it is used the next time.
        engine.plug(&request).unwrap();
        engine.unplug(&unplug(&request)).unwrap();
        engine.finish().unwrap();
        assert_eq!(sh("ip link show type bridge"), "");
    });
}

#[test]
fn a_bridge_of_somebody_elses_is_not_changed() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let mut engine = engine(records);
        let mut foreign = network(1, "br1");
        foreign.bridge.as_mut().unwrap().ownership = Ownership::Foreign;
        let mut wish = given(1, "eth0", 2);
        wish.routes = vec![Route {
            kind: RouteKind::Unreachable,
            ..Route::new(subnet("10.99.0.0/16"), None, None)
        }];
        let request = plug("box", &inside, vec![(foreign, wish)]);
        let error = engine.plug(&request).unwrap_err();
        assert!(matches!(error, EngineError::NoBridge { .. }), "{error}");
        sh("ip link add br1 type bridge; ip link set br1 addrgenmode none; ip link set br1 up");
        // Its Ethernet address is that of its lowest port, which ours is not to be.
        sh("ip addr add 10.1.0.1/24 dev br1; ip netns exec box ip link set lo up
            ip link add port0 master br1 type veth peer name port1
            for port in port0 port1; do ip link set $port addrgenmode none; ip link set $port up; done");
        let routes = || sh("ip netns exec box ip route show table all; ip netns exec box ip -6 route show table all");
        let before = (state(records), routes());
        engine.plug(&request).unwrap();
        sh("ip netns exec box ping -c1 -w10 10.1.0.1");
        assert!(routes().contains("unreachable 10.99.0.0/16"));
        assert_eq!(sh("ip netns exec box sysctl -n net.ipv6.conf.eth0.accept_ra"), "0\n");
        assert_eq!(sh("sysctl -n net.ipv4.ip_forward"), "0\n");
        assert_as_recorded(&mut engine, &request);
        engine.unplug(&unplug(&request)).unwrap();
        engine.finish().unwrap();
        assert_eq!((state(records), routes()), before);

        let mut in_vrf = network(2, "br2");
        in_vrf.bridge.as_mut().unwrap().vrf = Some(name("blue"));
        let request = plug("box", &inside, vec![(in_vrf, given(2, "eth0", 2))]);
        let error = engine.plug(&request).unwrap_err();
        assert!(matches!(error, EngineError::NoVrf { .. }), "{error}");
        assert_eq!(state(records), before.0);
    });
}

/// An IPv4 network with room for one container.
fn narrow(driver: Driver) -> Network {
    let mut network = network(1, "br1");
    network.driver = driver;
    network.pools = vec![Pool::new(subnet("10.1.0.0/30"), ip("10.1.0.1"))];
    if driver == Driver::None {
        network.bridge = None;
    }
    network
}

fn leased(ports: Vec<PublishedPort>) -> ForeignRequest {
    ForeignRequest {
        addresses: Addresses::Leased(Vec::new()),
        ports,
        ..ForeignRequest::new(name("eth0"))
    }
}

#[test]
fn what_a_vanished_container_held_is_free() {
    on_a_test_host(|records| {
        let (one, two) = (namespace("one"), namespace("two"));
        let mut engine = engine(records);
        let wish = || vec![(narrow(Driver::Bridge), leased(vec![port(8080)]))];
        let first = engine.plug(&plug("one", &one, wish())).unwrap().remove(0);
        let refused = engine.plug(&plug("two", &two, wish())).unwrap_err();
        assert!(matches!(refused, EngineError::Address(_)), "{refused}");
        sh("ip netns del one");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while sh("ip -o link show type veth").contains(first.host_interface.as_str()) {
            assert!(std::time::Instant::now() < deadline, "the interface stays");
        }
        let second = engine.plug(&plug("two", &two, wish())).unwrap().remove(0);
        assert_eq!(second.addresses, first.addresses);
    });
}

#[test]
fn a_lease_alone_needs_no_namespace_and_makes_nothing() {
    on_a_test_host(|records| {
        let before = state(records);
        let mut engine = engine(records);
        let nowhere = NamespacePath(String::new());
        let request = |container| plug(container, &nowhere, vec![(narrow(Driver::None), leased(Vec::new()))]);
        let lease = engine.plug(&request("one")).unwrap().remove(0);
        assert_eq!(lease.addresses[0].to_string(), "10.1.0.2/30");
        let twice = engine.plug(&request("one")).unwrap_err();
        assert!(matches!(twice, EngineError::PluggedAlready { .. }), "{twice}");
        let full = engine.plug(&request("two")).unwrap_err();
        assert!(matches!(full, EngineError::Address(_)), "{full}");
        assert!(
            engine
                .check_plugged(&request("one").container, &lease.network)
                .unwrap()
                .is_empty()
        );
        engine.unplug(&unplug(&request("one"))).unwrap();
        engine.finish().unwrap();
        let again = engine.plug(&request("two")).unwrap().remove(0);
        assert_eq!(again.addresses, lease.addresses);
        assert_eq!(state(records), before);
    });
}

#[test]
fn what_was_left_to_be_finished_touches_nobody_elses_ports() {
    on_a_test_host(|records| {
        let (one, two) = (namespace("one"), namespace("two"));
        let mut engine = engine(records);
        let with_port = |container: &str, inside: &NamespacePath, host| {
            let mut wish = given(1, "eth0", host);
            wish.ports = vec![port(8080)];
            plug(container, inside, vec![(network(1, "br1"), wish)])
        };
        let (first, second) = (with_port("one", &one, 2), with_port("two", &two, 3));
        engine.plug(&first).unwrap();
        engine.unplug(&unplug(&first)).unwrap();
        // The port is another's before anybody finishes.
        engine.plug(&second).unwrap();
        assert_eq!(engine.remove_unused_networks().unwrap(), [""; 0]);
        assert_as_recorded(&mut engine, &second);
        // The first one comes back before its own end is finished.
        let back = plug("one", &one, vec![(network(1, "br1"), given(1, "eth0", 2))]);
        engine.plug(&back).unwrap();
        engine.finish().unwrap();
        assert_as_recorded(&mut engine, &back);
        sh("ping -c1 -w10 10.1.0.2");
    });
}

#[test]
fn what_nobody_finished_is_finished_by_the_next() {
    on_a_test_host(|records| {
        let (one, two) = (namespace("one"), namespace("two"));
        let before = state(records);
        let first = plug("one", &one, vec![(network(1, "br1"), given(1, "eth0", 2))]);
        let second = plug("two", &two, vec![(network(2, "br2"), given(2, "eth0", 2))]);
        let mut dying = engine(records);
        dying.plug(&first).unwrap();
        dying.plug(&second).unwrap();
        dying.unplug(&unplug(&first)).unwrap();
        drop(dying);
        let mut next = engine(records);
        next.unplug(&unplug(&second)).unwrap();
        next.finish().unwrap();
        assert_eq!(state(records), before);
    });
}

#[test]
fn a_second_network_that_fails_leaves_the_first_as_recorded() {
    on_a_test_host(|records| {
        let inside = namespace("box");
        let mut engine = engine(records);
        let first = plug("box", &inside, vec![(network(1, "br1"), given(1, "eth0", 2))]);
        engine.plug(&first).unwrap();
        let taken = plug("box", &inside, vec![(network(2, "br2"), given(2, "eth0", 2))]);
        engine.plug(&taken).unwrap_err();
        assert_as_recorded(&mut engine, &first);
        let second = plug("box", &inside, vec![(network(2, "br2"), given(2, "eth1", 2))]);
        engine.plug(&second).unwrap();
        assert_as_recorded(&mut engine, &first);
        assert_as_recorded(&mut engine, &second);
    });
}
