//! Changing the published ports of a running container.
//!
//! While it is at it, a command holds the container's lock, which dies with it, and the records hold all ports that the
//! kernel may have: those that are added before they are, and those that are removed until they are gone. Those are
//! marked as unsettled: who finds some, and nobody at the lock, takes them away. So a change that was interrupted is
//! undone until all that is added is there, and finished from then on.

use std::fs::File;

use nix::fcntl::Flock;
use zdocker_host::store::{ContainerState, Records, State};
use zdocker_net::attach;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::ports::{self, PortRequest, PortSelector, PublishedPort};
use zdocker_net::publish::{self, beside};

use super::connect::plugged;
use super::ended::read_spec;
use super::publish::{at_default_address, take_ports};
use super::run::busy;
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
    /// As it was.
    before: Endpoint,
    /// With what is added beside what was.
    between: Endpoint,
    /// Without what is removed.
    after: Endpoint,
    /// What the container is asked to publish from now on.
    requests: Vec<PortRequest>,
}

impl Change {
    fn added(&self) -> Vec<PublishedPort> {
        beside(&self.between.ports, &self.before.ports)
    }

    fn removed(&self) -> Vec<PublishedPort> {
        beside(&self.between.ports, &self.after.ports)
    }

    fn plan_of_adding(&self) -> Vec<Op> {
        publish::publish(&self.network, &self.before, &self.between)
    }

    fn plan_of_removing(&self) -> Vec<Op> {
        publish::unpublish(&self.network, &self.between, &self.after)
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
        let lock = self.lock_network_of(&container)?;
        // Of a command that has died while we waited.
        self.settle_ports_of(&container, &lock)?;
        // Somebody may have flushed the tables.
        let network = self.find_network(network.as_str())?;
        self.real_network(network)?;
        let change = self
            .store
            .write(|records| begin(records, &container, &add, &changes.remove))?;
        if let Err(error) = self.apply(&change.plan_of_adding()) {
            let forgotten = self.store.write(|records| forget(records, &container, &change.added()));
            return Err(error.and_then(forgotten));
        }
        let (added, removed) = (change.added(), change.removed());
        if !removed.is_empty() {
            let endpoint = &change.between.id;
            self.store.write(|records| {
                records.set_ports_unsettled(endpoint, &added, false)?;
                records.set_ports_unsettled(endpoint, &removed, true)?;
                ask(records, &container, &change.requests)
            })?;
            self.take_away("what was published", &change.plan_of_removing())?;
        }
        self.tell_relays(&container, Some(&change.after));
        self.store.write(|records| {
            records.set_ports_unsettled(&change.between.id, &added, false)?;
            ask(records, &container, &change.requests)?;
            forget(records, &container, &removed)
        })
    }

    /// Refuses what can be refused without a lock. Gives the container, the network that it is published through, and
    /// all that is to be published.
    fn checked_changes(
        &mut self,
        text: &str,
        changes: &PortChanges,
    ) -> Result<(Id, Id, Vec<PortRequest>), EngineError> {
        let (record, _) = self.running_container(text)?;
        let (network, _) = self.store.read(|records| publisher(records, &record.id))?;
        let add = at_default_address(&changes.add, &network, self.config.ip);
        attach::check_ports(&add, Some(&network))?;
        self.check_ports(&add)?;
        Ok((record.id, network.id, add))
    }

    /// Has the container's shim relay what its records say, with `changed` in the place of one of its endpoints. A port
    /// that is not reached at `::1` is warned about, and no failure.
    pub(super) fn tell_relays(&mut self, container: &Id, changed: Option<&Endpoint>) {
        if let Err(error) = self.try_to_tell_relays(container, changed) {
            self.journal
                .warn(&format!("published ports may not be reached at [::1]: {error}"));
        }
    }

    fn try_to_tell_relays(&mut self, container: &Id, changed: Option<&Endpoint>) -> Result<(), EngineError> {
        let (record, mut endpoints) = self.store.read(|records| {
            let record = records.container(container)?;
            Ok::<_, EngineError>((record, plugged(records, container)?))
        })?;
        let process = record.and_then(|record| record.process).map(ProcessRef::from);
        let Some(init) = process.map(ProcessRef::open).transpose()?.flatten() else {
            // It has ended, and its ports with it.
            return Ok(());
        };
        for (_, endpoint) in &mut endpoints {
            if let Some(changed) = changed.filter(|changed| changed.id == endpoint.id) {
                endpoint.clone_from(changed);
            }
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
            if self.try_to_lock_network_of(&container)?.is_some() {
                found.push(container);
            }
        }
        Ok(found)
    }

