//! Verbs on containers that are there: stop, kill, rm, exec, logs.

use std::io::Write;
use std::time::Duration;

use zdocker_host::process::ProcessId;
use zdocker_host::store::{Claim, ContainerRecord, ContainerState};

use super::ended::read_spec;
use super::spec::ContainerSpec;
use super::view::find;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::exec::{self, ExecRequest};
use crate::logs::{self, LogOptions};
use crate::shim::attach::Attachment;
use crate::shim::protocol::Streams;
use crate::signals::{ProcessRef, Signal};

/// How long somebody who is taking a container down is waited for.
const TAKING_DOWN: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn find_container(&mut self, text: &str) -> Result<ContainerRecord, EngineError> {
        self.settle()?;
        self.store.read(|records| find(records, text))
    }

    pub(super) fn running_container(&mut self, text: &str) -> Result<(ContainerRecord, ContainerSpec), EngineError> {
        let record = self.find_container(text)?;
        if record.state != ContainerState::Running {
            return Err(EngineError::NotRunning(record.name.to_string()));
        }
        let spec = read_spec(&record)?;
        Ok((record, spec))
    }

    /// Stops a container: `signal`, and SIGKILL if it still runs after `grace`. One that does not run is stopped
    /// already. When this returns, its network is taken down.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn stop(&mut self, text: &str, signal: Signal, grace: Duration) -> Result<(), EngineError> {
        let record = self.find_container(text)?;
        match record.process.filter(|_| record.state == ContainerState::Running) {
            Some(process) => self.stop_running(&record, process, signal, grace),
            None => Ok(()),
        }
    }

    fn stop_running(
        &mut self,
        record: &ContainerRecord,
        process: ProcessId,
        signal: Signal,
        grace: Duration,
    ) -> Result<(), EngineError> {
        let paths = self.container_paths(record.id.as_str());
        let shim = Attachment::connect(&paths, Streams::default());
        ProcessRef::from(process).stop(signal, grace)?;
        // The shim says when it has taken everything down; where there is none any more, we do it.
        let waited = shim.and_then(Attachment::wait);
        if waited.is_err() {
            if let Some(owner) = record.owner {
                // It may be past answering, and at taking down.
                ProcessRef::from(owner).wait(Some(TAKING_DOWN))?;
            }
            self.settle()?;
        }
        match self.store.read(|records| records.container(&record.id))? {
            Some(left) if left.state == ContainerState::Running => Err(EngineError::NotRemoved {
                what: format!("container {:?}, which has ended,", record.name.as_str()),
                failures: format!("see {}", paths.shim_log().display()),
            }),
            _ => Ok(()),
        }
    }

    /// Sends a signal to a running container's first process.
    ///
    /// # Errors
    /// [`EngineError`] when it does not run.
    pub fn kill(&mut self, text: &str, signal: Signal) -> Result<(), EngineError> {
        let (record, _) = self.running_container(text)?;
        let name = record.name.to_string();
        let process = record.process.ok_or_else(|| EngineError::NotRunning(name.clone()))?;
        if ProcessRef::from(process).send(signal)? {
            Ok(())
        } else {
            Err(EngineError::NotRunning(name))
        }
    }

    /// Removes a container; with `force` one that runs as well.
    ///
    /// # Errors
    /// [`EngineError`] when it runs and may not be killed, or could not be wholly removed.
    pub fn remove_container(&mut self, text: &str, force: bool) -> Result<(), EngineError> {
        let mut record = self.find_container(text)?;
        if let Some(process) = record.process.filter(|_| record.state == ContainerState::Running) {
            if !force {
                return Err(EngineError::Running(record.name.to_string()));
            }
            self.stop_running(&record, process, Signal::KILL, Duration::ZERO)?;
            match self.store.read(|records| records.container(&record.id))? {
                Some(stopped) => record = stopped,
                // It removed itself.
                None => return Ok(()),
            }
        }
        match self.claim(&record.id)? {
            Claim::Ours(record) => {
                let (id, me) = (&record.id, self.me);
                self.store
                    .write(|records| records.set_container_state(id, ContainerState::Removing, Some(me)))?;
                self.remove_record(&record)
            }
            // Somebody else removes it, and it is going.
            Claim::Held(held) if held.state == ContainerState::Removing => Ok(()),
            Claim::Held(held) => Err(EngineError::BusyContainer {
                name: held.name.to_string(),
                pid: held.owner.map_or(0, |owner| owner.pid),
            }),
            Claim::Gone => Ok(()),
        }
    }

    /// Runs one more process in a container, and gives its exit status.
    ///
    /// # Errors
    /// [`EngineError`], with the exit status that `exec` ends with.
    pub fn exec(&mut self, text: &str, request: &ExecRequest) -> Result<i32, EngineError> {
        let (record, spec) = self.running_container(text)?;
        let process = record
            .process
            .ok_or_else(|| EngineError::NotRunning(record.name.to_string()))?;
        let paths = self.container_paths(record.id.as_str());
        Ok(exec::exec(&paths, spec.runtime.as_deref(), process.into(), request)?)
    }

    /// Copies a container's log to `stdout` and `stderr`.
    ///
    /// # Errors
    /// [`EngineError`] when there is no such container, or its log cannot be read.
    pub fn logs(
        &mut self,
        text: &str,
        options: LogOptions,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let record = self.find_container(text)?;
        let paths = self.container_paths(record.id.as_str());
        logs::copy(&paths, options, stdout, stderr).map_err(EngineError::io("copy the log", paths.log()))
    }
}
