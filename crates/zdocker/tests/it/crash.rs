//! Commands that are killed at each step, and what the next command makes of it.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kill::{KERNEL, RECORDS, Stopped, at_each_call, has_strace, killed_at_each};
use crate::harness::{HOST_V4, Host, Output, Proto, Server, Snapshot, ip, reaches, until};

#[test]
fn network_create_killed_is_tidied_by_the_next_command() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create other").ok();
    let tidy = || {
        // Whether it came to be or not: removing it leaves nothing.
        let removed = host.z("network rm n");
        assert!([0, 1].contains(&removed.status), "{removed:?}");
    };
    let create = "network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 n";
    killed_at_each(&host, (KERNEL, 1), || {}, create, tidy);
}

#[test]
fn network_create_killed_is_tidied_by_repair() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create other").ok();
    let tidy = || {
        host.z("system check --repair").ok();
        host.z("network rm n");
        host.z("system check").ok();
    };
    killed_at_each(
        &host,
        (RECORDS, 3),
        || {},
        "network create --subnet 10.1.0.0/24 n",
        tidy,
    );
}

#[test]
fn network_rm_killed_can_be_repeated() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create other").ok();
    let create = || drop(host.z("network create --subnet 10.1.0.0/24 n").ok());
    let again = || drop(host.z("network rm n"));
    killed_at_each(&host, (KERNEL, 1), create, "network rm n", again);
}

#[test]
fn connect_killed_is_tidied_by_repair() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 n")
        .ok();
    host.z("network create --subnet 10.2.0.0/24 --subnet fd00:2::/64 m")
        .ok();
    let a = host.run("a", "--net n -p 8080:80");
    let b = host.run("b", "--net m");
    let (servers, ways) = (Server::start(&a.net, "a", 80), || {
        a.net.ip_json(&["route", "show", "table", "all"])
    });
    // The first time leaves a table for its answers, which stays.
    host.z("network connect m a").ok();
    host.z("network disconnect m a").ok();
    let before = ways();
    let tidy = || {
        host.z("system check --repair").ok();
        host.z("network disconnect -f m a").ok();
        assert_eq!(ways(), before);
        assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
        let names = host.zdocker(&["exec", "b", "busybox", "cat", "/etc/hosts"]).ok();
        assert!(!names.text().contains("\ta "), "{}", names.text());
    };
    let connect = "network connect --ip 10.2.0.9 --gw-priority 1 m a";
    killed_at_each(&host, (KERNEL, 2), || {}, connect, tidy);
    killed_at_each(&host, (RECORDS, 4), || {}, connect, tidy);
    let connected = || drop(host.z(connect).ok());
    killed_at_each(&host, (KERNEL, 2), connected, "network disconnect m a", tidy);
    killed_at_each(&host, (RECORDS, 4), connected, "network disconnect m a", tidy);
    drop((servers, b));
}

#[test]
fn connect_that_waits_for_one_that_is_killed_tidies_up_after_it() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.z("network create --subnet 10.2.0.0/24 m").ok();
    host.run("a", "--net n");
    host.run("b", "--net m --ip 10.2.0.9");
    let before = Snapshot::take(&host);
    for (address, status) in [("10.2.0.8", 0), ("10.2.0.9", 1)] {
        // Stopped in the container's namespace: its endpoint is recorded by then.
        let first = Stopped::at(&host, ("setns", 1), "network connect m a").unwrap();
        let connect = format!("network connect --ip {address} m a");
        let words: Vec<&str> = connect.split_whitespace().collect();
        let second = host.spawn(&mut host.zdocker_command(&words)).unwrap();
        until("the second command waits for the first", || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            let waits = format!(" {} ", second.id());
            locks.lines().any(|line| line.contains("->") && line.contains(&waits))
        });
        first.kill();
        let ended = Output::collect(connect, second, "");
        assert_eq!(ended.status, status, "{ended:?}");
        if status == 0 {
            host.z("network disconnect m a").ok();
        } else {
            assert!(ended.stderr.contains("10.2.0.9 is in use"), "{ended:?}");
        }
        before.assert_same(&host);
    }
}

#[test]
fn start_killed_leaves_a_container_that_can_be_started() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.z("create --name c --net n --ip 10.1.0.9 -p 8080:80 --rootfs / -- true")
        .ok();
    host.z("start -a c").ok();
    let tidy = || {
        host.z("system check --repair").ok();
        host.z("stop -t 0 c").ok();
    };
    killed_at_each(&host, (KERNEL, 2), || {}, "start c", tidy);
    killed_at_each(&host, (RECORDS, 4), || {}, "start c", tidy);
}

const RUN: &str = "run -d --name c --net n --ip 10.1.0.9 -p 8080:80 --bandwidth-in 10mbit --bandwidth-out 10mbit \
                   --rootfs / -- true";

