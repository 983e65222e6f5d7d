//! Published ports at `::1`, which a relay leads on to the container.

use std::net::{Ipv6Addr, TcpListener};

use crate::harness::{Container, HOST_V4, HOST_V6, Host, Proto, Server, Snapshot, does_not_reach, ip, reaches, until};

const GATEWAY_V4: &str = "10.80.0.1";
const GATEWAY_V6: &str = "fd00:80::1";
const BOTH: [Proto; 2] = [Proto::Tcp, Proto::Udp];

fn host() -> Host {
    let host = Host::new();
    host.z("network create --subnet 10.80.0.0/24 --subnet fd00:80::/64 front")
        .ok();
    host.z("network create --subnet 10.81.0.0/24 old").ok();
    host
}

/// A container `web` that serves at port 80.
fn web(host: &Host, options: &str) -> (Container, Server) {
    let container = host.run("web", options);
    let server = Server::start(&container.net, "web", 80);
    (container, server)
}

/// Whether something of the host listens at a port of `::1`.
fn is_listened_at(host: &Host, port: u16) -> bool {
    let sockets = host.net.output("ss", &["-Hlntu"], "");
    sockets.contains(&format!("[::1]:{port} "))
}

#[test]
fn a_port_at_every_address_is_at_the_ipv6_loopback_address_too() {
    let host = host();
    let _web = web(&host, "--net front -p 8080:80 -p 8080:80/udp");
    for proto in BOTH {
        let answer = reaches(&host.net, proto, (ip("::1"), 8080));
        assert_eq!((answer.server.as_str(), answer.source), ("web", ip(GATEWAY_V6)));
        // Everywhere else nothing stands between.
        let source = reaches(&host.outside, proto, (ip(HOST_V6), 8080)).source;
        assert_eq!(source, ip(crate::harness::OUTSIDE_V6));
    }
}

#[test]
fn a_container_without_ipv6_is_reached_by_ipv4() {
    let host = host();
    let _web = web(&host, "--net old -p 8080:80 -p 8080:80/udp -p [::1]:8081:80");
    for proto in BOTH {
        let answer = reaches(&host.net, proto, (ip("::1"), 8080));
        assert_eq!((answer.server.as_str(), answer.source), ("web", ip("10.81.0.1")));
    }
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("::1"), 8081)).server, "web");
}

#[test]
fn a_port_at_the_ipv6_loopback_address_is_for_this_host_alone() {
    let host = host();
    let _web = web(&host, "--net front -p [::1]:8080:80 -p [::1]:8080:80/udp");
    for proto in BOTH {
        assert_eq!(reaches(&host.net, proto, (ip("::1"), 8080)).server, "web");
        for target in [HOST_V4, HOST_V6, "127.0.0.1", GATEWAY_V4, GATEWAY_V6] {
            does_not_reach(&host.net, proto, (ip(target), 8080));
        }
        does_not_reach(&host.outside, proto, (ip(HOST_V6), 8080));
    }
    host.z("ps").ok().prints(&["[::1]:8080->80/tcp", "[::1]:8080->80/udp"]);
    assert_eq!(host.z("port web 80").ok().text(), "[::1]:8080");
    host.z("run -d --net front -p [::1]:8080:80 --rootfs / -- true")
        .exits(125)
        .says(&["8080/tcp", "published by container \"web\""]);
}

#[test]
fn a_port_at_other_addresses_is_not_at_the_ipv6_loopback_address() {
    let host = host();
    let _web = web(
        &host,
        "--net front -p 127.0.0.1:8080:80 -p 0.0.0.0:8081:80 -p [2001:db8::1]:8082:80",
    );
    for port in [8080, 8081, 8082] {
        assert!(!is_listened_at(&host, port));
        does_not_reach(&host.net, Proto::Tcp, (ip("::1"), port));
    }
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("127.0.0.1"), 8080)).server, "web");
}

