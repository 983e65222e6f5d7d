//! Which ports of the host a container's ports get; what is relayed to it from `::1`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use zdocker_host::sockets::{self, PortError};
use zdocker_host::store::{Records, StoreError};
use zdocker_net::attach;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::ports::{PortRange, PortRequest, Protocol, PublishedPort, WantedPort};
use zdocker_net::publish::{self, Relay};

use crate::engine::{Engine, random};
use crate::error::EngineError;
use crate::shim::loopback;

/// A container's published port with where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedView {
    /// The port.
    pub port: PublishedPort,
    /// Addresses and port of the host, with wildcards for all addresses of a family.
    pub reached_at: Vec<SocketAddr>,
}

impl Engine {
    /// Checks that the kernel can publish such ports, and that nobody holds one of those that are named.
    pub(super) fn check_ports(&mut self, ports: &[PortRequest]) -> Result<(), EngineError> {
        attach::check_ports(ports, None)?;
        for request in ports.iter().map(|port| port.or_at(self.config.ip)).collect::<Vec<_>>() {
            sockets::check_protocol(request.protocol())?;
            for wanted in request.fixed().into_iter().flat_map(|_| request.wanted()) {
                let Some(host_port) = wanted.host_port else { continue };
                let port = published(&wanted, host_port.first());
                match sockets::check_free(port.host_ip, port.host_port, port.protocol) {
                    Err(error @ PortError::InUse { .. }) => return self.held(&port, error),
                    checked => checked?,
                }
            }
        }
        Ok(())
    }

    /// The one who holds a port may be the relay of a container that runs: then the records refuse it, by its name and
    /// when it is taken.
    fn held(&mut self, port: &PublishedPort, error: PortError) -> Result<(), EngineError> {
        self.settle()?;
        match self.store.read(|records| records.port_holder(port))? {
            Some(_) => Ok(()),
            None => Err(error.into()),
        }
    }

    /// What a container with these endpoints has relayed from `::1`; it is warned of what is left out.
    pub(super) fn relays<'a>(
        &mut self,
        endpoints: impl IntoIterator<Item = (&'a Network, &'a Endpoint)>,
    ) -> Vec<Relay> {
        let mut relays = publish::relays(endpoints);
        let most = loopback::MAX_PORTS;
        if relays.len() > most {
            let left_out = relays.len() - most;
            self.journal.warn(&format!(
                "{left_out} published ports are not reached at [::1]: a container is reached at {most} there; \
                 use 127.0.0.1 or another address of this host"
            ));
            relays.truncate(most);
        }
        relays
    }

    /// A container's published ports, by container port.
    ///
    /// # Errors
    /// [`EngineError`] when there is no container that `text` means.
    pub fn published_ports(&mut self, text: &str) -> Result<Vec<PublishedView>, EngineError> {
        let container = self.find_container(text)?;
        let endpoints = self
            .store
            .read(|records| records.endpoints_of_container(&container.id))?;
        let mut views = Vec::new();
        for endpoint in endpoints.iter().map(|record| &record.endpoint) {
            views.extend(endpoint.ports.iter().map(|port| PublishedView {
                port: *port,
                reached_at: publish::reached_at(endpoint, port),
            }));
        }
        views.sort_by_key(|view| (view.port.container_port, view.port.protocol, view.port.host_port));
        Ok(views)
    }
}

/// The ports at the address of the network, or else of the configuration, where they name none.
pub(super) fn at_default_address(
    ports: &[PortRequest],
    network: &Network,
    configured: Option<IpAddr>,
) -> Vec<PortRequest> {
    let default = network.settings.host_binding.or(configured);
    ports.iter().map(|port| port.or_at(default)).collect()
}

fn published(wanted: &WantedPort, host_port: u16) -> PublishedPort {
    PublishedPort {
        host_ip: wanted.host_ip,
        host_port,
        container_port: wanted.container_port,
        protocol: wanted.protocol,
    }
}

