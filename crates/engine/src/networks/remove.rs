//! Removing networks, planned from their records; what is gone already is no failure.

use zdocker_host::store::{EndpointRecord, Records, State};
use zdocker_net::firewall::{Element, network_elements};
use zdocker_net::model::{BridgeDevice, Network, Ownership};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::plan;

use super::{PruneFilter, find};
use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// Removes the network that `text` means, and gives its steps; with `dry_run`, the steps only.
    ///
    /// # Errors
    /// [`EngineError`] while containers are plugged in, for the networks that are always there, or when a part of it
    /// could not be removed.
    pub fn remove_network(&mut self, text: &str, dry_run: bool) -> Result<(Network, Vec<Op>), EngineError> {
        self.settle()?;
        let _lock = self.lock_networks()?;
        let network = self.store.write(|records| {
            let network = find(records, text)?.network;
            if network.is_built_in() {
                return Err(EngineError::BuiltIn(network.name.to_string()));
            }
            refuse_in_use(records, &network)?;
            if !dry_run {
                records.set_network_state(&network.id, State::Removing, None)?;
            }
            Ok(network)
        })?;
        let plan = if dry_run {
            self.removal(&network)?
        } else {
            self.take_network_away(&network)?
        };
        Ok((network, plan))
    }

    /// Removes every network that nobody is plugged into and that `filter` admits, and gives their names.
    ///
    /// # Errors
    /// [`EngineError`] when a network could not be wholly removed.
    pub fn prune_networks(&mut self, filter: &PruneFilter) -> Result<Vec<String>, EngineError> {
        let unused = self
            .networks()?
            .into_iter()
            .filter(|v| v.endpoints.is_empty() && !v.network.is_built_in() && filter.admits(&v.network))
            // Docker, too, leaves configurations alone.
            .filter(|v| v.network.settings.config_only.is_none());
        let mut removed = Vec::new();
        for view in unused.collect::<Vec<_>>() {
            match self.remove_network(view.network.id.as_str(), false) {
                Ok((network, _)) => removed.push(network.name.to_string()),
                // Somebody plugged a container in, or removed the network, since we looked.
                Err(EngineError::InUse { .. } | EngineError::NoSuchNetwork(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Takes away networks that were being created or removed by a process that died. To be called with the networks'
    /// lock held, so that nobody alive is at them. One that cannot be taken away is warned about.
    pub(crate) fn finish_half_done_networks(&mut self) -> Result<(), EngineError> {
        for record in self.store.read(|records| records.half_done_networks())? {
            if let Err(error) = self.take_network_away(&record.network) {
                self.journal.warn(&error.to_string());
            }
        }
        Ok(())
    }

    /// The same, where the lock is not held yet.
    pub(crate) fn settle_networks(&mut self) -> Result<(), EngineError> {
        if self.store.read(|records| records.half_done_networks())?.is_empty() {
            return Ok(());
        }
        let _lock = self.lock_networks()?;
        self.finish_half_done_networks()
    }

    fn take_network_away(&mut self, network: &Network) -> Result<Vec<Op>, EngineError> {
        let plan = self.removal(network)?;
        self.take_away(&format!("network {:?}", network.name.as_str()), &plan)?;
        self.store
            .write(|records| Ok::<_, EngineError>(records.delete_network(&network.id)?))?;
        Ok(plan)
    }

    /// The steps that take a network away. An interface of its bridge's name that is not ours is not among them.
    pub(crate) fn removal(&mut self, network: &Network) -> Result<Vec<Op>, EngineError> {
        if let Some(parent) = &network.parent {
            return self.parent_removal(network, parent);
        }
        let mut plan = plan::remove_network(network);
        for op in &mut plan {
            if let Op::DeleteElements(elements) = op {
                *elements = self.unshared(network, std::mem::take(elements))?;
            }
        }
        if let Some(bridge) = &network.bridge
            && !self.is_ours_to_delete(bridge)?
        {
            plan.retain(|op| !matches!(op, Op::DeleteLink { .. }));
        }
        if network.passes_tables() && self.is_last_real(network)? {
            plan.push(Op::UnloadFirewall);
        }
        Ok(plan)
    }

    /// Those of a network's elements that no other network of this installation has, too, as those that other engines
    /// define may.
    pub(crate) fn unshared(&mut self, network: &Network, elements: Vec<Element>) -> Result<Vec<Element>, EngineError> {
        let networks = self.store.read(|records| records.networks())?;
        let boot = Some(self.boot.as_str());
        let others = networks.iter().filter(|other| {
            other.network.id != network.id && other.state == State::Ready && other.boot.as_deref() == boot
        });
        let others: Vec<Element> = others.flat_map(|other| network_elements(&other.network)).collect();
        Ok(plan::without(&elements, &others))
    }

    /// Whether the bridge that is there is the recorded one, and goes when its network does.
    fn is_ours_to_delete(&mut self, bridge: &BridgeDevice) -> Result<bool, EngineError> {
        let seen = self.kernel().observe_bridge(bridge)?;
        match bridge.ownership {
            Ownership::Own => Ok(seen.link.is_some_and(|link| link.mac == Some(bridge.mac))),
            Ownership::Foreign | Ownership::Kept => Ok(false),
            Ownership::Shared => {
                let seen = self.kernel().observe()?;
                Ok(seen.ports.iter().all(|(_, master)| *master != bridge.name))
            }
        }
    }

    /// Whether no other network is real whose packets pass our tables: then nothing needs them.
    fn is_last_real(&mut self, network: &Network) -> Result<bool, EngineError> {
        let networks = self.store.read(|records| records.networks())?;
        let boot = Some(self.boot.as_str());
        let mut translated = networks.iter().filter(|other| other.network.passes_tables());
        Ok(!translated.any(|other| other.network.id != network.id && other.boot.as_deref() == boot))
    }
}

fn refuse_in_use(records: &Records, network: &Network) -> Result<(), EngineError> {
    if network.settings.config_only.is_some() {
        return refuse_taken_over(records, network);
    }
    let endpoints = records.endpoints_of_network(&network.id)?;
    if endpoints.is_empty() {
        return Ok(());
    }
    let names = endpoints
        .iter()
        .map(|EndpointRecord { endpoint, .. }| container_name(records, &endpoint.container));
    let containers = names.collect::<Result<Vec<_>, _>>()?.join(" ");
    Err(EngineError::InUse {
        name: network.name.to_string(),
        count: endpoints.len(),
        containers,
    })
}

fn refuse_taken_over(records: &Records, network: &Network) -> Result<(), EngineError> {
    let networks = records.networks()?.into_iter().map(|record| record.network);
    let takers = networks.filter(|other| other.settings.config_from.as_deref() == Some(network.name.as_str()));
    let names: Vec<String> = takers.map(|other| other.name.to_string()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(EngineError::ConfigInUse {
        name: network.name.to_string(),
        networks: names.join(" "),
    })
}

fn container_name(records: &Records, id: &Id) -> Result<String, EngineError> {
    Ok(records
        .container(id)?
        .map_or_else(|| id.short().to_owned(), |container| container.name.to_string()))
}
