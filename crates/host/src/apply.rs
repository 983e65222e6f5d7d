//! Carrying out plans.

use std::fmt;
use std::time::Duration;

use zdocker_net::op::Op;

use crate::kernel::Kernel;
use crate::netlink::NetlinkError;
use crate::netns::NamespaceError;
use crate::sysctl::SysctlError;

/// Called after each step with the time that it took; steps that go to the kernel in one message share its time evenly.
pub type Watch<'a> = &'a mut dyn FnMut(&Op, Duration);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The kernel said no, or could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// About a network namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// About a kernel variable.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
}

/// A plan failed at a step; what had taken effect was taken back.
#[derive(Debug)]
pub struct ApplyError {
    /// The step that failed.
    pub step: Op,
    /// Why.
    pub source: StepError,
    /// What could not be taken back.
    pub not_undone: Vec<RemoveFailure>,
}

/// A step that should have taken something away failed.
#[derive(Debug)]
pub struct RemoveFailure {
    /// The step.
    pub step: Op,
    /// Why it failed.
    pub source: StepError,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

impl std::error::Error for ApplyError {}

impl Kernel {
    /// Carries out a plan and gives the steps that take it back, in the order to run them ([`Self::remove`]).
    ///
    /// # Errors
    /// [`ApplyError`] names the step that failed; what had taken effect was taken back.
    pub fn apply(&mut self, ops: &[Op], watch: Watch<'_>) -> Result<Vec<Op>, ApplyError> {
        let _ = (ops, watch);
        unimplemented!()
    }

    /// Carries out steps that take something away: what is gone already is no error, and a failure does not keep the
    /// steps after it from being done.
    pub fn remove(&mut self, ops: &[Op], watch: Watch<'_>) -> Vec<RemoveFailure> {
        let _ = (ops, watch);
        unimplemented!()
    }
}
