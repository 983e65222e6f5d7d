use super::*;
use crate::model::Pool;
use crate::seen::SeenLink;

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
            .map(|pool| format!("{} {}", pool.subnet, pool.gateway))
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
    let option = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
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
    refused(|r| r.subnets = subnets(&["10.1.0.0/24", "10.2.0.0/24"]), "both IPv4");
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
    refused(|r| r.options = option("nonsense", "1"), "unknown option");
    refused(|r| r.options = option("mtu", "67"), "68 to 65535");
    refused(|r| (r.options, r.ipv6) = (option("mtu", "1279"), true), "at least 1280");
    refused(|r| r.options = option("masquerade", "maybe"), "true or false");
    refused(|r| r.options = option("bridge", "docker0"), "not ours");
    refused(|r| r.options = option("bridge", "other"), "bridge of network \"other\"");
}
