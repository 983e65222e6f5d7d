//! The records against the kernel, all at once; nothing is changed.
//!
//! The records are read before and after the kernel is looked at. What both readings agree on must be there; what one
//! of them has may be. So nothing that comes or goes meanwhile is taken for a difference.

use std::collections::{HashMap, HashSet};

use zdocker_host::store::ContainerRecord;
use zdocker_net::firewall::{Element, endpoint_elements, network_elements};
use zdocker_net::mend::{self, Fault, NotOurs, Owned, Repair, SeenNamespace, SeenTables};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan;
use zdocker_net::seen::Seen;
use zdocker_net::shaping;

use super::recorded::Recorded;
use crate::engine::Engine;
use crate::error::EngineError;

/// Which networks are compared.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    All,
    These(Vec<Id>),
}

impl Scope {
    fn has(&self, network: &Id) -> bool {
        match self {
            Scope::All => true,
            Scope::These(networks) => networks.contains(network),
        }
    }
}

/// What a difference is mended with at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Host,
    Tables,
    Network(Id),
    Elements,
    Container(Id),
}

/// A difference.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) subject: Subject,
    /// What is wrong, as a sentence.
    pub(crate) finding: String,
    pub(crate) steps: Vec<Op>,
}

/// All differences, in the order in which they are mended.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) differences: Vec<Difference>,
    /// What cannot be mended.
    pub(crate) refused: Vec<EngineError>,
}

impl Comparison {
    fn add(&mut self, subject: Subject, whose: &str, repair: Repair) {
        self.differences.push(Difference {
            subject,
            finding: format!("{whose} {}", repair.fault),
            steps: repair.steps,
        });
    }
}

/// What the two readings of the records agree on.
struct Agreed {
    networks: Vec<Network>,
    /// By container.
    endpoints: Vec<(Id, Vec<(Network, Endpoint)>)>,
}

impl Engine {
    /// Compares the networks of `scope`.
    ///
    /// # Errors
    /// [`EngineError`] when the records or the host cannot be read.
    pub(crate) fn compare(&mut self, scope: &Scope) -> Result<Comparison, EngineError> {
        let mut found = Comparison::default();
        let before = self.recorded()?;
        if !before.real_networks().any(|network| scope.has(&network.id)) {
            return Ok(found);
        }
        let (seen, host) = (self.kernel().observe()?, self.kernel().observe_host()?);
        let tables = match before.real_networks().any(Network::passes_tables) {
            true => Some(self.kernel().observe_tables()?),
            // Nobody needs them.
            false => None,
        };
        let inside = self.observe_containers(&before, scope)?;
        let after = self.recorded()?;
        let agreed = agreed(&before, &after, scope);
        if let Some(repair) = mend::host(&agreed.networks, &seen) {
            found.add(Subject::Host, "the host", repair);
        }
        let mut lost = HashMap::new();
        match tables {
            None => {}
            Some(SeenTables::Damaged) => found.add(
                Subject::Tables,
                "the host",
                Repair {
                    fault: Fault::Tables,
                    steps: vec![Op::RestoreFirewall(after.wanted_elements())],
                },
            ),
            Some(SeenTables::Whole(elements)) => {
                lost = compare_elements(&mut found, &elements, (&before, &after), (&agreed, scope));
            }
        }
        let foreign = compare_devices(&mut found, &agreed, (&host, &seen));
        for (container, endpoints) in &agreed.endpoints {
            let repairs = container_repairs(
                (
                    endpoints,
                    &foreign,
                    &self.namespace_of(container, endpoints.iter().map(|(_, own)| own)),
                ),
                (&host, inside.get(container)),
                lost.remove(container).unwrap_or_default(),
            );
            let repairs = match repairs {
                Ok(repairs) if repairs.is_empty() => continue,
                repairs => repairs,
            };
            if self.is_being_changed(container)? {
                continue;
            }
            let name = self.name_of(container)?;
            match repairs {
                Ok(repairs) => repairs.into_iter().for_each(|(network, repair)| {
                    let whose = format!("container {name}");
                    found.add(Subject::Container(container.clone()), &whose, repair);
                    if let (Some(network), Some(last)) = (network, found.differences.last_mut()) {
                        last.finding = format!("{} network {network}", last.finding);
                    }
                }),
                Err(NotOurs(interface)) => found.refused.push(EngineError::NotOursInside {
                    interface: interface.to_string(),
                    container: name,
                }),
            }
        }
        Ok(found)
    }

