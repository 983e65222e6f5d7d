//! What is found out about an engine's host after each stage.

use std::sync::Mutex;
use std::thread;

use super::engine::Engine;
use super::scenario::{NAMES, NETWORKS, PUBLISHED, Stage};
use crate::compare::{Findings, SILENCE, Source, Target, add_targets, addresses, flat, reach};
use crate::harness::{HOST_V4, HOST_V6, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, ip};

/// The port that is published.
const PORT: u16 = 7000;
/// A port that is not.
const HIDDEN: u16 = 7002;
/// The port that the host itself serves at.
const HOST_PORT: u16 = 7100;
/// What stands for a line that is there.
const YES: &str = "yes";

/// Everything that is measured after a stage.
pub(super) fn measure(engine: &Engine, stage: &Stage) -> Findings {
    let running = Running::new(engine, stage);
    let mut findings = Findings::new();
    for (container, net) in running.containers.iter().filter(|(name, _)| *name != "hosted") {
        let interfaces = addresses(net)
            .into_iter()
            .map(|(interface, address)| format!("{interface} {address}"));
        let key = format!("{}: {container} interfaces", stage.name);
        findings.insert(key, interfaces.collect::<Vec<_>>().join(", "));
    }
    running.reach(stage.name, &mut findings);
    running.ask_names(stage.name, &mut findings);
    look(engine, stage, &mut findings);
    findings
}

/// What the engine itself tells.
fn look(engine: &Engine, stage: &Stage, findings: &mut Findings) {
    let name = stage.name;
    for container in stage.containers {
        let value = engine.json(&format!("inspect {container}"))[0].take();
        flat::add(findings, &format!("{name}: inspect {container}"), &value);
        for line in engine.call(&format!("port {container}")).ok().stdout.lines() {
            findings.insert(format!("{name}: port {container}: {line}"), YES.to_owned());
        }
    }
    for network in NETWORKS {
        let value = engine.json(&format!("network inspect {network}"))[0].take();
        flat::add(findings, &format!("{name}: network inspect {network}"), &value);
    }
    let rows = |words: &[&str]| -> Vec<String> {
        let output = engine.call_words(words).ok();
        output.stdout.lines().map(str::to_owned).collect()
    };
    let format = "{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.Labels}}";
    for row in rows(&["network", "ls", "--format", format]) {
        let (network, rest) = row.split_once(' ').unwrap();
        findings.insert(format!("{name}: network ls {network}"), rest.to_owned());
    }
    for (title, field) in [
        ("networks", "{{.Networks}}"),
        ("ports", "{{.Ports}}"),
        ("state", "{{.State}}"),
    ] {
        for row in rows(&["ps", "-a", "--format", &format!("{{{{.Names}}}}|{field}")]) {
            let (container, rest) = row.split_once('|').unwrap();
            for part in rest.split(',').map(str::trim) {
                findings.insert(format!("{name}: ps {container} {title}: {part}"), YES.to_owned());
            }
        }
    }
    let template = "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}/{{$v.IPPrefixLen}} \
                    {{join $v.Aliases \"+\"}};{{end}}";
    for container in ["old", "hosted", "alone"] {
        let row = rows(&["inspect", "-f", template, container]);
        findings.insert(format!("{name}: inspect -f {container}"), row.join("\n"));
    }
}

/// The containers that run, with servers in them.
struct Running<'e> {
    engine: &'e Engine,
    containers: Vec<(&'static str, NetNs)>,
    _servers: Vec<Server>,
}

impl<'e> Running<'e> {
    fn new(engine: &'e Engine, stage: &Stage) -> Self {
        let containers = stage.containers.iter().map(|name| (*name, engine.network_of(name)));
        let containers: Vec<_> = containers.collect();
        let host = &engine.host;
        let mut servers = vec![
            Server::start(&host.net, "host", HOST_PORT),
            Server::start(&host.outside, "outside", PORT),
        ];
        for (name, net) in &containers {
            // These two have their servers in the network that they share.
            if !["side", "hosted"].contains(name) {
                servers.extend([PORT, PORT + 1, HIDDEN].map(|port| Server::start(net, name, port)));
            }
        }
        Running {
            engine,
            containers,
            _servers: servers,
        }
    }

    /// Who gets an answer where, and who the server believes them to be.
    fn reach(&self, stage: &str, findings: &mut Findings) {
        let host = &self.engine.host;
        let mut sources: Vec<Source<'_>> = self
            .containers
            .iter()
            .map(|(name, net)| Source {
                name,
                net,
                on_host: *name == "hosted",
            })
            .collect();
        sources.extend([Source::host(&host.net), Source::outside(&host.outside)]);
        reach(stage, &sources, &self.targets(), findings);
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let mut add = |name, address, port, protos: &[Proto]| add_targets(&mut targets, name, address, port, protos);
        let both = [Proto::Tcp, Proto::Udp];
        for (name, net) in &self.containers {
            for (_, address) in addresses(net) {
                if !["side", "hosted"].contains(name) {
                    let title = format!("{name} at {address}");
                    add(title.clone(), address, PORT, &both);
                    add(title, address, HIDDEN, &[Proto::Tcp]);
                }
            }
        }
        for address in [OUTSIDE_V4, OUTSIDE_V6] {
            add(address.to_owned(), ip(address), PORT, &both);
        }
        for address in [
            HOST_V4,
            HOST_V6,
            "127.0.0.1",
            "::1",
            "10.20.0.1",
            "10.21.0.254",
            "10.22.0.1",
        ] {
            add(address.to_owned(), ip(address), HOST_PORT, &[Proto::Tcp]);
        }
        // Of what a published port is reached by, one gateway stands for all.
        for address in [HOST_V4, HOST_V6, "127.0.0.1", "::1", "10.20.0.1"] {
            for port in PUBLISHED {
                let protos = if [8080, 8088].contains(port) { &both } else { &both[..1] };
                add(address.to_owned(), ip(address), *port, protos);
            }
        }
        targets
    }

    /// Who is reached by which name.
    fn ask_names(&self, stage: &str, findings: &mut Findings) {
        let script = format!(
            "for name in {}; do (echo \"$name=$(nc -w 3 $name {PORT} </dev/null 2>/dev/null)\") & done; wait",
            NAMES.join(" ")
        );
        let findings = Mutex::new(findings);
        thread::scope(|scope| {
            for (container, _) in &self.containers {
                let (script, findings) = (&script, &findings);
                scope.spawn(move || {
                    let output = self.engine.call_words(&["exec", container, "sh", "-c", script]).ok();
                    for line in output.stdout.lines() {
                        let (name, answer) = line.split_once('=').unwrap();
                        let key = format!("{stage}: {container} -> by name {name}");
                        let answer = if answer.is_empty() { SILENCE } else { answer };
                        findings.lock().unwrap().insert(key, answer.to_owned());
                    }
                });
            }
        });
    }
}
