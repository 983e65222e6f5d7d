//! Options of `network create`: what they are told, and what becomes of it in real traffic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{
    HOST_V4, HOST_V6, Host, NEIGHBOUR_V4, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, does_not_reach, ip, reaches,
};
use crate::reach::{BOTH, PORT, dual_stack, sees, serving, shut};

#[test]
fn addresses_come_from_the_range_and_are_never_reserved_ones() {
    let host = Host::new();
    host.z(
        "network create --subnet 10.10.0.0/16 --ip-range 10.10.5.0/30 --aux-address router=10.10.5.1 \
         --subnet fd00:10::/64 --ip-range fd00:10::5:0/126 --aux-address router=fd00:10::5:0 \
         --gateway 10.10.255.254 n",
    )
    .ok();
    let addresses: Vec<_> = ["a", "b", "c"]
        .map(|name| host.run(name, "--net n"))
        .iter()
        .map(|container| (container.v4(), container.v6()))
        .collect();
    assert_eq!(
        addresses,
        [
            ("10.10.5.0", "fd00:10::5:1"),
            ("10.10.5.2", "fd00:10::5:2"),
            ("10.10.5.3", "fd00:10::5:3")
        ]
        .map(|(v4, v6)| (ip(v4), ip(v6)))
    );
    let run = |options: &str| host.z(&format!("run --rm --net n {options} --rootfs / -- true"));
    run("").exits(125).says(&["no address is left", "range 10.10.5.0/30"]);
    run("--ip 10.10.5.1").exits(125).says(&["in use"]);
    // An address of the subnet outside the range can still be asked for.
    let (d, _server) = serving(&host, "d", "--net n --ip 10.10.9.9 --ip6 fd00:10::99");
    sees(&host.net, d.v4(), "d", "10.10.255.254");
    host.z("network ipam n")
        .ok()
        .prints(&["(reserved for router)", "(gateway)"]);
}

#[test]
fn a_network_with_several_subnets_of_a_family() {
    let host = Host::new();
    host.z(
        "network create --subnet 10.10.0.0/30 --subnet 10.20.0.0/24 --subnet fd00:10::/64 --subnet fd00:20::/64 \
         --gateway 10.20.0.254 n",
    )
    .ok();
    let (a, _server_a) = serving(&host, "a", "--net n -p 8080:7000");
    // The first subnet is full.
    let (b, _server_b) = serving(&host, "b", "--net n -p 8081:7000");
    let (c, _server_c) = serving(&host, "c", "--net n --ip 10.20.0.9 --ip6 fd00:20::9");
    assert_eq!(
        [a.v4(), b.v4(), c.v4()],
        ["10.10.0.2", "10.20.0.1", "10.20.0.9"].map(ip)
    );
    assert_eq!(
        [a.v6(), b.v6(), c.v6()],
        ["fd00:10::2", "fd00:10::3", "fd00:20::9"].map(ip)
    );
    // Also where they are in different subnets, neighbours know each other by their own addresses.
    sees(&a.net, b.v4(), "b", a.v4());
    sees(&b.net, a.v4(), "a", b.v4());
    sees(&b.net, c.v4(), "c", b.v4());
    sees(&a.net, c.v6(), "c", a.v6());
    sees(&host.net, b.v4(), "b", "10.20.0.254");
    sees(&host.net, c.v6(), "c", "fd00:20::1");
    let _outside = Server::start(&host.outside, "outside", PORT);
    for container in [&a, &b, &c] {
        sees(&container.net, OUTSIDE_V4, "outside", HOST_V4);
        sees(&container.net, OUTSIDE_V6, "outside", HOST_V6);
        assert_eq!(container.net.ip_json(&["route", "show", "default"]).len(), 1);
    }
    for (port, name) in [(8080, "a"), (8081, "b")] {
        assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), port)).server, name);
        assert_eq!(reaches(&c.net, Proto::Tcp, (ip(HOST_V6), port)).server, name);
        assert_eq!(reaches(&a.net, Proto::Tcp, (ip(HOST_V4), port)).server, name);
    }
    for name in ["a", "b", "c"] {
        host.z(&format!("rm -f {name}")).ok();
    }
    host.z("network rm n").ok();
}

