//! `/etc/hosts` of containers: each lists its neighbours on its networks by their names and aliases, and follows
//! changes.
//!
//! A container reads the records with its own file locked; whoever comes later is in the records before it adds itself
//! to the files of its neighbours. So nobody is missed, whoever is first.

use std::net::IpAddr;

use zdocker_host::store::Records;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;

use super::spec::ContainerSpec;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::etc_files::{self, HostsFile, HostsLine};

impl Engine {
    /// Writes a container's own file, and adds it to those of its neighbours.
    pub(super) fn write_hosts(
        &mut self,
        spec: &ContainerSpec,
        endpoints: &[(Network, Endpoint)],
    ) -> Result<(), EngineError> {
        let file = self.container_paths(&spec.id).etc_file("hosts");
        let failed = |path| EngineError::io("write", path);
        let mut hosts = HostsFile::create(&file).map_err(failed(file.clone()))?;
        let mut lines: Vec<HostsLine> = spec
            .extra_hosts
            .iter()
            .map(|extra| HostsLine::new(extra.address, [extra.name.as_str()]))
            .collect();
        self.store.read(|records| {
            for (_, endpoint) in endpoints {
                lines.extend(neighbours(records, &endpoint.network, &endpoint.container)?);
            }
            Ok::<_, EngineError>(())
        })?;
        let full = spec.full_hostname();
        let names = own_names(spec, full.as_deref());
        let own = endpoints.iter().flat_map(|(_, endpoint)| own_lines(endpoint, &names));
        hosts.set(&etc_files::hosts(own.chain(lines))).map_err(failed(file))?;
        drop(hosts);
        self.announce(&spec.name, endpoints)
    }

    /// Adds endpoints of a container to the files of its neighbours.
    pub(super) fn announce(&mut self, name: &str, endpoints: &[(Network, Endpoint)]) -> Result<(), EngineError> {
        for (network, endpoint) in endpoints {
            let lines = lines(endpoint, name);
            self.edit_hosts(&network.id, &endpoint.container, |file| file.add(&lines))?;
        }
        Ok(())
    }

    /// Takes endpoints of a container out of the files of its neighbours.
    pub(super) fn withdraw(&mut self, endpoints: &[(Network, Endpoint)]) -> Result<(), EngineError> {
        for (network, endpoint) in endpoints {
            let addresses = addresses(endpoint);
            self.edit_hosts(&network.id, &endpoint.container, |file| file.remove(&addresses))?;
        }
        Ok(())
    }

    /// Tells a container that runs what it gained by one more endpoint: its own names there, and its neighbours'.
    pub(super) fn greet(&mut self, spec: &ContainerSpec, endpoint: &Endpoint) -> Result<(), EngineError> {
        let Some(mut file) = self.hosts_file(&spec.id)? else {
            return Ok(());
        };
        let met = self
            .store
            .read(|records| neighbours(records, &endpoint.network, &endpoint.container))?;
        let full = spec.full_hostname();
        let mut lines: Vec<HostsLine> = own_lines(endpoint, &own_names(spec, full.as_deref())).collect();
        lines.extend(met);
        self.edited(&spec.id, file.add(&lines))
    }

    /// The opposite, for a network that the container is no longer on.
    pub(super) fn leave(&mut self, container: &Id, endpoint: &Endpoint) -> Result<(), EngineError> {
        let Some(mut file) = self.hosts_file(container.as_str())? else {
            return Ok(());
        };
        let met = self
            .store
            .read(|records| records.named_endpoints_of(&endpoint.network))?;
        let mut gone = addresses(endpoint);
        gone.extend(met.iter().flat_map(|(neighbour, _)| addresses(neighbour)));
        self.edited(container.as_str(), file.remove(&gone))
    }

    fn edit_hosts(
        &mut self,
        network: &Id,
        container: &Id,
        edit: impl Fn(&mut HostsFile) -> std::io::Result<()>,
    ) -> Result<(), EngineError> {
        let others = self.store.read(|records| records.containers_of_network(network))?;
        for neighbour in others.iter().filter(|other| *other != container) {
            let edited = match self.hosts_file(neighbour.as_str()) {
                Ok(Some(mut file)) => self.edited(neighbour.as_str(), edit(&mut file)),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            // What is wrong with a neighbour's file is no reason to stop.
            if let Err(error) = edited {
                self.journal.warn(&error.to_string());
            }
        }
        Ok(())
    }

    /// The file of a container; `None` while it has none.
    fn hosts_file(&self, container: &str) -> Result<Option<HostsFile>, EngineError> {
        let path = self.container_paths(container).etc_file("hosts");
        HostsFile::open(&path).map_err(EngineError::io("open", path))
    }

    fn edited(&self, container: &str, result: std::io::Result<()>) -> Result<(), EngineError> {
        let path = self.container_paths(container).etc_file("hosts");
        result.map_err(EngineError::io("write", path))
    }
}

/// How everybody else on a network is known who stays there. Who is leaving has been told of its neighbours already.
fn neighbours(records: &Records, network: &Id, container: &Id) -> Result<Vec<HostsLine>, EngineError> {
    let staying = records.staying_endpoints_of(network)?.into_iter();
    let others = staying.filter(|(endpoint, _)| endpoint.container != *container);
    Ok(others.flat_map(|(endpoint, name)| lines(&endpoint, &name)).collect())
}

/// How neighbours know an endpoint: its container's name, its aliases, and the start of its container's identifier.
fn lines(endpoint: &Endpoint, name: &str) -> Vec<HostsLine> {
    let names = std::iter::once(name)
        .chain(endpoint.settings.aliases.iter().map(String::as_str))
        .chain([endpoint.container.short()]);
    addresses(endpoint)
        .into_iter()
        .map(|address| HostsLine::new(address, names.clone()))
        .collect()
}

/// What a container calls itself, the name that hosts(5) has as the canonical one first.
fn own_names<'a>(spec: &'a ContainerSpec, full: Option<&'a str>) -> Vec<&'a str> {
    let names = [spec.hostname.as_str(), spec.name.as_str()];
    full.into_iter().chain(names).collect()
}

/// How a container knows its own endpoint.
fn own_lines(endpoint: &Endpoint, names: &[&str]) -> impl Iterator<Item = HostsLine> {
    let names: Vec<&str> = names
        .iter()
        .copied()
        .chain(endpoint.settings.aliases.iter().map(String::as_str))
        .collect();
    let line = move |address| HostsLine::new(address, names.iter().copied());
    addresses(endpoint)
        .into_iter()
        .map(line)
        .collect::<Vec<_>>()
        .into_iter()
}

fn addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    endpoint.addresses.iter().map(|own| own.address).collect()
}
