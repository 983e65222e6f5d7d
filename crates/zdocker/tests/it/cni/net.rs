//! `zdocker-net`: all that a chain does, by one plug-in.

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox};
use super::shapes::addresses;
use super::{addresses_of, default_gateway, interfaces, list};
use crate::harness::{
    HOST_V4, HOST_V6, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, does_not_reach, ip, reaches, until,
};

/// A network of both families on `bridge`, with `more` in its configuration.
fn network(name: &str, number: u8, more: Value) -> Value {
    let mut plugin = json!({
        "type": "zdocker-net",
        "bridge": format!("zd{number}"),
        "ipam": { "ranges": [
            [{ "subnet": format!("10.{number}.0.0/24") }],
            [{ "subnet": format!("fd00:{number}::/64") }]
        ] },
        "capabilities": {
            "portMappings": true, "bandwidth": true, "ips": true, "mac": true, "dns": true, "aliases": true, "ipRanges": true
        }
    });
    plugin
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    list("1.1.0", name, json!([plugin]))
}

fn published(port: u16) -> Value {
    json!({ "portMappings": [{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }] })
}

/// Ends containers and their networks; then the host is as before.
fn all_ends(runtime: &Runtime, before: &Snapshot, networks: &[&Value], sandboxes: Vec<(&Value, Sandbox)>) {
    for (list, sandbox) in sandboxes {
        runtime.del(list, &Call::new(&sandbox));
        runtime.end(sandbox);
    }
    for list in networks {
        runtime.gc(list, &[]).unwrap();
    }
    before.assert_same(&runtime.host);
}

#[test]
fn one_plug_in_does_all() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let list = network("net", 1, json!({ "mtu": 1400, "dns": { "domain": "example" } }));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let wanted = json!({
        "portMappings": [
            { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
            { "hostPort": 5353, "containerPort": 80, "protocol": "udp" }
        ],
        "ips": ["10.1.0.50"],
        "mac": "02:11:22:33:44:55",
        "dns": { "servers": ["192.0.2.53"], "searches": ["a.example"] },
        "bandwidth": { "ingressRate": 100_000_000, "ingressBurst": 1_000_000 }
    });
    let call = Call::new(&a).capabilities(wanted);
    let result = runtime.add(&list, &call);
    runtime.add(&list, &Call::new(&b));
    assert_eq!(addresses(&result)[0], ip("10.1.0.50"));
    assert_eq!(addresses_of(&a.net, "eth0")[0], "10.1.0.50/24");
    let link = &a.net.ip_json(&["link", "show", "dev", "eth0"])[0];
    assert_eq!(
        (&link["address"], &link["mtu"]),
        (&json!("02:11:22:33:44:55"), &json!(1400))
    );
    let dns = &result["dns"];
    assert_eq!(dns["nameservers"], json!(["192.0.2.53"]), "{result:#}");
    assert_eq!(
        (&dns["search"], &dns["domain"]),
        (&json!(["a.example"]), &json!("example")),
        "{result:#}"
    );
    assert_eq!(default_gateway(&a.net, "-4").unwrap(), "10.1.0.1");
    assert_eq!(default_gateway(&a.net, "-6").unwrap(), "fd00:1::1");

    let servers = [
        Server::start(&a.net, "a", 80),
        Server::start(&runtime.host.outside, "outside", 80),
    ];
    for host in [HOST_V4, HOST_V6].map(ip) {
        let answer = reaches(&runtime.host.outside, Proto::Tcp, (host, 8080));
        assert_eq!(answer.server, "a");
        assert_eq!(reaches(&runtime.host.outside, Proto::Udp, (host, 5353)).server, "a");
        assert_eq!(reaches(&b.net, Proto::Tcp, (host, 8080)).server, "a");
        assert_eq!(reaches(&a.net, Proto::Tcp, (host, 8080)).server, "a");
    }
    for (outside, host) in [(OUTSIDE_V4, HOST_V4), (OUTSIDE_V6, HOST_V6)] {
        assert_eq!(reaches(&a.net, Proto::Tcp, (ip(outside), 80)).source, ip(host));
    }
    for address in addresses(&result) {
        assert_eq!(reaches(&b.net, Proto::Tcp, (address, 80)).server, "a");
    }
    let ports = runtime.host.net.ip_json(&["link", "show", "master", "zd1"]);
    let limited = |port: &Value| {
        let shown = runtime
            .host
            .net
            .output("tc", &["qdisc", "show", "dev", port["ifname"].as_str().unwrap()], "");
        shown.contains("tbf")
    };
    assert_eq!(
        ports.iter().filter(|port| limited(port)).count(),
        1,
        "one of the two is limited"
    );
    runtime.check(&list, &call).unwrap();
    drop(servers);
    all_ends(&runtime, &before, &[&list], vec![(&list, a), (&list, b)]);
}

