use serde_json::{Value, json};

use zdocker_net::seen::SeenLink;

use super::*;

const ID: &str = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9";

/// A request for a network with these fields beside those that every one has.
fn request(fields: Value) -> Value {
    let mut network = json!({
        "name": "net", "id": ID, "driver": "bridge", "dns_enabled": false, "internal": false, "ipv6_enabled": false,
    });
    let map = network.as_object_mut().unwrap();
    map.extend(fields.as_object().unwrap().clone());
    json!({
        "network": network,
        "used": {
            "interfaces": ["podman1"],
            "names": {"podman": ID, "podman2": ID, "podman3": ID},
            "subnets": ["10.89.0.0/24", "10.89.1.128/25"],
        },
        "options": {
            "subnet_pools": [{"base": "10.89.0.0/16", "size": 24}, {"base": "10.90.0.0/15", "size": 24}],
            "default_interface_name": "podman",
            "check_used_subnets": true,
        },
    })
}

fn answer(fields: Value) -> Result<Value> {
    answer_to(&request(fields))
}

/// On a host with two interfaces, one of them in a subnet of the pools.
fn answer_to(request: &Value) -> Result<Value> {
    let link = |name: &str| SeenLink {
        name: name.parse().unwrap(),
        mac: None,
        mtu: 1500,
    };
    let seen = Seen {
        links: vec![link("eth0"), link("podman4")],
        connected: vec![("eth0".parse().unwrap(), "10.89.2.0/23".parse().unwrap())],
        routes: vec!["10.89.4.0/25".parse().unwrap()],
        ..Seen::default()
    };
    complete(request, &Plugins::new(Vec::new()), seen)
}

/// Checks fields of the answer; `null` stands for none.
#[track_caller]
fn check(fields: Value, expected: Value) {
    let answer = answer(fields.clone()).unwrap_or_else(|error| panic!("{fields}: {error:#}"));
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(
            answer.get(key).unwrap_or(&Value::Null),
            value,
            "{key} of {fields}: {answer}"
        );
    }
}

/// Checks that all of these words are in the error.
#[track_caller]
fn refuse(fields: Value, words: &[&str]) {
    let error = format!("{:#}", answer(fields.clone()).expect_err(&fields.to_string()));
    for word in words {
        assert!(error.contains(word), "{fields}: {word:?} is not in: {error}");
    }
}

#[test]
fn fills_in_what_is_left_open() {
    check(
        json!({}),
        json!({
            "network_interface": "podman5",
            "subnets": [{"gateway": "10.89.5.1", "subnet": "10.89.5.0/24"}],
            "ipam_options": {"driver": "host-local"},
            "ipv6_enabled": false, "options": null, "routes": null, "labels": null,
        }),
    );
    assert!(answer(json!({})).unwrap()["created"].as_str().unwrap().ends_with('Z'));
    check(
        json!({"ipv6_enabled": true}),
        json!({"subnets": [
            {"gateway": "10.89.5.1", "subnet": "10.89.5.0/24"},
            {"gateway": "fd2f:259b:ab93::1", "subnet": "fd2f:259b:ab93::/64"},
        ]}),
    );
    check(
        json!({"ipv6_enabled": true, "subnets": [{"subnet": "fd00:1::/64"}]}),
        json!({"subnets": [
            {"gateway": "fd00:1::1", "subnet": "fd00:1::/64"},
            {"gateway": "10.89.5.1", "subnet": "10.89.5.0/24"},
        ]}),
    );
    check(
        json!({"subnets": [{"subnet": "fd00:1::/64"}]}),
        json!({"ipv6_enabled": true, "subnets": [{"gateway": "fd00:1::1", "subnet": "fd00:1::/64"}]}),
    );
}

#[test]
fn families_are_completed() {
    check(
        json!({"ipv6_enabled": true, "subnets": [{"subnet": "10.1.2.0/24"}]}),
        json!({"subnets": [
            {"gateway": "10.1.2.1", "subnet": "10.1.2.0/24"},
            {"gateway": "fd2f:259b:ab93::1", "subnet": "fd2f:259b:ab93::/64"},
        ]}),
    );
    let both =
        json!([{"subnet": "10.1.2.0/24", "gateway": "10.1.2.1"}, {"subnet": "fd00:1::/64", "gateway": "fd00:1::1"}]);
    check(
        json!({ "subnets": both }),
        json!({"subnets": both, "ipv6_enabled": true}),
    );
}

#[test]
fn an_internal_network_has_a_gateway_only_for_its_name_server() {
    check(
        json!({"internal": true}),
        json!({"internal": true, "subnets": [{"subnet": "10.89.5.0/24"}], "network_interface": "podman5"}),
    );
    let subnet = json!([{"subnet": "10.1.2.0/24"}]);
    check(
        json!({"internal": true, "subnets": subnet}),
        json!({"subnets": [{"subnet": "10.1.2.0/24"}]}),
    );
    check(
        json!({"internal": true, "dns_enabled": true, "subnets": subnet}),
        json!({"subnets": [{"gateway": "10.1.2.1", "subnet": "10.1.2.0/24"}], "dns_enabled": true}),
    );
}

