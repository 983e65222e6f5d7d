//! Bridge networks: what is made, what is answered, and that nothing of it is left.

use serde_json::{Value, json};

use crate::harness::{
    Feature, HOST_V4, Host, OUTSIDE_V4, Proto, Server, Snapshot, does_not_reach, ip, needs, reaches, until,
};

use super::{Caller, Sandbox, as_map, error, get, input, network, set, with};

/// The routes of a container's main table, without what the kernel made itself.
fn routes(sandbox: &Sandbox, family: &str) -> Vec<String> {
    let mut lines = sandbox.ip(&format!("{family} route show"));
    lines.retain(|line| !line.contains("proto kernel") && !line.starts_with("fe80"));
    lines
        .iter()
        .map(|line| line.replace(" pref medium", "").trim().to_owned())
        .collect()
}

#[test]
fn a_container_is_plugged_in_and_out() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    for form in [input(2, &[&network(1)]), as_map(input(2, &[&network(1)]))] {
        let answer = caller.setup(&c, &form);
        let link = &c.net.ip_json(&["link", "show", "eth0"])[0];
        let subnets = json!([
            {"gateway": "10.89.1.1", "ipnet": "10.89.1.2/24"},
            {"gateway": "fd00:89:1::1", "ipnet": "fd00:89:1::2/64"},
        ]);
        let expected = json!({"n1": {
            "dns_search_domains": [],
            "dns_server_ips": [],
            "interfaces": {"eth0": {"mac_address": link["address"], "subnets": subnets}},
        }});
        assert_eq!(answer, expected);
        assert_eq!(routes(&c, "-4"), ["default via 10.89.1.1 dev eth0 metric 100"]);
        assert_eq!(routes(&c, "-6"), ["default via fd00:89:1::1 dev eth0 metric 100"]);
        assert_eq!(c.net.ip_json(&["link", "show", "lo"])[0]["flags"][1], "UP");
        // Out by the host's address; reached by the host, and by whoever has a route.
        let _outside = Server::start(&host.outside, "outside", 7000);
        assert_eq!(reaches(&c.net, Proto::Tcp, (ip(OUTSIDE_V4), 7000)).source, ip(HOST_V4));
        {
            let _own = Server::start(&c.net, "c", 7000);
            assert_eq!(
                reaches(&host.net, Proto::Udp, (ip("10.89.1.2"), 7000)).source,
                ip("10.89.1.1")
            );
            host.outside.ip("route add 10.89.1.0/24 via 203.0.113.1");
            assert_eq!(
                reaches(&host.outside, Proto::Tcp, (ip("10.89.1.2"), 7000)).source,
                ip(OUTSIDE_V4)
            );
            host.outside.ip("route del 10.89.1.0/24");
        }
        caller.teardown(&c, &form);
        c.is_empty_soon();
        before.assert_same(&host);
    }
}

