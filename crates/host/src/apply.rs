//! Carrying out plans: as few messages to the kernel as there can be, and on failure nothing left.

use std::fmt;
use std::time::Duration;

use zdocker_net::installation::Installation;
use zdocker_net::op::Op;

use crate::execute::Execution;
use crate::kernel::Kernel;
use crate::netlink::NetlinkError;
use crate::netns::NamespaceError;
use crate::remove::RemoveFailure;
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
    /// The kernel cannot make interfaces of this kind.
    #[error("this kernel has no {0} interfaces, nor a module for them that it could load")]
    NoKind(&'static str),
    /// The step is about an interface that is not there.
    #[error("there is no interface {0}")]
    NoLink(String),
}

/// A plan failed at a step; what had taken effect was taken back.
#[derive(Debug)]
pub struct ApplyError {
    /// The step that failed.
    pub step: Box<Op>,
    /// By whom.
    pub whose: Installation,
    /// Why.
    pub reason: Box<StepError>,
    /// What could not be taken back.
    pub not_undone: Vec<RemoveFailure>,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", Headline(&self.step, &self.whose), self.reason)?;
        for failure in &self.not_undone {
            write!(f, "; could not take back what was done: {failure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// The first line of a step, cut where it gets long.
pub(crate) struct Headline<'a>(pub(crate) &'a Op, pub(crate) &'a Installation);

impl fmt::Display for Headline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 200;
        let text = self.0.shown(self.1).to_string();
        let line = text.lines().next().unwrap_or_default();
        match line.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(f, "\"{}...\"", &line[..end]),
            None => write!(f, "\"{line}\""),
        }
    }
}

impl Kernel {
    /// Carries out a plan and gives the steps that take it back, in the order to run them ([`Self::remove`]).
    ///
    /// # Errors
    /// [`ApplyError`] names the step that failed; what had taken effect was taken back, also what came after that step
    /// in the same message to the kernel.
    pub fn apply(&mut self, ops: &[Op], watch: Watch<'_>) -> Result<Vec<Op>, ApplyError> {
        let (result, undo) = Execution::new(self, ops, watch).run();
        match result {
            Ok(()) => Ok(undo),
            Err(failure) => Err(ApplyError {
                step: Box::new(ops[failure.step].clone()),
                whose: self.installation().clone(),
                reason: Box::new(failure.reason),
                not_undone: self.remove(&undo, &mut |_, _| {}),
            }),
        }
    }
}