/// Records ports of the host as an endpoint's, choosing them where that is left to us.
pub(super) fn take_ports(
    records: &Records,
    endpoint: &Id,
    requests: &[PortRequest],
) -> Result<Vec<PublishedPort>, EngineError> {
    let mut free = FreePorts::default();
    let mut taken = Vec::new();
    for request in requests {
        for wanted in request.wanted() {
            taken.push(take_port(records, endpoint, &wanted, request, &mut free)?);
        }
    }
    Ok(taken)
}

fn take_port(
    records: &Records,
    endpoint: &Id,
    wanted: &WantedPort,
    request: &PortRequest,
    free: &mut FreePorts,
) -> Result<PublishedPort, EngineError> {
    if let (Some(_), Some(host_port)) = (request.fixed(), wanted.host_port) {
        let port = published(wanted, host_port.first());
        return if records.insert_port(endpoint, &port)? {
            Ok(port)
        } else {
            Err(port_taken(records, &port)?)
        };
    }
    let mut candidates = match wanted.host_port {
        Some(range) => Candidates::from(range),
        None => free.of(wanted)?,
    };
    let chosen = loop {
        let Some(host_port) = candidates.next() else {
            break Err(EngineError::NoFreePort(request.to_string()));
        };
        let port = published(wanted, host_port);
        match sockets::check_free(port.host_ip, port.host_port, port.protocol) {
            Err(PortError::InUse { .. }) => {}
            Err(error) => break Err(error.into()),
            Ok(()) if records.insert_port(endpoint, &port)? => break Ok(port),
            Ok(()) => {}
        }
    };
    if wanted.host_port.is_none() {
        free.go_on_with(wanted, candidates);
    }
    chosen
}

/// Every port of a range once, from any of them on.
#[derive(Debug, Clone, Copy)]
struct Candidates {
    range: PortRange,
    next: u16,
    left: u32,
}

impl From<PortRange> for Candidates {
    fn from(range: PortRange) -> Self {
        Candidates {
            range,
            next: range.first(),
            left: u32::from(range.span()) + 1,
        }
    }
}

impl Iterator for Candidates {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        let port = self.next;
        self.next = if port == self.range.last() {
            self.range.first()
        } else {
            port + 1
        };
        Some(port)
    }
}

/// The ports that are given to whoever asks for none in particular; none is tried twice.
#[derive(Debug, Default)]
struct FreePorts(HashMap<(Option<IpAddr>, Protocol), Candidates>);

impl FreePorts {
    fn of(&mut self, wanted: &WantedPort) -> Result<Candidates, EngineError> {
        if let Some(candidates) = self.0.get(&(wanted.host_ip, wanted.protocol)) {
            return Ok(*candidates);
        }
        let range = sockets::ephemeral_ports()?;
        // So that a port that was just given back is not given to somebody else at once.
        let chance = u32::from(u16::from_be_bytes(random()?)) % (u32::from(range.span()) + 1);
        Ok(Candidates {
            // Less than the range is long.
            next: range.first() + chance as u16,
            ..Candidates::from(range)
        })
    }

    fn go_on_with(&mut self, wanted: &WantedPort, candidates: Candidates) {
        self.0.insert((wanted.host_ip, wanted.protocol), candidates);
    }
}

fn port_taken(records: &Records, port: &PublishedPort) -> Result<EngineError, StoreError> {
    let holder = match records.port_holder(port)? {
        Some(id) => records
            .container(&id)?
            .map_or_else(|| id.short().to_owned(), |c| c.name.to_string()),
        // Asking for a port twice is refused before: its endpoint is going away right now.
        None => "that is being removed".to_owned(),
    };
    Ok(EngineError::PortTaken {
        port: format!("{}/{}", port.host_port, port.protocol),
        holder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_tried_once() {
        let range = PortRange::new(65533, 65535).unwrap();
        assert_eq!(Candidates::from(range).collect::<Vec<_>>(), [65533, 65534, 65535]);
        let from_the_middle = Candidates {
            next: 65535,
            ..Candidates::from(range)
        };
        assert_eq!(from_the_middle.collect::<Vec<_>>(), [65535, 65533, 65534]);
    }
}