    /// Looks into the namespaces of containers that are plugged into networks of `scope`. One that is gone is left out.
    fn observe_containers(
        &mut self,
        recorded: &Recorded,
        scope: &Scope,
    ) -> Result<HashMap<Id, SeenNamespace>, EngineError> {
        let mut sysctls: HashMap<&Id, Vec<String>> = HashMap::new();
        for (network, endpoint) in recorded.settled() {
            if scope.has(&network.id) {
                let keys = endpoint.settings.sysctls.iter().map(|(key, _)| key.clone());
                sysctls.entry(&endpoint.container).or_default().extend(keys);
            }
        }
        let mut seen = HashMap::new();
        for (container, keys) in sysctls {
            let own = recorded.settled_of(container);
            let path = self.namespace_of(container, own.iter().map(|(_, endpoint)| endpoint));
            if let Some(inside) = self.kernel().observe_inside(&path, &keys)? {
                seen.insert(container.clone(), inside);
            }
        }
        Ok(seen)
    }

    fn name_of(&mut self, container: &Id) -> Result<String, EngineError> {
        let record = self.store.read(|records| records.container(container))?;
        let name = |record: ContainerRecord| record.name.to_string();
        Ok(record.map_or_else(|| container.short().to_owned(), name))
    }
}

fn agreed(before: &Recorded, after: &Recorded, scope: &Scope) -> Agreed {
    let real = before.real_networks().filter(|network| scope.has(&network.id));
    let networks: Vec<Network> = real.filter(|network| after.has_real(network)).cloned().collect();
    let later: HashMap<&Id, &Endpoint> = after.settled().into_iter().map(|(_, e)| (&e.id, e)).collect();
    let mut endpoints: Vec<(Id, Vec<(Network, Endpoint)>)> = Vec::new();
    let mut places: HashMap<&Id, usize> = HashMap::new();
    for (network, endpoint) in before.settled() {
        let is_in = networks.iter().any(|agreed| agreed.id == network.id);
        if !is_in || later.get(&endpoint.id).is_none_or(|later| *later != endpoint) {
            continue;
        }
        let place = *places.entry(&endpoint.container).or_insert_with(|| {
            endpoints.push((endpoint.container.clone(), Vec::new()));
            endpoints.len() - 1
        });
        endpoints[place].1.push((network.clone(), endpoint.clone()));
    }
    Agreed { networks, endpoints }
}

/// Compares elements. Gives those that containers have lost, which are mended with the rest of what they have lost.
fn compare_elements(
    found: &mut Comparison,
    seen: &[Element],
    (before, after): (&Recorded, &Recorded),
    (agreed, scope): (&Agreed, &Scope),
) -> HashMap<Id, Vec<Element>> {
    let mut required: Vec<Element> = agreed.networks.iter().flat_map(network_elements).collect();
    let mut owners: HashMap<Element, &Id> = HashMap::new();
    for (container, endpoints) in &agreed.endpoints {
        for element in endpoints.iter().flat_map(|(n, e)| endpoint_elements(n, e)) {
            required.push(element.clone());
            owners.insert(element, container);
        }
    }
    let owned = Owned {
        required,
        allowed: before.possible_elements().chain(after.possible_elements()).collect(),
        in_change: before.changing_addresses().chain(after.changing_addresses()).collect(),
    };
    let concerns = |element: &Element| match scope {
        Scope::All => true,
        Scope::These(_) => agreed.networks.iter().any(|network| mend::concerns(network, element)),
    };
    let [stray, missing] = mend::elements(&owned, seen, concerns);
    if let Some(stray) = stray {
        found.add(Subject::Elements, "the host", stray);
    }
    let mut lost: HashMap<Id, Vec<Element>> = HashMap::new();
    let mut of_networks = Vec::new();
    let missing = missing.into_iter().flat_map(|repair| repair.steps);
    for element in missing.flat_map(|op| {
        if let Op::AddElements(list) = op {
            list
        } else {
            Vec::new()
        }
    }) {
        match owners.get(&element) {
            Some(container) => lost.entry((*container).clone()).or_default().push(element),
            None => of_networks.push(element),
        }
    }
    if !of_networks.is_empty() {
        let repair = Repair {
            fault: Fault::LostElements,
            steps: vec![Op::AddElements(of_networks)],
        };
        found.add(Subject::Elements, "the host", repair);
    }
    lost
}

