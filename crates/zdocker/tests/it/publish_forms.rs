//! The ways to say what is published, and to see it.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, accept, bind, connect, listen, socket,
};

use crate::harness::{
    HOST_V4, HOST_V6, Host, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, does_not_reach, ip, reaches,
    skipped,
};

fn host() -> Host {
    let host = Host::new();
    host.z("network create --subnet 10.80.0.0/24 --subnet fd00:80::/64 front")
        .ok();
    host
}

/// What `port` prints of a container.
fn shown(host: &Host, container: &str) -> Vec<String> {
    let lines = host.z(&format!("port {container}")).ok();
    lines.stdout.lines().map(str::to_owned).collect()
}

/// The host port of a container's port, at every IPv4 address.
fn host_port(host: &Host, container: &str, private: &str) -> u16 {
    let shown = host.z(&format!("port {container} {private}")).ok();
    let first = shown.stdout.lines().find_map(|line| line.strip_prefix("0.0.0.0:"));
    first
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("{shown:?}"))
}

#[test]
fn ranges_of_one_length() {
    let host = host();
    let web = host.run("web", "--net front -p 8000-8002:80-82 -p 8000-8002:80-82/udp");
    let _servers = [80, 81, 82].map(|port| Server::start(&web.net, &format!("web{port}"), port));
    for (number, server) in [(8000, "web80"), (8001, "web81"), (8002, "web82")] {
        for proto in [Proto::Tcp, Proto::Udp] {
            for (target, source) in [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)] {
                let answer = reaches(&host.outside, proto, (ip(target), number));
                assert_eq!((answer.server.as_str(), answer.source), (server, ip(source)));
            }
        }
    }
    let ps = host.z("ps").ok();
    ps.prints(&[
        "0.0.0.0:8000-8002->80-82/tcp",
        "[::]:8000-8002->80-82/tcp",
        "0.0.0.0:8000-8002->80-82/udp",
    ]);
}

#[test]
fn of_a_range_for_one_port_a_free_one_is_chosen() {
    let host = host();
    let held = host.net.run(|| UdpSocket::bind("0.0.0.0:8001").unwrap());
    for (name, expected) in [("a", 8000), ("b", 8002)] {
        let container = host.run(name, "--net front -p 8000-8002:80/udp");
        assert_eq!(host_port(&host, name, "80/udp"), expected);
        let _server = Server::start(&container.net, name, 80);
        assert_eq!(reaches(&host.outside, Proto::Udp, (ip(HOST_V4), expected)).server, name);
    }
    let before = Snapshot::take(&host);
    host.z("run -d --net front -p 8000-8002:80/udp --rootfs / -- true")
        .exits(125)
        .says(&["no free port", "8000-8002:80/udp"]);
    before.assert_same(&host);
    host.z("rm -f a").ok();
    host.run("c", "--net front -p 8000-8002:80/udp");
    assert_eq!(host_port(&host, "c", "80/udp"), 8000);
    drop(held);
}

#[test]
fn free_ports_are_those_that_the_host_gives_to_whoever_asks_for_none() {
    let host = host();
    let limit = || std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20009").unwrap();
    host.net.run(limit);
    let held = host.net.run(|| std::net::TcpListener::bind("0.0.0.0:20004").unwrap());
    host.run("a", "--net front -p 80-84 -p 127.0.0.1::80");
    let mut ports: Vec<u16> = (80..85).map(|port| host_port(&host, "a", &port.to_string())).collect();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() == 5 && ports.iter().all(|port| (20000..20010).contains(port) && *port != 20004));
    let before = Snapshot::take(&host);
    host.z("run -d --net front -p 1-65535 --rootfs / -- true")
        .exits(125)
        .says(&["no free port", "1-65535/tcp"]);
    before.assert_same(&host);
    // What is taken by TCP is free by UDP.
    host.run("b", "--net front -p 80-88/udp");
    drop(held);
}

