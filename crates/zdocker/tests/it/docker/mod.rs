//! The same scenario is done by Docker and by zdocker, and the outcomes are compared.

mod differences;
mod engine;
mod flat;
mod measure;
mod options_page;
mod scenario;

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use differences::{ABSENT, Difference};
use engine::Engine;
use measure::Findings;
use scenario::STAGES;

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
    compare(&docker, &zdocker);
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

/// Checks that they agree but for the listed differences, and that all of these are there.
fn compare(docker: &Findings, zdocker: &Findings) {
    let listed: Vec<&Difference> = differences::all().collect();
    let mut seen = vec![0; listed.len()];
    let mut unlisted = Vec::new();
    let keys: BTreeSet<&String> = docker.keys().chain(zdocker.keys()).collect();
    for key in &keys {
        let value = |findings: &Findings| findings.get(*key).map_or(ABSENT.to_owned(), Clone::clone);
        let (docker, zdocker) = (value(docker), value(zdocker));
        if docker == zdocker {
            continue;
        }
        match listed.iter().position(|one| one.covers(key, &docker, &zdocker)) {
            Some(position) => seen[position] += 1,
            None => unlisted.push(format!("{key}\n    docker:  {docker}\n    zdocker: {zdocker}")),
        }
    }
    let of = |(listed, count): (&&Difference, &usize)| format!("{count:5} {listed}");
    println!("{} findings; they differ in:", keys.len());
    println!("{}", listed.iter().zip(&seen).map(of).collect::<Vec<_>>().join("\n"));
    let gone = listed.iter().zip(&seen).filter(|(_, count)| **count == 0);
    let gone: Vec<String> = gone.map(|(listed, _)| listed.to_string()).collect();
    assert!(
        unlisted.is_empty(),
        "{} differences that are not listed:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    assert!(gone.is_empty(), "listed, but they agree now:\n{}", gone.join("\n"));
}
