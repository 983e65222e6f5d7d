//! `create`, `run` and `start`: resolve and validate → record → (in `start.rs`) plug in, mount, launch.

use std::net::IpAddr;

use zdocker_host::process::ProcessId;
use zdocker_host::store::{ContainerRecord, ContainerState, NewContainer, Records, State};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::{Id, Name};
use zdocker_net::op::Op;

use super::ended::read_spec;
use super::endpoints::{MakeReal, Placement, Recording, record_endpoint};
use super::request::{RunRequest, specify};
use super::spec::{ContainerSpec, NamespaceChoice};
use super::start::{Launch, Recorded, Started};
use crate::cgroup;
use crate::engine::{Engine, now};
use crate::error::EngineError;

/// What a container is to be.
struct Specified {
    id: Id,
    name: Name,
    spec: ContainerSpec,
    /// Where ports are published that name no address.
    default_address: Option<IpAddr>,
}

impl Engine {
    /// The steps by which the container's network would be made. Nothing is changed: addresses and names that are
    /// chosen when it is run may differ.
    ///
    /// # Errors
    /// [`EngineError`] when it would be refused.
    pub fn plan_run(&mut self, request: &RunRequest) -> Result<Vec<Op>, EngineError> {
        let (placement, new) = self.specify_placed(request, MakeReal::Plan)?;
        let unreal = placement.unreal.clone();
        let (owner, boot) = (self.me, self.boot.clone());
        let recorded = self.store.rehearse(|records| {
            equip_unreal(records, &unreal)?;
            record_new(records, &new, &placement, (owner, &boot))
        })?;
        let mut plan = self.create_plan(&unreal)?;
        plan.extend(self.plug_in_plan(&recorded));
        Ok(plan)
    }

    /// Starts a new container. When this fails, nothing of it remains.
    ///
    /// # Errors
    /// [`EngineError`], with the exit status that `run` ends with.
    pub fn run(&mut self, request: &RunRequest, launch: Launch) -> Result<Started, EngineError> {
        cgroup::expect_a_move();
        self.settle_half_done()?;
        let (placement, new) = self.specify_placed(request, MakeReal::Do)?;
        let (owner, boot) = (self.me, self.boot.clone());
        let recorded = self.record(|records| record_new(records, &new, &placement, (owner, &boot)))?;
        self.launch_recorded(&recorded, &placement, launch)
    }

    /// Records a container that is to be started later.
    ///
    /// # Errors
    /// [`EngineError`] when `run` would refuse it.
    pub fn create_container(&mut self, request: &RunRequest) -> Result<Id, EngineError> {
        self.settle_half_done()?;
        let (_, new) = self.specify_placed(request, MakeReal::Plan)?;
        let (owner, boot) = (self.me, self.boot.clone());
        self.record(|records| {
            insert_container(records, &new, (owner, &boot))?;
            Ok(records.container_created(&new.id)?)
        })?;
        Ok(new.id)
    }

    /// Starts a container that does not run; `None` if it does. When this fails, it is as it was before.
    ///
    /// # Errors
    /// [`EngineError`], with the exit status that `run` would end with.
    pub fn start_container(&mut self, text: &str, launch: Launch) -> Result<Option<Started>, EngineError> {
        cgroup::expect_a_move();
        self.settle()?;
        let record = self.find_container(text)?;
        match record.state {
            ContainerState::Running => return Ok(None),
            ContainerState::Exited => {}
            ContainerState::Creating | ContainerState::Removing => return Err(busy(&record)),
        }
        let mut spec = read_spec(&record)?;
        self.check_ports(&spec.ports)?;
        let placement = self.place(&mut spec, &[], MakeReal::Do)?;
        spec.namespace = placement.namespace.clone();
        let (owner, boot) = (self.me, self.boot.clone());
        let (id, name, before) = (record.id, record.name, record.spec);
        let default_address = self.config.ip;
        let again = Specified {
            id,
            name,
            spec,
            default_address,
        };
        let recorded = self.record(|records| record_again(records, (&before, &again), &placement, (owner, &boot)))?;
        self.launch_recorded(&recorded, &placement, launch).map(Some)
    }

    /// What the container is to be, and where it is plugged in. All that can be refused without records is.
    fn specify_placed(
        &mut self,
        request: &RunRequest,
        make_real: MakeReal,
    ) -> Result<(Placement, Specified), EngineError> {
        self.refuse_where_serving("running containers")?;
        let (id, name, mut spec) = specify(request, &self.config.dns)?;
        self.check_name(&name)?;
        self.check_ports(&spec.ports)?;
        let placement = self.place(&mut spec, &request.addresses, make_real)?;
        spec.namespace = placement.namespace.clone();
        if matches!(spec.namespace, NamespaceChoice::Host) && request.hostname.is_none() {
            spec.hostname = nix::unistd::gethostname()
                .map_err(|errno| EngineError::io("read", "the host name")(errno.into()))?
                .to_string_lossy()
                .into_owned();
        }
        let default_address = self.config.ip;
        let new = Specified {
            id,
            name,
            spec,
            default_address,
        };
        Ok((placement, new))
    }

