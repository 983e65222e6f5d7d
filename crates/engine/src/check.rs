//! `system check`: what the records say against what is there.

use std::fs;
use std::io;

use zdocker_host::netns;
use zdocker_host::store::{ContainerRecord, ContainerState, State};
use zdocker_net::model::Network;
use zdocker_net::names::Id;
use zdocker_net::plan::{self, Missing};

use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// What is wrong, a line each; nothing is changed.
    ///
    /// # Errors
    /// [`EngineError`] when the records or the host cannot be read.
    pub fn check(&mut self) -> Result<Vec<String>, EngineError> {
        let mut findings = Vec::new();
        for record in self.store.read(|records| records.unsettled_containers())? {
            if self.is_dead(&record) {
                let state = record.state.as_str();
                findings.push(format!(
                    "container {} is recorded as {state}, and nobody is at it",
                    record.name
                ));
            }
        }
        for record in self.store.read(|records| records.half_done_networks())? {
            findings.push(format!("network {} is half created or removed", record.network.name));
        }
        findings.extend(
            self.unreal_networks()?
                .iter()
                .map(|(network, missing)| describe(network, missing)),
        );
        findings.extend(
            self.stray_namespaces()?
                .iter()
                .map(|id| format!("namespace {id} belongs to no container")),
        );
        Ok(findings)
    }

    /// Puts right what [`Engine::check`] finds, and says what it was.
    ///
    /// # Errors
    /// [`EngineError`] when something could not be put right.
    pub fn repair(&mut self) -> Result<Vec<String>, EngineError> {
        let findings = self.check()?;
        self.settle()?;
        for (network, missing) in self.unreal_networks()? {
            if missing != Missing::NotOurs {
                let record = self.find_network(network.id.as_str())?;
                self.real_network(record)?;
            }
        }
        for id in self.stray_namespaces()? {
            let path = self.namespaces_dir().join(&id);
            netns::delete(&path).map_err(|error| EngineError::io("remove", path)(io::Error::other(error)))?;
        }
        Ok(findings)
    }

    /// The networks that were made real in this boot and are no longer.
    fn unreal_networks(&mut self) -> Result<Vec<(Network, Missing)>, EngineError> {
        let mut unreal = Vec::new();
        for record in self.store.read(|records| records.networks())? {
            let this_boot = record.boot.as_deref() == Some(&self.boot);
            let Some(bridge) = record
                .network
                .bridge
                .clone()
                .filter(|_| record.state == State::Ready && this_boot)
            else {
                continue;
            };
            match plan::missing(&bridge, &self.kernel().observe_bridge(&bridge.name)?) {
                Missing::Nothing => {}
                missing => unreal.push((record.network, missing)),
            }
        }
        Ok(unreal)
    }

    /// Pinned namespaces of containers that are not recorded.
    fn stray_namespaces(&mut self) -> Result<Vec<String>, EngineError> {
        let directory = self.namespaces_dir();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(EngineError::io("read", directory)(error)),
        };
        let names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let recorded = |record: Option<ContainerRecord>| record.is_some_and(|r| r.state != ContainerState::Exited);
        let mut stray = Vec::new();
        for name in names {
            if !recorded(self.store.read(|records| records.container(&Id::from(name.clone())))?) {
                stray.push(name);
            }
        }
        Ok(stray)
    }
}

fn describe(network: &Network, missing: &Missing) -> String {
    let what = match missing {
        Missing::Nothing => "is real",
        Missing::Bridge => "has lost its bridge",
        Missing::Firewall => "has lost its firewall rules",
        Missing::NotOurs => "has a bridge that is somebody else's",
    };
    format!("network {} {what}", network.name)
}
