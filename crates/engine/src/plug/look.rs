//! Looking at what is plugged in, and changing what is published of it.

use zdocker_host::store::{EndpointRecord, Records, State};
use zdocker_net::model::{Bandwidth, Endpoint, HostInVlan, Network};
use zdocker_net::names::{Id, InterfaceName, MacAddress};
use zdocker_net::ports::PublishedPort;
use zdocker_net::{publish, shaping};

use super::leave::Plugged;
use crate::check::describe;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::reload::{Difference, Scope, Subject};

impl Engine {
    /// Every endpoint that is recorded as plugged in, with its network.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read.
    pub fn plugged(&mut self) -> Result<Vec<(Network, Endpoint)>, EngineError> {
        let boot = self.boot.clone();
        self.store.read(|records| {
            let mut plugged = Vec::new();
            for record in records.endpoints_of_boot(&boot)? {
                plugged.extend(with_network(records, Some(record), &boot)?);
            }
            Ok(plugged)
        })
    }

    fn plugged_endpoint(&mut self, endpoint: &Id) -> Result<Plugged, EngineError> {
        let boot = self.boot.clone();
        let found = self.store.read(|records| {
            let record = records.endpoint(endpoint)?;
            with_network(records, record, &boot)
        })?;
        found.ok_or_else(|| EngineError::NotPlugged(endpoint.short().to_owned()))
    }

