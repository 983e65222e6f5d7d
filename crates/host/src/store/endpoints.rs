//! Endpoints' records.

use rusqlite::{Params, Row, params};
use zdocker_net::model::Endpoint;
use zdocker_net::names::Id;

use crate::process::ProcessId;

use super::{Records, State, StoreError, from_json, owner_columns, read_owner, to_json};

/// An endpoint with the state of its record.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointRecord {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether it is plugged in.
    pub state: State,
    /// Who is at it, unless it is ready.
    pub owner: Option<ProcessId>,
    /// The boot in which it was plugged in.
    pub boot: Option<String>,
}

const SELECT: &str = "SELECT spec, state, owner_pid, owner_start, boot FROM endpoints";

/// See [`Records::half_done_endpoints`].
const HALF_DONE: &str = "rowid IN (SELECT rowid FROM endpoints WHERE state <> 'ready')";

impl Records<'_> {
    fn select_endpoints(&self, condition: &str, values: impl Params) -> Result<Vec<EndpointRecord>, StoreError> {
        type Raw = (String, String, Option<ProcessId>, Option<String>);
        fn raw(row: &Row) -> rusqlite::Result<Raw> {
            Ok((
                row.get("spec")?,
                row.get("state")?,
                read_owner(row, "owner_pid", "owner_start")?,
                row.get("boot")?,
            ))
        }
        let mut statement = self
            .transaction
            .prepare_cached(&format!("{SELECT} WHERE {condition} ORDER BY rowid"))?;
        let rows = statement.query_map(values, raw)?.collect::<Result<Vec<_>, _>>()?;
        let records = rows.into_iter().map(|(spec, state, owner, boot)| {
            Ok(EndpointRecord {
                endpoint: from_json("endpoint", &spec)?,
                state: State::read(&state),
                owner,
                boot,
            })
        });
        records.collect()
    }

    /// The endpoints of a network, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn endpoints_of_network(&self, network: &Id) -> Result<Vec<EndpointRecord>, StoreError> {
        self.select_endpoints("network = ?1", [network.as_str()])
    }

    /// The oldest endpoint of a network.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn first_endpoint_of_network(&self, network: &Id) -> Result<Option<EndpointRecord>, StoreError> {
        let oldest = "rowid = (SELECT min(rowid) FROM endpoints WHERE network = ?1)";
        Ok(self.select_endpoints(oldest, [network.as_str()])?.pop())
    }

    /// The containers that are on a network, each once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn containers_of_network(&self, network: &Id) -> Result<Vec<Id>, StoreError> {
        let containers = "SELECT DISTINCT container FROM endpoints WHERE network = ?1";
        let mut statement = self.transaction.prepare(containers)?;
        let rows = statement.query_map([network.as_str()], |row| row.get::<_, String>(0))?;
        Ok(rows.map(|row| row.map(Id::from)).collect::<Result<_, _>>()?)
    }

    /// How many endpoints a network has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_endpoints(&self, network: &Id) -> Result<usize, StoreError> {
        let count = "SELECT count(*) FROM endpoints WHERE network = ?1";
        let count: u32 = self
            .transaction
            .query_row(count, [network.as_str()], |row| row.get(0))?;
        Ok(count as usize)
    }

    /// The endpoints of a container, in the order in which it was plugged in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn endpoints_of_container(&self, container: &Id) -> Result<Vec<EndpointRecord>, StoreError> {
        self.select_endpoints("container = ?1", [container.as_str()])
    }

    /// Every endpoint that was made or is being made in the boot `boot`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn endpoints_of_boot(&self, boot: &str) -> Result<Vec<EndpointRecord>, StoreError> {
        self.select_endpoints("boot = ?1", [boot])
    }

    /// Records an endpoint that `owner` is about to plug in. Its leases and ports may be recorded before it, in the
    /// same transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_endpoint(&self, endpoint: &Endpoint, owner: ProcessId, boot: &str) -> Result<(), StoreError> {
        let (pid, start) = owner_columns(Some(owner));
        self.transaction.execute(
            "INSERT INTO endpoints (id, network, container, spec, state, owner_pid, owner_start, boot)
             VALUES (?1, ?2, ?3, ?4, 'creating', ?5, ?6, ?7)",
            params![
                endpoint.id.as_str(),
                endpoint.network.as_str(),
                endpoint.container.as_str(),
                to_json("endpoint", endpoint)?,
                pid,
                start,
                boot
            ],
        )?;
        Ok(())
    }

    /// Changes the state of every endpoint of a container and says who is at them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_endpoints_state(
        &self,
        container: &Id,
        state: State,
        owner: Option<ProcessId>,
    ) -> Result<(), StoreError> {
        let (pid, start) = owner_columns(owner);
        self.transaction.execute(
            "UPDATE endpoints SET state = ?2, owner_pid = ?3, owner_start = ?4 WHERE container = ?1",
            params![container.as_str(), state.as_str(), pid, start],
        )?;
        Ok(())
    }

    /// The endpoints that some process is, or was, plugging in or out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn half_done_endpoints(&self) -> Result<Vec<EndpointRecord>, StoreError> {
        // Asked for in their order, SQLite would find them by reading every record rather than by their index.
        self.select_endpoints(HALF_DONE, [])
    }

    /// The endpoint with this identifier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn endpoint(&self, id: &Id) -> Result<Option<EndpointRecord>, StoreError> {
        Ok(self.select_endpoints("id = ?1", [id.as_str()])?.pop())
    }

    /// Changes an endpoint's state, and says who is at it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_endpoint_state(&self, id: &Id, state: State, owner: Option<ProcessId>) -> Result<(), StoreError> {
        let (pid, start) = owner_columns(owner);
        self.transaction.execute(
            "UPDATE endpoints SET state = ?2, owner_pid = ?3, owner_start = ?4 WHERE id = ?1",
            params![id.as_str(), state.as_str(), pid, start],
        )?;
        Ok(())
    }

    /// Changes an endpoint's record, and says who is at it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_endpoint(&self, endpoint: &Endpoint, state: State, owner: Option<ProcessId>) -> Result<(), StoreError> {
        let (pid, start) = owner_columns(owner);
        self.transaction.execute(
            "UPDATE endpoints SET spec = ?2, state = ?3, owner_pid = ?4, owner_start = ?5 WHERE id = ?1",
            params![
                endpoint.id.as_str(),
                to_json("endpoint", endpoint)?,
                state.as_str(),
                pid,
                start
            ],
        )?;
        Ok(())
    }

    /// Forgets an endpoint, with its ports, and gives its addresses back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_endpoint(&self, endpoint: &Id) -> Result<(), StoreError> {
        self.release_addresses(endpoint)?;
        self.transaction
            .execute("DELETE FROM endpoints WHERE id = ?1", [endpoint.as_str()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn what_is_half_done_is_found_without_reading_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let plan: Vec<String> = store
            .read(|records| {
                let query = format!("EXPLAIN QUERY PLAN {SELECT} WHERE {HALF_DONE} ORDER BY rowid");
                let mut statement = records.transaction.prepare(&query)?;
                let rows = statement.query_map([], |row| row.get("detail"))?;
                Ok::<_, StoreError>(rows.collect::<Result<_, _>>()?)
            })
            .unwrap();
        assert!(plan.iter().all(|step| step != "SCAN endpoints"), "{plan:?}");
        assert!(plan.iter().any(|step| step.contains("endpoints_half_done")), "{plan:?}");
    }
}
