//! Tests of the harness itself: a check that cannot fail would be worth nothing.

use std::io::Read;
use std::time::Duration;

use super::{HOST_V4, HOST_V6, Host, NEIGHBOUR_V4, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, UdpFlow};
use super::{Terminal, does_not_reach, ip, reaches};

#[test]
fn outside_and_host_reach_each_other() {
    let host = Host::new();
    let neighbour = host.neighbour();
    let _outside = Server::start(&host.outside, "outside", 7000);
    let _host = Server::start(&host.net, "host", 7000);
    for proto in [Proto::Tcp, Proto::Udp] {
        for (from, to, server, source) in [
            (&host.net, OUTSIDE_V4, "outside", HOST_V4),
            (&host.net, OUTSIDE_V6, "outside", HOST_V6),
            (&host.outside, HOST_V4, "host", OUTSIDE_V4),
            (&host.outside, HOST_V6, "host", OUTSIDE_V6),
            (&neighbour, HOST_V4, "host", NEIGHBOUR_V4),
        ] {
            let answer = reaches(from, proto, (ip(to), 7000));
            assert_eq!(
                (answer.server.as_str(), answer.source),
                (server, ip(source)),
                "{to} by {proto:?}"
            );
        }
        does_not_reach(&host.net, proto, (ip(OUTSIDE_V4), 7001));
    }
}

#[test]
fn a_dropped_packet_is_an_answer_that_does_not_come() {
    let host = Host::new();
    let _server = Server::start(&host.net, "host", 7000);
    let flow = UdpFlow::open(&host.outside, (ip(HOST_V4), 7000).into());
    assert_eq!(flow.answer().server, "host");
    host.net
        .nft("table inet test { chain input { type filter hook input priority 0; iifname eth0 drop; }; }");
    flow.is_silent();
    for proto in [Proto::Tcp, Proto::Udp] {
        does_not_reach(&host.outside, proto, (ip(HOST_V4), 7000));
        does_not_reach(&host.outside, proto, (ip(HOST_V6), 7000));
    }
    host.net.nft("delete table inet test");
    assert!(flow.ask(Duration::from_secs(5)).is_ok());
}

#[test]
fn a_snapshot_sees_every_kind_of_change() {
    let host = Host::new();
    std::fs::create_dir_all(host.root()).unwrap();
    let before = Snapshot::take(&host);
    before.assert_same(&host);
    let sees = |what: &str| {
        let diff = before.diff(&Snapshot::take(&host));
        assert!(diff.contains(what), "{what:?} is not in:\n{diff}");
    };
    host.net
        .ip("link add br1 type bridge\naddr add 10.1.0.1/24 dev br1\nlink set br1 up");
    sees("+ link br1 kind bridge");
    sees("+ address 10.1.0.1/24 of br1");
    sees("+ route -4 broadcast 10.1.0.255");
    host.net.nft("table inet zdocker { set ports { type inet_service; }; }");
    assert!(!before.diff(&Snapshot::take(&host)).contains("zdocker"));
    host.net.nft("add element inet zdocker ports { 80 }");
    sees("+ element inet zdocker ports: 80");
    host.net
        .nft("table ip other { chain c { type filter hook input priority 0; policy drop; }; }");
    sees("+ nft chain");
    host.net
        .run(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap());
    sees("+ switch net/ipv4/conf/all/route_localnet = 1");
    host.program("mount", &["-t", "tmpfs", "tmpfs", "/mnt"]).ok();
    sees("+ mount / /mnt");
    std::fs::write(host.root().join("left"), "").unwrap();
    sees("state root/left");
    std::fs::create_dir(host.cgroups()[0].join("left")).unwrap();
    sees("+ cgroup");
    let mut shell = host.spawn(&mut host.command("sh", &["-c", "sleep 1000 &"])).unwrap();
    assert!(shell.wait().unwrap().success());
    sees("sleep 1000");
    drop(host);
    // The host is gone, and its process, which held the pipe open, with it.
    let mut rest = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
}

#[test]
fn commands_of_a_host_see_its_processes_mounts_and_network_alone() {
    let host = Host::new();
    let shown = host
        .program("sh", &["-c", "echo /proc/[0-9]*; ip -br link; cat; exit 3"])
        .exits(3);
    let pids = shown
        .stdout
        .split_whitespace()
        .filter(|word| word.starts_with("/proc/"))
        .count();
    assert!(
        (2..=3).contains(&pids),
        "process 1, the shell, perhaps its child: {}",
        shown.stdout
    );
    shown.prints(&["eth0", "lo"]);
    let listing = host.program(
        "sh",
        &[
            "-c",
            "ls -d /sys/fs/cgroup/*/*/ /sys/fs/cgroup/*/ | grep -c zdocker-test",
        ],
    );
    assert_eq!(listing.exits(1).text(), "0");
    let fed = host.finish(host.command("cat", &[]), "as it was given");
    assert_eq!(fed.ok().stdout, "as it was given");
    let mut killed = host.command("sh", &["-c", "kill -9 $$"]);
    assert!(!host.spawn(&mut killed).unwrap().wait().unwrap().success());
}

#[test]
fn a_terminal_has_a_size_and_sends_signals() {
    let host = Host::new();
    let mut terminal = Terminal::of(
        &host,
        host.command("sh", &["-c", "stty size; stty raw; echo raw; cat; exit 4"]),
    );
    assert!(terminal.shows("raw").contains("30 100"));
    assert!(!terminal.is_cooked());
    terminal.types("as it is");
    terminal.shows("as it is");
    drop(terminal);
    let mut terminal = Terminal::of(&host, host.command("sh", &["-c", "echo ready; exec cat"]));
    terminal.shows("ready");
    assert!(terminal.is_cooked());
    terminal.types("\x03");
    assert_eq!(terminal.status(), 130);
}

#[test]
fn a_program_can_be_killed_at_a_system_call() {
    let host = Host::new();
    let kill_at = |number: usize| {
        let inject = format!("inject=mkdir:signal=KILL:when={number}");
        let directory = host.scratch().join("made").join(number.to_string());
        let words = [
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &inject,
            "mkdir",
            "-p",
            directory.to_str().unwrap(),
        ];
        host.program("strace", &words).status
    };
    if host.program("sh", &["-c", "command -v strace"]).status != 0 {
        super::skipped("strace is not installed");
        return;
    }
    assert_eq!((kill_at(1), kill_at(99)), (137, 0));
}