#[test]
fn packets_leave_by_the_outbound_address() {
    let host = Host::new();
    host.net
        .ip("addr add 203.0.113.77/24 dev eth0\naddr add 2001:db8::77/64 dev eth0 nodad preferred_lft 0");
    dual_stack(
        &host,
        "n",
        10,
        "-o com.docker.network.host_ipv4=203.0.113.77 -o outbound_addr6=2001:db8::77",
    );
    dual_stack(&host, "m", 11, "-o outbound_addr4=203.0.113.77");
    let (a, _server_a) = serving(&host, "a", "--net n");
    let (b, _server_b) = serving(&host, "b", "--net n");
    let c = host.run("c", "--net m");
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", "203.0.113.77");
    sees(&a.net, OUTSIDE_V6, "outside", "2001:db8::77");
    sees(&c.net, OUTSIDE_V4, "outside", "203.0.113.77");
    sees(&c.net, OUTSIDE_V6, "outside", HOST_V6);
    sees(&a.net, b.v4(), "b", a.v4());
    host.z("rm -f a b c").ok();
    host.z("network rm n m").ok();
    host.z("network create -o outbound_addr6=2001:db8::77 v4")
        .exits(1)
        .says(&["the network has none"]);
}

#[test]
fn ports_are_published_at_the_host_binding() {
    let host = Host::new();
    dual_stack(
        &host,
        "n",
        10,
        "-o com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
    );
    dual_stack(&host, "m", 11, &format!("-o host_binding={HOST_V6}"));
    let (_a, _server_a) = serving(&host, "a", "--net n -p 8080:7000 -p 0.0.0.0:8081:7000");
    let (_b, _server_b) = serving(&host, "b", "--net m -p 8082:7000");
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("127.0.0.1"), 8080)).server, "a");
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V6), 8080));
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8081)).server, "a");
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V6), 8082)).server, "b");
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8082));
}

#[test]
fn without_hairpin_nobody_comes_back_by_the_same_port() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "-o hairpin=false");
    dual_stack(&host, "m", 11, "");
    let (a, _server_a) = serving(&host, "a", "--net n -p 8080:7000");
    let (b, _server_b) = serving(&host, "b", "--net m -p 8081:7000");
    let hairpin = |network: &str| {
        let port = host.net.output("bridge", &["-d", "link", "show"], "");
        let lines: Vec<&str> = port.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains(&format!("master {network} ")))
            .unwrap();
        lines[at + 1].contains("hairpin on")
    };
    assert_eq!((hairpin("n"), hairpin("m")), (false, true));
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip(HOST_V4), 8081)).server, "b");
    does_not_reach(&a.net, Proto::Tcp, (ip(HOST_V4), 8080));
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
}

#[test]
fn trusted_host_interfaces_reach_published_ports_directly() {
    let host = Host::new();
    let neighbour = host.neighbour();
    neighbour.ip(&format!(
        "route add 10.0.0.0/8 via {HOST_V4}\nroute add fd00::/16 via {HOST_V6}"
    ));
    for (number, trusted) in [(10, "eth7:eth0"), (11, "eth7")] {
        let option = format!("-o com.docker.network.bridge.trusted_host_interfaces={trusted}");
        dual_stack(&host, &format!("n{number}"), number, &option);
    }
    let (a, _server_a) = serving(&host, "a", "--net n10 -p 8080:7000 -p 8080:7000/udp");
    let (b, _server_b) = serving(&host, "b", "--net n11 -p 8081:7000 -p 8081:7000/udp");
    let _unpublished = Server::start(&a.net, "a", 7001);
    sees(&neighbour, a.v4(), "a", NEIGHBOUR_V4);
    sees(&neighbour, a.v6(), "a", "2001:db8::3");
    for proto in BOTH {
        does_not_reach(&neighbour, proto, (a.v4(), 7001));
    }
    shut(&neighbour, b.v4());
    shut(&neighbour, b.v6());
    // Ports of the host lead there as well.
    assert_eq!(
        reaches(&neighbour, Proto::Tcp, (ip(HOST_V4), 8080)).source,
        ip(NEIGHBOUR_V4)
    );
}

