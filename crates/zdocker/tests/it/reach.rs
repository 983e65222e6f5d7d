//! Who reaches whom, by which address, and who must not.

use std::fs;

use crate::harness::{
    Container, HOST_V4, HOST_V6, Host, NEIGHBOUR_V4, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, does_not_reach, ip,
    reaches,
};

pub(crate) const BOTH: [Proto; 2] = [Proto::Tcp, Proto::Udp];
pub(crate) const PORT: u16 = 7000;

/// `from` reaches the server `name` at `target`, which sees `source`.
#[track_caller]
pub(crate) fn sees(from: &NetNs, target: impl ToString, name: &str, source: impl ToString) {
    for proto in BOTH {
        let answer = reaches(from, proto, (ip(&target.to_string()), PORT));
        assert_eq!(
            (answer.server.as_str(), answer.source),
            (name, ip(&source.to_string())),
            "{} by {proto:?}",
            target.to_string()
        );
    }
}

/// `from` gets no answer at `target`.
#[track_caller]
pub(crate) fn shut(from: &NetNs, target: impl ToString) {
    for proto in BOTH {
        does_not_reach(from, proto, (ip(&target.to_string()), PORT));
    }
}

pub(crate) fn dual_stack(host: &Host, name: &str, number: u8, options: &str) {
    host.z(&format!(
        "network create --subnet 10.{number}.0.0/24 --subnet fd00:{number}::/64 {options} {name}"
    ))
    .ok();
}

pub(crate) fn serving(host: &Host, name: &str, options: &str) -> (Container, Server) {
    let container = host.run(name, options);
    let server = Server::start(&container.net, name, PORT);
    (container, server)
}

#[test]
fn neighbours_reach_each_other_by_address() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "");
    let (a, _server_a) = serving(&host, "a", "--net n");
    let (b, _server_b) = serving(&host, "b", "--net n");
    sees(&a.net, b.v4(), "b", a.v4());
    sees(&b.net, a.v4(), "a", b.v4());
    sees(&a.net, b.v6(), "b", a.v6());
    sees(&b.net, a.v6(), "a", b.v6());
    let target = b.v4().to_string();
    host.zdocker(&["exec", "a", "busybox", "ping", "-c", "1", "-W", "5", &target])
        .ok();
}

#[test]
fn host_and_container_reach_each_other() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "");
    let (a, _server) = serving(&host, "a", "--net n");
    let _host = Server::start(&host.net, "host", PORT);
    for (gateway, own) in [("10.10.0.1", a.v4()), ("fd00:10::1", a.v6())] {
        sees(&a.net, gateway, "host", own);
        sees(&host.net, own, "a", gateway);
    }
    // A UDP server at every address answers by the nearest; only TCP has to bear the address that was asked.
    for (target, own) in [(HOST_V4, a.v4()), (HOST_V6, a.v6())] {
        let answer = reaches(&a.net, Proto::Tcp, (ip(target), PORT));
        assert_eq!((answer.server.as_str(), answer.source), ("host", own));
    }
}

#[test]
fn the_outside_sees_the_hosts_address() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "");
    let a = host.run("a", "--net n");
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
    sees(&a.net, OUTSIDE_V6, "outside", HOST_V6);
    host.z(&format!("exec a busybox ping -c 1 -W 5 {OUTSIDE_V4}")).ok();
}

#[test]
fn without_masquerade_the_outside_sees_the_containers_address() {
    let host = Host::new();
    dual_stack(
        &host,
        "n",
        10,
        "-o com.docker.network.bridge.enable_ip_masquerade=false",
    );
    let a = host.run("a", "--net n");
    let _outside = Server::start(&host.outside, "outside", PORT);
    host.outside.ip(&format!(
        "route add 10.10.0.0/24 via {HOST_V4}\nroute add fd00:10::/64 via {HOST_V6}"
    ));
    sees(&a.net, OUTSIDE_V4, "outside", a.v4());
    sees(&a.net, OUTSIDE_V6, "outside", a.v6());
}

#[test]
fn networks_are_isolated_from_each_other() {
    let host = Host::new();
    dual_stack(&host, "front", 10, "");
    dual_stack(&host, "back", 11, "");
    let (a, _server_a) = serving(&host, "a", "--net front");
    let (b, _server_b) = serving(&host, "b", "--net back");
    for (from, to) in [(&a, &b), (&b, &a)] {
        sees(
            &host.net,
            to.v4(),
            if to.id == a.id { "a" } else { "b" },
            if to.id == a.id { "10.10.0.1" } else { "10.11.0.1" },
        );
        shut(&from.net, to.v4());
        shut(&from.net, to.v6());
    }
}

