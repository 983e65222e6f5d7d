//! CHECK: good when all is as ADD left it, and an error when something is not.

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox, execution_config};
use super::{both, both_ours, dual_bridge, list, portmap, ports};

both!(
    what_add_made_is_good,
    an_address_that_was_removed_is_missed,
    a_route_that_was_removed_is_missed,
    an_interface_that_was_removed_is_missed,
    a_bridge_that_was_removed_is_missed,
    the_result_of_something_else_is_noticed,
);

fn dual(runtime: &Runtime, version: &str) -> Value {
    if runtime.is_ours() {
        return list(version, "net", json!([dual_bridge(), portmap()]));
    }
    // The reference portmap of Debian 12 misses rules that it has never made (for IPv6 when it was given IPv4), and its
    // bridge cannot be rid of a rule for an address that somebody removed.
    let mut plugin = dual_bridge();
    plugin["ipMasq"] = json!(false);
    list(version, "net", json!([plugin]))
}

/// Adds a container with a published port, does something to it, and checks it.
fn is_missed(runtime: &Runtime, tamper: impl Fn(&Sandbox)) {
    let versions: &[&str] = if runtime.is_ours() {
        &["0.4.0", "1.0.0", "1.1.0"]
    } else {
        &["0.4.0", "1.0.0"]
    };
    for version in versions {
        let list = dual(runtime, version);
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
        runtime.add(&list, &call);
        runtime.check(&list, &call).unwrap();
        tamper(&sandbox);
        let failure = runtime.check(&list, &call).expect_err("something is missing");
        assert!(failure.code != 1, "CHECK is of this version: {failure:?}");
        runtime.del(&list, &call);
        runtime.end(sandbox);
    }
}

fn what_add_made_is_good(runtime: &Runtime) {
    let list = dual(runtime, "1.0.0");
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let published = [&a, &b]
        .map(|sandbox| Call::new(sandbox).capabilities(ports(&[(8000 + u16::from(sandbox.id.as_bytes()[10]), 80)])));
    for call in &published {
        runtime.add(&list, call);
    }
    for call in published.iter().chain(&published) {
        runtime.check(&list, call).unwrap();
    }
    runtime.del(&list, &published[0]);
    runtime.check(&list, &published[1]).unwrap();
    runtime.del(&list, &published[1]);
}

fn an_address_that_was_removed_is_missed(runtime: &Runtime) {
    is_missed(runtime, |sandbox| sandbox.net.ip("addr flush dev eth0"));
    is_missed(runtime, |sandbox| ip6(sandbox, "addr flush dev eth0 scope global"));
}

fn a_route_that_was_removed_is_missed(runtime: &Runtime) {
    is_missed(runtime, |sandbox| sandbox.net.ip("route del default"));
    is_missed(runtime, |sandbox| ip6(sandbox, "route del default"));
}

/// An `ip` command about IPv6.
fn ip6(sandbox: &Sandbox, command: &str) {
    let words: Vec<&str> = ["-6"].into_iter().chain(command.split(' ')).collect();
    sandbox.net.output("ip", &words, "");
}

fn an_interface_that_was_removed_is_missed(runtime: &Runtime) {
    is_missed(runtime, |sandbox| sandbox.net.ip("link del dev eth0"));
}

fn a_bridge_that_was_removed_is_missed(runtime: &Runtime) {
    is_missed(runtime, |_| runtime.host.net.ip("link del dev cni0"));
}

fn the_result_of_something_else_is_noticed(runtime: &Runtime) {
    let list = dual(runtime, "1.0.0");
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let result = runtime.add(&list, &call);
    let mac = result["interfaces"][2]["mac"].as_str().unwrap().to_owned();
    let check = |result: &Value| {
        let config = execution_config(&list, &list["plugins"][0], &call, Some(result));
        runtime.single("CHECK", &config, &call)
    };
    check(&result).unwrap();
    for (place, value) in [
        ("/interfaces/2/mac", json!("02:00:00:00:00:99")),
        ("/interfaces/2/name", json!("eth7")),
        ("/interfaces/2/sandbox", json!("/run/netns/other")),
        ("/ips/0/address", json!("10.88.0.99/24")),
    ] {
        let mut other = result.clone();
        *other.pointer_mut(place).unwrap() = value;
        check(&other).expect_err(place);
    }
    assert_eq!(
        sandbox.net.ip_json(&["link", "show", "dev", "eth0"])[0]["address"],
        mac.as_str()
    );
}

#[test]
fn a_published_port_that_was_removed_is_missed() {
    let runtime = Runtime::ours();
    is_missed(&runtime, |_| flush_maps(&runtime));
}

/// Deletes the elements of all maps of published ports.
fn flush_maps(runtime: &Runtime) {
    let listed = runtime.host.net.output("nft", &["-j", "list", "maps"], "");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let maps = listed["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|object| object.get("map"));
    let published = maps.filter(|map| map["name"].as_str().unwrap().starts_with("pub") && map.get("elem").is_some());
    let flush: Vec<String> = published
        .map(|map| {
            let text = |key: &str| map[key].as_str().unwrap();
            format!("flush map {} {} {}", text("family"), text("table"), text("name"))
        })
        .collect();
    assert!(!flush.is_empty(), "ports are elements of maps: {listed:#}");
    runtime.host.net.nft(&flush.join("\n"));
}

#[test]
fn a_port_that_left_its_bridge_is_missed() {
    let runtime = Runtime::ours();
    is_missed(&runtime, |_| {
        let ports = runtime.host.net.ip_json(&["link", "show", "master", "cni0"]);
        let port = ports[0]["ifname"].as_str().unwrap();
        runtime.host.net.ip(&format!("link set dev {port} nomaster"));
    });
}

#[test]
fn a_firewall_that_somebody_flushed_is_missed() {
    let runtime = Runtime::ours();
    is_missed(&runtime, |_| runtime.host.net.nft("flush ruleset"));
}

#[test]
fn the_interface_of_another_network_is_none_of_a_networks_business() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let one = list("1.1.0", "one", json!([dual_bridge()]));
    let mut plugin = dual_bridge();
    plugin["bridge"] = json!("cni1");
    plugin["ipam"]["ranges"] = json!([[{ "subnet": "10.89.0.0/24" }]]);
    plugin["ipam"]["routes"] = json!([]);
    let two = list("1.1.0", "two", json!([plugin]));
    runtime.add(&one, &Call::new(&sandbox));
    runtime.add(&two, &Call::new(&sandbox).interface("eth1"));
    sandbox.net.ip("link del dev eth1");
    runtime.check(&one, &Call::new(&sandbox)).unwrap();
    runtime.check(&two, &Call::new(&sandbox).interface("eth1")).unwrap_err();
    runtime.del(&two, &Call::new(&sandbox).interface("eth1"));
    runtime.check(&one, &Call::new(&sandbox)).unwrap();
    runtime.del(&one, &Call::new(&sandbox));
}
