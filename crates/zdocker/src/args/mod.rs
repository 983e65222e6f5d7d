//! The command line as it is typed. What the words mean is decided behind it.

mod container;
mod network;
mod spelling;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use container::{
    CreateArgs as CreateContainerArgs, ExecArgs, KillArgs, LogsArgs, PsArgs, RmArgs, RunArgs, StartArgs, StopArgs,
};
pub(crate) use network::{
    ConnectArgs, CreateArgs, DisconnectArgs, InspectArgs, IpamArgs, ListFormat, LsArgs, NetworkCommand, PruneArgs,
    ReloadArgs, RemoveArgs,
};
pub(crate) use spelling::normalise;

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
    /// Look after this installation
    #[command(subcommand)]
    System(SystemCommand),
    /// A container's parent process; started by run
    #[command(hide = true)]
    Shim(ShimArgs),
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
