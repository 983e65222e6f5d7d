//! Networks on a parent interface (`macvlan`, `ipvlan`): whether the parent is there, and making it where it is ours.

use zdocker_host::store::{NetworkRecord, State};
use zdocker_net::model::{MadeParent, Network, ParentDevice};
use zdocker_net::op::Op;
use zdocker_net::plan;

use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// The network of `record`, which has a parent, real. In the usual case this is one message to the kernel.
    ///
    /// # Errors
    /// [`EngineError`] when the parent is gone and not ours to make, or cannot be made.
    pub(super) fn real_on_parent(&mut self, record: NetworkRecord) -> Result<Network, EngineError> {
        if self.is_real_on_parent(&record)? {
            return Ok(record.network);
        }
        let _lock = self.lock_networks()?;
        self.finish_half_done_networks()?;
        // Somebody may have done it while we waited.
        let record = self.find_network(record.network.id.as_str())?;
        self.mend_parent(&record)?;
        Ok(self.find_network(record.network.id.as_str())?.network)
    }

    /// Makes the network of `record`, which has a parent, real if it is not. To be called with the networks' lock held.
    pub(crate) fn mend_parent(&mut self, record: &NetworkRecord) -> Result<(), EngineError> {
        let mut record = record.clone();
        if self.is_real_on_parent(&record)? {
            return Ok(());
        }
        if self.is_somebody_elses(&record)?
            && let Some(parent) = &mut record.network.parent
        {
            parent.made = None;
            self.store
                .write(|records| Ok::<_, EngineError>(records.set_network(&record.network)?))?;
        }
        let seen = self.kernel().observe()?;
        self.apply(&plan::create_network(&record.network, &seen))?;
        self.mark_real(&record.network.id)
    }

    /// Whether the parent of a network is there, and known to be so in this boot.
    ///
    /// # Errors
    /// [`EngineError::NoParent`] when it is not, and is not ours to make.
    pub(super) fn is_real_on_parent(&mut self, record: &NetworkRecord) -> Result<bool, EngineError> {
        let Some(parent) = &record.network.parent else {
            return Ok(true);
        };
        let there = self.kernel().observe_link(&parent.name)?.is_some();
        // Without its base, a VLAN cannot be made either.
        let base = match &parent.made {
            _ if there => None,
            None => Some(&parent.name),
            Some(MadeParent::Vlan { on, .. }) => Some(on),
            Some(MadeParent::Dummy) => None,
        };
        if let Some(base) = base
            && self.kernel().observe_link(base)?.is_none()
        {
            return Err(EngineError::NoParent {
                parent: base.to_string(),
                network: record.network.name.to_string(),
            });
        }
        let this_boot = record.boot.as_deref() == Some(&self.boot);
        Ok(there && this_boot && record.state == State::Ready)
    }

    /// Whether a parent that we would make is there without our having made it in this boot.
    fn is_somebody_elses(&mut self, record: &NetworkRecord) -> Result<bool, EngineError> {
        let Some(parent) = record.network.parent.clone().filter(|parent| parent.made.is_some()) else {
            return Ok(false);
        };
        if self.is_ours(&parent)? {
            return Ok(false);
        }
        Ok(self.kernel().observe_link(&parent.name)?.is_some())
    }

    /// Whether we made a parent in this boot, or were about to: for whichever of the networks that are on it.
    fn is_ours(&mut self, parent: &ParentDevice) -> Result<bool, EngineError> {
        let networks = self.store.read(|records| records.networks())?;
        let mut on_it = networks
            .iter()
            .filter(|record| shares(&record.network, parent))
            .filter(|record| record.network.parent.as_ref().is_some_and(|other| other.made.is_some()));
        Ok(on_it.any(|record| match &record.boot {
            Some(boot) => *boot == self.boot,
            // It is a new network's.
            None => true,
        }))
    }

    /// The steps that take a network on a parent away: the parent goes with the last network on it, if it is ours.
    pub(super) fn parent_removal(&mut self, network: &Network, parent: &ParentDevice) -> Result<Vec<Op>, EngineError> {
        let networks = self.store.read(|records| records.networks())?;
        let shared = networks
            .iter()
            .any(|other| other.network.id != network.id && shares(&other.network, parent));
        if shared || !self.is_ours(parent)? {
            return Ok(Vec::new());
        }
        Ok(plan::remove_network(network))
    }
}

/// Whether `network` has this parent.
fn shares(network: &Network, parent: &ParentDevice) -> bool {
    network.parent.as_ref().is_some_and(|other| other.name == parent.name)
}
