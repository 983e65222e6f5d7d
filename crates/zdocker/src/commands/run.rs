//! `run`, and the shim that it starts.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use zdocker_engine::containers::{Launch, RunRequest, Started};
use zdocker_engine::sealed;
use zdocker_engine::shim::attach::AttachEnd;
use zdocker_engine::shim::protocol::Streams;
use zdocker_engine::shim::{self, Outcome};
use zdocker_engine::signals::ProcessRef;
use zdocker_engine::terminal::WindowSize;
use zdocker_net::attach::AttachRequest;

use super::network::print_plan;
use super::{container, engine};
use crate::args::{GlobalArgs, RunArgs, ShimArgs};
use crate::output;

pub(super) fn run(global: &GlobalArgs, args: RunArgs) -> Result<ExitCode> {
    let dry_run = args.dry_run;
    let request = request(args)?;
    let mut engine = engine(global)?;
    if dry_run {
        print_plan(&engine.plan_run(&request)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let streams = Streams {
        stdin: request.interactive,
        stdout: true,
        stderr: true,
    };
    let launch = Launch {
        shim: shim_command(global)?,
        streams: (!request.detach).then_some(streams),
        window: if request.tty { WindowSize::of_caller() } else { None },
    };
    let Started { id, attachment } = engine.run(&request, launch)?;
    // The records are of no more use here, and a foreground container may run for long.
    drop(engine);
    let Some(attachment) = attachment else {
        output::say(id.as_str())?;
        return Ok(ExitCode::SUCCESS);
    };
    match attachment.relay(request.tty)? {
        AttachEnd::Exited(status) => Ok(container::exit_code(status.code)),
        AttachEnd::Detached => Ok(ExitCode::SUCCESS),
        // As a shell has it for a command that a signal ended.
        AttachEnd::Interrupted(signal) => Ok(container::exit_code(128 + signal)),
    }
}

fn request(args: RunArgs) -> Result<RunRequest> {
    if args.tty && args.interactive && !args.detach && !args.dry_run && !std::io::stdin().is_terminal() {
        bail!("the input device is not a TTY; leave -t out");
    }
    let addresses = [args.ip.map(IpAddr::V4), args.ip6.map(IpAddr::V6)];
    Ok(RunRequest {
        name: args.name,
        hostname: args.hostname,
        args: args.command,
        env: container::environment(args.env),
        cwd: args.workdir,
        user: args.user,
        mounts: args.volume,
        tty: args.tty,
        interactive: args.interactive,
        detach: args.detach,
        auto_remove: args.rm,
        rootfs: args.rootfs,
        runtime: args.runtime,
        dns: args.dns,
        networks: args.network,
        attach: AttachRequest {
            addresses: addresses.into_iter().flatten().collect(),
            mac: args.mac_address,
            ports: args.publish,
        },
        exposed: args.expose,
        publish_all: args.publish_all,
    })
}

/// This very program as a shim, with our own roots. The container's identifier is added by whoever starts it.
fn shim_command(global: &GlobalArgs) -> Result<Command> {
    let program =
        sealed::program().context("cannot make a read-only mount or copy of this program to run the shim from")?;
    let mut command = Command::new(program);
    command.arg0("zdocker");
    command.arg("--root").arg(std::path::absolute(&global.root)?);
    command.arg("--run-root").arg(std::path::absolute(&global.run_root)?);
    command.arg("--config").arg(std::path::absolute(&global.config)?);
    command.arg("shim");
    Ok(command)
}

pub(super) fn shim(global: &GlobalArgs, args: &ShimArgs) -> Result<ExitCode> {
    let id = &args.container;
    let started = |process: ProcessRef| {
        let recorded = engine(global).and_then(|mut engine| Ok(engine.container_started(id, process.into())?));
        recorded.map_err(|error| error.to_string())
    };
    let ended = |outcome| {
        let taken_down = engine(global).and_then(|mut engine| {
            match outcome {
                Outcome::Exited(status) => engine.container_exited(id, status.code)?,
                Outcome::Abandoned => engine.container_abandoned(id)?,
            }
            Ok(())
        });
        // What is left is in the records, for a later command; this goes to the shim's log.
        if let Err(error) = taken_down {
            output::complain(&error);
        }
    };
    shim::main(started, ended)?;
    Ok(ExitCode::SUCCESS)
}