#[test]
fn fields_with_names() {
    let host = host();
    let web = host.run(
        "web",
        "--net front -p published=8080,target=80,protocol=tcp,mode=host -p target=53,protocol=udp,published=5353,host_ip=127.0.0.1",
    );
    let _server = Server::start(&web.net, "web", 80);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V6), 8080)).server, "web");
    assert_eq!(
        shown(&host, "web"),
        [
            "53/udp -> 127.0.0.1:5353",
            "80/tcp -> 0.0.0.0:8080",
            "80/tcp -> [::]:8080"
        ]
    );
}

#[test]
fn one_port_at_several_addresses() {
    let host = host();
    let web = host.run(
        "web",
        "--net front -p 127.0.0.1:8080:80 -p 203.0.113.1:8080:80 -p [2001:db8::1]:8080:80 -p [::1]:8080:80",
    );
    let _server = Server::start(&web.net, "web", 80);
    for target in ["127.0.0.1", HOST_V4, HOST_V6, "::1"] {
        assert_eq!(reaches(&host.net, Proto::Tcp, (ip(target), 8080)).server, "web");
    }
    does_not_reach(&host.net, Proto::Tcp, (ip("10.80.0.1"), 8080));
    assert_eq!(host.z("port web 80").ok().stdout.lines().count(), 4);
}

#[test]
fn all_that_is_exposed_is_published() {
    let host = host();
    let web = host.run(
        "web",
        "--net front -P --expose 80-81 --expose 53/udp --expose 443 -p 8443:443",
    );
    let _servers = [80, 53].map(|port| Server::start(&web.net, &port.to_string(), port));
    let tcp = host_port(&host, "web", "80");
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), tcp)).server, "80");
    let udp = host_port(&host, "web", "53/udp");
    assert_eq!(reaches(&host.outside, Proto::Udp, (ip(HOST_V6), udp)).server, "53");
    host_port(&host, "web", "81/tcp");
    assert_eq!(host.z("port web 443").ok().text(), "0.0.0.0:8443\n[::]:8443");
    host.run("quiet", "--net front --expose 80");
    assert!(shown(&host, "quiet").is_empty());
    let run = "run -d --net front -P --expose";
    for (exposed, words) in [
        ("8080:80", "\"8080:80\""),
        ("0", "from 1 to 65535"),
        ("80/icmp", "tcp or udp"),
    ] {
        host.z(&format!("{run} {exposed} --rootfs / -- true"))
            .exits(125)
            .says(&[words]);
    }
}

#[test]
fn the_configured_address_is_for_ports_that_name_none() {
    let host = host();
    let config = host.scratch().join("zdocker.toml");
    std::fs::write(&config, "ip = '127.0.0.1'\n").unwrap();
    let config = config.display();
    let web = host.run(
        "web",
        &format!("--config {config} --net front -p 8080:80 -p 0.0.0.0:8081:80 -P --expose 81"),
    );
    let _server = Server::start(&web.net, "web", 80);
    assert_eq!(reaches(&host.net, Proto::Tcp, (ip("127.0.0.1"), 8080)).server, "web");
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V6), 8080));
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8081)).server, "web");
    host.z("port web 81").ok().prints(&["127.0.0.1:"]);
    host.z(&format!("update --config {config} --publish-add 8082:80 web"))
        .ok();
    host.z("port web 80").ok().prints(&["127.0.0.1:8082"]);
}

#[test]
fn port_answers_as_docker_does() {
    let host = host();
    host.run("web", "--net front -p 8080:80 -p 127.0.0.1:5353:53/udp");
    assert_eq!(
        shown(&host, "web"),
        [
            "53/udp -> 127.0.0.1:5353",
            "80/tcp -> 0.0.0.0:8080",
            "80/tcp -> [::]:8080"
        ]
    );
    assert_eq!(host.z("port web 80").ok().text(), "0.0.0.0:8080\n[::]:8080");
    assert_eq!(host.z("port web 80/tcp").ok().text(), "0.0.0.0:8080\n[::]:8080");
    assert_eq!(host.z("port web 53/udp").ok().text(), "127.0.0.1:5353");
    for (private, shown) in [("53", "53/tcp"), ("81/udp", "81/udp")] {
        let words = format!("No public port '{shown}' published for web");
        host.z(&format!("port web {private}")).exits(1).says(&[&words]);
    }
    host.z("port nobody").exits(1).says(&["nobody"]);
    host.z("port web x").exits(125).says(&["\"x\""]);
    host.z("stop -t 0 web").ok();
    assert_eq!(host.z("port web").ok().text(), "");
}

