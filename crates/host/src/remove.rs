//! Taking away what records say may be there.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use zdocker_net::firewall::Element;
use zdocker_net::installation::Installation;
use zdocker_net::names::InterfaceName;
use zdocker_net::op::{NamespacePath, Op, Place};

use crate::apply::{Headline, StepError, Watch};
use crate::execute::Execution;
use crate::kernel::Kernel;
use crate::netlink::message::Requests;
use crate::netlink::{NetlinkError, Socket, Subsystem, link};
use crate::netns::{self, Namespace};
use crate::nft::element::Change;
use crate::nft::{batch, element};

/// A step that should have taken something away failed.
#[derive(Debug)]
pub struct RemoveFailure {
    /// The step.
    pub step: Op,
    /// By whom.
    pub whose: Installation,
    /// Why it failed.
    pub reason: StepError,
}

impl fmt::Display for RemoveFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", Headline(&self.step, &self.whose), self.reason)
    }
}

impl std::error::Error for RemoveFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl Kernel {
    /// Carries out steps that take something away: what is gone already is no error, and a failure does not keep the
    /// steps after it from being done. Gives those that failed.
    pub fn remove(&mut self, ops: &[Op], watch: Watch<'_>) -> Vec<RemoveFailure> {
        let mut failures = Vec::new();
        for op in ops {
            let start = Instant::now();
            match self.remove_one(op) {
                Ok(()) => watch(op, start.elapsed()),
                Err(reason) => failures.push(RemoveFailure {
                    step: op.clone(),
                    whose: self.installation().clone(),
                    reason,
                }),
            }
        }
        failures
    }

    fn remove_one(&mut self, op: &Op) -> Result<(), StepError> {
        match op {
            Op::DeleteElements(elements) => {
                self.has_deleted_elements();
                for portion in self.portions(elements)? {
                    let (netfilter, whose) = self.firewall()?;
                    delete_elements(netfilter, whose, portion)?;
                }
                Ok(())
            }
            Op::DeleteLink { name } => Ok(delete_link(self.route()?, name)?),
            // What was in a namespace that is gone went with it.
            Op::DeleteRule {
                place: Place::Namespace(path),
                ..
            }
            | Op::DeleteRoute {
                place: Place::Namespace(path),
                ..
            }
            | Op::DeleteInside { namespace: path, .. }
                if is_gone(path) =>
            {
                Ok(())
            }
            Op::DeleteInside { namespace, link } => {
                let namespace = Namespace::open(Path::new(&namespace.0))?;
                let mut socket = namespace.run(|| Socket::open(Subsystem::Route))??;
                Ok(delete_link(&mut socket, link)?)
            }
            Op::Unlimit { .. } | Op::EndRedirect { .. } | Op::JoinBridge { .. } => self.unset(op),
            Op::DeleteNamespace { path } => Ok(netns::delete(Path::new(&path.0))?),
            Op::ForgetUdpFlows { ports } => Ok(self.forget_udp(ports)?),
            // Nothing is taken away by any other step, so nothing of it can be gone already.
            _ => match Execution::new(self, std::slice::from_ref(op), &mut |_, _| {}).run().0 {
                Ok(()) => Ok(()),
                Err(failure) => Err(failure.reason),
            },
        }
    }
}

impl Kernel {
    /// Takes a limit or a setting from an interface, which may not have it any more, or be gone.
    fn unset(&mut self, op: &Op) -> Result<(), StepError> {
        match Execution::new(self, std::slice::from_ref(op), &mut |_, _| {}).run().0 {
            Ok(()) => Ok(()),
            Err(failure) => match failure.reason {
                StepError::NoLink(_) => Ok(()),
                StepError::Netlink(error)
                    if matches!(error.refusal(), Some(Errno::ENOENT | Errno::EINVAL | Errno::ENODEV)) =>
                {
                    Ok(())
                }
                reason => Err(reason),
            },
        }
    }
}

/// Whether there is no namespace at the path: no file, or one that nothing is pinned at any more.
fn is_gone(path: &NamespacePath) -> bool {
    let entered = Namespace::open(Path::new(&path.0)).and_then(|namespace| namespace.run(|| ()));
    entered.is_err_and(|error| matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)))
}

fn delete_link(route: &mut Socket, name: &InterfaceName) -> Result<(), NetlinkError> {
    let mut requests = Requests::default();
    link::delete(&mut requests, name);
    match route.request(requests, |_, _| {}) {
        Err(error) if error.refusal() == Some(Errno::ENODEV) => Ok(()),
        result => result,
    }
}

/// Deletes those of the elements that are there.
fn delete_elements(netfilter: &mut Socket, whose: &Installation, elements: &[Element]) -> Result<(), NetlinkError> {
    let mut requests = Requests::default();
    batch::begin(&mut requests);
    element::push_all(&mut requests, whose, Change::Delete, elements);
    batch::end(&mut requests);
    match netfilter.request(requests, |_, _| {}) {
        Err(error) if error.refusal() == Some(Errno::ENOENT) => delete_present(netfilter, whose, elements.to_vec()),
        result => result,
    }
}

/// The same one by one in a batch that the kernel refuses as a whole, naming each that is missing; then without them.
/// Another process may take more away in between, so this goes on as long as there is less each time.
fn delete_present(
    netfilter: &mut Socket,
    whose: &Installation,
    mut elements: Vec<Element>,
) -> Result<(), NetlinkError> {
    while !elements.is_empty() {
        let mut requests = Requests::default();
        let first = 1 + batch::begin(&mut requests);
        element::push_each(&mut requests, whose, Change::Delete, &elements);
        batch::end(&mut requests);
        let refusals = netfilter.exchange(requests, |_, _| {})?;
        if refusals.is_empty() {
            return Ok(());
        }
        let mut missing = vec![false; elements.len()];
        for refusal in refusals {
            match refusal
                .position
                .checked_sub(first)
                .and_then(|position| missing.get_mut(position))
            {
                Some(missing) if refusal.errno == Errno::ENOENT => *missing = true,
                _ => return Err(NetlinkError::Refused(refusal)),
            }
        }
        let mut missing = missing.into_iter();
        elements.retain(|_| missing.next() == Some(false));
    }
    Ok(())
}
