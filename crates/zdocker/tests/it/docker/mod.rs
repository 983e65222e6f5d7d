//! The same scenario is done by Docker and by zdocker, and the outcomes are compared.

mod differences;
mod engine;
mod measure;
mod options_page;
mod scenario;

use std::path::Path;
use std::thread;

use engine::Engine;
use scenario::STAGES;

use crate::compare::{Findings, compare};
use crate::harness::skipped;

#[test]
fn docker_and_zdocker_agree() {
    if !["/usr/sbin/dockerd", "/usr/bin/dockerd"]
        .iter()
        .any(|path| Path::new(path).exists())
    {
        skipped("dockerd is not installed (Debian's package docker.io)");
        return;
    }
    let (docker, zdocker) = thread::scope(|scope| {
        let docker = scope.spawn(|| play(&Engine::docker()));
        let zdocker = play(&Engine::zdocker());
        (docker.join().unwrap(), zdocker)
    });
    compare(["docker", "zdocker"], [&docker, &zdocker], differences::all());
}

/// Does the scenario, and returns what was found after its stages.
fn play(engine: &Engine) -> Findings {
    let mut findings = Findings::new();
    // The outside knows the way to every container, as a neighbour does that means ill.
    engine.host.outside.ip(&format!(
        "route add 10.20.0.0/14 via {v4}\nroute add 10.24.0.0/24 via {v4}\nroute add fd00:23::/64 via {v6}",
        v4 = crate::harness::HOST_V4,
        v6 = crate::harness::HOST_V6,
    ));
    for stage in STAGES {
        for command in stage.commands {
            let output = engine.call(command);
            findings.insert(format!("{}: {command}", stage.name), output.status.to_string());
            assert!(output.status == 0, "{output:?}");
        }
        findings.extend(measure::measure(engine, stage));
    }
    findings
}
