//! Addresses: the options of `host-local`, within `bridge` and executed by itself.

use std::fs;

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{addresses_of, both, both_ours, bridge, list};
use crate::harness::ip;

both!(
    addresses_are_of_the_range,
    a_set_of_ranges_is_used_one_after_the_other,
    of_each_set_there_is_an_address,
    an_exhausted_range_says_so_and_what_is_freed_can_be_had,
    an_address_can_be_asked_for_in_each_way,
    an_address_that_cannot_be_had_is_refused,
    the_runtime_may_name_the_ranges,
    the_gateway_is_nobodys_address,
    alone_it_only_leases,
    name_servers_come_from_a_file,
    the_networks_own_name_servers_come_first_even_if_there_are_none,
    routes_are_those_that_were_asked_for,
    old_results_have_place_for_one_address_of_each_family,
);

/// A network on a bridge whose addresses are managed so.
fn network(ipam: &Value) -> Value {
    let mut plugin = bridge();
    plugin["ipam"] = ipam.clone();
    plugin["ipam"]["type"] = "host-local".into();
    plugin["capabilities"] = json!({ "ips": true, "ipRanges": true });
    list("1.0.0", "net", json!([plugin]))
}

/// Adds containers until it fails, and says which addresses they have, as `a b`, in order.
fn fill(runtime: &Runtime, list: &Value) -> Vec<String> {
    let mut given = Vec::new();
    for n in 0..20 {
        let sandbox = runtime.sandbox(&format!("fill{n}"));
        match runtime.try_add(list, &Call::new(&sandbox)) {
            Ok(result) => given.push(
                addresses(&result)
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            Err(failure) => {
                assert!(failure.code >= 7, "{failure:?}");
                return given;
            }
        }
    }
    panic!("there are too many addresses: {given:?}");
}

fn addresses_are_of_the_range(runtime: &Runtime) {
    let list = network(&json!({ "ranges": [[{
        "subnet": "10.88.0.0/24", "rangeStart": "10.88.0.100", "rangeEnd": "10.88.0.102", "gateway": "10.88.0.254"
    }]] }));
    assert_eq!(fill(runtime, &list), ["10.88.0.100", "10.88.0.101", "10.88.0.102"]);
    assert_eq!(addresses_of(&runtime.host.net, "cni0"), ["10.88.0.254/24"]);
}

fn a_set_of_ranges_is_used_one_after_the_other(runtime: &Runtime) {
    let mut list = network(&json!({ "ranges": [[
        { "subnet": "10.88.0.0/24", "rangeStart": "10.88.0.10", "rangeEnd": "10.88.0.11" },
        { "subnet": "10.89.0.0/24", "rangeStart": "10.89.0.10", "rangeEnd": "10.89.0.11" }
    ]] }));
    // The reference plug-in has a bridge be the gateway of one subnet only.
    list["plugins"][0]["isGateway"] = json!(false);
    list["plugins"][0]["ipMasq"] = json!(false);
    let mut given = fill(runtime, &list);
    given.sort();
    assert_eq!(given, ["10.88.0.10", "10.88.0.11", "10.89.0.10", "10.89.0.11"]);
}

fn of_each_set_there_is_an_address(runtime: &Runtime) {
    let list = network(&json!({ "ranges": [
        [{ "subnet": "10.88.0.0/24", "rangeStart": "10.88.0.10", "rangeEnd": "10.88.0.11" }],
        [{ "subnet": "fd00:88::/64", "rangeStart": "fd00:88::10", "rangeEnd": "fd00:88::20" }]
    ] }));
    assert_eq!(
        fill(runtime, &list),
        ["10.88.0.10 fd00:88::10", "10.88.0.11 fd00:88::11"]
    );
    // The one that found no IPv4 address holds no IPv6 address: three can be had where three are free.
    assert_eq!(addresses_of(&runtime.host.net, "cni0").len(), 2);
}

fn an_exhausted_range_says_so_and_what_is_freed_can_be_had(runtime: &Runtime) {
    let list = network(&json!({ "ranges": [[{ "subnet": "10.88.0.0/29" }]] }));
    let sandboxes: Vec<_> = (2..7).map(|n| runtime.sandbox(&format!("c{n}"))).collect();
    for sandbox in &sandboxes {
        runtime.add(&list, &Call::new(sandbox));
    }
    let late = runtime.sandbox("late");
    let failure = runtime.try_add(&list, &Call::new(&late)).unwrap_err();
    let message = failure.printed["msg"].as_str().unwrap().to_owned();
    assert!(message.contains("address") || message.contains("IP"), "{message}");
    // The reference plug-in leaves that to DEL.
    assert!(!runtime.is_ours() || super::interfaces(&late.net).is_empty());
    runtime.del(&list, &Call::new(&late));
    let freed = addresses_of(&sandboxes[3].net, "eth0");
    runtime.del(&list, &Call::new(&sandboxes[3]));
    let result = runtime.add(&list, &Call::new(&late));
    assert_eq!(result["ips"][0]["address"], freed[0]);
}

fn an_address_can_be_asked_for_in_each_way(runtime: &Runtime) {
    let list = network(&json!({ "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "fd00:88::/64" }]] }));
    let mut sandboxes = ["args", "capability", "both", "config"]
        .map(|name| runtime.sandbox(name))
        .into_iter();
    let mut next = || sandboxes.next().unwrap();
    let sandbox = next();
    let result = runtime.add(&list, &Call::new(&sandbox).args("IgnoreUnknown=1;IP=10.88.0.70"));
    assert_eq!(addresses(&result)[0], ip("10.88.0.70"));

    let sandbox = next();
    let result = runtime.add(
        &list,
        &Call::new(&sandbox).capabilities(json!({ "ips": ["10.88.0.71"] })),
    );
    assert_eq!(addresses(&result)[0], ip("10.88.0.71"));

    let sandbox = next();
    let wanted = json!({ "ips": ["10.88.0.72/24", "fd00:88::72/64"] });
    let result = runtime.add(&list, &Call::new(&sandbox).capabilities(wanted));
    assert_eq!(addresses(&result), [ip("10.88.0.72"), ip("fd00:88::72")]);

    let sandbox = next();
    let mut list = list;
    list["plugins"][0]["args"] = json!({ "cni": { "ips": ["fd00:88::73"] } });
    let result = runtime.add(&list, &Call::new(&sandbox));
    assert_eq!(addresses(&result)[1], ip("fd00:88::73"));
}

fn an_address_that_cannot_be_had_is_refused(runtime: &Runtime) {
    let list = network(
        &json!({ "ranges": [[{ "subnet": "10.88.0.0/24", "rangeStart": "10.88.0.10", "rangeEnd": "10.88.0.19" }]] }),
    );
    let [first, second] = ["first", "second"].map(|name| runtime.sandbox(name));
    let asking = |address: &str| json!({ "ips": [address] });
    runtime.add(&list, &Call::new(&first).capabilities(asking("10.88.0.12")));
    for wrong in ["10.88.0.12", "10.88.0.1", "10.88.0.30", "10.99.0.1", "fd00::1"] {
        let call = Call::new(&second).capabilities(asking(wrong));
        let failure = runtime.try_add(&list, &call).expect_err(wrong);
        assert!(failure.printed["msg"].as_str().unwrap().contains(wrong), "{failure:?}");
        runtime.del(&list, &call);
    }
    let result = runtime.add(&list, &Call::new(&second).capabilities(asking("10.88.0.13")));
    assert_eq!(addresses(&result), [ip("10.88.0.13")]);
}

fn the_runtime_may_name_the_ranges(runtime: &Runtime) {
    let list = network(&json!({}));
    let sandbox = runtime.sandbox("a");
    let ranges = json!({ "ipRanges": [[{ "subnet": "10.90.0.0/24", "rangeStart": "10.90.0.9" }]] });
    let result = runtime.add(&list, &Call::new(&sandbox).capabilities(ranges.clone()));
    assert_eq!(addresses(&result), [ip("10.90.0.9")]);
    assert_eq!(addresses_of(&sandbox.net, "eth0"), ["10.90.0.9/24"]);
    runtime.del(&list, &Call::new(&sandbox).capabilities(ranges));
}

fn the_gateway_is_nobodys_address(runtime: &Runtime) {
    let list = network(&json!({ "subnet": "10.88.0.0/29", "gateway": "10.88.0.3" }));
    assert_eq!(
        fill(runtime, &list),
        ["10.88.0.1", "10.88.0.2", "10.88.0.4", "10.88.0.5", "10.88.0.6"]
    );
}

fn alone_it_only_leases(runtime: &Runtime) {
    for version in super::VERSIONS {
        let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/30" }]], "routes": [{ "dst": "10.0.0.0/8" }] });
        let config = json!({ "cniVersion": version, "name": "net", "type": "host-local", "ipam": ipam });
        let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
        let result = runtime.single("ADD", &config, &Call::new(&a)).unwrap().unwrap();
        super::shapes::check(&result, version, "");
        assert!(
            result.get("interfaces").is_none(),
            "an IPAM plug-in knows no interfaces: {result:#}"
        );
        assert_eq!(addresses(&result), [ip("10.88.0.2")]);
        assert_eq!(result["ips"][0]["gateway"], "10.88.0.1");
        assert_eq!(result["routes"][0]["dst"], "10.0.0.0/8");
        assert!(super::interfaces(&a.net).is_empty());
        runtime
            .single("ADD", &config, &Call::new(&b))
            .expect_err("there is one address");
        if version != "0.3.1" {
            let mut checked = config.clone();
            checked["prevResult"] = result;
            runtime.single("CHECK", &checked, &Call::new(&a)).unwrap();
            runtime
                .single("CHECK", &checked, &Call::new(&b))
                .expect_err("b has no lease");
        }
        for _ in 0..2 {
            assert!(runtime.single("DEL", &config, &Call::new(&a)).unwrap().is_none());
        }
        let result = runtime.single("ADD", &config, &Call::new(&b)).unwrap().unwrap();
        assert_eq!(addresses(&result), [ip("10.88.0.2")]);
        runtime.single("DEL", &config, &Call::new(&b)).unwrap();
        runtime.end(a);
        runtime.end(b);
    }
}

fn name_servers_come_from_a_file(runtime: &Runtime) {
    let file = runtime.host.scratch().join("resolv.conf");
    fs::write(
        &file,
        "# a comment\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a.example b.example\noptions ndots:2\n",
    )
    .unwrap();
    let ipam = json!({ "type": "host-local", "subnet": "10.88.0.0/24", "resolvConf": file });
    let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "host-local", "ipam": ipam });
    let sandbox = runtime.sandbox("a");
    let result = runtime.single("ADD", &config, &Call::new(&sandbox)).unwrap().unwrap();
    let dns = &result["dns"];
    assert_eq!(dns["nameservers"], json!(["192.0.2.53", "2001:db8::53"]), "{result:#}");
    assert_eq!(dns["search"], json!(["a.example", "b.example"]), "{result:#}");
    assert_eq!(dns["options"], json!(["ndots:2"]), "{result:#}");
}

fn the_networks_own_name_servers_come_first_even_if_there_are_none(runtime: &Runtime) {
    let file = runtime.host.scratch().join("resolv.conf");
    fs::write(&file, "nameserver 192.0.2.53\n").unwrap();
    // Debian's `bridge` does not hand on what `ipam` says of names.
    let ipam = json!({ "type": "host-local", "subnet": "10.88.0.0/24", "resolvConf": file });
    let mut list = list("1.0.0", "net", json!([{ "type": "ptp", "ipam": ipam }]));
    let sandbox = runtime.sandbox("a");
    for (own, resolver) in [
        (json!({}), json!({ "nameservers": ["192.0.2.53"] })),
        (json!({ "domain": "a.example" }), json!({ "domain": "a.example" })),
        (json!({ "nameservers": [] }), json!({})),
    ] {
        list["plugins"][0]["dns"] = own;
        let result = runtime.add(&list, &Call::new(&sandbox));
        assert_eq!(result["dns"], resolver);
        runtime.del(&list, &Call::new(&sandbox));
    }
}

fn routes_are_those_that_were_asked_for(runtime: &Runtime) {
    let list = network(&json!({
        "subnet": "10.88.0.0/24",
        "routes": [{ "dst": "192.0.2.0/24" }, { "dst": "198.51.100.0/24", "gw": "10.88.0.9" }]
    }));
    let sandbox = runtime.sandbox("a");
    let result = runtime.add(&list, &Call::new(&sandbox));
    assert_eq!(result["routes"].as_array().unwrap().len(), 2, "{result:#}");
    let way = |to: &str| sandbox.net.ip_json(&["route", "show", to])[0]["gateway"].clone();
    assert_eq!(way("192.0.2.0/24"), "10.88.0.1");
    assert_eq!(way("198.51.100.0/24"), "10.88.0.9");
    assert_eq!(super::default_gateway(&sandbox.net, "-4"), None);
}

fn old_results_have_place_for_one_address_of_each_family(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    let add = |ranges: Value| {
        let ipam = json!({ "type": "host-local", "ranges": ranges });
        let config = json!({ "cniVersion": "0.2.0", "name": "net", "type": "host-local", "ipam": ipam });
        runtime.single("ADD", &config, &Call::new(&sandbox))
    };
    let [v4, other_v4, v6] =
        ["10.88.0.0/24", "10.89.0.0/24", "fd00:88::/64"].map(|subnet| json!([{ "subnet": subnet }]));
    add(json!([v4, other_v4])).unwrap_err();
    let result = add(json!([v4, v6])).unwrap().unwrap();
    assert_eq!(
        (&result["ip4"]["ip"], &result["ip6"]["ip"]),
        (&json!("10.88.0.2/24"), &json!("fd00:88::2/64"))
    );
}
