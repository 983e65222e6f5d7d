//! What is done when a container has ended: by its shim, by a command whose start failed, or by whoever finds it dead.

use std::fs;
use std::io;
use std::path::Path;

use zdocker_host::process::ProcessId;
use zdocker_host::store::{ContainerRecord, ContainerState};
use zdocker_net::names::Id;
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan;

use super::paths::ContainerPaths;
use super::spec::ContainerSpec;
use crate::engine::{Engine, now};
use crate::error::EngineError;
use crate::{rootfs, runtime};

/// The exit status of a container that nobody saw ending.
const UNKNOWN_EXIT_STATUS: i32 = 255;

/// What remains of a container when it is taken down.
enum Remains {
    /// Its record, with its exit status, and its files.
    Kept(i32),
    /// Nothing.
    Nothing,
}

impl Engine {
    /// Takes down a container that ended with `exit_status`. To be called by its shim.
    ///
    /// # Errors
    /// [`EngineError`] when a part of it could not be removed; a later command tries again.
    pub fn container_exited(&mut self, id: &str, exit_status: i32) -> Result<(), EngineError> {
        let Some(record) = self.store.read(|records| records.container(&Id::from(id.to_owned())))? else {
            return Ok(());
        };
        let remains = if read_spec(&record)?.auto_remove {
            Remains::Nothing
        } else {
            Remains::Kept(exit_status)
        };
        self.take_down(&record, remains)
    }

    /// Takes down a container whose start was given up. To be called by its shim, when its launcher died.
    ///
    /// # Errors
    /// [`EngineError`] when a part of it could not be removed; a later command tries again.
    pub fn container_abandoned(&mut self, id: &str) -> Result<(), EngineError> {
        self.discard(&Id::from(id.to_owned()))
    }

    /// Takes down a container that was never started.
    pub(super) fn discard(&mut self, id: &Id) -> Result<(), EngineError> {
        let record = self.store.read(|records| records.container(id))?;
        let me = self.me;
        let Some(record) = record else { return Ok(()) };
        // Its launcher may be dead, or be us; whoever else is at it by now goes on with it.
        let claimed = self
            .store
            .write(|records| records.claim_container(id, record.owner, me))?;
        if claimed {
            self.take_down(&record, Remains::Nothing)
        } else {
            Ok(())
        }
    }

    /// Takes down the containers that some process was creating or removing when it died.
    pub(crate) fn settle_half_done(&mut self) -> Result<(), EngineError> {
        for record in self.store.read(|records| records.half_done_containers())? {
            self.settle_container(&record)?;
        }
        Ok(())
    }

    /// Puts right what dead processes left behind: half-done records, and containers that ended without a shim to see it.
    /// Gives the names of the containers and networks that were taken down.
    ///
    /// # Errors
    /// [`EngineError`] when a part could not be removed.
    pub fn settle(&mut self) -> Result<Vec<String>, EngineError> {
        let mut settled = Vec::new();
        for record in self.store.read(|records| records.unsettled_containers())? {
            if self.settle_container(&record)? {
                settled.push(record.name.to_string());
            }
        }
        self.settle_networks()?;
        Ok(settled)
    }

    /// Whether nobody is at a container that is not settled, and it does not run.
    pub(crate) fn is_dead(&self, record: &ContainerRecord) -> bool {
        // Who cannot be asked is taken for alive.
        let alive = |process: &ProcessId| process.is_alive().unwrap_or(true);
        let this_boot = record.boot.as_deref() == Some(&self.boot);
        let runs = record.state == ContainerState::Running && record.process.as_ref().is_some_and(alive);
        !this_boot || !(record.owner.as_ref().is_some_and(alive) || runs)
    }

    fn settle_container(&mut self, record: &ContainerRecord) -> Result<bool, EngineError> {
        if !self.is_dead(record) {
            return Ok(false);
        }
        let me = self.me;
        if !self
            .store
            .write(|records| records.claim_container(&record.id, record.owner, me))?
        {
            return Ok(false);
        }
        let keeps = record.state == ContainerState::Running && !read_spec(record)?.auto_remove;
        let remains = if keeps {
            Remains::Kept(UNKNOWN_EXIT_STATUS)
        } else {
            Remains::Nothing
        };
        self.take_down(record, remains)?;
        Ok(true)
    }

    /// Removes a container that does not run. To be called by whoever has claimed it.
    pub(super) fn remove_record(&mut self, record: &ContainerRecord) -> Result<(), EngineError> {
        self.take_down(record, Remains::Nothing)
    }

    /// Each part is tried although another failed; the record stays until all are gone.
    fn take_down(&mut self, record: &ContainerRecord, remains: Remains) -> Result<(), EngineError> {
        let paths = self.container_paths(record.id.as_str());
        let unplugged = self.unplug(&record.id);
        let stopped = delete_runtime(record, &paths);
        rootfs::unmount(&paths)?;
        unplugged.and(stopped)?;
        remove_dir(&paths.run_dir())?;
        match remains {
            Remains::Kept(status) => self
                .store
                .write(|records| records.container_exited(&record.id, status, now()))?,
            Remains::Nothing => {
                remove_dir(&paths.state_dir())?;
                self.store.write(|records| records.delete_container(&record.id))?;
            }
        }
        Ok(())
    }

    /// Unplugs a container from all its networks and lets go of its namespace; then its addresses and ports are free.
    fn unplug(&mut self, id: &Id) -> Result<(), EngineError> {
        let namespace = self.namespace_path(id.as_str());
        let (endpoints, joined) = self.store.read(|records| {
            let mut endpoints = Vec::new();
            for record in records.endpoints_of_container(id)? {
                if let Some(network) = records.network(&record.endpoint.network)? {
                    endpoints.push((network.network, record.endpoint));
                }
            }
            Ok::<_, EngineError>((endpoints, records.is_joined(id)?))
        })?;
        let mut plan: Vec<Op> = endpoints
            .iter()
            .flat_map(|(network, endpoint)| plan::detach(network, endpoint, joined))
            .collect();
        if is_there(&namespace) {
            plan.push(Op::DeleteNamespace { path: namespace });
        }
        let failures = self.take_away(&plan);
        if !failures.is_empty() {
            let failures = failures
                .iter()
                .map(|f| format!("{}: {}", f.step, f.reason))
                .collect::<Vec<_>>()
                .join("; ");
            return Err(EngineError::NotRemoved {
                what: format!("the network of container {}", id.short()),
                failures,
            });
        }
        if endpoints.is_empty() {
            return Ok(());
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
