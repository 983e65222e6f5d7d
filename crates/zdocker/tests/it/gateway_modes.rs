//! Gateway modes: which way leads from outside to containers and back, in each family.

use crate::harness::{
    HOST_V4, HOST_V6, Host, NEIGHBOUR_V4, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, does_not_reach, ip, reaches,
};
use crate::reach::{PORT, dual_stack, sees, serving, shut};

const NEIGHBOUR_V6: &str = "2001:db8::3";
/// A port that is served and not published.
const OTHER_PORT: u16 = 7001;

/// A host on the same wire that sends packets to the networks `10.N.0.0/24` and `fd00:N::/64` to ours.
fn routing_neighbour(host: &Host) -> NetNs {
    let neighbour = host.neighbour();
    neighbour.ip(&format!(
        "route add 10.0.0.0/8 via {HOST_V4}\nroute add fd00::/16 via {HOST_V6}"
    ));
    host.outside.ip(&format!(
        "route add 10.0.0.0/8 via {HOST_V4}\nroute add fd00::/16 via {HOST_V6}"
    ));
    neighbour
}

fn pings(from: &NetNs, target: &str) -> bool {
    let output = from.run(|| {
        std::process::Command::new("busybox")
            .args(["ping", "-c", "1", "-W", "1", target])
            .output()
            .unwrap()
    });
    output.status.success()
}

fn modes(v4: &str, v6: &str) -> String {
    format!("-o com.docker.network.bridge.gateway_mode_ipv4={v4} -o gateway_mode_ipv6={v6}")
}

#[test]
fn routed_opens_published_ports_of_the_containers_own_address() {
    let host = Host::new();
    let neighbour = routing_neighbour(&host);
    dual_stack(&host, "n", 10, &modes("routed", "routed"));
    dual_stack(&host, "other", 11, "");
    // The container's port is open once, however often it is published.
    let (a, _server) = serving(
        &host,
        "a",
        "--net n -p 8080:7000 -p 8081:7000 -p 8080:7000/udp -p 127.0.0.1:8082:7001",
    );
    // What is published for the host alone is as if it were not.
    let _unpublished = Server::start(&a.net, "a", OTHER_PORT);
    let c = host.run("c", "--net other");
    for (target, own) in [(a.v4(), NEIGHBOUR_V4), (a.v6(), NEIGHBOUR_V6)] {
        sees(&neighbour, target, "a", own);
        for proto in [Proto::Tcp, Proto::Udp] {
            does_not_reach(&neighbour, proto, (target, OTHER_PORT));
        }
        assert!(pings(&neighbour, &target.to_string()));
        assert_eq!(reaches(&host.net, Proto::Tcp, (target, OTHER_PORT)).server, "a");
        // Another network's container gets as far as a stranger.
        assert_eq!(reaches(&c.net, Proto::Tcp, (target, PORT)).server, "a");
        does_not_reach(&c.net, Proto::Tcp, (target, OTHER_PORT));
    }
    // No port of the host leads anywhere.
    for target in [HOST_V4, HOST_V6] {
        does_not_reach(&neighbour, Proto::Tcp, (ip(target), 8080));
    }
    // On the way out nothing is translated.
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", a.v4());
    sees(&a.net, OUTSIDE_V6, "outside", a.v6());
    host.z("rm -f a").ok();
    shut(&neighbour, a.v4());
}

#[test]
fn ports_open_and_close_while_the_container_runs() {
    let host = Host::new();
    let neighbour = routing_neighbour(&host);
    dual_stack(&host, "n", 10, &modes("routed", "routed"));
    let (a, _server) = serving(&host, "a", "--net n -p 8080:7000");
    let _other = Server::start(&a.net, "a", OTHER_PORT);
    host.z("update --publish-add 8081:7000 --publish-add 8082:7001 a").ok();
    for target in [a.v4(), a.v6()] {
        for port in [PORT, OTHER_PORT] {
            assert_eq!(reaches(&neighbour, Proto::Tcp, (target, port)).server, "a");
        }
    }
    // Port 7000 is still published once.
    host.z("update --publish-rm 8080:7000 --publish-rm 8082:7001 a").ok();
    for target in [a.v4(), a.v6()] {
        assert_eq!(reaches(&neighbour, Proto::Tcp, (target, PORT)).server, "a");
        does_not_reach(&neighbour, Proto::Tcp, (target, OTHER_PORT));
    }
}

