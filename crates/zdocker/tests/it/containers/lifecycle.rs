//! From `run` to `rm`.

use std::time::{Duration, Instant};

use super::{ends_with, row, run_sh};
use crate::harness::{Host, is_id, until};

#[test]
fn a_container_is_run_shown_stopped_and_removed() {
    let host = Host::new();
    let a = host.run("a", "");
    let running = row(&host, "a").unwrap();
    assert!(running.starts_with(&a.id[..12]) && running.contains("Up"), "{running}");
    assert_eq!(host.z("ps -q").ok().text(), &a.id[..12]);
    assert_eq!(host.z("stop -t 0 a").ok().text(), "a");
    ends_with(&host, "a", 137);
    assert_eq!(host.z("ps -q").ok().text(), "");
    assert_eq!(host.z("ps -a -q").ok().text(), &a.id[..12]);
    assert_eq!(host.z("rm a").ok().text(), "a");
    assert_eq!(row(&host, "a"), None);
}

#[test]
fn ps_has_dockers_columns() {
    let host = Host::new();
    run_sh(&host, "-d --name sleeper", "busybox sleep infinity").ok();
    let table = host.z("ps").ok().stdout;
    let heading = table.lines().next().unwrap();
    let places = ["CONTAINER ID", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"].map(|column| heading.find(column));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{heading}");
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[test]
fn a_container_without_a_name_gets_one() {
    let host = Host::new();
    let id = host.z("run -d --rootfs / -- busybox sleep 1000").ok().text().to_owned();
    assert!(is_id(&id));
    let table = host.z("ps").ok().stdout;
    let name = table.lines().nth(1).unwrap().split_whitespace().last().unwrap();
    assert!(!name.is_empty());
    host.z(&format!("rm -f {name}")).ok();
    assert_eq!(host.z("ps -aq").ok().text(), "");
}

#[test]
fn rm_at_the_end_leaves_nothing() {
    let host = Host::new();
    run_sh(&host, "--rm --name a", "exit 3").exits(3);
    assert_eq!(row(&host, "a"), None);
    run_sh(&host, "-d --rm --name b", "exit 3").ok();
    until("the container removes itself", || row(&host, "b").is_none());
    run_sh(&host, "--name c", "exit 3").exits(3);
    ends_with(&host, "c", 3);
}

#[test]
fn stop_asks_before_it_kills() {
    let host = Host::new();
    let wait = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    run_sh(&host, "-d --name polite", wait).ok();
    until("the trap is set", || host.z("logs polite").ok().stdout == "ready\n");
    host.z("stop polite").ok();
    ends_with(&host, "polite", 5);
    assert_eq!(host.z("logs polite").ok().stdout, "ready\nasked\n");
    run_sh(
        &host,
        "-d --name deaf",
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    )
    .ok();
    until("the trap is set", || host.z("logs deaf").ok().stdout == "ready\n");
    let start = Instant::now();
    host.z("stop -t 1 deaf").ok();
    assert!(start.elapsed() >= Duration::from_secs(1));
    ends_with(&host, "deaf", 137);
    // Stopping what is stopped is no error.
    host.z("stop deaf polite").ok();
}

#[test]
fn kill_sends_the_signal() {
    let host = Host::new();
    run_sh(
        &host,
        "-d --name a",
        "trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done",
    )
    .ok();
    until("the trap is set", || host.z("logs a").ok().stdout == "ready\n");
    host.z("kill -s HUP a").ok();
    ends_with(&host, "a", 9);
    host.z("kill a").exits(1).says(&["a", "not running"]);
    host.run("b", "");
    assert_ne!(host.z("kill --signal SIGNONSENSE b").says(&["SIGNONSENSE"]).status, 0);
    host.z("kill b").ok();
    ends_with(&host, "b", 137);
}

#[test]
fn rm_refuses_a_running_container() {
    let host = Host::new();
    host.run("a", "");
    host.z("rm a").exits(1).says(&["a", "running", "-f"]);
    host.z("exec a true").ok();
    host.z("rm -f a").ok();
    assert_eq!(host.z("ps -aq").ok().text(), "");
}

#[test]
fn several_are_handled_by_one_command() {
    let host = Host::new();
    for name in ["a", "b", "c"] {
        host.run(name, "");
    }
    let output = host.z("rm -f a nothing b c").exits(1).says(&["nothing"]);
    assert_eq!(output.stdout, "a\nb\nc\n");
    assert_eq!(host.z("ps -aq").ok().text(), "");
}

#[test]
fn an_ambiguous_start_of_an_id_is_refused() {
    let host = Host::new();
    // Of seventeen ids, two start alike.
    let ids = (0..17)
        .map(|_| host.z("run -d --rootfs / -- true").ok().text().to_owned())
        .collect::<Vec<_>>();
    let same = ids
        .iter()
        .find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1)
        .unwrap();
    let refused = host.z(&format!("rm -f {}", &same[..1])).exits(1);
    refused.says(&[&same[..1]]);
    assert_eq!(host.z("ps -aq").ok().stdout.lines().count(), 17);
}

#[test]
fn a_name_is_free_again_after_rm() {
    let host = Host::new();
    for _ in 0..3 {
        host.run("a", "");
        host.z("rm -f a").ok();
    }
}
