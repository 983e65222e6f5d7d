//! The shim: one small process per running container. It is the container's parent, writes its log, serves attached
//! clients, and cleans up when the container ends.

pub mod attach;
pub mod protocol;

use std::io;
use std::process::Command;

use crate::containers::paths::ContainerPaths;
use crate::runtime::RuntimeError;
use crate::signals::ProcessRef;
use attach::Attachment;
use protocol::{ExitStatus, StartRequest};

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The shim was there, and the runtime said no.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The shim itself did not run or does not answer.
    #[error("cannot {action} the container's shim: {source}")]
    Shim {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// How a shim's work ended; given to the closure of [`main`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container ran and ended: take back its network, root file system and record.
    Exited(ExitStatus),
    /// The launcher died before the container ran: take back whatever the launcher had made.
    Abandoned,
}

/// A shim that waits for its [`StartRequest`].
#[derive(Debug)]
pub struct Launcher {}

/// Starts `command` as a shim (its standard input becomes the connection; its standard error goes to
/// [`ContainerPaths::shim_log`]). Do this early: it costs nothing to let it wait.
///
/// # Errors
/// When the program cannot be run.
pub fn spawn(_command: Command, _paths: &ContainerPaths) -> Result<Launcher, ShimError> {
    unimplemented!()
}

impl Launcher {
    /// The shim.
    pub fn process(&self) -> ProcessRef {
        unimplemented!()
    }

    /// Creates and starts the container. Dropping the launcher instead makes the shim end without a trace, and without
    /// calling its closure... only a launcher that is killed does that.
    ///
    /// # Errors
    /// [`ShimError::Runtime`] with the exit status for the user when the container does not start.
    pub fn start(
        self,
        _request: &StartRequest,
    ) -> Result<(ProcessRef, Option<Attachment>), ShimError> {
        unimplemented!()
    }
}

/// The whole life of a shim process, whose standard input is the connection to its launcher. `on_end` is called once,
/// when the container has ended and before attached clients are told; it must not start threads.
///
/// # Errors
/// When the process cannot even set itself up; nobody but the shim's log will know.
pub fn main(_on_end: impl FnOnce(Outcome)) -> Result<(), ShimError> {
    unimplemented!()
}