#[test]
fn options_of_a_bridge_and_of_an_endpoint() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let routes_wanted = json!([
        {"destination": "10.1.0.0/16", "gateway": "10.89.1.7", "metric": 7},
        {"destination": "10.2.0.0/16", "gateway": "10.89.1.7"},
        {"destination": "10.3.0.0/16", "route_type": "blackhole"},
        {"destination": "10.4.0.0/16", "route_type": "unreachable", "metric": 9},
        {"destination": "fd00:5::/32", "route_type": "prohibit"},
    ]);
    let n = with(
        network(1),
        json!({"options": {"mtu": "1300", "metric": "200"}, "routes": routes_wanted}),
    );
    let mut wanted = input(2, &[&n]);
    wanted["networks"][0]["static_mac"] = json!("aa-bb-cc-dd-ee-f0");
    wanted["networks"][0]["interface_name"] = json!("net7");
    wanted["networks"][0]["static_ips"] = json!(["10.89.1.9", "10.89.1.10", "fd00:89:1::9"]);
    let answer = caller.setup(&c, &wanted);
    let own = &answer["n1"]["interfaces"]["net7"];
    assert_eq!(own["mac_address"], "aa:bb:cc:dd:ee:f0");
    assert_eq!(own["subnets"].as_array().unwrap().len(), 3);
    let shown = &c.net.ip_json(&["addr", "show", "net7"])[0];
    assert_eq!(
        (&shown["address"], &shown["mtu"]),
        (&json!("aa:bb:cc:dd:ee:f0"), &json!(1300))
    );
    let addresses = c.ip("-4 -o addr show net7");
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert_eq!(host.net.ip_json(&["link", "show", "podman1"])[0]["mtu"], 1300);
    let mut v4 = routes(&c, "-4");
    v4.sort();
    let expected = [
        "10.1.0.0/16 via 10.89.1.7 dev net7 metric 7",
        "10.2.0.0/16 via 10.89.1.7 dev net7 metric 100",
        "blackhole 10.3.0.0/16 metric 100",
        "default via 10.89.1.1 dev net7 metric 200",
        "unreachable 10.4.0.0/16 metric 9",
    ];
    assert_eq!(v4, expected);
    let v6 = routes(&c, "-6");
    for beginning in ["prohibit fd00:5::/32", "default via fd00:89:1::1 dev net7 metric 200"] {
        assert!(v6.iter().any(|line| line.starts_with(beginning)), "{v6:?}");
    }
    caller.teardown(&c, &wanted);
    c.is_empty_soon();
    // Routes that lead nowhere have no interface to go with.
    assert_eq!(routes(&c, "-4"), [""; 0]);
    assert_eq!(routes(&c, "-6"), [""; 0]);
    before.assert_same(&host);
}

#[test]
fn networks_without_a_way_out() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    let before = Snapshot::take(&host);
    let _outside = Server::start(&host.outside, "outside", 7000);
    let _d = Server::start(&d.net, "d", 7000);
    let none = with(network(1), json!({"options": {"no_default_route": "true"}}));
    let internal = with(network(2), json!({"internal": true}));
    for n in [none, internal] {
        caller.setup(&c, &input(2, &[&n]));
        caller.setup(&d, &input(3, &[&n]));
        assert_eq!(routes(&c, "-4"), [""; 0]);
        assert_eq!(routes(&c, "-6"), [""; 0]);
        does_not_reach(&c.net, Proto::Tcp, (ip(OUTSIDE_V4), 7000));
        let subnet = n["subnets"][0]["subnet"].as_str().unwrap().replace("0/24", "3");
        assert_eq!(reaches(&c.net, Proto::Tcp, (ip(&subnet), 7000)).server, "d");
        assert_eq!(reaches(&host.net, Proto::Tcp, (ip(&subnet), 7000)).server, "d");
        caller.teardown(&c, &input(2, &[&n]));
        caller.teardown(&d, &input(3, &[&n]));
        before.assert_same(&host);
    }
}

#[test]
fn an_internal_network_makes_no_router_of_the_host() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    for internal in [true, false] {
        set(&host.net, &["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"]);
        let wanted = input(2, &[&with(network(1), json!({ "internal": internal }))]);
        caller.setup(&c, &wanted);
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            assert_eq!(get(&host.net, key) == "0", internal, "{key}");
        }
        // The host itself is reached by the gateway's address.
        let _host = Server::start(&host.net, "host", 7000);
        assert_eq!(reaches(&c.net, Proto::Tcp, (ip("10.89.1.1"), 7000)).server, "host");
        caller.teardown(&c, &wanted);
        c.is_empty_soon();
    }
}

#[test]
fn kernel_variables_of_interfaces() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let v4 = json!({"subnets": [{"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"}]});
    let parent = json!({"driver": "macvlan", "network_interface": "eth0"});
    let default = |name: &str| get(&c.net, &format!("net.{}", name.replace("eth0", "default")));
    // Duplicate addresses are looked for where others give themselves some.
    for (network, announces, checks) in [
        (network(1), true, false),
        (with(network(1), v4), true, true),
        (with(network(1), parent), false, true),
    ] {
        let wanted = input(2, &[&network]);
        caller.setup(&c, &wanted);
        for (name, value) in [
            ("ipv4.conf.eth0.arp_notify", announces.then_some("1")),
            ("ipv4.conf.eth0.rp_filter", announces.then_some("2")),
            ("ipv6.conf.eth0.autoconf", Some("0")),
            ("ipv6.conf.eth0.accept_ra", Some("0")),
            ("ipv6.conf.eth0.accept_dad", (!checks).then_some("0")),
        ] {
            let expected = value.map_or_else(|| default(name), str::to_owned);
            assert_eq!(get(&c.net, &format!("net.{name}")), expected, "{name} of {network}");
        }
        caller.teardown(&c, &wanted);
        c.is_empty_soon();
    }
}

