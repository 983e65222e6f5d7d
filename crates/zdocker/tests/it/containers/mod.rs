//! Containers: how they are started, looked at, entered, stopped and removed.

mod exec;
mod files;
mod lifecycle;
mod logs;
mod names;
mod process;
mod terminal;

use crate::harness::{Host, Output, until};

/// `run OPTIONS --rootfs / -- sh -c SCRIPT`.
fn run_sh(host: &Host, options: &str, script: &str) -> Output {
    let mut args = vec!["run"];
    args.extend(options.split_whitespace());
    args.extend(["--rootfs", "/", "--", "sh", "-c", script]);
    host.zdocker(&args)
}

/// The row of the container `name` in `ps -a`, if it is there.
fn row(host: &Host, name: &str) -> Option<String> {
    let table = host.z("ps -a").ok().stdout;
    let is_row = |line: &&str| line.split_whitespace().last() == Some(name);
    table.lines().find(is_row).map(str::to_owned)
}

/// Waits until the container `name` has ended, and checks that `ps -a` shows this exit status.
#[track_caller]
fn ends_with(host: &Host, name: &str, status: i32) {
    let mut last = None;
    until(&format!("{name} ends"), || {
        last = row(host, name);
        last.as_ref().is_some_and(|row| row.contains("Exited"))
    });
    let row = last.unwrap();
    assert!(row.contains(&format!("Exited ({status})")), "{row}");
}
