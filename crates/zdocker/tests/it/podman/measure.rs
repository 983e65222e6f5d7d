//! What is found out about Podman's host after each stage.

use std::sync::Mutex;
use std::{fs, thread};

use serde_json::Value;

use super::engine::{Podman, SWITCH_OFF};
use super::scenario::{Scenario, Stage};
use crate::compare::{Findings, SILENCE, Source, Target, add_targets, addresses, flat, reach, text};
use crate::harness::{HOST_V4, HOST_V6, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, ip, until};

/// The port that is published.
const PORT: u16 = 7000;
/// A port that is not.
const HIDDEN: u16 = 7002;
/// The port that the host itself serves at.
const HOST_PORT: u16 = 7100;
/// The Ethernet address that a container was given.
const STATIC_MAC: &str = "02:00:00:00:00:0a";
/// What stands for a line that is there.
const YES: &str = "yes";

/// Everything that is measured after a stage.
pub(super) fn measure(engine: &Podman, scenario: &Scenario, stage: &Stage) -> Findings {
    let running = engine.json(&format!("inspect {}", stage.containers.join(" ")));
    let running: Vec<Running> = running
        .as_array()
        .unwrap()
        .iter()
        .map(|one| Running::new(engine, one))
        .collect();
    let host = &engine.host;
    let mut servers = vec![
        Server::start(&host.net, "host", HOST_PORT),
        Server::start(&host.outside, "outside", PORT),
    ];
    let mut findings = Findings::new();
    for container in &running {
        // With netavark a bridge gets another Ethernet address when a container comes or goes, which the others find
        // out late.
        container.net.try_ip("neigh flush all");
        let serve = |port| Server::start(&container.net, &container.name, port);
        servers.extend([PORT, PORT + 1, HIDDEN].map(serve));
        container.look_inside(stage.name, &mut findings);
        flat::add(
            &mut findings,
            &format!("{}: inspect {}", stage.name, container.name),
            &container.settings,
        );
    }
    let mut sources = vec![Source::host(&host.net), Source::outside(&host.outside)];
    sources.extend(running.iter().map(|container| Source {
        name: &container.name,
        net: &container.net,
        on_host: false,
    }));
    let users = engine.users_network();
    if let Some(net) = &users {
        net.output("sh", &["-c", SWITCH_OFF], "");
    }
    sources.extend(users.iter().map(|net| Source {
        name: "the user's namespace",
        net,
        on_host: false,
    }));
    let mut answers = Findings::new();
    let targets = targets(&running, scenario.published);
    reach(stage.name, &sources, &targets, &mut answers);
    for (question, answer) in answers {
        // Who answered, and whom he believed to be asked by, are two things.
        let (server, source) = answer.split_once(" saw ").unwrap_or((&answer, SILENCE));
        findings.insert(format!("{question}, by source"), source.to_owned());
        findings.insert(question, server.to_owned());
    }
    ask_names(engine, scenario.names, stage, &mut findings);
    look(engine, scenario.networks, stage, &mut findings);
    findings
}

/// A container that runs.
struct Running {
    name: String,
    net: NetNs,
    /// What `inspect` tells of its networks.
    settings: Value,
    resolv_conf: String,
}

impl Running {
    /// The one that `inspect` tells of.
    fn new(engine: &Podman, inspected: &Value) -> Self {
        let process = engine.host.proc().join(inspected["State"]["Pid"].to_string());
        let mut settings = inspected["NetworkSettings"].clone();
        // Its last part is random.
        settings.as_object_mut().unwrap().remove("SandboxKey");
        Running {
            name: inspected["Name"].as_str().unwrap().to_owned(),
            net: NetNs::open(&text(&process.join("ns/net"))),
            settings,
            resolv_conf: fs::read_to_string(process.join("root/etc/resolv.conf")).unwrap(),
        }
    }

    /// Its interfaces, routes and name servers.
    fn look_inside(&self, stage: &str, findings: &mut Findings) {
        let title = format!("{stage}: {}", self.name);
        for link in self.net.ip_json(&["addr", "show"]) {
            let name = link["ifname"].as_str().unwrap();
            let mut add = |what: &str, value: &Value| {
                findings.insert(format!("{title} {name} {what}"), value.to_string());
            };
            add("mtu", &link["mtu"]);
            if link["address"] == STATIC_MAC {
                add("mac", &link["address"]);
            }
            // An address that the kernel makes of the interface's own is another one in every run.
            let given = |address: &&Value| address["scope"] != "link";
            for address in link["addr_info"].as_array().into_iter().flatten().filter(given) {
                let local = address["local"].as_str().unwrap();
                add(&format!("{local}/{}", address["prefixlen"]), &address["scope"]);
            }
        }
        for family in ["-4", "-6"] {
            for route in self.net.ip_json(&[family, "route", "show"]) {
                let word = |key: &str| route[key].as_str().unwrap_or("-").to_owned();
                let key = format!("{title} route {family} {} dev {}", word("dst"), word("dev"));
                let value = format!("via {} metric {}", word("gateway"), route["metric"]);
                findings.insert(key, value);
            }
        }
        for line in self.resolv_conf.lines() {
            findings.insert(format!("{title} resolv.conf: {line}"), YES.to_owned());
        }
    }
}