#[test]
fn run_killed_is_tidied_by_rm() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let tidy = || {
        let removed = host.z("rm -f c");
        assert!([0, 1].contains(&removed.status), "{removed:?}");
    };
    killed_at_each(&host, (KERNEL, 2), || {}, RUN, tidy);
}

#[test]
fn run_killed_is_tidied_by_repair() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let tidy = || {
        host.z("system check --repair").ok();
        host.z("rm -f c");
        host.z("system check").ok();
    };
    killed_at_each(&host, (RECORDS, 4), || {}, RUN, tidy);
}

/// Stops `zdocker ARGS` at its `number`th system call of those in `calls`, and then kills it together with whatever it
/// started, and with all else that runs on the host, before anybody can tidy up. `false` if it ended before that call.
fn all_killed_at(host: &Host, at: (&str, usize), args: &str) -> bool {
    let stopped = Stopped::at(host, at, args);
    let was_stopped = stopped.is_some();
    // In the host's own process namespace, where it spares process 1 and the shell itself. It fails when nobody is
    // left.
    host.program("/usr/bin/busybox", &["sh", "-c", "kill -9 -1"]);
    if let Some(stopped) = stopped {
        stopped.wait();
    }
    // What was killed lives until the kernel has closed what it had open.
    until("all but process 1 are dead", || {
        let processes = fs::read_dir(host.proc()).unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.eq([1])
    });
    was_stopped
}

/// Kills everything at each step of a command: the next command of the same kind finds its name, address and port free.
fn everything_killed_at_each(host: &Host, calls: (&str, usize), command: &str, undo: &str) {
    let kills = at_each_call(host, calls, |at| {
        let was_killed = all_killed_at(host, at, command);
        if !was_killed {
            host.z(undo);
        }
        host.z(command).ok();
        host.z(undo).ok();
        was_killed
    });
    assert!(kills >= 3, "{command} was killed {kills} times only");
}

#[test]
fn run_killed_with_its_shim_can_be_repeated_at_once() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    everything_killed_at_each(&host, (KERNEL, 2), RUN, "rm -f c");
}

#[test]
fn run_killed_with_its_shim_while_it_records_can_be_repeated_at_once() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    everything_killed_at_each(&host, (RECORDS, 3), RUN, "rm -f c");
}

#[test]
fn rm_of_a_running_container_killed_with_its_shim_can_be_repeated() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let calls = "sendto,sendmsg,pwrite64,unlink,umount2,rmdir,unlinkat";
    let kills = at_each_call(&host, (calls, 2), |at| {
        host.z("run -d --name c --net n --ip 10.1.0.9 -p 8080:80 --rootfs / -- busybox sleep infinity")
            .ok();
        let was_killed = all_killed_at(&host, at, "rm -f c");
        let repeated = host.z("rm -f c");
        assert!([0, 1].contains(&repeated.status), "{repeated:?}");
        host.z("system check").ok();
        was_killed
    });
    assert!(kills >= 3, "rm was killed {kills} times only");
}

/// The process that a container's process 1 was started by, by its number in the test's own process namespace.
fn parent(pid: u32) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(parent.trim().parse().unwrap())
}

#[test]
fn a_container_whose_shim_was_killed_goes_on_and_can_be_stopped_and_removed() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let before = Snapshot::take(&host);
    for stop in [false, true] {
        let c = host.run("c", "--net n --ip 10.1.0.9 -p 8080:80");
        let shim = parent(c.pid);
        let name = fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap();
        assert!(
            name.contains("shim"),
            "the parent of the container is its shim, not {name}"
        );
        kill(shim, Signal::SIGKILL).unwrap();
        until("the shim is gone", || !fs::exists(format!("/proc/{shim}")).unwrap());
        host.z("system check --repair").ok();
        host.z("ps").ok().prints(&["Up", "0.0.0.0:8080->80/tcp"]);
        let server = Server::start(&c.net, "c", 80);
        assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "c");
        drop((server, c));
        if stop {
            host.z("stop -t 0 c").ok();
            assert_eq!(host.z("ps -q").ok().text(), "");
        }
        host.z("rm -f c").ok();
        before.assert_same(&host);
    }
}

#[test]
fn a_container_that_ended_without_its_shim_is_found_ended() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.z("run --rm --net n --rootfs / -- true").ok();
    let before = Snapshot::take(&host);
    let c = host.run("c", "--net n --ip 10.1.0.9 -p 8080:80");
    let init = Pid::from_raw(i32::try_from(c.pid).unwrap());
    kill(parent(c.pid), Signal::SIGKILL).unwrap();
    kill(init, Signal::SIGKILL).unwrap();
    until("the container is gone", || {
        !fs::exists(format!("/proc/{init}")).unwrap()
    });
    drop(c);
    assert_eq!(host.z("ps -q").ok().text(), "");
    host.z("ps -a").ok().prints(&["Exited", "c"]);
    // Its port and its address are free.
    host.run("d", "--net n --ip 10.1.0.9 -p 8080:80");
    host.z("rm -f c d").ok();
    before.assert_same(&host);
}

