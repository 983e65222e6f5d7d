//! What dead commands left half done, and what stands in the way of a new endpoint.

use std::time::Duration;

use zdocker_host::process::ProcessId;
use zdocker_host::store::{EndpointRecord, State};
use zdocker_net::attach::foreign;
use zdocker_net::model::Network;
use zdocker_net::names::Id;

use super::PlugRequest;
use super::leave::Plugged;
use crate::containers::is_alive;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::signals::ProcessRef;

/// How long somebody is waited for who is at the same endpoint.
const PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// Takes away endpoints that a command was plugging in or out when it died.
    pub(super) fn settle_dead_plugs(&mut self) -> Result<(), EngineError> {
        let half_done = self.store.read(|records| records.half_done_endpoints())?;
        let dead = half_done.into_iter().filter(|record| {
            let other_boot = record.boot.as_deref() != Some(&self.boot);
            other_boot || record.owner.is_some_and(|owner| owner != self.me && !is_alive(&owner))
        });
        self.take_records_away(dead.collect()).map(drop)
    }

    /// Takes away all that is half done and that nobody is at, and gives it.
    pub(super) fn settle_plugs(&mut self) -> Result<Vec<Plugged>, EngineError> {
        let half_done = self.store.read(|records| records.half_done_endpoints())?;
        self.take_records_away(half_done)
    }

    /// Takes away those of the endpoints that nobody is at, and gives them.
    fn take_records_away(&mut self, records: Vec<EndpointRecord>) -> Result<Vec<Plugged>, EngineError> {
        let boot = self.boot.clone();
        let (here, before): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record.boot.as_deref() == Some(&boot));
        let mut taken = self.claim_records(here)?;
        if !taken.is_empty() {
            self.delete_stray_ends(&taken)?;
            self.take_plugs_away(&taken)?;
        }
        // The kernel has nothing of another boot; what is called the same there now, and where it was, is somebody else's.
        let gone = self.claim_records(before)?;
        self.forget_plugs(&gone)?;
        taken.extend(gone);
        Ok(taken)
    }

    fn claim_records(&mut self, records: Vec<EndpointRecord>) -> Result<Vec<Plugged>, EngineError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let plugged = self.with_networks(records)?;
        self.claim_plugs(plugged)
    }

    fn with_networks(&mut self, endpoints: Vec<EndpointRecord>) -> Result<Vec<Plugged>, EngineError> {
        self.store.read(|records| {
            let mut plugged = Vec::new();
            for record in endpoints {
                if let Some(network) = records.network(&record.endpoint.network)? {
                    plugged.push((network.network, record.endpoint));
                }
            }
            Ok(plugged)
        })
    }

    /// Makes us the one that takes endpoints away: gives those that are recorded still, and that nobody alive is at.
    pub(super) fn claim_plugs(&mut self, plugged: Vec<Plugged>) -> Result<Vec<Plugged>, EngineError> {
        let me = self.me;
        self.store.write(|records| {
            let mut claimed = Vec::new();
            for (network, endpoint) in plugged {
                let now = records.endpoint(&endpoint.id)?;
                // What is not recorded any more may be another's by now that is called the same.
                let Some(now) = now.filter(|now| now.state != State::Ready && !is_anothers(now, me)) else {
                    continue;
                };
                records.set_endpoint_state(&endpoint.id, State::Removing, Some(me))?;
                // As it is now: ports that it has given back are others'.
                claimed.push((network, now.endpoint));
            }
            Ok(claimed)
        })
    }

    /// Sees to it that none of the requested endpoints is there: one that is being unplugged is waited for, one whose
    /// interface is gone is forgotten.
    ///
    /// # Errors
    /// [`EngineError::PluggedAlready`].
    pub(super) fn clear_the_way(&mut self, request: &PlugRequest) -> Result<(), EngineError> {
        for (network, wish) in &request.endpoints {
            let id = foreign::endpoint_id(&request.container, &network.id, &wish.interface);
            while let Some(record) = self.store.read(|records| records.endpoint(&id))? {
                self.clear(&record, network)?;
            }
        }
        Ok(())
    }

    fn clear(&mut self, record: &EndpointRecord, network: &Network) -> Result<(), EngineError> {
        if record.state == State::Ready {
            if self.is_plugged(record)? {
                return Err(EngineError::PluggedAlready {
                    container: record.endpoint.container.short().to_owned(),
                    network: network.name.to_string(),
                });
            }
            if !self.condemn(record)? {
                return Ok(());
            }
        } else if self.wait_for_owner(record)? {
            return Ok(());
        }
        self.take_records_away(vec![record.clone()]).map(drop)
    }

    /// Makes us the one that takes an endpoint away, unless its record has changed since it was read. Whether we are.
    fn condemn(&mut self, seen: &EndpointRecord) -> Result<bool, EngineError> {
        let (me, id) = (self.me, &seen.endpoint.id);
        self.store.write(|records| {
            let unchanged = records.endpoint(id)?.is_some_and(|now| now == *seen);
            if unchanged {
                records.set_endpoint_state(id, State::Removing, Some(me))?;
            }
            Ok(unchanged)
        })
    }

    /// Waits for whoever else is just plugging an endpoint in or out. Whether there was somebody.
    ///
    /// # Errors
    /// [`EngineError::Plugging`] when it takes too long.
    pub(super) fn wait_for_owner(&mut self, record: &EndpointRecord) -> Result<bool, EngineError> {
        let Some(owner) = record.owner.filter(|_| is_anothers(record, self.me)) else {
            return Ok(false);
        };
        if ProcessRef::from(owner).wait(Some(PATIENCE))? {
            return Ok(true);
        }
        Err(EngineError::Plugging {
            container: record.endpoint.container.short().to_owned(),
            pid: owner.pid,
        })
    }

    /// Whether the interface of an endpoint that is recorded as plugged in is there.
    pub(super) fn is_plugged(&mut self, record: &EndpointRecord) -> Result<bool, EngineError> {
        if record.boot.as_deref() != Some(&self.boot) {
            return Ok(false);
        }
        let network = self.store.read(|records| records.network(&record.endpoint.network))?;
        let network = network.map(|record| record.network);
        if network.as_ref().is_some_and(Network::has_pairs) {
            let host = &record.endpoint.host_interface;
            return Ok(self.kernel().observe_link(host)?.is_some());
        }
        if network.as_ref().is_some_and(|network| !network.driver.plugs_in()) {
            // A lease is there until it is given back.
            return Ok(true);
        }
        // Its interface is in the namespace alone.
        let sandbox = record.endpoint.sandbox.as_deref();
        Ok(sandbox.is_some_and(|path| std::path::Path::new(path).exists()))
    }

    /// Endpoints that are recorded as plugged in on `network`, the interfaces of which are gone with their namespaces, are
    /// taken away. Ends at the first that is there.
    pub(super) fn is_used(&mut self, network: &Id) -> Result<bool, EngineError> {
        // One after the other: there may be many, and each have many ports.
        while let Some(record) = self.store.read(|records| records.first_endpoint_of_network(network))? {
            let in_hand = record.state != State::Ready
                && record.boot.as_deref() == Some(&self.boot)
                && record.owner.is_some_and(|owner| is_alive(&owner));
            let used = in_hand || record.state == State::Ready && self.is_plugged(&record)?;
            if used || !self.condemn(&record)? {
                return Ok(true);
            }
            if self.take_records_away(vec![record])?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes away every endpoint whose interface is gone, as all are after a boot: it may hold what somebody asks for now.
    /// Whether there was any.
    pub(super) fn forget_gone(&mut self) -> Result<bool, EngineError> {
        let mut any = false;
        for network in self.store.read(|records| records.networks())? {
            for record in self
                .store
                .read(|records| records.endpoints_of_network(&network.network.id))?
            {
                if record.state == State::Ready && !self.is_plugged(&record)? && self.condemn(&record)? {
                    self.take_records_away(vec![record])?;
                    any = true;
                }
            }
        }
        Ok(any)
    }
}

/// Whether somebody else is alive who plugs an endpoint in or out, or changes it.
pub(super) fn is_anothers(record: &EndpointRecord, me: ProcessId) -> bool {
    record.owner.is_some_and(|owner| owner != me && is_alive(&owner))
}
