//! Ports that several endpoints of one container are to publish, as other engines ask where they plug a container into
//! one network after another: the first does, and when it goes, the next.

use std::collections::HashSet;

use zdocker_host::store::{Records, State};
use zdocker_net::names::Id;
use zdocker_net::ports::{Protocol, PublishedPort};
use zdocker_net::publish;
use zdocker_net::subnet::Family;

use super::leave::Plugged;
use crate::engine::Engine;
use crate::error::EngineError;

/// Records those of the ports as the endpoint's that are free, and gives them, and those that other endpoints of the
/// container publish.
pub(super) fn publish_or_stand_by(
    records: &Records,
    container: &Id,
    endpoint: &Id,
    ports: &[PublishedPort],
) -> Result<(Vec<PublishedPort>, Vec<PublishedPort>), EngineError> {
    let key = |port: &PublishedPort| (port.host_port, port.protocol);
    let (mut published, mut standby) = (Vec::new(), Vec::new());
    let mut own: Option<HashSet<(u16, Protocol)>> = None;
    for port in ports {
        if records.insert_port(endpoint, port)? {
            published.push(*port);
            continue;
        }
        let own = match &mut own {
            Some(own) => own,
            None => {
                let all = records.endpoints_of_container(container)?;
                own.insert(
                    all.iter()
                        .flat_map(|record| record.endpoint.ports.iter().map(key))
                        .collect(),
                )
            }
        };
        if !own.contains(&key(port)) {
            return Err(EngineError::port_published(port));
        }
        // One of the families may be free.
        for family in [Family::V4, Family::V6].into_iter().filter(|_| port.host_ip.is_none()) {
            let host_ip = Some(family.unspecified());
            let half = PublishedPort { host_ip, ..*port };
            let free = records.insert_port(endpoint, &half)?;
            if free { &mut published } else { &mut standby }.push(half);
        }
        standby.extend(port.host_ip.map(|_| *port));
    }
    Ok((published, standby))
}

impl Engine {
    /// Has those endpoints of a container that stay plugged in publish what those that left did, as they were asked to.
    pub(super) fn let_take_over(&mut self, container: &Id) -> Result<(), EngineError> {
        let standing_by = |engine: &mut Self| {
            engine.store.read(|records| {
                let mut found: Vec<Plugged> = Vec::new();
                for record in records.endpoints_of_container(container)? {
                    if record.state == State::Ready
                        && !record.endpoint.settings.standby.is_empty()
                        && let Some(network) = records.network(&record.endpoint.network)?
                    {
                        found.push((network.network, record.endpoint));
                    }
                }
                Ok::<_, EngineError>(found)
            })
        };
        if standing_by(self)?.is_empty() {
            return Ok(());
        }
        self.hold_plugs(container, |engine| {
            standing_by(engine)?
                .iter()
                .try_for_each(|plugged| engine.take_over(plugged))
        })
    }

    fn take_over(&mut self, (network, before): &Plugged) -> Result<(), EngineError> {
        let me = self.me;
        let after = self.store.write(|records| {
            let mut after = before.clone();
            after.settings.standby.clear();
            for port in &before.settings.standby {
                let free = records.insert_port(&before.id, port)?;
                if free {
                    &mut after.ports
                } else {
                    &mut after.settings.standby
                }
                .push(*port);
            }
            records.set_endpoint(&after, State::Ready, Some(me))?;
            Ok::<_, EngineError>(after)
        })?;
        let Err(error) = self.apply(&publish::publish(network, before, &after)) else {
            return Ok(());
        };
        let gained = publish::beside(&after.ports, &before.ports);
        let restored = self.store.write(|records| {
            records.delete_ports(&before.id, &gained)?;
            Ok(records.set_endpoint(before, State::Ready, Some(me))?)
        });
        Err(error.and_then(restored))
    }
}
