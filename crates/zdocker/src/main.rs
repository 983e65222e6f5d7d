//! The zdocker binary: parse, dispatch, exit status.

mod args;
mod commands;
mod faces;
mod journal;
mod output;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, normalise};

/// The exit status of a command line that is not understood, as Docker's.
const USAGE: u8 = 125;

/// The exit status when nobody reads the output: 128 and the number of SIGPIPE.
const UNREAD: u8 = 141;

fn main() -> ExitCode {
    if let Some(code) = std::env::args_os().next().and_then(|program| faces::by_name(&program)) {
        return code;
    }
    let cli = match Cli::try_parse_from(normalise(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let failed = failure_status(&cli.command);
    match commands::dispatch(cli) {
        Ok(code) => code,
        // As a shell has it for a program that SIGPIPE ended.
        Err(error) if output::is_unread(&error) => ExitCode::from(UNREAD),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(commands::exit_status(&error).unwrap_or(failed))
        }
    }
}

/// The exit status of a verb that failed: `run` and `exec` have their command's status to tell from their own, as
/// Docker.
fn failure_status(command: &Command) -> u8 {
    match command {
        Command::Run(_) | Command::Exec(_) => USAGE,
        _ => 1,
    }
}
