//! What the kernel itself takes, which nobody who uses it can undercut.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

use super::call::{self, repeated, repeated_after_quiet};
use super::in_process::{self, Helper};
use super::plugin::on_fresh_host;
use super::results::{Group, Results};

/// The one who does all of these.
pub(super) const KERNEL: &str = "kernel";
pub(super) const START: &str = "start a static program and wait for its end";
pub(super) const NAMESPACE: &str = "make a network namespace, after 100 ms of quiet";
pub(super) const VETH: &str = "make a veth pair into a namespace (RTM_NEWLINK), after 100 ms of quiet";
pub(super) const CREATE_BRIDGE: &str = "create a bridge (RTM_NEWLINK), after 100 ms of quiet";
pub(super) const DELETE_BRIDGE: &str = "delete a bridge (RTM_DELLINK), after 100 ms of quiet";
pub(super) const MOVE: &str = "move a process to the control group where it is, after 100 ms of quiet";

/// Measures the smallest steps that every contestant has to take.
pub(super) fn measure(results: &mut Results, helper: &Helper) {
    let count = results.repetitions(60);
    let spawned = repeated(count, || Ok(call::timed(Command::new("busybox").arg("true"), b"")?.0));
    results.times(Group::Kernel, START, KERNEL, spawned);

    let hot = on_fresh_host(|| repeated(count, new_namespace));
    results.times(Group::Kernel, "make a network namespace, back to back", KERNEL, hot);
    let cold = on_fresh_host(|| repeated_after_quiet(count / 2, new_namespace));
    results.times(Group::Kernel, NAMESPACE, KERNEL, cold);

    for (words, measured) in in_process::kernel_parts(results, helper) {
        results.times(Group::Kernel, words, KERNEL, measured);
    }

    let words = "move a process to the control group where it is, back to back";
    results.times(
        Group::Kernel,
        words,
        KERNEL,
        in_own_group(|group| repeated(count, || stay(group))),
    );
    let cold = in_own_group(|group| repeated_after_quiet(count / 2, || stay(group)));
    results.times(Group::Kernel, MOVE, KERNEL, cold);
}

fn new_namespace() -> Result<Duration> {
    let start = Instant::now();
    unshare(CloneFlags::CLONE_NEWNET)?;
    Ok(start.elapsed())
}

/// A process that writes 0 to a control group moves itself there (cgroups(7)).
fn stay(group: &Path) -> Result<Duration> {
    let start = Instant::now();
    fs::write(group.join("cgroup.procs"), "0")?;
    Ok(start.elapsed())
}

/// Does something while this process is in a control group of its own.
fn in_own_group<T>(work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let home = own_group()?;
    // Below a group of zdocker's, so that it is found and removed if this program is killed.
    let group = home.join("zdocker/bench");
    let made = fs::create_dir_all(&group).context("making a control group");
    let done = made.and_then(|()| stay(&group)).and_then(|_| work(&group));
    stay(&home).context("going back to the control group")?;
    fs::remove_dir(&group).context("removing the control group")?;
    done
}

/// The group that we are in, of cgroup2's hierarchy if it is the only one, else of cgroup1's `pids`.
fn own_group() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let group = |line: &str, folder: &str, controllers: &str| {
        let (_, after) = line.split_once(&format!(":{controllers}:/"))?;
        Some(Path::new("/sys/fs/cgroup").join(folder).join(after))
    };
    let mut found = text.lines().filter_map(|line| group(line, "pids", "pids"));
    let only = text.lines().find_map(|line| group(line, "", ""));
    found
        .next()
        .or(only)
        .context("/proc/self/cgroup names no group that can be used")
}