#[test]
fn every_port_at_once() {
    let host = host();
    let before = Snapshot::take(&host);
    let web = host.run("web", "--net front -p 1-65535:1-65535 -p 203.0.113.1:53:53/udp");
    let servers = [1, 30000, 65535].map(|port| Server::start(&web.net, &port.to_string(), port));
    for port in [1u16, 30000, 65535] {
        assert_eq!(
            reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), port)).server,
            port.to_string()
        );
        assert_eq!(
            reaches(&host.outside, Proto::Tcp, (ip(HOST_V6), port)).server,
            port.to_string()
        );
    }
    host.z("ps").ok().prints(&["0.0.0.0:1-65535->1-65535/tcp"]);
    drop((servers, web));
    host.z("rm -f web").ok();
    before.assert_same(&host);
}

/// A connection of SCTP in the style of TCP's (sctp(7)); `None` if the kernel has none.
fn sctp(net: &NetNs) -> Option<OwnedFd> {
    let open = || {
        socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Sctp,
        )
    };
    net.run(open).ok()
}

#[test]
fn sctp_ports_lead_to_the_container_where_the_kernel_has_sctp() {
    let host = host();
    let run = "run -d --name web --net front -p 8080:80/sctp --rootfs / -- busybox sleep infinity";
    let (Some(server), Some(client)) = (sctp(&host.net), sctp(&host.outside)) else {
        let before = Snapshot::take(&host);
        host.z(run)
            .exits(125)
            .says(&["sctp ports cannot be published", "has no SCTP"]);
        before.assert_same(&host);
        return skipped("real traffic by SCTP: this kernel has none");
    };
    drop(server);
    let web = host.run("web", "--net front -p 8080:80/sctp");
    let server = sctp(&web.net).unwrap();
    let any: std::net::SocketAddr = "0.0.0.0:80".parse().unwrap();
    bind(server.as_raw_fd(), &SockaddrStorage::from(any)).unwrap();
    listen(&server, Backlog::new(1).unwrap()).unwrap();
    let target = std::net::SocketAddr::from((ip(HOST_V4), 8080));
    connect(client.as_raw_fd(), &SockaddrStorage::from(target)).unwrap();
    let accepted = accept(server.as_raw_fd()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    let accepted = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(accepted) };
    // Read and write are all that is used of them.
    let (mut client, mut accepted) = (TcpStream::from(client), TcpStream::from(accepted));
    client.write_all(b"hello").unwrap();
    let mut received = [0; 5];
    accepted.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello");
    host.z("ps").ok().prints(&["0.0.0.0:8080->80/sctp"]);
}

#[test]
fn what_cannot_be_published_is_refused_before_anything_is_made() {
    let host = host();
    host.z("network create --internal inside").ok();
    let before = Snapshot::take(&host);
    for (publish, words) in [
        ("8000-8010:80-81", "(8000-8010) and of the container (80-81)"),
        ("8010-8000:80", "the lower one first"),
        ("published=8080", "no port of the container"),
        ("published=8080,target=80,banana=1", "\"banana\""),
        ("8000-8010:80-90 -p 8005:99", "8005/tcp"),
        ("[fe80::1]:80:80", "link-local"),
        ("198.51.100.7:80-81:80-81", "no such address"),
    ] {
        let refused = host.z(&format!("run -d --net front -p {publish} --rootfs / -- true"));
        assert!(refused.status == 125, "{refused:?}");
        refused.says(&[words]);
        before.assert_same(&host);
    }
}