#[test]
fn inhibit_ipv4_leaves_the_bridges_address_to_others() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "-o com.docker.network.bridge.inhibit_ipv4=true");
    let own = |family| {
        host.net
            .ip_json(&[family, "addr", "show", "dev", "n", "scope", "global"])
    };
    assert!(own("-4").is_empty());
    assert_eq!(own("-6")[0]["addr_info"][0]["local"], "fd00:10::1");
    let (a, _server) = serving(&host, "a", "--net n");
    shut(&host.net, a.v4());
    sees(&host.net, a.v6(), "a", "fd00:10::1");
    host.net.ip("addr add 10.10.0.1/24 dev n");
    sees(&host.net, a.v4(), "a", "10.10.0.1");
}

#[test]
fn families_can_be_chosen_by_options() {
    let host = Host::new();
    host.z("network create -o com.docker.network.enable_ipv4=false -o com.docker.network.enable_ipv6=true n")
        .ok();
    let a = host.run("a", "--net n");
    let v4 = a.net.ip_json(&["-4", "addr", "show", "dev", "eth0"]);
    assert!(
        v4.iter()
            .all(|link| link["addr_info"].as_array().is_none_or(Vec::is_empty))
    );
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V6, "outside", HOST_V6);
}

#[test]
fn configurations_are_taken_over() {
    let host = Host::new();
    host.z(
        "network create --config-only --subnet 10.10.0.0/24 --subnet fd00:10::/64 --ip-range 10.10.0.128/25 \
         -o icc=false --label tier=back plan",
    )
    .ok();
    assert!(
        host.net
            .ip_json(&["link", "show", "type", "bridge"])
            .iter()
            .all(|link| link["ifname"] != "plan")
    );
    host.z("run --rm --net plan --rootfs / -- true")
        .exits(125)
        .says(&["plan", "--config-from"]);
    host.z("network create --config-from plan --internal n").ok();
    let (a, _server) = serving(&host, "a", "--net n");
    let b = host.run("b", "--net n");
    assert_eq!([a.v4(), b.v4()], ["10.10.0.128", "10.10.0.129"].map(ip));
    sees(&host.net, a.v4(), "a", "10.10.0.1");
    shut(&b.net, a.v4());
    let inspected = |name: &str| host.z(&format!("network inspect {name}")).ok().json()[0].take();
    let (plan, taker) = (inspected("plan"), inspected("n"));
    assert_eq!((&plan["Driver"], &plan["ConfigOnly"]), (&"null".into(), &true.into()));
    assert_eq!(plan["IPAM"]["Config"], taker["IPAM"]["Config"]);
    assert_eq!(
        (&taker["ConfigFrom"]["Network"], &taker["ConfigOnly"]),
        (&"plan".into(), &false.into())
    );
    assert_eq!(taker["Labels"]["tier"], "back");
    // The addresses are those of the network that took them.
    assert_eq!(plan["Status"]["IPAM"]["Subnets"], serde_json::json!({}));
    assert_eq!(host.z("network ipam plan").ok().text(), "");
    host.z("network ipam n").ok().prints(&["10.10.0.128"]);
    host.z("network rm plan").exits(1).says(&["plan", "n", "network rm"]);
    host.z("network create --config-from plan m")
        .exits(1)
        .says(&["overlaps", "\"n\""]);
    host.z("rm -f a b").ok();
    host.z("network prune -f").ok();
    host.z("network rm plan").ok();
}

