//! What is done when a container has ended: by its shim, by a command whose start failed, or by whoever finds it dead.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use zdocker_host::process::ProcessId;
use zdocker_host::store::{Claim, ContainerRecord, ContainerState, State};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan;

use super::connect::plugged;
use super::paths::ContainerPaths;
use super::spec::ContainerSpec;
use crate::engine::{Engine, now};
use crate::error::EngineError;
use crate::signals::ProcessRef;
use crate::{rootfs, runtime};

/// The exit status of a container that nobody saw ending.
const UNKNOWN_EXIT_STATUS: i32 = 255;

/// How long a shim waits for its launcher to be dead, whose connection is closed already.
const LAUNCHER_ENDS: Duration = Duration::from_secs(10);

/// What remains of a container when it is taken down.
enum Remains {
    /// Its record, with its exit status, and its files.
    Kept(i32),
    /// Its record and its files, as they were before it was to be started.
    AsBefore,
    /// Nothing.
    Nothing,
}

impl Engine {
    /// Records that a container's first process runs. To be called by its shim, which is at it from now on.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be written.
    pub fn container_started(&mut self, id: &str, process: ProcessId) -> Result<(), EngineError> {
        let (id, me) = (Id::from(id.to_owned()), self.me);
        self.store.write(|records| {
            records.container_started(&id, process, me, now())?;
            Ok(records.set_endpoints_state(&id, State::Ready, None)?)
        })
    }

    /// Takes down a container that ended with `exit_status`. To be called by its shim.
    ///
    /// # Errors
    /// [`EngineError`] when a part of it could not be removed; a later command tries again.
    pub fn container_exited(&mut self, id: &str, exit_status: i32) -> Result<(), EngineError> {
        let Claim::Ours(record) = self.claim(&Id::from(id.to_owned()))? else {
            return Ok(());
        };
        let remains = if read_spec(&record)?.auto_remove {
            Remains::Nothing
        } else {
            Remains::Kept(exit_status)
        };
        self.take_down(&record, remains)
    }

    /// Takes down a container whose start was given up. To be called by its shim, when its launcher is gone.
    ///
    /// # Errors
    /// [`EngineError`] when a part of it could not be removed; a later command tries again.
    pub fn container_abandoned(&mut self, id: &str) -> Result<(), EngineError> {
        let id = Id::from(id.to_owned());
        let launcher = self
            .store
            .read(|records| records.container(&id))?
            .and_then(|record| record.owner);
        if let Some(launcher) = launcher {
            // Its end of the connection is closed a moment before it is dead.
            ProcessRef::from(launcher).wait(Some(LAUNCHER_ENDS))?;
        }
        self.discard(&id)
    }

    /// Takes down a container that could not be started.
    pub(super) fn discard(&mut self, id: &Id) -> Result<(), EngineError> {
        match self.claim(id)? {
            Claim::Ours(record) if record.kept => self.take_down(&record, Remains::AsBefore),
            Claim::Ours(record) => self.take_down(&record, Remains::Nothing),
            // Whoever is at it by now goes on with it.
            Claim::Held(_) | Claim::Gone => Ok(()),
        }
    }

    /// Makes us the one that takes a container down, unless somebody else is who lives.
    pub(super) fn claim(&mut self, id: &Id) -> Result<Claim, EngineError> {
        let me = self.me;
        let free = |record: &ContainerRecord| record.owner.is_none_or(|owner| owner == me || !is_alive(&owner));
        Ok(self.store.write(|records| records.claim_container(id, me, free))?)
    }

    /// Takes down the containers that some process was creating or removing when it died.
    pub(crate) fn settle_half_done(&mut self) -> Result<(), EngineError> {
        let half_done = self.store.read(|records| records.half_done_containers())?;
        self.settle_containers(&half_done);
        self.settle_endpoints()
    }

    /// Puts right what dead processes left behind: half-done records, and containers that ended without a shim to see
    /// it. What cannot be put right is warned about, and keeps nobody from anything else.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read.
    pub fn settle(&mut self) -> Result<(), EngineError> {
        let unsettled = self.store.read(|records| records.unsettled_containers())?;
        self.settle_containers(&unsettled);
        self.settle_endpoints()?;
        self.settle_ports()?;
        self.settle_networks()
    }

    fn settle_containers(&mut self, records: &[ContainerRecord]) {
        for record in records.iter().filter(|record| self.is_dead(record)).collect::<Vec<_>>() {
            if let Err(error) = self.settle_container(&record.id) {
                self.journal.warn(&format!(
                    "container {} died and cannot be cleaned up: {error}",
                    record.name
                ));
            }
        }
    }

    /// Whether nobody is at a container that is not settled, and it does not run.
    pub(crate) fn is_dead(&self, record: &ContainerRecord) -> bool {
        is_dead(record, &self.boot)
    }

