//! Published ports' records: who holds which port of the host.

use rusqlite::params;
use zdocker_net::names::Id;
use zdocker_net::ports::PublishedPort;

use super::{Records, StoreError, is_taken};

impl Records<'_> {
    /// Records `port` as the endpoint's. `false`, and nothing recorded, if it overlaps a port that is published already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_port(&self, endpoint: &Id, port: &PublishedPort) -> Result<bool, StoreError> {
        let address = port.host_ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
        let mut statement = self
            .transaction
            .prepare_cached("INSERT INTO ports (protocol, port, address, endpoint) VALUES (?1, ?2, ?3, ?4)")?;
        match statement.execute(params![
            port.protocol.to_string(),
            port.host_port,
            address,
            endpoint.as_str()
        ]) {
            Ok(_) => Ok(true),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the ports of one endpoint another's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn move_ports(&self, from: &Id, to: &Id) -> Result<(), StoreError> {
        let update = "UPDATE ports SET endpoint = ?2 WHERE endpoint = ?1";
        self.transaction.execute(update, [from.as_str(), to.as_str()])?;
        Ok(())
    }

    /// The container whose published port overlaps `port`: within a transaction that is about to publish several ports, none
    /// if it is a port of the endpoint that is not recorded yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn port_holder(&self, port: &PublishedPort) -> Result<Option<Id>, StoreError> {
        let mut statement = self.transaction.prepare(
            "SELECT address, container FROM ports LEFT JOIN endpoints ON endpoints.id = ports.endpoint
             WHERE protocol = ?1 AND port = ?2",
        )?;
        let rows = statement.query_map(params![port.protocol.to_string(), port.host_port], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        })?;
        for row in rows {
            let (address, container) = row?;
            // Every address of both families is written as a star, which is no address.
            let other = PublishedPort {
                host_ip: address.parse().ok(),
                ..*port
            };
            if other.conflicts_with(port) {
                return Ok(container.map(Id::from));
            }
        }
        Ok(None)
    }
}
