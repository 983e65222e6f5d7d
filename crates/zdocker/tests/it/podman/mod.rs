//! The same scenario is done by Podman with its own netavark and with zdocker in its place, and the outcomes are
//! compared.

mod alone;
mod differences;
mod engine;
mod measure;
mod rootless;
mod scenario;
mod user;

use std::path::Path;
use std::thread;

use engine::Podman;
use scenario::Scenario;

use crate::compare::{Findings, compare};
use crate::harness::{HOST_V4, HOST_V6, skipped};

/// zdocker in netavark's place.
const ZDOCKER: &str = env!("CARGO_BIN_EXE_zdocker");

/// What the scenario needs, with the Debian package that has it.
const NEEDED: &[(&str, &str)] = &[
    (engine::PODMAN, "podman"),
    (engine::NETAVARK, "netavark"),
    (engine::AARDVARK_DNS, "aardvark-dns"),
    ("/usr/sbin/iptables", "iptables"),
];

#[test]
fn podman_does_the_same_with_zdocker_as_with_netavark() {
    if !is_installed() {
        return;
    }
    let [netavark, zdocker] = with_both(play);
    compare(["netavark", "zdocker"], [&netavark, &zdocker], differences::all());
}

/// What `play` finds with netavark, and with zdocker in its place.
fn with_both(play: impl Fn(&str) -> Findings + Sync) -> [Findings; 2] {
    thread::scope(|scope| {
        let netavark = scope.spawn(|| play(engine::NETAVARK));
        let zdocker = play(ZDOCKER);
        [netavark.join().unwrap(), zdocker]
    })
}

/// Whether all that is needed is installed; says what is not.
fn is_installed() -> bool {
    let missing = NEEDED.iter().find(|(path, _)| !Path::new(path).exists());
    if let Some((path, package)) = missing {
        skipped(&format!("{path} is not installed (Debian's package {package})"));
    }
    missing.is_none()
}

/// Does the scenario with the program `netavark`, and returns what was found after its stages.
fn play(netavark: &str) -> Findings {
    let engine = Podman::new(netavark);
    // The outside knows the way to every container, as a neighbour does that means ill.
    engine.host.outside.ip(&format!(
        "route add 10.20.0.0/14 via {HOST_V4}\nroute add 10.24.0.0/15 via {HOST_V4}\nroute add fd00:23::/64 via {HOST_V6}"
    ));
    let mut findings = play_stages(&engine, &scenario::ROOT);
    for command in scenario::ROOT.end {
        engine.call(command).ok();
    }
    findings.extend(measure::what_is_left(&engine));
    findings
}

/// Does the stages of a scenario, and returns what was found after each.
fn play_stages(engine: &Podman, scenario: &Scenario) -> Findings {
    let mut findings = Findings::new();
    for stage in scenario.stages {
        for command in stage.commands {
            engine.call(command).ok();
        }
        findings.extend(measure::measure(engine, scenario, stage));
    }
    findings
}
