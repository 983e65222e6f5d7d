//! What the kernel itself costs, which nobody who uses it can undercut.

use std::process::Command;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};

use super::call::{self, repeated};
use super::plugin::on_fresh_host;
use super::results::{Group, Results};

/// Measures the smallest steps that every contestant has to take.
pub(super) fn measure(results: &mut Results) {
    let count = results.repetitions(60);
    let spawned = repeated(count, || Ok(call::timed(Command::new("busybox").arg("true"), b"")?.0));
    results.times(
        Group::Kernel,
        "start a static program and wait for its end",
        "kernel",
        spawned,
    );
    let namespaces = on_fresh_host(|| {
        repeated(count, || {
            let start = Instant::now();
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(start.elapsed())
        })
    });
    results.times(
        Group::Kernel,
        "make a network namespace, back to back",
        "kernel",
        namespaces,
    );
}
