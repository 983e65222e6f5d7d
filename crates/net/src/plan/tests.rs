mod bridges;

use super::*;
use crate::model::{
    Driver, EndpointSettings, GatewayMode, HostInVlan, InterfaceAddress, Isolation, Ownership, Pool, RouteKind,
    Settings, Trunk,
};
use crate::names::{Id, MacAddress};
use crate::seen::{SeenBridge, SeenLink};

fn network(settings: Settings) -> Network {
    let pool = |subnet: &str| {
        let subnet: Subnet = subnet.parse().unwrap();
        Pool::new(subnet, subnet.nth(1).unwrap())
    };
    Network {
        id: Id::new([1; 32]),
        name: "n".parse().unwrap(),
        driver: Driver::Bridge,
        pools: vec![pool("10.1.0.0/24"), pool("10.2.0.0/24"), pool("fd00:1::/64")],
        bridge: Some(BridgeDevice::own(
            "br1".parse().unwrap(),
            MacAddress::local([2, 0, 0, 0, 0, 1]),
            1500,
        )),
        parent: None,
        internal: false,
        masquerade: true,
        settings,
        options: Default::default(),
        labels: Default::default(),
        created: 0,
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: Id::new([2; 32]),
        network: Id::new([1; 32]),
        container: Id::new([3; 32]),
        interface: "eth0".parse().unwrap(),
        host_interface: "zdv1".parse().unwrap(),
        mac: MacAddress::local([2, 0, 0, 0, 0, 2]),
        addresses: vec![InterfaceAddress {
            address: "10.1.0.2".parse().unwrap(),
            prefix: 24,
        }],
        gateways: vec!["10.1.0.1".parse().unwrap()],
        metric: None,
        reply_table: None,
        routes: Vec::new(),
        ports: vec!["8080:80".parse().map(published).unwrap()],
        settings: EndpointSettings::default(),
        sandbox: None,
    }
}

fn published(request: crate::ports::PortRequest) -> PublishedPort {
    PublishedPort {
        host_ip: None,
        host_port: 8080,
        container_port: request.container().first(),
        protocol: request.protocol(),
    }
}

