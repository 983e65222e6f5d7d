//! What zdocker does within its own process, measured by a helper that is built with optimisation as zdocker is.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::call::QUIET;
use super::kernel;
use super::plugin::{CASES, Case, on_fresh_host};
use super::results::{Group, Results};
use crate::process;

/// The records' transactions, the plan, and the kernel's work.
pub(super) const RECORDED: &str = "zdocker, with its records";
/// The plan and the kernel's work alone.
pub(super) const KERNEL_ONLY: &str = "zdocker, plan and kernel";

/// Quiet before each attaching and detaching.
const PAUSE: &str = "40";

/// What no other program is measured with.
const OWN_CASES: &[Case] = &[Case {
    words: "one port, 1,000 others on 2 bridges",
    published_by_others: 0,
    others: 1_000,
    own_ports: 1,
    repetitions: 18,
}];

/// The program `measure`, and where it may keep things.
pub(super) struct Helper {
    program: PathBuf,
    folder: PathBuf,
    calls: Cell<usize>,
}

impl Helper {
    pub(super) fn new(program: &Path, folder: &Path) -> Self {
        Self {
            program: program.to_owned(),
            folder: folder.join("measure"),
            calls: Cell::new(0),
        }
    }

    /// Calls it on a host of its own; gives its answer.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn ask(&self, what: &str, options: &[String]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.arg(what).args(options);
        let answer = on_fresh_host(|| process::capture(&mut command))?;
        serde_json::from_str(&answer).context("the answer of the helper")
    }

    /// The program itself.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The option that gives it a new folder on disk, for records.
    pub(super) fn state(&self) -> String {
        self.calls.set(self.calls.get() + 1);
        format!("--state={}", self.folder.join(self.calls.get().to_string()).display())
    }
}

/// A list of nanoseconds in an answer.
///
/// # Errors
/// Those of the answer, and when it has no such list.
pub(super) fn times(answer: &Result<Value>, list: &str) -> Result<Vec<Duration>> {
    let answer = answer.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    let numbers = answer[list].as_array().context("the helper gave no times")?;
    let time = |number: &Value| number.as_u64().map(Duration::from_nanos);
    numbers
        .iter()
        .map(time)
        .collect::<Option<_>>()
        .context("a time is no number")
}

/// Attaching and detaching.
pub(super) fn endpoints(results: &mut Results, helper: &Helper) {
    for case in CASES.iter().chain(OWN_CASES) {
        attach_and_detach(results, helper, case, case.words, &[&format!("--pause={PAUSE}")]);
    }
    let [_, one_port, ..] = CASES else { return };
    let both = [&format!("--pause={PAUSE}"), "--ipv6"];
    attach_and_detach(results, helper, one_port, "one port, IPv4 and IPv6", &both);
    let limited = [&format!("--pause={PAUSE}"), "--limited"];
    attach_and_detach(results, helper, one_port, "one port, limited both ways", &limited);
    for (words, options) in [
        ("one port, many in a row", &["--in-a-row"][..]),
        ("one port, straight after the one before", &[]),
    ] {
        attach_and_detach(results, helper, one_port, words, options);
    }
}

fn attach_and_detach(results: &mut Results, helper: &Helper, case: &Case, words: &str, more: &[&str]) {
    let mut options = vec![
        helper.state(),
        "--run=/run/measure".to_owned(),
        format!("--published={}", case.published_by_others),
        format!("--others={}", case.others),
        format!("--ports={}", case.own_ports),
        format!("--count={}", results.repetitions(2 * case.repetitions)),
    ];
    options.extend(more.iter().map(|&word| word.to_owned()));
    let answer = helper.ask("endpoints", &options);
    for (verb, list) in [("attach", "attach"), ("detach", "detach")] {
        let case = format!("{verb}, {words}");
        let recorded = times(&answer, &format!("{list}_recorded"));
        results.times(Group::Attach, &case, RECORDED, recorded);
        results.times(Group::Attach, &case, KERNEL_ONLY, times(&answer, list));
    }
}

/// Handing out addresses: from a fresh subnet, and from one of which many are in use.
pub(super) fn addresses(results: &mut Results, helper: &Helper) {
    let subnets = [
        ("10.0.0.0/24", 0),
        ("10.0.0.0/24", 200),
        ("10.0.0.0/8", 0),
        ("10.0.0.0/8", 10_000),
        ("fd00::/64", 0),
        ("fd00::/64", 10_000),
    ];
    for (subnet, used) in subnets {
        let count = results.repetitions(120);
        let options = [
            format!("--subnet={subnet}"),
            format!("--used={used}"),
            format!("--count={count}"),
        ];
        let answer = helper.ask("addresses", &[options.as_slice(), &[helper.state()]].concat());
        let words = if used == 0 {
            "fresh".to_owned()
        } else {
            format!("{used} in use")
        };
        for (verb, list) in [("hand out an address", "lease"), ("take it back", "release")] {
            let case = format!("{verb}, one transaction, {subnet}, {words}");
            results.times(Group::Ipam, &case, "zdocker", times(&answer, list));
        }
        let bytes = answer.and_then(|answer| answer["bitmap_bytes"].as_u64().context("the helper gave no size"));
        results.bytes(
            Group::Ipam,
            &format!("bitmap kept, {subnet}, {words}"),
            "zdocker",
            bytes,
        );
    }
}

/// The kernel's part alone, after some quiet: what it is, and how long it took.
pub(super) fn kernel_parts(results: &Results, helper: &Helper) -> [(&'static str, Result<Vec<Duration>>); 3] {
    let options = [
        "--run=/run/measure".to_owned(),
        format!("--count={}", results.repetitions(30)),
        format!("--pause={}", QUIET.as_millis()),
    ];
    let answer = helper.ask("bridge", &options);
    [
        (kernel::CREATE_BRIDGE, times(&answer, "create")),
        (kernel::VETH, times(&answer, "veth")),
        (kernel::DELETE_BRIDGE, times(&answer, "delete")),
    ]
}