#[test]
fn interfaces_bear_the_prefix() {
    let host = Host::new();
    for (number, option) in [
        (10, "interface_prefix"),
        (11, "com.docker.network.container_iface_prefix"),
    ] {
        dual_stack(&host, &format!("n{number}"), number, &format!("-o {option}=lan"));
        let a = host.run(&format!("a{number}"), &format!("--net n{number}"));
        assert_eq!(a.address("lan0", false), ip(&format!("10.{number}.0.2")));
    }
}

#[test]
fn containers_get_the_routes_and_metrics_of_their_network() {
    let host = Host::new();
    // What lies behind the first container is reached by all.
    dual_stack(
        &host,
        "n",
        10,
        "-o metric=50 --route 10.77.0.0/24,10.10.0.9 --route fd00:77::/64,fd00:10::9,70 --route 10.78.0.0/24",
    );
    let (router, _server) = serving(&host, "router", "--net n --ip 10.10.0.9 --ip6 fd00:10::9");
    router
        .net
        .ip("addr add 10.77.0.1/32 dev lo\naddr add fd00:77::1/128 dev lo");
    let a = host.run("a", "--net n");
    let routes = |args: &[&str]| a.net.ip_json(&[args, &["route", "show"]].concat());
    let found = |routes: &[serde_json::Value], destination: &str| {
        let route = routes.iter().find(|route| route["dst"] == destination).unwrap();
        (route["gateway"].as_str().map(str::to_owned), route["metric"].as_u64())
    };
    let (v4, v6) = (routes(&["-4"]), routes(&["-6"]));
    assert_eq!(found(&v4, "default"), (Some("10.10.0.1".to_owned()), Some(50)));
    assert_eq!(found(&v6, "default"), (Some("fd00:10::1".to_owned()), Some(50)));
    assert_eq!(found(&v4, "10.77.0.0/24"), (Some("10.10.0.9".to_owned()), None));
    assert_eq!(found(&v4, "10.78.0.0/24"), (None, None));
    assert_eq!(found(&v6, "fd00:77::/64"), (Some("fd00:10::9".to_owned()), Some(70)));
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
}

#[test]
fn a_network_may_give_no_default_route() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "-o no_default_route=true --route 0.0.0.0/0,10.10.0.9");
    dual_stack(&host, "m", 11, "-o no_default_route=true");
    let a = host.run("a", "--net n");
    let default = |family| a.net.ip_json(&[family, "route", "show", "default"]);
    assert_eq!(default("-4")[0]["gateway"], "10.10.0.9");
    assert!(default("-6").is_empty());
    let b = host.run("b", "--net m");
    assert!(b.net.ip_json(&["route", "show", "default"]).is_empty());
    let _outside = Server::start(&host.outside, "outside", PORT);
    shut(&b.net, OUTSIDE_V4);
    host.z("network create --route 0.0.0.0/0 x")
        .exits(1)
        .says(&["no_default_route"]);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let host = Host::new();
    host.z("network create --attachable --scope local --ipam-driver default --ipam-opt a=b there")
        .ok();
    let there = &host.z("network inspect there").ok().json()[0];
    assert_eq!(
        (&there["Attachable"], &there["IPAM"]["Options"]["a"]),
        (&true.into(), &"b".into())
    );
    for (args, words) in [
        ("--scope swarm", "several hosts"),
        ("--ingress", "swarm"),
        ("--ipam-driver null", "leave --ipam-driver out"),
        ("-o vlan=7", "it knows bridge, mtu"),
        (
            "--ip-range 10.9.0.0/24 --subnet 10.10.0.0/24",
            "none of the network's subnets",
        ),
        (
            "--subnet 10.10.0.0/24 --aux-address x=10.11.0.1",
            "none of the network's subnets",
        ),
        (
            "--subnet 10.10.0.0/24 --route 10.20.0.0/16,10.11.0.1",
            "none of the network's subnets",
        ),
        ("--config-from there", "is no configuration"),
        ("--config-from nothing", "create it first"),
    ] {
        host.z(&format!("network create {args} n")).exits(1).says(&[words]);
    }
    host.z("network create --subnet 10.10.0.0/24 --aux-address x n")
        .exits(1)
        .says(&["NAME=IP"]);
}

