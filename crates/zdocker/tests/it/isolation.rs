//! What containers of one network and those of others have to do with each other.

use crate::harness::{
    Container, HOST_V4, HOST_V6, Host, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, does_not_reach, ip, reaches,
};
use crate::reach::{PORT, dual_stack, sees, serving, shut};

/// Networks `10.10.0.0/24` and `10.11.0.0/24`, a container on each with port 7000 published.
fn two_networks(host: &Host, first: &str, second: &str) -> [(Container, Server); 2] {
    dual_stack(host, "front", 10, first);
    dual_stack(host, "back", 11, second);
    [
        serving(host, "a", "--net front -p 8080:7000"),
        serving(host, "b", "--net back -p 8081:7000"),
    ]
}

#[test]
fn networks_without_isolation_reach_each_other() {
    let host = Host::new();
    let [(a, _server_a), (b, _server_b)] = two_networks(&host, "-o isolation=none", "-o isolate=false");
    dual_stack(&host, "third", 12, "");
    let (c, _server_c) = serving(&host, "c", "--net third");
    // Nothing is translated between them.
    for (target, name, from, own) in [
        (b.v4(), "b", &a, a.v4()),
        (b.v6(), "b", &a, a.v6()),
        (a.v4(), "a", &b, b.v4()),
    ] {
        sees(&from.net, target, name, own);
    }
    // It takes two.
    shut(&a.net, c.v4());
    shut(&c.net, a.v4());
    shut(&c.net, a.v6());
    assert_eq!(reaches(&c.net, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
    assert_eq!(reaches(&a.net, Proto::Tcp, (ip(HOST_V4), 8081)).server, "b");
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
    sees(&a.net, OUTSIDE_V6, "outside", HOST_V6);
}

#[test]
fn strictly_isolated_networks_do_not_even_reach_published_ports() {
    let host = Host::new();
    let [(a, _server_a), (b, _server_b)] = two_networks(&host, "-o isolation=strict", "-o isolation=none");
    let (a2, _server_a2) = serving(&host, "a2", "--net front");
    for at_host in [HOST_V4, HOST_V6] {
        does_not_reach(&a.net, Proto::Tcp, (ip(at_host), 8081));
        does_not_reach(&b.net, Proto::Tcp, (ip(at_host), 8080));
        // Within, and from outside, all is as ever.
        assert_eq!(reaches(&a2.net, Proto::Tcp, (ip(at_host), 8080)).server, "a");
        assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(at_host), 8080)).server, "a");
        assert_eq!(reaches(&host.net, Proto::Tcp, (ip(at_host), 8080)).server, "a");
    }
    for target in [b.v4(), b.v6()] {
        shut(&a.net, target);
    }
    shut(&b.net, a.v4());
    sees(&a.net, a2.v4(), "a2", a.v4());
    sees(&a.net, a2.v6(), "a2", a.v6());
    let _outside = Server::start(&host.outside, "outside", PORT);
    sees(&a.net, OUTSIDE_V4, "outside", HOST_V4);
}

#[test]
fn strict_holds_against_open_modes() {
    let host = Host::new();
    let open = "-o gateway_mode_ipv4=routed -o gateway_mode_ipv6=nat-unprotected";
    let [(a, _server_a), (b, _server_b)] = two_networks(&host, &format!("{open} -o isolation=strict"), open);
    shut(&b.net, a.v4());
    shut(&b.net, a.v6());
    shut(&a.net, b.v4());
    shut(&a.net, b.v6());
}

#[test]
fn neighbours_without_icc_do_not_reach_each_other() {
    let host = Host::new();
    for (number, option) in [(10, "icc"), (11, "com.docker.network.bridge.enable_icc")] {
        let net = format!("n{number}");
        dual_stack(&host, &net, number, &format!("-o {option}=false"));
        let (a, _server_a) = serving(&host, &format!("a{number}"), &format!("--net {net} -p 80{number}:7000"));
        let b = host.run(&format!("b{number}"), &format!("--net {net}"));
        shut(&b.net, a.v4());
        shut(&b.net, a.v6());
        let published = 8000 + u16::from(number);
        for at_host in [HOST_V4, HOST_V6] {
            assert_eq!(
                reaches(&host.outside, Proto::Tcp, (ip(at_host), published)).server,
                a_name(number)
            );
        }
        sees(&host.net, a.v4(), &a_name(number), format!("10.{number}.0.1"));
        let _outside = Server::start(&host.outside, "outside", PORT);
        sees(&b.net, OUTSIDE_V4, "outside", HOST_V4);
        sees(&b.net, OUTSIDE_V6, "outside", HOST_V6);
    }
}

#[test]
fn no_way_leads_around_icc_by_the_host() {
    let host = Host::new();
    for (number, options) in [(10, ""), (12, "-o isolation=none -o gateway_mode_ipv4=nat-unprotected")] {
        let (net, other) = (format!("n{number}"), number + 1);
        let options = format!("-o icc=false {options} --subnet 10.{other}.0.0/24 --subnet fd00:{other}::/64");
        dual_stack(&host, &net, number, &options);
        let (a, _server_a) = serving(&host, &format!("a{number}"), &format!("--net {net}"));
        let second = format!("--net {net} --ip 10.{other}.0.9 --ip6 fd00:{other}::9");
        let (c, _server_c) = serving(&host, &format!("c{number}"), &second);
        let b = host.run(&format!("b{number}"), &format!("--net {net}"));
        // To the other subnet the way leads by the host anyway.
        shut(&b.net, c.v4());
        shut(&b.net, c.v6());
        b.net.ip(&format!(
            "route add {}/32 via 10.{number}.0.1\nroute add {}/128 via fd00:{number}::1",
            a.v4(),
            a.v6()
        ));
        shut(&b.net, a.v4());
        shut(&b.net, a.v6());
        sees(&host.net, a.v4(), &a_name(number), format!("10.{number}.0.1"));
    }
}

fn a_name(number: u8) -> String {
    format!("a{number}")
}

/// Where bridged packets do not walk the IP rules, a neighbour's published port is reached by way of the host; where they
/// do, the kernel bridges the translated packet at once, and isolated ports take none from each other.
#[test]
fn published_ports_of_neighbours_without_icc() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "-o icc=false");
    let (a, _server) = serving(&host, "a", "--net n -p 8080:7000");
    let b = host.run("b", "--net n");
    let bridged = |value: &str| {
        for family in ["ip", "ip6"] {
            let key = format!("net.bridge.bridge-nf-call-{family}tables={value}");
            host.net.output("sysctl", &["-q", "-w", &key], "");
        }
    };
    bridged("1");
    for at_host in [HOST_V4, HOST_V6] {
        does_not_reach(&b.net, Proto::Tcp, (ip(at_host), 8080));
    }
    bridged("0");
    for at_host in [HOST_V4, HOST_V6] {
        assert_eq!(reaches(&b.net, Proto::Tcp, (ip(at_host), 8080)).server, "a");
    }
    shut(&b.net, a.v4());
}

#[test]
fn isolation_of_ports_outlives_the_bridge() {
    let host = Host::new();
    dual_stack(&host, "n", 10, "-o icc=false");
    let (a, _server) = serving(&host, "a", "--net n");
    let b = host.run("b", "--net n");
    host.net.ip("link delete dev n");
    host.z("system check --repair").ok();
    sees(&host.net, a.v4(), "a", "10.10.0.1");
    shut(&b.net, a.v4());
    shut(&b.net, a.v6());
}
