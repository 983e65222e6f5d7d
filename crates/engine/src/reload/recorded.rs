//! What the records say at one moment of all that is real in this boot.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use zdocker_host::store::{EndpointRecord, NetworkRecord, Records, State};
use zdocker_net::firewall::{Element, endpoint_elements, network_elements};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;

use crate::engine::Engine;
use crate::error::EngineError;

/// Networks and endpoints with the states of their records.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    networks: Vec<NetworkRecord>,
    endpoints: Vec<EndpointRecord>,
    boot: String,
}

impl Recorded {
    fn read(records: &Records, boot: &str) -> Result<Self, EngineError> {
        Ok(Recorded {
            networks: records.networks()?,
            endpoints: records.endpoints_of_boot(boot)?,
            boot: boot.to_owned(),
        })
    }

    /// The networks that were made real in this boot, and that nobody is removing.
    pub(crate) fn real_networks(&self) -> impl Iterator<Item = &Network> {
        let real = self.networks.iter().filter(|record| {
            let has_device = record.network.passes_tables() || record.network.parent.is_some();
            record.state == State::Ready && record.boot.as_deref() == Some(&self.boot) && has_device
        });
        real.map(|record| &record.network)
    }

    fn network(&self, id: &Id) -> Option<&Network> {
        let found = self.networks.iter().find(|record| record.network.id == *id);
        found.map(|record| &record.network)
    }

    fn endpoints_in(&self, states: &[State]) -> impl Iterator<Item = (&Network, &Endpoint)> {
        let networks: HashMap<&Id, &Network> = self.networks.iter().map(|r| (&r.network.id, &r.network)).collect();
        let in_states = self.endpoints.iter().filter(|record| states.contains(&record.state));
        in_states
            .filter_map(move |record| Some((*networks.get(&record.endpoint.network)?, &record.endpoint)))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The endpoints that are plugged in, of containers that nobody is plugging in or out.
    pub(crate) fn settled(&self) -> Vec<(&Network, &Endpoint)> {
        let changing = self.changing_containers();
        let ready = self.endpoints_in(&[State::Ready]);
        ready
            .filter(|(_, endpoint)| !changing.contains(&endpoint.container))
            .collect()
    }

    fn changing_containers(&self) -> HashSet<&Id> {
        let changing = self.endpoints.iter().filter(|record| record.state != State::Ready);
        changing.map(|record| &record.endpoint.container).collect()
    }

    /// The addresses of containers that somebody is plugging in or out.
    pub(crate) fn changing_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let changing = self.changing_containers();
        let of_those = self
            .endpoints
            .iter()
            .filter(move |record| changing.contains(&record.endpoint.container));
        of_those.flat_map(|record| record.endpoint.addresses.iter().map(|own| own.address))
    }

    /// The elements that the tables are to have: of the networks that are real, and of every endpoint that is plugged
    /// in or is being plugged in. What is being unplugged takes its elements away.
    pub(crate) fn wanted_elements(&self) -> Vec<Element> {
        let mut elements: Vec<Element> = self.real_networks().flat_map(network_elements).collect();
        let endpoints = self.endpoints_in(&[State::Ready, State::Creating]);
        elements.extend(endpoints.flat_map(|(network, endpoint)| endpoint_elements(network, endpoint)));
        elements
    }

    /// The elements that the tables may have: of all that is recorded.
    pub(crate) fn possible_elements(&self) -> impl Iterator<Item = Element> {
        let of_networks = self
            .networks
            .iter()
            .flat_map(|record| network_elements(&record.network));
        let endpoints = self.endpoints_in(&[State::Ready, State::Creating, State::Removing]);
        of_networks.chain(endpoints.flat_map(|(network, endpoint)| endpoint_elements(network, endpoint)))
    }

    /// The elements that the tables are to have beside those of the endpoints in `left_out`.
    pub(crate) fn elements_beside(&self, left_out: &HashSet<&Id>) -> impl Iterator<Item = Element> {
        let of_networks = self.real_networks().flat_map(network_elements);
        let endpoints = self.endpoints_in(&[State::Ready, State::Creating]);
        let others = endpoints.filter(|(_, endpoint)| !left_out.contains(&endpoint.id));
        of_networks.chain(others.flat_map(|(network, endpoint)| endpoint_elements(network, endpoint)))
    }

    /// The endpoints of one container with their networks, if all are plugged in.
    pub(super) fn settled_of(&self, container: &Id) -> Vec<(Network, Endpoint)> {
        let own = self.settled().into_iter().filter(|(_, e)| e.container == *container);
        own.map(|(network, endpoint)| (network.clone(), endpoint.clone()))
            .collect()
    }

    /// Whether this network is recorded just so in `other`, too, and real.
    pub(super) fn has_real(&self, network: &Network) -> bool {
        self.real_networks().any(|other| other == network)
    }

    /// The network of this identifier, if it is real.
    pub(super) fn real_network(&self, id: &Id) -> Option<Network> {
        let network = self.network(id)?;
        self.has_real(network).then(|| network.clone())
    }
}

impl Engine {
    pub(crate) fn recorded(&mut self) -> Result<Recorded, EngineError> {
        let boot = self.boot.clone();
        self.store.read(|records| Recorded::read(records, &boot))
    }

    /// Has the tables follow the records where these changed since `applied` was wanted, until both agree; to be called
    /// after a change of elements that was planned from records. Only elements that `concerned` by that change are
    /// looked at.
    ///
    /// Why nobody's elements are lost, and none are left: who plugs in records the endpoint before he adds its
    /// elements, and adding what is there already is no error. So whatever was added before our change took effect is
    /// recorded when we read after it, and is added again here; whatever is recorded later is added later. Who unplugs
    /// records that first, too, and then deletes what is there: what is no longer wanted when we read after our change
    /// is deleted here as well, and what is wanted then is deleted by its owner after our change. When both readings
    /// agree, nothing of this can have happened in between.
    pub(crate) fn follow_records(
        &mut self,
        mut applied: HashSet<Element>,
        concerned: impl Fn(&Element) -> bool,
    ) -> Result<(), EngineError> {
        use zdocker_net::op::Op;
        loop {
            let wanted = self.recorded()?.wanted_elements().into_iter();
            let wanted: HashSet<Element> = wanted.filter(&concerned).collect();
            let gone: Vec<Element> = applied.difference(&wanted).cloned().collect();
            let added: Vec<Element> = wanted.difference(&applied).cloned().collect();
            if gone.is_empty() && added.is_empty() {
                return Ok(());
            }
            self.take_away("what was unplugged meanwhile", &[Op::DeleteElements(gone)])?;
            self.apply(&[Op::AddElements(added)])?;
            applied = wanted;
        }
    }
}
