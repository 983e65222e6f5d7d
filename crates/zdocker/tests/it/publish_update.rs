//! Changing the published ports of a running container.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::harness::kill::{KERNEL, RECORDS, has_strace, killed_at, killed_at_each};
use crate::harness::{
    Container, HOST_V4, HOST_V6, Host, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, UdpFlow, does_not_reach, ip,
    reaches, until,
};

/// A host with a container `web` that serves at port 80.
struct Web {
    host: Host,
    container: Container,
    _server: Server,
}

impl Web {
    fn run(options: &str) -> Self {
        let host = Host::new();
        host.z("network create --subnet 10.80.0.0/24 --subnet fd00:80::/64 front")
            .ok();
        let container = host.run("web", &format!("--net front {options}"));
        let server = Server::start(&container.net, "web", 80);
        Web {
            host,
            container,
            _server: server,
        }
    }

    fn update(&self, changes: &str) {
        let updated = self.host.z(&format!("update {changes} web")).ok();
        assert_eq!((updated.text(), updated.stderr.as_str()), ("web", ""));
    }

    /// Reached by every way there is, with the clients' own addresses from outside.
    #[track_caller]
    fn is_reached_at(&self, port: u16) {
        for proto in [Proto::Tcp, Proto::Udp] {
            for (target, source) in [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)] {
                let answer = reaches(&self.host.outside, proto, (ip(target), port));
                assert_eq!((answer.server.as_str(), answer.source), ("web", ip(source)));
                // By hairpin.
                assert_eq!(reaches(&self.container.net, proto, (ip(target), port)).server, "web");
            }
            for target in ["127.0.0.1", "::1", HOST_V4, HOST_V6] {
                assert_eq!(reaches(&self.host.net, proto, (ip(target), port)).server, "web");
            }
        }
    }

    #[track_caller]
    fn is_not_reached_at(&self, port: u16) {
        for proto in [Proto::Tcp, Proto::Udp] {
            does_not_reach(&self.host.outside, proto, (ip(HOST_V4), port));
            does_not_reach(&self.host.net, proto, (ip("::1"), port));
        }
        does_not_reach(&self.host.outside, Proto::Tcp, (ip(HOST_V6), port));
        does_not_reach(&self.host.net, Proto::Tcp, (ip("127.0.0.1"), port));
    }

    fn has_hairpin(&self) -> bool {
        let ports = self.host.net.ip_json(&["-details", "link", "show", "master", "front"]);
        ports[0]["linkinfo"]["info_slave_data"]["hairpin"].as_bool().unwrap()
    }
}

/// The host ports that `port` shows at every IPv4 address, with their protocols.
fn recorded(host: &Host) -> BTreeSet<String> {
    let shown = host.z("port web").ok();
    let lines = shown.stdout.lines().filter_map(|line| line.split_once(" -> 0.0.0.0:"));
    lines
        .map(|(private, port)| format!("{port}/{}", private.split_once('/').unwrap().1))
        .collect()
}

