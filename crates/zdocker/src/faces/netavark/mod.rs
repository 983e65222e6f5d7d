//! Podman's network stack, as netavark is called by it.

mod answer;
mod args;
mod create;
mod dns;
mod input;
mod network;
mod plan;
mod plugin;
mod ports;
mod update;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde_json::json;
use zdocker_engine::config::Config;
use zdocker_engine::{Engine, EngineError, Journal};
use zdocker_net::model::Isolation;
use zdocker_net::op::{NamespacePath, Shown};

use crate::output::{note, say};
use args::{Options, Verb};
use dns::Dns;
use input::Input;
use network::Defaults;
use plan::Plan;
use plugin::Plugins;

/// The version of netavark whose interface this is.
const VERSION: &str = "2.1.0";
/// Where Podman keeps state when it runs as root.
const CONFIG: &str = "/run/containers/networks";
/// The verb that needs no directory.
const RELOAD: &str = "firewall-reload";
/// The name server's program, unless Podman names it.
const AARDVARK: &str = "/usr/libexec/podman/aardvark-dns";
/// The exit status of a command line that is not understood.
const USAGE: u8 = 2;

/// Does what the arguments and the input say.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (verb, options) = match args::parse(arguments.skip(1)) {
        Ok(parsed) => parsed,
        Err(error) => {
            note(&format!("error: {error}\n\n{}", args::HELP));
            return ExitCode::from(USAGE);
        }
    };
    let done = match &verb {
        Verb::Setup(namespace) => setup(namespace, &options),
        Verb::Teardown(namespace) => teardown(namespace, &options),
        Verb::Reload => reload(&options),
        Verb::Version => said(&version()),
        Verb::VersionLine => said(&format!("netavark {VERSION} (zdocker {})", env!("CARGO_PKG_VERSION"))),
        Verb::Help => said(args::HELP),
        Verb::Create => create(&options),
        Verb::Update { network, servers } => update(network, servers, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Podman reads standard output; if nobody does, the exit status is all there is to tell.
            let _ = say(&json!({ "error": message(&error) }).to_string());
            ExitCode::FAILURE
        }
    }
}

fn said(text: &str) -> anyhow::Result<()> {
    Ok(say(text)?)
}

fn message(error: &anyhow::Error) -> String {
    // The engine's errors tell their causes themselves.
    if error.is::<EngineError>() {
        error.to_string()
    } else {
        format!("{error:#}")
    }
}

fn version() -> String {
    let version = json!({
        "version": VERSION,
        "zdocker": env!("CARGO_PKG_VERSION"),
        "commit": "",
        "build_time": "",
        "target": format!("{}-unknown-linux", std::env::consts::ARCH),
        "default_fw_driver": "nftables",
    });
    format!("{version:#}")
}

fn setup(namespace: &OsStr, options: &Options) -> anyhow::Result<()> {
    let invalid = |error| anyhow!("invalid namespace path: IO error: {error}");
    fs::File::open(namespace).map_err(invalid)?;
    let namespace = absolute(namespace)?;
    let input = Input::read(options.file.as_deref())?;
    let mut plan = Plan::read(
        &input,
        defaults(options, &input)?,
        &Plugins::new(options.plugin_directories.clone()),
    );
    if let Some(error) = plan.failures.drain(..).next() {
        return Err(error);
    }
    plan::place_name_servers(&mut plan.wanted)?;
    let dns = name_server(options, "setup")?;
    let mut engine = open(options, "setup")?;
    let request = plan.plug(&input, namespace.clone());
    let endpoints = if request.endpoints.is_empty() {
        Vec::new()
    } else {
        engine.plug(&request)?
    };
    let reachable = plan::drop_unreachable_servers(&mut engine, &mut plan.wanted);
    let joined = reachable.and_then(|()| join_others(&plan, &input, &dns, &namespace.0));
    let answer = joined.and_then(|foreign| answer::answer(&mut engine, &input, &plan.wanted, &endpoints, foreign));
    let told = answer.and_then(|answer| Ok(say(&answer.to_string())?));
    told.inspect_err(|_| {
        // The error is why it did not work; what cannot be taken back either is what Podman's teardown is for.
        let _ = engine
            .unplug(&plan.unplug(&input, Some(namespace)))
            .and_then(|()| engine.finish());
    })
}

/// Plugs the container in where others than the engine do it, and makes its names known. All or nothing.
fn join_others<'p>(
    plan: &'p Plan,
    input: &Input,
    dns: &Dns,
    namespace: &str,
) -> anyhow::Result<Vec<(&'p str, serde_json::Value)>> {
    let foreign = plan.setup_foreign(namespace)?;
    if dns.is_installed() {
        let added = plan::names(input, &plan.wanted).and_then(|names| dns.added(&names));
        if let Err(error) = added {
            for error in plan.teardown_foreign(namespace, foreign.len()) {
                note(&message(&error));
            }
            return Err(error.context("error while applying dns entries"));
        }
    }
    Ok(foreign)
}

