//! `firewall`: who is kept from whom.

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox};
use super::{addresses_of, both, both_ours, list};
use crate::harness::{NetNs, Proto, Server, does_not_reach, ip, reaches};

both!(
    bridges_are_kept_apart_if_both_say_so,
    nothing_is_kept_out_if_nothing_is_said,
);

/// A network on a bridge of its own with this policy.
fn network(number: u8, policy: &str) -> Value {
    let bridge = json!({
        "type": "bridge",
        "bridge": format!("cni{number}"),
        "isGateway": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": format!("10.{number}.0.0/24") }]],
            "routes": [{ "dst": "0.0.0.0/0" }]
        }
    });
    let firewall = json!({ "type": "firewall", "ingressPolicy": policy });
    list("1.0.0", &format!("net{number}"), json!([bridge, firewall]))
}

fn address(net: &NetNs) -> std::net::IpAddr {
    ip(addresses_of(net, "eth0")[0].split('/').next().unwrap())
}

fn plugged(runtime: &Runtime, name: &str, network: &Value) -> Sandbox {
    let sandbox = runtime.sandbox(name);
    runtime.add(network, &Call::new(&sandbox));
    sandbox
}

fn bridges_are_kept_apart_if_both_say_so(runtime: &Runtime) {
    let [a, b, open] =
        [(1, "same-bridge"), (2, "same-bridge"), (3, "open")].map(|(number, policy)| network(number, policy));
    let [a1, a2] = ["a1", "a2"].map(|name| plugged(runtime, name, &a));
    let (b, c) = (plugged(runtime, "b", &b), plugged(runtime, "c", &open));
    let _servers = [&a1, &b, &c].map(|sandbox| Server::start(&sandbox.net, &sandbox.id, 80));
    let a1_address = (address(&a1.net), 80);
    assert_eq!(reaches(&a2.net, Proto::Tcp, a1_address).server, a1.id);
    assert_eq!(reaches(&c.net, Proto::Tcp, a1_address).server, a1.id);
    assert_eq!(reaches(&a1.net, Proto::Tcp, (address(&c.net), 80)).server, c.id);
    does_not_reach(&b.net, Proto::Tcp, a1_address);
    does_not_reach(&a1.net, Proto::Tcp, (address(&b.net), 80));
    runtime.check(&a, &Call::new(&a1)).unwrap();
}

fn nothing_is_kept_out_if_nothing_is_said(runtime: &Runtime) {
    let [a, b] = [(1, "open"), (2, "open")].map(|(number, policy)| network(number, policy));
    let (a, b) = (plugged(runtime, "a", &a), plugged(runtime, "b", &b));
    let _server = Server::start(&a.net, "a", 80);
    assert_eq!(reaches(&b.net, Proto::Tcp, (address(&a.net), 80)).server, "a");
}

#[test]
fn neighbours_are_kept_apart_as_well() {
    let runtime = Runtime::ours();
    let list = network(1, "isolated");
    let [a, b] = ["a", "b"].map(|name| plugged(&runtime, name, &list));
    let _server = Server::start(&a.net, "a", 80);
    assert_eq!(
        reaches(&runtime.host.net, Proto::Tcp, (address(&a.net), 80)).server,
        "a"
    );
    does_not_reach(&b.net, Proto::Tcp, (address(&a.net), 80));
    // Another policy later is the one that counts.
    let c = plugged(&runtime, "c", &network(1, "open"));
    assert_eq!(reaches(&c.net, Proto::Tcp, (address(&a.net), 80)).server, "a");
    assert_eq!(reaches(&b.net, Proto::Tcp, (address(&a.net), 80)).server, "a");
}

#[test]
fn what_cannot_be_is_refused() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let result = runtime.add(&list("1.0.0", "net", json!([super::bridge()])), &call);
    for (plugin, code) in [
        (json!({ "ingressPolicy": "shut" }), 7),
        (json!({ "backend": "pf" }), 7),
        (json!({ "backend": "firewalld" }), 2),
    ] {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "firewall", "prevResult": result.clone()
        });
        config
            .as_object_mut()
            .unwrap()
            .extend(plugin.as_object().unwrap().clone());
        assert_eq!(runtime.single("ADD", &config, &call).unwrap_err().code, code);
    }
    let alone = json!({ "cniVersion": "1.0.0", "name": "net", "type": "firewall" });
    assert_eq!(runtime.single("ADD", &alone, &call).unwrap_err().code, 7);
    runtime.single("DEL", &alone, &call).unwrap();
}

/// Where there is no bridge, nobody would be kept out.
#[test]
fn a_policy_that_cannot_be_kept_is_refused() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    for main in [json!({ "type": "macvlan", "master": "eth0" }), json!({ "type": "ptp" })] {
        let mut main = main;
        main["ipam"] = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]] });
        let name = main["type"].as_str().unwrap();
        let alone = list("1.0.0", name, json!([main.clone()]));
        let config = |policy: &str, result: &Value| {
            json!({
                "cniVersion": "1.0.0", "name": name, "type": "firewall", "ingressPolicy": policy, "prevResult": result
            })
        };
        let result = runtime.add(&alone, &call);
        for policy in ["same-bridge", "isolated"] {
            let refused = runtime.single("ADD", &config(policy, &result), &call);
            assert_eq!(refused.unwrap_err().code, 2, "{main} {policy}");
        }
        runtime.single("ADD", &config("open", &result), &call).unwrap();
        runtime.del(&alone, &call);
    }
}
