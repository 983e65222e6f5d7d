//! `run`, `start`, `restart`, and the shim that it starts.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use zdocker_engine::containers::{Launch, Started};
use zdocker_engine::sealed;
use zdocker_engine::shim::attach::AttachEnd;
use zdocker_engine::shim::protocol::Streams;
use zdocker_engine::shim::{self, Outcome};
use zdocker_engine::signals::ProcessRef;
use zdocker_engine::terminal::WindowSize;

use super::network::print_plan;
use super::{container, engine, for_each};
use crate::args::{GlobalArgs, RunArgs, ShimArgs, StartArgs, StopArgs};
use crate::output;

pub(super) fn run(global: &GlobalArgs, args: RunArgs) -> Result<ExitCode> {
    let RunArgs {
        detach,
        dry_run,
        container,
    } = args;
    if container.tty && container.interactive && !detach && !dry_run && !std::io::stdin().is_terminal() {
        bail!("the input device is not a TTY; leave -t out");
    }
    let request = container::request(container);
    let mut engine = engine(global)?;
    if dry_run {
        print_plan(&engine.plan_run(&request)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let launch = launch(global, (!detach).then(|| streams(request.interactive)))?;
    let started = engine.run(&request, launch)?;
    // The records are of no more use here, and a foreground container may run for long.
    drop(engine);
    if detach {
        output::say(started.id.as_str())?;
    }
    follow(started)
}

pub(super) fn start(global: &GlobalArgs, args: &StartArgs) -> Result<ExitCode> {
    let mut engine = engine(global)?;
    if !args.attach && !args.interactive {
        return for_each(&args.containers, |name| {
            engine.start_container(name, launch(global, None)?)?;
            Ok::<_, anyhow::Error>(())
        });
    }
    let [name] = &args.containers[..] else {
        bail!("one container at a time can be attached to; start the others without -a and -i");
    };
    let launch = launch(global, Some(streams(args.interactive)))?;
    let started = engine.start_container(name, launch)?;
    drop(engine);
    started.map_or(Ok(ExitCode::SUCCESS), follow)
}

pub(super) fn restart(global: &GlobalArgs, args: &StopArgs) -> Result<ExitCode> {
    let mut engine = engine(global)?;
    let grace = Duration::from_secs(args.time);
    for_each(&args.containers, |name| {
        engine.stop(name, args.signal, grace)?;
        engine.start_container(name, launch(global, None)?)?;
        Ok::<_, anyhow::Error>(())
    })
}

/// What is attached to.
fn streams(stdin: bool) -> Streams {
    Streams {
        stdin,
        stdout: true,
        stderr: true,
    }
}

fn launch(global: &GlobalArgs, streams: Option<Streams>) -> Result<Launch> {
    Ok(Launch {
        shim: shim_command(global)?,
        streams,
        window: WindowSize::of_caller(),
    })
}

/// Passes the streams of a container on, if they are attached to, until it ends.
fn follow(Started { tty, attachment, .. }: Started) -> Result<ExitCode> {
    let Some(attachment) = attachment else {
        return Ok(ExitCode::SUCCESS);
    };
    match attachment.relay(tty)? {
        AttachEnd::Exited(status) => Ok(container::exit_code(status.code)),
        AttachEnd::Detached => Ok(ExitCode::SUCCESS),
        // As a shell has it for a command that a signal ended.
        AttachEnd::Interrupted(signal) => Ok(container::exit_code(128 + signal)),
    }
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
