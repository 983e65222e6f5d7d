//! Interfaces that somebody else made: ports are published of them and limits set, and nothing else is done to them.

use zdocker_net::attach::foreign::{Addresses, ForeignRequest};
use zdocker_net::model::{Bandwidth, Callers, Driver, Endpoint, InterfaceAddress, Network};
use zdocker_net::names::{Id, InterfaceName, Name};
use zdocker_net::op::{NamespacePath, Op, Place};
use zdocker_net::plan;
use zdocker_net::ports::PublishedPort;
use zdocker_net::subnet::Family;

use super::look::with_ports_of;
use super::{PlugRequest, UnplugRequest};
use crate::engine::Engine;
use crate::error::EngineError;

/// An interface that somebody else made.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// How the other engine's network is called whose interface it is.
    pub network: Name,
    /// As the other engine calls it.
    pub container: Id,
    /// Its network namespace.
    pub namespace: NamespacePath,
    /// The interface within it.
    pub interface: InterfaceName,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// What is to be done to somebody else's interface; what is missing stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Adoption {
    /// What is published of it, and who is masqueraded that comes by it.
    pub ports: Option<(Vec<PublishedPort>, Callers)>,
    /// How much it sends and receives.
    pub bandwidth: Option<Bandwidth>,
}

/// Where somebody else's interface is found on the host.
struct Found {
    /// The host's end of its veth pair.
    pair: Option<InterfaceName>,
    /// The host's interface that the way to it leads by: the pair's end, or the bridge that it is in.
    way: Option<InterfaceName>,
    mtu: Option<u32>,
}

impl Engine {
    /// Publishes ports of somebody else's interface and limits it.
    ///
    /// # Errors
    /// [`EngineError`] when a port is published already, when there is no interface of the host that could be limited,
    /// or when a step fails; then all is as before.
    pub fn adopt(&mut self, stranger: &Stranger, adoption: &Adoption) -> Result<(), EngineError> {
        let found = self.find_stranger(stranger)?;
        if adoption.bandwidth.is_some_and(|limits| limits != Bandwidth::default()) && found.pair.is_none() {
            return Err(EngineError::NoPair(stranger.interface.to_string()));
        }
        let serves_v4 = |(ports, _): &(Vec<PublishedPort>, Callers)| ports.iter().any(|port| port.serves(Family::V4));
        if let Some(way) = found
            .way
            .as_ref()
            .filter(|_| adoption.ports.as_ref().is_some_and(serves_v4))
        {
            self.apply(&[Op::SetSysctl {
                place: Place::Host,
                key: format!("net/ipv4/conf/{way}/route_localnet"),
                value: "1".to_owned(),
            }])?;
        }
        match self.plugged_at(&stranger.container, &stranger.interface)? {
            Some(_) => self.readopt(&stranger.container, &stranger.interface, adoption),
            None => self
                .plug(&PlugRequest {
                    container: stranger.container.clone(),
                    namespace: stranger.namespace.clone(),
                    endpoints: vec![(adopted_network(&stranger.network), wish(stranger, adoption, found))],
                })
                .map(drop),
        }
    }

    fn readopt(&mut self, container: &Id, interface: &InterfaceName, adoption: &Adoption) -> Result<(), EngineError> {
        self.hold_plugs(container, |engine| {
            let Some((network, endpoint)) = engine.plugged_at(container, interface)? else {
                return Err(EngineError::NotPlugged(interface.to_string()));
            };
            let mut after = endpoint.clone();
            if let Some((ports, callers)) = &adoption.ports {
                after.ports.clone_from(ports);
                after.settings.masquerade = *callers;
            }
            after.settings.bandwidth = adoption.bandwidth.unwrap_or(after.settings.bandwidth);
            let both = with_ports_of(&after, &endpoint);
            engine.record_ports(&endpoint, &both)?;
            match engine.change_stranger(&network, &endpoint, &after) {
                Ok(()) => engine.record_ports(&both, &after),
                Err(error) => {
                    let recorded = engine.record_ports(&both, &endpoint);
                    Err(error.and_then(recorded))
                }
            }
        })
    }

    fn change_stranger(&mut self, network: &Network, before: &Endpoint, after: &Endpoint) -> Result<(), EngineError> {
        let namespace = NamespacePath(before.sandbox.clone().unwrap_or_default());
        if before.settings.bandwidth != after.settings.bandwidth {
            self.relimit_link(network, before, after)?;
        }
        let plan = plan::change(network, before, after, &namespace);
        let (gone, new): (Vec<Op>, Vec<Op>) = plan.into_iter().partition(|op| matches!(op, Op::DeleteElements(_)));
        self.take_away("what is published no more", &gone)?;
        self.apply(&new)
    }

    /// Takes back what was done to somebody else's interface: its ports, its limits, or both, which then is recorded no
    /// more.
    ///
    /// # Errors
    /// [`EngineError`] when a part could not be removed; a later command tries again.
    pub fn release(&mut self, container: &Id, interface: &InterfaceName, ports: bool) -> Result<(), EngineError> {
        let Some((network, endpoint)) = self.plugged_at(container, interface)? else {
            return Ok(());
        };
        let rest = if ports {
            endpoint.settings.bandwidth != Bandwidth::default()
        } else {
            !endpoint.ports.is_empty()
        };
        if rest {
            let adoption = Adoption {
                ports: ports.then(|| (Vec::new(), Callers::default())),
                bandwidth: (!ports).then(Bandwidth::default),
            };
            return self.readopt(container, interface, &adoption);
        }
        self.unplug(&UnplugRequest {
            container: container.clone(),
            namespace: endpoint.sandbox.clone().map(NamespacePath),
            endpoints: vec![(network, ForeignRequest::new(interface.clone()))],
            remove_unused: true,
        })
    }

    fn find_stranger(&mut self, stranger: &Stranger) -> Result<Found, EngineError> {
        let inside = self.kernel().observe_inside(&stranger.namespace, &[])?;
        let gone = || EngineError::NoInterface {
            interface: stranger.interface.to_string(),
            namespace: stranger.namespace.0.clone(),
        };
        let inside = inside.ok_or_else(gone)?;
        let own = inside.interface(&stranger.interface).ok_or_else(gone)?;
        let host = self.kernel().observe_host()?;
        let other_end = own.other.and_then(|index| host.numbered(index));
        // The number may be that of a parent, or of an interface in some third namespace.
        let pair = other_end.filter(|end| end.other == Some(own.index));
        let master = pair.and_then(|pair| pair.master).and_then(|index| host.numbered(index));
        Ok(Found {
            pair: pair.map(|pair| pair.name.clone()),
            way: master.or(pair).map(|way| way.name.clone()),
            mtu: pair.map(|pair| pair.mtu),
        })
    }
}

/// What stands for a network whose interfaces somebody else makes.
pub fn adopted_network(name: &Name) -> Network {
    let id = Id::named(&["adopted", name.as_str()]);
    Network::foreign(id, name.clone(), Driver::Adopted, 0)
}

fn wish(stranger: &Stranger, adoption: &Adoption, found: Found) -> ForeignRequest {
    let mut wish = ForeignRequest::new(stranger.interface.clone());
    wish.addresses = Addresses::Given(stranger.addresses.clone());
    if let Some((ports, callers)) = &adoption.ports {
        wish.ports.clone_from(ports);
        wish.settings.masquerade = *callers;
    }
    wish.settings.bandwidth = adoption.bandwidth.unwrap_or_default();
    wish.settings.link = found.pair;
    wish.settings.mtu = found.mtu;
    wish
}