#[test]
fn a_container_outlives_the_command_that_started_it() {
    let host = Host::new();
    host.z("network create n").ok();
    let script = "echo ready; exec busybox sleep infinity";
    let args = [
        "run", "--name", "c", "--net", "n", "-p", "8080:80", "--rootfs", "/", "--", "sh", "-c", script,
    ];
    let mut command = host.spawn(&mut host.zdocker_command(&args)).unwrap();
    std::io::Read::read_exact(command.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    command.kill().unwrap();
    command.wait().unwrap();
    host.z("exec c true").ok();
    host.z("ps").ok().prints(&["0.0.0.0:8080->80/tcp"]);
    assert_eq!(host.z("logs c").ok().stdout, "ready\n");
    host.z("stop -t 0 c").ok();
    host.z("rm c").ok();
}

#[test]
fn a_bridge_that_somebody_deleted_is_mended() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.net.ip("link del dev n");
    host.z("system check --repair").ok();
    let c = host.run("c", "--net n -p 8080:80");
    let _server = Server::start(&c.net, "c", 80);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "c");
}

/// What `check` says, and nothing after a repair.
fn is_found_and_mended(host: &Host, finding: &str) {
    let found = host.z("system check").stdout + &host.z("system check").stderr;
    assert!(found.contains(finding), "{found}");
    host.z("system check --repair").ok();
    let found = host.z("system check").ok();
    assert!(!found.stdout.contains(finding), "{}", found.stdout);
}

#[test]
fn running_containers_are_put_back_into_a_bridge_that_is_made_anew() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let web = host.run("web", "--net n -p 8080:80");
    let _server = Server::start(&web.net, "web", 80);
    let from_outside = || reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server;
    assert_eq!(from_outside(), "web");
    // The next container makes the bridge anew.
    host.net.ip("link del dev n");
    let other = host.run("other", "--net n");
    assert_eq!(from_outside(), "web");
    assert_eq!(reaches(&other.net, Proto::Tcp, (web.v4(), 80)).server, "web");
    // By hairpin.
    assert_eq!(reaches(&web.net, Proto::Tcp, (ip(HOST_V4), 8080)).server, "web");

    host.net.ip("link del dev n");
    host.net.nft("flush ruleset");
    host.z("run --rm --net bridge --rootfs / true").ok();
    host.z("run --rm --net n --rootfs / true").ok();
    assert_eq!(from_outside(), "web");

    host.net.ip("link del dev n");
    is_found_and_mended(&host, "lost its bridge");
    assert_eq!(from_outside(), "web");

    let ports = host.net.ip_json(&["link", "show", "master", "n"]);
    let port = |number: usize| ports[number]["ifname"].as_str().unwrap().to_owned();
    host.net.ip(&format!("link set dev {} nomaster", port(0)));
    host.net.ip(&format!("link set dev {} nomaster", port(1)));
    is_found_and_mended(&host, "web is unplugged from the bridge of network n");
    assert_eq!(from_outside(), "web");
    host.net.ip(&format!("link del dev {}", port(0)));
    host.net.ip(&format!("link del dev {}", port(1)));
    is_found_and_mended(&host, "web has lost its interface to network n");
    assert_eq!(from_outside(), "web");
}

#[test]
fn rules_that_somebody_flushed_are_mended_by_whoever_comes_next() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let c = host.run("c", "--net n -p 8080:80");
    let _server = Server::start(&c.net, "c", 80);
    let from_outside = || reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server;
    for (flush, next) in [
        ("flush chain inet zdocker prerouting", "network create m"),
        ("flush table inet zdocker", "run --rm --net n --rootfs / true"),
        ("flush ruleset", "network create o"),
        ("delete table inet zdocker", "run --rm --net n --rootfs / true"),
    ] {
        host.net.nft(flush);
        host.z(next).ok();
        assert_eq!(from_outside(), "c", "{flush}");
    }
    host.net.nft("flush chain inet zdocker publish");
    is_found_and_mended(&host, "lost its firewall rules");
    assert_eq!(from_outside(), "c");
}

#[test]
fn a_firewall_that_somebody_flushed_is_mended() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let c = host.run("c", "--net n -p 8080:80");
    let _server = Server::start(&c.net, "c", 80);
    let elements = || {
        Snapshot::take(&host)
            .lines("element")
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = elements();
    host.net.nft("flush ruleset");
    host.z("system check --repair").ok();
    assert_eq!(elements(), before);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "c");
}
