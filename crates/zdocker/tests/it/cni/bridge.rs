//! What `bridge` and `macvlan` make, by real traffic.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{
    addresses_of, both, both_ours, bridge, default_gateway, dual_bridge, interfaces, list, port_of, with_version,
};
use crate::harness::{HOST_V4, HOST_V6, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, ip, reaches, until};

both!(
    containers_reach_each_other_and_the_outside_by_both_families,
    without_masquerade_the_outside_sees_the_container,
    a_default_gateway_gives_a_default_route,
    without_a_gateway_there_is_none,
    mtu_and_mac_are_as_asked_for,
    a_bridge_that_is_there_is_used_and_stays,
    without_ipam_there_is_an_interface_only,
    without_ipam_routers_are_heard,
    ipv6_is_turned_on_where_it_was_off,
    a_gateway_that_was_replaced_is_taken_away,
    macvlan_is_on_the_wire_of_its_master,
    addresses_come_from_another_plug_in,
    an_interface_that_is_in_the_way_stays,
);

fn containers_reach_each_other_and_the_outside_by_both_families(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([dual_bridge()]));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let of_a = addresses(&runtime.add(&list, &Call::new(&a)));
    runtime.add(&list, &Call::new(&b));
    let servers = (
        Server::start(&a.net, "a", 80),
        Server::start(&runtime.host.outside, "outside", 80),
    );
    for address in &of_a {
        for proto in [Proto::Tcp, Proto::Udp] {
            assert_eq!(reaches(&b.net, proto, (*address, 80)).server, "a");
            assert_eq!(reaches(&runtime.host.net, proto, (*address, 80)).server, "a");
        }
    }
    for (outside, host) in [(OUTSIDE_V4, HOST_V4), (OUTSIDE_V6, HOST_V6)] {
        let answer = reaches(&b.net, Proto::Tcp, (ip(outside), 80));
        assert_eq!((answer.server.as_str(), answer.source), ("outside", ip(host)));
    }
    drop(servers);
    runtime.del(&list, &Call::new(&a));
    runtime.del(&list, &Call::new(&b));
}

fn without_masquerade_the_outside_sees_the_container(runtime: &Runtime) {
    let mut plugin = bridge();
    plugin["ipMasq"] = json!(false);
    let list = list("1.0.0", "net", json!([plugin]));
    let sandbox = runtime.sandbox("a");
    let own = addresses(&runtime.add(&list, &Call::new(&sandbox)))[0];
    let _server = Server::start(&runtime.host.outside, "outside", 80);
    runtime
        .host
        .outside
        .ip(&format!("route add 10.88.0.0/24 via {HOST_V4}"));
    assert_eq!(reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source, own);
}

fn a_default_gateway_gives_a_default_route(runtime: &Runtime) {
    let mut plugin = dual_bridge();
    plugin["isGateway"] = json!(false);
    plugin["isDefaultGateway"] = json!(true);
    plugin["ipam"].as_object_mut().unwrap().remove("routes");
    let list = list("1.0.0", "net", json!([plugin]));
    let sandbox = runtime.sandbox("a");
    let result = runtime.add(&list, &Call::new(&sandbox));
    assert_eq!(default_gateway(&sandbox.net, "-4").unwrap(), "10.88.0.1");
    assert_eq!(default_gateway(&sandbox.net, "-6").unwrap(), "fd00:88::1");
    assert_eq!(result["routes"].as_array().unwrap().len(), 2, "{result:#}");
    let _server = Server::start(&runtime.host.outside, "outside", 80);
    assert_eq!(
        reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source,
        ip(HOST_V4)
    );
    runtime.check(&list, &Call::new(&sandbox)).unwrap();
    runtime.del(&list, &Call::new(&sandbox));
}

