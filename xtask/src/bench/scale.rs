//! Much that is there already: attaching, publishing and detaching beside 1,000 endpoints and 10,000 ports, and
//! commands that look at 1,000 containers.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::call::{self, repeated};
use super::in_process::{Helper, times};
use super::plugin::on_fresh_host;
use super::results::{Group, Results};
use crate::process;

/// Endpoints that are there.
const LEVELS: [usize; 4] = [0, 250, 500, 1000];
/// Over so many bridges are they spread.
const BRIDGES: [u8; 2] = [1, 10];
/// Ports that another endpoint has published.
const PORTS: u16 = 10_000;
const CONTAINERS: usize = 1_000;
const NETWORKS: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];

/// Attaching, publishing and detaching.
pub(super) fn endpoints(results: &mut Results, helper: &Helper) {
    for bridges in BRIDGES {
        let levels = LEVELS.map(|level| level.to_string()).join(",");
        let words = |level: usize| format!("{level} endpoints on {bridges} bridge{}", plural(bridges));
        let options = [format!("--bridges={bridges}"), format!("--levels={levels}")];
        at_levels(results, helper, &options, &LEVELS, words);
    }
    let options = [format!("--published={PORTS}"), "--levels=1".to_owned()];
    at_levels(results, helper, &options, &[1], |_| format!("{PORTS} published ports"));
}

fn plural(count: u8) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn at_levels(
    results: &mut Results,
    helper: &Helper,
    options: &[String],
    levels: &[usize],
    words: impl Fn(usize) -> String,
) {
    let more = [
        helper.state(),
        "--run=/run/measure".to_owned(),
        format!("--count={}", results.repetitions(60)),
    ];
    let answer = helper.ask("scale", &[options, more.as_slice()].concat());
    for (number, level) in levels.iter().enumerate() {
        let of_level = answer.as_ref().map(|all| all[number].clone());
        let of_level = of_level.map_err(|error| anyhow::anyhow!("{error:#}"));
        for (verb, list) in [
            ("attach", "attach"),
            ("attach, with its records", "attach_recorded"),
            ("publish one more port", "publish"),
            ("detach", "detach"),
            ("detach, with its records", "detach_recorded"),
        ] {
            let case = format!("{verb}, beside {}", words(*level));
            results.times(Group::Scale, &case, "zdocker", times(&of_level, list));
        }
    }
}

/// Commands that look, as whole processes.
pub(super) fn commands(results: &mut Results, folder: &Path, zdocker: &Path, helper: &Helper) {
    let verbs: [&[&str]; 5] = [
        &["ps"],
        &["ps", "-q"],
        &["network", "ls"],
        &["network", "inspect", "n0"],
        &[
            "network", "inspect", "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9",
        ],
    ];
    let count = results.repetitions(60);
    let measured = on_fresh_host(|| look(&folder.join("scale"), zdocker, helper, (&verbs, count)));
    for (number, verb) in verbs.iter().enumerate() {
        let shown = match verb {
            ["network", "inspect", _, _, ..] => "network inspect of all 10".to_owned(),
            words => words.join(" "),
        };
        let times = match &measured {
            Ok(times) => Ok(times[number].clone()),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let case = format!("{shown}, {CONTAINERS} containers on 10 networks");
        results.times(Group::Scale, &case, "zdocker", times);
    }
}

fn look(
    folder: &Path,
    zdocker: &Path,
    helper: &Helper,
    (verbs, count): (&[&[&str]], usize),
) -> Result<Vec<Vec<Duration>>> {
    let (state, run) = (folder.join("state"), folder.join("run"));
    let command = |words: &[&str]| {
        let mut command = Command::new(zdocker);
        command
            .arg("--root")
            .arg(&state)
            .arg("--run-root")
            .arg(&run)
            .args(words);
        command
    };
    for network in NETWORKS {
        call::timed(&mut command(&["network", "create", network]), b"")?;
    }
    let seed = ["create", "--name", "seed", "--net", "n0", "--rootfs", "/", "true"];
    call::timed(&mut command(&seed), b"")?;
    let mut recorded = Command::new(helper.program());
    recorded
        .args(["recorded", "--like", "seed", "--networks", &NETWORKS.join(",")])
        .arg(format!("--count={CONTAINERS}"))
        .arg("--state")
        .arg(&state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut holder = recorded.spawn().with_context(|| process::not_started(&recorded))?;
    let mut line = String::new();
    let ready = holder.stdout.take().context("the helper has no output")?;
    let told = BufReader::new(ready).read_line(&mut line);
    let measured = match told {
        Ok(length) if length > 0 => verbs
            .iter()
            .map(|verb| repeated(count, || Ok(call::timed(&mut command(verb), b"")?.0)))
            .collect(),
        _ => Err(anyhow::anyhow!("the helper recorded nothing")),
    };
    // Its containers run as long as it does, which is until its input ends.
    drop(holder.stdin.take());
    if !holder.wait()?.success() {
        bail!("the helper failed");
    }
    measured
}
