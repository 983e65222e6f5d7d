//! Networks with driver `ipvlan`, on an interface whose other end is in the outside world. Where the kernel lacks them they
//! are tried in the virtual machine (`cargo xtask test`).

use crate::harness::{
    Container, Feature, HOST_V4, Host, OUTSIDE_V4, OUTSIDE_V6, Server, Snapshot, answers, ip, is_silent, needs, serving,
};

/// What the wire behind `eth0` has, but for what is on it already.
const WIRE: &str = "--subnet 203.0.113.0/24 --gateway 203.0.113.2 --ip-range 203.0.113.128/25 \
                    --subnet 2001:db8::/64 --gateway 2001:db8::2 --ip-range 2001:db8::1:0/112";

/// A host with an ipvlan network `lan` on the wire that leads outside; `None` where the kernel lacks it.
fn host_with(options: &str) -> Option<Host> {
    if !needs(&[Feature::Ipvlan]) {
        return None;
    }
    let host = Host::new();
    host.z(&format!("network create -d ipvlan -o parent=eth0 {WIRE} {options} lan"))
        .ok();
    Some(host)
}

#[track_caller]
fn reach_each_other(a: &Container, b: &Container) {
    answers(&a.net, a.v4(), b.v4(), "b");
    answers(&b.net, b.v6(), a.v6(), "a");
}

#[test]
fn containers_share_the_address_of_their_parent() {
    let Some(host) = host_with("") else { return };
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net lan --ip 203.0.113.200 --ip6 2001:db8::77");
    reach_each_other(&a, &b);
    let _outside = Server::start(&host.outside, "outside", 7000);
    for (own, gateway) in [(a.v4(), OUTSIDE_V4), (a.v6(), OUTSIDE_V6)] {
        answers(&host.outside, ip(gateway), own, "a");
        answers(&a.net, own, ip(gateway), "outside");
    }
    let _host = Server::start(&host.net, "host", 7000);
    is_silent(&a.net, ip(HOST_V4));
    is_silent(&host.net, a.v4());

    let mac = |link: &serde_json::Value| link["address"].clone();
    let link = &a.net.ip_json(&["-details", "link", "show", "eth0"])[0];
    assert_eq!(mac(link), mac(&host.net.ip_json(&["link", "show", "eth0"])[0]));
    assert_eq!(link["linkinfo"]["info_data"]["mode"], "l2");
    let addresses = &a.net.ip_json(&["addr", "show", "dev", "eth0"])[0]["addr_info"];
    assert_eq!(addresses.as_array().unwrap().len(), 3, "{addresses}");
    let inspected = host.z("network inspect lan").ok().json();
    assert_eq!(inspected[0]["Containers"][&a.id]["MacAddress"], "");
    host.z("run --net lan --mac-address 02:00:00:00:00:07 --rootfs / -- true")
        .exits(125)
        .says(&["--mac-address", "parent"]);
}

#[test]
fn running_containers_join_and_leave() {
    let Some(host) = host_with("") else { return };
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let (b, _b) = serving(&host, "b", "--net lan");
    let (a, _a) = serving(&host, "a", "--net n");
    let before = Snapshot::take(&host);
    host.z("network connect --gw-priority 1 lan a").ok();
    let (v4, v6) = (a.address("eth1", false), a.address("eth1", true));
    answers(&a.net, v4, b.v4(), "b");
    answers(&b.net, b.v6(), v6, "a");
    answers(&host.outside, ip(OUTSIDE_V4), v4, "a");
    host.z("network disconnect lan a").ok();
    assert_eq!(a.net.ip_json(&["link", "show"]).len(), 2);
    is_silent(&host.outside, v4);
    before.assert_same(&host);
}

