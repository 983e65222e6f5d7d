//! Networks that another engine defines: real when the first container is plugged in, gone after the last one, if that
//! engine wants it so.

use std::net::IpAddr;

use zdocker_host::store::{NetworkRecord, State};
use zdocker_net::firewall::network_elements;
use zdocker_net::model::{BridgeDevice, Endpoint, HostInVlan, Ingress, Network, Ownership};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::plan::{self, without};
use zdocker_net::seen::Seen;

use crate::engine::Engine;
use crate::error::EngineError;

/// Refuses a network that needs a device which is not ours to make, and is not there.
pub(crate) fn refuse_missing_devices(network: &Network, seen: &Seen) -> Result<(), EngineError> {
    if let Some(parent) = network.parent.as_ref().filter(|parent| parent.made.is_none())
        && (parent.is_unchosen() || seen.link(&parent.name).is_none())
    {
        return Err(EngineError::NoParent {
            parent: parent.name.to_string(),
            network: network.name.to_string(),
        });
    }
    let Some(bridge) = &network.bridge else {
        return Ok(());
    };
    if bridge.ownership == Ownership::Foreign && seen.link(&bridge.name).is_none() {
        return Err(EngineError::NoBridge {
            bridge: bridge.name.to_string(),
            network: network.name.to_string(),
        });
    }
    match &bridge.vrf {
        Some(vrf) if seen.link(vrf).is_none() => Err(EngineError::NoVrf {
            vrf: vrf.to_string(),
            network: network.name.to_string(),
        }),
        _ => Ok(()),
    }
}

/// What a network has, if it is to have another one, and cannot while containers are on it.
fn made_otherwise(recorded: &Network, wanted: &Network) -> Option<String> {
    if recorded.driver != wanted.driver {
        return Some(format!("driver {}", recorded.driver));
    }
    let (has, wanted) = (recorded.bridge.as_ref()?, wanted.bridge.as_ref()?);
    if has.name != wanted.name {
        return Some(format!("bridge {}", has.name));
    }
    // Its containers' ports are in these, and guarded accordingly.
    let vlans = |bridge: &BridgeDevice| (bridge.vlan, bridge.trunk.clone());
    (vlans(has) != vlans(wanted)).then(|| "other VLANs".to_owned())
}

impl Engine {
    /// The network that is wanted, recorded and real; and whether it was made so just now. To be called with the networks'
    /// lock held.
    pub(super) fn foreign_network(&mut self, wanted: &Network) -> Result<(Network, bool), EngineError> {
        let record = self.store.read(|records| records.network(&wanted.id))?;
        match record {
            Some(record) if record.state == State::Ready => {
                if let Some(has) = made_otherwise(&record.network, wanted) {
                    if self.remove_if_unused_locked(&[record.network])?.is_empty() {
                        let network = wanted.name.to_string();
                        return Err(EngineError::MadeOtherwise { network, has });
                    }
                    return Ok((self.create_foreign(wanted)?, true));
                }
                let record = self.reformed(record, wanted)?;
                self.make_real(&record)?;
                let now = self.store.read(|records| records.network(&wanted.id))?;
                Ok((now.map_or(record.network, |record| record.network), false))
            }
            Some(_) => {
                self.finish_half_done_networks()?;
                Ok((self.create_foreign(wanted)?, true))
            }
            None => Ok((self.create_foreign(wanted)?, true)),
        }
    }

    fn make_real(&mut self, record: &NetworkRecord) -> Result<(), EngineError> {
        match &record.network.bridge {
            Some(_) => self.mend(record),
            None if record.network.parent.is_some() => self.mend_parent(record),
            None if record.network.passes_tables() => self.mend_tables(&record.network),
            None => Ok(()),
        }
    }

    /// Makes a network real again that has no device of its own.
    fn mend_tables(&mut self, network: &Network) -> Result<(), EngineError> {
        let seen = self.kernel().observe()?;
        if !seen.firewall {
            // What is loaded has what is recorded; after a boot nothing is.
            self.restore_firewall()?;
        }
        self.apply(&plan::create_network(network, &seen))?;
        self.mark_real(&network.id)
    }

