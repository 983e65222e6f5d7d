//! Published ports.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::harness::{
    HOST_V4, HOST_V6, Host, NetNs, Proto, Server, Snapshot, UdpFlow, does_not_reach, ip, reaches, until,
};

use super::{Caller, Sandbox, error, input, mapping, network, with};

fn publishing(own: u8, networks: &[&Value], mappings: &[Value]) -> Value {
    with(input(own, networks), json!({ "port_mappings": mappings }))
}

#[track_caller]
fn is_reached(from: &NetNs, address: IpAddr, port: u16, protocols: &[Proto], server: &str) {
    for proto in [Proto::Tcp, Proto::Udp] {
        if protocols.contains(&proto) {
            assert_eq!(reaches(from, proto, (address, port)).server, server);
        } else {
            does_not_reach(from, proto, (address, port));
        }
    }
}

#[test]
fn ports_are_reached_from_everywhere() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let [c, d, e] = ["c", "d", "e"].map(|name| Sandbox::new(&host, name));
    let before = Snapshot::take(&host);
    let wanted = publishing(
        2,
        &[&network(1)],
        &[
            mapping("", 8080, 7000, "tcp,udp", 2),
            mapping(HOST_V4, 9000, 7001, "udp", 1),
        ],
    );
    caller.setup(&c, &wanted);
    caller.setup(&d, &input(3, &[&network(2)]));
    let both = [Proto::Tcp, Proto::Udp];
    let (_a, _b) = (Server::start(&c.net, "a", 7000), Server::start(&c.net, "b", 7001));
    for from in [&host.outside, &host.net, &d.net, &c.net] {
        for address in [HOST_V4, HOST_V6] {
            is_reached(from, ip(address), 8080, &both, "a");
            is_reached(from, ip(address), 8081, &both, "b");
        }
        is_reached(from, ip(HOST_V4), 9000, &[Proto::Udp], "b");
    }
    is_reached(&host.net, ip("127.0.0.1"), 8080, &both, "a");
    does_not_reach(&host.net, Proto::Udp, (ip("127.0.0.1"), 9000));
    // Others' ports stay theirs.
    let taken = publishing(4, &[&network(2)], &[mapping("", 8081, 80, "tcp", 1)]);
    let refused = caller.refused(&e, &taken);
    assert!(refused.contains("8081"), "{refused}");
    caller.teardown(&c, &wanted);
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    caller.teardown(&d, &input(3, &[&network(2)]));
    before.assert_same(&host);
}

#[test]
fn wildcards_of_one_family() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let wanted = publishing(
        2,
        &[&network(1)],
        &[
            mapping("0.0.0.0", 8080, 7000, "tcp", 1),
            mapping("::", 8081, 7000, "tcp", 1),
        ],
    );
    caller.setup(&c, &wanted);
    let _c = Server::start(&c.net, "c", 7000);
    for (port, address, there) in [
        (8080, HOST_V4, true),
        (8080, HOST_V6, false),
        (8081, HOST_V4, false),
        (8081, HOST_V6, true),
    ] {
        match there {
            true => is_reached(&host.outside, ip(address), port, &[Proto::Tcp], "c"),
            false => does_not_reach(&host.outside, Proto::Tcp, (ip(address), port)),
        }
    }
}

#[test]
fn one_port_at_several_addresses_of_the_host() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    // The host need not have them yet.
    let mappings = [
        mapping("192.0.2.24", 8080, 7000, "tcp", 1),
        mapping("192.0.2.25", 8080, 7000, "tcp", 1),
        mapping("192.0.2.25", 8080, 7000, "udp", 1),
    ];
    let wanted = publishing(2, &[&network(1)], &mappings);
    caller.setup(&c, &wanted);
    host.net
        .ip("addr add 192.0.2.24/32 dev eth0\naddr add 192.0.2.25/32 dev eth0");
    host.outside.ip("route add 192.0.2.0/24 via 203.0.113.1");
    let server = Server::start(&c.net, "c", 7000);
    is_reached(&host.outside, ip("192.0.2.24"), 8080, &[Proto::Tcp], "c");
    is_reached(&host.outside, ip("192.0.2.25"), 8080, &[Proto::Tcp, Proto::Udp], "c");
    drop(server);
    caller.teardown(&c, &wanted);
    does_not_reach(&host.outside, Proto::Tcp, (ip("192.0.2.25"), 8080));
    host.net
        .ip("addr del 192.0.2.24/32 dev eth0\naddr del 192.0.2.25/32 dev eth0");
    host.outside.ip("route del 192.0.2.0/24");
    before.assert_same(&host);
}

#[test]
fn a_udp_flow_that_was_there_before_follows() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let wanted = publishing(2, &[&network(1)], &[mapping("", 8080, 7000, "udp", 2)]);
    let targets = [(&host.outside, HOST_V4), (&host.outside, HOST_V6), (&host.net, HOST_V4)];
    let flows = targets.map(|(from, target)| UdpFlow::open(from, (ip(target), 8081).into()));
    let _c = Server::start(&c.net, "c", 7001);
    for _ in 0..2 {
        flows.iter().for_each(UdpFlow::is_silent);
        caller.setup(&c, &wanted);
        flows.iter().for_each(|flow| assert_eq!(flow.answer().server, "c"));
        caller.teardown(&c, &wanted);
        c.is_empty_soon();
    }
    flows.iter().for_each(UdpFlow::is_silent);
}