#[test]
fn the_port_is_free_when_the_container_has_ended() {
    let host = host();
    host.z("run --rm --rootfs / -- true").ok();
    let before = Snapshot::take(&host);
    for end in ["stop -t 0 web", "kill web", "rm -f web"] {
        let web = web(&host, "--net front -p 8080:80 -p 8080:80/udp");
        assert!(is_listened_at(&host, 8080));
        drop(web);
        host.z(end).ok();
        until("nobody listens", || !is_listened_at(&host, 8080));
        host.z("rm -f web");
        before.assert_same(&host);
    }
    // Once it is said that the container has ended, another one can have its port.
    for _ in 0..5 {
        host.z("run --rm --net front -p 8080:80 -p 8080:80/udp --rootfs / -- true")
            .ok();
    }
}

#[test]
fn the_same_port_is_refused_by_the_name_of_its_container_and_not_of_its_relay() {
    let host = host();
    let _web = web(&host, "--net front -p 8080:80");
    for publish in ["8080:80", "[::]:8080:80", "[::1]:8080:80"] {
        host.z(&format!("run -d --net front -p {publish} --rootfs / -- true"))
            .exits(125)
            .says(&["published by container \"web\""]);
    }
}

#[test]
fn a_program_of_the_host_at_that_address_stands_in_the_way_of_that_address_only() {
    let host = host();
    let listener = host.net.run(|| TcpListener::bind((Ipv6Addr::LOCALHOST, 8080)).unwrap());
    for publish in ["8080:80", "[::1]:8080:80"] {
        host.z(&format!("run -d --net front -p {publish} --rootfs / -- true"))
            .exits(125)
            .says(&["8080/tcp of this host is in use by"]);
    }
    let _web = web(&host, "--net front -p 0.0.0.0:8080:80 -p [2001:db8::1]:8080:80");
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip(HOST_V6), 8080)).server, "web");
    drop(listener);
}

#[test]
fn a_host_without_ipv6_at_its_loopback_interface_has_no_relay_and_no_complaint() {
    let host = host();
    host.net
        .run(|| std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap());
    let (container, _server) = web(&host, "--net front -p 8080:80");
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V6), 8080)).server, "web");
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("127.0.0.1"), 8080)).server, "web");
    let log = host.run_root().join("containers").join(&container.id).join("shim.log");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "");
}

#[test]
fn of_very_many_ports_the_first_are_relayed_and_the_rest_is_told() {
    let host = host();
    let container = host.zdocker(&[
        "run",
        "-d",
        "--name",
        "web",
        "--net",
        "front",
        "-p",
        "20000-20999:1000-1999",
        "--rootfs",
        "/",
        "--",
        "busybox",
        "sleep",
        "infinity",
    ]);
    let container = container.ok().says(&["744 published ports are not reached at [::1]"]);
    let listening = host.net.output("ss", &["-Hlnt"], "");
    assert_eq!(listening.matches("[::1]:").count(), 256, "{}", container.stderr);
    assert!(is_listened_at(&host, 20000) && is_listened_at(&host, 20255));
    // They are taken from everybody else all the same.
    host.z("run -d --net front -p 20999:80 --rootfs / -- true")
        .exits(125)
        .says(&["20999/tcp", "web"]);
}

#[test]
fn a_relay_follows_its_container_to_another_network() {
    let host = host();
    let (_web, _server) = web(&host, "--net front -p 8080:80 -p 8080:80/udp");
    host.z("network connect old web").ok();
    host.z("network disconnect front web").ok();
    for proto in BOTH {
        let answer = reaches(&host.net, proto, (ip("::1"), 8080));
        assert_eq!((answer.server.as_str(), answer.source), ("web", ip("10.81.0.1")));
    }
    host.z("network disconnect old web").ok();
    assert!(!is_listened_at(&host, 8080));
    host.z("network connect front web").ok();
    for proto in BOTH {
        let answer = reaches(&host.net, proto, (ip("::1"), 8080));
        assert_eq!(answer.source, ip(GATEWAY_V6));
    }
}

#[test]
fn a_relay_does_not_hold_up_the_containers_output() {
    let host = host();
    let (_web, server) = web(&host, "--net front -p 8080:80");
    // Somebody who connects and says nothing, and a server that does not answer.
    drop(server);
    let quiet = host.net.run(|| {
        let target = std::net::SocketAddr::from((Ipv6Addr::LOCALHOST, 8080));
        std::net::TcpStream::connect(target).unwrap()
    });
    host.z("exec web true").ok();
    host.z("stop -t 0 web").ok();
    drop(quiet);
}