fn without_a_gateway_there_is_none(runtime: &Runtime) {
    let mut plugin = bridge();
    plugin["isGateway"] = json!(false);
    plugin["ipMasq"] = json!(false);
    plugin["ipam"]["routes"] = json!([]);
    let list = list("1.0.0", "net", json!([plugin]));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let of_a = addresses(&runtime.add(&list, &Call::new(&a)))[0];
    runtime.add(&list, &Call::new(&b));
    assert_eq!(addresses_of(&runtime.host.net, "cni0"), [""; 0]);
    assert_eq!(default_gateway(&a.net, "-4"), None);
    let _server = Server::start(&a.net, "a", 80);
    assert_eq!(reaches(&b.net, Proto::Tcp, (of_a, 80)).server, "a");
    if runtime.is_ours() {
        // The reference plug-in's bridge has another MAC address when it gets another port, and then CHECK fails.
        runtime.check(&list, &Call::new(&a)).unwrap();
    }
}

fn mtu_and_mac_are_as_asked_for(runtime: &Runtime) {
    let mut plugin = bridge();
    plugin["mtu"] = json!(1400);
    plugin["capabilities"] = json!({ "mac": true });
    let list = list("1.0.0", "net", json!([plugin]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(json!({ "mac": "02:11:22:33:44:55" }));
    runtime.add(&list, &call);
    let link = &sandbox.net.ip_json(&["link", "show", "dev", "eth0"])[0];
    assert_eq!(
        (&link["address"], &link["mtu"]),
        (&json!("02:11:22:33:44:55"), &json!(1400))
    );
    let ports = runtime.host.net.ip_json(&["link", "show", "master", "cni0"]);
    assert_eq!((ports.len(), &ports[0]["mtu"]), (1, &json!(1400)));
    runtime.check(&list, &call).unwrap();
}

fn a_bridge_that_is_there_is_used_and_stays(runtime: &Runtime) {
    runtime
        .host
        .net
        .ip("link add cni0 type bridge\naddr add 10.88.0.1/24 dev cni0\nlink set cni0 up");
    let list = list(
        if runtime.is_ours() { "1.1.0" } else { "1.0.0" },
        "net",
        json!([bridge()]),
    );
    let sandbox = runtime.sandbox("a");
    let own = addresses(&runtime.add(&list, &Call::new(&sandbox)))[0];
    let server = Server::start(&sandbox.net, "a", 80);
    assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (own, 80)).server, "a");
    drop(server);
    runtime.del(&list, &Call::new(&sandbox));
    until("the port is gone", || {
        runtime.host.net.ip_json(&["link", "show", "master", "cni0"]).is_empty()
    });
    if runtime.is_ours() {
        runtime.gc(&list, &[]).unwrap();
    }
    assert_eq!(addresses_of(&runtime.host.net, "cni0"), ["10.88.0.1/24"]);
}

fn without_ipam_there_is_an_interface_only(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([{ "type": "bridge", "bridge": "cni0" }]));
    let sandbox = runtime.sandbox("a");
    let result = runtime.add(&list, &Call::new(&sandbox));
    assert!(result.get("ips").is_none_or(|ips| ips == &json!([])), "{result:#}");
    assert_eq!(interfaces(&sandbox.net), ["eth0"]);
    assert_eq!(addresses_of(&sandbox.net, "eth0"), [""; 0]);
    if runtime.is_ours() {
        // The reference plug-in asks for a plug-in without a name.
        runtime.check(&list, &Call::new(&sandbox)).unwrap();
    }
    runtime.del(&list, &Call::new(&sandbox));
    until("the interface is gone", || interfaces(&sandbox.net).is_empty());
}