#[test]
fn it_is_closed_where_the_reference_is_open() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let (one, two) = (network("one", 1, json!({})), network("two", 2, json!({})));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let own = addresses(&runtime.add(&one, &Call::new(&a).capabilities(published(8080))));
    runtime.add(&two, &Call::new(&b));
    let server = Server::start(&a.net, "a", 80);
    runtime.host.outside.ip(&format!("route add 10.1.0.0/24 via {HOST_V4}"));
    // Not by the container's own address, neither from outside nor from another network; by what is published, yes.
    does_not_reach(&runtime.host.outside, Proto::Tcp, (own[0], 80));
    for address in &own {
        does_not_reach(&b.net, Proto::Tcp, (*address, 80));
        assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (*address, 80)).server, "a");
    }
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "a"
    );
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
    drop(server);
    all_ends(&runtime, &before, &[&one, &two], vec![(&one, a), (&two, b)]);
}

#[test]
fn strict_isolation_closes_what_is_published_to_other_networks() {
    let runtime = Runtime::ours();
    let one = network("one", 1, json!({ "isolation": "strict" }));
    let two = network("two", 2, json!({}));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&one, &Call::new(&a).capabilities(published(8080)));
    runtime.add(&two, &Call::new(&b));
    let _server = Server::start(&a.net, "a", 80);
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "a"
    );
    does_not_reach(&b.net, Proto::Tcp, (ip(HOST_V4), 8080));
}

#[test]
fn networks_without_isolation_reach_each_other() {
    let runtime = Runtime::ours();
    let open = json!({ "isolation": "none", "gatewayMode": "nat-unprotected" });
    let (one, two) = (network("one", 1, open.clone()), network("two", 2, open));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let own = addresses(&runtime.add(&one, &Call::new(&a)));
    runtime.add(&two, &Call::new(&b));
    let _server = Server::start(&a.net, "a", 80);
    for address in own {
        assert_eq!(reaches(&b.net, Proto::Tcp, (address, 80)).server, "a");
    }
}

#[test]
fn an_internal_network_has_no_way_out() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let list = network("net", 1, json!({ "internal": true }));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let own = addresses(&runtime.add(&list, &Call::new(&a)));
    runtime.add(&list, &Call::new(&b));
    assert_eq!(
        (default_gateway(&a.net, "-4"), default_gateway(&a.net, "-6")),
        (None, None)
    );
    let servers = [
        Server::start(&a.net, "a", 80),
        Server::start(&runtime.host.outside, "outside", 80),
    ];
    assert_eq!(reaches(&b.net, Proto::Tcp, (own[0], 80)).server, "a");
    b.net.ip("route add default via 10.1.0.1");
    does_not_reach(&b.net, Proto::Tcp, (ip(OUTSIDE_V4), 80));
    drop(servers);
    all_ends(&runtime, &before, &[&list], vec![(&list, a), (&list, b)]);
}

