//! `ps`, `stop`, `kill`, `rm`, `exec`, `logs`

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use zdocker_engine::Engine;
use zdocker_engine::containers::spec::RootfsSource;
use zdocker_engine::containers::{ContainerView, RunRequest};
use zdocker_engine::exec::ExecRequest;
use zdocker_engine::logs::LogOptions;
use zdocker_host::store::ContainerState;

use super::for_each;
use crate::args::{CreateContainerArgs as CreateArgs, ExecArgs, KillArgs, LogsArgs, PsArgs, RmArgs, StopArgs};
use crate::output::{ports, say, table, time};

/// Characters of a command that `ps` shows.
const COMMAND_WIDTH: usize = 20;

/// The exit status of a container's command as ours.
pub(super) fn exit_code(status: i32) -> ExitCode {
    // Exit statuses have eight bits (wait(2)).
    ExitCode::from((status & 0xff) as u8)
}

/// Environment variables for a container: `NAME=value` as given, a bare `NAME` with our own value, or left out if we have
/// none, as with Docker.
pub(super) fn environment(given: Vec<String>) -> Vec<String> {
    let own = |name: &str| std::env::var(name).ok().map(|value| format!("{name}={value}"));
    given
        .into_iter()
        .filter_map(|text| if text.contains('=') { Some(text) } else { own(&text) })
        .collect()
}

/// The container that was asked for.
pub(super) fn request(args: CreateArgs) -> RunRequest {
    let addresses = [args.ip.map(IpAddr::V4), args.ip6.map(IpAddr::V6)];
    RunRequest {
        name: args.name,
        hostname: args.hostname,
        args: args.command,
        env: environment(args.env),
        cwd: args.workdir,
        user: args.user,
        mounts: args.volume,
        tty: args.tty,
        interactive: args.interactive,
        auto_remove: args.rm,
        rootfs: args.rootfs,
        runtime: args.runtime,
        dns: args.dns,
        extra_hosts: args.add_host,
        networks: args.network,
        addresses: addresses.into_iter().flatten().collect(),
        mac: args.mac_address,
        aliases: args.network_alias,
        ports: args.publish,
        exposed: args.expose,
        publish_all: args.publish_all,
    }
}

pub(super) fn create(engine: &mut Engine, args: CreateArgs) -> Result<ExitCode> {
    say(engine.create_container(&request(args))?.as_str())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn ps(engine: &mut Engine, args: &PsArgs) -> Result<ExitCode> {
    let containers = engine.containers(args.all)?;
    let id = |view: &ContainerView| {
        let id = &view.record.id;
        if args.no_trunc { id.as_str() } else { id.short() }.to_owned()
    };
    if args.quiet {
        for view in &containers {
            say(&id(view))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = containers.iter().map(|view| {
        let RootfsSource::Directory(rootfs) = &view.spec.rootfs;
        vec![
            id(view),
            rootfs.display().to_string(),
            command(&view.spec.args, args.no_trunc),
            format!("{} ago", time::age(view.record.created)),
            status(view),
            ports::render(&view.endpoints),
            view.record.name.to_string(),
        ]
    });
    let header = [
        "CONTAINER ID",
        "ROOTFS",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ];
    say(&table::render(&header, &rows.collect::<Vec<_>>()))?;
    Ok(ExitCode::SUCCESS)
}

fn command(args: &[String], whole: bool) -> String {
    let text = args.join(" ").replace(char::is_control, " ");
    if whole || text.chars().count() <= COMMAND_WIDTH {
        return format!("\"{text}\"");
    }
    let start: String = text.chars().take(COMMAND_WIDTH - 1).collect();
    format!("\"{start}…\"")
}

fn status(view: &ContainerView) -> String {
    let record = &view.record;
    match record.state {
        ContainerState::Running => format!("Up {}", time::age(record.started.unwrap_or(record.created))),
        ContainerState::Exited if record.started.is_none() => "Created".to_owned(),
        ContainerState::Exited => {
            let ended = time::age(record.finished.unwrap_or(record.created));
            format!("Exited ({}) {ended} ago", record.exit_status.unwrap_or_default())
        }
        ContainerState::Creating => "Creating".to_owned(),
        ContainerState::Removing => "Removal In Progress".to_owned(),
    }
}

pub(super) fn stop(engine: &mut Engine, args: &StopArgs) -> Result<ExitCode> {
    let grace = Duration::from_secs(args.time);
    for_each(&args.containers, |name| engine.stop(name, args.signal, grace))
}

pub(super) fn kill(engine: &mut Engine, args: &KillArgs) -> Result<ExitCode> {
    for_each(&args.containers, |name| engine.kill(name, args.signal))
}

pub(super) fn rm(engine: &mut Engine, args: &RmArgs) -> Result<ExitCode> {
    for_each(&args.containers, |name| engine.remove_container(name, args.force))
}

pub(super) fn exec(engine: &mut Engine, args: ExecArgs) -> Result<ExitCode> {
    let request = ExecRequest {
        args: args.command,
        env: environment(args.env),
        cwd: args.workdir,
        user: args.user,
        tty: args.tty,
        interactive: args.interactive,
        detach: args.detach,
    };
    Ok(exit_code(engine.exec(&args.container, &request)?))
}

pub(super) fn logs(engine: &mut Engine, args: &LogsArgs) -> Result<ExitCode> {
    let options = LogOptions {
        tail: args.tail,
        timestamps: args.timestamps,
        follow: args.follow,
    };
    engine.logs(
        &args.container,
        options,
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
    )?;
    Ok(ExitCode::SUCCESS)
}
