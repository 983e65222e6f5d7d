//! Bridges that others share, made and left, with their VLANs and VRFs.

use super::*;

fn with_bridge(change: impl FnOnce(&mut BridgeDevice)) -> Network {
    let mut network = network(Settings::default());
    network.pools.truncate(1);
    change(network.bridge.as_mut().unwrap());
    network
}

fn seen_bridge() -> Seen {
    Seen {
        links: vec![SeenLink {
            name: "br1".parse().unwrap(),
            mac: Some(MacAddress::local([2, 0, 0, 0, 0, 9])),
            mtu: 1400,
        }],
        firewall: true,
        forwarding_v4: true,
        ..Seen::default()
    }
}

#[test]
fn a_shared_bridge_is_made_or_completed() {
    let network = with_bridge(|bridge| bridge.ownership = Ownership::Shared);
    let made = commands(&create_network(&network, &Seen::default()));
    assert!(
        made.iter()
            .any(|line| line.starts_with("ip link add br1 address 02:00:00:00:00:01"))
    );
    let mut seen = seen_bridge();
    let adopted = lines(&create_network(&network, &seen), "br1");
    let common = [
        "ip link set br1 up",
        "sysctl -w net/ipv4/conf/br1/route_localnet=1",
        "nft add element inet zdocker bridges '{ \"br1\" }'",
        "nft add element inet zdocker links '{ \"br1\" . \"br1\" : accept }'",
    ];
    assert_eq!(adopted[0], "ip address add 10.1.0.1/24 dev br1 brd +");
    assert_eq!(adopted[1..], common);
    seen.addresses = vec!["10.1.0.1".parse().unwrap()];
    assert_eq!(lines(&create_network(&network, &seen), "br1"), common);
    assert_eq!(lines(&remove_network(&network), "ip link"), ["ip link delete br1"]);
}

#[test]
fn the_host_forwards_for_networks_that_lead_out() {
    let off = Seen {
        forwarding_v6: Some(false),
        ..Seen::default()
    };
    let mut network = network(Settings::default());
    let switches = |network: &Network| lines(&create_network(network, &off), "forward");
    assert_eq!(
        switches(&network)[..2],
        [
            "sysctl -w net/ipv4/ip_forward=1",
            "sysctl -w net/ipv6/conf/all/forwarding=1"
        ]
    );
    network.internal = true;
    assert!(!switches(&network).iter().any(|line| line.starts_with("sysctl")));
}

#[test]
fn a_foreign_bridge_is_left_alone() {
    let network = with_bridge(|bridge| bridge.ownership = Ownership::Foreign);
    assert_eq!(create_network(&network, &seen_bridge()), []);
    let unprotected = Seen {
        firewall: false,
        forwarding_v4: false,
        ..seen_bridge()
    };
    assert_eq!(create_network(&network, &unprotected), [Op::LoadFirewall]);
    assert_eq!(remove_network(&network), []);
    let plan = attach(&network, &endpoint(), &NamespacePath("/ns".to_owned()));
    assert_eq!(lines(&plan, "pins4").len(), 1);
    assert_eq!(lines(&plan, "master br1").len(), 1);
}

