//! Podman with zdocker, where netavark does not do, or does not always do, the same.

use std::thread;

use super::engine::Podman;
use super::{ZDOCKER, is_installed, measure};
use crate::harness::{HOST_V4, Proto, Server, ip, reaches};

/// Where the containers serve.
const PORT: u16 = 7000;

/// Checks that `name` leads to `address` in a container.
#[track_caller]
pub(super) fn resolves(podman: &Podman, container: &str, name: &str, address: &str) {
    let script = format!("exec {container} /bin/busybox nslookup -type=a {name}");
    let output = podman.call(&script).ok();
    let line = format!("Address: {address}");
    assert!(output.stdout.lines().any(|found| found == line), "{output:?}");
}

/// Checks that only Podman's own files and ours are left.
#[track_caller]
fn nothing_is_left(podman: &Podman) {
    let left = measure::what_is_left(podman);
    let ours = |what: &&String| !what.contains(" /run/containers/networks/") && !what.contains(": link ");
    let rest: Vec<&String> = left.keys().filter(ours).collect();
    assert!(rest.is_empty(), "{rest:?}");
    let links: Vec<&str> = left
        .keys()
        .filter_map(|what| what.strip_prefix("left: link "))
        .collect();
    assert_eq!(links, ["eth0", "lo"]);
}

#[test]
fn the_name_server_may_listen_at_another_port() {
    if !is_installed() {
        return;
    }
    let podman = Podman::configured(ZDOCKER, "dns_bind_port = 1053");
    podman
        .call("network create --ipv6 --subnet 10.20.0.0/24 --subnet fd00:20::/64 front")
        .ok();
    podman
        .call("run -d --name web --network front:ip=10.20.0.10,ip=fd00:20::10 IMAGE sleep infinity")
        .ok();
    podman
        .call("run -d --name app --network front IMAGE sleep infinity")
        .ok();
    let servers = measure::name_servers(&podman);
    assert!(
        matches!(&servers[..], [server] if server.contains("\x00-p\x001053\x00")),
        "{servers:?}"
    );
    resolves(&podman, "app", "web.dns.podman", "10.20.0.10");
    for server in ["10.20.0.1", "fd00:20::1"] {
        resolves(&podman, "app", &format!("web {server}"), "10.20.0.10");
    }
    podman.call("rm -f -t 0 web").ok();
    podman.call("rm -f -t 0 app").ok();
    nothing_is_left(&podman);
}

#[test]
fn many_may_come_and_go_at_once() {
    if !is_installed() {
        return;
    }
    let podman = Podman::new(ZDOCKER);
    podman.call("network create --subnet 10.20.0.0/24 front").ok();
    podman
        .call("run -d --name web --network front:ip=10.20.0.10 -p 8080:7000 IMAGE sleep infinity")
        .ok();
    let _server = Server::start(&podman.network_of("web"), "web", PORT);
    let is_there = || {
        let answer = reaches(&podman.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
        assert_eq!(answer.server, "web");
    };
    is_there();
    let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    thread::scope(|scope| {
        for (name, port) in names.iter().zip(9000..) {
            let podman = &podman;
            scope.spawn(move || {
                let network = ["front", "podman"][port % 2];
                let line = format!("run -d --name {name} --network {network} -p {port}:7000 IMAGE sleep infinity");
                podman.call(&line).ok();
            });
        }
    });
    for (name, port) in names.iter().zip(9000..) {
        let _server = Server::start(&podman.network_of(name), name, PORT);
        let answer = reaches(&podman.host.outside, Proto::Tcp, (ip(HOST_V4), port));
        assert_eq!(answer.server, *name);
        is_there();
    }
    podman.call(&format!("rm -f -t 0 {}", names.join(" "))).ok();
    is_there();
    let net = podman.network_of("web");
    net.ip("neigh flush all");
    resolves(&podman, "web", "web.dns.podman", "10.20.0.10");
    podman.call("rm -f -t 0 web").ok();
    nothing_is_left(&podman);
}

#[test]
fn what_is_gone_already_is_no_error() {
    if !is_installed() {
        return;
    }
    let podman = Podman::new(ZDOCKER);
    let host = &podman.host;
    let delete_bridge = || host.net.ip("link delete podman1");
    let delete_records = || {
        host.program("rm", &["-r", "/run/containers/networks/zdocker"]).ok();
    };
    let delete_names = || {
        host.program("rm", &["-r", "/run/containers/networks/aardvark-dns"])
            .ok();
    };
    let flush = || host.net.nft("flush ruleset");
    let losses: [&[&dyn Fn()]; 5] = [
        &[&delete_bridge],
        &[&delete_records],
        &[&flush],
        &[&delete_names],
        &[&delete_bridge, &delete_records, &flush],
    ];
    podman.call("network create --subnet 10.20.0.0/24 front").ok();
    for loss in losses {
        podman
            .call("run -d --name web --network front -p 8080:7000 IMAGE sleep infinity")
            .ok();
        {
            let _server = Server::start(&podman.network_of("web"), "web", PORT);
            let answer = reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
            assert_eq!(answer.server, "web");
        }
        let server = host
            .program("cat", &["/run/containers/networks/aardvark-dns/aardvark.pid"])
            .ok();
        loss.iter().for_each(|delete| delete());
        podman.call("rm -f -t 0 web").ok();
        // Whose files somebody took away is told nothing any more.
        host.program("kill", &[server.text()]);
        nothing_is_left(&podman);
    }
}
