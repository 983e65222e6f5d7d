//! Networks: looking at them; creating, making real and removing them is in the modules below.

mod create;
mod filter;
mod parent;
mod real;
mod remove;

pub use create::Created;
pub use filter::{NetworkFilter, PruneFilter, SCOPE};

use std::collections::BTreeMap;

use zdocker_host::store::{ListedNetwork, NetworkRecord, Records, State, Usage};
use zdocker_net::model::{BUILT_IN, Driver, Endpoint, Network, Pool, Settings};
use zdocker_net::names::{Id, Name};
use zdocker_net::pools::{self, DefaultPool};

use crate::engine::{Engine, now, random};
use crate::error::EngineError;

/// The name of the fact that holds the random part of this installation's IPv6 prefix (RFC 4193, 3.2.2).
const GLOBAL_ID: &str = "ipv6-global-id";

/// A network with who is on it.
#[derive(Debug, Clone)]
pub struct NetworkView {
    /// The network.
    pub network: Network,
    /// Its endpoints, each with the name of its container.
    pub endpoints: Vec<(Endpoint, String)>,
}

/// A network's pool with what is in use of it.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// The pool.
    pub pool: Pool,
    /// Its leases and bitmap.
    pub usage: Usage,
    /// The names of the containers whose endpoints hold leases, by endpoint.
    pub holders: BTreeMap<Id, String>,
}

impl Engine {
    /// Sees to it that the networks that are always there are recorded.
    pub(crate) fn record_built_ins(&mut self) -> Result<(), EngineError> {
        let last = BUILT_IN[BUILT_IN.len() - 1].0;
        if !self.store.read(|records| records.find_networks(last))?.is_empty() {
            return Ok(());
        }
        self.store.write(|records| {
            for (name, driver) in BUILT_IN {
                if records.find_networks(name)?.is_empty() {
                    records.insert_network(&built_in(name.parse()?, driver)?, State::Ready)?;
                }
            }
            Ok(())
        })
    }

    /// The network that `text` means: a name, an identifier or the start of one.
    pub(crate) fn find_network(&mut self, text: &str) -> Result<NetworkRecord, EngineError> {
        self.store.read(|records| find(records, text))
    }

    /// Every network, the oldest first.
    ///
    /// # Errors
    /// [`EngineError`] when the records cannot be read.
    pub fn networks(&mut self) -> Result<Vec<NetworkView>, EngineError> {
        self.settle()?;
        self.store.read(|records| {
            let listed = records.list_networks()?.into_iter();
            Ok(listed.map(NetworkView::from).collect())
        })
    }

    /// One network.
    ///
    /// # Errors
    /// [`EngineError`] when there is none that `text` means.
    pub fn network(&mut self, text: &str) -> Result<NetworkView, EngineError> {
        self.settle()?;
        self.store.read(|records| view(records, text))
    }

    /// What is in use of a network's pools.
    ///
    /// # Errors
    /// [`EngineError`] when there is no network that `text` means.
    pub fn network_usage(&mut self, text: &str) -> Result<Vec<PoolView>, EngineError> {
        let NetworkView { network, endpoints } = self.network(text)?;
        let holders: BTreeMap<Id, String> = endpoints
            .into_iter()
            .map(|(endpoint, name)| (endpoint.id, name))
            .collect();
        self.store.read(|records| {
            let pools = network.held_pools().iter();
            pools
                .map(|pool| {
                    let usage = records.usage(&pool.subnet)?;
                    Ok(PoolView {
                        pool: pool.clone(),
                        usage,
                        holders: holders.clone(),
                    })
                })
                .collect()
        })
    }

    /// Where networks without a given subnet get one from.
    pub(crate) fn pools(&mut self) -> Result<Vec<DefaultPool>, EngineError> {
        let fresh: [u8; 5] = random()?;
        let text = self.store.write(|records| {
            let make = || fresh.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok::<_, EngineError>(records.fact(GLOBAL_ID, make)?)
        })?;
        // Written by the line above; anything else means no more than zeros.
        let mut global_id = [0; 5];
        for (byte, digits) in global_id.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = std::str::from_utf8(digits)
                .ok()
                .and_then(|d| u8::from_str_radix(d, 16).ok())
                .unwrap_or_default();
        }
        Ok(self.config.pools(pools::built_in(global_id)))
    }
}

fn built_in(name: Name, driver: Driver) -> Result<Network, EngineError> {
    Ok(Network {
        id: Id::new(random()?),
        name,
        driver,
        pools: Vec::new(),
        bridge: None,
        parent: None,
        internal: false,
        masquerade: true,
        settings: Settings::default(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        created: now(),
    })
}

fn find(records: &Records, text: &str) -> Result<NetworkRecord, EngineError> {
    let name = |record: &NetworkRecord| record.network.name.to_string();
    the_one(records.find_networks(text)?, text, "networks", name)?
        .ok_or_else(|| EngineError::NoSuchNetwork(text.to_owned()))
}

/// The one thing that `text` means, if it means any.
pub(crate) fn the_one<T>(
    mut found: Vec<T>,
    text: &str,
    what: &'static str,
    name: impl Fn(&T) -> String,
) -> Result<Option<T>, EngineError> {
    if found.len() < 2 {
        return Ok(found.pop());
    }
    Err(EngineError::Ambiguous {
        text: text.to_owned(),
        what,
        matches: found.iter().map(name).collect::<Vec<_>>().join(", "),
    })
}

/// The network that `text` means, with who is on it.
pub(crate) fn view(records: &Records, text: &str) -> Result<NetworkView, EngineError> {
    let record = find(records, text)?;
    Ok(records.list_network(record)?.into())
}

impl From<ListedNetwork> for NetworkView {
    fn from(listed: ListedNetwork) -> Self {
        NetworkView {
            network: listed.record.network,
            endpoints: listed.endpoints,
        }
    }
}