fn teardown(namespace: &OsStr, options: &Options) -> anyhow::Result<()> {
    for interrupt in [Signal::SIGTERM, Signal::SIGINT] {
        // Who interrupts Podman does not mean that half of a container's network is to stay.
        // SAFETY: no handler of ours runs in signal context.
        let _ = unsafe { signal(interrupt, SigHandler::SigIgn) };
    }
    let input = Input::read(options.file.as_deref())?;
    let mut plan = Plan::read(
        &input,
        Defaults {
            is_leaving: true,
            ..defaults(options, &input)?
        },
        &Plugins::new(options.plugin_directories.clone()),
    );
    let mut failures = std::mem::take(&mut plan.failures);
    let dns = name_server(options, "teardown")?;
    let mut engine = open(options, "teardown")?;
    let named = plan.wanted.iter().filter(|wanted| wanted.name_servers.is_some());
    let named: Vec<&str> = named.map(|wanted| wanted.name.as_str()).collect();
    if !named.is_empty() {
        let removed = dns.removed(&input.container, &named);
        failures.extend(removed.err().map(|error| error.context("remove aardvark entries")));
    }
    let path = absolute(namespace)?;
    failures.extend(plan.teardown_foreign(&path.0, plan.foreign.len()));
    let there = Path::new(namespace).exists().then_some(path);
    let unplugged = engine.unplug(&plan.unplug(&input, there));
    failures.extend(unplugged.err().map(anyhow::Error::from));
    finish(engine, options);
    let failures: Vec<String> = failures.iter().map(message).collect();
    match failures.as_slice() {
        [] => Ok(()),
        [failure] => Err(anyhow!("{failure}")),
        failures => Err(anyhow!("several things failed:\n\t- {}", failures.join("\n\t- "))),
    }
}

/// Has interfaces and unused networks deleted.
fn finish(mut engine: Engine, options: &Options) {
    if !options.rootless {
        return engine.finish_behind();
    }
    // The namespace of a user's Podman, and the mounts by which our records are found there, go as soon as the last
    // container's `teardown` has answered.
    if let Err(error) = engine.finish() {
        note(&format!("[WARN  netavark] {error}"));
    }
}

fn create(options: &Options) -> anyhow::Result<()> {
    let request = input::json(options.file.as_deref()).context("failed to load network create options")?;
    let created = create::create(&request, &Plugins::new(options.plugin_directories.clone()))?;
    Ok(say(&created.to_string())?)
}

fn update(network: &str, servers: &[String], options: &Options) -> anyhow::Result<()> {
    let dns = name_server(options, "update")?;
    if dns.is_installed() {
        update::update(&dns, network, servers)?;
    }
    Ok(())
}

/// The name server of this Podman.
fn name_server(options: &Options, verb: &str) -> anyhow::Result<Dns> {
    let port = Dns::port_from(std::env::var("NETAVARK_DNS_PORT").ok().as_deref())?;
    let program = options.aardvark.as_deref().unwrap_or(Path::new(AARDVARK));
    let config = config(options, verb)?;
    Ok(Dns::new(&config, program, port, options.rootless))
}

fn reload(options: &Options) -> anyhow::Result<()> {
    // Without records there is nothing to put back.
    if config(options, RELOAD)?.join("zdocker").exists() {
        open(options, RELOAD)?.restore_plugs()?;
    }
    Ok(())
}

/// Where Podman has state kept.
fn config(options: &Options, verb: &str) -> anyhow::Result<PathBuf> {
    match &options.config {
        Some(directory) => Ok(directory.clone()),
        None if verb == RELOAD => Ok(PathBuf::from(CONFIG)),
        None => bail!("--config not specified but required for netavark {verb}"),
    }
}

/// The records of this Podman.
fn open(options: &Options, verb: &str) -> anyhow::Result<Engine> {
    let directory = config(options, verb)?.join("zdocker");
    let steps = std::env::var("RUST_LOG").is_ok_and(|level| ["info", "debug", "trace"].contains(&level.as_str()));
    Ok(Engine::open_foreign(
        "podman",
        directory,
        Config::default(),
        Box::new(Log { steps }),
    )?)
}

/// Tells on standard error, as netavark does.
struct Log {
    steps: bool,
}

impl Journal for Log {
    fn step(&mut self, step: &Shown<'_>, time: Duration) {
        if self.steps {
            note(&format!("[INFO  netavark] {} µs: {step}", time.as_micros()));
        }
    }

    fn warn(&mut self, text: &str) {
        note(&format!("[WARN  netavark] {text}"));
    }
}

fn absolute(path: &OsStr) -> anyhow::Result<NamespacePath> {
    let path = std::path::absolute(path)?;
    let text = path
        .to_str()
        .ok_or_else(|| anyhow!("the path {} is not UTF-8", path.display()))?;
    Ok(NamespacePath(text.to_owned()))
}

fn defaults(options: &Options, input: &Input) -> anyhow::Result<Defaults> {
    let asked = options.firewall.clone().or_else(|| std::env::var("NETAVARK_FW").ok());
    let firewall = match asked.map(|asked| asked.to_lowercase()).as_deref() {
        None | Some("" | "nftables" | "iptables" | "firewalld") => true,
        Some("none") => false,
        Some(other) => bail!("Must provide a valid firewall backend, got {other}"),
    };
    let port = Dns::port_from(std::env::var("NETAVARK_DNS_PORT").ok().as_deref())?;
    Ok(Defaults {
        firewall,
        dns_port: port,
        is_leaving: false,
        // Before version 2, which the list came with, networks reached each other.
        isolation: if input.is_list {
            Isolation::Normal
        } else {
            Isolation::None
        },
    })
}
