//! What developers of zdocker run: `cargo xtask demo | test | bench | vm`.
//!
//! Each command starts from a Debian 12 machine that has only Rust, git and the base system. It installs the Debian
//! packages it lacks, and says which and why.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to a developer is what this program is for"
)]

mod apt;
mod bench;
mod cgroups;
mod demo;
mod other_kernel;
mod process;
mod sandbox;
mod state;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What developers of zdocker run.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure zdocker beside the programs that do the same, and write BENCHMARKS.md
    Bench(bench::Arguments),
    /// Show on a throw-away machine inside this one what zdocker does
    Demo(demo::Arguments),
    /// Check the formatting, run clippy and run every test
    Test(test::Arguments),
    /// Run a command on a stock Debian kernel in QEMU
    Vm(vm::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Vm(arguments) => vm::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