    /// The endpoint that a container's interface is recorded as, with its network.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read.
    pub fn plugged_at(
        &mut self,
        container: &Id,
        interface: &InterfaceName,
    ) -> Result<Option<(Network, Endpoint)>, EngineError> {
        let boot = self.boot.clone();
        self.store.read(|records| {
            for record in records.endpoints_of_container(container)? {
                let is_it = record.endpoint.interface == *interface;
                let found = with_network(records, Some(record).filter(|_| is_it), &boot)?;
                // Some have but addresses.
                if let Some(found) = found.filter(|(network, _)| network.driver.plugs_in()) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// The Ethernet address of an interface of the host, if it is there and has one.
    ///
    /// # Errors
    /// [`EngineError`] when the host cannot be read.
    pub fn address_of_link(&mut self, name: &InterfaceName) -> Result<Option<MacAddress>, EngineError> {
        Ok(self.kernel().observe_link(name)?.and_then(|link| link.mac))
    }

    /// Whether the host is the gateway of another VLAN of a network's bridge, and not of the network's own.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read.
    pub fn is_host_in_other_vlan(&mut self, network: &Id) -> Result<bool, EngineError> {
        let record = self.store.read(|records| records.network(network))?;
        Ok(record.is_some_and(|record| record.network.settings.host_in_vlan == HostInVlan::Elsewhere))
    }

    /// The Ethernet address of the parent interface of an endpoint, where its network has one.
    ///
    /// # Errors
    /// [`EngineError`] when the records or the host cannot be read.
    pub fn parent_mac(&mut self, endpoint: &Endpoint) -> Result<Option<MacAddress>, EngineError> {
        let network = self.store.read(|records| records.network(&endpoint.network))?;
        let Some(parent) = network.and_then(|record| record.network.parent) else {
            return Ok(None);
        };
        self.address_of_link(&parent.name)
    }

    /// What differs from what was plugged in of a container to a network, a line each.
    ///
    /// # Errors
    /// [`EngineError`] when the records or the host cannot be read.
    pub fn check_plugged(&mut self, container: &Id, network: &Id) -> Result<Vec<String>, EngineError> {
        let names = |difference: &&Difference| match &difference.subject {
            Subject::Container(other) => other == container,
            Subject::Host | Subject::Tables | Subject::Network(_) | Subject::Elements => true,
        };
        let found = self.compare(&Scope::These(vec![network.clone()]))?;
        let lines = found.differences.iter().filter(names);
        let refused = found.refused.iter().map(ToString::to_string);
        Ok(lines
            .map(|difference| describe(difference, &self.installation))
            .chain(refused)
            .collect())
    }

    /// Publishes these ports of an endpoint, and no others.
    ///
    /// # Errors
    /// [`EngineError`] when a port is published already, or a step fails; then all is as before.
    pub fn republish(&mut self, endpoint: &Id, ports: &[PublishedPort]) -> Result<(), EngineError> {
        let container = self.plugged_endpoint(endpoint)?.1.container;
        self.hold_plugs(&container, |engine| engine.republish_held(endpoint, ports))
    }

    fn republish_held(&mut self, endpoint: &Id, ports: &[PublishedPort]) -> Result<(), EngineError> {
        let (network, before) = self.plugged_endpoint(endpoint)?;
        let after = Endpoint {
            ports: ports.to_vec(),
            ..before.clone()
        };
        let common = Endpoint {
            ports: publish::common(&before.ports, ports),
            ..before.clone()
        };
        // Who dies in between leaves all recorded that may exist.
        let both = with_ports_of(&after, &before);
        self.record_ports(&before, &both)?;
        self.take_away(
            "what is published no more",
            &publish::unpublish(&network, &before, &common),
        )?;
        match self.apply(&publish::publish(&network, &common, &after)) {
            Ok(()) => self.record_ports(&both, &after),
            Err(error) => {
                let published = self.apply(&publish::publish(&network, &common, &before));
                let recorded = published.and_then(|()| self.record_ports(&both, &before));
                Err(error.and_then(recorded))
            }
        }
    }

    pub(super) fn record_ports(&mut self, before: &Endpoint, after: &Endpoint) -> Result<(), EngineError> {
        if before == after {
            return Ok(());
        }
        let me = self.me;
        self.store.write(|records| {
            records.delete_ports(&before.id, &before.ports)?;
            for port in &after.ports {
                if !records.insert_port(&after.id, port)? {
                    return Err(EngineError::port_published(port));
                }
            }
            Ok(records.set_endpoint(after, State::Ready, Some(me))?)
        })
    }

    /// Limits an endpoint so, and no more otherwise.
    ///
    /// # Errors
    /// [`EngineError`] when a step fails.
    pub fn relimit(&mut self, endpoint: &Id, bandwidth: Bandwidth) -> Result<(), EngineError> {
        let container = self.plugged_endpoint(endpoint)?.1.container;
        self.hold_plugs(&container, |engine| engine.relimit_held(endpoint, bandwidth))
    }

    fn relimit_held(&mut self, endpoint: &Id, bandwidth: Bandwidth) -> Result<(), EngineError> {
        let (network, before) = self.plugged_endpoint(endpoint)?;
        let mut after = before.clone();
        after.settings.bandwidth = bandwidth;
        let me = self.me;
        self.store
            .write(|records| Ok::<_, EngineError>(records.set_endpoint(&after, State::Ready, Some(me))?))?;
        self.relimit_link(&network, &before, &after)
    }

    /// What differs from the limits that an endpoint is recorded with, a line each.
    ///
    /// # Errors
    /// [`EngineError`] when the host cannot be looked at.
    pub fn check_limits(&mut self, endpoint: &Endpoint) -> Result<Vec<String>, EngineError> {
        let Bandwidth { receive, send, .. } = endpoint.settings.bandwidth;
        let (received, redirected) = self.kernel().observe_limits(endpoint.host_end())?;
        let queue = shaping::send_queue(endpoint);
        let sent = redirected && self.kernel().observe_limits(&queue)?.0;
        let lost = |what: &str| format!("what the container {what} is not limited");
        let lines = [
            (receive.is_some() && !received).then(|| lost("receives")),
            (send.is_some() && !sent).then(|| lost("sends")),
        ];
        Ok(lines.into_iter().flatten().collect())
    }

    /// Changes the limits of what is on the host of an endpoint.
    pub(super) fn relimit_link(
        &mut self,
        network: &Network,
        before: &Endpoint,
        after: &Endpoint,
    ) -> Result<(), EngineError> {
        self.take_away("what limited the endpoint", &shaping::lift(before))?;
        let mtu = after.settings.mtu.unwrap_or(network.pair_mtu());
        self.apply(&shaping::limit(after, mtu))
    }

    /// Puts the tables back as the records want them.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be done.
    pub fn restore_plugs(&mut self) -> Result<(), EngineError> {
        let _lock = self.lock_networks()?;
        if !self.recorded()?.real_networks().any(Network::passes_tables) {
            return Ok(());
        }
        self.restore_firewall().map(drop)
    }
}

/// An endpoint with the ports of another besides.
pub(super) fn with_ports_of(endpoint: &Endpoint, other: &Endpoint) -> Endpoint {
    let mut both = endpoint.clone();
    both.ports.extend(publish::beside(&other.ports, &endpoint.ports));
    both
}

/// What is plugged in by a record, with its network.
fn with_network(records: &Records, record: Option<EndpointRecord>, boot: &str) -> Result<Option<Plugged>, EngineError> {
    let is_plugged = |record: &EndpointRecord| record.state == State::Ready && record.boot.as_deref() == Some(boot);
    let Some(record) = record.filter(is_plugged) else {
        return Ok(None);
    };
    let network = records.network(&record.endpoint.network)?;
    Ok(network.map(|network| (network.network, record.endpoint)))
}
