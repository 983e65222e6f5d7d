//! Networks' records.

use rusqlite::{OptionalExtension, Row, params};
use zdocker_net::model::{Network, UnixNanos};
use zdocker_net::names::Id;

use super::{Records, State, StoreError, from_json, to_json};

/// A network with the state of its record.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkRecord {
    /// The network.
    pub network: Network,
    /// Whether it is real.
    pub state: State,
    /// The boot for which it was made real.
    pub boot: Option<String>,
}

const SELECT: &str = "SELECT spec, state, boot FROM networks";

/// A row before its JSON is read.
type Raw = (String, String, Option<String>);

fn raw(row: &Row) -> rusqlite::Result<Raw> {
    Ok((row.get("spec")?, row.get("state")?, row.get("boot")?))
}

fn record((spec, state, boot): Raw) -> Result<NetworkRecord, StoreError> {
    Ok(NetworkRecord {
        network: from_json("network", &spec)?,
        state: State::read(&state),
        boot,
    })
}

impl Records<'_> {
    /// Every network, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn networks(&self) -> Result<Vec<NetworkRecord>, StoreError> {
        let mut statement = self.transaction.prepare(&format!("{SELECT} ORDER BY rowid"))?;
        let rows = statement.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(record).collect()
    }

    /// The networks that some process is, or was, making or taking away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn half_done_networks(&self) -> Result<Vec<NetworkRecord>, StoreError> {
        let mut statement = self.transaction.prepare(&format!("{SELECT} WHERE state <> 'ready'"))?;
        let rows = statement.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(record).collect()
    }

    /// The network with this identifier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn network(&self, id: &Id) -> Result<Option<NetworkRecord>, StoreError> {
        let row = self
            .transaction
            .query_row(&format!("{SELECT} WHERE id = ?1"), [id.as_str()], raw)
            .optional()?;
        row.map(record).transpose()
    }

    /// The networks that `text` may mean: the one with this name or identifier, else all whose identifier starts with
    /// it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_networks(&self, text: &str) -> Result<Vec<NetworkRecord>, StoreError> {
        let exact = format!("{SELECT} WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC LIMIT 1");
        if let Some(row) = self.transaction.query_row(&exact, [text], raw).optional()? {
            return Ok(vec![record(row)?]);
        }
        // GLOB has its own wildcards; an identifier has hexadecimal digits only.
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let mut statement = self.transaction.prepare(&format!("{SELECT} WHERE id GLOB ?1 || '*'"))?;
        let rows = statement.query_map([text], raw)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(record).collect()
    }

    /// Records a new network and takes its gateways' addresses and the reserved ones.
    ///
    /// # Errors
    /// [`StoreError`], also when its name or a subnet is taken.
    pub fn insert_network(&self, network: &Network, state: State) -> Result<(), StoreError> {
        let (id, name, spec) = (network.id.as_str(), network.name.as_str(), to_json("network", network)?);
        self.transaction.execute(
            "INSERT INTO networks (id, name, spec, state) VALUES (?1, ?2, ?3, ?4)",
            params![id, name, spec, state.as_str()],
        )?;
        self.insert_pools(network)
    }

    /// Records a network that another engine defines: its addresses may be those of another network, too.
    ///
    /// # Errors
    /// [`StoreError`], also when its identifier is taken.
    pub fn insert_foreign_network(&self, network: &Network, state: State) -> Result<(), StoreError> {
        let (id, spec) = (network.id.as_str(), to_json("network", network)?);
        // Its name is for people; two networks that the other engine tells apart may have the same.
        let taken = "SELECT count(*) FROM networks WHERE name = ?1";
        let taken: u32 = self
            .transaction
            .query_row(taken, [network.name.as_str()], |row| row.get(0))?;
        let name = if taken == 0 { network.name.as_str() } else { id };
        self.transaction.execute(
            "INSERT INTO networks (id, name, spec, state) VALUES (?1, ?2, ?3, ?4)",
            params![id, name, spec, state.as_str()],
        )?;
        Ok(())
    }

    /// Sees to it that addresses of a network's pools can be leased. A pool that another network has, too, is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn share_pools(&self, network: &Network) -> Result<(), StoreError> {
        for pool in network.held_pools() {
            let known = "SELECT count(*) FROM subnets WHERE subnet = ?1";
            let known: u32 = self
                .transaction
                .query_row(known, [pool.subnet.to_string()], |row| row.get(0))?;
            if known == 0 {
                self.insert_pool(&network.id, pool, network.created)?;
            }
        }
        Ok(())
    }

    /// Gives a recorded network, the default one at its first use, the pools and the bridge that it has now.
    ///
    /// # Errors
    /// [`StoreError`], also when a subnet is taken.
    pub fn equip_network(&self, network: &Network) -> Result<(), StoreError> {
        self.set_network(network)?;
        self.insert_pools(network)
    }

    /// Records what has become of a network whose pools stay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_network(&self, network: &Network) -> Result<(), StoreError> {
        let spec = to_json("network", network)?;
        self.transaction.execute(
            "UPDATE networks SET spec = ?2 WHERE id = ?1",
            params![network.id.as_str(), spec],
        )?;
        Ok(())
    }

    fn insert_pools(&self, network: &Network) -> Result<(), StoreError> {
        for pool in network.held_pools() {
            self.insert_pool(&network.id, pool, network.created)?;
        }
        Ok(())
    }

    /// Changes a network's state; `boot` when it was made real.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_network_state(&self, id: &Id, state: State, boot: Option<&str>) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE networks SET state = ?2, boot = coalesce(?3, boot) WHERE id = ?1",
            params![id.as_str(), state.as_str(), boot],
        )?;
        Ok(())
    }

    /// Forgets a network with its subnets and its gateways' leases.
    ///
    /// # Errors
    /// [`StoreError`], also while it has endpoints.
    pub fn delete_network(&self, id: &Id) -> Result<(), StoreError> {
        // Subnets that others have, too, stay as theirs.
        let heir = "SELECT endpoints.network FROM leases JOIN endpoints ON endpoints.id = leases.holder
                    WHERE leases.subnet = subnets.subnet AND endpoints.network <> ?1 LIMIT 1";
        self.transaction.execute(
            &format!("UPDATE subnets SET network = coalesce(({heir}), network) WHERE network = ?1"),
            [id.as_str()],
        )?;
        self.transaction
            .execute("DELETE FROM networks WHERE id = ?1", [id.as_str()])?;
        Ok(())
    }

    fn insert_pool(&self, network: &Id, pool: &zdocker_net::model::Pool, now: UnixNanos) -> Result<(), StoreError> {
        let subnet = pool.subnet.to_string();
        self.transaction.execute(
            "INSERT INTO subnets (network, subnet, cursor) VALUES (?1, ?2, ?3)",
            params![network.as_str(), subnet, 0u128.to_be_bytes()],
        )?;
        self.lease_reserved(pool, now)
    }
}
