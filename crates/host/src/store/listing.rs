//! Whole lists, each read in as many statements however long it is.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use rusqlite::Row;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::subnet::Subnet;

use super::{ContainerRecord, NetworkRecord, Records, StoreError, from_json};

/// A network with who is on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedNetwork {
    /// The network.
    pub record: NetworkRecord,
    /// Its endpoints, the oldest first, each with the name of its container.
    pub endpoints: Vec<(Endpoint, String)>,
}

/// A container with where it is plugged in.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedContainer {
    /// The container.
    pub record: ContainerRecord,
    /// Its endpoints, in the order in which it was plugged in.
    pub endpoints: Vec<Endpoint>,
}

/// The endpoints of one network, container, or of all, with the names of their containers; those of other engines'
/// containers have their identifiers for names.
const ENDPOINTS: &str = "SELECT endpoints.spec, coalesce(containers.name, endpoints.container) AS name
                         FROM endpoints LEFT JOIN containers ON containers.id = endpoints.container";

impl Records<'_> {
    fn named_endpoints(&self, condition: &str, values: &[&str]) -> Result<Vec<(Endpoint, String)>, StoreError> {
        let query = format!("{ENDPOINTS} {condition} ORDER BY endpoints.rowid");
        let mut statement = self.transaction.prepare(&query)?;
        let raw = |row: &Row| Ok((row.get("spec")?, row.get("name")?));
        let rows = statement.query_map(rusqlite::params_from_iter(values), raw)?;
        let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
        rows.into_iter()
            .map(|(spec, name)| Ok((from_json("endpoint", &spec)?, name)))
            .collect()
    }

    /// Every network with who is on it, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list_networks(&self) -> Result<Vec<ListedNetwork>, StoreError> {
        let mut by_network: HashMap<Id, Vec<(Endpoint, String)>> = HashMap::new();
        for named in self.named_endpoints("", &[])? {
            by_network.entry(named.0.network.clone()).or_default().push(named);
        }
        let listed = self.networks()?.into_iter().map(|record| ListedNetwork {
            endpoints: by_network.remove(&record.network.id).unwrap_or_default(),
            record,
        });
        Ok(listed.collect())
    }

    /// Who is on the network of `record`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list_network(&self, record: NetworkRecord) -> Result<ListedNetwork, StoreError> {
        Ok(ListedNetwork {
            endpoints: self.named_endpoints_of(&record.network.id)?,
            record,
        })
    }

    /// The endpoints of a network, the oldest first, each with the name of its container.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn named_endpoints_of(&self, network: &Id) -> Result<Vec<(Endpoint, String)>, StoreError> {
        self.named_endpoints("WHERE endpoints.network = ?1", &[network.as_str()])
    }

    /// The same without those that are being taken away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn staying_endpoints_of(&self, network: &Id) -> Result<Vec<(Endpoint, String)>, StoreError> {
        let staying = "WHERE endpoints.network = ?1 AND endpoints.state <> 'removing'";
        self.named_endpoints(staying, &[network.as_str()])
    }

    /// Every container with where it is plugged in, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list_containers(&self) -> Result<Vec<ListedContainer>, StoreError> {
        let mut by_container: HashMap<Id, Vec<Endpoint>> = HashMap::new();
        for (endpoint, _) in self.named_endpoints("", &[])? {
            by_container
                .entry(endpoint.container.clone())
                .or_default()
                .push(endpoint);
        }
        let listed = self.containers()?.into_iter().map(|record| ListedContainer {
            endpoints: by_container.remove(&record.id).unwrap_or_default(),
            record,
        });
        Ok(listed.collect())
    }

    /// Every network by its identifier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn networks_by_id(&self) -> Result<BTreeMap<Id, Network>, StoreError> {
        let networks = self.networks()?.into_iter().map(|record| record.network);
        Ok(networks.map(|network| (network.id.clone(), network)).collect())
    }

    /// The addresses of `subnet` that are leased, gateways' included, in no order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn leased_addresses(&self, subnet: &Subnet) -> Result<Vec<IpAddr>, StoreError> {
        let mut statement = self
            .transaction
            .prepare_cached("SELECT address FROM leases WHERE subnet = ?1")?;
        let rows = statement.query_map([subnet.to_string()], |row| row.get::<_, String>(0))?;
        let addresses = rows.map(|text| Ok(text?.parse().ok()));
        addresses.filter_map(Result::transpose).collect()
    }
}
