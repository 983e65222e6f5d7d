//! Looking at containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use zdocker_host::store::{ContainerRecord, ContainerState, ListedContainer, Records};
use zdocker_net::model::{Driver, Endpoint, Network};
use zdocker_net::names::Id;

use super::ContainerQuery;
use super::ended::read_spec;
use super::spec::{ContainerSpec, NamespaceChoice};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::networks::the_one;

/// A container with what it was asked to be and where it is plugged in.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// Its record.
    pub record: ContainerRecord,
    /// What it was asked to be.
    pub spec: ContainerSpec,
    /// Its endpoints, while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Every network there is.
    pub networks: Arc<BTreeMap<Id, Network>>,
}

impl ContainerView {
    fn new(listed: ListedContainer, networks: &Arc<BTreeMap<Id, Network>>) -> Result<Self, EngineError> {
        Ok(ContainerView {
            spec: read_spec(&listed.record)?,
            record: listed.record,
            endpoints: listed.endpoints,
            networks: Arc::clone(networks),
        })
    }

    /// The networks that it is on, each with its endpoint if it has one there: `host` and `none` have none.
    pub fn plugged(&self) -> Vec<(&Network, Option<&Endpoint>)> {
        let of_driver = |driver| self.networks.values().find(|network| network.driver == driver);
        let without_endpoint = match self.spec.namespace {
            NamespaceChoice::Host => of_driver(Driver::Host),
            NamespaceChoice::Own if self.endpoints.is_empty() && self.record.state == ContainerState::Running => {
                of_driver(Driver::None)
            }
            _ => None,
        };
        let endpoints = self
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((self.networks.get(&endpoint.network)?, Some(endpoint))));
        endpoints
            .chain(without_endpoint.map(|network| (network, None)))
            .collect()
    }
}

/// Docker's word for the state of a container.
pub fn docker_status(record: &ContainerRecord) -> &'static str {
    match record.state {
        ContainerState::Creating => "created",
        ContainerState::Exited if record.started.is_none() => "created",
        state => state.as_str(),
    }
}

/// The container that `text` means. `networks` are all there are.
pub(crate) fn view(
    records: &Records,
    text: &str,
    networks: &Arc<BTreeMap<Id, Network>>,
) -> Result<ContainerView, EngineError> {
    let record = find(records, text)?;
    let endpoints = records.endpoints_of_container(&record.id)?;
    let endpoints = endpoints.into_iter().map(|record| record.endpoint).collect();
    ContainerView::new(ListedContainer { record, endpoints }, networks)
}

/// The record of the container that `text` means: a name, an identifier or the start of one.
pub(super) fn find(records: &Records, text: &str) -> Result<ContainerRecord, EngineError> {
    let name = |record: &ContainerRecord| record.name.to_string();
    the_one(records.find_containers(text)?, text, "containers", name)?
        .ok_or_else(|| EngineError::NoSuchContainer(text.to_owned()))
}

impl Engine {
    /// The containers that `query` asks for, the newest first.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read, or the query names a container that is not there.
    pub fn containers(&mut self, query: &ContainerQuery) -> Result<Vec<ContainerView>, EngineError> {
        self.settle()?;
        self.store.read(|records| {
            let moments = query.filter.moments(|text| Ok(find(records, text)?.created))?;
            let networks = Arc::new(records.networks_by_id()?);
            let mut views = Vec::new();
            for listed in records.list_containers()? {
                if views.len() == query.last.unwrap_or(usize::MAX) {
                    break;
                }
                if query.admits_state(listed.record.state) {
                    let view = ContainerView::new(listed, &networks)?;
                    views.extend(query.filter.admits(&view, &moments).then_some(view));
                }
            }
            Ok(views)
        })
    }

    /// Where the network namespace that a container is in is pinned; `None` for the host's, and while it does not run.
    pub fn sandbox(&self, view: &ContainerView) -> Option<PathBuf> {
        let owner = match &view.spec.namespace {
            _ if view.record.state != ContainerState::Running => return None,
            NamespaceChoice::Own => &view.record.id,
            NamespaceChoice::Container(other) => other,
            NamespaceChoice::Host => return None,
        };
        Some(self.namespaces_dir().join(owner.as_str()))
    }
}