#[test]
fn a_dry_run_shows_every_element() {
    let host = Host::new();
    let shown = host
        .z(
            "network create --dry-run --subnet 10.10.0.0/24 --subnet fd00:10::/64 -o gateway_mode_ipv4=routed \
            -o gateway_mode_ipv6=nat-unprotected -o isolation=strict -o trusted_host_interfaces=eth0 \
            -o outbound_addr6=2001:db8::77 n",
        )
        .ok();
    assert!(!shown.text().contains("masq4"), "{}", shown.text());
    shown.prints(&[
        "routed '{ ipv4 . \"n\" }'",
        "unprotected '{ ipv6 . \"n\" }'",
        "strict '{ \"n\" }'",
        "trusted '{ \"eth0\" . \"n\" }'",
        "snat6 '{ fd00:10::/64 : 2001:db8::77 }'",
    ]);
    host.z("network create -o icc=false real").ok();
    host.z("run --dry-run --net real -p 8080:80 --rootfs / -- true")
        .ok()
        .prints(&["hairpin on isolated on"]);
}

/// How much is sent through a narrow path: more than a sender has on its way before it needs an answer.
const MUCH: usize = 1 << 20;

/// A connection from `from` to `target`, which leads to a listener in `to`: its end here, and there.
fn connection(from: &NetNs, target: SocketAddr, to: &NetNs, listen: SocketAddr) -> [TcpStream; 2] {
    let listener = to.run(|| TcpListener::bind(listen).unwrap());
    let client = from.run(|| TcpStream::connect(target).unwrap());
    [client, listener.accept().unwrap().0]
}

/// Whether all that is sent arrives.
fn arrives(mut sender: TcpStream, mut receiver: TcpStream) -> bool {
    let patience = Some(Duration::from_secs(2));
    receiver.set_read_timeout(patience).unwrap();
    sender.set_write_timeout(patience).unwrap();
    let sink = thread::spawn(move || {
        let mut received = Vec::new();
        let _ = receiver.read_to_end(&mut received);
        received.len()
    });
    let _ = sender.write_all(&vec![0; MUCH]);
    drop(sender);
    sink.join().unwrap() == MUCH
}

#[test]
fn segments_fit_through_a_narrow_path_that_reports_nothing() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "-o mtu=1500");
    let a = host.run("a", "--net n -p 8080:7000");
    host.net.ip("link set eth0 mtu 1300");
    // Nobody learns that the path is narrow.
    for net in [&a.net, &host.outside] {
        net.nft(
            "table inet deaf { chain input { type filter hook input priority 0; policy accept;
             icmp type destination-unreachable drop
             icmpv6 type packet-too-big drop
             }
             }",
        );
    }
    // What the container sends on connections of its own making, and on those that others make.
    let pour_both_ways = || {
        [(OUTSIDE_V4, HOST_V4, "0.0.0.0"), (OUTSIDE_V6, HOST_V6, "::")].map(|(there, here, any)| {
            let any = (ip(any), 7000).into();
            let [own, outside] = connection(&a.net, (ip(there), 7000).into(), &host.outside, any);
            let made = arrives(own, outside);
            let [outside, own] = connection(&host.outside, (ip(here), 8080).into(), &a.net, any);
            (made, arrives(own, outside))
        })
    };
    assert_eq!(pour_both_ways(), [(true, true); 2]);
    // It is the clamp that does it.
    host.net.nft("flush chain inet zdocker clamp");
    assert_eq!(pour_both_ways(), [(false, false); 2]);
}