#[test]
fn kernel_variables_that_cannot_be_written_may_be_right_already() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let wanted = input(2, &[&network(1)]);
    let call = |verb: &str| {
        let script = "mount -t proc -o ro proc /proc && exec \"$0\" \"$@\"";
        let (program, config) = (caller.program.to_str().unwrap(), caller.config.to_str().unwrap());
        let words = [
            "--mount", "sh", "-c", script, program, "--config", config, verb, &c.path,
        ];
        host.finish(host.command("unshare", &words), &wanted.to_string())
    };
    set(&host.net, &["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=1"]);
    let before = Snapshot::take(&host);
    let refused = error(call("setup"));
    assert!(
        refused.contains("ip_forward") && refused.contains("Read-only"),
        "{refused}"
    );
    before.assert_same(&host);
    set(&host.net, &["net.ipv4.ip_forward=1"]);
    let before = Snapshot::take(&host);
    call("setup").ok();
    assert_eq!(reaches_host(&host, &c), "host");
    call("teardown").ok();
    before.assert_same(&host);
}

/// Who serves a container at its gateway's address.
fn reaches_host(host: &Host, c: &Sandbox) -> String {
    let _host = Server::start(&host.net, "host", 7000);
    reaches(&c.net, Proto::Tcp, (ip("10.89.1.1"), 7000)).server
}

#[test]
fn a_network_without_addresses() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    let before = Snapshot::take(&host);
    let n = with(network(1), json!({"subnets": null, "ipam_options": {"driver": "none"}}));
    let answer = caller.setup(&c, &input(2, &[&n]));
    assert_eq!(answer["n1"]["interfaces"]["eth0"]["subnets"], json!([]));
    caller.setup(&d, &input(3, &[&n]));
    // Who has no addresses of ours gives himself some.
    c.net.ip("addr add 192.0.2.1/24 dev eth0");
    d.net.ip("addr add 192.0.2.2/24 dev eth0");
    let _d = Server::start(&d.net, "d", 7000);
    assert_eq!(reaches(&c.net, Proto::Tcp, (ip("192.0.2.2"), 7000)).server, "d");
    caller.teardown(&c, &input(2, &[&n]));
    caller.teardown(&d, &input(3, &[&n]));
    before.assert_same(&host);
}

#[test]
fn an_unmanaged_bridge_is_somebody_elses() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let n = with(
        network(1),
        json!({"options": {"mode": "unmanaged"}, "network_interface": "br7"}),
    );
    let wanted = with(
        input(2, &[&n]),
        json!({"port_mappings": [super::mapping("", 8080, 7000, "tcp", 1)]}),
    );
    let refused = caller.refused(&c, &wanted);
    assert!(refused.contains("br7") && refused.contains("bridge"), "{refused}");
    host.net
        .ip("link add br7 address 02:00:00:00:00:07 type bridge\nlink set br7 addrgenmode none\nlink set br7 up\naddr add 10.89.1.1/24 dev br7");
    let before = Snapshot::take(&host);
    caller.setup(&c, &wanted);
    let _c = Server::start(&c.net, "c", 7000);
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("10.89.1.2"), 7000)).server, "c");
    // Nothing is published on it.
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    caller.teardown(&c, &wanted);
    before.assert_same(&host);
}

