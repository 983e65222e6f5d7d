//! Which containers are listed: Docker's filters. Values of one filter are alternatives.

use std::path::Path;

use regex_lite::Regex;
use zdocker_host::store::ContainerState;
use zdocker_net::model::UnixNanos;
use zdocker_net::ports::PublishedPort;

use super::view::{ContainerView, docker_status};
use crate::error::EngineError;
use crate::filter::{FilterError, Given, any};

const FILTERS: &str = "before, exited, expose, id, name, network, publish, since, status and volume";
const STATUSES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

/// Which containers are asked for.
#[derive(Debug, Default)]
pub struct ContainerQuery {
    /// Those that do not run, too.
    pub all: bool,
    /// What else they must be.
    pub filter: ContainerFilter,
    /// Only so many, the newest, whether they run or not.
    pub last: Option<usize>,
}

impl ContainerQuery {
    /// Whether containers in this state are looked at. Who asks for a state, or for the newest, wants them in any.
    pub(super) fn admits_state(&self, state: ContainerState) -> bool {
        let any_state = self.all || self.last.is_some() || !self.filter.statuses.is_empty();
        any_state || state == ContainerState::Running
    }
}

/// What containers must be to be listed.
#[derive(Debug, Default)]
pub struct ContainerFilter {
    ids: Vec<Regex>,
    names: Vec<Regex>,
    statuses: Vec<String>,
    exited: Vec<i32>,
    networks: Vec<String>,
    publish: Vec<PortRange>,
    expose: Vec<PortRange>,
    volumes: Vec<String>,
    before: Vec<String>,
    since: Vec<String>,
}

/// When the containers were created that `before` and `since` name.
#[derive(Debug)]
pub(super) struct Moments {
    before: Option<UnixNanos>,
    since: Option<UnixNanos>,
}

impl ContainerFilter {
    /// The filter of pairs of `KEY` and `VALUE`.
    ///
    /// # Errors
    /// [`FilterError`] when there is no such filter, or it does not take the value.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, FilterError> {
        let mut filter = ContainerFilter::default();
        for (key, value) in pairs {
            let given = Given { key, value };
            match key.as_str() {
                "id" => filter.ids.push(given.pattern()?),
                "name" => filter.names.push(given.pattern()?),
                "status" if STATUSES.contains(&value.as_str()) => filter.statuses.push(value.clone()),
                "status" => {
                    return Err(given.invalid("created, restarting, running, removing, paused, exited or dead"));
                }
                "exited" => {
                    let status = value.parse().map_err(|_| given.invalid("an exit status"))?;
                    filter.exited.push(status);
                }
                "network" => filter.networks.push(value.clone()),
                "publish" => filter.publish.push(PortRange::parse(given)?),
                "expose" => filter.expose.push(PortRange::parse(given)?),
                "volume" => filter.volumes.push(value.clone()),
                "before" => filter.before.push(value.clone()),
                "since" => filter.since.push(value.clone()),
                _ => return Err(given.unknown(FILTERS)),
            }
        }
        Ok(filter)
    }

    /// Finds out when the containers were created that the filter names.
    pub(super) fn moments(
        &self,
        created: impl Fn(&str) -> Result<UnixNanos, EngineError>,
    ) -> Result<Moments, EngineError> {
        let all = |names: &[String]| names.iter().map(|name| created(name)).collect::<Result<Vec<_>, _>>();
        Ok(Moments {
            before: all(&self.before)?.into_iter().min(),
            since: all(&self.since)?.into_iter().max(),
        })
    }

    /// Whether the container is listed.
    pub(super) fn admits(&self, view: &ContainerView, moments: &Moments) -> bool {
        let record = &view.record;
        let exit_status = record.exit_status.filter(|_| record.state == ContainerState::Exited);
        any(&self.ids, |pattern| pattern.is_match(record.id.as_str()))
            && any(&self.names, |pattern| is_named(pattern, record.name.as_str()))
            && any(&self.statuses, |wanted| wanted == docker_status(record))
            && any(&self.exited, |wanted| exit_status == Some(*wanted))
            && any(&self.networks, |wanted| is_on(view, wanted))
            && any(&self.publish, |range| {
                ports(view).any(|port| range.has(port, port.host_port))
            })
            && any(&self.expose, |range| {
                ports(view).any(|port| range.has(port, port.container_port))
            })
            && any(&self.volumes, |wanted| has_mount(view, Path::new(wanted)))
            && moments.before.is_none_or(|moment| record.created < moment)
            && moments.since.is_none_or(|moment| record.created > moment)
    }
}

/// Docker's containers have names that begin with a slash, and patterns are written with and without it.
fn is_named(pattern: &Regex, name: &str) -> bool {
    pattern.is_match(name) || pattern.is_match(&format!("/{name}"))
}

fn is_on(view: &ContainerView, wanted: &str) -> bool {
    view.plugged().into_iter().any(|(network, _)| {
        wanted == network.name.as_str() || wanted == network.id.as_str() || wanted == network.id.short()
    })
}

fn ports(view: &ContainerView) -> impl Iterator<Item = &PublishedPort> {
    view.endpoints.iter().flat_map(|endpoint| &endpoint.ports)
}

fn has_mount(view: &ContainerView, path: &Path) -> bool {
    let mounts = view.spec.mounts.iter();
    mounts
        .into_iter()
        .any(|mount| mount.source == path || mount.destination == path)
}

/// Ports of one protocol: `80`, `80/udp`, `8000-8010/tcp`.
#[derive(Debug)]
struct PortRange {
    first: u16,
    last: u16,
    protocol: String,
}

impl PortRange {
    fn parse(given: Given) -> Result<Self, FilterError> {
        let (ports, protocol) = given.value.split_once('/').unwrap_or((given.value, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last && !protocol.is_empty() => Ok(PortRange {
                first,
                last,
                protocol: protocol.to_ascii_lowercase(),
            }),
            _ => Err(given.invalid("a port or a range of ports, perhaps with a protocol: 80, 53/udp, 8000-8010/tcp")),
        }
    }

    fn has(&self, port: &PublishedPort, number: u16) -> bool {
        (self.first..=self.last).contains(&number) && port.protocol.to_string() == self.protocol
    }
}
