//! What a container wrote, kept and shown later.

use std::io::{BufRead, BufReader};

use super::{ends_with, run_sh};
use crate::harness::Host;

#[test]
fn logs_show_what_was_written_and_where() {
    let host = Host::new();
    run_sh(
        &host,
        "-d --name a",
        "echo one; echo two >&2; echo three; printf unfinished",
    )
    .ok();
    ends_with(&host, "a", 0);
    let logs = host.z("logs a").ok();
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("one\nthree\nunfinished", "two\n")
    );
    // What ran in the foreground is kept, too.
    run_sh(&host, "--name b", "echo seen").ok();
    assert_eq!(host.z("logs b").ok().stdout, "seen\n");
}

#[test]
fn logs_follow_until_the_container_ends() {
    let host = Host::new();
    let fifo = host.scratch().join("fifo");
    let volume = format!("-d --name a -v {}:/data", host.scratch().display());
    host.program("mkfifo", &[fifo.to_str().unwrap()]).ok();
    run_sh(&host, &volume, "echo first; cat /data/fifo; echo last; exit 3").ok();
    let mut follower = host.spawn(&mut host.zdocker_command(&["logs", "-f", "a"])).unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("first"));
    // The container waits for this: what follows was written after the following began.
    std::fs::write(&fifo, "second\n").unwrap();
    assert_eq!(lines.next().as_deref(), Some("second"));
    assert_eq!(lines.next().as_deref(), Some("last"));
    assert_eq!(lines.next(), None);
    assert!(follower.wait().unwrap().success());
}

#[test]
fn binary_output_is_kept_as_it_is() {
    let host = Host::new();
    run_sh(&host, "-d --name a", "printf 'a\\0b\\tc \"quoted\" \\\\ back\\n'").ok();
    ends_with(&host, "a", 0);
    assert_eq!(host.z("logs a").ok().stdout, "a\0b\tc \"quoted\" \\ back\n");
}