#[test]
fn what_a_bridge_lacks_depends_on_whose_it_is() {
    let check = |ownership, mac: u8, addresses: &[&str], expected| {
        let network = with_bridge(|bridge| bridge.ownership = ownership);
        let mut seen = SeenBridge {
            link: seen_bridge().links.pop(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            firewall: true,
        };
        seen.link.as_mut().unwrap().mac = Some(MacAddress::local([2, 0, 0, 0, 0, mac]));
        let missing = |seen: &SeenBridge| missing(&network, network.bridge.as_ref().unwrap(), seen);
        assert_eq!(missing(&seen), expected, "{ownership:?} {mac} {addresses:?}");
        seen.link = None;
        assert_eq!(missing(&seen), Missing::Bridge);
    };
    check(Ownership::Own, 1, &[], Missing::Nothing);
    check(Ownership::Own, 9, &["10.1.0.1"], Missing::NotOurs);
    check(Ownership::Shared, 9, &["10.1.0.1"], Missing::Nothing);
    check(Ownership::Shared, 1, &["10.1.0.2"], Missing::Bridge);
    check(Ownership::Foreign, 9, &[], Missing::Nothing);
}

#[test]
fn what_is_there_is_adopted() {
    let adopted = |ownership, mtu, seen: &Seen| {
        let network = with_bridge(|bridge| {
            bridge.ownership = ownership;
            bridge.mtu = mtu;
        });
        let bridge = adopting(&network, seen).bridge.unwrap();
        (bridge.mac.octets()[5], bridge.mtu)
    };
    let nothing = Seen {
        egress_mtu: Some(1420),
        ..Seen::default()
    };
    assert_eq!(adopted(Ownership::Own, 9000, &seen_bridge()), (1, 9000));
    assert_eq!(adopted(Ownership::Own, 0, &nothing), (1, 1420));
    assert_eq!(adopted(Ownership::Shared, 0, &seen_bridge()), (9, 1400));
    assert_eq!(adopted(Ownership::Foreign, 9000, &seen_bridge()), (9, 9000));
    assert_eq!(adopted(Ownership::Shared, 0, &Seen::default()), (1, 1500));
}

#[test]
fn a_vrf_has_a_way_out_of_its_own() {
    let name = |name: &str| name.parse::<InterfaceName>().unwrap();
    let network = with_bridge(|bridge| {
        bridge.mtu = 0;
        bridge.vrf = Some(name("blue"));
    });
    let link = |own: &str, mtu| SeenLink {
        name: name(own),
        mac: None,
        mtu,
    };
    let mut seen = Seen {
        links: vec![link("eth0", 9000), link("eth1", 3000), link("eth2", 2000)],
        ports: vec![(name("eth1"), name("blue")), (name("eth2"), name("red"))],
        egress_mtu: Some(9000),
        ways_out: ["eth0", "eth2", "eth1"].map(name).to_vec(),
        ..Seen::default()
    };
    assert_eq!(adopting(&network, &seen).bridge.unwrap().mtu, 3000);
    seen.ways_out.pop();
    assert_eq!(adopting(&network, &seen).bridge.unwrap().mtu, 1500);
}

#[test]
fn vlans_and_vrfs() {
    let network = with_bridge(|bridge| {
        bridge.vlan = Some(7);
        bridge.vrf = Some("blue".parse().unwrap());
    });
    let made = commands(&create_network(&network, &Seen::default()));
    let place = |command: &str| made.iter().position(|line| line == command).unwrap();
    let order = [
        "ip link set br1 type bridge vlan_filtering 1",
        "ip link set br1 master blue",
        "bridge vlan add dev br1 vid 7 pvid untagged self",
        "ip address add 10.1.0.1/24 dev br1 brd +",
        "ip link set br1 up",
    ];
    assert!(order.map(place).is_sorted(), "{made:?}");
    let join = [
        "bridge vlan delete dev zdv1 vid 1-4094",
        "bridge vlan add dev zdv1 vid 7 pvid untagged",
    ];
    let namespace = NamespacePath("/ns".to_owned());
    assert_eq!(lines(&attach(&network, &endpoint(), &namespace), "bridge vlan"), join);
    let mut seen = seen_bridge();
    seen.links[0].name = "zdv1".parse().unwrap();
    assert_eq!(lines(&rejoin(&network, [&endpoint()], &seen), "bridge vlan"), join);
    let mut tagged = network.clone();
    let device = tagged.bridge.as_mut().unwrap();
    (device.vlan, device.trunk) = (
        None,
        Some(Trunk {
            vlans: vec![(3, 3), (10, 20)],
            native: false,
        }),
    );
    let join_trunk = [
        "bridge vlan delete dev zdv1 vid 1-4094",
        "bridge vlan add dev zdv1 vid 3",
        "bridge vlan add dev zdv1 vid 10-20",
    ];
    assert_eq!(
        lines(&attach(&tagged, &endpoint(), &namespace), "bridge vlan"),
        join_trunk
    );
    assert_eq!(
        lines(&create_network(&tagged, &Seen::default()), "vlan_filtering"),
        [order[0]]
    );
    // A foreign bridge tells VLANs apart, and has no more of ours.
    let mut foreign = network.clone();
    foreign.bridge.as_mut().unwrap().ownership = Ownership::Foreign;
    assert_eq!(commands(&create_network(&foreign, &seen_bridge())), [order[0]]);
    // Turning hairpin off does not take a port out of its VLAN.
    let silent = Endpoint {
        ports: Vec::new(),
        ..endpoint()
    };
    let changed = change(&network, &endpoint(), &silent, &namespace);
    assert_eq!(lines(&changed, "bridge vlan"), [""; 0]);
    assert_eq!(lines(&changed, "hairpin off").len(), 1);
}

#[test]
fn the_host_is_the_gateway_of_one_vlan_of_a_bridge() {
    let of = |vlan, ownership| {
        with_bridge(|bridge| {
            bridge.vlan = vlan;
            bridge.ownership = ownership;
        })
    };
    let shared = |vlan| of(vlan, Ownership::Shared);
    assert!(contend_for_vlan(&shared(Some(7)), &shared(Some(8))));
    assert!(contend_for_vlan(&shared(None), &shared(Some(8))));
    assert!(!contend_for_vlan(&shared(Some(8)), &shared(Some(8))));
    assert!(!contend_for_vlan(&shared(Some(7)), &of(Some(8), Ownership::Foreign)));
    let mut without = shared(Some(7));
    without.pools[0].gateway = None;
    assert!(!contend_for_vlan(&without, &shared(Some(8))));
    let mut elsewhere = shared(Some(7));
    elsewhere.bridge.as_mut().unwrap().name = "br2".parse().unwrap();
    assert!(!contend_for_vlan(&elsewhere, &shared(Some(8))));
    // Whose host is in another VLAN is the network's own choice for as long as it is there.
    let (mut wished, mut settled) = (shared(Some(7)), shared(Some(7)));
    wished.settings.host_in_vlan = HostInVlan::Wished;
    settled.settings.host_in_vlan = HostInVlan::Elsewhere;
    assert!(contend_for_vlan(&wished, &shared(Some(8))));
    assert!(!contend_for_vlan(&settled, &shared(Some(8))));
    assert_eq!(like(&wished, &settled), settled);
}

#[test]
fn gateways_that_a_network_has_no_more_leave_its_bridge() {
    let of = |subnet: &str, ownership, force_address| {
        let mut network = with_bridge(|bridge| bridge.ownership = ownership);
        let subnet: Subnet = subnet.parse().unwrap();
        network.pools = vec![Pool::new(subnet, subnet.nth(1).unwrap())];
        network.settings.force_address = force_address;
        network
    };
    let (old, new) = ("10.1.0.0/24", "10.2.0.0/24");
    let check = |ownership, force, others: &[Network], held: &[&str], dropped: bool| {
        let held: Vec<IpAddr> = held.iter().map(|address| address.parse().unwrap()).collect();
        let (before, after) = (of(old, ownership, force), of(new, ownership, force));
        let plan = commands(&drop_gateways(&before, &after, others, &held));
        let expected: &[&str] = if dropped {
            &["ip address delete 10.1.0.1/24 dev br1"]
        } else {
            &[]
        };
        assert_eq!(plan, expected, "{ownership:?} {force} {held:?}");
        assert!(drop_gateways(&before, &before, others, &held).is_empty());
    };
    check(Ownership::Shared, false, &[], &["10.2.0.2"], true);
    check(Ownership::Shared, false, &[], &["10.1.0.2"], false);
    check(Ownership::Shared, true, &[], &["10.1.0.2"], true);
    check(
        Ownership::Shared,
        true,
        &[of(old, Ownership::Shared, false)],
        &[],
        false,
    );
    check(Ownership::Kept, false, &[], &[], false);
    check(Ownership::Kept, true, &[], &[], true);
    check(Ownership::Foreign, true, &[], &[], false);
    let mut elsewhere = of(new, Ownership::Shared, true);
    elsewhere.bridge.as_mut().unwrap().name = "br2".parse().unwrap();
    assert!(drop_gateways(&of(old, Ownership::Shared, true), &elsewhere, &[], &[]).is_empty());
}
