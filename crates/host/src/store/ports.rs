//! Published ports' records: who holds which port of the host.

use std::collections::HashSet;

use rusqlite::params;
use zdocker_net::model::Endpoint;
use zdocker_net::names::Id;
use zdocker_net::ports::PublishedPort;

use super::{Records, StoreError, is_taken};

impl Records<'_> {
    /// Records `port` as the endpoint's. `false`, and nothing recorded, if it overlaps a port that is published
    /// already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_port(&self, endpoint: &Id, port: &PublishedPort) -> Result<bool, StoreError> {
        let (protocol, number, address) = key(port);
        let mut statement = self
            .transaction
            .prepare_cached("INSERT INTO ports (protocol, port, address, endpoint) VALUES (?1, ?2, ?3, ?4)")?;
        match statement.execute(params![protocol, number, address, endpoint.as_str()]) {
            Ok(_) => Ok(true),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets published ports of an endpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_ports(&self, endpoint: &Id, ports: &[PublishedPort]) -> Result<(), StoreError> {
        let mut statement = self
            .transaction
            .prepare("DELETE FROM ports WHERE protocol = ?1 AND port = ?2 AND address = ?3 AND endpoint = ?4")?;
        for port in ports {
            let (protocol, number, address) = key(port);
            statement.execute(params![protocol, number, address, endpoint.as_str()])?;
        }
        Ok(())
    }

    /// Says of published ports of an endpoint whether somebody is adding or removing them just now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_ports_unsettled(
        &self,
        endpoint: &Id,
        ports: &[PublishedPort],
        unsettled: bool,
    ) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare(
            "UPDATE ports SET unsettled = ?5 WHERE protocol = ?1 AND port = ?2 AND address = ?3 AND endpoint = ?4",
        )?;
        for port in ports {
            let (protocol, number, address) = key(port);
            statement.execute(params![protocol, number, address, endpoint.as_str(), unsettled])?;
        }
        Ok(())
    }

    /// Those of the endpoint's ports that somebody is, or was, adding or removing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unsettled_ports(&self, endpoint: &Endpoint) -> Result<Vec<PublishedPort>, StoreError> {
        let mut statement = self
            .transaction
            .prepare("SELECT protocol, port, address FROM ports WHERE endpoint = ?1 AND unsettled = 1")?;
        let rows = statement.query_map([endpoint.id.as_str()], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, u16>(1)?,
                row.get::<_, String>(2)?,
            ))
        })?;
        let found = rows.collect::<Result<HashSet<_>, _>>()?;
        let ports = endpoint.ports.iter().copied();
        Ok(ports.filter(|port| found.contains(&key(port))).collect())
    }

    /// The containers with ports that somebody is, or was, adding or removing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn containers_with_unsettled_ports(&self) -> Result<Vec<Id>, StoreError> {
        let mut statement = self.transaction.prepare(
            "SELECT DISTINCT container FROM endpoints WHERE id IN (SELECT endpoint FROM ports WHERE unsettled = 1)",
        )?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        Ok(rows.map(|row| row.map(Id::from)).collect::<Result<_, _>>()?)
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

    /// The container whose published port overlaps `port`: within a transaction that is about to publish several ports,
    /// none if it is a port of the endpoint that is not recorded yet.
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

/// Protocol, port and address as they are recorded; every address of both families is a star.
fn key(port: &PublishedPort) -> (String, u16, String) {
    let address = port.host_ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
    (port.protocol.to_string(), port.host_port, address)
}