    /// Refuses a name that is taken before anything is made. Two commands may pass here with one name: the record
    /// decides.
    fn check_name(&mut self, name: &Name) -> Result<(), EngineError> {
        let find = |engine: &mut Self| engine.store.read(|records| records.find_containers(name.as_str()));
        if !find(self)?.is_empty() {
            self.settle()?;
        }
        match find(self)?.into_iter().find(|container| container.name == *name) {
            Some(holder) => Err(EngineError::NameTaken {
                name: name.to_string(),
                id: holder.id.short().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Writes records in one transaction. If somebody holds what they need, it may be a container that died, after
    /// which nobody has cleaned up yet.
    pub(super) fn record<T>(
        &mut self,
        mut change: impl FnMut(&Records) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match self.store.write(&mut change) {
            Err(error) if error.is_of_a_holder() => {
                self.settle()?;
                self.store.write(change)
            }
            recorded => recorded,
        }
    }

    fn launch_recorded(
        &mut self,
        recorded: &Recorded,
        placement: &Placement,
        launch: Launch,
    ) -> Result<Started, EngineError> {
        if let Some(warning) = warning(placement, &recorded.spec) {
            self.journal.warn(&warning);
        }
        match self.start(recorded, launch) {
            Ok(attachment) => Ok(Started {
                id: recorded.id.clone(),
                tty: recorded.spec.tty,
                attachment,
            }),
            Err(error) => Err(error.and_then(self.discard(&recorded.id))),
        }
    }
}

/// Why nothing can be done to a container at this moment.
pub(super) fn busy(record: &ContainerRecord) -> EngineError {
    EngineError::BusyContainer {
        name: record.name.to_string(),
        pid: record.owner.map_or(0, |owner| owner.pid),
    }
}

/// Has a rehearsal see the default network as it would be, before its first use.
pub(super) fn equip_unreal(records: &Records, unreal: &[Network]) -> Result<(), EngineError> {
    for network in unreal {
        if records
            .network(&network.id)?
            .is_some_and(|record| record.network.pools.is_empty())
        {
            records.equip_network(network)?;
        }
    }
    Ok(())
}

fn insert_container(records: &Records, new: &Specified, (owner, boot): (ProcessId, &str)) -> Result<(), EngineError> {
    let Specified { id, name, spec, .. } = new;
    let text = spec.to_record()?;
    let joins = joined(records, spec)?;
    let container = NewContainer {
        id,
        name,
        spec: &text,
        joins,
        created: now(),
    };
    if records.insert_container(&container, owner, boot)? {
        return Ok(());
    }
    let holder = records.find_containers(name.as_str())?.pop();
    let id = holder.map_or_else(String::new, |container| container.id.short().to_owned());
    Err(EngineError::NameTaken {
        name: name.to_string(),
        id,
    })
}

/// Records a container that is about to be started for the first time.
fn record_new(
    records: &Records,
    new: &Specified,
    placement: &Placement,
    (owner, boot): (ProcessId, &str),
) -> Result<Recorded, EngineError> {
    insert_container(records, new, (owner, boot))?;
    record_endpoints(records, new, placement, (owner, boot))
}

/// Records that a container that is recorded, as `before` says, is about to be started.
fn record_again(
    records: &Records,
    (before, again): (&str, &Specified),
    placement: &Placement,
    (owner, boot): (ProcessId, &str),
) -> Result<Recorded, EngineError> {
    let (text, joins) = (again.spec.to_record()?, joined(records, &again.spec)?);
    if !records.restart_container(&again.id, (before, &text), joins, owner, boot)? {
        return Err(match records.container(&again.id)? {
            Some(record) if record.state == ContainerState::Exited => {
                EngineError::ChangedMeanwhile(again.name.to_string())
            }
            Some(record) => busy(&record),
            None => EngineError::NoSuchContainer(again.name.to_string()),
        });
    }
    record_endpoints(records, again, placement, (owner, boot))
}

/// Records a container's endpoints.
fn record_endpoints(
    records: &Records,
    Specified {
        id,
        spec,
        default_address,
        ..
    }: &Specified,
    placement: &Placement,
    (owner, boot): (ProcessId, &str),
) -> Result<Recorded, EngineError> {
    let recording = Recording {
        container: id,
        owner,
        boot,
        now: now(),
        default_address: *default_address,
    };
    let mut endpoints: Vec<(Network, Endpoint)> = Vec::new();
    for (network, wish) in &placement.endpoints {
        check_ready(records, network)?;
        let endpoint = record_endpoint(records, network, wish, &spec.ports, recording)?;
        endpoints.push((network.clone(), endpoint));
    }
    let (id, spec) = (id.clone(), spec.clone());
    Ok(Recorded { id, spec, endpoints })
}

/// Refuses a network that was removed since it was found.
pub(super) fn check_ready(records: &Records, network: &Network) -> Result<(), EngineError> {
    match records.network(&network.id)? {
        Some(record) if record.state == State::Ready => Ok(()),
        _ => Err(EngineError::Busy(network.name.to_string())),
    }
}

/// The container whose namespace is shared, which still runs.
fn joined<'a>(records: &Records, spec: &'a ContainerSpec) -> Result<Option<&'a Id>, EngineError> {
    let NamespaceChoice::Container(other) = &spec.namespace else {
        return Ok(None);
    };
    match records.container(other)? {
        Some(record) if record.state == ContainerState::Running => Ok(Some(other)),
        _ => Err(EngineError::NotRunning(other.short().to_owned())),
    }
}

fn warning(placement: &Placement, spec: &ContainerSpec) -> Option<String> {
    let published = placement.endpoints.iter().any(|(_, wish)| wish.role.publishes);
    if spec.ports.is_empty() || published {
        return None;
    }
    let discarded = "published ports are discarded";
    match placement.endpoints.first() {
        Some((network, _)) if network.parent.is_some() => Some(format!(
            "{discarded}: what is on network {:?} (driver {}) is reached by its own address",
            network.name.as_str(),
            network.driver
        )),
        Some((network, _)) => Some(format!("{discarded}: network {:?} is internal", network.name.as_str())),
        None => Some(format!(
            "{discarded} on the host's network: the container is there already"
        )),
    }
}
