//! `network disconnect`, and the taking away of endpoints that a dead process left half connected or half disconnected.

use std::collections::BTreeSet;
use std::fs::File;

use nix::fcntl::Flock;
use zdocker_host::store::{ContainerRecord, ContainerState, EndpointRecord, State};
use zdocker_net::attach;
use zdocker_net::attach::choice::NetworkChoice;
use zdocker_net::firewall::endpoint_elements;
use zdocker_net::model::{Driver, Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::plan;

use super::connect::{Plugged, connectable, plugged};
use super::ended::{is_alive, read_spec};
use super::run::busy;
use super::spec::ContainerSpec;
use crate::engine::Engine;
use crate::error::EngineError;

/// How much is known of what the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What is recorded.
    Recorded,
    /// What is recorded, or what somebody was about to make of it who did not finish.
    Thorough,
}

impl Engine {
    /// Unplugs a container from a network, and gives the steps; with `dry_run`, the steps only.
    ///
    /// # Errors
    /// [`EngineError`] when it is not on the network, or a part could not be removed; a later command tries again.
    pub fn disconnect(&mut self, network: &str, container: &str, dry_run: bool) -> Result<Vec<Op>, EngineError> {
        self.settle()?;
        let record = self.find_container(container)?;
        match record.state {
            ContainerState::Running => self.disconnect_running(&record, network, dry_run),
            ContainerState::Exited => self.disconnect_stopped(&record, network, dry_run),
            ContainerState::Creating | ContainerState::Removing => Err(busy(&record)),
        }
    }

    fn disconnect_running(
        &mut self,
        record: &ContainerRecord,
        text: &str,
        dry_run: bool,
    ) -> Result<Vec<Op>, EngineError> {
        let lock = self.lock_network_of(&record.id)?;
        if !dry_run {
            self.settle_endpoints_of(&record.id, &lock)?;
        }
        let record = self.still_running(&record.id)?;
        let network = self.find_network(text)?.network;
        let plugged = self.store.read(|records| plugged(records, &record.id))?;
        let gone = plugged.into_iter().find(|(other, _)| other.id == network.id);
        let gone = gone.ok_or_else(|| not_connected(&record, &network))?;
        if dry_run {
            let (plan, _) = self.disconnect_plan(&record.id, &gone, Depth::Recorded)?;
            return Ok(plan);
        }
        let me = self.me;
        self.store
            .write(|records| records.set_endpoint(&gone.1, State::Removing, Some(me)))?;
        self.take_endpoint_away(&record, &gone, Depth::Recorded)
    }

    fn disconnect_stopped(
        &mut self,
        record: &ContainerRecord,
        text: &str,
        dry_run: bool,
    ) -> Result<Vec<Op>, EngineError> {
        let mut spec = connectable(record)?;
        // A network that is gone is left by the name that it had.
        let name = match self.find_network(text) {
            Ok(found) => found.network.name.to_string(),
            Err(EngineError::NoSuchNetwork(name)) => name,
            Err(error) => return Err(error),
        };
        if !unchoose(&mut spec, &name) {
            return Err(EngineError::NotConnected {
                container: record.name.to_string(),
                network: name,
            });
        }
        if !dry_run {
            self.change_stopped(record, &spec)?;
        }
        Ok(Vec::new())
    }

    /// The steps that take an endpoint away and let the container's others fill its place, and these as they are then.
    fn disconnect_plan(
        &mut self,
        container: &Id,
        gone: &Plugged,
        depth: Depth,
    ) -> Result<(Vec<Op>, Vec<Endpoint>), EngineError> {
        let namespace = self.namespace_path(container.as_str());
        let plugged = self.store.read(|records| plugged(records, container))?;
        let others: Vec<Plugged> = plugged.into_iter().filter(|(_, e)| e.id != gone.1.id).collect();
        let roles = attach::roles(&attach::members(&others));
        let mut plan = plan::detach(&gone.0, &gone.1, Some(&namespace));
        let mut changed = Vec::new();
        for ((network, before), role) in others.iter().zip(&roles) {
            let mut after = attach::in_role(before, network, role);
            if role.publishes && after.ports.is_empty() {
                after.ports.clone_from(&gone.1.ports);
            }
            if depth == Depth::Thorough {
                let gained = endpoint_elements(network, &after);
                let had = endpoint_elements(network, before);
                let gained = gained.into_iter().filter(|element| !had.contains(element)).collect();
                plan.push(Op::DeleteElements(gained));
            }
            plan.extend(plan::change(network, before, &after, &namespace));
            if depth == Depth::Thorough {
                plan.extend(plan::restore_routes(network, &after, &namespace));
            }
            changed.push(after);
        }
        Ok((plan, changed))
    }

