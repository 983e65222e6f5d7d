//! `ps`, `stop`, `kill`, `rm`, `exec`, `logs`

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use zdocker_engine::containers::spec::{ResolverSettings, RootfsSource};
use zdocker_engine::containers::{ContainerFilter, ContainerQuery, ContainerView, RunRequest, docker_status};
use zdocker_engine::exec::ExecRequest;
use zdocker_engine::logs::LogOptions;
use zdocker_engine::{Engine, EngineError};
use zdocker_host::store::ContainerState;
use zdocker_net::model::Bandwidth;
use zdocker_net::shaping::Rate;

use super::{for_each, list};
use crate::args::{CreateContainerArgs as CreateArgs, ExecArgs, KillArgs, LogsArgs, PsArgs, RmArgs, StopArgs};
use crate::output::list::List;
use crate::output::{ports, say, time};

/// Characters of a command that `ps` shows.
const COMMAND_WIDTH: usize = 20;

/// The exit status of a container's command as ours.
pub(super) fn exit_code(status: i32) -> ExitCode {
    // Exit statuses have eight bits (wait(2)).
    ExitCode::from((status & 0xff) as u8)
}

/// Environment variables for a container: `NAME=value` as given, a bare `NAME` with our own value, or left out if we
/// have none, as with Docker.
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
        resolver: ResolverSettings {
            search: args.dns_search,
            options: args.dns_option,
        },
        domainname: args.domainname,
        extra_hosts: args.add_host,
        networks: args.network,
        addresses: addresses.into_iter().flatten().collect(),
        mac: args.mac_address,
        aliases: args.network_alias,
        bandwidth: Bandwidth {
            receive: args.bandwidth_in.map(Rate::bits),
            send: args.bandwidth_out.map(Rate::bits),
            ..Bandwidth::default()
        },
        ports: args.publish,
        exposed: args.expose,
        publish_all: args.publish_all,
    }
}

pub(super) fn create(engine: &mut Engine, args: CreateArgs) -> Result<ExitCode> {
    say(engine.create_container(&request(args))?.as_str())?;
    Ok(ExitCode::SUCCESS)
}
/// What `ps` can show: Docker's columns, and the root file system, which stands where Docker has the image.
const LIST: List = List {
    columns: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Rootfs", "ROOTFS"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("State", "STATE"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Labels", "LABELS"),
        ("Label", ""),
    ],
    default: &["ID", "Rootfs", "Command", "RunningFor", "Status", "Ports", "Names"],
    blank: "",
};

pub(super) fn ps(engine: &mut Engine, args: &PsArgs) -> Result<ExitCode> {
    let last = if args.latest { Some(1) } else { args.last };
    let query = ContainerQuery {
        all: args.all,
        filter: ContainerFilter::parse(&args.filter).map_err(EngineError::from)?,
        // As with Docker, none and fewer is no limit.
        last: last
            .and_then(|last| usize::try_from(last).ok())
            .filter(|last| *last > 0),
    };
    let containers = engine.containers(&query)?.into_iter();
    let rows = containers.map(|view| row(&view, args.no_trunc));
    list(&LIST, args.format.as_ref(), args.quiet, rows)
}

fn row(view: &ContainerView, whole: bool) -> Value {
    let (record, spec) = (&view.record, &view.spec);
    let RootfsSource::Directory(rootfs) = &spec.rootfs;
    let networks = view.plugged().into_iter().map(|(network, _)| network.name.to_string());
    let mounts = spec.mounts.iter().map(|mount| mount.source.display().to_string());
    json!({
        "ID": if whole { record.id.as_str() } else { record.id.short() },
        "Image": rootfs.to_string_lossy(),
        "Rootfs": rootfs.to_string_lossy(),
        "Command": command(&spec.args, whole),
        "CreatedAt": time::go(record.created),
        "RunningFor": format!("{} ago", time::age(record.created)),
        "Status": status(view),
        "State": docker_status(record),
        "Ports": ports::render(&view.endpoints),
        "Names": record.name.as_str(),
        "Networks": networks.collect::<Vec<_>>().join(","),
        "Mounts": mounts.collect::<Vec<_>>().join(","),
        // Containers have neither volumes nor labels yet; scripts ask for both.
        "LocalVolumes": "0",
        "Labels": "",
        "Label": {},
    })
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
