//! Creating a network: choose → record → plan → apply → mark as real.

use zdocker_host::store::State;
use zdocker_net::model::Network;
use zdocker_net::names::{Id, MacAddress};
use zdocker_net::op::Op;
use zdocker_net::plan;
use zdocker_net::spec::{self, Birth, NetworkRequest, Surroundings};

use crate::engine::{Engine, now, random};
use crate::error::EngineError;

/// A new network, and the steps that made it real.
#[derive(Debug, Clone)]
pub struct Created {
    /// The network.
    pub network: Network,
    /// The steps.
    pub plan: Vec<Op>,
}

/// Chance and time for a new network.
pub(super) fn birth() -> Result<Birth, EngineError> {
    Ok(Birth {
        id: Id::new(random()?),
        mac: MacAddress::local(random()?),
        now: now(),
    })
}

impl Engine {
    /// What creating the network would do. Nothing is changed.
    ///
    /// # Errors
    /// [`EngineError`] when it would be refused.
    pub fn plan_network(&mut self, request: &NetworkRequest) -> Result<Created, EngineError> {
        let (birth, pools) = (birth()?, self.pools()?);
        let seen = self.kernel().observe()?;
        let networks: Vec<Network> = self
            .store
            .read(|r| Ok::<_, EngineError>(r.networks()?.into_iter().map(|n| n.network).collect()))?;
        let around = Surroundings {
            networks: &networks,
            seen: &seen,
            pools: &pools,
        };
        let network = spec::create(request, &around, birth)?;
        let plan = plan::create_network(&network, &seen);
        Ok(Created { network, plan })
    }

    /// Creates a network.
    ///
    /// # Errors
    /// [`EngineError`] when the request is refused, or a step fails; then nothing of the network remains.
    pub fn create_network(&mut self, request: &NetworkRequest) -> Result<Created, EngineError> {
        self.refuse_where_serving("creating networks")?;
        let _lock = self.lock_networks()?;
        self.finish_half_done_networks()?;
        self.restore_damaged_firewall()?;
        let Created { network, plan } = self.plan_network(request)?;
        if network.settings.config_only.is_some() {
            self.store
                .write(|records| records.insert_network(&network, State::Ready))?;
            return Ok(Created { network, plan });
        }
        self.store
            .write(|records| records.insert_network(&network, State::Creating))?;
        match self.apply(&plan) {
            Ok(()) => self.mark_real(&network.id)?,
            Err(error) => {
                self.finish_half_done_networks()?;
                return Err(error);
            }
        }
        Ok(Created { network, plan })
    }

    /// Records that a network is real in this boot.
    pub(crate) fn mark_real(&mut self, network: &Id) -> Result<(), EngineError> {
        let boot = self.boot.clone();
        self.store
            .write(|records| Ok(records.set_network_state(network, State::Ready, Some(&boot))?))
    }
}