#[test]
fn each_family_has_its_own_mode() {
    let host = Host::new();
    let neighbour = routing_neighbour(&host);
    dual_stack(&host, "n", 10, &modes("nat", "routed"));
    let (a, _server) = serving(&host, "a", "--net n -p 8080:7000");
    shut(&neighbour, a.v4());
    assert!(!pings(&neighbour, &a.v4().to_string()));
    assert_eq!(reaches(&neighbour, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
    assert_eq!(reaches(&neighbour, Proto::Tcp, (a.v6(), PORT)).server, "a");
    does_not_reach(&neighbour, Proto::Tcp, (ip(HOST_V6), 8080));
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
    sees(&a.net, OUTSIDE_V6, "outside", a.v6());
}

#[test]
fn nat_unprotected_leaves_every_port_open() {
    let host = Host::new();
    let neighbour = routing_neighbour(&host);
    dual_stack(&host, "n", 10, &modes("nat-unprotected", "nat-unprotected"));
    dual_stack(&host, "other", 11, "");
    let (a, _server) = serving(&host, "a", "--net n -p 8080:7000");
    let _unpublished = Server::start(&a.net, "a", OTHER_PORT);
    let c = host.run("c", "--net other");
    for (target, at_host, own) in [(a.v4(), HOST_V4, NEIGHBOUR_V4), (a.v6(), HOST_V6, NEIGHBOUR_V6)] {
        sees(&neighbour, target, "a", own);
        assert_eq!(reaches(&neighbour, Proto::Udp, (target, OTHER_PORT)).server, "a");
        assert_eq!(reaches(&neighbour, Proto::Tcp, (ip(at_host), 8080)).source, ip(own));
        assert!(pings(&neighbour, &target.to_string()));
        // Networks are still isolated from each other.
        shut(&c.net, target);
    }
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
    sees(&a.net, OUTSIDE_V6, "outside", HOST_V6);
}

#[test]
fn isolated_leaves_containers_to_themselves() {
    let host = Host::new();
    dual_stack(&host, "n", 10, &format!("--internal {}", modes("isolated", "isolated")));
    let addresses = host.net.ip_json(&["addr", "show", "dev", "n"]);
    assert!(
        addresses[0]["addr_info"].as_array().unwrap().is_empty(),
        "{addresses:?}"
    );
    let (a, _server_a) = serving(&host, "a", "--net n");
    let (b, _server_b) = serving(&host, "b", "--net n");
    sees(&a.net, b.v4(), "b", a.v4());
    sees(&b.net, a.v6(), "a", b.v6());
    for target in [a.v4(), a.v6()] {
        shut(&host.net, target);
    }
    host.z(&format!("network create {} m", modes("isolated", "nat")))
        .exits(1)
        .says(&["--internal"]);
}

#[test]
fn a_mode_survives_the_loss_of_the_firewall() {
    let host = Host::new();
    let neighbour = routing_neighbour(&host);
    dual_stack(&host, "n", 10, &modes("routed", "nat-unprotected"));
    let (a, _server) = serving(&host, "a", "--net n -p 8080:7000");
    host.net.nft("flush ruleset");
    host.z("system check --repair").ok();
    let _unpublished = Server::start(&a.net, "a", OTHER_PORT);
    assert_eq!(reaches(&neighbour, Proto::Tcp, (a.v4(), PORT)).server, "a");
    does_not_reach(&neighbour, Proto::Tcp, (a.v4(), OTHER_PORT));
    assert_eq!(reaches(&neighbour, Proto::Tcp, (a.v6(), OTHER_PORT)).server, "a");
}