    fn settle_container(&mut self, id: &Id) -> Result<(), EngineError> {
        let (me, boot) = (self.me, self.boot.clone());
        // It may have been settled by its shim, or by somebody else, since it was found dead.
        let dead = |record: &ContainerRecord| is_dead(record, &boot);
        let Claim::Ours(record) = self.store.write(|records| records.claim_container(id, me, dead))? else {
            return Ok(());
        };
        let remains = match record.state {
            ContainerState::Running if !read_spec(&record)?.auto_remove => Remains::Kept(UNKNOWN_EXIT_STATUS),
            ContainerState::Creating if record.kept => Remains::AsBefore,
            _ => Remains::Nothing,
        };
        self.take_down(&record, remains)
    }

    /// Removes a container that does not run. To be called by whoever has claimed it.
    pub(super) fn remove_record(&mut self, record: &ContainerRecord) -> Result<(), EngineError> {
        self.take_down(record, Remains::Nothing)
    }

    /// Each part is tried although another failed; the record stays until all are gone.
    fn take_down(&mut self, record: &ContainerRecord, remains: Remains) -> Result<(), EngineError> {
        let paths = self.container_paths(record.id.as_str());
        let unplugged = self.unplug_container(record);
        let stopped = delete_runtime(record, &paths);
        rootfs::unmount(&paths)?;
        unplugged.and(stopped)?;
        remove_dir(&paths.run_dir())?;
        match remains {
            Remains::Kept(status) => self
                .store
                .write(|records| records.container_exited(&record.id, status, now()))?,
            Remains::AsBefore => self.store.write(|records| records.container_not_started(&record.id))?,
            Remains::Nothing => {
                remove_dir(&paths.state_dir())?;
                self.store.write(|records| records.delete_container(&record.id))?;
            }
        }
        Ok(())
    }

    /// Unplugs a container from all its networks and lets go of its namespace; then its addresses and ports are free.
    fn unplug_container(&mut self, record: &ContainerRecord) -> Result<(), EngineError> {
        let id = &record.id;
        // Somebody may be connecting it to a network, disconnecting it, or publishing ports of it.
        let _lock = match record.state {
            ContainerState::Running => Some(self.lock_network_of(id)?),
            _ => None,
        };
        let namespace = self.namespace_path(id.as_str());
        let (endpoints, joined) = self
            .store
            .read(|records| Ok::<_, EngineError>((plugged(records, id)?, records.is_joined(id)?)))?;
        let detach = |(network, endpoint): &(Network, Endpoint)| {
            // A parent takes no second interface with these addresses, and the kernel reaps the namespace later.
            let at_once = joined || network.parent.is_some();
            plan::detach(network, endpoint, at_once.then_some(&namespace))
        };
        let mut plan: Vec<Op> = endpoints.iter().flat_map(detach).collect();
        if is_there(&namespace) {
            plan.push(Op::DeleteNamespace {
                path: namespace.clone(),
            });
        }
        self.take_away(&format!("the network of container {}", id.short()), &plan)?;
        if endpoints.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.withdraw(&endpoints) {
            self.journal.warn(&error.to_string());
        }
        self.store
            .write(|records| endpoints.iter().try_for_each(|(_, e)| records.delete_endpoint(&e.id)))?;
        Ok(())
    }
}

/// What the runtime keeps of a container whose shim did not live to delete it.
fn delete_runtime(record: &ContainerRecord, paths: &ContainerPaths) -> Result<(), EngineError> {
    if paths.runtime_root().join(record.id.as_str()).exists() {
        runtime::of_container(paths, read_spec(record)?.runtime.as_deref()).delete()?;
    }
    Ok(())
}

fn is_dead(record: &ContainerRecord, boot: &str) -> bool {
    let this_boot = record.boot.as_deref() == Some(boot);
    // Asking after a process costs more than all the rest, and lists ask for every container.
    let owned = || record.owner.as_ref().is_some_and(is_alive);
    let runs = || record.state == ContainerState::Running && record.process.as_ref().is_some_and(is_alive);
    record.state != ContainerState::Exited && !(this_boot && (owned() || runs()))
}

/// Who cannot be asked is taken for alive.
pub(crate) fn is_alive(process: &ProcessId) -> bool {
    process.is_alive().unwrap_or(true)
}

fn is_there(namespace: &NamespacePath) -> bool {
    Path::new(&namespace.0).exists()
}

/// What a container was asked to be.
pub(super) fn read_spec(record: &ContainerRecord) -> Result<ContainerSpec, EngineError> {
    let name = || record.name.to_string();
    serde_json::from_str(&record.spec).map_err(|source| EngineError::Record { name: name(), source })
}

fn remove_dir(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EngineError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
