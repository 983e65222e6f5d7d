//! The command line as it is typed. What the words mean is decided behind it.

mod container;
mod install;
mod network;
mod publish;
mod spelling;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use container::{
    ContainerCommand, ContainerInspectArgs, CreateArgs as CreateContainerArgs, ExecArgs, KillArgs, LogsArgs, PsArgs,
    RmArgs, RunArgs, StartArgs, StopArgs,
};
pub(crate) use install::{CniCommand, CniInstallArgs, CniPlaces, PodmanArgs, PodmanCommand};
pub(crate) use network::{
    ConnectArgs, CreateArgs, DisconnectArgs, IpamArgs, LsArgs, NetworkCommand, NetworkInspectArgs, PruneArgs,
    ReloadArgs, RemoveArgs,
};
pub(crate) use publish::{PortArgs, UpdateArgs};
pub(crate) use spelling::normalise;

use crate::output::inspect::InspectFormat;

/// A container engine in one binary, without a daemon, whose heart is its container network
#[derive(Debug, Parser)]
#[command(name = "zdocker", version, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Directory of what outlives a boot: records, containers' files
    #[arg(
        long,
        global = true,
        env = "ZDOCKER_ROOT",
        value_name = "DIR",
        default_value = "/var/lib/zdocker"
    )]
    pub(crate) root: PathBuf,
    /// Directory of what is gone after a boot: namespaces, sockets
    #[arg(
        long,
        global = true,
        env = "ZDOCKER_RUN_ROOT",
        value_name = "DIR",
        default_value = "/run/zdocker"
    )]
    pub(crate) run_root: PathBuf,
    /// Configuration file; it need not exist
    #[arg(long, global = true, env = "ZDOCKER_CONFIG", value_name = "FILE",
          default_value = zdocker_engine::config::DEFAULT_PATH)]
    pub(crate) config: PathBuf,
    /// Tell each step as it is done, with its time, on standard error (or ZDOCKER_LOG=debug)
    #[arg(short = 'D', long, global = true)]
    pub(crate) debug: bool,
    /// How steps are told
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How steps are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Look at containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Run a command in a new container
    Run(Box<RunArgs>),
    /// Make a container, to be started later
    Create(Box<CreateContainerArgs>),
    /// Start containers that do not run
    Start(StartArgs),
    /// Stop containers and start them again
    Restart(StopArgs),
    /// List containers
    Ps(PsArgs),
    /// Stop running containers
    Stop(StopArgs),
    /// Send a signal to running containers
    Kill(KillArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// Show what a container wrote
    Logs(LogsArgs),
    /// Show containers and networks in detail, as JSON
    Inspect(InspectArgs),
    /// Show where a container's ports are published
    Port(PortArgs),
    /// Change the published ports of a running container
    Update(UpdateArgs),
    /// Look after this installation
    #[command(subcommand)]
    System(SystemCommand),
    /// Serve container runtimes as plug-ins of the Container Network Interface
    #[command(subcommand)]
    Cni(CniCommand),
    /// Serve Podman as its netavark
    #[command(subcommand)]
    Podman(PodmanCommand),
    /// A container's parent process; started by run
    #[command(hide = true)]
    Shim(ShimArgs),
}

/// Of what kind the things are that `inspect` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectKind {
    Container,
    Network,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// json, or a template of Go: '{{.Id}}'
    #[arg(short, long, value_name = "FORMAT", default_value = "", hide_default_value = true,
          value_parser = InspectFormat::parse)]
    pub(crate) format: InspectFormat,
    /// What the names mean; by default a container, or else a network
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(crate) kind: Option<InspectKind>,
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Compare the records with what is there; exits with 1 if something is wrong
    Check(CheckArgs),
    /// Print the fixed rules of the firewall tables in nft's syntax
    Firewall,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Put right what is wrong
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShimArgs {
    pub(crate) container: String,
}