/// Those that the kernel leads on, in both families.
fn in_the_kernel(host: &Host) -> BTreeSet<String> {
    let ports = |map: &str| -> BTreeSet<String> {
        let listed = host
            .net
            .output("nft", &["-j", "list", "map", "inet", "zdocker", map], "");
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let elements = listed["nftables"][1]["map"]["elem"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let key = |element: &serde_json::Value| {
            let key = &element[0]["concat"];
            format!("{}/{}", key[1], key[0].as_str().unwrap())
        };
        elements.iter().map(key).collect()
    };
    let v4 = ports("pub4any");
    assert_eq!(v4, ports("pub6any"));
    v4
}

/// Those that are listened at for `::1`.
fn relayed(host: &Host) -> BTreeSet<String> {
    let sockets = host.net.output("ss", &["-Hlntu"], "");
    let lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter_map(|fields| Some(format!("{}/{}", fields[4].strip_prefix("[::1]:")?, fields[0])))
        .collect()
}

/// Kernel and relay have what the records say.
#[track_caller]
fn all_agree(host: &Host) -> BTreeSet<String> {
    let ports = recorded(host);
    assert_eq!(in_the_kernel(host), ports, "in the kernel, and recorded");
    assert_eq!(relayed(host), ports, "relayed, and recorded");
    ports
}

#[test]
fn ports_come_and_go_while_the_container_runs() {
    let web = Web::run("");
    assert!(!web.has_hairpin());
    web.is_not_reached_at(8080);
    web.update("--publish-add 8080:80 --publish-add 8080:80/udp");
    web.is_reached_at(8080);
    assert!(web.has_hairpin());
    web.host
        .z("ps")
        .ok()
        .prints(&["0.0.0.0:8080->80/tcp", "[::]:8080->80/udp"]);
    web.update("--publish-add 8081-8082:80-81 --publish-add 8081:80/udp --publish-rm 8080:80 --publish-rm 8080:80/udp");
    web.is_reached_at(8081);
    web.is_not_reached_at(8080);
    let _own = Server::start(&web.host.net, "host", 8080);
    assert!(web.has_hairpin());
    web.update("--publish-rm 80-81 --publish-rm 80/udp");
    web.is_not_reached_at(8081);
    assert!(!web.has_hairpin());
    assert_eq!(web.host.z("port web").ok().text(), "");
    web.host.z("system check").ok();
}

#[test]
fn nothing_of_them_is_left_with_the_container() {
    let host = Host::new();
    host.z("network create --subnet 10.80.0.0/24 --subnet fd00:80::/64 front")
        .ok();
    host.z("run --rm --net front --rootfs / -- true").ok();
    let before = Snapshot::take(&host);
    for end in ["rm -f web", "stop -t 0 web"] {
        host.run("web", "--net front -p 8000:80");
        host.z("update --publish-add 8080:80 --publish-add 8080:80/udp --publish-rm 8000:80 web")
            .ok();
        assert_eq!(all_agree(&host), ["8080/tcp", "8080/udp"].map(str::to_owned).into());
        host.z(end).ok();
        host.z("rm -f web");
        before.assert_same(&host);
    }
}

#[test]
fn what_is_unpublished_is_named_in_every_way() {
    let web = Web::run("");
    let all = "--publish-add 8080:80 --publish-add 127.0.0.1:9090:80 --publish-add 8080:80/udp --publish-add 8443:443";
    for (remove, left) in [
        ("80", "80/udp -> 0.0.0.0:8080, 443/tcp -> 0.0.0.0:8443"),
        (
            "published=8080",
            "80/tcp -> 127.0.0.1:9090, 80/udp -> 0.0.0.0:8080, 443/tcp -> 0.0.0.0:8443",
        ),
        (
            "8080:80/udp",
            "80/tcp -> 0.0.0.0:8080, 80/tcp -> 127.0.0.1:9090, 443/tcp -> 0.0.0.0:8443",
        ),
        (
            "127.0.0.1:9090:80",
            "80/tcp -> 0.0.0.0:8080, 80/udp -> 0.0.0.0:8080, 443/tcp -> 0.0.0.0:8443",
        ),
        ("80-443", "80/udp -> 0.0.0.0:8080"),
        (
            "target=443",
            "80/tcp -> 0.0.0.0:8080, 80/tcp -> 127.0.0.1:9090, 80/udp -> 0.0.0.0:8080",
        ),
    ] {
        web.update(all);
        web.update(&format!("--publish-rm {remove}"));
        let shown = web.host.z("port web").ok();
        let v4 = shown.stdout.lines().filter(|line| !line.contains("[::]"));
        assert_eq!(v4.collect::<Vec<_>>().join(", "), left, "without {remove}");
        web.update(&match left.contains("/tcp") {
            true if left.contains("/udp") => "--publish-rm 1-65535 --publish-rm 1-65535/udp".to_owned(),
            true => "--publish-rm 1-65535".to_owned(),
            false => "--publish-rm 1-65535/udp".to_owned(),
        });
    }
}

#[test]
fn established_connections_go_on_and_udp_flows_are_cut() {
    let web = Web::run("-p 8080:81 -p 8081:80/udp");
    let listener = web.container.net.run(|| TcpListener::bind("[::]:81").unwrap());
    let target = |host: &str, port| SocketAddr::from((ip(host), port));
    let clients = [
        (&web.host.outside, HOST_V4),
        (&web.host.outside, HOST_V6),
        (&web.host.net, "::1"),
    ];
    let mut connections = clients.map(|(net, host)| {
        let client = net.run(|| TcpStream::connect(target(host, 8080)).unwrap());
        (client, listener.accept().unwrap().0)
    });
    let flows = clients.map(|(net, host)| UdpFlow::open(net, target(host, 8081)));
    flows.iter().for_each(|flow| assert_eq!(flow.answer().server, "web"));
    web.update("--publish-rm 81 --publish-rm 80/udp");
    for (client, server) in &mut connections {
        let mut received = [0; 4];
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut received).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"pong");
    }
    flows.iter().for_each(UdpFlow::is_silent);
    does_not_reach(&web.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    // And a flow that begins before its port is published takes its way when it is.
    web.update("--publish-add 8081:80/udp");
    flows.iter().for_each(|flow| assert_eq!(flow.answer().server, "web"));
}