    fn create_foreign(&mut self, wanted: &Network) -> Result<Network, EngineError> {
        self.finish_half_done_networks()?;
        self.restore_damaged_firewall()?;
        let seen = self.kernel().observe()?;
        let mut network = plan::adopting(wanted, &seen);
        refuse_missing_devices(&network, &seen)?;
        self.settle_vlan(&mut network)?;
        self.store
            .write(|records| Ok::<_, EngineError>(records.insert_foreign_network(&network, State::Creating)?))?;
        let plan = plan::create_network(&network, &seen);
        match self.apply(&plan) {
            Ok(()) => self.mark_real(&network.id)?,
            Err(error) => return Err(error.and_then(self.finish_half_done_networks())),
        }
        Ok(network)
    }

    /// Leaves the host in the VLAN of another network, or refuses a network that needs it in its own.
    fn settle_vlan(&mut self, network: &mut Network) -> Result<(), EngineError> {
        let networks = self.store.read(|records| records.networks())?;
        let mut others = networks.iter().filter(|other| other.network.id != network.id);
        match others.find(|other| plan::contend_for_vlan(network, &other.network)) {
            Some(_) if network.settings.host_in_vlan == HostInVlan::Wished => {
                network.settings.host_in_vlan = HostInVlan::Elsewhere;
                Ok(())
            }
            Some(other) => Err(EngineError::OtherVlan {
                network: network.name.to_string(),
                other: other.network.name.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// The record of a network, changed to what is wanted of it now.
    fn reformed(&mut self, mut record: NetworkRecord, wanted: &Network) -> Result<NetworkRecord, EngineError> {
        let before = &record.network;
        let after = plan::like(wanted, before);
        if after != *before {
            self.reform(&mut record, after)?;
        }
        Ok(record)
    }

    fn reform(&mut self, record: &mut NetworkRecord, after: Network) -> Result<(), EngineError> {
        let (old, new) = (network_elements(&record.network), network_elements(&after));
        // Before it is recorded what goes is taken away: who finds the old record does it again.
        let lost = self.unshared(&after, without(&old, &new))?;
        self.take_away(
            "what the network had before it was changed",
            &[Op::DeleteElements(lost)],
        )?;
        self.readdress(&record.network, &after)?;
        self.reset_ports(&record.network, &after)?;
        self.store
            .write(|records| Ok::<_, EngineError>(records.set_network(&after)?))?;
        record.network = after;
        self.apply(&[Op::AddElements(without(&new, &old))])?;
        let seen = self.kernel().observe()?;
        self.apply(&plan::complete_bridge(&record.network, &seen))
    }

    /// Takes the gateways from a network's bridge that it has no more.
    fn readdress(&mut self, before: &Network, after: &Network) -> Result<(), EngineError> {
        if plan::drop_gateways(before, after, &[], &[]).is_empty() {
            return Ok(());
        }
        let (networks, endpoints) = self
            .store
            .read(|records| Ok::<_, EngineError>((records.networks()?, records.endpoints_of_network(&after.id)?)))?;
        let networks = networks.into_iter().map(|record| record.network);
        let others: Vec<Network> = networks.filter(|other| other.id != after.id).collect();
        let addresses = endpoints.iter().flat_map(|record| &record.endpoint.addresses);
        let held: Vec<IpAddr> = addresses.map(|own| own.address).collect();
        self.apply(&plan::drop_gateways(before, after, &others, &held))
    }

    /// Sets the ports of a network's endpoints up as it is now.
    fn reset_ports(&mut self, before: &Network, after: &Network) -> Result<(), EngineError> {
        let name = |network: &Network| network.bridge.as_ref().map(|bridge| bridge.name.clone());
        let Some(bridge) = after.bridge.as_ref().filter(|_| name(before) == name(after)) else {
            return Ok(());
        };
        if before.settings == after.settings {
            return Ok(());
        }
        let records = self.store.read(|records| records.endpoints_of_network(&after.id))?;
        let endpoints = records.iter().map(|record| &record.endpoint);
        let is_other =
            |endpoint: &&Endpoint| plan::port_settings(before, endpoint) != plan::port_settings(after, endpoint);
        let changed: Vec<&Endpoint> = endpoints.filter(is_other).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let seen = self
            .kernel()
            .observe_links(changed.iter().map(|endpoint| &endpoint.host_interface))?;
        let there = changed
            .iter()
            .filter(|endpoint| seen.interface(&endpoint.host_interface).is_some());
        let joins: Vec<Op> = there
            .map(|endpoint| plan::join_bridge(after, bridge, endpoint))
            .collect();
        self.apply(&joins)
    }

    /// Says who is kept from a network's containers beside those that the network itself keeps from them.
    ///
    /// # Errors
    /// [`EngineError`] when a step fails.
    pub fn restrict(&mut self, network: &Id, ingress: Ingress) -> Result<(), EngineError> {
        let _lock = self.lock_networks()?;
        let Some(mut record) = self.store.read(|records| records.network(network))? else {
            return Ok(());
        };
        let mut after = record.network.clone();
        after.settings.ingress = ingress;
        if after == record.network {
            return Ok(());
        }
        self.reform(&mut record, after)
    }

    /// Takes those of the networks away that nobody is on.
    pub(super) fn remove_networks_if_unused(&mut self, networks: &[Network]) -> Result<(), EngineError> {
        if networks.is_empty() {
            return Ok(());
        }
        let _lock = self.lock_networks()?;
        self.remove_if_unused_locked(networks).map(drop)
    }

    /// The same with the networks' lock held. Gives the names of those that went.
    pub(super) fn remove_if_unused_locked(&mut self, networks: &[Network]) -> Result<Vec<String>, EngineError> {
        let mut removed = Vec::new();
        for network in networks {
            if self.store.read(|records| records.network(&network.id))?.is_none() {
                self.remove_lost(network)?;
                continue;
            }
            if self.is_used(&network.id)? {
                continue;
            }
            self.store.write(|records| {
                Ok::<_, EngineError>(records.set_network_state(&network.id, State::Removing, None)?)
            })?;
            removed.push(network.name.to_string());
        }
        self.finish_half_done_networks()?;
        Ok(removed)
    }

    /// Takes those of these networks away that nobody is on. Who is just being unplugged is waited for.
    ///
    /// # Errors
    /// [`EngineError`] when one could not be wholly removed.
    pub fn remove_unused_of(&mut self, networks: &[Id]) -> Result<(), EngineError> {
        // Who leaves may come to it, or hand it on to a child, only after we have looked.
        while self.wait_for_leaving(networks)? {
            self.settle_plugs()?;
        }
        let recorded = self.store.read(|records| records.networks())?;
        let networks = recorded
            .into_iter()
            .map(|record| record.network)
            .filter(|network| networks.contains(&network.id));
        self.remove_networks_if_unused(&networks.collect::<Vec<_>>())
    }

    /// Waits for those who are just unplugging from these networks: nobody comes after them who would take a network away
    /// that they were the last on. Whether there was anything that is being unplugged.
    pub(super) fn wait_for_leaving(&mut self, networks: &[Id]) -> Result<bool, EngineError> {
        let mut any = false;
        for network in networks {
            let endpoints = self.store.read(|records| records.endpoints_of_network(network))?;
            for record in endpoints.iter().filter(|record| record.state == State::Removing) {
                self.wait_for_owner(record)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Takes a network away whose record is lost, as far as nobody can be on it or need our tables whose record is lost, too.
    fn remove_lost(&mut self, network: &Network) -> Result<(), EngineError> {
        let Some(bridge) = network
            .bridge
            .as_ref()
            .filter(|bridge| bridge.ownership != Ownership::Foreign)
        else {
            return Ok(());
        };
        let seen = self.kernel().observe()?;
        if seen.ports.iter().any(|(_, master)| *master == bridge.name) {
            return Ok(());
        }
        let prefix = self.installation.port_prefix();
        let others = seen.links.iter().any(|link| link.name.as_str().starts_with(prefix));
        let mut plan = self.removal(network)?;
        if others {
            plan.retain(|op| *op != Op::UnloadFirewall);
        }
        self.take_away(&format!("network {:?}", network.name.as_str()), &plan)
    }

    /// Takes away the networks of this installation that nobody is on, and gives their names.
    ///
    /// # Errors
    /// [`EngineError`] when one could not be wholly removed.
    pub fn remove_unused_networks(&mut self) -> Result<Vec<String>, EngineError> {
        self.settle_plugs()?;
        let _lock = self.lock_networks()?;
        let networks = self.store.read(|records| records.networks())?;
        let networks: Vec<Network> = networks.into_iter().map(|record| record.network).collect();
        self.remove_if_unused_locked(&networks)
    }
}
