//! What is refused, and that nothing is left of it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Host, Snapshot};

use super::{Caller, Sandbox, error, input, network, with};

#[test]
fn input_that_is_none() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let whole = input(2, &[&network(1)]);
    let invalid = error(caller.call(&["setup", "/nowhere/1"], &whole));
    assert_eq!(
        invalid,
        "invalid namespace path: IO error: No such file or directory (os error 2)"
    );
    let file = error(caller.call(&["-f", "/nowhere/1", "setup", &c.path], &Value::Null));
    assert_eq!(
        file,
        "failed to load network options: IO error: No such file or directory (os error 2)"
    );
    for (wrong, words) in [
        (json!({"container_id": "c"}), "missing field `container_name`"),
        (
            with(whole.clone(), json!({"networks": 7})),
            "expected array of network options or map",
        ),
        (
            with(whole.clone(), json!({"network_info": {}})),
            "network info for network n1 not found",
        ),
    ] {
        let refused = caller.refused(&c, &wrong);
        assert!(refused.contains(words), "{refused}");
    }
    let command = host.command(caller.program.to_str().unwrap(), &["setup", &c.path]);
    let without = error(host.finish(command, &whole.to_string()));
    assert_eq!(without, "--config not specified but required for netavark setup");
    // From a file, as well.
    let path = host.scratch().join("input");
    fs::write(&path, whole.to_string()).unwrap();
    caller
        .call(&["setup", &c.path, "--file", path.to_str().unwrap()], &Value::Null)
        .ok();
    caller
        .call(&["teardown", &c.path, "--file", path.to_str().unwrap()], &Value::Null)
        .ok();
}

#[test]
fn networks_that_cannot_be() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let subnet = |subnet: &str, gateway: &str| json!({"subnet": subnet, "gateway": gateway});
    for (changes, words) in [
        (json!({"driver": "banana"}), "unknown network driver \"banana\""),
        (json!({"network_interface": null}), "no bridge interface name given"),
        (
            json!({"options": {"isolate": "maybe"}}),
            "invalid isolate option \"maybe\"",
        ),
        (json!({"options": {"mode": "abc"}}), "invalid bridge mode \"abc\""),
        (json!({"options": {"mtu": "big"}}), "unable to parse \"mtu\""),
        (json!({"options": {"vlan": "5000"}}), "VLAN"),
        (json!({"options": {"vrf": "nowhere0"}}), "nowhere0"),
        (json!({"options": {"outbound_addr4": "fd00::1"}}), "outbound_addr4"),
        (
            json!({"ipam_options": {"driver": "abc"}}),
            "unsupported ipam driver abc",
        ),
        (json!({"ipam_options": {"driver": "dhcp"}}), "dhcp is not supported yet"),
        (
            json!({"subnets": [subnet("10.89.1.0/24", "10.89.1.1"), subnet("10.89.1.0/24", "10.89.1.1")]}),
            "duplicate subnet",
        ),
        (
            json!({"subnets": [subnet("10.89.1.0/24", "10.89.1.1"), subnet("10.89.0.0/16", "10.89.0.1")]}),
            "overlapping subnets",
        ),
        (
            json!({"subnets": [subnet("10.89.7.0/24", "10.89.7.1")]}),
            "not all static IPs matched a subnet",
        ),
        (
            json!({"routes": [{"destination": "10.1.0.0/16"}]}),
            "requires a gateway",
        ),
        (
            json!({"routes": [{"destination": "10.1.0.0/16", "gateway": "fd00::1"}]}),
            "not of one family",
        ),
        (
            json!({"routes": [{"destination": "10.1.0.0/16", "gateway": "10.89.1.7", "route_type": "blackhole"}]}),
            "must not have a gateway",
        ),
        (
            json!({"routes": [{"destination": "10.1.0.0/16", "route_type": "throw"}]}),
            "invalid route type \"throw\"",
        ),
        (
            json!({"routes": [{"destination": "10.1.0.0/16", "gateway": "192.0.2.1"}]}),
            "10.1.0.0/16",
        ),
    ] {
        let mut wanted = input(2, &[&network(1)]);
        let info = &mut wanted["network_info"]["n1"];
        *info = with(info.take(), changes);
        let refused = caller.refused(&c, &wanted);
        assert!(refused.contains(words), "{words:?} is not in {refused:?}");
        before.assert_same(&host);
    }
    for (key, value, words) in [
        ("interface_name", json!(""), "no container interface name given"),
        ("static_mac", json!("banana"), "banana"),
        ("static_ips", Value::Null, "no static ips provided"),
        (
            "options",
            json!({"host_interface_name": "veth7"}),
            "host_interface_name is not supported",
        ),
    ] {
        let mut wanted = input(2, &[&network(1)]);
        wanted["networks"][0][key] = value;
        let refused = caller.refused(&c, &wanted);
        assert!(refused.contains(words), "{words:?} is not in {refused:?}");
        before.assert_same(&host);
    }
}

#[test]
fn an_interface_that_is_there_already() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    c.net.ip("link add eth1 type bridge");
    let before = Snapshot::take(&host);
    // The second network fails, and the first is taken back.
    let refused = caller.refused(&c, &input(2, &[&network(1), &network(2)]));
    assert!(refused.contains("eth1"), "{refused}");
    before.assert_same(&host);
    assert!(
        c.net
            .ip_json(&["link", "show"])
            .iter()
            .all(|link| link["ifname"] != "eth0")
    );
    // Once is enough.
    let wanted = input(2, &[&network(1)]);
    caller.setup(&c, &wanted);
    let refused = caller.refused(&c, &wanted);
    assert!(refused.contains("already"), "{refused}");
    caller.teardown(&c, &wanted);
    before.assert_same(&host);
}

#[test]
fn addresses_of_a_family_that_the_host_has_not() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let switches = [
        "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv6.conf.default.disable_ipv6=1",
    ];
    host.net.output("sysctl", &[&["-q", "-w"], &switches[..]].concat(), "");
    let before = Snapshot::take(&host);
    let refused = caller.refused(&c, &input(2, &[&network(1)]));
    assert!(refused.contains("fd00:89:1::1"), "{refused}");
    before.assert_same(&host);
    let v4 = with(
        network(1),
        json!({"subnets": [{"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"}]}),
    );
    caller.setup(&c, &input(2, &[&v4]));
    caller.teardown(&c, &input(2, &[&v4]));
    before.assert_same(&host);
}