#[test]
fn a_dry_run_says_the_steps_and_changes_nothing() {
    let web = Web::run("-p 8000:80");
    let before = Snapshot::take(&web.host);
    web.host
        .z("update --dry-run --publish-add 8080:80/udp --publish-rm 8000:80 web")
        .ok()
        .prints(&[
            "add element inet zdocker pub4any",
            "udp . 8080",
            "conntrack -D -p udp --orig-port-dst 8080",
            "delete element inet zdocker pub6any",
            "tcp . 8000",
        ]);
    before.assert_same(&web.host);
    assert_eq!(all_agree(&web.host), ["8000/tcp".to_owned()].into());
}

#[test]
fn what_cannot_be_is_refused_and_nothing_changes() {
    let web = Web::run("-p 8000:80");
    let host = &web.host;
    host.z("network create --internal inside").ok();
    host.run("other", "--net front -p 9000:80");
    host.run("closed", "--net inside");
    host.run("hosted", "--net host");
    host.run("alone", "--net none");
    host.z("run --name ended --rootfs / -- true").ok();
    let listener = host.net.run(|| TcpListener::bind("0.0.0.0:7000").unwrap());
    // The file that is locked stays with the container.
    web.update("--publish-add 8080:80");
    web.update("--publish-rm published=8080");
    let before = Snapshot::take(host);
    for (arguments, words) in [
        ("--publish-add 8080:80 nobody", "no container \"nobody\""),
        ("--publish-add 8080:80 ended", "not running"),
        ("--publish-add 8080:80 closed", "not internal"),
        ("--publish-add 8080:80 hosted", "bridge network"),
        ("--publish-add 8080:80 alone", "bridge network"),
        (
            "--publish-add 8080:80 --publish-add 9000:80 web",
            "published by container \"other\"",
        ),
        (
            "--publish-add 8080:80 --publish-add 8000:81 web",
            "published by container \"web\"",
        ),
        ("--publish-add 8080:80 --publish-add 7000:80 web", "in use by"),
        ("--publish-add 8080:80 --publish-add 8080:81 web", "published twice"),
        ("--publish-add 198.51.100.7:8080:80 web", "no such address"),
        ("--publish-add 8080:80 --publish-rm 81 web", "publishes no port 81"),
        ("--publish-rm 80/udp web", "publishes no port 80/udp"),
        ("--publish-rm 80 --publish-rm 8001:80 web", "publishes no port 8001:80"),
    ] {
        let refused = host.z(&format!("update {arguments}"));
        refused.exits(1).says(&[words]);
        before.assert_same(host);
    }
    host.z("update web").exits(125).says(&["--publish-add"]);
    drop(listener);
}

#[test]
fn several_at_once_all_have_their_way() {
    let web = Web::run("");
    thread::scope(|scope| {
        for number in 0..8 {
            let web = &web;
            scope.spawn(move || web.update(&format!("--publish-add {}:80", 8000 + number)));
        }
    });
    let expected = (8000..8008).map(|port| format!("{port}/tcp")).collect();
    assert_eq!(all_agree(&web.host), expected);
    thread::scope(|scope| {
        for number in 0..8 {
            let web = &web;
            scope.spawn(move || web.update(&format!("--publish-rm published={}", 8000 + number)));
        }
    });
    assert!(all_agree(&web.host).is_empty());
}

#[test]
fn a_container_that_ends_meanwhile_leaves_nothing() {
    let host = Host::new();
    host.z("network create --subnet 10.80.0.0/24 --subnet fd00:80::/64 front")
        .ok();
    host.z("run --rm --net front --rootfs / -- true").ok();
    let before = Snapshot::take(&host);
    for _ in 0..10 {
        host.run("web", "--net front -p 8000:80");
        thread::scope(|scope| {
            for port in [8080, 8081] {
                let host = &host;
                // It may come too late.
                scope.spawn(move || host.z(&format!("update --publish-add {port}:80 --publish-rm 8000:80 web")));
            }
            host.z("rm -f web").ok();
        });
        before.assert_same(&host);
    }
}