/// Somebody within the container, or a neighbour, may give it IPv6 addresses.
fn without_ipam_routers_are_heard(runtime: &Runtime) {
    let bridged = list("1.0.0", "net", json!([{ "type": "bridge", "bridge": "cni0" }]));
    let on_wire = list("1.0.0", "wire", json!([{ "type": "macvlan", "master": "eth0" }]));
    for (list, name) in [(bridged, "a"), (on_wire, "b")] {
        let sandbox = runtime.sandbox(name);
        runtime.add(&list, &Call::new(&sandbox));
        until("the interface has its own address", || {
            let shown = sandbox
                .net
                .ip_json(&["-6", "addr", "show", "dev", "eth0", "scope", "link"]);
            shown[0]["addr_info"]
                .as_array()
                .is_some_and(|addresses| addresses.len() == 1)
        });
        let listens = sandbox
            .net
            .output("sysctl", &["-n", "net.ipv6.conf.eth0.accept_ra"], "");
        assert_eq!(listens.trim(), "1");
        runtime.del(&list, &Call::new(&sandbox));
    }
}

/// As container engines turn it off in namespaces that they make.
fn ipv6_is_turned_on_where_it_was_off(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([dual_bridge()]));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let off = [
        "-w",
        "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv6.conf.default.disable_ipv6=1",
    ];
    a.net.output("sysctl", &off, "");
    a.net.ip("link set lo up");
    let own = addresses(&runtime.add(&list, &Call::new(&a)))[1];
    runtime.add(&list, &Call::new(&b));
    let _server = Server::start(&a.net, "a", 80);
    assert_eq!(reaches(&b.net, Proto::Tcp, (own, 80)).server, "a");
    assert_eq!(reaches(&a.net, Proto::Tcp, (ip("::1"), 80)).server, "a");
}

/// As flannel does whose host is given another subnet: the one before is another host's by then.
fn a_gateway_that_was_replaced_is_taken_away(runtime: &Runtime) {
    let of = |subnet: &str| {
        let mut plugin = bridge();
        plugin["forceAddress"] = json!(true);
        plugin["ipam"]["ranges"] = json!([[{ "subnet": subnet }]]);
        list("1.0.0", "cbr0", json!([plugin]))
    };
    let (before, after) = (of("10.42.0.0/24"), of("10.42.1.0/24"));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&before, &Call::new(&a));
    runtime.add(&after, &Call::new(&b));
    assert_eq!(addresses_of(&runtime.host.net, "cni0"), ["10.42.1.1/24"]);
    let _server = Server::start(&runtime.host.outside, "outside", 80);
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source, ip(HOST_V4));
    runtime.del(&before, &Call::new(&a));
    runtime.del(&after, &Call::new(&b));
}

/// The IPAM plug-in `static` gives the addresses that its configuration has, and is nobody's but the CNI project's.
fn addresses_come_from_another_plug_in(runtime: &Runtime) {
    if !link_static(runtime) {
        return;
    }
    let before = Snapshot::take(&runtime.host);
    let mut plugin = bridge();
    plugin["ipam"] = json!({
        "type": "static",
        "addresses": [{ "address": "10.88.0.77/24", "gateway": "10.88.0.1" }, { "address": "fd00:88::77/64", "gateway": "fd00:88::1" }],
        "routes": [{ "dst": "0.0.0.0/0" }]
    });
    let list = list("1.0.0", "net", json!([plugin]));
    let sandbox = runtime.sandbox("a");
    let result = runtime.add(&list, &Call::new(&sandbox));
    assert_eq!(addresses(&result), [ip("10.88.0.77"), ip("fd00:88::77")]);
    assert_eq!(addresses_of(&sandbox.net, "eth0"), ["10.88.0.77/24", "fd00:88::77/64"]);
    let server = Server::start(&runtime.host.outside, "outside", 80);
    assert_eq!(
        reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source,
        ip(HOST_V4)
    );
    drop(server);
    runtime.check(&list, &Call::new(&sandbox)).unwrap();
    runtime.del(&list, &Call::new(&sandbox));
    runtime.del(&list, &Call::new(&sandbox));
    runtime.end(sandbox);
    if runtime.is_ours() {
        runtime
            .gc(&with_version(&list, "1.1.0"), &[])
            .expect_err("static knows no GC");
    }
    runtime.assert_as_before(&before);
}