#[test]
fn keeps_what_is_given() {
    let given = json!({
        "network_interface": "br0",
        "subnets": [{"gateway": "10.1.2.254", "subnet": "10.1.2.0/24",
                     "lease_range": {"start_ip": "10.1.2.10", "end_ip": "10.1.2.20"}}],
        "options": {"isolate": "strict", "mtu": "1400", "metric": "200", "no_default_route": "true", "vrf": "red"},
        "routes": [{"destination": "10.5.0.0/16", "gateway": "10.1.2.7", "metric": 5},
                   {"destination": "fd00::/8", "route_type": "blackhole"}],
        "labels": {"a": "b"},
        "dns_enabled": true,
        "network_dns_servers": ["192.0.2.53"],
        "ipam_options": {"driver": "host-local"},
    });
    check(given.clone(), given);
    check(
        json!({"options": {"com.docker.network.driver.mtu": "1300", "com.docker.network.bridge.name": "br1"}}),
        json!({"options": {"mtu": "1300"}, "network_interface": "br1"}),
    );
    check(json!({"unknown": 1}), json!({"unknown": null}));
    for range in [json!({"start_ip": "10.1.2.20"}), json!({"end_ip": "10.1.2.50"})] {
        let subnets = json!([{"gateway": "10.1.2.1", "subnet": "10.1.2.0/24", "lease_range": range}]);
        check(json!({ "subnets": subnets }), json!({ "subnets": subnets }));
    }
    for (driver, options) in [
        ("bridge", json!({"isolate": "true", "mtu": "1500", "vlan": "100"})),
        ("bridge", json!({"vlan": "0"})),
        ("macvlan", json!({"mode": "bridge", "bclim": "-1"})),
        ("macvlan", json!({"mode": "passthru"})),
        ("ipvlan", json!({"mode": "l3s", "metric": "7"})),
    ] {
        check(
            json!({"driver": driver, "options": options, "subnets": [{"subnet": "10.1.2.0/24"}]}),
            json!({ "driver": driver, "options": options }),
        );
    }
}

#[test]
fn networks_without_addresses() {
    check(
        json!({"ipam_options": {"driver": "none"}, "dns_enabled": true}),
        json!({"subnets": null, "dns_enabled": false, "ipam_options": {"driver": "none"}}),
    );
    refuse(
        json!({"ipam_options": {"driver": "none"}, "subnets": [{"subnet": "10.1.2.0/24"}]}),
        &["none", "subnets"],
    );
    refuse(
        json!({"ipam_options": {"driver": "dhcp"}}),
        &["dhcp", "not supported yet"],
    );
    refuse(
        json!({"ipam_options": {"driver": "cloud"}}),
        &["Unsupported ipam driver: cloud"],
    );
}

#[test]
fn a_bridge_of_others_may_be_shared() {
    refuse(
        json!({"network_interface": "podman1"}),
        &["bridge name podman1 already in use"],
    );
    refuse(
        json!({"subnets": [{"subnet": "10.89.0.128/25"}]}),
        &["10.89.0.128/25", "already used"],
    );
    for options in [json!({"mode": "unmanaged"}), json!({"vlan": "7"})] {
        check(
            json!({"network_interface": "podman1", "options": options, "subnets": [{"subnet": "10.89.0.0/24"}]}),
            json!({"network_interface": "podman1"}),
        );
    }
}

#[test]
fn names_and_identifiers_are_checked() {
    refuse(json!({"name": ""}), &["no name"]);
    refuse(json!({"name": "a b"}), &["invalid network name \"a b\""]);
    refuse(json!({"name": "podman"}), &["network already exists podman"]);
    refuse(json!({"id": ""}), &["invalid id"]);
    refuse(json!({"id": "x".repeat(64)}), &["64 hexadecimal digits"]);
    refuse(json!({"id": null}), &["missing field `id`"]);
    refuse(
        json!({"network_interface": "much-too-long-name"}),
        &["much-too-long-name"],
    );
    refuse(json!({"network_interface": "-br"}), &["bridge name -br is invalid"]);
    refuse(
        json!({"network_interface": 7}),
        &["network_interface", "must be a text"],
    );
}

#[test]
fn options_are_checked() {
    for (driver, name, value) in [
        ("bridge", "isolate", "maybe"),
        ("bridge", "mode", "wild"),
        ("bridge", "vlan", "4095"),
        ("bridge", "mtu", "big"),
        ("bridge", "metric", "-1"),
        ("bridge", "no_default_route", "2"),
        ("bridge", "outbound_addr4", "fd00::1"),
        ("bridge", "bclim", "1"),
        ("bridge", "color", "red"),
        ("macvlan", "mode", "l2"),
        ("macvlan", "bclim", "x"),
        ("macvlan", "vrf", "red"),
        ("ipvlan", "mode", "bridge"),
        ("ipvlan", "bclim", "1"),
    ] {
        refuse(
            json!({"driver": driver, "options": {name: value}, "subnets": [{"subnet": "10.1.2.0/24"}]}),
            &[name, "\"net\""],
        );
    }
}