#[test]
fn an_internal_network_has_no_way_out_or_in() {
    let host = Host::new();
    let neighbour = host.neighbour();
    dual_stack(&host, "inside", 10, "--internal");
    dual_stack(&host, "other", 11, "");
    let (a, _server_a) = serving(&host, "a", "--net inside");
    let (b, _server_b) = serving(&host, "b", "--net inside");
    let (c, _server_c) = serving(&host, "c", "--net other");
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, b.v4(), "b", a.v4());
    sees(&a.net, b.v6(), "b", a.v6());
    sees(&c.net, OUTSIDE_V4, "outside", HOST_V4);
    let way_out = a.net.ip_json(&["route", "show", "default"]);
    assert!(way_out.is_empty(), "{way_out:?}");
    // The firewall holds, too, when the container makes itself a way out.
    a.net
        .ip("route add default via 10.10.0.1\nroute add ::/0 via fd00:10::1");
    for target in [OUTSIDE_V4, OUTSIDE_V6] {
        shut(&a.net, target);
    }
    shut(&a.net, c.v4());
    shut(&c.net, a.v4());
    neighbour.ip(&format!(
        "route add 10.10.0.0/24 via {HOST_V4}\nroute add fd00:10::/64 via {HOST_V6}"
    ));
    shut(&neighbour, a.v4());
    shut(&neighbour, a.v6());
}

#[test]
fn another_host_cannot_route_to_a_containers_address() {
    let host = Host::new();
    let neighbour = host.neighbour();
    dual_stack(&host, "n", 10, "");
    let (a, _server) = serving(&host, "a", "--net n -p 8080:7000");
    neighbour.ip(&format!(
        "route add 10.10.0.0/24 via {HOST_V4}\nroute add fd00:10::/64 via {HOST_V6}"
    ));
    shut(&neighbour, a.v4());
    shut(&neighbour, a.v6());
    let published = reaches(&neighbour, Proto::Tcp, (ip(HOST_V4), 8080));
    assert_eq!((published.server.as_str(), published.source), ("a", ip(NEIGHBOUR_V4)));
    // Nor at the published port by the container's own address.
    does_not_reach(&neighbour, Proto::Tcp, (a.v4(), 8080));
}

#[test]
fn a_container_cannot_bear_anothers_address() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "");
    let (a, _server_a) = serving(&host, "a", "--net n");
    let b = host.run("b", "--net n");
    let _host = Server::start(&host.net, "host", PORT);
    sees(&b.net, a.v4(), "a", b.v4());
    sees(&b.net, a.v6(), "a", b.v6());
    let own = b.v6();
    b.net
        .ip("addr flush dev eth0\naddr add 10.10.0.99/24 dev eth0\naddr add fd00:10::99/64 dev eth0 nodad");
    for target in [
        "10.10.0.1".to_owned(),
        a.v4().to_string(),
        "fd00:10::1".to_owned(),
        a.v6().to_string(),
    ] {
        shut(&b.net, target);
    }
    b.net.ip(&format!(
        "addr add {own}/64 dev eth0 nodad\naddr del fd00:10::99/64 dev eth0"
    ));
    sees(&b.net, a.v6(), "a", own);
    b.net.ip("link set eth0 address 02:00:00:00:00:99");
    shut(&b.net, a.v6());
}

#[test]
fn an_ipv4_only_network_gives_no_ipv6() {
    let host = Host::new();
    host.z("network create --subnet 10.10.0.0/24 n").ok();
    let (a, _server) = serving(&host, "a", "--net n");
    sees(&host.net, a.v4(), "a", "10.10.0.1");
    let v6 = a.net.ip_json(&["-6", "addr", "show", "dev", "eth0"]);
    assert!(
        v6.iter()
            .all(|link| link["addr_info"].as_array().is_none_or(Vec::is_empty)),
        "{v6:?}"
    );
}

#[test]
fn ipv6_without_a_subnet_gets_one() {
    let host = Host::new();
    host.z("network create --ipv6 n").ok();
    let (a, _server_a) = serving(&host, "a", "--net n");
    let (b, _server_b) = serving(&host, "b", "--net n");
    sees(&a.net, b.v4(), "b", a.v4());
    sees(&a.net, b.v6(), "b", a.v6());
}