/// Puts the plug-in beside ours; none where it is not installed, which the test says.
fn link_static(runtime: &Runtime) -> bool {
    let there = runtime.directory().join("static");
    if !there.exists() {
        let Some(reference) = Runtime::reference_directory() else {
            return false;
        };
        symlink(reference.join("static"), there).unwrap();
    }
    true
}

/// A network on the wire that leads outside.
fn on_the_wire() -> Value {
    json!({
        "type": "macvlan",
        "master": "eth0",
        "mode": "bridge",
        "capabilities": { "mac": true },
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "203.0.113.0/24", "rangeStart": "203.0.113.100", "gateway": OUTSIDE_V4 }]],
            "routes": [{ "dst": "0.0.0.0/0" }]
        }
    })
}

fn macvlan_is_on_the_wire_of_its_master(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([on_the_wire()]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(json!({ "mac": "02:11:22:33:44:66" }));
    let own = addresses(&runtime.add(&list, &call))[0];
    assert_eq!(own, ip("203.0.113.100"));
    let link = &sandbox.net.ip_json(&["-details", "link", "show", "dev", "eth0"])[0];
    assert_eq!(
        (&link["linkinfo"]["info_kind"], &link["address"]),
        (&json!("macvlan"), &json!("02:11:22:33:44:66"))
    );
    assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
    assert_eq!(default_gateway(&sandbox.net, "-4").unwrap(), OUTSIDE_V4);
    let servers = [
        Server::start(&runtime.host.outside, "outside", 80),
        Server::start(&sandbox.net, "a", 80),
    ];
    assert_eq!(reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source, own);
    assert_eq!(reaches(&runtime.host.outside, Proto::Tcp, (own, 80)).server, "a");
    drop(servers);
    runtime.check(&list, &call).unwrap();
    runtime.del(&list, &call);
    until("the interface is gone", || interfaces(&sandbox.net).is_empty());
    runtime.del(&list, &call);
}

/// Who is refused takes nothing back that another made, be it called the same and have the same Ethernet address.
fn an_interface_that_is_in_the_way_stays(runtime: &Runtime) {
    let with_mac = |name: &str, mut plugin: Value| {
        plugin["capabilities"] = json!({ "mac": true });
        list("1.0.0", name, json!([plugin]))
    };
    let own = with_mac("net", bridge());
    let mut bridged = bridge();
    bridged["bridge"] = json!("cni1");
    bridged["ipam"]["ranges"] = json!([[{ "subnet": "10.89.0.0/24" }]]);
    let sandbox = runtime.sandbox("a");
    let mac = json!({ "mac": "02:11:22:33:44:77" });
    let call = Call::new(&sandbox).capabilities(mac.clone());
    runtime.add(&own, &call);
    let eth0 = || {
        let link = sandbox.net.ip_json(&["link", "show", "dev", "eth0"]).remove(0);
        ["ifindex", "link_index", "address"].map(|key| link[key].clone())
    };
    let before = eth0();
    let _server = Server::start(&runtime.host.net, "host", 80);
    for other in [with_mac("bridged", bridged), with_mac("wire", on_the_wire())] {
        let others = Call::without_namespace("container-b", Some(&sandbox.path)).capabilities(mac.clone());
        let refused = runtime.try_add(&other, &others).unwrap_err();
        assert!(refused.printed["msg"].as_str().unwrap().contains("eth0"), "{refused:?}");
        if runtime.is_ours() {
            // The reference plug-ins take away whatever has the name.
            runtime.del(&other, &others);
        }
        assert_eq!(eth0(), before);
        assert_eq!(reaches(&sandbox.net, Proto::Tcp, (ip("10.88.0.1"), 80)).server, "host");
        runtime.check(&own, &call).unwrap();
    }
}

/// As with `/proc/PID/ns/net` of a process that has ended, and the runtime knows the namespace by another path.
#[test]
fn macvlan_goes_by_another_path_than_it_came() {
    let runtime = Runtime::ours();
    let list = list("1.0.0", "net", json!([on_the_wire()]));
    let sandbox = runtime.sandbox("a");
    let shell = |line: &str| runtime.host.program("sh", &["-c", line]).ok();
    shell("touch /run/netns/other && mount --bind /run/netns/a /run/netns/other");
    runtime.add(&list, &Call::without_namespace(&sandbox.id, Some("/run/netns/other")));
    assert_eq!(interfaces(&sandbox.net), ["eth0"]);
    shell("umount /run/netns/other && rm /run/netns/other");
    runtime.del(&list, &Call::new(&sandbox));
    until("the interface is gone", || interfaces(&sandbox.net).is_empty());
}

/// Two networks of one name are one network.
#[test]
fn a_network_gets_another_bridge_when_nobody_is_on_it() {
    let runtime = Runtime::ours();
    let of = |name: &str, subnet: &str| {
        let mut plugin = bridge();
        plugin["bridge"] = json!(name);
        plugin["ipam"]["ranges"] = json!([[{ "subnet": subnet }]]);
        list("1.0.0", "net", json!([plugin]))
    };
    let (one, two) = (of("cni0", "10.88.0.0/24"), of("cni1", "10.89.0.0/24"));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let own = addresses(&runtime.add(&one, &Call::new(&a)))[0];
    let refused = runtime.try_add(&two, &Call::new(&b)).unwrap_err();
    assert!(
        refused.printed["msg"].as_str().unwrap().contains("bridge cni0"),
        "{refused:?}"
    );
    let server = Server::start(&a.net, "a", 80);
    assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (own, 80)).server, "a");
    drop(server);
    runtime.del(&one, &Call::new(&a));
    runtime.add(&two, &Call::new(&b));
    assert_eq!(
        interfaces(&runtime.host.net)
            .iter()
            .filter(|name| name.starts_with("cni"))
            .count(),
        1
    );
    runtime.check(&two, &Call::new(&b)).unwrap();
    runtime.del(&two, &Call::new(&b));
}

