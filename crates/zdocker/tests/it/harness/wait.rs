//! Waiting for what happens in another process and sends no event; and saying that a test cannot be run here.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails; generous, since many tests share few processors.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whether `condition` comes to hold before `limit` is over.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Looks again and again until `look` finds something; panics, saying `what`, when it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    let seen = within(PATIENCE, || {
        found = look();
        found.is_some()
    });
    assert!(seen, "waited {PATIENCE:?} in vain: {what}");
    found.unwrap()
}

/// Waits until `condition` holds; see [`until_some`].
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(within(PATIENCE, condition), "waited {PATIENCE:?} in vain: {what}");
}

/// Says that the test of the calling thread is skipped, and why, past the capturing of output.
pub(crate) fn skipped(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
