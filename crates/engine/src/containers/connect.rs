//! `network connect`: a container gets one more network, while it runs or for when it is started.
//!
//! Only one command at a time changes the network of a container that runs ([`Engine::lock_network_of`]); its shim
//! takes it down under the same lock. The endpoint that comes or goes is recorded as such all the while, so what a
//! command leaves half done when it is killed is taken away by a later one ([`Engine::settle_endpoints`]).

use zdocker_host::store::{ContainerRecord, ContainerState, Records, State};
use zdocker_net::attach::choice::{EndpointRequest, NetworkChoice};
use zdocker_net::attach::{self, AttachError, Role};
use zdocker_net::model::{Driver, Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::plan;

use super::disconnect::Depth;
use super::ended::read_spec;
use super::endpoints::{MakeReal, Recording, record_endpoint};
use super::run::{busy, check_ready, equip_unreal};
use super::spec::{ContainerSpec, NamespaceChoice};
use crate::engine::{Engine, now};
use crate::error::EngineError;

/// A container's place on a network.
pub(super) type Plugged = (Network, Endpoint);

/// What connecting brings about, recorded but not done.
struct Joining {
    /// The new endpoint.
    new: Plugged,
    /// The container's other endpoints as they were, and as they are to be.
    others: Vec<(Plugged, Endpoint)>,
}

impl Engine {
    /// Plugs a container into one more network, and gives the steps; with `dry_run`, the steps only. A container that
    /// does not run is plugged in when it is started.
    ///
    /// # Errors
    /// [`EngineError`] when it is refused, or a step fails; then all is as before.
    pub fn connect(
        &mut self,
        network: &str,
        container: &str,
        endpoint: &EndpointRequest,
        dry_run: bool,
    ) -> Result<Vec<Op>, EngineError> {
        self.settle()?;
        let record = self.find_container(container)?;
        match record.state {
            ContainerState::Running if dry_run => self.plan_connect(&record, network, endpoint),
            ContainerState::Running => self.connect_running(&record, network, endpoint),
            ContainerState::Exited => self.connect_stopped(&record, network, endpoint, dry_run),
            ContainerState::Creating | ContainerState::Removing => Err(busy(&record)),
        }
    }

    fn plan_connect(
        &mut self,
        record: &ContainerRecord,
        network: &str,
        endpoint: &EndpointRequest,
    ) -> Result<Vec<Op>, EngineError> {
        let spec = connectable(record)?;
        let mut unreal = Vec::new();
        let network = self.placed_network(network, MakeReal::Plan, &mut unreal)?;
        let recording = self.recording(&record.id);
        let boot = self.boot.clone();
        let joining = self.store.rehearse(|records| {
            equip_unreal(records, &unreal)?;
            join(records, &spec, &network, endpoint, recording.with(&boot))
        })?;
        let mut plan = self.create_plan(&unreal)?;
        plan.extend(self.connect_plan(&record.id, &joining));
        Ok(plan)
    }

    fn connect_running(
        &mut self,
        record: &ContainerRecord,
        network: &str,
        endpoint: &EndpointRequest,
    ) -> Result<Vec<Op>, EngineError> {
        self.check_ports_at(record, network)?;
        let lock = self.lock_network_of(&record.id)?;
        self.settle_endpoints_of(&record.id, &lock)?;
        let record = self.still_running(&record.id)?;
        let mut spec = connectable(&record)?;
        let network = self.placed_network(network, MakeReal::Do, &mut Vec::new())?;
        let (recording, boot) = (self.recording(&record.id), self.boot.clone());
        // Nothing is settled from here on: it would wait for the lock that we hold.
        let joining = self
            .store
            .write(|records| join(records, &spec, &network, endpoint, recording.with(&boot)))?;
        let plan = self.connect_plan(&record.id, &joining);
        let connected = self.apply(&plan).and_then(|()| {
            self.greet(&spec, &joining.new.1)?;
            self.announce(&spec.name, std::slice::from_ref(&joining.new))?;
            let choice = NetworkChoice {
                network: network.name.to_string(),
                endpoint: endpoint.clone(),
            };
            choose(&mut spec, choice);
            let text = spec.to_record()?;
            self.store.write(|records| {
                records.set_container_spec(&record.id, &text)?;
                Ok(records.set_endpoint(&joining.new.1, State::Ready, None)?)
            })
        });
        match connected {
            Ok(()) => {
                self.tell_relays(&record.id, None);
                Ok(plan)
            }
            Err(error) => Err(error.and_then(self.take_endpoint_away(&record, &joining.new, Depth::Thorough))),
        }
    }

    /// Refuses ports that a container would publish by the network, as nothing is published of it now, and that cannot
    /// be.
    fn check_ports_at(&mut self, record: &ContainerRecord, network: &str) -> Result<(), EngineError> {
        let spec = connectable(record)?;
        let network = self.find_network(network)?.network;
        let plugged = self.store.read(|records| plugged(records, &record.id))?;
        if plugged.iter().any(|(_, endpoint)| !endpoint.ports.is_empty()) {
            return Ok(());
        }
        attach::check_ports(&spec.ports, Some(&network))?;
        self.check_ports(&spec.ports)
    }

    fn connect_plan(&self, container: &Id, joining: &Joining) -> Vec<Op> {
        let namespace = self.namespace_path(container.as_str());
        let (network, endpoint) = &joining.new;
        let mut plan = plan::attach(network, endpoint, &namespace);
        for ((network, before), after) in &joining.others {
            plan.extend(plan::change(network, before, after, &namespace));
        }
        plan
    }

    fn connect_stopped(
        &mut self,
        record: &ContainerRecord,
        network: &str,
        endpoint: &EndpointRequest,
        dry_run: bool,
    ) -> Result<Vec<Op>, EngineError> {
        let mut spec = connectable(record)?;
        let network = self.placed_network(network, MakeReal::Plan, &mut Vec::new())?;
        if spec
            .networks
            .iter()
            .any(|choice| choice.network == network.name.as_str())
        {
            return Err(AttachError::AlreadyOn(network.name.to_string()).into());
        }
        let choice = NetworkChoice {
            network: network.name.to_string(),
            endpoint: endpoint.clone(),
        };
        choose(&mut spec, choice);
        // All that can be refused now is.
        self.place(&mut spec.clone(), &[], MakeReal::Plan)?;
        if !dry_run {
            self.change_stopped(record, &spec)?;
        }
        Ok(Vec::new())
    }

    /// Records what a container that does not run is to be when it is started.
    pub(super) fn change_stopped(&mut self, record: &ContainerRecord, spec: &ContainerSpec) -> Result<(), EngineError> {
        let text = spec.to_record()?;
        self.store.write(|records| match records.container(&record.id)? {
            // Somebody may have started or removed it since we looked, or changed it as we do.
            Some(now) if now.state == ContainerState::Exited && now.spec == record.spec => {
                Ok(records.set_container_spec(&record.id, &text)?)
            }
            Some(now) if now.state == ContainerState::Exited => {
                Err(EngineError::ChangedMeanwhile(record.name.to_string()))
            }
            Some(now) => Err(busy(&now)),
            None => Err(EngineError::NoSuchContainer(record.name.to_string())),
        })
    }

    fn recording(&self, container: &Id) -> Recorder {
        Recorder {
            container: container.clone(),
            owner: self.me,
            default_address: self.config.ip,
        }
    }
}

/// Who records an endpoint.
struct Recorder {
    container: Id,
    owner: zdocker_host::process::ProcessId,
    default_address: Option<std::net::IpAddr>,
}

impl Recorder {
    fn with<'a>(&'a self, boot: &'a str) -> Recording<'a> {
        Recording {
            container: &self.container,
            owner: self.owner,
            boot,
            now: now(),
            default_address: self.default_address,
        }
    }
}

/// What a container is to be that can be on several networks.
pub(super) fn connectable(record: &ContainerRecord) -> Result<ContainerSpec, EngineError> {
    let spec = read_spec(record)?;
    match spec.namespace {
        NamespaceChoice::Own => Ok(spec),
        NamespaceChoice::Host | NamespaceChoice::Container(_) => Err(EngineError::SharedNamespace {
            container: record.name.to_string(),
        }),
    }
}

/// Adds a network to those that a container is on; it takes the place of none.
fn choose(spec: &mut ContainerSpec, choice: NetworkChoice) {
    let none = Driver::None.to_string();
    spec.networks.retain(|other| other.network != none);
    spec.networks.push(choice);
}

/// A container's endpoints with their networks, in the order in which it was plugged in.
pub(super) fn plugged(records: &Records, container: &Id) -> Result<Vec<Plugged>, EngineError> {
    let mut plugged = Vec::new();
    for record in records.endpoints_of_container(container)? {
        if let Some(network) = records.network(&record.endpoint.network)? {
            plugged.push((network.network, record.endpoint));
        }
    }
    Ok(plugged)
}

/// Records a new endpoint of a container that runs, and what becomes of its others.
fn join(
    records: &Records,
    spec: &ContainerSpec,
    network: &Network,
    request: &EndpointRequest,
    recording: Recording,
) -> Result<Joining, EngineError> {
    check_ready(records, network)?;
    let others = plugged(records, recording.container)?;
    let (mut wish, roles): (_, Vec<Role>) = attach::join(&others, network, request)?;
    // Ports stay where they are published.
    wish.role.publishes &= others.iter().all(|(_, other)| other.ports.is_empty());
    let new = record_endpoint(records, network, &wish, &spec.ports, recording)?;
    let mut changed = Vec::new();
    for ((network, before), role) in others.into_iter().zip(&roles) {
        let after = attach::in_role(&before, &network, role);
        // What comes of them is undone by record, too.
        records.set_endpoint(&after, State::Ready, None)?;
        changed.push(((network, before), after));
    }
    Ok(Joining {
        new: (network.clone(), new),
        others: changed,
    })
}
