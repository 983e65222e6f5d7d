use super::*;
use crate::model::{BridgeDevice, Pool, Settings};

fn network(number: u8, driver: Driver, subnets: &[&str], internal: bool) -> Network {
    let name = format!("net{number}");
    let pools = subnets
        .iter()
        .map(|s| s.parse().unwrap())
        .map(|subnet: crate::subnet::Subnet| Pool::new(subnet, subnet.nth(1).unwrap()));
    Network {
        id: Id::new([number; 32]),
        driver,
        pools: pools.collect(),
        bridge: Some(BridgeDevice::own(
            name.parse().unwrap(),
            MacAddress::local([number; 6]),
            1500,
        )),
        name: name.parse().unwrap(),
        parent: None,
        internal,
        masquerade: true,
        settings: Settings::default(),
        options: Default::default(),
        labels: Default::default(),
        created: 0,
    }
}

fn asking(addresses: &[&str]) -> EndpointRequest {
    EndpointRequest {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        ..Default::default()
    }
}

/// What each network of these is to a container: its interface, the default routes and ports that it gets, reply table.
fn shown(networks: &[(&Network, &EndpointRequest)]) -> Vec<String> {
    let wishes = wishes(networks, &[]).unwrap();
    let show = |wish: &EndpointWish| {
        let Role {
            default_route,
            publishes,
            reply_table,
        } = &wish.role;
        format!("{} {default_route:?} {publishes} {reply_table:?}", wish.interface)
    };
    wishes.iter().map(show).collect()
}

#[test]
fn the_first_open_network_gives_the_way_out_and_takes_the_ports() {
    let inner = network(1, Driver::Bridge, &["10.1.0.0/24"], true);
    let v4 = network(2, Driver::Bridge, &["10.2.0.0/24"], false);
    let both = network(3, Driver::Bridge, &["10.3.0.0/24", "fd03::/64"], false);
    let open = asking(&[]);
    assert_eq!(shown(&[(&both, &open)]), ["eth0 [V4, V6] true None"]);
    assert_eq!(
        shown(&[(&inner, &open), (&v4, &open), (&both, &open)]),
        [
            "eth0 [] false None",
            "eth1 [V4] true Some(1000)",
            "eth2 [V6] false Some(1001)"
        ]
    );
}

#[test]
fn a_priority_goes_before_the_order() {
    let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
    let b = network(2, Driver::Bridge, &["10.2.0.0/24"], false);
    let mut silent = network(3, Driver::Bridge, &["10.3.0.0/24"], false);
    silent.settings.no_default_route = true;
    let with = |gateway_priority| EndpointRequest {
        settings: EndpointSettings {
            gateway_priority,
            ..EndpointSettings::default()
        },
        ..EndpointRequest::default()
    };
    assert_eq!(
        shown(&[(&a, &with(-1)), (&b, &with(0)), (&silent, &with(-5))]),
        [
            "eth0 [] false Some(1000)",
            "eth1 [V4] true Some(1001)",
            "eth2 [] false None"
        ]
    );
    assert_eq!(
        shown(&[(&a, &with(0)), (&silent, &with(7))]),
        ["eth0 [V4] false Some(1000)", "eth1 [] true None"]
    );
}

#[test]
fn who_joins_takes_what_is_free() {
    let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
    let b = network(2, Driver::Bridge, &["10.2.0.0/24"], false);
    let wish = wishes(&[(&a, &asking(&[]))], &[]).unwrap().remove(0);
    let there = endpoint(&a, &Id::new([9; 32]), &wish, [1; 32]).unwrap();
    let others = [(a.clone(), there)];
    let (wish, roles) = join(&others, &b, &asking(&["10.2.0.9"])).unwrap();
    assert_eq!((wish.interface.as_str(), wish.role.reply_table), ("eth1", Some(1001)));
    assert_eq!(wish.role.default_route, []);
    assert_eq!(
        (&roles[0].default_route[..], roles[0].reply_table),
        (&[Family::V4][..], Some(1000))
    );
    let refused = |network: &Network, request: &EndpointRequest| join(&others, network, request).unwrap_err();
    assert_eq!(refused(&a, &asking(&[])), AttachError::AlreadyOn("net1".to_owned()));
    let mut named = asking(&[]);
    named.settings.options.insert("ifname".to_owned(), "eth0".to_owned());
    assert_eq!(
        refused(&b, &named),
        AttachError::InterfaceTaken("eth0".parse().unwrap())
    );
}