#[test]
fn subnets_are_checked() {
    let refuse_subnet = |subnet: Value, words: &[&str]| refuse(json!({"subnets": [subnet]}), words);
    refuse_subnet(json!({"subnet": "10.1.2.0"}), &["invalid subnet"]);
    refuse_subnet(json!({"gateway": "10.1.2.1"}), &["missing field `subnet`"]);
    refuse_subnet(
        json!({"subnet": "10.1.2.0/24", "gateway": "10.1.3.1"}),
        &["gateway 10.1.3.1 not in subnet"],
    );
    refuse_subnet(
        json!({"subnet": "10.1.2.0/31"}),
        &["could not create gateway for subnet 10.1.2.0/31"],
    );
    refuse_subnet(
        json!({"subnet": "10.1.2.0/32"}),
        &["could not create gateway for subnet 10.1.2.0/32"],
    );
    refuse_subnet(
        json!({"subnet": "fd00::/128"}),
        &["could not create gateway for subnet fd00::/128"],
    );
    let range =
        |start: &str, end: &str| json!({"subnet": "10.1.2.0/24", "lease_range": {"start_ip": start, "end_ip": end}});
    refuse_subnet(range("10.1.3.1", "10.1.2.9"), &["start_ip 10.1.3.1 not in subnet"]);
    refuse_subnet(range("10.1.2.9", "fd00::1"), &["end_ip fd00::1 not in subnet"]);
    refuse_subnet(range("10.1.2.9", "10.1.2.8"), &["comes after"]);
    refuse(
        json!({"subnets": [{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.2.0/24"}]}),
        &["duplicate"],
    );
    refuse(
        json!({"subnets": [{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.0.0/16"}]}),
        &["overlapping"],
    );
}

#[test]
fn routes_are_checked() {
    let refuse_route = |route: Value, words: &[&str]| refuse(json!({"routes": [route]}), words);
    refuse_route(
        json!({"destination": "10.1.2.3/24", "gateway": "10.89.2.7"}),
        &["destination invalid", "10.1.2.0/24"],
    );
    refuse_route(json!({"destination": "10.1.2.0/24"}), &["needs a gateway"]);
    refuse_route(
        json!({"destination": "10.1.2.0", "gateway": "10.89.2.7"}),
        &["10.1.2.0"],
    );
    refuse_route(json!({"destination": "10.1.2.0/24", "gateway": "nobody"}), &["nobody"]);
    refuse_route(
        json!({"destination": "10.1.2.0/24", "gateway": "fd00::1"}),
        &["other address family"],
    );
    refuse_route(
        json!({"destination": "10.1.2.0/24", "gateway": "10.89.2.7", "route_type": "prohibit"}),
        &["must not have a gateway"],
    );
    refuse_route(
        json!({"destination": "10.1.2.0/24", "route_type": "warp"}),
        &["invalid route type \"warp\""],
    );
    refuse_route(
        json!({"destination": "10.1.2.0/24", "gateway": "10.89.2.7", "metric": -1}),
        &["metric"],
    );
}

#[test]
fn macvlan_and_ipvlan() {
    for driver in ["macvlan", "ipvlan"] {
        let of = |fields: Value| {
            let mut fields = fields;
            fields["driver"] = driver.into();
            fields
        };
        // Their subnets are those of a network outside, which others may have, too.
        check(
            of(json!({"dns_enabled": true, "subnets": [{"subnet": "10.89.0.0/24"}], "network_interface": "eth0"})),
            json!({"dns_enabled": false, "network_interface": "eth0", "ipam_options": {"driver": "host-local"}}),
        );
        check(
            of(json!({"ipam_options": {"driver": "none"}})),
            json!({"subnets": null}),
        );
        refuse(of(json!({})), &["needs a subnet", "DHCP is not supported yet"]);
        refuse(
            of(json!({"network_interface": "missing0", "subnets": [{"subnet": "10.1.2.0/24"}]})),
            &["parent interface missing0 does not exist"],
        );
    }
}

#[test]
fn servers_need_a_name_server_to_ask_them() {
    refuse(json!({"network_dns_servers": ["192.0.2.53"]}), &["DNS is not enabled"]);
    refuse(
        json!({"dns_enabled": true, "network_dns_servers": ["example"]}),
        &["network_dns_servers", "\"example\""],
    );
}

#[test]
fn pools_are_checked() {
    for (base, size) in [("10.0.0.0/8", 33), ("10.0.0.0/24", 16)] {
        let mut request = request(json!({}));
        request["options"]["subnet_pools"] = json!([{"base": base, "size": size}]);
        let error = answer_to(&request).unwrap_err();
        assert!(error.to_string().contains("invalid size"), "{error:#}");
    }
    let mut request = request(json!({}));
    request["options"]["subnet_pools"] = json!([{"base": "10.89.0.0/24", "size": 24}]);
    let error = answer_to(&request).unwrap_err();
    assert!(error.to_string().contains("no IPv4 subnet"), "{error:#}");
}
