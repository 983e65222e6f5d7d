//! Looking at things by their names, whatever they are.

use std::sync::Arc;

use zdocker_host::store::Records;
use zdocker_net::subnet::Subnet;
use zdocker_net::usage::Usage;

use crate::containers::{self, ContainerView};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::networks::{self, NetworkView};

/// What names mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container, or else a network.
    Any,
    /// A container.
    Container,
    /// A network.
    Network,
}

/// What a name means.
#[derive(Debug, Clone)]
pub enum Inspected {
    /// A container.
    Container(Box<ContainerView>),
    /// A network, and what is in use of each of its subnets.
    Network(Box<NetworkView>, Vec<(Subnet, Usage)>),
}

impl Engine {
    /// What each of `names` means: names, identifiers or starts of them.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read. That there is no such thing is said in its place.
    pub fn inspect(
        &mut self,
        names: &[String],
        kind: Kind,
    ) -> Result<Vec<Result<Inspected, EngineError>>, EngineError> {
        self.settle()?;
        self.store.read(|records| {
            let all = Arc::new(records.networks_by_id()?);
            let container = |name: &str| {
                let view = containers::view(records, name, &all)?;
                Ok(Inspected::Container(Box::new(view)))
            };
            let inspected = names.iter().map(|name| match kind {
                Kind::Container => container(name),
                Kind::Network => network(records, name),
                Kind::Any => match container(name) {
                    Err(EngineError::NoSuchContainer(_)) => network(records, name).map_err(|error| match error {
                        EngineError::NoSuchNetwork(name) => EngineError::NoSuchObject(name),
                        other => other,
                    }),
                    found => found,
                },
            });
            Ok(inspected.collect())
        })
    }
}

fn network(records: &Records, name: &str) -> Result<Inspected, EngineError> {
    let view = networks::view(records, name)?;
    let mut usages = Vec::new();
    for pool in view.network.held_pools() {
        let leased = records.leased_addresses(&pool.subnet)?;
        usages.push((pool.subnet, Usage::of(pool, leased)));
    }
    Ok(Inspected::Network(Box::new(view), usages))
}
