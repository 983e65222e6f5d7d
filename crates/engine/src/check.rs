//! `system check`: what the records say against what is there.

use std::fs;
use std::io;

use zdocker_host::netns;
use zdocker_host::store::{ContainerRecord, ContainerState};
use zdocker_net::installation::Installation;
use zdocker_net::names::Id;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reload::{Difference, Reloaded, Scope};

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
        let found = self.compare(&Scope::All)?;
        let whose = &self.installation;
        findings.extend(found.differences.iter().map(|difference| describe(difference, whose)));
        let refused = found.refused.iter().filter(|error| !is_found_already(error));
        findings.extend(refused.map(ToString::to_string));
        for id in self.half_changed_containers()? {
            let container = self.store.read(|records| records.container(&id))?;
            let name = container.map_or_else(|| id.short().to_owned(), |record| record.name.to_string());
            findings.push(format!("published ports of container {name} are half changed"));
        }
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
        let mut done = Reloaded::default();
        self.mend_scope(&Scope::All, false, &mut done)?;
        for id in self.stray_namespaces()? {
            let path = self.namespaces_dir().join(&id);
            netns::delete(&path).map_err(|error| EngineError::io("remove", path)(io::Error::other(error)))?;
        }
        // Now that all interfaces are where they should be.
        self.settle_ports()?;
        match done.errors.into_iter().find(|error| !is_found_already(error)) {
            Some(error) => Err(error),
            None => Ok(findings),
        }
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

/// What is different, and what mends it.
pub(crate) fn describe(difference: &Difference, whose: &Installation) -> String {
    let steps = difference.steps.iter().map(|step| step.shown(whose).to_string());
    let lines: Vec<String> = steps
        .flat_map(|step| step.lines().map(|line| format!("\n    {line}")).collect::<Vec<_>>())
        .collect();
    let colon = if lines.is_empty() { "" } else { ":" };
    format!("{}{colon}{}", difference.finding, lines.concat())
}

/// A parent that is gone and not ours to make is a finding, too; it is no failure that we do not bring it back.
fn is_found_already(error: &EngineError) -> bool {
    matches!(error, EngineError::NoParent { .. })
}
