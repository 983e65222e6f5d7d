use super::*;
use crate::model::{Driver, EndpointSettings, GatewayMode, InterfaceAddress, Settings};
use crate::names::{Id, MacAddress};

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
        bridge: Some(BridgeDevice {
            name: "br1".parse().unwrap(),
            mac: MacAddress::local([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
        }),
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
    let route = |destination: &str, via: Option<&str>, metric| Route {
        destination: destination.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        metric,
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
}