/// A container's port is as its network is, whoever came with the configuration that changed it.
#[test]
fn ports_follow_what_changes_while_containers_are_on_a_network() {
    for (key, said) in [("hairpinMode", "hairpin"), ("portIsolation", "isolated")] {
        let runtime = Runtime::ours();
        let with = |value: bool| {
            let mut plugin = bridge();
            plugin[key] = json!(value);
            list("1.0.0", "net", json!([plugin]))
        };
        let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
        runtime.add(&with(false), &Call::new(&a));
        assert_eq!(port_of(&runtime, &a)[said], false, "{key}");
        for value in [true, false] {
            let list = with(value);
            runtime.add(&list, &Call::new(&b));
            for sandbox in [&a, &b] {
                assert_eq!(port_of(&runtime, sandbox)[said], value, "{key}");
            }
            runtime.check(&list, &Call::new(&a)).unwrap();
            runtime.del(&list, &Call::new(&b));
        }
    }
}

/// What makes a network may change while nobody is on it.
#[test]
fn another_plug_in_makes_a_network_that_nobody_is_on() {
    let runtime = Runtime::ours();
    let [wire, bridged] = [on_the_wire(), bridge()].map(|plugin| list("1.0.0", "net", json!([plugin])));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&wire, &Call::new(&a));
    let refused = runtime.try_add(&bridged, &Call::new(&b)).unwrap_err();
    assert_eq!(refused.code, 100, "{refused:?}");
    assert!(
        refused.printed["msg"].as_str().unwrap().contains("driver macvlan"),
        "{refused:?}"
    );
    runtime.check(&wire, &Call::new(&a)).unwrap();
    runtime.del(&wire, &Call::new(&a));
    runtime.add(&bridged, &Call::new(&b));
    runtime.check(&bridged, &Call::new(&b)).unwrap();
    runtime.del(&bridged, &Call::new(&b));
    runtime.add(&wire, &Call::new(&a));
    runtime.del(&wire, &Call::new(&a));
}