#[test]
fn addresses_for_the_whole_container_find_their_network() {
    let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
    let b = network(2, Driver::Bridge, &["10.2.0.0/24", "fd02::/64"], false);
    let (mut one, mut two) = (asking(&[]), asking(&[]));
    let addresses = ["fd02::5".parse().unwrap(), "10.1.0.5".parse().unwrap()];
    distribute(&addresses, &[&a, &b], &mut [&mut one, &mut two]).unwrap();
    assert_eq!((one, two), (asking(&["10.1.0.5"]), asking(&["fd02::5"])));
    let stray = ["10.9.0.5".parse().unwrap()];
    let message = distribute(&stray, &[&a], &mut [&mut asking(&[])])
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("in no subnet of the container's networks (10.1.0.0/24)"),
        "{message}"
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
    let none = network(2, Driver::None, &[], false);
    let mut spaced = asking(&[]);
    spaced.settings.aliases.push("a b".to_owned());
    for (networks, request, words) in [
        (vec![&a, &a], asking(&[]), "given twice"),
        (vec![&a, &none], asking(&[]), "cannot be combined"),
        (vec![&none], asking(&["10.1.0.2"]), "needs a bridge network"),
        (vec![&a], asking(&["10.2.0.2"]), "in no subnet"),
        (vec![&a], asking(&["fd00::2"]), "in no subnet"),
        (vec![&a], asking(&["10.1.0.255"]), "broadcast"),
        (vec![&a], asking(&["10.1.0.0"]), "own or the broadcast"),
        (vec![&a], asking(&["10.1.0.5", "10.1.0.6"]), "two IPv4 addresses"),
        (vec![&a], spaced, "alias"),
    ] {
        let networks: Vec<_> = networks.into_iter().map(|network| (network, &request)).collect();
        let message = wishes(&networks, &[]).unwrap_err().to_string();
        assert!(message.contains(words), "{message:?} has no {words:?}");
    }
}

#[test]
fn ports_that_can_never_be_reached_are_refused() {
    let v4 = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
    let both = network(2, Driver::Bridge, &["10.2.0.0/24", "fd02::/64"], false);
    for (network, ports, words) in [
        (&v4, "8080:80 8080:81", Some("published twice")),
        (&v4, "8080:80 127.0.0.1:8080:81", Some("8080/tcp")),
        (&v4, "127.0.0.1:8080:80 127.0.0.2:8080:80", None),
        (&v4, "8080:80/tcp 8080:80/udp", None),
        (&v4, "80 80", None),
        (&v4, "[2001:db8::1]:80:80", Some("no IPv6 address")),
        (&both, "[2001:db8::1]:80:80", None),
        (&both, "[::1]:80:80", Some("::1")),
        (&both, "[fe80::1]:80:80", Some("link-local")),
    ] {
        let ports: Vec<PortRequest> = ports.split(' ').map(|port| port.parse().unwrap()).collect();
        let refused = wishes(&[(network, &asking(&[]))], &ports)
            .err()
            .map(|error| error.to_string());
        match (words, &refused) {
            (Some(words), Some(message)) => assert!(message.contains(words), "{message:?} has no {words:?}"),
            _ => assert_eq!(refused, None),
        }
    }
}

#[test]
fn the_mac_follows_the_ipv4_address_unless_asked_for() {
    let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
    let mut wish = wishes(&[(&a, &asking(&[]))], &[]).unwrap().remove(0);
    let addresses = || {
        vec![InterfaceAddress {
            address: "10.1.0.7".parse().unwrap(),
            prefix: 24,
        }]
    };
    let mut plugged = endpoint(&a, &Id::new([9; 32]), &wish, [0xab; 32]).unwrap();
    assert_eq!(plugged.host_interface.as_str(), "zdvabababababab");
    bear_addresses(&mut plugged, &a, addresses(), &wish);
    assert_eq!(plugged.mac.to_string(), "02:42:0a:01:00:07");
    wish.mac = Some("02:00:00:00:00:99".parse().unwrap());
    let mut asked = endpoint(&a, &Id::new([9; 32]), &wish, [0xab; 32]).unwrap();
    bear_addresses(&mut asked, &a, addresses(), &wish);
    assert_eq!(asked.mac.to_string(), "02:00:00:00:00:99");
}

#[test]
fn an_endpoint_takes_the_routes_that_it_can() {
    let mut a = network(1, Driver::Bridge, &["10.1.0.0/24", "10.2.0.0/24"], false);
    let route = |destination: &str, via: Option<&str>| {
        Route::new(destination.parse().unwrap(), via.map(|via| via.parse().unwrap()), None)
    };
    a.settings.routes = vec![
        route("10.70.0.0/16", Some("10.1.0.9")),
        route("10.71.0.0/16", Some("10.2.0.9")),
        route("10.72.0.0/16", None),
    ];
    let wish = wishes(&[(&a, &asking(&[]))], &[]).unwrap().remove(0);
    let destinations = |address: &str| {
        let mut plugged = endpoint(&a, &Id::new([9; 32]), &wish, [0xab; 32]).unwrap();
        let own = InterfaceAddress {
            address: address.parse().unwrap(),
            prefix: 24,
        };
        bear_addresses(&mut plugged, &a, vec![own], &wish);
        let destinations = plugged.routes.iter().map(|route| route.destination.to_string());
        destinations.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(destinations("10.1.0.2"), "10.70.0.0/16 10.72.0.0/16");
    assert_eq!(destinations("10.2.0.2"), "10.71.0.0/16 10.72.0.0/16");
    // The neighbour itself has its own way there.
    assert_eq!(destinations("10.1.0.9"), "10.72.0.0/16");
}
