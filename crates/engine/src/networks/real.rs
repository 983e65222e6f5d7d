//! Seeing to it that a recorded network is real before a container is plugged in: after a boot, after somebody deleted
//! its bridge or flushed the firewall, and for the default network at its first use.

use zdocker_host::store::{NetworkRecord, Records, State};
use zdocker_net::firewall::network_elements;
use zdocker_net::model::{DEFAULT_BRIDGE_DEVICE, Driver, Endpoint, Network};
use zdocker_net::op::Op;
use zdocker_net::plan::{self, Missing};
use zdocker_net::seen::Seen;
use zdocker_net::spec::NetworkRequest;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plug::refuse_missing_devices;

impl Engine {
    /// The network of `record`, real. In the usual case this is two messages to the kernel.
    ///
    /// # Errors
    /// [`EngineError`] when it is being created or removed, or cannot be made real.
    pub(crate) fn real_network(&mut self, record: NetworkRecord) -> Result<Network, EngineError> {
        refuse_configuration(&record.network)?;
        match record.network.driver {
            Driver::Bridge => {}
            Driver::Macvlan | Driver::Ipvlan => return self.real_on_parent(record),
            Driver::Host | Driver::None | Driver::Ptp | Driver::Adopted => return Ok(record.network),
        }
        if self.what_is_missing(&record)? == Missing::Nothing {
            return Ok(record.network);
        }
        let _lock = self.lock_networks()?;
        self.finish_half_done_networks()?;
        // Somebody may have done it while we waited.
        let mut record = self.find_network(record.network.id.as_str())?;
        if record.network.bridge.is_none() {
            record.network = self.equip_default_network(record.network)?;
        }
        self.mend(&record)?;
        Ok(record.network)
    }

    fn what_is_missing(&mut self, record: &NetworkRecord) -> Result<Missing, EngineError> {
        let Some(bridge) = &record.network.bridge else {
            return Ok(Missing::Bridge);
        };
        if record.state != State::Ready {
            return Ok(Missing::Bridge);
        }
        let missing = plan::missing(&record.network, bridge, &self.kernel().observe_bridge(bridge)?);
        if missing == Missing::NotOurs {
            let network = record.network.name.to_string();
            return Err(EngineError::NotOurs {
                device: bridge.name.to_string(),
                network,
            });
        }
        Ok(missing)
    }

    /// Makes the bridge network of `record` real if it is not. To be called with the networks' lock held.
    pub(crate) fn mend(&mut self, record: &NetworkRecord) -> Result<(), EngineError> {
        let network = &record.network;
        match self.what_is_missing(record)? {
            Missing::Nothing => return Ok(()),
            Missing::Firewall => drop(self.restore_firewall()?),
            Missing::Bridge | Missing::NotOurs | Missing::Parent => {
                self.restore_damaged_firewall()?;
                // Its elements outlive a bridge that somebody else deleted.
                self.take_away(
                    "what an earlier bridge left",
                    &[Op::DeleteElements(network_elements(network))],
                )?;
                let seen = self.kernel().observe()?;
                refuse_missing_devices(network, &seen)?;
                self.apply(&plan::create_network(network, &seen))?;
                self.rejoin(network, &seen)?;
            }
        }
        self.mark_real(&network.id)
    }