    /// Puts right what commands left behind that died while they changed published ports. What cannot be is warned
    /// about.
    pub(crate) fn settle_ports(&mut self) -> Result<(), EngineError> {
        for container in self.store.read(|records| records.containers_with_unsettled_ports())? {
            let settled = match self.try_to_lock_network_of(&container)? {
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
            for (network, endpoint) in plugged(records, container)? {
                let unsettled = records.unsettled_ports(&endpoint)?;
                if !unsettled.is_empty() {
                    half_changed.push((network, endpoint, unsettled));
                }
            }
            Ok::<_, EngineError>(half_changed)
        })?;
        for (network, endpoint, unsettled) in half_changed {
            let left = Endpoint {
                ports: beside(&endpoint.ports, &unsettled),
                ..endpoint.clone()
            };
            let plan = publish::unpublish(&network, &endpoint, &left);
            self.take_away("what was being published", &plan)?;
            self.tell_relays(container, Some(&left));
            self.store.write(|records| forget(records, container, &unsettled))?;
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
    let (network, before) = publisher(records, container)?;
    let removed = selected(records, container, &before.ports, remove)?;
    let added = take_ports(records, &before.id, add)?;
    let unsettled = if added.is_empty() { &removed } else { &added };
    records.set_ports_unsettled(&before.id, unsettled, true)?;
    let with = |ports| Endpoint {
        ports,
        ..before.clone()
    };
    let between = with([&before.ports[..], &added].concat());
    records.set_endpoint(&between, State::Ready, None)?;
    let record = records.container(container)?;
    let spec = record.as_ref().map(read_spec).transpose()?;
    let asked = spec.map(|spec| spec.ports).unwrap_or_default();
    let mut requests: Vec<PortRequest> = ports::without(&asked, &removed);
    requests.extend(add);
    Ok(Change {
        network,
        after: with(beside(&between.ports, &removed)),
        between,
        before,
        requests,
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

/// Records what a container is asked to publish: also when it is started again.
fn ask(records: &Records, container: &Id, requests: &[PortRequest]) -> Result<(), EngineError> {
    let Some(record) = records.container(container)? else {
        return Ok(());
    };
    let mut spec = read_spec(&record)?;
    spec.ports = requests.to_vec();
    Ok(records.set_container_spec(container, &spec.to_record()?)?)
}

/// Forgets ports of a container's endpoints.
fn forget(records: &Records, container: &Id, ports: &[PublishedPort]) -> Result<(), EngineError> {
    for record in records.endpoints_of_container(container)? {
        let mut endpoint = record.endpoint;
        let left = beside(&endpoint.ports, ports);
        if left.len() < endpoint.ports.len() {
            records.delete_ports(&endpoint.id, ports)?;
            endpoint.ports = left;
            records.set_endpoint(&endpoint, record.state, record.owner)?;
        }
    }
    Ok(())
}

/// The endpoint of a running container that its published ports lead to: the one that they do, or else would.
fn publisher(records: &Records, container: &Id) -> Result<(Network, Endpoint), EngineError> {
    let record = records.container(container)?;
    let runs = record
        .as_ref()
        .is_some_and(|record| record.state == ContainerState::Running);
    let name = record
        .as_ref()
        .map_or_else(|| container.short().to_owned(), |record| record.name.to_string());
    let mut states = records.endpoints_of_container(container)?.into_iter();
    match record {
        Some(record) if runs && states.any(|record| record.state == State::Removing) => return Err(busy(&record)),
        _ if !runs => return Err(EngineError::NotRunning(name)),
        _ => {}
    }
    let mut plugged = plugged(records, container)?;
    let roles = attach::roles(&attach::members(&plugged));
    let publishing = plugged.iter().position(|(_, endpoint)| !endpoint.ports.is_empty());
    match publishing.or_else(|| roles.iter().position(|role| role.publishes)) {
        Some(place) if !plugged[place].0.internal => Ok(plugged.swap_remove(place)),
        _ => Err(EngineError::NoWayIn(name)),
    }
}