#[test]
fn the_mtu_is_that_of_the_option() {
    let host = Host::new();
    for (name, option) in [("n", "mtu"), ("m", "com.docker.network.driver.mtu")] {
        host.z(&format!("network create -o {option}=1400 {name}")).ok();
        let a = host.run(&format!("on-{name}"), &format!("--net {name}"));
        assert_eq!(a.net.ip_json(&["link", "show", "dev", "eth0"])[0]["mtu"], 1400);
        for link in host.net.ip_json(&["link", "show", "master", name]) {
            assert_eq!(link["mtu"], 1400);
        }
        assert_eq!(host.net.ip_json(&["link", "show", "dev", name])[0]["mtu"], 1400);
    }
}

#[test]
fn the_mtu_follows_the_way_out() {
    let host = Host::new();
    host.net.ip("link set eth0 mtu 1420");
    host.z("network create n").ok();
    let a = host.run("a", "--net n");
    assert_eq!(a.net.ip_json(&["link", "show", "dev", "eth0"])[0]["mtu"], 1420);
}

/// The number of the network namespace of a container's process.
fn namespace(container: &Container) -> String {
    fs::read_link(format!("/proc/{}/ns/net", container.pid))
        .unwrap()
        .display()
        .to_string()
}

#[test]
fn network_host_is_the_hosts_own() {
    let host = Host::new();
    let a = host.run("a", "--net host");
    let own = host.program("readlink", &["/proc/self/ns/net"]).ok();
    assert_eq!(namespace(&a), own.text());
    host.z("run --rm --net=host --rootfs / -- ip -br addr")
        .ok()
        .prints(&["eth0", HOST_V4]);
}

#[test]
fn network_none_has_lo_alone() {
    let host = Host::new();
    let (a, _server) = serving(&host, "a", "--net none");
    let links = a.net.ip_json(&["addr", "show"]);
    assert_eq!(links.len(), 1, "{links:?}");
    assert_eq!(links[0]["ifname"], "lo");
    sees(&a.net, "127.0.0.1", "a", "127.0.0.1");
    sees(&a.net, "::1", "a", "::1");
    let _outside = Server::start(&host.outside, "outside", PORT);
    shut(&a.net, OUTSIDE_V4);
}

#[test]
fn network_container_is_anothers() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "");
    let (a, _server) = serving(&host, "a", "--net n");
    let b = host.run("b", "--net container:a");
    let by_id = host.run("c", &format!("--network container:{}", a.id));
    assert_eq!(namespace(&a), namespace(&b));
    assert_eq!(namespace(&a), namespace(&by_id));
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&b.net, OUTSIDE_V4, "outside", HOST_V4);
    host.z("exec b ip -br addr show dev eth0")
        .ok()
        .prints(&[&a.v4().to_string()]);
}

#[test]
fn the_default_network_reaches_outside_and_neighbours() {
    let host = Host::new();
    let (a, _server_a) = serving(&host, "a", "");
    let (b, _server_b) = serving(&host, "b", "--net bridge -p 8080:7000");
    sees(&a.net, b.v4(), "b", a.v4());
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "b");
    assert_eq!(host.net.ip_json(&["link", "show", "master", "zdocker0"]).len(), 2);
}

#[test]
fn a_container_on_several_networks_is_on_each() {
    let host = Host::new();
    dual_stack(&host, "front", 10, "");
    dual_stack(&host, "back", 11, "");
    let (both, _server) = serving(&host, "both", "--net front --ip 10.10.0.77 --net back");
    let (f, _server_f) = serving(&host, "f", "--net front");
    let (b, _server_b) = serving(&host, "b", "--net back");
    assert_eq!(both.address("eth0", false), ip("10.10.0.77"));
    sees(&both.net, f.v4(), "f", "10.10.0.77");
    sees(&both.net, b.v6(), "b", both.address("eth1", true));
    sees(&f.net, both.address("eth0", true), "both", f.v6());
    sees(&b.net, both.address("eth1", false), "both", b.v4());
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&both.net, OUTSIDE_V4, "outside", HOST_V4);
    assert_eq!(both.net.ip_json(&["route", "show", "default"]).len(), 1);
    // Being on both does not join them.
    shut(&f.net, b.v4());
}

#[test]
fn addresses_given_are_borne() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "");
    let a = host.run(
        "a",
        "--net n --ip 10.10.0.50 --ip6 fd00:10::50 --mac-address 02:42:0a:0a:00:32",
    );
    assert_eq!((a.v4(), a.v6()), (ip("10.10.0.50"), ip("fd00:10::50")));
    assert_eq!(
        a.net.ip_json(&["link", "show", "dev", "eth0"])[0]["address"],
        "02:42:0a:0a:00:32"
    );
    let _server = Server::start(&a.net, "a", PORT);
    sees(&host.net, a.v4(), "a", "10.10.0.1");
    sees(&host.net, a.v6(), "a", "fd00:10::1");
}
