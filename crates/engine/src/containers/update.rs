//! Changing the published ports of a running container.
//!
//! While it is at it, a command holds the container's lock, which dies with it, and the records hold all ports that the
//! kernel may have: those that are added before they are, and those that are removed until they are gone. Those are marked
//! as unsettled: who finds some, and nobody at the lock, takes them away. So a change that was interrupted is undone until
//! all that is added is there, and finished from then on.

use std::fs::File;

use nix::fcntl::Flock;
use zdocker_host::store::{ContainerState, Records, State};
use zdocker_net::attach;
use zdocker_net::model::{Driver, Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::ports::{PortRequest, PortSelector, PublishedPort};
use zdocker_net::publish;

use super::publish::take_ports;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::shim::attach::Attachment;
use crate::shim::protocol::Streams;
use crate::signals::ProcessRef;

/// How the published ports of a container are to change.
#[derive(Debug, Clone, Default)]
pub struct PortChanges {
    /// What is published beside what is.
    pub add: Vec<PortRequest>,
    /// What is published no longer.
    pub remove: Vec<PortSelector>,
}

/// A change that is recorded as begun.
struct Change {
    network: Network,
    /// As it is recorded: with what is added, and what is still to be removed.
    endpoint: Endpoint,
    before: Vec<PublishedPort>,
    added: Vec<PublishedPort>,
    removed: Vec<PublishedPort>,
}

impl Change {
    /// What is published at the end.
    fn after(&self) -> Vec<PublishedPort> {
        without(&self.endpoint.ports, &self.removed)
    }

    fn plan_of_adding(&self) -> Vec<Op> {
        publish::publish(&self.network, &self.endpoint, &self.before, &self.added)
    }

    fn plan_of_removing(&self) -> Vec<Op> {
        publish::unpublish(&self.network, &self.endpoint, &self.removed, &self.after())
    }
}

impl Engine {
    /// The steps by which [`Self::update_ports`] would change the ports; nothing is changed.
    ///
    /// # Errors
    /// [`EngineError`] when it would be refused.
    pub fn plan_update(&mut self, text: &str, changes: &PortChanges) -> Result<Vec<Op>, EngineError> {
        let (container, _, add) = self.checked_changes(text, changes)?;
        let change = self
            .store
            .rehearse(|records| begin(records, &container, &add, &changes.remove))?;
        let mut plan = change.plan_of_adding();
        plan.extend(change.plan_of_removing());
        Ok(plan)
    }

    /// Changes the published ports of a running container: first all that is new is published, then what is named is
    /// unpublished. TCP connections that are established go on.
    ///
    /// # Errors
    /// [`EngineError`]; then nothing has changed, unless it says that something is not wholly removed.
    pub fn update_ports(&mut self, text: &str, changes: &PortChanges) -> Result<(), EngineError> {
        let (container, network, add) = self.checked_changes(text, changes)?;
        let paths = self.container_paths(container.as_str());
        let Some(lock) = self.lock_endpoints(&paths)? else {
            return Err(EngineError::NotRunning(text.to_owned()));
        };
        // Of a command that has died while we waited.
        self.settle_ports_of(&container, &lock)?;
        // Somebody may have flushed the tables.
        let network = self.find_network(network.as_str())?;
        self.real_network(network)?;
        let change = self
            .store
            .write(|records| begin(records, &container, &add, &changes.remove))?;
        if let Err(error) = self.apply(&change.plan_of_adding()) {
            return Err(self.give_up(&change, error));
        }
        if !change.removed.is_empty() {
            let Change {
                endpoint,
                added,
                removed,
                ..
            } = &change;
            self.store.write(|records| {
                records.set_ports_unsettled(&endpoint.id, added, false)?;
                records.set_ports_unsettled(&endpoint.id, removed, true)
            })?;
            self.take_away("what was published", &change.plan_of_removing())?;
        }
        self.tell_relays(&change.endpoint, &change.after());
        self.store.write(|records| finish(records, &change))
    }

    /// Refuses what can be refused without a lock. Gives the container, the network that it is published through, and all
    /// that is to be published.
    fn checked_changes(
        &mut self,
        text: &str,
        changes: &PortChanges,
    ) -> Result<(Id, Id, Vec<PortRequest>), EngineError> {
        let (record, _) = self.running_container(text)?;
        let add = self.at_default_address(&changes.add);
        let (network, _) = self.store.read(|records| publisher(records, &record.id))?;
        attach::check_ports(&add, Some(&network))?;
        self.check_ports(&add)?;
        Ok((record.id, network.id, add))
    }

    /// Takes a change back that did not take effect.
    fn give_up(&mut self, change: &Change, error: EngineError) -> EngineError {
        let Change { endpoint, added, .. } = change;
        match self.store.write(|records| forget(records, &endpoint.container, added)) {
            Ok(()) => error,
            Err(also) => EngineError::AndThen {
                error: Box::new(error),
                also: Box::new(also),
            },
        }
    }

    /// Has the container's shim relay to these ports of `endpoint`. A port that is not reached at `::1` is warned about, and
    /// no failure.
    fn tell_relays(&mut self, endpoint: &Endpoint, ports: &[PublishedPort]) {
        if let Err(error) = self.try_to_tell_relays(endpoint, ports) {
            self.journal
                .warn(&format!("published ports may not be reached at [::1]: {error}"));
        }
    }

    fn try_to_tell_relays(&mut self, endpoint: &Endpoint, ports: &[PublishedPort]) -> Result<(), EngineError> {
        let container = &endpoint.container;
        let (record, mut endpoints) = self.store.read(|records| {
            let record = records.container(container)?;
            Ok::<_, EngineError>((record, endpoints_of(records, container)?))
        })?;
        let process = record.and_then(|record| record.process).map(ProcessRef::from);
        let Some(init) = process.map(ProcessRef::open).transpose()?.flatten() else {
            // It has ended, and its ports with it.
            return Ok(());
        };
        if let Some((_, changed)) = endpoints.iter_mut().find(|(_, other)| other.id == endpoint.id) {
            changed.ports = ports.to_vec();
        }
        let relays = self.relays(endpoints.iter().map(|(network, endpoint)| (network, endpoint)));
        let paths = self.container_paths(container.as_str());
        let shim = Attachment::connect(&paths, Streams::default())?;
        for warning in shim.relay_from_loopback(relays, &init)? {
            self.journal.warn(&warning);
        }
        Ok(())
    }

    /// The running containers of whose ports some are half added or removed, and nobody is at it.
    pub(crate) fn half_changed_containers(&mut self) -> Result<Vec<Id>, EngineError> {
        let mut found = Vec::new();
        for container in self.store.read(|records| records.containers_with_unsettled_ports())? {
            let paths = self.container_paths(container.as_str());
            if self.try_to_lock_endpoints(&paths)?.is_some() {
                found.push(container);
            }
        }
        Ok(found)
    }

    /// Puts right what commands left behind that died while they changed published ports. What cannot be is warned about.
    pub(crate) fn settle_ports(&mut self) -> Result<(), EngineError> {
        for container in self.store.read(|records| records.containers_with_unsettled_ports())? {
            let paths = self.container_paths(container.as_str());
            let settled = match self.try_to_lock_endpoints(&paths)? {
                Some(lock) => self.settle_ports_of(&container, &lock),
                // Somebody is at it, or it runs no more.
                None => Ok(()),
            };
            if let Err(error) = settled {
                let id = container.short();
                self.journal.warn(&format!(
                    "the published ports of container {id} cannot be put right: {error}"
                ));
            }
        }
        Ok(())
    }

    /// Takes unsettled ports away, for who holds the lock.
    fn settle_ports_of(&mut self, container: &Id, _lock: &Flock<File>) -> Result<(), EngineError> {
        let half_changed = self.store.read(|records| {
            let mut half_changed = Vec::new();
            for (network, endpoint) in endpoints_of(records, container)? {
                let removed = records.unsettled_ports(&endpoint)?;
                if !removed.is_empty() {
                    half_changed.push((network, endpoint, removed));
                }
            }
            Ok::<_, EngineError>(half_changed)
        })?;
        for (network, endpoint, removed) in half_changed {
            let left = without(&endpoint.ports, &removed);
            let plan = publish::unpublish(&network, &endpoint, &removed, &left);
            self.take_away("what was being published", &plan)?;
            self.tell_relays(&endpoint, &left);
            self.store.write(|records| forget(records, container, &removed))?;
        }
        Ok(())
    }
}

/// Records what is about to change.
fn begin(
    records: &Records,
    container: &Id,
    add: &[PortRequest],
    remove: &[PortSelector],
) -> Result<Change, EngineError> {
    let (network, mut endpoint) = publisher(records, container)?;
    let before = endpoint.ports.clone();
    let removed = selected(records, container, &before, remove)?;
    let added = take_ports(records, &endpoint.id, add)?;
    let unsettled = if added.is_empty() { &removed } else { &added };
    records.set_ports_unsettled(&endpoint.id, unsettled, true)?;
    endpoint.ports.extend(&added);
    records.update_endpoint(&endpoint)?;
    Ok(Change {
        network,
        endpoint,
        before,
        added,
        removed,
    })
}

/// Those of the `published` ports that are to go; each selector must mean some.
fn selected(
    records: &Records,
    container: &Id,
    published: &[PublishedPort],
    remove: &[PortSelector],
) -> Result<Vec<PublishedPort>, EngineError> {
    for selector in remove {
        if !published.iter().any(|port| selector.takes(port)) {
            let name = records.container(container)?.map(|record| record.name.to_string());
            return Err(EngineError::NotPublished {
                name: name.unwrap_or_else(|| container.short().to_owned()),
                port: selector.to_string(),
            });
        }
    }
    let goes = |port: &&PublishedPort| remove.iter().any(|selector| selector.takes(port));
    Ok(published.iter().filter(goes).copied().collect())
}

/// Records that all has changed, if the container still runs.
fn finish(records: &Records, change: &Change) -> Result<(), EngineError> {
    let Change {
        endpoint,
        added,
        removed,
        ..
    } = change;
    records.set_ports_unsettled(&endpoint.id, added, false)?;
    forget(records, &endpoint.container, removed)
}

/// Forgets ports of a container's endpoints.
fn forget(records: &Records, container: &Id, ports: &[PublishedPort]) -> Result<(), EngineError> {
    if ports.is_empty() {
        return Ok(());
    }
    for (_, mut endpoint) in endpoints_of(records, container)? {
        let left = without(&endpoint.ports, ports);
        if left.len() < endpoint.ports.len() {
            records.delete_ports(&endpoint.id, ports)?;
            endpoint.ports = left;
            records.update_endpoint(&endpoint)?;
        }
    }
    Ok(())
}

/// The endpoint of a running container that its published ports lead to: the one that they do, or else the first on a
/// network that has a way in.
fn publisher(records: &Records, container: &Id) -> Result<(Network, Endpoint), EngineError> {
    let record = records.container(container)?;
    let runs = record
        .as_ref()
        .is_some_and(|record| record.state == ContainerState::Running);
    let name = record.map_or_else(|| container.short().to_owned(), |record| record.name.to_string());
    let mut open = Vec::new();
    for record in records.endpoints_of_container(container)? {
        if !runs || record.state != State::Ready {
            return Err(EngineError::NotRunning(name));
        }
        if let Some(network) = records.network(&record.endpoint.network)?.map(|found| found.network)
            && network.driver == Driver::Bridge
            && !network.internal
        {
            open.push((network, record.endpoint));
        }
    }
    let place = open
        .iter()
        .position(|(_, endpoint)| !endpoint.ports.is_empty())
        .unwrap_or(0);
    if place < open.len() {
        Ok(open.swap_remove(place))
    } else {
        Err(EngineError::NoWayIn(name))
    }
}

fn endpoints_of(records: &Records, container: &Id) -> Result<Vec<(Network, Endpoint)>, EngineError> {
    let mut endpoints = Vec::new();
    for record in records.endpoints_of_container(container)? {
        if let Some(network) = records.network(&record.endpoint.network)? {
            endpoints.push((network.network, record.endpoint));
        }
    }
    Ok(endpoints)
}

fn without(ports: &[PublishedPort], removed: &[PublishedPort]) -> Vec<PublishedPort> {
    let removed: std::collections::HashSet<_> = removed.iter().collect();
    ports.iter().filter(|port| !removed.contains(port)).copied().collect()
}
