//! Who reaches whom, by the networks' option `isolate`.

use serde_json::{Value, json};

use crate::harness::{HOST_V4, Host, Proto, Server, does_not_reach, ip, reaches};

use super::{Caller, Sandbox, as_map, input, mapping, network, with};

/// A network with this option; `-` is none.
fn isolating(number: u8, option: &str) -> Value {
    match option {
        "-" => network(number),
        option => with(network(number), json!({"options": {"isolate": option}})),
    }
}

/// Whether containers on networks with these options reach each other: of netavark's rules, those of version 2.
fn reach_each_other(one: &str, other: &str) -> bool {
    matches!((one, other), ("false", "false" | "true") | ("true", "false"))
}

#[test]
fn networks_are_apart_as_they_ask() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let options = ["false", "false", "true", "true", "strict", "strict", "-"];
    let mut containers = Vec::new();
    for (number, option) in (1..).zip(options) {
        let sandbox = Sandbox::new(&host, &format!("c{number}"));
        let port = mapping("", 8000 + u16::from(number), 7000, "tcp", 1);
        let wanted = with(
            input(2, &[&isolating(number, option)]),
            json!({"port_mappings": [port], "container_id": format!("c{number}")}),
        );
        caller.setup(&sandbox, &wanted);
        let server = Server::start(&sandbox.net, option, 7000);
        containers.push((number, option, sandbox, server));
    }
    for (number, option, sandbox, _) in &containers {
        for (other, others_option, ..) in &containers {
            let v4 = ip(&format!("10.89.{other}.2"));
            // By IPv6, the next one only.
            let v6 = (*other == number + 1).then(|| ip(&format!("fd00:89:{other}::2")));
            for address in [Some(v4), v6].into_iter().flatten() {
                let target = (address, 7000);
                if number == other || reach_each_other(option, others_option) {
                    assert_eq!(reaches(&sandbox.net, Proto::Tcp, target).server, *others_option);
                } else {
                    does_not_reach(&sandbox.net, Proto::Tcp, target);
                }
            }
            // Published ports are for everybody.
            let published = (ip(HOST_V4), 8000 + u16::from(*other));
            assert_eq!(reaches(&sandbox.net, Proto::Tcp, published).server, *others_option);
        }
    }
}

#[test]
fn before_version_2_networks_reached_each_other() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    caller.setup(&c, &as_map(input(2, &[&network(1)])));
    caller.setup(&d, &as_map(input(3, &[&network(2)])));
    let _d = Server::start(&d.net, "d", 7000);
    let answer = reaches(&c.net, Proto::Tcp, (ip("10.89.2.3"), 7000));
    assert_eq!(answer.server, "d");
}
