//! The embedded runtime.

use nix::unistd::Pid;

use super::{ExecHandle, ProcessStdio, Runtime, RuntimeError};
use crate::containers::paths::ContainerPaths;
use crate::exec::ExecProcess;

/// The embedded runtime.
#[derive(Debug)]
pub struct Embedded {}

impl Embedded {
    /// The runtime of one container.
    pub fn new(_paths: &ContainerPaths) -> Self {
        Self {}
    }
}

impl Runtime for Embedded {
    fn create(&mut self, _stdio: ProcessStdio) -> Result<Pid, RuntimeError> {
        unimplemented!()
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        unimplemented!()
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        unimplemented!()
    }

    fn exec(&mut self, _: &ExecProcess, _: ProcessStdio) -> Result<ExecHandle, RuntimeError> {
        unimplemented!()
    }
}
