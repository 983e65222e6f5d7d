//! `system check`: what the records say against what is there.

use std::fs;
use std::io;
use std::path::Path;

use zdocker_host::netns;
use zdocker_host::store::{ContainerRecord, ContainerState, State};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::plan::{self, Missing};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::networks::real_things;

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
        for id in self.half_changed_containers()? {
            let container = self.store.read(|records| records.container(&id))?;
            let name = container.map_or_else(|| id.short().to_owned(), |record| record.name.to_string());
            findings.push(format!("published ports of container {name} are half changed"));
        }
        for (network, endpoint, astray) in self.astray_endpoints()? {
            let container = self.store.read(|records| records.container(&endpoint.container))?;
            let name = container.map_or_else(|| endpoint.container.to_string(), |record| record.name.to_string());
            findings.push(format!(
                "container {name} {} network {}",
                astray.describe(),
                network.name
            ));
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
        for (network, missing) in self.unreal_networks()? {
            let is_ours = network.parent.as_ref().is_none_or(|parent| parent.made.is_some());
            if missing != Missing::NotOurs && is_ours {
                let record = self.find_network(network.id.as_str())?;
                match self.real_network(record) {
                    // What a VLAN would be made on is gone as well; that is said, and keeps nothing else from being mended.
                    Err(error @ EngineError::NoParent { .. }) => self.journal.warn(&error.to_string()),
                    made => drop(made?),
                }
            }
        }
        for (network, endpoint, astray) in self.astray_endpoints()? {
            match astray {
                Astray::Unplugged => {
                    let seen = self.kernel().observe()?;
                    self.rejoin(&network, &seen)?;
                }
                Astray::NoInterface => {
                    let namespace = self.namespace_path(endpoint.container.as_str());
                    let seen = self.kernel().observe()?;
                    self.apply(&plan::reattach(&network, &endpoint, &namespace, &seen))?;
                }
            }
        }
        for id in self.stray_namespaces()? {
            let path = self.namespaces_dir().join(&id);
            netns::delete(&path).map_err(|error| EngineError::io("remove", path)(io::Error::other(error)))?;
        }
        // Now that all interfaces are where they should be.
        self.settle_ports()?;
        Ok(findings)
    }

    /// The networks that were made real in this boot and are no longer.
    fn unreal_networks(&mut self) -> Result<Vec<(Network, Missing)>, EngineError> {
        let mut unreal = Vec::new();
        for record in self.store.read(|records| records.networks())? {
            let this_boot = record.boot.as_deref() == Some(&self.boot);
            if record.state != State::Ready || !this_boot {
                continue;
            }
            let network = &record.network;
            let missing = match (&network.bridge, &network.parent) {
                (Some(bridge), _) => plan::missing(bridge, &self.kernel().observe_bridge(&bridge.name)?),
                (None, Some(parent)) if self.kernel().observe_link(&parent.name)?.is_none() => Missing::Parent,
                (None, _) => Missing::Nothing,
            };
            if missing != Missing::Nothing {
                unreal.push((record.network, missing));
            }
        }
        Ok(unreal)
    }

    /// The endpoints of running containers that are not where they should be, on networks that are.
    fn astray_endpoints(&mut self) -> Result<Vec<(Network, Endpoint, Astray)>, EngineError> {
        let boot = self.boot.clone();
        let unreal = self.unreal_networks()?;
        let (networks, endpoints) = self.store.read(|records| real_things(records, &boot))?;
        let seen = self.kernel().observe()?;
        let mut astray = Vec::new();
        for endpoint in endpoints {
            let Some(network) = networks.iter().find(|network| network.id == endpoint.network) else {
                continue;
            };
            if unreal.iter().any(|(unreal, _)| unreal.id == network.id) {
                continue;
            }
            let Some(bridge) = &network.bridge else {
                if self.has_lost_its_interface(&endpoint)? {
                    astray.push((network.clone(), endpoint, Astray::NoInterface));
                }
                continue;
            };
            let how = match seen.master(&endpoint.host_interface) {
                Some(master) if *master == bridge.name => continue,
                _ if seen.link(&endpoint.host_interface).is_some() => Astray::Unplugged,
                _ => Astray::NoInterface,
            };
            astray.push((network.clone(), endpoint, how));
        }
        Ok(astray)
    }

    /// Whether the interface of an endpoint on a parent, which is seen in its container's namespace only, is gone.
    fn has_lost_its_interface(&mut self, endpoint: &Endpoint) -> Result<bool, EngineError> {
        let namespace = self.namespace_path(endpoint.container.as_str());
        let namespace = Path::new(&namespace.0);
        // A namespace that is gone is its container's matter.
        Ok(namespace.exists() && !self.kernel().has_inside(namespace, &endpoint.host_interface)?)
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

/// How an endpoint is not where it should be.
#[derive(Debug, Clone, Copy)]
enum Astray {
    /// Its interface is in no bridge, or in another.
    Unplugged,
    /// Its interface is gone.
    NoInterface,
}

impl Astray {
    fn describe(self) -> &'static str {
        match self {
            Astray::Unplugged => "is unplugged from the bridge of",
            Astray::NoInterface => "has lost its interface to",
        }
    }
}

fn describe(network: &Network, missing: &Missing) -> String {
    let what = match missing {
        Missing::Nothing => "is real",
        Missing::Bridge => "has lost its bridge",
        Missing::Firewall => "has lost its firewall rules",
        Missing::Parent => "has lost its parent interface",
        Missing::NotOurs => "has a bridge that is somebody else's",
    };
    format!("network {} {what}", network.name)
}
