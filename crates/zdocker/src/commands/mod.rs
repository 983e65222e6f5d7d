//! One small function a verb: from arguments to a call of the engine to what is printed.

mod container;
mod inspect;
mod install;
mod network;
mod publish;
mod run;
mod system;

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;
use zdocker_engine::config::Config;
use zdocker_engine::{Engine, EngineError, Roots, sealed};

use crate::args::{
    Cli, CniCommand, Command, ContainerCommand, GlobalArgs, NetworkCommand, PodmanCommand, SystemCommand,
};
use crate::output::list::{List, ListFormat};
use crate::{journal, output};

/// Does what the command line says.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitCode> {
    let global = &cli.global;
    match cli.command {
        Command::Network(command) => network(global, command),
        Command::Container(ContainerCommand::Ls(args)) => container::ps(&mut engine(global)?, &args),
        Command::Container(ContainerCommand::Inspect(args)) => inspect::containers(&mut engine(global)?, &args),
        Command::Run(args) => run::run(global, *args),
        Command::Create(args) => container::create(&mut engine(global)?, *args),
        Command::Start(args) => run::start(global, &args),
        Command::Restart(args) => run::restart(global, &args),
        Command::Ps(args) => container::ps(&mut engine(global)?, &args),
        Command::Stop(args) => container::stop(&mut engine(global)?, &args),
        Command::Kill(args) => container::kill(&mut engine(global)?, &args),
        Command::Rm(args) => container::rm(&mut engine(global)?, &args),
        Command::Exec(args) => {
            let _program = sealed::ensure().context("cannot run from a read-only mount or copy of this program")?;
            container::exec(&mut engine(global)?, args)
        }
        Command::Logs(args) => container::logs(&mut engine(global)?, &args),
        Command::Inspect(args) => inspect::anything(&mut engine(global)?, &args),
        Command::Port(args) => publish::port(&mut engine(global)?, &args),
        Command::Update(args) => publish::update(&mut engine(global)?, args),
        Command::System(SystemCommand::Check(args)) => system::check(&mut engine(global)?, &args),
        Command::System(SystemCommand::Firewall) => system::firewall(),
        Command::Cni(CniCommand::Install(args)) => install::cni::install(&args),
        Command::Cni(CniCommand::Remove(args)) => install::cni::remove(&args.places),
        Command::Podman(PodmanCommand::Install(args)) => install::podman::install(&args),
        Command::Podman(PodmanCommand::Remove(args)) => install::podman::remove(&args),
        Command::Shim(args) => run::shim(global, &args),
    }
}

fn network(global: &GlobalArgs, command: NetworkCommand) -> Result<ExitCode> {
    let engine = &mut engine(global)?;
    match command {
        NetworkCommand::Create(args) => network::create(engine, args),
        NetworkCommand::Ls(args) => network::ls(engine, &args),
        NetworkCommand::Inspect(args) => inspect::networks(engine, &args),
        NetworkCommand::Connect(args) => network::connect(engine, args),
        NetworkCommand::Disconnect(args) => network::disconnect(engine, &args),
        NetworkCommand::Rm(args) => network::rm(engine, &args),
        NetworkCommand::Prune(args) => network::prune(engine, &args),
        NetworkCommand::Ipam(args) => network::ipam(engine, &args),
        NetworkCommand::Reload(args) => network::reload(engine, &args),
    }
}

/// The exit status that an error of the engine asks for, where it is the container's command that could not be run.
pub(crate) fn exit_status(error: &anyhow::Error) -> Option<u8> {
    error
        .downcast_ref::<EngineError>()
        .map(EngineError::exit_status)
        .filter(|status| *status != 125)
}

fn engine(global: &GlobalArgs) -> Result<Engine> {
    let roots = Roots {
        state: std::path::absolute(&global.root)?,
        run: std::path::absolute(&global.run_root)?,
    };
    Ok(Engine::open(
        roots,
        Config::read(&global.config)?,
        journal::open(global),
    )?)
}

/// Prints a list as it is asked for: a format says more than `quiet`.
fn list(list: &List, format: Option<&ListFormat>, quiet: bool, rows: impl Iterator<Item = Value>) -> Result<ExitCode> {
    let text = match format {
        None | Some(ListFormat::Table) if quiet => {
            let ids: Vec<String> = rows.filter_map(|row| row["ID"].as_str().map(str::to_owned)).collect();
            (!ids.is_empty()).then(|| ids.join("\n"))
        }
        format => list.render(format.unwrap_or(&ListFormat::Table), rows)?,
    };
    if let Some(text) = text {
        output::say(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does `verb` for each of `names` and prints the name. One that fails is complained about and does not keep the others
/// from being done.
fn for_each<E: Into<anyhow::Error>>(names: &[String], mut verb: impl FnMut(&str) -> Result<(), E>) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match verb(name) {
            Ok(()) => output::say(name)?,
            Err(error) => {
                output::complain(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
