//! Networks on a parent interface: macvlan and ipvlan.

use serde_json::{Value, json};

use crate::harness::{Feature, Host, OUTSIDE_V4, Proto, Server, Snapshot, ip, needs, reaches};

use super::{Caller, Sandbox, input, with};

/// A network on the wire that leads outside.
fn on_the_wire(driver: &str, changes: Value) -> Value {
    let network = json!({
        "name": "lan",
        "id": "lan",
        "driver": driver,
        "network_interface": "eth0",
        "subnets": [{"subnet": "203.0.113.0/24", "gateway": OUTSIDE_V4}],
        "ipv6_enabled": false,
        "internal": false,
        "dns_enabled": false,
    });
    with(network, changes)
}

fn defaults(sandbox: &Sandbox) -> Vec<String> {
    sandbox.ip("-4 route show default")
}

#[test]
fn macvlan() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    let before = Snapshot::take(&host);
    let _outside = Server::start(&host.outside, "outside", 7000);
    for (changes, mode) in [
        (json!({}), "bridge"),
        (
            json!({"options": {"mode": "private", "mtu": "1400", "metric": "7"}}),
            "private",
        ),
        (json!({"options": {"mode": "vepa"}, "network_interface": ""}), "vepa"),
        (json!({"options": {"mode": "passthru"}}), "passthru"),
    ] {
        let network = on_the_wire("macvlan", changes);
        let mut wanted = input(77, &[&network]);
        if mode != "passthru" {
            wanted["networks"][0]["static_mac"] = json!("02:00:00:00:00:77");
        }
        let answer = caller.setup(&c, &wanted);
        let link = &c.net.ip_json(&["-details", "link", "show", "eth0"])[0];
        let own = &answer["lan"]["interfaces"]["eth0"];
        assert_eq!(own["mac_address"], link["address"], "{mode}");
        assert_eq!(
            own["subnets"],
            json!([{"gateway": OUTSIDE_V4, "ipnet": "203.0.113.77/24"}])
        );
        assert_eq!(link["linkinfo"]["info_data"]["mode"], mode);
        let metric = if mode == "private" { 7 } else { 99 };
        assert_eq!(
            defaults(&c),
            [format!("default via {OUTSIDE_V4} dev eth0 metric {metric}")]
        );
        if mode == "private" {
            assert_eq!(link["mtu"], 1400);
        }
        assert_eq!(
            reaches(&c.net, Proto::Tcp, (ip(OUTSIDE_V4), 7000)).source,
            ip("203.0.113.77")
        );
        if mode == "bridge" {
            caller.setup(&d, &input(78, &[&network]));
            let _d = Server::start(&d.net, "d", 7000);
            assert_eq!(reaches(&c.net, Proto::Tcp, (ip("203.0.113.78"), 7000)).server, "d");
            caller.teardown(&d, &input(78, &[&network]));
        }
        caller.teardown(&c, &wanted);
        c.is_empty_soon();
        before.assert_same(&host);
    }
}

#[test]
fn macvlan_without_a_way_out_or_addresses() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    for changes in [
        json!({"internal": true}),
        json!({"options": {"no_default_route": "true", "bclim": "0"}}),
        json!({"ipam_options": {"driver": "none"}, "subnets": null}),
    ] {
        let wanted = input(77, &[&on_the_wire("macvlan", changes)]);
        caller.setup(&c, &wanted);
        assert_eq!(defaults(&c), [""; 0]);
        caller.teardown(&c, &wanted);
    }
}

#[test]
fn addresses_in_the_order_of_the_subnets() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    // A parent may be down, and is left so.
    host.net.ip("link add d0 type veth peer name d1");
    let before = Snapshot::take(&host);
    let subnets = json!([
        {"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"},
        {"subnet": "10.89.0.0/16", "gateway": "10.89.0.1"},
    ]);
    let network = on_the_wire("macvlan", json!({"network_interface": "d0", "subnets": subnets}));
    let mut wanted = input(77, &[&network]);
    wanted["networks"][0]["static_ips"] = json!(["10.88.0.5", "10.89.0.10", "10.88.0.15"]);
    let answer = caller.setup(&c, &wanted);
    let expected = json!([
        {"gateway": "10.88.0.1", "ipnet": "10.88.0.5/16"},
        {"gateway": "10.88.0.1", "ipnet": "10.88.0.15/16"},
        {"gateway": "10.89.0.1", "ipnet": "10.89.0.10/16"},
    ]);
    assert_eq!(answer["lan"]["interfaces"]["eth0"]["subnets"], expected);
    let shown = c.ip("-4 -o addr show eth0");
    for own in ["10.88.0.5/16", "10.88.0.15/16", "10.89.0.10/16"] {
        assert!(shown.iter().any(|line| line.contains(own)), "{shown:?}");
    }
    caller.teardown(&c, &wanted);
    c.is_empty_soon();
    before.assert_same(&host);
    // Nothing is left where the container has an interface of that name.
    c.net.ip("link add eth0 type bridge");
    let refused = caller.refused(&c, &wanted);
    assert!(refused.contains("File exists"), "{refused}");
    assert_eq!(c.net.ip_json(&["link", "show"]).len(), 2);
    before.assert_same(&host);
}

#[test]
fn ipvlan() {
    if !needs(&[Feature::Ipvlan]) {
        return;
    }
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let _outside = Server::start(&host.outside, "outside", 7000);
    // Nobody answers for what is behind a router's interface.
    let mac = host.net.ip_json(&["link", "show", "eth0"])[0]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let neighbour = format!("neigh replace 203.0.113.77 lladdr {mac} dev lan");
    for mode in ["", "l2", "l3", "l3s"] {
        if mode.starts_with("l3") {
            host.outside.ip(&neighbour);
        }
        let wanted = input(77, &[&on_the_wire("ipvlan", json!({"options": {"mode": mode}}))]);
        let answer = caller.setup(&c, &wanted);
        let link = &c.net.ip_json(&["-details", "link", "show", "eth0"])[0];
        assert_eq!(answer["lan"]["interfaces"]["eth0"]["mac_address"], link["address"]);
        assert_eq!(
            reaches(&c.net, Proto::Tcp, (ip(OUTSIDE_V4), 7000)).source,
            ip("203.0.113.77")
        );
        caller.teardown(&c, &wanted);
        before.assert_same(&host);
    }
}

#[test]
fn what_no_child_can_be() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    for (driver, changes, words) in [
        ("macvlan", json!({"network_interface": "nowhere0"}), "nowhere0"),
        (
            "macvlan",
            json!({"options": {"mode": "abc"}}),
            "invalid macvlan mode \"abc\"",
        ),
        (
            "macvlan",
            json!({"options": {"mode": "source"}}),
            "\"source\" is not supported",
        ),
        (
            "ipvlan",
            json!({"options": {"mode": "abc"}}),
            "invalid ipvlan mode \"abc\"",
        ),
        (
            "macvlan",
            json!({"ipam_options": {"driver": "dhcp"}}),
            "dhcp is not supported yet",
        ),
    ] {
        let refused = caller.refused(&c, &input(77, &[&on_the_wire(driver, changes)]));
        assert!(refused.contains(words), "{refused}");
        before.assert_same(&host);
    }
}
