//! `network connect` and `disconnect`: a container's networks change, while it runs or for when it is started.
//!
//! Only one command at a time changes the network of a container that runs ([`Engine::lock_network_of`]); its shim takes it
//! down under the same lock. The endpoint that comes or goes is recorded as such all the while, so what a command leaves
//! half done when it is killed is taken away by a later one ([`Engine::settle_endpoints`]).

use std::collections::BTreeSet;
use std::fs::File;

use nix::fcntl::{Flock, FlockArg};
use zdocker_host::store::{ContainerRecord, ContainerState, EndpointRecord, Records, State};
use zdocker_net::attach::choice::{EndpointRequest, NetworkChoice};
use zdocker_net::attach::{self, AttachError, Role};
use zdocker_net::firewall::endpoint_elements;
use zdocker_net::model::{Driver, Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::Op;
use zdocker_net::plan;

use super::ended::{is_alive, read_spec};
use super::endpoints::{MakeReal, Recording, record_endpoint};
use super::run::{busy, check_ready, equip_unreal};
use super::spec::{ContainerSpec, NamespaceChoice};
use crate::engine::{Engine, now};
use crate::error::EngineError;

/// A container's place on a network.
type Plugged = (Network, Endpoint);

/// What connecting brings about, recorded but not done.
struct Joining {
    /// The new endpoint.
    new: Plugged,
    /// The container's other endpoints as they were, and as they are to be.
    others: Vec<(Plugged, Endpoint)>,
}

impl Engine {
    /// Plugs a container into one more network, and gives the steps; with `dry_run`, the steps only. A container that does
    /// not run is plugged in when it is started.
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

    /// Refuses ports that a container would publish by the network, as nothing is published of it now, and that cannot be.
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

    /// Unplugs a container from a network, and gives the steps; with `dry_run`, the steps only.
    ///
    /// # Errors
    /// [`EngineError`] when it is not on the network, or a part could not be removed; a later command tries again.
    pub fn disconnect(&mut self, network: &str, container: &str, dry_run: bool) -> Result<Vec<Op>, EngineError> {
        self.settle()?;
        let record = self.find_container(container)?;
        match record.state {
            ContainerState::Running => self.disconnect_running(&record, network, dry_run),
            ContainerState::Exited => self.disconnect_stopped(&record, network, dry_run),
            ContainerState::Creating | ContainerState::Removing => Err(busy(&record)),
        }
    }

    fn disconnect_running(
        &mut self,
        record: &ContainerRecord,
        text: &str,
        dry_run: bool,
    ) -> Result<Vec<Op>, EngineError> {
        let lock = self.lock_network_of(&record.id)?;
        if !dry_run {
            self.settle_endpoints_of(&record.id, &lock)?;
        }
        let record = self.still_running(&record.id)?;
        let network = self.find_network(text)?.network;
        let plugged = self.store.read(|records| plugged(records, &record.id))?;
        let gone = plugged.into_iter().find(|(other, _)| other.id == network.id);
        let gone = gone.ok_or_else(|| not_connected(&record, &network))?;
        if dry_run {
            let (plan, _) = self.disconnect_plan(&record.id, &gone, Depth::Recorded)?;
            return Ok(plan);
        }
        let me = self.me;
        self.store
            .write(|records| records.set_endpoint(&gone.1, State::Removing, Some(me)))?;
        self.take_endpoint_away(&record, &gone, Depth::Recorded)
    }

    fn disconnect_stopped(
        &mut self,
        record: &ContainerRecord,
        text: &str,
        dry_run: bool,
    ) -> Result<Vec<Op>, EngineError> {
        let mut spec = connectable(record)?;
        // A network that is gone is left by the name that it had.
        let name = match self.find_network(text) {
            Ok(found) => found.network.name.to_string(),
            Err(EngineError::NoSuchNetwork(name)) => name,
            Err(error) => return Err(error),
        };
        if !unchoose(&mut spec, &name) {
            return Err(EngineError::NotConnected {
                container: record.name.to_string(),
                network: name,
            });
        }
        if !dry_run {
            self.change_stopped(record, &spec)?;
        }
        Ok(Vec::new())
    }

    /// Records what a container that does not run is to be when it is started.
    fn change_stopped(&mut self, record: &ContainerRecord, spec: &ContainerSpec) -> Result<(), EngineError> {
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

    /// The steps that take an endpoint away and let the container's others fill its place, and these as they are then.
    fn disconnect_plan(
        &mut self,
        container: &Id,
        gone: &Plugged,
        depth: Depth,
    ) -> Result<(Vec<Op>, Vec<Endpoint>), EngineError> {
        let namespace = self.namespace_path(container.as_str());
        let plugged = self.store.read(|records| plugged(records, container))?;
        let others: Vec<Plugged> = plugged.into_iter().filter(|(_, e)| e.id != gone.1.id).collect();
        let roles = attach::roles(&attach::members(&others));
        let mut plan = plan::detach(&gone.0, &gone.1, Some(&namespace));
        let mut changed = Vec::new();
        for ((network, before), role) in others.iter().zip(&roles) {
            let mut after = attach::in_role(before, network, role);
            if role.publishes && after.ports.is_empty() {
                after.ports.clone_from(&gone.1.ports);
            }
            if depth == Depth::Thorough {
                let gained = endpoint_elements(network, &after);
                let had = endpoint_elements(network, before);
                let gained = gained.into_iter().filter(|element| !had.contains(element)).collect();
                plan.push(Op::DeleteElements(gained));
            }
            plan.extend(plan::change(network, before, &after, &namespace));
            if depth == Depth::Thorough {
                plan.extend(plan::restore_routes(network, &after, &namespace));
            }
            changed.push(after);
        }
        Ok((plan, changed))
    }

    /// Takes an endpoint of a running container away, with all that was recorded of it. To be called with the lock on the
    /// container's network held.
    fn take_endpoint_away(
        &mut self,
        record: &ContainerRecord,
        gone: &Plugged,
        depth: Depth,
    ) -> Result<Vec<Op>, EngineError> {
        let (plan, others) = self.disconnect_plan(&record.id, gone, depth)?;
        let what = format!(
            "the endpoint of {:?} on network {:?}",
            record.name.as_str(),
            gone.0.name.as_str()
        );
        self.take_away(&what, &plan)?;
        self.withdraw(std::slice::from_ref(gone))?;
        self.leave(&record.id, &gone.1)?;
        let mut spec = read_spec(&self.still_recorded(&record.id)?)?;
        unchoose(&mut spec, gone.0.name.as_str());
        let text = spec.to_record()?;
        let heir = others.iter().find(|endpoint| endpoint.ports == gone.1.ports);
        self.store.write(|records| {
            if let Some(heir) = heir {
                records.move_ports(&gone.1.id, &heir.id)?;
            }
            for endpoint in &others {
                records.set_endpoint(endpoint, State::Ready, None)?;
            }
            records.delete_endpoint(&gone.1.id)?;
            Ok::<_, EngineError>(records.set_container_spec(&record.id, &text)?)
        })?;
        if !gone.1.ports.is_empty() {
            self.tell_relays(&record.id, None);
        }
        if heir.is_none() && !gone.1.ports.is_empty() {
            let name = &record.name;
            self.journal.warn(&format!(
                "container {name} publishes nothing any more: none of its networks can take its ports"
            ));
        }
        Ok(plan)
    }

    /// Takes away endpoints that a dead process was connecting or disconnecting.
    pub(crate) fn settle_endpoints(&mut self) -> Result<(), EngineError> {
        let half_done = self.store.read(|records| records.half_done_endpoints())?;
        let abandoned = half_done.iter().filter(|record| is_abandoned(record));
        let containers: BTreeSet<&Id> = abandoned.map(|record| &record.endpoint.container).collect();
        for container in containers {
            if let Err(error) = self.lock_and_settle_endpoints_of(container) {
                let short = container.short();
                self.journal.warn(&format!(
                    "an endpoint of container {short} cannot be cleaned up: {error}"
                ));
            }
        }
        Ok(())
    }

    fn lock_and_settle_endpoints_of(&mut self, container: &Id) -> Result<(), EngineError> {
        let record = self.store.read(|records| records.container(container))?;
        // Those of a container that does not run are for whoever settles the container.
        if record.is_none_or(|record| record.state != ContainerState::Running) {
            return Ok(());
        }
        let lock = self.lock_network_of(container)?;
        self.settle_endpoints_of(container, &lock)
    }

    /// The same for one container, by who holds the lock on its network. Whoever had it before is dead, or as good as dead:
    /// the kernel lets go of a lock a moment before its holder has ended.
    fn settle_endpoints_of(&mut self, container: &Id, _lock: &Flock<File>) -> Result<(), EngineError> {
        let (record, endpoints) = self.store.read(|records| {
            let endpoints = records.endpoints_of_container(container)?;
            Ok::<_, EngineError>((records.container(container)?, endpoints))
        })?;
        let Some(record) = record.filter(|record| record.state == ContainerState::Running) else {
            return Ok(());
        };
        // Those of the container's owner are of one who has claimed it, and waits for the lock.
        let abandoned = endpoints
            .into_iter()
            .filter(|endpoint| endpoint.state != State::Ready && endpoint.owner != record.owner)
            .map(|endpoint| endpoint.endpoint.id);
        for endpoint in abandoned {
            let plugged = self.store.read(|records| plugged(records, container))?;
            if let Some(gone) = plugged.into_iter().find(|(_, other)| other.id == endpoint) {
                self.take_endpoint_away(&record, &gone, Depth::Thorough)?;
            }
        }
        Ok(())
    }

    /// Makes this process the only one that changes the network of a container that runs. Others wait, and are woken as
    /// soon as this one is done, or dead.
    pub(super) fn lock_network_of(&self, container: &Id) -> Result<Flock<File>, EngineError> {
        let paths = self.container_paths(container.as_str());
        let path = paths.state_dir();
        paths.make_state_dir().map_err(EngineError::io("create", &path))?;
        let file = File::open(&path).map_err(EngineError::io("open", &path))?;
        let failed = EngineError::io("lock", path);
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
    }

    /// As [`Self::lock_network_of`]; `None` if another process is at it, or the container is gone.
    pub(super) fn try_to_lock_network_of(&self, container: &Id) -> Result<Option<Flock<File>>, EngineError> {
        let path = self.container_paths(container.as_str()).state_dir();
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(EngineError::io("open", &path))?,
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(EngineError::io("lock", path)(errno.into())),
        }
    }

    fn recording(&self, container: &Id) -> Recorder {
        Recorder {
            container: container.clone(),
            owner: self.me,
            default_address: self.config.ip,
        }
    }

    fn still_recorded(&mut self, id: &Id) -> Result<ContainerRecord, EngineError> {
        self.store
            .read(|records| records.container(id))?
            .ok_or_else(|| EngineError::NoSuchContainer(id.short().to_owned()))
    }

    /// The container, whose network stays until the lock on it is let go of, unless it has ended: its record may say later
    /// than its network is taken down that it runs no more.
    fn still_running(&mut self, id: &Id) -> Result<ContainerRecord, EngineError> {
        let record = self.still_recorded(id)?;
        if record.state == ContainerState::Running && record.process.as_ref().is_some_and(is_alive) {
            Ok(record)
        } else {
            Err(EngineError::NotRunning(record.name.to_string()))
        }
    }
}

/// How much is known of what the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What is recorded.
    Recorded,
    /// What is recorded, or what somebody was about to make of it who did not finish.
    Thorough,
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
fn connectable(record: &ContainerRecord) -> Result<ContainerSpec, EngineError> {
    let spec = read_spec(record)?;
    match spec.namespace {
        NamespaceChoice::Own => Ok(spec),
        NamespaceChoice::Host | NamespaceChoice::Container(_) => Err(EngineError::SharedNamespace {
            container: record.name.to_string(),
        }),
    }
}

/// Whether a process was plugging an endpoint in or out and is dead.
fn is_abandoned(record: &EndpointRecord) -> bool {
    record.state != State::Ready && !record.owner.as_ref().is_some_and(is_alive)
}

fn not_connected(record: &ContainerRecord, network: &Network) -> EngineError {
    EngineError::NotConnected {
        container: record.name.to_string(),
        network: network.name.to_string(),
    }
}

/// Adds a network to those that a container is on; it takes the place of none.
fn choose(spec: &mut ContainerSpec, choice: NetworkChoice) {
    let none = Driver::None.to_string();
    spec.networks.retain(|other| other.network != none);
    spec.networks.push(choice);
}

/// Takes a network from those that a container is on; the last leaves none. Whether it was among them.
fn unchoose(spec: &mut ContainerSpec, network: &str) -> bool {
    let before = spec.networks.len();
    spec.networks.retain(|choice| choice.network != network);
    let found = spec.networks.len() < before;
    if spec.networks.is_empty() {
        spec.networks.push(NetworkChoice::plain(Driver::None.to_string()));
    }
    found
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