#[test]
fn mode_l3_routes_by_the_interface_itself() {
    if !needs(&[Feature::Ipvlan]) {
        return;
    }
    for mode in ["l3", "l3s"] {
        let host = Host::new();
        host.z(&format!(
            "network create -d ipvlan -o parent=eth0 -o ipvlan_mode={mode} --subnet 10.5.0.0/24 --subnet fd00:5::/64 \
             --subnet 10.6.0.0/24 routed"
        ))
        .ok();
        // As a router on the wire needs to be told.
        host.outside.ip("route add 10.5.0.0/24 dev lan
             route add 10.6.0.0/24 dev lan
             route add fd00:5::/64 dev lan");
        let (a, _a) = serving(&host, "a", "--net routed");
        let (b, _b) = serving(&host, "b", "--net routed --ip 10.6.0.9");
        let (link, route) = (
            &a.net.ip_json(&["-details", "link", "show", "eth0"])[0],
            &a.net.ip_json(&["route", "show", "default"])[0],
        );
        assert_eq!(link["linkinfo"]["info_data"]["mode"], mode);
        assert_eq!(
            (&route["dev"], &route["gateway"]),
            (&"eth0".into(), &serde_json::Value::Null)
        );
        // Two subnets of one parent are routed between.
        answers(&a.net, a.v4(), b.v4(), "b");
        answers(&b.net, b.v6(), a.v6(), "a");
        // The parent answers no question for the containers' addresses: outside is told where they are.
        let mac = host.net.ip_json(&["link", "show", "eth0"])[0]["address"]
            .as_str()
            .unwrap()
            .to_owned();
        for address in [a.v4(), a.v6()] {
            host.outside
                .ip(&format!("neigh replace {address} lladdr {mac} dev lan"));
        }
        answers(&host.outside, ip(OUTSIDE_V4), a.v4(), "a");
        host.z("rm -f a b").ok();
        host.z("network rm routed").ok();
    }
}

#[test]
fn flags_say_who_reaches_whom() {
    let Some(host) = host_with("-o ipvlan_flag=private") else {
        return;
    };
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net lan");
    is_silent(&a.net, b.v4());
    answers(&host.outside, ip(OUTSIDE_V4), b.v4(), "b");
    host.z("rm -f a b").ok();
    host.z("network rm lan").ok();

    host.z(&format!(
        "network create -d ipvlan -o parent=eth0 -o ipvlan_flag=vepa {WIRE} lan"
    ))
    .ok();
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net lan");
    is_silent(&a.net, b.v4());
    answers(&host.outside, ip(OUTSIDE_V4), b.v4(), "b");
}

#[test]
fn networks_of_one_mode_share_a_parent() {
    let Some(host) = host_with("") else { return };
    host.z("network create -d ipvlan -o parent=eth0 --subnet 10.5.0.0/24 other")
        .ok();
    host.outside.ip("addr add 10.5.0.1/24 dev lan");
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net other");
    answers(&host.outside, ip("10.5.0.1"), b.v4(), "b");
    answers(&host.outside, ip(OUTSIDE_V4), a.v4(), "a");
    for options in ["-d ipvlan -o ipvlan_mode=l3", "-d ipvlan -o ipvlan_flag=private"] {
        host.z(&format!(
            "network create {options} -o parent=eth0 --subnet 10.6.0.0/24 third"
        ))
        .exits(1)
        .says(&["eth0", "ipvlan network of another mode"]);
    }
    host.z("network create -d macvlan -o parent=eth0 --subnet 10.6.0.0/24 third")
        .exits(1)
        .says(&["eth0", "macvlan and ipvlan"]);
}

#[test]
fn a_kernel_without_it_says_so() {
    if Feature::Ipvlan.is_there() {
        return;
    }
    let host = Host::new();
    host.z("network create -d ipvlan -o parent=eth0 --subnet 10.5.0.0/24 n")
        .ok();
    let before = Snapshot::take(&host);
    host.z("run --net n --rootfs / -- true")
        .exits(125)
        .says(&["type ipvlan mode l2 bridge", "this kernel has no ipvlan interfaces"]);
    before.assert_same(&host);
    host.z("network rm n").ok();
}
