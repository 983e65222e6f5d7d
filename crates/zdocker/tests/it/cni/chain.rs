//! The list that most have: a bridge, addresses by `host-local` and published ports by `portmap`; by real traffic.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{both, both_ours, bridge, dual_bridge, list, portmap, ports, with_version};
use crate::harness::{HOST_V4, HOST_V6, OUTSIDE_V4, Proto, Server, Snapshot, does_not_reach, ip, reaches};

both!(
    a_published_port_is_reached_from_everywhere,
    udp_and_ipv6_are_published_too,
    a_port_of_one_address_is_published_there_alone,
    no_address_in_particular_is_all_of_its_family,
    ports_go_with_their_container,
    a_capability_that_is_not_declared_is_not_passed,
    what_is_passed_on_is_what_came,
);

fn chain() -> Value {
    let mut first = dual_bridge();
    first["hairpinMode"] = json!(true);
    list("1.0.0", "net", json!([first, portmap()]))
}

fn a_published_port_is_reached_from_everywhere(runtime: &Runtime) {
    let list = chain();
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&list, &Call::new(&a).capabilities(ports(&[(8080, 80), (8081, 80)])));
    runtime.add(&list, &Call::new(&b));
    let _server = Server::start(&a.net, "a", 80);
    for port in [8080, 8081] {
        let answer = reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), port));
        assert_eq!((answer.server.as_str(), answer.source), ("a", ip(OUTSIDE_V4)));
        // The host itself, by its address and by its loopback interface.
        assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (ip(HOST_V4), port)).server, "a");
        assert_eq!(
            reaches(&runtime.host.net, Proto::Tcp, (ip("127.0.0.1"), port)).server,
            "a"
        );
        // A neighbour, and the container itself.
        assert_eq!(reaches(&b.net, Proto::Tcp, (ip(HOST_V4), port)).server, "a");
        assert_eq!(reaches(&a.net, Proto::Tcp, (ip(HOST_V4), port)).server, "a");
    }
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8082));
    does_not_reach(&runtime.host.outside, Proto::Udp, (ip(HOST_V4), 8080));
}

fn udp_and_ipv6_are_published_too(runtime: &Runtime) {
    let list = chain();
    let sandbox = runtime.sandbox("a");
    let mappings = json!({ "portMappings": [
        { "hostPort": 5353, "containerPort": 53, "protocol": "udp" },
        { "hostPort": 5354, "containerPort": 53, "protocol": "tcp" }
    ] });
    runtime.add(&list, &Call::new(&sandbox).capabilities(mappings));
    let _server = Server::start(&sandbox.net, "a", 53);
    for host in [HOST_V4, HOST_V6].map(ip) {
        assert_eq!(reaches(&runtime.host.outside, Proto::Udp, (host, 5353)).server, "a");
        assert_eq!(reaches(&runtime.host.outside, Proto::Tcp, (host, 5354)).server, "a");
        does_not_reach(&runtime.host.outside, Proto::Tcp, (host, 5353));
    }
}

fn a_port_of_one_address_is_published_there_alone(runtime: &Runtime) {
    let list = chain();
    let sandbox = runtime.sandbox("a");
    let second: IpAddr = ip("203.0.113.9");
    runtime.host.net.ip(&format!("addr add {second}/24 dev eth0"));
    let mappings = json!({ "portMappings": [
        { "hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": second.to_string() }
    ] });
    let call = Call::new(&sandbox).capabilities(mappings);
    runtime.add(&list, &call);
    let _server = Server::start(&sandbox.net, "a", 80);
    assert_eq!(reaches(&runtime.host.outside, Proto::Tcp, (second, 8080)).server, "a");
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
}

/// As nerdctl says it, and those who publish for the host itself alone.
fn no_address_in_particular_is_all_of_its_family(runtime: &Runtime) {
    let list = chain();
    let sandbox = runtime.sandbox("a");
    let at =
        |host: &str, port: u16| json!({ "hostPort": port, "containerPort": 80, "protocol": "tcp", "hostIP": host });
    let mappings =
        json!({ "portMappings": [at("0.0.0.0", 8080), at("::", 8081), at("127.0.0.1", 8082), at("", 8083)] });
    runtime.add(&list, &Call::new(&sandbox).capabilities(mappings));
    let _server = Server::start(&sandbox.net, "a", 80);
    let outside = &runtime.host.outside;
    for (host, reached, silent) in [
        (HOST_V4, [8080, 8083], [8081, 8082]),
        (HOST_V6, [8081, 8083], [8080, 8082]),
    ] {
        for port in reached {
            assert_eq!(reaches(outside, Proto::Tcp, (ip(host), port)).server, "a");
        }
        for port in silent {
            does_not_reach(outside, Proto::Tcp, (ip(host), port));
        }
    }
    for port in [8080, 8082] {
        assert_eq!(
            reaches(&runtime.host.net, Proto::Tcp, (ip("127.0.0.1"), port)).server,
            "a"
        );
    }
}

fn ports_go_with_their_container(runtime: &Runtime) {
    let list = chain();
    let before = Snapshot::take(&runtime.host);
    for _ in 0..2 {
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
        runtime.add(&list, &call);
        let server = Server::start(&sandbox.net, "a", 80);
        assert_eq!(
            reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
            "a"
        );
        drop(server);
        runtime.del(&list, &call);
        does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
        runtime.end(sandbox);
    }
    if runtime.is_ours() {
        runtime.gc(&with_version(&list, "1.1.0"), &[]).unwrap();
    }
    runtime.assert_as_before(&before);
}

fn a_capability_that_is_not_declared_is_not_passed(runtime: &Runtime) {
    let mut silent = portmap();
    silent.as_object_mut().unwrap().remove("capabilities");
    let list = list("1.0.0", "net", json!([bridge(), silent]));
    let sandbox = runtime.sandbox("a");
    runtime.add(&list, &Call::new(&sandbox).capabilities(ports(&[(8080, 80)])));
    let _server = Server::start(&sandbox.net, "a", 80);
    let own = super::addresses_of(&sandbox.net, "eth0")[0]
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (ip(&own), 80)).server, "a");
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
}

/// A plug-in in a chain returns what it was given, with what it added.
fn what_is_passed_on_is_what_came(runtime: &Runtime) {
    for version in super::VERSIONS {
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
        let list = list(version, "net", json!([bridge()]));
        let first = runtime.add(&list, &call);
        let mut config = json!({ "cniVersion": version, "name": "net", "type": "portmap", "prevResult": first });
        config["runtimeConfig"] = ports(&[(8080, 80)]);
        let passed = runtime.single("ADD", &config, &call).unwrap().unwrap();
        assert_eq!(passed, first);
        runtime.single("DEL", &config, &call).unwrap();
        runtime.single("DEL", &config, &call).unwrap();
        runtime.del(&list, &call);
        runtime.end(sandbox);
    }
}

#[test]
fn a_port_that_another_container_has_is_refused() {
    let runtime = Runtime::ours();
    let list = chain();
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&list, &Call::new(&a).capabilities(ports(&[(8080, 80)])));
    let call = Call::new(&b).capabilities(ports(&[(8080, 80)]));
    let failure = runtime.try_add(&list, &call).unwrap_err();
    assert!(failure.printed["msg"].as_str().unwrap().contains("8080"), "{failure:?}");
    runtime.del(&list, &call);
    let _server = Server::start(&a.net, "a", 80);
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "a"
    );
    let own = addresses(&runtime.add(&list, &Call::new(&b)))[0];
    assert_eq!(super::addresses_of(&b.net, "eth0")[0], format!("{own}/24"));
}
