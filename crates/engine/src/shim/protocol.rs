//! What the shim and its clients say to each other, over one stream socket.

use serde::{Deserialize, Serialize};

use crate::containers::paths::ContainerPaths;
use crate::runtime::RuntimeError;
use crate::signals::ProcessRef;
use crate::terminal::WindowSize;

/// What the launcher asks of the shim: create and start the container of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The container's files; its bundle is complete.
    pub paths: ContainerPaths,
    /// An OCI runtime binary, in place of the embedded runtime.
    pub runtime: Option<std::path::PathBuf>,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// Whether standard input is kept open for clients.
    pub open_stdin: bool,
    /// The terminal's first size.
    pub window: Option<WindowSize>,
    /// What the launcher itself attaches to, from the first byte on; `None` for a detached container.
    pub attach: Option<Streams>,
}

/// The streams of the container that a client attaches to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The client may write to the container's standard input.
    pub stdin: bool,
    /// The client gets standard output (with a terminal: everything).
    pub stdout: bool,
    /// The client gets standard error.
    pub stderr: bool,
}

/// How a container's init process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// What it exited with, 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// What the shim answers to a [`StartRequest`].
pub type StartResult = Result<ProcessRef, RuntimeError>;