#[test]
fn what_was_changed_stays_when_the_container_is_started_again() {
    let web = Web::run("-p 8000-8002:80-82 -p 8000:80/udp");
    web.update("--publish-add 8080-8081:90-91 --publish-rm 81 --publish-rm 80/udp");
    web.host.z("stop -t 0 web").ok();
    web.host.z("start web").ok();
    let expected = ["8000/tcp", "8002/tcp", "8080/tcp", "8081/tcp"];
    assert_eq!(all_agree(&web.host), expected.map(str::to_owned).into());
    // Nor is it undone when the container is plugged in anew.
    web.update("--publish-rm 1-65535");
    web.host.z("network create --subnet 10.82.0.0/24 back").ok();
    web.host.z("network connect back web").ok();
    assert!(all_agree(&web.host).is_empty());
}

#[test]
fn tables_that_somebody_flushed_are_mended() {
    let web = Web::run("-p 8000:80 -p 8000:80/udp");
    web.host.net.nft("delete table inet zdocker");
    web.update("--publish-add 8080:80 --publish-add 8080:80/udp");
    web.is_reached_at(8080);
    web.is_reached_at(8000);
}

#[test]
fn without_its_shim_only_the_relay_is_missing() {
    let web = Web::run("");
    let status = std::fs::read_to_string(format!("/proc/{}/status", web.container.pid)).unwrap();
    let shim = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim();
    let shim: i32 = shim.parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the shim is gone", || {
        !std::fs::exists(format!("/proc/{shim}")).unwrap()
    });
    web.host
        .z("update --publish-add 8080:80 web")
        .ok()
        .says(&["may not be reached at [::1]"]);
    assert_eq!(
        reaches(&web.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "web"
    );
}

/// Kills `update` at each of its calls of `calls`; afterwards `tidy` makes the ports those of before or those of after,
/// everywhere.
fn finished_or_taken_back_when_killed(calls: &str, tidy: &str, least_done: usize) {
    let web = Web::run("-p 8000-8001:80-81 -p 8000:80/udp");
    let host = &web.host;
    if !has_strace(host) {
        return;
    }
    let change =
        "update --publish-add 9000-9001:90-91 --publish-add 9000:90/udp --publish-rm 80 --publish-rm 80/udp web";
    let back = "update --publish-add 8000:80 --publish-add 8000:80/udp --publish-rm 90-91 --publish-rm 90/udp web";
    let set = |ports: &[&str]| ports.iter().map(|port| (*port).to_owned()).collect::<BTreeSet<_>>();
    let before = set(&["8000/tcp", "8001/tcp", "8000/udp"]);
    let after = set(&["8001/tcp", "9000/tcp", "9001/tcp", "9000/udp"]);
    let (mut undone, mut done) = (0, 0);
    for number in 1..500 {
        let output = killed_at(host, (calls, number), change);
        host.z(tidy).ok();
        let ports = all_agree(host);
        host.z("system check").ok();
        if ports == before {
            undone += 1;
        } else {
            assert_eq!(ports, after, "killed at call {number}");
            done += 1;
            host.z(back).ok();
            assert_eq!(all_agree(host), before);
        }
        if output.status == 0 {
            assert_eq!(ports, after);
            break;
        }
    }
    // Killed on either side of the point from which on it is finished; and there is one at least that nobody killed.
    assert!(undone >= 1 && done >= least_done, "{undone} undone, {done} done");
}

#[test]
fn a_container_that_ends_after_it_was_killed_leaves_nothing() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.80.0.0/24 --subnet fd00:80::/64 front")
        .ok();
    host.z("run --rm --net front --rootfs / -- true").ok();
    let change = "update --publish-add 9000:90 --publish-add 9000:90/udp --publish-rm 80 web";
    let prepare = || {
        host.run("web", "--net front -p 8000:80");
    };
    let tidy = || {
        host.z("stop -t 0 web").ok();
        host.z("rm web").ok();
    };
    let kills = killed_at_each(&host, (KERNEL, 2), prepare, change, tidy);
    assert!(kills >= 3, "killed at {kills} calls only");
}

#[test]
fn killed_at_its_kernel_calls_it_is_tidied_by_the_next_command() {
    finished_or_taken_back_when_killed(KERNEL, "ps", 2);
}

#[test]
fn killed_while_it_records_it_is_tidied_by_repair() {
    // How much is written depends on what was before, as the log is copied into the database now and then.
    finished_or_taken_back_when_killed(RECORDS, "system check --repair", 1);
}