#[test]
fn several_networks_publish_by_the_first_that_can() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let before = Snapshot::take(&host);
    let internal = with(network(1), json!({"internal": true}));
    let v4 = with(
        network(2),
        json!({"subnets": [{"subnet": "10.89.2.0/24", "gateway": "10.89.2.1"}]}),
    );
    let (second, third) = (network(3), network(4));
    for networks in [[&internal, &v4, &second, &third], [&third, &internal, &second, &v4]] {
        let c = Sandbox::new(&host, "c");
        let wanted = publishing(2, &networks, &[mapping("", 8080, 7000, "tcp", 1)]);
        caller.setup(&c, &wanted);
        // Interfaces come in the networks' order.
        let links = c.net.ip_json(&["link", "show"]);
        let mut names: Vec<_> = links.iter().map(|link| (&link["ifindex"], &link["ifname"])).collect();
        names.sort_by_key(|(index, _)| index.as_u64());
        assert!(
            names
                .iter()
                .map(|(_, name)| *name)
                .eq(["lo", "eth0", "eth1", "eth2", "eth3"]),
            "{names:?}"
        );
        let server = Server::start(&c.net, "c", 7000);
        for from in [&host.outside, &host.net] {
            is_reached(from, ip(HOST_V4), 8080, &[Proto::Tcp], "c");
            is_reached(from, ip(HOST_V6), 8080, &[Proto::Tcp], "c");
        }
        // Of default routes of one metric the one that came last is first, as the kernel has it.
        let defaults: Vec<String> = c.ip("-4 route show default");
        let last = networks
            .iter()
            .rposition(|network| network["internal"] == false)
            .unwrap();
        assert_eq!(defaults.len(), 3, "{defaults:?}");
        assert!(
            defaults[0].contains(&format!("dev eth{last} metric 100")),
            "{defaults:?}"
        );
        drop(server);
        caller.teardown(&c, &wanted);
        c.unpin(&host);
        before.assert_same(&host);
    }
}

#[test]
fn a_network_that_comes_later_and_goes_again() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let first = publishing(2, &[&network(1)], &[mapping("", 8080, 7000, "tcp", 1)]);
    // Podman repeats the ports when it connects a container to another network.
    let mut second = publishing(2, &[&network(2)], &[mapping("", 8080, 7000, "tcp", 1)]);
    second["networks"][0]["interface_name"] = json!("eth1");
    for (goes, stays) in [(&second, &first), (&first, &second)] {
        caller.setup(&c, &first);
        let server = Server::start(&c.net, "c", 7000);
        caller.setup(&c, &second);
        for address in ["10.89.1.2", "10.89.2.2"] {
            assert_eq!(reaches(&host.net, Proto::Tcp, (ip(address), 7000)).server, "c");
        }
        for step in 0..2 {
            for address in [HOST_V4, HOST_V6] {
                is_reached(&host.outside, ip(address), 8080, &[Proto::Tcp], "c");
            }
            if step == 0 {
                caller.teardown(&c, goes);
            }
        }
        until("one interface is gone", || c.net.ip_json(&["link", "show"]).len() == 2);
        assert_eq!(c.ip("-4 route show default").len(), 1);
        drop(server);
        caller.teardown(&c, stays);
        before.assert_same(&host);
    }
}

#[test]
fn reload_puts_back_what_was_flushed() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    // Nothing is there to be put back.
    caller.call(&["firewall-reload"], &Value::Null).ok();
    let wanted = publishing(2, &[&network(1)], &[mapping("", 8080, 7000, "tcp", 1)]);
    caller.setup(&c, &wanted);
    let _c = Server::start(&c.net, "c", 7000);
    is_reached(&host.outside, ip(HOST_V4), 8080, &[Proto::Tcp], "c");
    host.net.nft("flush ruleset");
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    caller.call(&["firewall-reload"], &Value::Null).ok();
    is_reached(&host.outside, ip(HOST_V4), 8080, &[Proto::Tcp], "c");
}

#[test]
fn callers_side_by_side() {
    let host = Host::new();
    let (one, mut two) = (Caller::new(&host), Caller::new(&host));
    two.config = host.scratch().join("another");
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    let before = Snapshot::take(&host);
    let first = publishing(2, &[&network(1)], &[mapping("", 8080, 7000, "tcp", 1)]);
    let second = publishing(2, &[&network(2)], &[mapping("", 8081, 7000, "tcp", 1)]);
    one.setup(&c, &first);
    two.setup(&d, &second);
    let (_c, _d) = (Server::start(&c.net, "c", 7000), Server::start(&d.net, "d", 7000));
    is_reached(&host.outside, ip(HOST_V4), 8080, &[Proto::Tcp], "c");
    is_reached(&host.outside, ip(HOST_V4), 8081, &[Proto::Tcp], "d");
    one.teardown(&c, &first);
    is_reached(&host.outside, ip(HOST_V4), 8081, &[Proto::Tcp], "d");
    two.teardown(&d, &second);
    before.assert_same(&host);
}

#[test]
fn host_addresses_that_are_none() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let wanted = publishing(2, &[&network(1)], &[mapping("abcd", 8080, 80, "tcp", 1)]);
    assert_eq!(
        caller.refused(&c, &wanted),
        "invalid host ip \"abcd\" provided for port 8080"
    );
    let wanted = publishing(2, &[&network(1)], &[mapping("", 8080, 80, "carrier-pigeon", 1)]);
    assert!(error(caller.call(&["setup", &c.path], &wanted)).contains("carrier-pigeon"));
}