    /// Puts the ports of a network's endpoints back into its bridge.
    pub(crate) fn rejoin(&mut self, network: &Network, seen: &Seen) -> Result<(), EngineError> {
        let boot = self.boot.clone();
        let (_, endpoints) = self.store.read(|records| real_things(records, &boot))?;
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.network == network.id) {
            if let Err(error) = self.apply(&plan::rejoin(network, [endpoint], seen)) {
                // Its container may have ended since we looked.
                let seen = self.kernel().observe()?;
                if !plan::rejoin(network, [endpoint], &seen).is_empty() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Restores the firewall for the networks that are real, if it is damaged: a new network brings but its own
    /// elements.
    pub(crate) fn restore_damaged_firewall(&mut self) -> Result<(), EngineError> {
        let boot = self.boot.clone();
        // Of endpoints there may be many.
        let networks = self.store.read(|records| real_networks(records, &boot))?;
        if !networks.iter().any(Network::passes_tables) || self.kernel().has_whole_firewall()? {
            return Ok(());
        }
        self.restore_firewall().map(drop)
    }

    /// Loads the tables with the elements of all that is real or being plugged in, and of nothing else; gives the
    /// steps. To be called with the networks' lock held.
    pub(crate) fn restore_firewall(&mut self) -> Result<Vec<Op>, EngineError> {
        let elements = self.recorded()?.wanted_elements();
        let plan = vec![Op::RestoreFirewall(elements.clone())];
        self.apply(&plan)?;
        self.follow_records(elements.into_iter().collect(), |_| true)?;
        Ok(plan)
    }

    /// What the network of `record` is, or would be, and whether it is real.
    pub(crate) fn planned_network(&mut self, record: NetworkRecord) -> Result<(Network, bool), EngineError> {
        refuse_configuration(&record.network)?;
        match record.network.driver {
            Driver::Bridge => {}
            Driver::Macvlan | Driver::Ipvlan => {
                let real = self.is_real_on_parent(&record)?;
                return Ok((record.network, real));
            }
            Driver::Host | Driver::None | Driver::Ptp | Driver::Adopted => return Ok((record.network, true)),
        }
        if record.network.bridge.is_none() {
            return Ok((self.choose_default_network(record.network)?, false));
        }
        let real = self.what_is_missing(&record)? == Missing::Nothing;
        Ok((record.network, real))
    }

    /// The steps that make networks real, one after the other.
    pub(crate) fn create_plan(&mut self, networks: &[Network]) -> Result<Vec<Op>, EngineError> {
        let mut plan = Vec::new();
        for network in networks {
            let seen = self.kernel().observe()?;
            let steps = plan::create_network(network, &seen);
            // What a network before it has done for the whole host is not done again.
            plan.extend(steps.into_iter().filter(|op| !plan.contains(op)).collect::<Vec<_>>());
        }
        Ok(plan)
    }

    fn equip_default_network(&mut self, network: Network) -> Result<Network, EngineError> {
        let network = self.choose_default_network(network)?;
        self.store
            .write(|records| Ok::<_, EngineError>(records.equip_network(&network)?))?;
        Ok(network)
    }

    /// Chooses subnet and device of the default network.
    fn choose_default_network(&mut self, mut network: Network) -> Result<Network, EngineError> {
        let device: zdocker_net::names::InterfaceName = DEFAULT_BRIDGE_DEVICE.parse()?;
        let request = NetworkRequest {
            // Any name that is free: only subnet and MTU of what comes out are used.
            name: format!("default-{}", network.id.short()),
            subnets: self.config.bip.clone().into_iter().collect(),
            options: vec![("bridge".to_owned(), device.to_string())],
            ipv4: true,
            ..NetworkRequest::default()
        };
        let like = self.plan_network(&request)?.network;
        network.pools = like.pools;
        network.bridge = like.bridge;
        Ok(network)
    }
}

/// Nobody is plugged into what is but a configuration.
fn refuse_configuration(network: &Network) -> Result<(), EngineError> {
    match network.settings.config_only {
        Some(_) => Err(EngineError::ConfigOnly(network.name.to_string())),
        None => Ok(()),
    }
}

/// The networks that are real in the boot `boot`.
fn real_networks(records: &Records, boot: &str) -> Result<Vec<Network>, EngineError> {
    let networks = records.networks()?.into_iter().filter(|record| {
        record.state == State::Ready && record.boot.as_deref() == Some(boot) && record.network.driver.plugs_in()
    });
    Ok(networks.map(|record| record.network).collect())
}

/// The networks and endpoints that are real in the boot `boot`.
fn real_things(records: &Records, boot: &str) -> Result<(Vec<Network>, Vec<Endpoint>), EngineError> {
    let networks = real_networks(records, boot)?;
    let endpoints = records
        .endpoints_of_boot(boot)?
        .into_iter()
        .filter(|record| record.state == State::Ready);
    Ok((networks, endpoints.map(|record| record.endpoint).collect()))
}
