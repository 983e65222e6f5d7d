//! `run`: resolve and validate → record → plug in ‖ mount the root file system → start → mark as running.

use std::path::{Path, PathBuf};
use std::process::Command;

use zdocker_host::process::ProcessId;
use zdocker_host::store::{ContainerState, NewContainer, Records, State};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::{Id, Name};
use zdocker_net::op::Op;
use zdocker_net::plan;
use zdocker_net::subnet::Family;

use super::endpoints::{MakeReal, Placement, Recording, record_endpoint};
use super::paths::ContainerPaths;
use super::request::{RunRequest, specify};
use super::spec::{ContainerSpec, NamespaceChoice};
use crate::engine::{Engine, now};
use crate::error::EngineError;
use crate::rootfs::WritableLayer;
use crate::shim::attach::Attachment;
use crate::shim::protocol::{StartRequest, Streams};
use crate::terminal::WindowSize;
use crate::{cgroup, etc_files, oci, rootfs, shim};

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// The container.
    pub id: Id,
    /// The connection to its streams, unless it is detached.
    pub attachment: Option<Attachment>,
}

/// What `run` is given by the face that it is called from.
#[derive(Debug)]
pub struct Launch {
    /// How to run this program as a shim.
    pub shim: Command,
    /// What the caller attaches to; `None` for a detached container.
    pub streams: Option<Streams>,
    /// The size of the caller's terminal.
    pub window: Option<WindowSize>,
}

/// What a container is to be.
struct Specified {
    id: Id,
    name: Name,
    spec: ContainerSpec,
}

/// A container whose records are written.
struct Recorded {
    id: Id,
    spec: ContainerSpec,
    endpoints: Vec<(Network, Endpoint)>,
}

impl Engine {
    /// The steps by which the container's network would be made. Nothing is changed: addresses and names that are chosen
    /// when it is run may differ.
    ///
    /// # Errors
    /// [`EngineError`] when it would be refused.
    pub fn plan_run(&mut self, request: &RunRequest) -> Result<Vec<Op>, EngineError> {
        let request = &self.with_all_ports(request);
        let (placement, new) = self.specify_placed(request, MakeReal::Plan)?;
        let unreal = placement.unreal.clone();
        let (owner, boot) = (self.me, self.boot.clone());
        let recorded = self.store.rehearse(|records| {
            for network in &unreal {
                // The default network before its first use.
                if records
                    .network(&network.id)?
                    .is_some_and(|record| record.network.bridge.is_none())
                {
                    records.equip_network(network)?;
                }
            }
            record(records, &new, &placement, request, (owner, &boot))
        })?;
        let mut plan = self.create_plan(&unreal)?;
        plan.extend(self.plug_in_plan(&recorded));
        Ok(plan)
    }

    /// Starts a container. When this fails, nothing of it remains.
    ///
    /// # Errors
    /// [`EngineError`], with the exit status that `run` ends with.
    pub fn run(&mut self, request: &RunRequest, launch: Launch) -> Result<Started, EngineError> {
        cgroup::expect_a_move();
        self.settle_half_done()?;
        let request = &self.with_all_ports(request);
        let (placement, new) = self.specify_placed(request, MakeReal::Do)?;
        let recorded = match self.record(&new, &placement, request) {
            // The holder may be a container that died, after which nobody has cleaned up yet.
            Err(error) if error.is_of_a_holder() => {
                self.settle()?;
                self.record(&new, &placement, request)?
            }
            recorded => recorded?,
        };
        for warning in warnings(&placement, request) {
            self.journal.warn(&warning);
        }
        match self.start(&recorded, launch) {
            Ok(attachment) => Ok(Started {
                id: recorded.id,
                attachment,
            }),
            Err(error) => Err(match self.discard(&recorded.id) {
                Ok(()) => error,
                Err(also) => EngineError::AndThen {
                    error: Box::new(error),
                    also: Box::new(also),
                },
            }),
        }
    }

    /// What the container is to be, and where it is plugged in. All that can be refused without records is.
    fn specify_placed(
        &mut self,
        request: &RunRequest,
        make_real: MakeReal,
    ) -> Result<(Placement, Specified), EngineError> {
        let (id, name, mut spec) = specify(request, &self.config.dns)?;
        self.check_name(&name)?;
        self.check_ports(&request.attach.ports)?;
        let placement = self.place(request, make_real)?;
        spec.namespace = placement.namespace.clone();
        if matches!(spec.namespace, NamespaceChoice::Host) && request.hostname.is_none() {
            spec.hostname = nix::unistd::gethostname()
                .map_err(|errno| EngineError::io("read", "the host name")(errno.into()))?
                .to_string_lossy()
                .into_owned();
        }
        Ok((placement, Specified { id, name, spec }))
    }

    /// Refuses a name that is taken before anything is made. Two commands may pass here with one name: the record decides.
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

    /// Records the container and its endpoints in one transaction.
    fn record(
        &mut self,
        new: &Specified,
        placement: &Placement,
        request: &RunRequest,
    ) -> Result<Recorded, EngineError> {
        let (owner, boot) = (self.me, self.boot.clone());
        self.store
            .write(|records| record(records, new, placement, request, (owner, &boot)))
    }

    fn plug_in_plan(&self, recorded: &Recorded) -> Vec<Op> {
        if recorded.spec.namespace != NamespaceChoice::Own {
            return Vec::new();
        }
        let namespace = self.namespace_path(recorded.id.as_str());
        let mut ops = vec![plan::create_namespace(&namespace)];
        for (network, endpoint) in &recorded.endpoints {
            ops.extend(plan::attach(network, endpoint, &namespace));
        }
        ops
    }

