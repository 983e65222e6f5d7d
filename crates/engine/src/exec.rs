//! `exec`: one more process in a running container.

use std::path::{Path, PathBuf};

use crate::containers::paths::ContainerPaths;
use crate::runtime::RuntimeError;
use crate::signals::ProcessRef;

/// What the user asked to run.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// The command and its arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value` (`-e`), added to the container's own environment.
    pub env: Vec<String>,
    /// The working directory (`-w`), in place of the container's.
    pub cwd: Option<PathBuf>,
    /// `name|uid[:group|gid]` (`-u`), in place of the container's.
    pub user: Option<String>,
    /// Whether the process gets a terminal (`-t`).
    pub tty: bool,
    /// Whether our standard input is its standard input (`-i`).
    pub interactive: bool,
    /// Whether we do not wait for it (`-d`).
    pub detach: bool,
}

/// Why `exec` failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The process could not be run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl ExecError {
    /// The exit status of `exec`, as Docker's: 127, 126 or 125.
    pub fn exit_status(&self) -> i32 {
        match self {
            Self::Runtime(error) => error.exit_status(),
        }
    }
}

/// Runs a process in the container whose init process is `init`, with our own standard streams, and returns its exit
/// status (0 with `detach`). Call it in a process with a single thread.
///
/// # Errors
/// When the container is not running, or the process could not be run.
pub fn exec(
    _paths: &ContainerPaths,
    _runtime: Option<&Path>,
    _init: ProcessRef,
    _request: &ExecRequest,
) -> Result<i32, ExecError> {
    unimplemented!()
}
