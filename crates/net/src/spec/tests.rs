use super::*;
use crate::model::{GatewayMode, Isolation, Pool, Settings};
use crate::seen::SeenLink;
use crate::subnet::Family;

fn birth(seed: u8) -> Birth {
    Birth {
        id: Id::new([seed; 32]),
        mac: MacAddress::local([seed; 6]),
        now: 0,
    }
}

fn request(name: &str) -> NetworkRequest {
    NetworkRequest {
        name: name.to_owned(),
        ipv4: true,
        ..NetworkRequest::default()
    }
}

fn host() -> Seen {
    let link = |name: &str, mtu| SeenLink {
        name: name.parse().unwrap(),
        mac: None,
        mtu,
    };
    Seen {
        links: vec![link("lo", 65536), link("eth0", 1400), link("docker0", 1500)],
        connected: vec![("eth0".parse().unwrap(), "172.16.0.0/24".parse().unwrap())],
        routes: ["172.16.1.0/24", "10.20.5.0/24", "10.0.0.0/8"]
            .map(|route| route.parse().unwrap())
            .into(),
        egress: Some("eth0".parse().unwrap()),
        egress_mtu: Some(1400),
        ..Seen::default()
    }
}

fn create_among(networks: &[Network], request: &NetworkRequest) -> Result<Network, SpecError> {
    let pools = crate::pools::built_in([7; 5]);
    create(
        request,
        &Surroundings {
            networks,
            seen: &host(),
            pools: &pools,
        },
        birth(networks.len() as u8 + 1),
    )
}

fn create_alone(request: &NetworkRequest) -> Result<Network, SpecError> {
    create_among(&[], request)
}

/// What `change` makes of a plain request is refused with a message that has `words` in it.
fn refused(change: impl FnOnce(&mut NetworkRequest), words: &str) {
    let mut asked = request("net");
    change(&mut asked);
    let others = [create_alone(&NetworkRequest {
        subnets: vec!["10.9.0.0/16".to_owned()],
        ..request("other")
    })
    .unwrap()];
    let message = create_among(&others, &asked).unwrap_err().to_string();
    assert!(message.contains(words), "{message:?} has no {words:?}");
}

#[test]
fn left_to_us_everything_is_chosen_around_what_is_there() {
    let network = create_alone(&request("mynet")).unwrap();
    assert_eq!(
        network.pools,
        [Pool::new(
            "172.16.2.0/24".parse().unwrap(),
            "172.16.2.1".parse().unwrap()
        )]
    );
    let bridge = network.bridge.unwrap();
    assert_eq!((bridge.name.as_str(), bridge.mtu), ("mynet", 1400));
    assert!(network.masquerade && !network.internal);
}

#[test]
fn the_device_falls_back_to_the_identifier() {
    for name in ["docker0", "a-name-longer-than-an-interface"] {
        assert_eq!(
            create_alone(&request(name)).unwrap().bridge.unwrap().name.as_str(),
            "zd-010101010101",
            "{name}"
        );
    }
}

