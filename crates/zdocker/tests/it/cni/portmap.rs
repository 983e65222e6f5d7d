//! `portmap` behind other plug-ins than ours, and what it refuses. Behind our own: [`super::chain`].

use serde_json::{Value, json};

use super::driver::{Call, Runtime, execution_config};
use super::{bridge, dual_bridge, list, portmap, ports};
use crate::harness::{HOST_V4, HOST_V6, OUTSIDE_V4, Proto, Server, UdpFlow, does_not_reach, ip, reaches, until};

fn chain(mut first: Value) -> Value {
    first["hairpinMode"] = json!(true);
    let limits = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    list("1.0.0", "net", json!([first, portmap(), limits]))
}

/// Whether any table of ours is loaded on the host.
fn has_tables(runtime: &Runtime) -> bool {
    let tables = runtime.host.net.output("nft", &["list", "tables"], "");
    tables.contains("zdocker")
}

#[test]
fn ports_of_somebody_elses_bridge() {
    let Some(runtime) = Runtime::mixed() else { return };
    let list = chain(dual_bridge());
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let call = Call::new(&a).capabilities(ports(&[(8080, 80)]));
    runtime.add(&list, &call);
    runtime.add(&list, &Call::new(&b));
    let _server = Server::start(&a.net, "a", 80);
    let answer = reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    assert_eq!((answer.server.as_str(), answer.source), ("a", ip(OUTSIDE_V4)));
    for (net, address) in [
        (&runtime.host.outside, HOST_V6),
        (&runtime.host.net, HOST_V4),
        (&runtime.host.net, "127.0.0.1"),
        (&b.net, HOST_V4),
        (&a.net, HOST_V4),
        (&b.net, HOST_V6),
    ] {
        assert_eq!(reaches(net, Proto::Tcp, (ip(address), 8080)).server, "a", "{address}");
    }
    runtime.check(&list, &call).unwrap();
    runtime.del(&list, &call);
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    until("the tables go with the last port", || !has_tables(&runtime));
}

#[test]
fn ports_of_somebody_elses_pair() {
    let Some(runtime) = Runtime::mixed() else { return };
    let first = json!({
        "type": "ptp",
        "ipam": { "type": "host-local", "subnet": "10.77.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }] }
    });
    let list = chain(first);
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    runtime.add(&list, &call);
    let _server = Server::start(&sandbox.net, "a", 80);
    for (net, address) in [
        (&runtime.host.outside, HOST_V4),
        (&runtime.host.net, "127.0.0.1"),
        (&sandbox.net, HOST_V4),
    ] {
        assert_eq!(reaches(net, Proto::Tcp, (ip(address), 8080)).server, "a", "{address}");
    }
    runtime.end(sandbox);
    runtime.del(&list, &Call::without_namespace("container-a", None));
    until("the tables go with the last port", || !has_tables(&runtime));
}

#[test]
fn ports_and_limits_of_one_interface_go_each_by_itself() {
    let Some(runtime) = Runtime::mixed() else { return };
    let list = chain(bridge());
    let sandbox = runtime.sandbox("a");
    let mut wanted = ports(&[(8080, 80)]);
    wanted["bandwidth"] = json!({ "ingressRate": 80_000_000, "ingressBurst": 800_000 });
    let call = Call::new(&sandbox).capabilities(wanted);
    let result = runtime.add(&list, &call);
    let _server = Server::start(&sandbox.net, "a", 80);
    let limited = || runtime.host.net.output("tc", &["qdisc", "show"], "").contains("tbf");
    let is_published = || reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server == "a";
    let one = |verb: &str, number: usize| {
        let config = execution_config(&list, &list["plugins"][number], &call, Some(&result));
        runtime.single(verb, &config, &call).unwrap();
    };
    assert!(limited() && is_published());
    one("DEL", 2);
    assert!(!limited() && is_published());
    one("ADD", 2);
    one("DEL", 1);
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    assert!(limited());
    one("ADD", 1);
    assert!(limited() && is_published());
    runtime.del(&list, &call);
    assert!(!limited());
    until("the tables go with the last of it", || !has_tables(&runtime));
}

#[test]
fn udp_flows_take_their_new_way_at_once() {
    let runtime = Runtime::ours();
    let list = list("1.0.0", "net", json!([bridge(), portmap()]));
    let sandbox = runtime.sandbox("a");
    let _server = Server::start(&sandbox.net, "a", 53);
    let flow = UdpFlow::open(&runtime.host.outside, (ip(HOST_V4), 5353).into());
    flow.is_silent();
    let mapping = json!({ "portMappings": [{ "hostPort": 5353, "containerPort": 53, "protocol": "UDP" }] });
    let call = Call::new(&sandbox).capabilities(mapping);
    let result = runtime.add(&list, &call);
    assert_eq!(flow.answer().server, "a");
    let config = execution_config(&list, &list["plugins"][1], &call, Some(&result));
    runtime.single("DEL", &config, &call).unwrap();
    flow.is_silent();
}

#[test]
fn what_cannot_be_is_refused() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let result = runtime.add(&list("1.0.0", "net", json!([bridge()])), &call);
    let mapping = |mapping: Value| json!({ "runtimeConfig": { "portMappings": [mapping] } });
    let right = json!({ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" });
    for (plugin, code) in [
        (
            mapping(json!({ "hostPort": 0, "containerPort": 80, "protocol": "tcp" })),
            7,
        ),
        (mapping(json!({ "hostPort": 8080, "protocol": "tcp" })), 7),
        (
            mapping(json!({ "hostPort": 65536, "containerPort": 80, "protocol": "tcp" })),
            7,
        ),
        (
            mapping(json!({ "hostPort": 8080, "containerPort": 80, "protocol": "icmp" })),
            7,
        ),
        (
            mapping(json!({ "hostPort": 8080, "containerPort": 80, "hostIP": "here" })),
            7,
        ),
        (
            json!({ "conditionsV4": ["!", "-d", "192.0.2.0/24"], "runtimeConfig": { "portMappings": [right] } }),
            2,
        ),
        (json!({ "markMasqBit": 32 }), 7),
        (json!({ "markMasqBit": 3, "externalSetMarkChain": "X" }), 7),
        (json!({ "backend": "pf" }), 7),
    ] {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result.clone()
        });
        config
            .as_object_mut()
            .unwrap()
            .extend(plugin.as_object().unwrap().clone());
        let failure = runtime.single("ADD", &config, &call).unwrap_err();
        assert_eq!(failure.code, code, "{plugin}: {:?}", failure.printed);
    }
}