#[test]
fn a_bridge_that_is_there_is_used_and_stays_while_it_has_other_ports() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    host.net.ip(
        "link add podman1 type bridge\nlink set podman1 mtu 1280\nlink set podman1 up\n\
         link add other type veth peer name other2\nlink set other master podman1",
    );
    caller.setup(&c, &input(2, &[&network(1)]));
    assert_eq!(c.net.ip_json(&["link", "show", "eth0"])[0]["mtu"], 1280);
    let _c = Server::start(&c.net, "c", 7000);
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("10.89.1.2"), 7000)).server, "c");
    caller.teardown(&c, &input(2, &[&network(1)]));
    until("the container's port is gone", || {
        host.net.ip_json(&["link", "show", "master", "podman1"]).len() == 1
    });
}

#[test]
fn the_mtu_of_a_bridge_that_is_there_stays() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    host.net
        .ip("link add podman1 type bridge\nlink set podman1 mtu 1280\nlink set podman1 up");
    let n = with(network(1), json!({"options": {"mtu": "1300"}}));
    caller.setup(&c, &input(2, &[&n]));
    assert_eq!(c.net.ip_json(&["link", "show", "eth0"])[0]["mtu"], 1300);
    let ports = host.net.ip_json(&["link", "show", "master", "podman1"]);
    assert_eq!((ports.len(), &ports[0]["mtu"]), (1, &json!(1300)));
    assert_eq!(host.net.ip_json(&["link", "show", "podman1"])[0]["mtu"], 1280);
}

#[test]
fn the_mtu_is_that_of_the_way_out() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    host.net.ip("link set eth0 mtu 1400");
    // Another table's way out is for somebody else's packets.
    host.net.ip(
        "link add aside mtu 1300 type veth peer name aside2\nlink set aside up\nlink set aside2 up\n\
         addr add 192.0.2.1/24 dev aside\nroute add default via 192.0.2.2 table 10",
    );
    caller.setup(&c, &input(2, &[&network(1)]));
    host.net.ip("link set eth0 mtu 1500");
    caller.setup(&d, &input(3, &[&network(1)]));
    for sandbox in [&c, &d] {
        assert_eq!(sandbox.net.ip_json(&["link", "show", "eth0"])[0]["mtu"], 1400);
    }
}

#[test]
fn outbound_addresses() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    host.net.ip("addr add 203.0.113.77/24 dev eth0");
    let _outside = Server::start(&host.outside, "outside", 7000);
    let n = with(network(1), json!({"options": {"outbound_addr4": "203.0.113.77"}}));
    caller.setup(&c, &input(2, &[&n]));
    assert_eq!(
        reaches(&c.net, Proto::Tcp, (ip(OUTSIDE_V4), 7000)).source,
        ip("203.0.113.77")
    );
    caller.teardown(&c, &input(2, &[&n]));
    host.net.ip("addr del 203.0.113.77/24 dev eth0");
    before.assert_same(&host);
}

#[test]
fn name_servers_in_the_answer() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let named = with(network(1), json!({"dns_enabled": true}));
    let wanted = with(input(2, &[&named, &network(2)]), json!({"dns_servers": ["192.0.2.53"]}));
    let answer = caller.setup(&c, &wanted);
    let dns = |name: &str| {
        (
            answer[name]["dns_server_ips"].clone(),
            answer[name]["dns_search_domains"].clone(),
        )
    };
    assert_eq!(dns("n1"), (json!(["10.89.1.1", "fd00:89:1::1"]), json!(["dns.podman"])));
    assert_eq!(dns("n2"), (json!(["192.0.2.53"]), json!([])));
}