/// What may answer.
fn targets(running: &[Running], published: &[u16]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |name, address, port, protos: &[Proto]| add_targets(&mut targets, name, address, port, protos);
    let both = [Proto::Tcp, Proto::Udp];
    for container in running {
        for (_, address) in addresses(&container.net) {
            let title = format!("{} at {address}", container.name);
            add(title.clone(), address, PORT, &both);
            add(title, address, HIDDEN, &[Proto::Tcp]);
        }
    }
    for address in [OUTSIDE_V4, OUTSIDE_V6] {
        add(address.to_owned(), ip(address), PORT, &both);
    }
    for address in [HOST_V4, HOST_V6, "127.0.0.1", "10.20.0.1", "10.21.0.254", "10.22.0.1"] {
        add(address.to_owned(), ip(address), HOST_PORT, &[Proto::Tcp]);
    }
    // Of what a published port is reached by, one gateway stands for all.
    for address in [HOST_V4, HOST_V6, "127.0.0.1", "::1", "10.20.0.1"] {
        for port in published {
            let protos = if *port == 8080 { &both } else { &both[..1] };
            add(address.to_owned(), ip(address), *port, protos);
        }
    }
    targets
}

/// Who is reached by which name.
fn ask_names(engine: &Podman, names: &[&str], stage: &Stage, findings: &mut Findings) {
    // A container's own name leads to its addresses in no order.
    let script = format!(
        "for name in {}; do test $name = $0 || \
         (echo \"$name=$(nc -w 3 $name {PORT} </dev/null 2>/dev/null)\") & done; wait",
        names.join(" ")
    );
    let findings = Mutex::new(findings);
    thread::scope(|scope| {
        for container in stage.containers {
            let (script, findings) = (&script, &findings);
            scope.spawn(move || {
                let output = engine
                    .call_words(&["exec", container, "sh", "-c", script, container])
                    .ok();
                for line in output.stdout.lines() {
                    let (name, answer) = line.split_once('=').unwrap();
                    let key = format!("{}: {container} -> by name {name}", stage.name);
                    let answer = if answer.is_empty() { SILENCE } else { answer };
                    findings.lock().unwrap().insert(key, answer.to_owned());
                }
            });
        }
    });
}

/// What Podman itself tells.
fn look(engine: &Podman, networks: &[&str], stage: &Stage, findings: &mut Findings) {
    let name = stage.name;
    for line in engine.call("port web").ok().stdout.lines() {
        findings.insert(format!("{name}: port web: {line}"), YES.to_owned());
    }
    let inspected = engine.json(&format!("network inspect {}", networks.join(" ")));
    for (network, value) in networks.iter().zip(inspected.as_array().unwrap()) {
        flat::add(findings, &format!("{name}: network inspect {network}"), value);
    }
    for row in engine
        .call("network ls --format {{.Name}},{{.Driver}}")
        .ok()
        .stdout
        .lines()
    {
        findings.insert(format!("{name}: network ls: {row}"), YES.to_owned());
    }
}

/// What is there when no container and no network of the scenario is.
pub(super) fn what_is_left(engine: &Podman) -> Findings {
    let host = &engine.host;
    let mut findings = Findings::new();
    let mut add = |what: String| findings.insert(format!("left: {what}"), YES.to_owned());
    let is_port = |link: &Value| link["linkinfo"]["info_kind"] == "veth" && link["ifname"] != "eth0";
    // The kernel takes interfaces away a moment after their namespace.
    until("the containers' interfaces are gone", || {
        !host.net.ip_json(&["-details", "link", "show"]).iter().any(is_port)
    });
    // They go behind the last command, after the bridges.
    until("zdocker's tables are gone", || {
        !host.net.output("nft", &["list", "tables"], "").contains("zdocker")
    });
    // It is told to read its files again, and then finds none.
    until("the name server has ended", || name_servers(engine).is_empty());
    for link in host.net.ip_json(&["link", "show"]) {
        add(format!("link {}", link["ifname"].as_str().unwrap()));
    }
    for line in host
        .program("nft", &["--stateless", "list", "ruleset"])
        .ok()
        .stdout
        .lines()
    {
        add(format!("firewall {}", line.trim()));
    }
    for line in host
        .program(
            "find",
            &[&text(&engine.namespaces()), &text(&engine.state()), "-type", "f"],
        )
        .stdout
        .lines()
    {
        add(format!("file {line}"));
    }
    findings
}

/// The command lines of the name servers that run; words end with a zero.
pub(super) fn name_servers(engine: &Podman) -> Vec<String> {
    let commands = engine.processes("aardvark-dns").into_iter();
    commands
        .filter_map(|process| fs::read_to_string(process.join("cmdline")).ok())
        .collect()
}