    /// Takes an endpoint of a running container away, with all that was recorded of it. To be called with the lock on
    /// the container's network held.
    pub(super) fn take_endpoint_away(
        &mut self,
        record: &ContainerRecord,
        gone: &Plugged,
        depth: Depth,
    ) -> Result<Vec<Op>, EngineError> {
        let (plan, others) = self.disconnect_plan(&record.id, gone, depth)?;
        let what = format!(
            "the endpoint of {:?} on network {:?}",
            record.name.as_str(),
            gone.0.name.as_str()
        );
        self.take_away(&what, &plan)?;
        self.withdraw(std::slice::from_ref(gone))?;
        self.leave(&record.id, &gone.1)?;
        let mut spec = read_spec(&self.still_recorded(&record.id)?)?;
        unchoose(&mut spec, gone.0.name.as_str());
        let text = spec.to_record()?;
        let heir = others.iter().find(|endpoint| endpoint.ports == gone.1.ports);
        self.store.write(|records| {
            if let Some(heir) = heir {
                records.move_ports(&gone.1.id, &heir.id)?;
            }
            for endpoint in &others {
                records.set_endpoint(endpoint, State::Ready, None)?;
            }
            records.delete_endpoint(&gone.1.id)?;
            Ok::<_, EngineError>(records.set_container_spec(&record.id, &text)?)
        })?;
        if !gone.1.ports.is_empty() {
            self.tell_relays(&record.id, None);
        }
        if heir.is_none() && !gone.1.ports.is_empty() {
            let name = &record.name;
            self.journal.warn(&format!(
                "container {name} publishes nothing any more: none of its networks can take its ports"
            ));
        }
        Ok(plan)
    }

    /// Takes away endpoints that a dead process was connecting or disconnecting.
    pub(crate) fn settle_endpoints(&mut self) -> Result<(), EngineError> {
        let half_done = self.store.read(|records| records.half_done_endpoints())?;
        let abandoned = half_done.iter().filter(|record| is_abandoned(record));
        let containers: BTreeSet<&Id> = abandoned.map(|record| &record.endpoint.container).collect();
        for container in containers {
            if let Err(error) = self.lock_and_settle_endpoints_of(container) {
                let short = container.short();
                self.journal.warn(&format!(
                    "an endpoint of container {short} cannot be cleaned up: {error}"
                ));
            }
        }
        Ok(())
    }

    fn lock_and_settle_endpoints_of(&mut self, container: &Id) -> Result<(), EngineError> {
        let record = self.store.read(|records| records.container(container))?;
        // Those of a container that does not run are for whoever settles the container.
        if record.is_none_or(|record| record.state != ContainerState::Running) {
            return Ok(());
        }
        let lock = self.lock_network_of(container)?;
        self.settle_endpoints_of(container, &lock)
    }

    /// The same for one container, by who holds the lock on its network. Whoever had it before is dead, or as good as
    /// dead: the kernel lets go of a lock a moment before its holder has ended.
    pub(super) fn settle_endpoints_of(&mut self, container: &Id, _lock: &Flock<File>) -> Result<(), EngineError> {
        let (record, endpoints) = self.store.read(|records| {
            let endpoints = records.endpoints_of_container(container)?;
            Ok::<_, EngineError>((records.container(container)?, endpoints))
        })?;
        let Some(record) = record.filter(|record| record.state == ContainerState::Running) else {
            return Ok(());
        };
        // Those of the container's owner are of one who has claimed it, and waits for the lock.
        let abandoned = endpoints
            .into_iter()
            .filter(|endpoint| endpoint.state != State::Ready && endpoint.owner != record.owner)
            .map(|endpoint| endpoint.endpoint.id);
        for endpoint in abandoned {
            let plugged = self.store.read(|records| plugged(records, container))?;
            if let Some(gone) = plugged.into_iter().find(|(_, other)| other.id == endpoint) {
                self.take_endpoint_away(&record, &gone, Depth::Thorough)?;
            }
        }
        Ok(())
    }
}

/// Whether a process was plugging an endpoint in or out and is dead.
fn is_abandoned(record: &EndpointRecord) -> bool {
    record.state != State::Ready && !record.owner.as_ref().is_some_and(is_alive)
}

fn not_connected(record: &ContainerRecord, network: &Network) -> EngineError {
    EngineError::NotConnected {
        container: record.name.to_string(),
        network: network.name.to_string(),
    }
}

/// Takes a network from those that a container is on; the last leaves none. Whether it was among them.
fn unchoose(spec: &mut ContainerSpec, network: &str) -> bool {
    let before = spec.networks.len();
    spec.networks.retain(|choice| choice.network != network);
    let found = spec.networks.len() < before;
    if spec.networks.is_empty() {
        spec.networks.push(NetworkChoice::plain(Driver::None.to_string()));
    }
    found
}