/// Compares bridges and parents; gives the networks of which nothing can be mended.
fn compare_devices(found: &mut Comparison, agreed: &Agreed, (host, seen): (&SeenNamespace, &Seen)) -> HashSet<Id> {
    let mut foreign = HashSet::new();
    for network in &agreed.networks {
        if let (Some(repair), Some(parent)) = (mend::parent(network, seen), &network.parent) {
            if repair.steps.is_empty() {
                foreign.insert(network.id.clone());
                found.refused.push(EngineError::NoParent {
                    parent: parent.name.to_string(),
                    network: network.name.to_string(),
                });
            }
            let whose = format!("network {}", network.name);
            found.add(Subject::Network(network.id.clone()), &whose, repair);
        }
        match mend::bridge(network, host) {
            Ok(None) => {}
            Ok(Some(repair)) => {
                if repair.steps.is_empty()
                    && let Some(bridge) = &network.bridge
                {
                    foreign.insert(network.id.clone());
                    found.refused.push(EngineError::NoBridge {
                        bridge: bridge.name.to_string(),
                        network: network.name.to_string(),
                    });
                }
                let whose = format!("network {}", network.name);
                found.add(Subject::Network(network.id.clone()), &whose, repair);
            }
            Err(NotOurs(device)) => {
                foreign.insert(network.id.clone());
                found.refused.push(EngineError::NotOurs {
                    device: device.to_string(),
                    network: network.name.to_string(),
                });
            }
        }
    }
    foreign
}

/// What is different about one container, with the network that it is about.
type OfContainer = Vec<(Option<String>, Repair)>;

fn container_repairs(
    (endpoints, foreign, namespace): (&[(Network, Endpoint)], &HashSet<Id>, &NamespacePath),
    (host, inside): (&SeenNamespace, Option<&SeenNamespace>),
    lost: Vec<Element>,
) -> Result<OfContainer, NotOurs> {
    let mut repairs = Vec::new();
    if !lost.is_empty() {
        let repair = Repair {
            fault: Fault::LostElements,
            steps: vec![Op::AddElements(lost)],
        };
        repairs.push((None, repair));
    }
    let Some(inside) = inside else {
        return Ok(repairs);
    };
    for (network, endpoint) in endpoints.iter().filter(|(network, _)| !foreign.contains(&network.id)) {
        let own = mend::endpoint(network, endpoint, namespace, (host, inside))?;
        repairs.extend(own.into_iter().map(|repair| (Some(network.name.to_string()), repair)));
    }
    Ok(repairs)
}

impl Engine {
    /// The steps that mend a container under its lock: what is different now, and those of the elements that it had
    /// lost.
    pub(super) fn container_steps(&mut self, container: &Id, lost: &[Element]) -> Result<Vec<Op>, EngineError> {
        let endpoints = self.recorded()?.settled_of(container);
        let namespace = self.namespace_of(container, endpoints.iter().map(|(_, endpoint)| endpoint));
        let wanted: HashSet<Element> = endpoints
            .iter()
            .flat_map(|(network, endpoint)| endpoint_elements(network, endpoint))
            .collect();
        let lost: Vec<Element> = lost
            .iter()
            .filter(|element| wanted.contains(element))
            .cloned()
            .collect();
        let keys = endpoints.iter().flat_map(|(_, endpoint)| &endpoint.settings.sysctls);
        let keys: Vec<String> = keys.map(|(key, _)| key.clone()).collect();
        let inside = self.kernel().observe_inside(&namespace, &keys)?;
        let mut steps: Vec<Op> = (!lost.is_empty())
            .then_some(Op::AddElements(lost))
            .into_iter()
            .collect();
        for (network, endpoint) in &endpoints {
            let queue = shaping::send_queue(endpoint);
            let device = network.bridge.as_ref().map(|bridge| &bridge.name);
            let device = device.or(network.parent.as_ref().map(|parent| &parent.name));
            let names = device.into_iter().chain([&endpoint.host_interface, &queue]);
            let host = self.kernel().observe_links(names)?;
            let is_ours = match &network.bridge {
                Some(bridge) => host
                    .interface(&bridge.name)
                    .is_some_and(|link| link.mac == Some(bridge.mac)),
                None => device.is_some_and(|parent| host.knows(parent)),
            };
            let Some(inside) = inside.as_ref().filter(|_| is_ours) else {
                continue;
            };
            let repairs =
                mend::endpoint(network, endpoint, &namespace, (&host, inside)).map_err(|NotOurs(interface)| {
                    EngineError::NotOursInside {
                        interface: interface.to_string(),
                        container: container.short().to_owned(),
                    }
                })?;
            steps.extend(repairs.into_iter().flat_map(|repair| repair.steps));
        }
        Ok(steps)
    }

    /// The steps that make a network real that never was in this boot; those that are needed for it, too.
    pub(super) fn first_steps(&mut self, network: &Network) -> Result<Vec<Op>, EngineError> {
        let seen = self.kernel().observe()?;
        Ok(plan::create_network(network, &seen))
    }
}