#[test]
fn neighbours_may_be_kept_apart() {
    let runtime = Runtime::ours();
    let list = network("net", 1, json!({ "portIsolation": true }));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let own = addresses(&runtime.add(&list, &Call::new(&a)));
    runtime.add(&list, &Call::new(&b));
    let _servers = [
        Server::start(&a.net, "a", 80),
        Server::start(&runtime.host.outside, "outside", 80),
    ];
    does_not_reach(&b.net, Proto::Tcp, (own[0], 80));
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).server, "outside");
}

#[test]
fn ports_are_published_where_the_configuration_says() {
    let runtime = Runtime::ours();
    let list = network("net", 1, json!({ "hostBinding": "127.0.0.1" }));
    let sandbox = runtime.sandbox("a");
    runtime.add(&list, &Call::new(&sandbox).capabilities(published(8080)));
    let _server = Server::start(&sandbox.net, "a", 80);
    assert_eq!(
        reaches(&runtime.host.net, Proto::Tcp, (ip("127.0.0.1"), 8080)).server,
        "a"
    );
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
}

#[test]
fn packets_leave_by_the_address_that_the_configuration_says() {
    let runtime = Runtime::ours();
    runtime.host.net.ip("addr add 203.0.113.9/24 dev eth0");
    let list = network("net", 1, json!({ "outbound": ["203.0.113.9"] }));
    let sandbox = runtime.sandbox("a");
    runtime.add(&list, &Call::new(&sandbox));
    let _server = Server::start(&runtime.host.outside, "outside", 80);
    let answer = reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80));
    assert_eq!(answer.source, ip("203.0.113.9"));
    assert_eq!(
        reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V6), 80)).source,
        ip(HOST_V6)
    );
}

#[test]
fn a_network_goes_with_its_last_container_if_it_is_to() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let list = network("net", 1, json!({ "removeUnused": true }));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&list, &Call::new(&a).capabilities(published(8080)));
    runtime.add(&list, &Call::new(&b));
    runtime.del(&list, &Call::new(&a));
    assert_eq!(addresses_of(&runtime.host.net, "zd1").len(), 2, "b is on it");
    runtime.del(&list, &Call::new(&b));
    until("the bridge is gone", || interfaces(&runtime.host.net) == ["eth0"]);
    runtime.end(a);
    runtime.end(b);
    before.assert_same(&runtime.host);
}

#[test]
fn it_is_on_the_wire_of_a_parent_too() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let plugin = json!({
        "type": "zdocker-net", "driver": "macvlan", "master": "eth0",
        "ipam": { "subnet": "203.0.113.0/24", "rangeStart": "203.0.113.100", "gateway": OUTSIDE_V4 }
    });
    let list = list("1.1.0", "net", json!([plugin]));
    let sandbox = runtime.sandbox("a");
    let own = addresses(&runtime.add(&list, &Call::new(&sandbox)))[0];
    let server = Server::start(&runtime.host.outside, "outside", 80);
    assert_eq!(reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source, own);
    runtime.check(&list, &Call::new(&sandbox)).unwrap();
    drop(server);
    all_ends(&runtime, &before, &[&list], vec![(&list, sandbox)]);
}

#[test]
fn a_key_that_is_mistyped_is_refused() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let sandbox = runtime.sandbox("a");
    for (more, code, word) in [
        (json!({ "isolations": "strict" }), 2, "isolations"),
        (json!({ "isolation": "some" }), 7, "isolation"),
        (json!({ "driver": "host" }), 7, "driver"),
        (json!({ "hostBinding": "here" }), 7, "hostBinding"),
    ] {
        let list = network("net", 1, more);
        let failure = runtime.try_add(&list, &Call::new(&sandbox)).unwrap_err();
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.printed["msg"].as_str().unwrap().contains(word), "{failure:?}");
    }
    runtime.end(sandbox);
    before.assert_same(&runtime.host);
}
