//! Seeing to it that a recorded network is real before a container is plugged in: after a boot, after somebody deleted its
//! bridge or flushed the firewall, and for the default network at its first use.

use zdocker_host::store::{NetworkRecord, Records, State};
use zdocker_net::firewall::network_elements;
use zdocker_net::model::{BridgeDevice, DEFAULT_BRIDGE_DEVICE, Driver, Endpoint, Network};
use zdocker_net::op::Op;
use zdocker_net::plan::{self, Missing};
use zdocker_net::seen::Seen;
use zdocker_net::spec::{self, NetworkRequest, SpecError, Surroundings};

use super::create::birth;
use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// The network of `record`, real. In the usual case this is two messages to the kernel.
    ///
    /// # Errors
    /// [`EngineError`] when it is being created or removed, or cannot be made real.
    pub(crate) fn real_network(&mut self, record: NetworkRecord) -> Result<Network, EngineError> {
        if record.network.driver != Driver::Bridge {
            return Ok(record.network);
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
        let missing = plan::missing(bridge, &self.kernel().observe_bridge(&bridge.name)?);
        if missing == Missing::NotOurs {
            let network = record.network.name.to_string();
            return Err(EngineError::NotOurs {
                device: bridge.name.to_string(),
                network,
            });
        }
        Ok(missing)
    }

    fn mend(&mut self, record: &NetworkRecord) -> Result<(), EngineError> {
        let network = &record.network;
        match self.what_is_missing(record)? {
            Missing::Nothing => return Ok(()),
            Missing::Firewall => self.restore_firewall()?,
            Missing::Bridge | Missing::NotOurs => {
                self.restore_damaged_firewall()?;
                // Its elements outlive a bridge that somebody else deleted.
                self.take_away(&[Op::DeleteElements(network_elements(network))]);
                let seen = self.kernel().observe()?;
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
    pub(super) fn restore_damaged_firewall(&mut self) -> Result<(), EngineError> {
        let boot = self.boot.clone();
        let (networks, _) = self.store.read(|records| real_things(records, &boot))?;
        if networks.is_empty() || self.kernel().has_whole_firewall()? {
            return Ok(());
        }
        self.restore_firewall()
    }

    /// Loads the tables with the elements of all that is real, and of nothing else.
    pub(crate) fn restore_firewall(&mut self) -> Result<(), EngineError> {
        let boot = self.boot.clone();
        let (networks, endpoints) = self.store.read(|records| real_things(records, &boot))?;
        let of = |endpoint: &Endpoint| networks.iter().find(|network| network.id == endpoint.network);
        let plugged = endpoints.iter().filter_map(|endpoint| Some((of(endpoint)?, endpoint)));
        self.apply(&plan::restore_firewall(&networks, plugged))
    }

    /// Chooses subnet and device of the default network.
    fn equip_default_network(&mut self, mut network: Network) -> Result<Network, EngineError> {
        let device: zdocker_net::names::InterfaceName = DEFAULT_BRIDGE_DEVICE.parse()?;
        let (seen, pools, birth) = (self.kernel().observe()?, self.pools()?, birth()?);
        if seen.link(&device).is_some() {
            return Err(SpecError::DeviceExists(device).into());
        }
        let bip = self.config.bip.clone();
        self.store.write(|records| {
            let networks: Vec<Network> = records.networks()?.into_iter().map(|record| record.network).collect();
            let around = Surroundings {
                networks: &networks,
                seen: &seen,
                pools: &pools,
            };
            let request = NetworkRequest {
                // Any name that is free: only subnet and MTU of what comes out are used.
                name: format!("default-{}", birth.id.short()),
                subnets: bip.into_iter().collect(),
                ipv4: true,
                ..NetworkRequest::default()
            };
            let like = spec::create(&request, &around, birth)?;
            network.pools = like.pools;
            network.bridge = like.bridge.map(|bridge| BridgeDevice { name: device, ..bridge });
            records.equip_network(&network)?;
            Ok(network)
        })
    }
}

/// The networks and endpoints that are real in the boot `boot`.
pub(crate) fn real_things(records: &Records, boot: &str) -> Result<(Vec<Network>, Vec<Endpoint>), EngineError> {
    let networks = records.networks()?.into_iter().filter(|record| {
        record.state == State::Ready && record.boot.as_deref() == Some(boot) && !record.network.pools.is_empty()
    });
    let networks = networks.map(|record| record.network).collect();
    let endpoints = records
        .endpoints_of_boot(boot)?
        .into_iter()
        .filter(|record| record.state == State::Ready);
    Ok((networks, endpoints.map(|record| record.endpoint).collect()))
}
