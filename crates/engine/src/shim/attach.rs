//! The client's side of an attached container.

use std::io;

use super::protocol::{ExitStatus, Streams};
use crate::containers::paths::ContainerPaths;

/// A connection to a running container's streams.
#[derive(Debug)]
pub struct Attachment {}

/// How an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachEnd {
    /// The container ended, and everything of it is cleaned up.
    Exited(ExitStatus),
    /// The user typed the detach keys (ctrl-p ctrl-q); the container goes on.
    Detached,
}

/// Why attaching failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nobody listens: the container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The connection broke.
    #[error("lost the connection to the container's shim: {0}")]
    Lost(io::Error),
}

impl Attachment {
    /// Attaches to a running container.
    ///
    /// # Errors
    /// [`AttachError::NotRunning`] when it does not run.
    pub fn connect(_paths: &ContainerPaths, _streams: Streams) -> Result<Self, AttachError> {
        unimplemented!()
    }

    /// Copies between our standard streams and the container's until it ends or the user detaches. With `tty`, our
    /// terminal is in raw mode meanwhile; without, INT, TERM, HUP, USR1 and USR2 are passed on to the container.
    ///
    /// # Errors
    /// When the shim dies, or our own streams fail.
    pub fn relay(self, _tty: bool) -> Result<AttachEnd, AttachError> {
        unimplemented!()
    }

    /// Waits for the container's end without any of its streams.
    ///
    /// # Errors
    /// When the shim dies.
    pub fn wait(self) -> Result<ExitStatus, AttachError> {
        unimplemented!()
    }
}
