//! The seam to the OCI runtime: libcontainer within this process, or a program such as runc.

pub(crate) mod console;
mod devices;
mod embedded;
mod executor;
mod external;
mod filter;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Process;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::containers::paths::ContainerPaths;

/// What becomes a process's standard input, output and error.
#[derive(Debug)]
pub enum ProcessStdio {
    /// Three descriptors, which the process gets as they are.
    Descriptors {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A new terminal of the container; its master end is sent to the listener at this path (OCI `--console-socket`).
    Terminal {
        /// The path of the listening Unix socket.
        console_socket: PathBuf,
    },
}

/// Makes, starts, enters and deletes containers by the OCI runtime specification's life cycle.
///
/// The embedded runtime forks: call it only from a process with a single thread.
pub trait Runtime {
    /// Makes the container of the bundle, up to the point where the user's command would run. Returns its init process,
    /// a child of the calling process or, as that is a subreaper, adopted by it.
    fn create(&mut self, stdio: ProcessStdio) -> Result<Pid, RuntimeError>;

    /// Runs the user's command. When this returns, the command's program is really running.
    fn start(&mut self) -> Result<(), RuntimeError>;

    /// Kills what is left of the container and removes its cgroup and the runtime's state. "Already gone" is success.
    fn delete(&mut self) -> Result<(), RuntimeError>;

    /// Runs one more process in a started container. It is a child of the calling process or adopted by it, which for
    /// that becomes a subreaper.
    fn exec(&mut self, process: &Process, stdio: ProcessStdio) -> Result<Pid, RuntimeError>;
}

/// The runtime of a container: the program `runtime` when given, else the embedded one.
pub fn of_container(paths: &ContainerPaths, runtime: Option<&Path>) -> Box<dyn Runtime> {
    match runtime {
        Some(program) => Box::new(external::External::new(program, paths)),
        None => Box::new(embedded::Embedded::new(paths)),
    }
}

/// Why the runtime failed; it travels from the shim to its launcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RuntimeError {
    /// The user's command is not there.
    #[error("{command:?}: {reason}")]
    CommandNotFound {
        /// The command as the user gave it.
        command: String,
        /// What the system said.
        reason: String,
    },
    /// The user's command is there but cannot be run.
    #[error("{command:?}: {reason}")]
    CommandNotExecutable {
        /// The command as the user gave it.
        command: String,
        /// What the system said.
        reason: String,
    },
    /// Anything else.
    #[error("cannot {action} the container: {reason}")]
    Failed {
        /// What was being done: "create", "start", ...
        action: String,
        /// Why it failed.
        reason: String,
    },
}

impl RuntimeError {
    /// The exit status of `run` and `exec`, as Docker's: 127, 126 or 125.
    pub fn exit_status(&self) -> i32 {
        match self {
            Self::CommandNotFound { .. } => 127,
            Self::CommandNotExecutable { .. } => 126,
            Self::Failed { .. } => 125,
        }
    }

    pub(crate) fn failed(action: &str, reason: impl ToString) -> Self {
        Self::Failed {
            action: action.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// What a failed execve(2) of `command` means.
    pub(crate) fn from_exec(command: &str, error: &io::Error) -> Self {
        let (command, reason) = (command.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::NotFound => Self::CommandNotFound { command, reason },
            _ => Self::CommandNotExecutable { command, reason },
        }
    }
}
