//! Teardown where something is gone already, and what killed calls leave.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::harness::kill::{KERNEL, RECORDS, at_each_call, has_strace, killing};
use crate::harness::{HOST_V4, Host, Proto, Server, Snapshot, does_not_reach, ip, reaches};

use super::{Caller, Sandbox, input, mapping, network, with};

fn publishing(own: u8, port: u16) -> Value {
    with(
        input(own, &[&network(1), &network(2)]),
        json!({"port_mappings": [mapping("", port, 7000, "tcp", 1)]}),
    )
}

#[test]
fn teardown_of_what_is_gone() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let wanted = publishing(2, 8080);
    // Never there, and there no more.
    caller.teardown(&c, &wanted);
    caller.setup(&c, &wanted);
    caller.teardown(&c, &wanted);
    caller.teardown(&c, &wanted);
    before.assert_same(&host);
    // The interface, the bridge, the tables.
    for damage in [
        "ip link del podman1",
        "nft flush ruleset",
        "ip link del podman2; nft flush ruleset",
    ] {
        caller.setup(&c, &wanted);
        host.program("sh", &["-c", damage]).ok();
        caller.teardown(&c, &wanted);
        before.assert_same(&host);
    }
    caller.setup(&c, &wanted);
    c.net.ip("link del eth0");
    caller.teardown(&c, &wanted);
    before.assert_same(&host);
    // Our records.
    caller.setup(&c, &wanted);
    fs::remove_dir_all(&caller.config).unwrap();
    caller.teardown(&c, &wanted);
    before.assert_same(&host);
    // All of it comes back.
    caller.setup(&c, &wanted);
    let _c = Server::start(&c.net, "c", 7000);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "c");
}

#[test]
fn teardown_without_the_namespace() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let d = Sandbox::new(&host, "d");
    let before = Snapshot::take(&host);
    let (wanted, others) = (publishing(2, 8080), publishing(3, 8081));
    for records in [true, false] {
        let c = Sandbox::new(&host, "c");
        caller.setup(&c, &wanted);
        caller.setup(&d, &others);
        let _d = Server::start(&d.net, "d", 7000);
        if !records {
            fs::remove_dir_all(&caller.config).unwrap();
        }
        let path = c.unpin(&host);
        caller.call(&["teardown", &path], &wanted).ok();
        assert_eq!(
            reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8081)).server,
            "d",
            "{records}"
        );
        does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
        caller.teardown(&d, &others);
        before.assert_same(&host);
    }
}

#[test]
fn a_namespace_that_went_by_itself_leaves_its_ports_to_be_taken() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let d = Sandbox::new(&host, "d");
    let before = Snapshot::take(&host);
    let c = Sandbox::new(&host, "c");
    caller.setup(&c, &publishing(2, 8080));
    c.unpin(&host);
    crate::harness::until("the kernel has reaped the interfaces", || {
        host.net.ip_json(&["link", "show", "master", "podman1"]).is_empty()
    });
    // The same container again, in another namespace.
    caller.setup(&d, &publishing(2, 8080));
    let server = Server::start(&d.net, "d", 7000);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "d");
    drop(server);
    caller.teardown(&d, &publishing(2, 8080));
    before.assert_same(&host);
}

#[test]
fn many_at_once() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let sandboxes: Vec<Sandbox> = (2..10).map(|own| Sandbox::new(&host, &format!("c{own}"))).collect();
    let before = Snapshot::take(&host);
    for _ in 0..2 {
        thread::scope(|scope| {
            for (own, sandbox) in (2..).zip(&sandboxes) {
                let caller = &caller;
                scope.spawn(move || caller.setup(sandbox, &publishing(own, 8000 + u16::from(own))));
            }
        });
        for (own, sandbox) in (2u8..).zip(&sandboxes) {
            let server = Server::start(&sandbox.net, "c", 7000);
            let target = (ip(HOST_V4), 8000 + u16::from(own));
            assert_eq!(reaches(&host.outside, Proto::Tcp, target).server, "c");
            drop(server);
        }
        thread::scope(|scope| {
            for (own, sandbox) in (2..).zip(&sandboxes) {
                let caller = &caller;
                scope.spawn(move || caller.teardown(sandbox, &publishing(own, 8000 + u16::from(own))));
            }
        });
        before.assert_same(&host);
    }
}

/// Calls netavark with `args` and kills it at a system call. Whether it was killed.
fn is_killed(caller: &Caller, at: (&str, usize), args: &[&str], input: &Value) -> bool {
    let strace = killing(at);
    let mut words: Vec<&str> = strace.iter().map(String::as_str).collect();
    words.extend([
        caller.program.to_str().unwrap(),
        "--config",
        caller.config.to_str().unwrap(),
    ]);
    words.extend(args);
    let command = caller.host.command("strace", &words);
    caller.host.finish(command, &input.to_string()).status != 0
}

#[test]
fn setup_killed_is_put_right_by_the_next_call() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    let caller = Caller::new(&host);
    let wanted = publishing(2, 8080);
    for calls in [(KERNEL, 2), (RECORDS, 5)] {
        let mut as_after_a_failure = false;
        at_each_call(&host, calls, |at| {
            let c = Sandbox::new(&host, "c");
            let was_killed = is_killed(&caller, at, &["setup", &c.path], &wanted);
            // Either what Podman does after a failure, or what it does at the next start.
            if as_after_a_failure || !was_killed {
                caller.teardown(&c, &wanted);
            } else {
                let again = Sandbox::new(&host, "d");
                caller.setup(&again, &wanted);
                caller.teardown(&again, &wanted);
                again.unpin(&host);
            }
            as_after_a_failure = !as_after_a_failure;
            c.unpin(&host);
            was_killed
        });
    }
}

#[test]
fn teardown_killed_is_put_right_by_the_next_call() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    let caller = Caller::new(&host);
    let wanted = publishing(2, 8080);
    for calls in [(KERNEL, 2), (RECORDS, 5)] {
        at_each_call(&host, calls, |at| {
            let c = Sandbox::new(&host, "c");
            caller.setup(&c, &wanted);
            let was_killed = is_killed(&caller, at, &["teardown", &c.path], &wanted);
            caller.teardown(&c, &wanted);
            c.unpin(&host);
            was_killed
        });
    }
}
