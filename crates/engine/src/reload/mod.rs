//! `network reload`: what the kernel has is made what the records say, with the fewest steps.
//!
//! Each difference is mended under the lock of whoever else may change the same: bridges, tables and stray elements
//! under the networks' lock, a container's interfaces and elements under the container's. There it is looked for again,
//! since it may be mended by then, or its owner gone. Never are both locks held.

mod compare;
mod recorded;

use std::collections::HashSet;
use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use zdocker_host::store::{ContainerState, State};
use zdocker_net::firewall::Element;
use zdocker_net::mend::{self, NotOurs};
use zdocker_net::names::Id;
use zdocker_net::op::Op;

pub(crate) use self::compare::Subject;
pub(crate) use self::compare::{Difference, Scope};
use crate::engine::Engine;
use crate::error::EngineError;

/// What was mended, and what could not be.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// The steps, in their order.
    pub steps: Vec<Op>,
    /// Networks that are not there, interfaces that are not ours, steps that failed.
    pub errors: Vec<EngineError>,
}

impl Engine {
    /// Mends what is different from the records about these networks and the containers on them; with `None`, about all
    /// networks that were made real in this boot. A network that is named is made real if it was not yet. With
    /// `dry_run`, only says by which steps.
    ///
    /// # Errors
    /// [`EngineError`] when the records or the host cannot be read.
    pub fn reload(&mut self, names: Option<&[String]>, dry_run: bool) -> Result<Reloaded, EngineError> {
        self.settle()?;
        let mut done = Reloaded::default();
        let scope = match names {
            None => Scope::All,
            Some(names) => {
                let mut these = Vec::new();
                for name in names {
                    match self.reload_named(name, dry_run) {
                        Ok((network, steps)) => {
                            these.push(network);
                            done.steps.extend(steps);
                        }
                        Err(error) => done.errors.push(error),
                    }
                }
                Scope::These(these)
            }
        };
        self.mend_scope(&scope, dry_run, &mut done)?;
        Ok(done)
    }

    /// The network, and the steps that make it real if it was not in this boot.
    fn reload_named(&mut self, name: &str, dry_run: bool) -> Result<(Id, Vec<Op>), EngineError> {
        let record = self.find_network(name)?;
        let network = record.network.clone();
        let was_real = record.state == State::Ready && record.boot.as_deref() == Some(&self.boot);
        // The default network is made at its first use.
        if was_real || (network.bridge.is_none() && network.parent.is_none()) {
            return Ok((network.id, Vec::new()));
        }
        let steps = self.first_steps(&network)?;
        if !dry_run {
            self.real_network(record)?;
        }
        Ok((network.id, steps))
    }

    pub(crate) fn mend_scope(&mut self, scope: &Scope, dry_run: bool, done: &mut Reloaded) -> Result<(), EngineError> {
        let found = self.compare(scope)?;
        done.errors.extend(found.refused);
        if dry_run {
            let steps = found.differences.into_iter().flat_map(|difference| difference.steps);
            done.steps.extend(steps);
            return Ok(());
        }
        let mut mended: Vec<Subject> = Vec::new();
        for Difference { subject, .. } in &found.differences {
            if mended.contains(subject) {
                continue;
            }
            let steps = found.differences.iter().filter(|other| other.subject == *subject);
            let steps: Vec<Op> = steps.flat_map(|difference| difference.steps.clone()).collect();
            match self.mend_subject(subject, steps) {
                Ok(steps) => done.steps.extend(steps),
                Err(error) => done.errors.push(error),
            }
            mended.push(subject.clone());
        }
        Ok(())
    }

    /// Mends what `steps` were found for, and gives those that were done.
    fn mend_subject(&mut self, subject: &Subject, steps: Vec<Op>) -> Result<Vec<Op>, EngineError> {
        match subject {
            Subject::Host => {
                self.apply(&steps)?;
                Ok(steps)
            }
            Subject::Tables => {
                let _lock = self.lock_networks()?;
                self.restore_firewall()
            }
            Subject::Network(id) => self.mend_bridge(id),
            Subject::Elements => self.mend_elements(steps),
            Subject::Container(id) => self.mend_container(id, &steps),
        }
    }