    fn start(&mut self, recorded: &Recorded, launch: Launch) -> Result<Option<Attachment>, EngineError> {
        let paths = self.container_paths(recorded.id.as_str());
        let mut command = launch.shim;
        command.arg(recorded.id.as_str());
        // The shim gets ready while we plug in and mount.
        let launcher = shim::spawn(command, &paths)?;
        if let Err(error) = self.prepare(recorded, &paths) {
            launcher.cancel();
            return Err(error);
        }
        let spec = &recorded.spec;
        let request = StartRequest {
            paths,
            runtime: spec.runtime.clone(),
            tty: spec.tty,
            open_stdin: spec.open_stdin,
            window: launch.window,
            attach: launch.streams,
            relays: self.relays(recorded.endpoints.iter().map(|(network, endpoint)| (network, endpoint))),
        };
        // The shim records that it runs: it is at the container from then on, also if we die meanwhile.
        let (_, attachment) = launcher.start(&request)?;
        Ok(attachment)
    }

    /// Makes all that the container's first process needs.
    fn prepare(&mut self, recorded: &Recorded, paths: &ContainerPaths) -> Result<(), EngineError> {
        let namespaces = self.namespaces_dir();
        std::fs::create_dir_all(&namespaces).map_err(EngineError::io("create", namespaces))?;
        let plan = self.plug_in_plan(recorded);
        self.apply(&plan)?;
        let layer = if recorded.spec.auto_remove {
            WritableLayer::Discarded
        } else {
            WritableLayer::Kept
        };
        rootfs::mount(&recorded.spec.rootfs, paths, layer)?;
        self.write_etc_files(recorded)?;
        oci::spec::write_bundle(&recorded.spec, paths, self.joined_namespace(recorded).as_deref())?;
        Ok(())
    }

    /// The namespace that the bundle joins; `None` for the host's.
    fn joined_namespace(&self, recorded: &Recorded) -> Option<PathBuf> {
        let owner = match &recorded.spec.namespace {
            NamespaceChoice::Own => &recorded.id,
            NamespaceChoice::Container(other) => other,
            NamespaceChoice::Host => return None,
        };
        Some(PathBuf::from(self.namespace_path(owner.as_str()).0))
    }

    fn write_etc_files(&mut self, recorded: &Recorded) -> Result<(), EngineError> {
        let (spec, paths) = (&recorded.spec, self.container_paths(recorded.id.as_str()));
        let mut addresses = Vec::new();
        if let NamespaceChoice::Container(other) = &spec.namespace {
            let endpoints = self.store.read(|records| records.endpoints_of_container(other))?;
            addresses.extend(
                endpoints
                    .iter()
                    .flat_map(|r| r.endpoint.addresses.iter().map(|a| a.address)),
            );
        }
        for (_, endpoint) in &recorded.endpoints {
            addresses.extend(
                [Family::V4, Family::V6]
                    .into_iter()
                    .filter_map(|family| endpoint.address(family)),
            );
        }
        let hosts = etc_files::hosts(&addresses, &[&spec.hostname, &spec.name]);
        let resolv_conf = match spec.namespace {
            // On the host's network its own name servers are reached, on loopback as well.
            NamespaceChoice::Host if spec.dns.is_empty() => read_or_empty(Path::new("/etc/resolv.conf")),
            _ => etc_files::resolv_conf(&spec.dns, &etc_files::host_resolv_conf()),
        };
        etc_files::write(&paths, &hosts, &spec.hostname, &resolv_conf)
            .map_err(EngineError::io("write the files of /etc in", paths.state_dir()))
    }
}

fn record(
    records: &Records,
    new: &Specified,
    placement: &Placement,
    request: &RunRequest,
    (owner, boot): (ProcessId, &str),
) -> Result<Recorded, EngineError> {
    let Specified { id, name, spec } = new;
    let text = serde_json::to_string(spec).map_err(|source| EngineError::Record {
        name: name.to_string(),
        source,
    })?;
    let joins = joined(records, spec)?;
    let (container, now) = (id, now());
    let recording = Recording {
        container,
        owner,
        boot,
        now,
    };
    let new = NewContainer {
        id,
        name,
        spec: &text,
        joins,
        created: now,
    };
    if !records.insert_container(&new, owner, boot)? {
        let holder = records.find_containers(name.as_str())?.pop();
        let id = holder.map_or_else(String::new, |container| container.id.short().to_owned());
        return Err(EngineError::NameTaken {
            name: name.to_string(),
            id,
        });
    }
    let mut endpoints = Vec::new();
    for (network, wish) in &placement.endpoints {
        // It may have been removed since it was found.
        match records.network(&network.id)? {
            Some(record) if record.state == State::Ready => {}
            _ => return Err(EngineError::Busy(network.name.to_string())),
        }
        let ports = &request.attach.ports;
        let ports = if network.internal { &[][..] } else { ports.as_slice() };
        endpoints.push((
            network.clone(),
            record_endpoint(records, network, wish, ports, recording)?,
        ));
    }
    let (id, spec) = (id.clone(), spec.clone());
    Ok(Recorded { id, spec, endpoints })
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

/// A host without the file gives its containers an empty one.
fn read_or_empty(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn warnings(placement: &Placement, request: &RunRequest) -> Vec<String> {
    let mut warnings = Vec::new();
    let publishes = !request.attach.ports.is_empty();
    if publishes && placement.namespace == NamespaceChoice::Host {
        warnings.push("published ports are discarded on the host's network: the container is there already".to_owned());
    }
    if let Some((network, _)) = placement
        .endpoints
        .iter()
        .find(|(network, wish)| wish.publishes && network.internal)
        && publishes
    {
        warnings.push(format!(
            "published ports are discarded: network {:?} is internal",
            network.name.as_str()
        ));
    }
    warnings
}