#[test]
fn without_a_firewall() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let wanted = with(
        input(2, &[&network(1)]),
        json!({"port_mappings": [super::mapping("", 8080, 7000, "tcp", 1)]}),
    );
    caller
        .call(&["--firewall-driver", "none", "setup", &c.path], &wanted)
        .ok();
    let _c = Server::start(&c.net, "c", 7000);
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("10.89.1.2"), 7000)).server, "c");
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    // What leaves bears the container's own address.
    host.outside.ip("route add 10.89.1.0/24 via 203.0.113.1");
    let _outside = Server::start(&host.outside, "outside", 7001);
    assert_eq!(
        reaches(&c.net, Proto::Tcp, (ip(OUTSIDE_V4), 7001)).source,
        ip("10.89.1.2")
    );
    caller
        .call(&["--firewall-driver", "none", "teardown", &c.path], &wanted)
        .ok();
    before.assert_same(&host);
    // Podman says it by the environment.
    let config = caller.config.to_str().unwrap();
    let words = ["--config", config, "setup", &c.path];
    let mut command = host.command(caller.program.to_str().unwrap(), &words);
    command.env("NETAVARK_FW", "none");
    host.finish(command, &wanted.to_string()).ok();
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    caller.teardown(&c, &wanted);
    host.outside.ip("route del 10.89.1.0/24");
    before.assert_same(&host);
    let wrong = caller.call(&["--firewall-driver", "banana", "setup", &c.path], &wanted);
    assert!(error(wrong).contains("banana"));
}

#[test]
fn what_it_says_of_itself() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let version = caller.call(&["version"], &Value::Null).ok().json();
    assert!(version["version"].as_str().unwrap().starts_with("2."), "{version}");
    caller.call(&["--version"], &Value::Null).ok().prints(&["netavark 2."]);
    caller
        .call(&["--help"], &Value::Null)
        .ok()
        .prints(&["setup", "--config"]);
    caller.call(&[], &Value::Null).exits(2).says(&["a command is missing"]);
    caller.call(&["dance"], &Value::Null).exits(2).says(&["dance"]);
}

#[test]
fn vlans_of_one_bridge_do_not_reach_each_other() {
    if !needs(&[Feature::BridgeVlans]) {
        return;
    }
    let host = Host::new();
    let caller = Caller::new(&host);
    let [a, b, c] = ["a", "b", "c"].map(|name| Sandbox::new(&host, name));
    let before = Snapshot::take(&host);
    let seven = with(network(1), json!({"options": {"vlan": "7"}}));
    // The same addresses on the same bridge, in another VLAN.
    let options = json!({"name": "n8", "id": "8", "dns_enabled": true, "options": {"vlan": "8"}});
    let eight = with(network(1), options);
    let (first, second, third) = (input(2, &[&seven]), input(3, &[&seven]), input(4, &[&eight]));
    caller.setup(&a, &first);
    caller.setup(&b, &second);
    // Its gateway, where a name server would listen, is not the host.
    assert_eq!(caller.setup(&c, &third)["n8"]["dns_server_ips"], json!([]));
    let (_a, _c) = (Server::start(&a.net, "a", 7000), Server::start(&c.net, "c", 7000));
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip("10.89.1.2"), 7000)).server, "a");
    does_not_reach(&b.net, Proto::Tcp, (ip("10.89.1.4"), 7000));
    does_not_reach(&c.net, Proto::Tcp, (ip("10.89.1.2"), 7000));
    for (sandbox, wanted) in [(&a, &first), (&b, &second), (&c, &third)] {
        caller.teardown(sandbox, wanted);
    }
    before.assert_same(&host);
}

#[test]
fn a_bridge_in_a_vrf() {
    if !needs(&[Feature::Vrf]) {
        return;
    }
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    // The VRF has a way out of its own, without addresses that come later.
    host.net.ip(
        "link add red type vrf table 77\nlink set red up\nlink add aside mtu 1300 type veth peer name aside2\n\
         link set aside addrgenmode none\nlink set aside2 addrgenmode none\n\
         link set aside master red\nlink set aside up\nlink set aside2 up\naddr add 192.0.2.1/24 dev aside\n\
         route add default via 192.0.2.2 table 77",
    );
    let before = Snapshot::take(&host);
    let wanted = input(2, &[&with(network(1), json!({"options": {"vrf": "red"}}))]);
    caller.setup(&c, &wanted);
    let bridge = &host.net.ip_json(&["link", "show", "podman1"])[0];
    assert_eq!((&bridge["master"], &bridge["mtu"]), (&json!("red"), &json!(1300)));
    assert_eq!(c.net.ip_json(&["link", "show", "eth0"])[0]["mtu"], 1300);
    caller.teardown(&c, &wanted);
    before.assert_same(&host);
}