    fn mend_bridge(&mut self, id: &Id) -> Result<Vec<Op>, EngineError> {
        let _lock = self.lock_networks()?;
        let Some(network) = self.recorded()?.real_network(id) else {
            return Ok(Vec::new());
        };
        if network.parent.is_some() {
            let seen = self.kernel().observe()?;
            let steps = mend::parent(&network, &seen).map_or_else(Vec::new, |repair| repair.steps);
            self.apply(&steps)?;
            return Ok(steps);
        }
        let host = self.kernel().observe_host()?;
        let repair = mend::bridge(&network, &host).map_err(|NotOurs(device)| EngineError::NotOurs {
            device: device.to_string(),
            network: network.name.to_string(),
        })?;
        let steps = repair.map_or_else(Vec::new, |repair| repair.steps);
        self.apply(&steps)?;
        Ok(steps)
    }

    /// Takes elements away that belong to nobody, and adds those that networks have lost; in one transaction, if nobody
    /// else takes some away meanwhile.
    fn mend_elements(&mut self, steps: Vec<Op>) -> Result<Vec<Op>, EngineError> {
        let _lock = self.lock_networks()?;
        let touched: HashSet<Element> = steps.iter().flat_map(elements_of).cloned().collect();
        let wanted = self.recorded()?.wanted_elements().into_iter();
        let wanted: HashSet<Element> = wanted.filter(|element| touched.contains(element)).collect();
        let mut changes = Vec::new();
        for step in steps {
            let still = |is_wanted: bool, elements: Vec<Element>| -> Vec<Element> {
                let kept = elements.into_iter();
                kept.filter(|element| wanted.contains(element) == is_wanted).collect()
            };
            match step {
                Op::DeleteElements(elements) => changes.push(Op::DeleteElements(still(false, elements))),
                Op::AddElements(elements) => changes.push(Op::AddElements(still(true, elements))),
                other => changes.push(other),
            }
        }
        changes.retain(|op| elements_of(op).next().is_some());
        if self.apply(&changes).is_err() {
            let (gone, added): (Vec<Op>, Vec<Op>) = changes
                .iter()
                .cloned()
                .partition(|op| matches!(op, Op::DeleteElements(_)));
            self.take_away("what belongs to nobody", &gone)?;
            self.apply(&added)?;
        }
        // Somebody may have come or gone meanwhile who needs one of them.
        self.follow_records(wanted, |element| touched.contains(element))?;
        Ok(changes)
    }

    fn mend_container(&mut self, id: &Id, found: &[Op]) -> Result<Vec<Op>, EngineError> {
        if self.is_foreign(id)? {
            return self.hold_plugs(id, |engine| engine.mend_endpoints(id, found));
        }
        let Some(_lock) = self.lock_container(id, FlockArg::LockExclusive)? else {
            return Ok(Vec::new());
        };
        let runs = |engine: &mut Self| {
            let record = engine.store.read(|records| records.container(id))?;
            Ok::<_, EngineError>(record.is_some_and(|record| record.state == ContainerState::Running))
        };
        if !runs(self)? {
            return Ok(Vec::new());
        }
        self.mend_endpoints(id, found)
    }

    /// Mends a container whose endpoints nobody else changes meanwhile.
    fn mend_endpoints(&mut self, id: &Id, found: &[Op]) -> Result<Vec<Op>, EngineError> {
        let lost: Vec<Element> = found
            .iter()
            .filter(|op| matches!(op, Op::AddElements(_)))
            .flat_map(elements_of)
            .cloned()
            .collect();
        let steps = self.container_steps(id, &lost)?;
        match self.apply(&steps) {
            Ok(()) => Ok(steps),
            // It ended while we were at it, and takes all of it down when we let go.
            Err(_) if !std::path::Path::new(&self.namespace_path(id.as_str()).0).exists() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody holds the lock of a container's network.
    fn is_being_changed(&self, id: &Id) -> Result<bool, EngineError> {
        match self.lock_container(id, FlockArg::LockExclusiveNonblock) {
            Ok(_) => Ok(false),
            Err(EngineError::Io { source, .. }) if source.raw_os_error() == Some(Errno::EWOULDBLOCK as i32) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock of a container's network; `None` if the container is gone.
    fn lock_container(&self, id: &Id, how: FlockArg) -> Result<Option<Flock<File>>, EngineError> {
        let path = self.container_paths(id.as_str()).state_dir();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::io("open", path)(error)),
        };
        let failed = EngineError::io("lock", path);
        let lock = Flock::lock(file, how).map_err(|(_, errno)| failed(errno.into()))?;
        Ok(Some(lock))
    }
}

fn elements_of(op: &Op) -> impl Iterator<Item = &Element> {
    let elements: &[Element] = match op {
        Op::AddElements(elements) | Op::DeleteElements(elements) => elements,
        _ => &[],
    };
    elements.iter()
}
