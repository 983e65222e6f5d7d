//! `cargo xtask vm -- CMD`: a command on a stock Debian kernel, for what this machine's own kernel lacks.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{apt, process};

/// What `cargo xtask vm` takes. Everything else about the machine is set by the environment: see `xtask/vm/vmrun.sh`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The command and its arguments, run as root over a throw-away copy of this machine's files
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the command and passes its status on; 77 cannot run here, 124 took too long, 125 the machine broke.
///
/// # Errors
/// When not root, or a package cannot be installed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::require_root("vm", "the guest reads this machine's files through its virtual machine")?;
    apt::require(&[apt::VM])?;
    let mut vm = Command::new(process::repository().join("xtask/vm/vmrun.sh"));
    vm.arg("--").args(&arguments.command);
    let status = vm.status().with_context(|| process::not_started(&vm))?;
    // 125, as for a machine that broke: the script itself ended by a signal.
    Ok(ExitCode::from(
        status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125),
    ))
}