#[test]
fn host_bits_and_gateways() {
    let gateway = |subnets: &[&str], gateways: &[&str]| {
        let mut asked = request("n");
        asked.subnets = subnets.iter().map(ToString::to_string).collect();
        asked.gateways = gateways.iter().map(ToString::to_string).collect();
        let pools = create_alone(&asked).unwrap().pools;
        pools
            .iter()
            .map(|pool| format!("{} {}", pool.subnet, pool.gateway.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(gateway(&["192.168.10.1/24"], &[]), ["192.168.10.0/24 192.168.10.1"]);
    assert_eq!(
        gateway(&["192.168.10.7/24"], &["192.168.10.7"]),
        ["192.168.10.0/24 192.168.10.7"]
    );
    assert_eq!(
        gateway(&["192.168.10.0/24"], &["192.168.10.254"]),
        ["192.168.10.0/24 192.168.10.254"]
    );
    assert_eq!(
        gateway(&["fd00:5::/64", "10.1.0.0/16"], &["fd00:5::9"]),
        ["10.1.0.0/16 10.1.0.1", "fd00:5::/64 fd00:5::9"]
    );
}

#[test]
fn families() {
    let prefixes = |ipv4, ipv6| {
        let network = create_alone(&NetworkRequest {
            ipv4,
            ipv6,
            ..request("n")
        })
        .unwrap();
        network
            .pools
            .iter()
            .map(|pool| pool.subnet.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(prefixes(true, false), ["172.16.2.0/24"]);
    assert_eq!(prefixes(true, true), ["172.16.2.0/24", "fd07:707:707::/64"]);
    assert_eq!(prefixes(false, true), ["fd07:707:707::/64"]);
}

#[test]
fn dockers_long_option_names_mean_the_same() {
    let with = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let network = create_alone(&NetworkRequest {
            options,
            ..request("n")
        })
        .unwrap();
        (network.bridge.unwrap(), network.masquerade)
    };
    let short = with(&[("bridge", "br9"), ("mtu", "9000"), ("masquerade", "false")]);
    let long = with(&[
        ("com.docker.network.bridge.name", "br9"),
        ("com.docker.network.driver.mtu", "9000"),
        ("com.docker.network.bridge.enable_ip_masquerade", "false"),
    ]);
    assert_eq!(short, long);
    assert_eq!((short.0.name.as_str(), short.0.mtu, short.1), ("br9", 9000, false));
}

#[test]
fn bad_requests_are_refused_with_a_reason() {
    let subnets = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    refused(|r| r.name = "my net".to_owned(), "invalid name");
    refused(|r| r.name = "other".to_owned(), "exists already");
    refused(|r| r.name = "bridge".to_owned(), "always there");
    refused(|r| r.driver = Some("banana".to_owned()), "unknown network driver");
    refused(|r| r.driver = Some("host".to_owned()), "use --net host");
    refused(
        |r| (r.driver, r.subnets) = (Some("none".to_owned()), subnets(&["10.0.0.0/24"])),
        "takes no subnet",
    );
    refused(|r| r.subnets = subnets(&["10.1.0.0"]), "invalid subnet");
    refused(|r| r.subnets = subnets(&["10.1.0.0/31"]), "too small");
    refused(|r| r.subnets = subnets(&["127.1.0.0/16"]), "loopback");
    refused(|r| r.subnets = subnets(&["0.0.0.0/0"]), "cannot be used");
    refused(|r| r.subnets = subnets(&["fe80::/64"]), "link-local");
    refused(|r| r.subnets = subnets(&["169.254.169.0/24"]), "link-local");
    refused(|r| r.subnets = subnets(&["172.16.1.0/24"]), "route to 172.16.1.0/24");
    refused(|r| r.subnets = subnets(&["10.20.0.0/16"]), "route to 10.20.5.0/24");
    refused(|r| r.subnets = subnets(&["10.9.8.0/24"]), "of network \"other\"");
    refused(|r| r.subnets = subnets(&["172.16.0.0/12"]), "interface eth0");
    refused(
        |r| r.subnets = subnets(&["10.1.0.0/16", "10.1.7.0/24"]),
        "10.1.7.0/24 overlap",
    );
    refused(|r| r.ipv4 = false, "no subnet");
    refused(|r| r.gateways = subnets(&["x"]), "invalid gateway");
    refused(
        |r| r.gateways = subnets(&["10.3.0.1"]),
        "in none of the network's subnets",
    );
    refused(
        |r| (r.subnets, r.gateways) = (subnets(&["10.3.0.0/24"]), subnets(&["10.3.0.255"])),
        "broadcast",
    );
    refused(
        |r| (r.subnets, r.gateways) = (subnets(&["10.3.0.5/24"]), subnets(&["10.3.0.6"])),
        "two gateways",
    );
    refused(
        |r| r.options = option("nonsense", "1"),
        "it knows bridge, mtu, masquerade, enable_ipv4",
    );
    refused(|r| r.options = option("mtu", "67"), "68 to 65535");
    refused(|r| (r.options, r.ipv6) = (option("mtu", "1279"), true), "at least 1280");
    refused(|r| r.options = option("masquerade", "maybe"), "true or false");
    refused(|r| r.options = option("bridge", "docker0"), "not ours");
    refused(|r| r.options = option("bridge", "other"), "bridge of network \"other\"");
}

/// A network with these options, written `KEY=VALUE`.
fn optioned(options: &[&str]) -> Result<Network, SpecError> {
    let mut asked = request("n");
    (asked.ipv6, asked.internal) = (true, options.iter().any(|option| option.ends_with("=isolated")));
    let pairs = options.iter().map(|option| option.split_once('=').unwrap());
    asked.options = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    create_alone(&asked)
}

#[test]
fn every_option_has_its_setting_by_all_its_names() {
    let check = |options: &[&str], expected: fn(&mut Settings)| {
        let mut settings = Settings::default();
        expected(&mut settings);
        for option in options {
            assert_eq!(optioned(&[option]).unwrap().settings, settings, "{option}");
        }
    };
    check(
        &[
            "gateway_mode_ipv4=routed",
            "com.docker.network.bridge.gateway_mode_ipv4=routed",
        ],
        |s| s.gateway_mode_v4 = GatewayMode::Routed,
    );
    check(
        &[
            "gateway_mode_ipv6=nat-unprotected",
            "com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected",
        ],
        |s| s.gateway_mode_v6 = GatewayMode::NatUnprotected,
    );
    check(&["gateway_mode_ipv4=isolated"], |s| {
        s.gateway_mode_v4 = GatewayMode::Isolated
    });
    check(
        &[
            "gateway_mode_ipv4=nat",
            "icc=true",
            "isolation=normal",
            "isolate=true",
            "hairpin=1",
        ],
        |_| {},
    );
    check(&["icc=false", "com.docker.network.bridge.enable_icc=false"], |s| {
        s.no_neighbours = true
    });
    check(&["isolation=none", "isolate=false"], |s| s.isolation = Isolation::None);
    check(&["isolation=strict", "isolate=strict"], |s| {
        s.isolation = Isolation::Strict
    });
    check(
        &[
            "host_binding=127.0.0.1",
            "com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
        ],
        |s| s.host_binding = Some("127.0.0.1".parse().unwrap()),
    );
    check(&["host_binding=2001:db8::1"], |s| {
        s.host_binding = Some("2001:db8::1".parse().unwrap())
    });
    check(
        &["outbound_addr4=192.0.2.1", "com.docker.network.host_ipv4=192.0.2.1"],
        |s| s.outbound = vec!["192.0.2.1".parse().unwrap()],
    );
    check(
        &["outbound_addr6=2001:db8::1", "com.docker.network.host_ipv6=2001:db8::1"],
        |s| s.outbound = vec!["2001:db8::1".parse().unwrap()],
    );
    check(
        &[
            "trusted_host_interfaces=eth0:eth1:eth0",
            "com.docker.network.bridge.trusted_host_interfaces=eth0:eth1",
        ],
        |s| s.trusted = vec!["eth0".parse().unwrap(), "eth1".parse().unwrap()],
    );
    check(
        &["interface_prefix=lan", "com.docker.network.container_iface_prefix=lan"],
        |s| s.interface_prefix = Some("lan".to_owned()),
    );
    check(
        &["inhibit_ipv4=true", "com.docker.network.bridge.inhibit_ipv4=true"],
        |s| s.inhibit_v4 = true,
    );
    check(&["hairpin=false"], |s| s.no_hairpin = true);
    check(&["no_default_route=true"], |s| s.no_default_route = true);
    check(&["metric=50"], |s| s.metric = Some(50));
    let families = |option| {
        let pools = optioned(&[option]).unwrap().pools;
        pools.iter().map(|pool| pool.subnet.family()).collect::<Vec<_>>()
    };
    assert_eq!(families("com.docker.network.enable_ipv4=false"), [Family::V6]);
    assert_eq!(families("enable_ipv6=false"), [Family::V4]);
}

#[test]
fn values_that_an_option_does_not_take_are_refused() {
    for (option, words) in [
        ("gateway_mode_ipv4=bridged", "nat, nat-unprotected, routed or isolated"),
        ("icc=perhaps", "true or false"),
        ("isolation=full", "none, normal or strict"),
        ("host_binding=::1", "neither ::1"),
        ("host_binding=fe80::1", "link-local"),
        (
            "com.docker.network.bridge.host_binding_ipv4=2001:db8::1",
            "an IPv4 address",
        ),
        ("outbound_addr4=2001:db8::1", "an IPv4 address"),
        ("outbound_addr4=127.0.0.1", "an IPv4 address"),
        ("outbound_addr6=192.0.2.1", "an IPv6 address"),
        ("trusted_host_interfaces=eth0::eth1", "colons"),
        ("interface_prefix=", "1 to 12"),
        ("interface_prefix=a b", "1 to 12"),
        ("interface_prefix=longerthantwelve", "1 to 12"),
        ("metric=-1", "a number"),
        ("no_default_route=", "true or false"),
        ("com.docker.network.bridge.nonsense=1", "unknown option"),
    ] {
        let message = optioned(&[option]).unwrap_err().to_string();
        assert!(message.contains(words), "{option}: {message:?} has no {words:?}");
    }
    let isolated = option("gateway_mode_ipv4", "isolated");
    refused(|r| r.options = isolated, "give --internal");
    refused(
        |r| r.options = option("outbound_addr6", "2001:db8::1"),
        "the network has none",
    );
}

fn option(key: &str, value: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), value.to_owned())]
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn several_subnets_each_with_range_and_reserved_addresses() {
    let mut asked = request("n");
    asked.subnets = texts(&["fd00:5::/64", "10.1.0.0/16", "10.3.0.0/24"]);
    asked.ranges = texts(&["10.3.0.128/25", "10.1.5.0/24", "fd00:5::1:0/112"]);
    asked.gateways = texts(&["10.3.0.254"]);
    asked.reserved = [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("a", "fd00:5::9")]
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .into();
    let pools = create_alone(&asked).unwrap().pools;
    let shown: Vec<String> = pools
        .iter()
        .map(|p| {
            format!(
                "{} {} {} {:?}",
                p.subnet,
                p.gateway.unwrap(),
                p.range.unwrap(),
                p.reserved
            )
        })
        .collect();
    // The gateway is the first address that is not reserved.
    assert_eq!(
        shown,
        [
            "10.1.0.0/16 10.1.0.3 10.1.5.0/24 {\"a\": 10.1.0.1, \"b\": 10.1.0.2}",
            "10.3.0.0/24 10.3.0.254 10.3.0.128/25 {}",
            "fd00:5::/64 fd00:5::1 fd00:5::1:0/112 {\"a\": fd00:5::9}",
        ]
    );
    let with = |subnet: &str, change: fn(&mut NetworkRequest)| {
        let subnets = texts(&[subnet]);
        move |r: &mut NetworkRequest| {
            r.subnets = subnets;
            change(r);
        }
    };
    let net = "10.3.0.0/24";
    refused(
        with(net, |r| r.ranges = texts(&["10.4.0.0/25"])),
        "in none of the network's subnets",
    );
    refused(
        with(net, |r| r.ranges = texts(&["10.3.0.0/23"])),
        "in none of the network's subnets",
    );
    refused(with(net, |r| r.ranges = texts(&["10.3.0.0"])), "invalid range");
    refused(
        with(net, |r| r.ranges = texts(&["10.3.0.0/26", "10.3.0.64/26"])),
        "two ranges",
    );
    refused(
        with(net, |r| r.reserved = option("a", "10.4.0.1")),
        "in none of the network's subnets",
    );
    refused(with(net, |r| r.reserved = option("a", "x")), "NAME=IP");
    refused(
        with(net, |r| r.reserved = option("a", "10.3.0.255")),
        "need not be reserved",
    );
    refused(
        with(net, |r| {
            r.reserved = [option("a", "10.3.0.9"), option("b", "10.3.0.9")].concat()
        }),
        "that of a",
    );
    refused(
        with(net, |r| {
            r.reserved = [option("a", "10.3.0.8"), option("a", "10.3.0.9")].concat()
        }),
        "different names",
    );
    refused(
        with(net, |r| {
            (r.gateways, r.reserved) = (texts(&["10.3.0.9"]), option("a", "10.3.0.9"));
        }),
        "that of the gateway",
    );
}

#[test]
fn routes_of_a_network() {
    let mut asked = request("n");
    asked.subnets = texts(&["10.1.0.0/24", "fd00:5::/64"]);
    asked.routes = texts(&[
        "10.20.0.0/16,10.1.0.254",
        "10.21.0.0/16,10.1.0.254,50",
        "10.22.0.0/16",
        "fd00:6::/64,9",
    ]);
    let routes = create_alone(&asked).unwrap().settings.routes;
    assert_eq!(routes.iter().map(routes::text).collect::<Vec<_>>(), asked.routes);
    let route = |text: &str| {
        let routes = vec![text.to_owned()];
        move |r: &mut NetworkRequest| {
            r.subnets = texts(&["10.1.0.0/24"]);
            r.routes = routes;
        }
    };
    refused(route("10.20.0.0"), "invalid subnet");
    refused(route("10.20.0.0/16,x"), "invalid route");
    refused(route("10.20.0.0/16,10.1.0.9,5,6"), "invalid route");
    refused(route("10.20.0.0/16,fd00::1"), "one is IPv4");
    refused(route("10.20.0.0/16,10.2.0.1"), "in none of the network's subnets");
    refused(route("10.1.0.0/24"), "is there anyway");
    refused(route("0.0.0.0/0,10.1.0.9"), "no_default_route");
    refused(
        |r| {
            route("10.20.0.0/16")(r);
            r.routes.push("10.20.0.0/16".to_owned());
        },
        "leave one out",
    );
}

#[test]
fn what_belongs_to_a_swarm_is_accepted_or_refused_with_a_reason() {
    let mut asked = request("n");
    (asked.attachable, asked.scope) = (true, Some("local".to_owned()));
    asked.ipam_driver = Some("default".to_owned());
    asked.ipam_options = option("a", "b");
    let settings = create_alone(&asked).unwrap().settings;
    assert!(settings.attachable);
    assert_eq!(settings.ipam_options.into_iter().collect::<Vec<_>>(), option("a", "b"));
    refused(|r| r.scope = Some("swarm".to_owned()), "several hosts");
    refused(|r| r.ingress = true, "swarm");
    for driver in ["null", "none", "dhcp"] {
        refused(|r| r.ipam_driver = Some(driver.to_owned()), "leave --ipam-driver out");
    }
}

#[test]
fn a_configuration_is_taken_over() {
    let mut asked = request("plan");
    asked.config_only = true;
    asked.subnets = texts(&["10.1.0.7/24", "fd00:5::/64"]);
    asked.ranges = texts(&["10.1.0.128/25"]);
    asked.reserved = option("a", "10.1.0.9");
    asked.routes = texts(&["10.20.0.0/16,10.1.0.254,50"]);
    asked.options = option("icc", "false");
    asked.labels = option("tier", "back");
    let plan = create_alone(&asked).unwrap();
    assert_eq!((plan.driver, plan.bridge.clone()), (Driver::None, None));
    let mut taking = request("web");
    (taking.config_from, taking.internal) = (Some("plan".to_owned()), true);
    let web = create_among(std::slice::from_ref(&plan), &taking).unwrap();
    assert_eq!(
        (&web.pools, &web.options, &web.labels),
        (&plan.pools, &plan.options, &plan.labels)
    );
    assert!(web.internal && web.settings.no_neighbours && web.bridge.is_some());
    assert_eq!(web.settings.routes, plan.settings.routes);
    assert_eq!(web.settings.config_from.as_deref(), Some("plan"));
    assert_eq!(web.settings.config_only, None);
    // A second one finds the subnets taken, by the first and not by the configuration.
    taking.name = "api".to_owned();
    let message = create_among(&[plan.clone(), web.clone()], &taking)
        .unwrap_err()
        .to_string();
    assert!(message.contains("of network \"web\""), "{message}");

    taking.subnets = texts(&["10.4.0.0/24"]);
    let message = create_among(std::slice::from_ref(&plan), &taking)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("--subnet cannot be given with --config-from"),
        "{message}"
    );
    refused(|r| r.config_from = Some("other".to_owned()), "is no configuration");
    refused(|r| r.config_from = Some("nothing".to_owned()), "create it first");
    refused(|r| (r.config_only, r.internal) = (true, true), "--internal is not part");
    refused(
        |r| (r.config_only, r.config_from) = (true, Some("other".to_owned())),
        "--config-only cannot be given",
    );
}

#[test]
fn a_configuration_without_subnets_leaves_them_to_be_found() {
    let mut asked = request("plan");
    (asked.config_only, asked.ipv6) = (true, true);
    let plan = create_alone(&asked).unwrap();
    assert!(plan.pools.is_empty());
    let mut taking = request("web");
    taking.config_from = Some("plan".to_owned());
    let web = create_among(&[plan], &taking).unwrap();
    assert_eq!(web.families().collect::<Vec<_>>(), [Family::V4, Family::V6]);
}
