//! A user's Podman with zdocker, where netavark does not do, or does not always do, the same.

use std::thread;

use super::super::alone::resolves;
use super::super::engine::Podman;
use super::super::{ZDOCKER, measure};
use super::{can_run, ended};
use crate::compare::text;
use crate::harness::{HOST_V4, Proto, Server, ip, reaches, until};

/// Where the containers serve.
const PORT: u16 = 7000;

/// Checks that the server in `container` answers at a port of the user's host.
#[track_caller]
fn answers(podman: &Podman, container: &str, port: u16) {
    let _server = Server::start(&podman.network_of(container), container, PORT);
    for net in [&podman.host.net, &podman.host.outside] {
        assert_eq!(reaches(net, Proto::Tcp, (ip(HOST_V4), port)).server, container);
    }
}

/// The networks that zdocker's records have.
fn recorded(podman: &Podman) -> String {
    let records = text(&podman.state().join("zdocker"));
    let output = podman
        .host
        .zdocker(&["--root", &records, "--run-root", &records, "network", "ls", "-q"]);
    output.ok().text().to_owned()
}

#[test]
fn the_users_namespace_comes_and_goes() {
    if !can_run() {
        return;
    }
    let podman = Podman::of_user(ZDOCKER);
    podman.call("network create --subnet 10.20.0.0/24 front").ok();
    for _ in 0..3 {
        podman
            .call("run -d --name web --network front:ip=10.20.0.10 -p 8080:7000 IMAGE sleep infinity")
            .ok();
        answers(&podman, "web", 8080);
        resolves(&podman, "web", "web.dns.podman", "10.20.0.10");
        assert_eq!(recorded(&podman).lines().count(), 1);
        // Podman takes its namespace away in between, as there is no other container.
        podman.call("network reload --all").ok();
        podman.call("network reload --all").ok();
        answers(&podman, "web", 8080);
        podman.call("rm -f -t 0 web").ok();
        ended(&podman);
        assert_eq!(recorded(&podman), "");
    }
}

#[test]
fn many_may_come_and_go_at_once() {
    if !can_run() {
        return;
    }
    let podman = Podman::of_user(ZDOCKER);
    podman.call("network create --subnet 10.20.0.0/24 front").ok();
    podman
        .call("run -d --name web --network front:ip=10.20.0.10 -p 8080:7000 IMAGE sleep infinity")
        .ok();
    let names: Vec<String> = (0..4).map(|number| format!("c{number}")).collect();
    thread::scope(|scope| {
        for (name, port) in names.iter().zip(9000..) {
            let podman = &podman;
            scope.spawn(move || {
                let line = format!("run -d --name {name} --network front -p {port}:7000 IMAGE sleep infinity");
                podman.call(&line).ok();
            });
        }
    });
    for (name, port) in names.iter().zip(9000..) {
        answers(&podman, name, port);
    }
    podman.call(&format!("rm -f -t 0 {}", names.join(" "))).ok();
    answers(&podman, "web", 8080);
    resolves(&podman, "web", "web.dns.podman", "10.20.0.10");
    podman.call("rm -f -t 0 web").ok();
    ended(&podman);
    assert_eq!(recorded(&podman), "");
}

#[test]
fn a_lost_namespace_is_made_anew() {
    if !can_run() {
        return;
    }
    let podman = Podman::of_user(ZDOCKER);
    podman.call("network create --subnet 10.20.0.0/24 front").ok();
    podman
        .call("run -d --name web --network front:ip=10.20.0.10 -p 8080:7000 IMAGE sleep infinity")
        .ok();
    let pinned = text(&podman.namespaces().join("rootless-netns-*"));
    let lose = format!("umount {pinned} && rm {pinned}");
    podman.call_words(&["unshare", "sh", "-c", &lose]).ok();
    assert_eq!(podman.processes("aardvark-dns").len(), 1);
    // It is still in the first namespace, where the container's interface leads to.
    podman
        .call("run -d --name app --network front IMAGE sleep infinity")
        .ok();
    podman.call("network reload web").ok();
    answers(&podman, "web", 8080);
    for container in ["web", "app"] {
        resolves(&podman, container, "web.dns.podman", "10.20.0.10");
    }
    until("one name server serves", || measure::name_servers(&podman).len() == 1);
    podman.call("rm -f -t 0 web").ok();
    podman.call("rm -f -t 0 app").ok();
    until("no name server is left", || measure::name_servers(&podman).is_empty());
    assert_eq!(recorded(&podman), "");
}
