//! Interfaces on one of the host's: `ipvlan`, where the kernel has it. `macvlan`: [`super::bridge`].

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::{addresses_of, both, both_ours, default_gateway, interfaces};
use crate::harness::{Feature, OUTSIDE_V4, Proto, Server, ip, needs, reaches, until};

both!(
    ipvlan_is_on_the_wire_of_its_master,
    ipvlan_follows_the_plug_in_before_it
);

fn is_on_the_wire(runtime: &Runtime, config: &Value) {
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let result = runtime.single("ADD", config, &call).unwrap().unwrap();
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1, "{result:#}");
    assert_eq!(result["ips"][0]["address"], "203.0.113.100/24");
    assert_eq!(result["ips"][0]["interface"], 0);
    assert_eq!(addresses_of(&sandbox.net, "eth0"), ["203.0.113.100/24"]);
    assert_eq!(default_gateway(&sandbox.net, "-4").unwrap(), OUTSIDE_V4);
    let server = Server::start(&runtime.host.outside, "outside", 80);
    let answer = reaches(&sandbox.net, Proto::Tcp, (ip(OUTSIDE_V4), 80));
    assert_eq!(
        (answer.server.as_str(), answer.source),
        ("outside", ip("203.0.113.100"))
    );
    drop(server);
    let mut after = config.clone();
    after["prevResult"] = result;
    // The reference plug-in's CHECK looks for no master.
    after["master"] = json!("eth0");
    runtime.single("CHECK", &after, &call).unwrap();
    runtime.single("DEL", &after, &call).unwrap();
    until("the interface is gone", || interfaces(&sandbox.net).is_empty());
    runtime.single("DEL", &after, &call).unwrap();
}

fn ipvlan_is_on_the_wire_of_its_master(runtime: &Runtime) {
    if !needs(&[Feature::Ipvlan]) {
        return;
    }
    let range = json!({ "subnet": "203.0.113.0/24", "rangeStart": "203.0.113.100", "gateway": OUTSIDE_V4 });
    let ipam = json!({ "type": "host-local", "ranges": [[range]], "routes": [{ "dst": "0.0.0.0/0" }] });
    let config = json!({
        "cniVersion": "1.0.0", "name": "wire", "type": "ipvlan", "master": "eth0", "mode": "l2", "ipam": ipam
    });
    is_on_the_wire(runtime, &config);
}

/// As where somebody else gives the host an interface, and addresses for it.
fn ipvlan_follows_the_plug_in_before_it(runtime: &Runtime) {
    if !needs(&[Feature::Ipvlan]) {
        return;
    }
    let previous = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "eth0" }],
        "ips": [{ "address": "203.0.113.100/24", "gateway": OUTSIDE_V4, "interface": 0 }],
        "routes": [{ "dst": "0.0.0.0/0" }]
    });
    let config = json!({ "cniVersion": "1.0.0", "name": "wire", "type": "ipvlan", "prevResult": previous });
    is_on_the_wire(runtime, &config);
}