/// The lines of the plan that have `word` in them.
fn lines(plan: &[Op], word: &str) -> Vec<String> {
    let lines: Vec<String> = plan
        .iter()
        .flat_map(|op| op.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.into_iter().filter(|line| line.contains(word)).collect()
}

#[test]
fn a_bridge_bears_the_gateways_that_it_is_to_bear() {
    let check = |settings: Settings, expected: &[&str]| {
        let plan = create_network(&network(settings), &Seen::default());
        assert_eq!(lines(&plan, "ip address add"), expected);
    };
    let v4 = ["10.1.0.1/24 dev br1 brd +", "10.2.0.1/24 dev br1 brd +"].map(|a| format!("ip address add {a}"));
    let v6 = ["fd00:1::1/64 dev br1 nodad", "fe80::ff:fe00:1/64 dev br1 nodad"];
    let v6 = v6.map(|a| format!("ip address add {a}"));
    let all = [&v4[0], &v4[1], &v6[0], &v6[1]].map(String::as_str);
    check(Settings::default(), &all);
    let inhibited = Settings {
        inhibit_v4: true,
        ..Settings::default()
    };
    check(inhibited, &all[2..]);
    let isolated = Settings {
        gateway_mode_v6: GatewayMode::Isolated,
        ..Settings::default()
    };
    check(isolated, &all[..2]);
}

#[test]
fn routes_have_the_metrics_that_they_are_to_have() {
    let route = |destination: &str, via: Option<&str>, metric| {
        Route::new(
            destination.parse().unwrap(),
            via.map(|via| via.parse().unwrap()),
            metric,
        )
    };
    let mut endpoint = endpoint();
    endpoint.metric = Some(50);
    endpoint.routes = vec![
        route("10.9.0.0/16", Some("10.1.0.9"), Some(7)),
        route("10.8.0.0/16", None, None),
    ];
    let namespace = NamespacePath("/ns".to_owned());
    let plan = attach(&network(Settings::default()), &endpoint, &namespace);
    assert_eq!(
        lines(&plan, "ip route"),
        [
            "nsenter --net=/ns ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0 metric 50",
            "nsenter --net=/ns ip route replace 10.9.0.0/16 via 10.1.0.9 dev eth0 metric 7",
            "nsenter --net=/ns ip route replace 10.8.0.0/16 dev eth0",
        ]
    );
}

#[test]
fn ports_are_as_the_network_says() {
    let port = |settings: Settings| {
        let plan = attach(&network(settings), &endpoint(), &NamespacePath("/ns".to_owned()));
        lines(&plan, "bridge link set").join(" ")
    };
    assert_eq!(port(Settings::default()), "bridge link set dev zdv1 hairpin on");
    let apart = Settings {
        no_neighbours: true,
        ..Settings::default()
    };
    assert_eq!(port(apart.clone()), "bridge link set dev zdv1 hairpin on isolated on");
    let one_way = Settings {
        no_hairpin: true,
        ..apart
    };
    assert_eq!(port(one_way), "bridge link set dev zdv1 isolated on");
    let silent = Endpoint {
        ports: Vec::new(),
        ..endpoint()
    };
    let hairpin = |hairpin| {
        let settings = Settings {
            hairpin,
            ..Settings::default()
        };
        port_settings(&network(settings), &silent).hairpin
    };
    assert!(hairpin(true) && !hairpin(false));
}

/// The commands of a plan, one a line.
fn commands(plan: &[Op]) -> Vec<String> {
    lines(plan, "")
}

#[test]
fn a_route_by_whatever_interface_its_neighbour_is_on() {
    let namespace = NamespacePath("/ns".to_owned());
    let mut endpoint = endpoint();
    endpoint.routes = vec![Route {
        any_link: true,
        ..Route::new("10.7.0.0/16".parse().unwrap(), Some("10.6.0.9".parse().unwrap()), None)
    }];
    let network = network(Settings::default());
    let route = |verb: &str| [format!("nsenter --net=/ns ip route {verb} 10.7.0.0/16 via 10.6.0.9")];
    assert_eq!(
        lines(&attach(&network, &endpoint, &namespace), "10.7."),
        route("replace")
    );
    // It stays when the interface goes.
    let detached = detach(&network, &endpoint, Some(&namespace));
    assert_eq!(lines(&detached, "ip route"), route("delete"));
}

#[test]
fn routes_that_lead_nowhere() {
    let namespace = NamespacePath("/ns".to_owned());
    let mut endpoint = endpoint();
    let nowhere = |destination: &str, kind| Route {
        kind,
        ..Route::new(destination.parse().unwrap(), None, Some(5))
    };
    endpoint.routes = vec![
        nowhere("10.8.0.0/16", RouteKind::Blackhole),
        nowhere("fd08::/64", RouteKind::Prohibit),
        Route {
            mtu: Some(1300),
            advmss: Some(1200),
            ..Route::new("10.9.0.0/16".parse().unwrap(), Some("10.1.0.9".parse().unwrap()), None)
        },
    ];
    let network = network(Settings::default());
    assert_eq!(
        lines(&attach(&network, &endpoint, &namespace), "ip route")[1..],
        [
            "nsenter --net=/ns ip route replace blackhole 10.8.0.0/16 metric 5",
            "nsenter --net=/ns ip route replace prohibit fd08::/64 metric 5",
            "nsenter --net=/ns ip route replace 10.9.0.0/16 via 10.1.0.9 dev eth0 mtu 1300 advmss 1200",
        ]
    );
    // They stay when the interface goes.
    assert_eq!(
        lines(&detach(&network, &endpoint, Some(&namespace)), "ip route"),
        [
            "nsenter --net=/ns ip route delete blackhole 10.8.0.0/16 metric 5",
            "nsenter --net=/ns ip route delete prohibit fd08::/64 metric 5",
        ]
    );
    // What another stands beside is, as default routes of another engine's do.
    let by = |gateway: &str| Endpoint {
        gateways: vec![gateway.parse().unwrap()],
        sandbox: Some("/ns".to_owned()),
        ..endpoint.clone()
    };
    assert_eq!(
        lines(
            &change(&network, &by("10.1.0.1"), &by("10.1.0.9"), &namespace),
            "ip route"
        ),
        [
            "nsenter --net=/ns ip route prepend 0.0.0.0/0 via 10.1.0.9 dev eth0",
            "nsenter --net=/ns ip route delete 0.0.0.0/0 via 10.1.0.1 dev eth0",
        ]
    );
    // What another takes the place of is not deleted: that would delete the other.
    let mut after = endpoint.clone();
    after.routes[0].kind = RouteKind::Unreachable;
    after.routes[2].mtu = None;
    after.routes.remove(1);
    assert_eq!(
        lines(&change(&network, &endpoint, &after, &namespace), "ip route"),
        [
            "nsenter --net=/ns ip route replace unreachable 10.8.0.0/16 metric 5",
            "nsenter --net=/ns ip route replace 10.9.0.0/16 via 10.1.0.9 dev eth0 advmss 1200",
            "nsenter --net=/ns ip route delete prohibit fd08::/64 metric 5",
        ]
    );
}

#[test]
fn several_addresses_of_a_family_share_one_way_out() {
    let namespace = NamespacePath("/ns".to_owned());
    let mut endpoint = endpoint();
    let own = |text: &str, prefix| InterfaceAddress {
        address: text.parse().unwrap(),
        prefix,
    };
    endpoint.addresses = vec![
        own("10.1.0.2", 24),
        own("10.1.0.3", 24),
        own("10.2.0.2", 24),
        own("10.3.0.2", 28),
    ];
    endpoint.gateways = vec!["10.1.0.1".parse().unwrap(), "10.2.0.1".parse().unwrap()];
    endpoint.reply_table = Some(1000);
    let plan = attach(&network(Settings::default()), &endpoint, &namespace);
    assert_eq!(
        lines(&plan, "ip route"),
        [
            "nsenter --net=/ns ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0",
            "nsenter --net=/ns ip route replace 10.1.0.0/24 dev eth0 table 1000",
            "nsenter --net=/ns ip route replace 10.2.0.0/24 dev eth0 table 1000",
            "nsenter --net=/ns ip route replace 10.3.0.0/28 dev eth0 table 1000",
            "nsenter --net=/ns ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0 table 1000",
        ]
    );
    assert_eq!(lines(&plan, "ip rule add").len(), 4);
    assert_eq!(lines(&plan, "ip address add").len(), 4);
    assert_eq!(lines(&plan, "pins4")[0].matches("zdv1").count(), 4);
    assert_eq!(lines(&plan, "pub4any").join(" ").matches("10.1.0.2 . 80").count(), 1);
}

#[test]
fn interfaces_in_others_namespaces_ignore_routers() {
    let namespace = NamespacePath("/ns".to_owned());
    let steps = |endpoint: &Endpoint| {
        let plan = attach(&network(Settings::default()), endpoint, &namespace);
        lines(&plan, "accept_ra")
    };
    let mut endpoint = endpoint();
    assert_eq!(steps(&endpoint), [""; 0]);
    endpoint.sandbox = Some("/ns".to_owned());
    assert_eq!(
        steps(&endpoint),
        ["nsenter --net=/ns sysctl -w net/ipv6/conf/eth0/accept_ra=0"]
    );
    endpoint.settings.sysctls = vec![("net/ipv6/conf/eth0/accept_ra".to_owned(), "2".to_owned())];
    assert_eq!(
        steps(&endpoint),
        ["nsenter --net=/ns sysctl -w net/ipv6/conf/eth0/accept_ra=2"]
    );
}

#[test]
fn unguarded_ports_and_tolerant_bridges() {
    let namespace = NamespacePath("/ns".to_owned());
    let network = network(Settings {
        unguarded: true,
        isolation: Isolation::Tolerant,
        ..Settings::default()
    });
    let made = create_network(&network, &Seen::default());
    assert_eq!(
        lines(&made, "tolerant"),
        ["nft add element inet zdocker tolerant '{ \"br1\" }'"]
    );
    let plan = attach(&network, &endpoint(), &namespace);
    assert_eq!(
        lines(&plan, "free"),
        ["nft add element bridge zdocker free '{ \"zdv1\" }'"]
    );
    assert_eq!(lines(&plan, "pins"), [""; 0]);
    // Parts of one subnet are one subnet to the firewall, and have one gateway.
    let mut parts = network.clone();
    parts.pools = vec![network.pools[0].clone(), network.pools[0].clone()];
    let made = create_network(&parts, &Seen::default());
    assert_eq!(lines(&made, "masq4")[0].matches("10.1.0.0/24").count(), 1);
    assert_eq!(lines(&made, "10.1.0.1/24").len(), 1);
}

/// The one address that has a prefix for itself, and the ways that lead by it.
#[test]
fn without_a_bridge_the_host_routes() {
    let network = Network {
        driver: Driver::Ptp,
        bridge: None,
        ..network(Settings {
            mtu: Some(1400),
            isolation: Isolation::None,
            ..Settings::default()
        })
    };
    let namespace = NamespacePath("/n".to_owned());
    let plugged = commands(&attach(&network, &endpoint(), &namespace)).join("\n");
    for words in [
        "add element inet zdocker bridges '{ \"zdv1\" }'",
        "add element inet zdocker mutual '{ \"zdv1\" }'",
        "10.1.0.2 . 80",
        "ip link add zdv1 address fe:00:00:00:00:02 mtu 1400 numtxqueues 1 numrxqueues 1 up type veth peer name eth0",
        "sysctl -w net/ipv4/conf/zdv1/route_localnet=1",
        "ip address add 10.1.0.1/32 dev zdv1",
        "ip route replace 10.1.0.2/32 dev zdv1",
        "nsenter --net=/n ip address add 10.1.0.2/32 dev eth0",
        "nsenter --net=/n ip route replace 10.1.0.1/32 dev eth0",
        "nsenter --net=/n ip route replace 10.1.0.0/24 via 10.1.0.1 dev eth0",
        "nsenter --net=/n ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0",
    ] {
        assert!(plugged.contains(words), "{words}\n{plugged}");
    }
    assert!(!plugged.contains("pins4") && !plugged.contains("master"), "{plugged}");
    let made = commands(&create_network(&network, &Seen::default())).join("\n");
    assert!(made.contains("masq4") && !made.contains("ip link"), "{made}");
    let unplugged = commands(&detach_from(&network, &endpoint(), None));
    assert!(unplugged.contains(&"ip link delete zdv1".to_owned()), "{unplugged:?}");
}

/// Nothing is done to somebody else's interface but what was asked, and it stays.
#[test]
fn an_adopted_interface_is_limited_and_stays() {
    use crate::model::{Bandwidth, Callers};
    let network = Network::foreign(Id::new([1; 32]), "n".parse().unwrap(), Driver::Adopted, 0);
    let namespace = NamespacePath("/n".to_owned());
    let mut endpoint = endpoint();
    endpoint.settings.link = Some("veth7".parse().unwrap());
    endpoint.settings.bandwidth = Bandwidth {
        receive: Some(1_000_000),
        send: Some(2_000_000),
        receive_burst: Some(800_000),
        ..Bandwidth::default()
    };
    let check = |ops: &[Op], expected: &[&str]| {
        let shown = commands(ops);
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for (line, words) in shown.iter().zip(expected) {
            assert!(line.contains(words), "{line:?} has no {words:?}");
        }
    };
    check(
        &attach(&network, &endpoint, &namespace),
        &[
            "same4 '{ 10.1.0.0/24 . 10.1.0.2/32, 127.0.0.0/8 . 10.1.0.2/32 }'",
            "pub4any '{ tcp . 8080 : 10.1.0.2 . 80 }'",
            "ip link add zdi1 ",
            "ip link set zdi1 addrgenmode none",
            "ip link set zdi1 up",
            "dev zdi1 root tbf",
            "qdisc add dev veth7 ingress",
            "filter add dev veth7 ingress",
            "dev veth7 root tbf rate 1045576bit burst 100000",
        ],
    );
    check(
        &detach_from(&network, &endpoint, Some(&namespace)),
        &[
            "nft delete element",
            "nft delete element",
            "tc qdisc delete dev veth7 ingress",
            "tc qdisc delete dev veth7 root",
            "ip link delete zdi1",
        ],
    );
    endpoint.settings.masquerade = Callers::None;
    assert!(lines(&attach(&network, &endpoint, &namespace), "same4").is_empty());
    endpoint.settings.masquerade = Callers::All;
    assert_eq!(
        lines(&attach(&network, &endpoint, &namespace), "0.0.0.0/0 . 10.1.0.2/32").len(),
        1
    );
}
