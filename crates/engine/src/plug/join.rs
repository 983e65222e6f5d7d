//! Plugging in: all endpoints of a request, or none.

use zdocker_host::process::ProcessId;
use zdocker_host::store::{EndpointRecord, Records, State};
use zdocker_net::attach;
use zdocker_net::attach::foreign::{self, Addresses, ForeignRequest};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::op::Op;
use zdocker_net::plan;

use super::PlugRequest;
use super::leave::Plugged;
use super::settle::is_anothers;
use super::standby::publish_or_stand_by;
use crate::engine::{Engine, now};
use crate::error::EngineError;

/// What plugging in brings about, recorded but not done.
struct Joining {
    new: Vec<Plugged>,
    /// The container's other endpoints as they were, and as they are to be.
    others: Vec<(Plugged, Endpoint)>,
}

/// What came of recording a request.
enum Recording {
    /// It is recorded, and these networks were made real for it.
    Done(Joining, Vec<Network>),
    /// Nothing is: somebody else is at this endpoint of the container.
    Busy(Box<EndpointRecord>),
}

impl Engine {
    /// Plugs a container into networks, which are made real if they are not. Gives its endpoints, in the order asked
    /// for.
    ///
    /// # Errors
    /// [`EngineError`] when it is refused, or a step fails; then all is as before.
    pub fn plug(&mut self, request: &PlugRequest) -> Result<Vec<Endpoint>, EngineError> {
        self.settle_dead_plugs()?;
        let (joining, made) = loop {
            self.clear_the_way(request)?;
            let recorded = match self.record_plug(request) {
                Err(EngineError::Address(_) | EngineError::PortPublished(_)) if self.forget_gone()? => {
                    self.record_plug(request)?
                }
                Err(EngineError::MadeOtherwise { .. }) => {
                    let networks = request.endpoints.iter().map(|(network, _)| network.id.clone());
                    self.wait_for_leaving(&networks.collect::<Vec<_>>())?;
                    self.record_plug(request)?
                }
                recorded => recorded?,
            };
            match recorded {
                Recording::Done(joining, made) => break (joining, made),
                Recording::Busy(record) => self.wait_for_owner(&record)?,
            };
        };
        let plugged = self.apply(&join_plan(&joining, request));
        let plugged = plugged.and_then(|()| self.record_plugged(&joining));
        match plugged {
            Ok(()) => Ok(joining.new.into_iter().map(|(_, endpoint)| endpoint).collect()),
            Err(error) => {
                let undone = self.take_plugs_away(&joining.new);
                let undone = undone.and_then(|()| self.record_others_as_before(&joining));
                let undone = undone.and_then(|()| self.remove_networks_if_unused(&made));
                Err(error.and_then(undone))
            }
        }
    }

    fn record_others_as_before(&mut self, joining: &Joining) -> Result<(), EngineError> {
        if joining.others.is_empty() {
            return Ok(());
        }
        self.store.write(|records| {
            for ((_, before), _) in &joining.others {
                records.set_endpoint(before, State::Ready, None)?;
            }
            Ok(())
        })
    }

    fn record_plugged(&mut self, joining: &Joining) -> Result<(), EngineError> {
        let me = self.me;
        self.store.write(|records| {
            for (_, other) in &joining.others {
                records.set_endpoint_state(&other.id, State::Ready, None)?;
            }
            for (_, endpoint) in &joining.new {
                // Who takes us for dead has it by now.
                let ours = records.endpoint(&endpoint.id)?.is_some_and(|now| now.owner == Some(me));
                if !ours {
                    return Err(EngineError::UnpluggedMeanwhile(endpoint.container.short().to_owned()));
                }
                records.set_endpoint_state(&endpoint.id, State::Ready, None)?;
            }
            Ok(())
        })
    }

    /// Records the endpoints with their leases and ports, their networks being real. Gives also the networks that were
    /// made real for it.
    fn record_plug(&mut self, request: &PlugRequest) -> Result<Recording, EngineError> {
        // Held until the endpoints are recorded: from then on nobody takes their networks away.
        let _lock = self.lock_networks()?;
        let (mut networks, mut made) = (Vec::new(), Vec::new());
        for (wanted, _) in &request.endpoints {
            match self.foreign_network(wanted) {
                Ok((network, is_new)) => {
                    made.extend(is_new.then(|| network.clone()));
                    networks.push(network);
                }
                Err(error) => return Err(error.and_then(self.remove_if_unused_locked(&made))),
            }
        }
        let (me, boot, prefix) = (self.me, self.boot.clone(), self.installation.port_prefix().to_owned());
        let recorded = self.store.write(|records| {
            let others = match plugged(records, request, me)? {
                Ok(others) => others,
                Err(busy) => return Ok(Err(busy)),
            };
            let mut new = Vec::new();
            for (network, (_, wish)) in networks.iter().zip(&request.endpoints) {
                let mut endpoint = new_endpoint(records, network, wish, request, &prefix)?;
                endpoint.sandbox = Some(request.namespace.0.clone());
                records.insert_endpoint(&endpoint, me, &boot)?;
                new.push((network.clone(), endpoint));
            }
            share_out(records, new, others, me).map(Ok)
        });
        match recorded {
            Ok(Ok(joining)) => Ok(Recording::Done(joining, made)),
            Ok(Err(busy)) => {
                self.remove_if_unused_locked(&made)?;
                Ok(Recording::Busy(Box::new(busy)))
            }
            Err(error) => Err(error.and_then(self.remove_if_unused_locked(&made))),
        }
    }
}

/// The container's endpoints that are there already, or one of them that somebody else is at: which routes that one
/// gets is not settled.
fn plugged(
    records: &Records,
    request: &PlugRequest,
    me: ProcessId,
) -> Result<Result<Vec<Plugged>, EndpointRecord>, EngineError> {
    let mut plugged = Vec::new();
    if request.endpoints.iter().all(|(network, _)| !network.driver.plugs_in()) {
        // Leases alone concern nobody's routes.
        return Ok(Ok(plugged));
    }
    for mut record in records.endpoints_of_container(&request.container)? {
        // What leaves its namespace shares no routes with what comes.
        let same_place = record.endpoint.sandbox.as_deref() == Some(&request.namespace.0);
        let Some(network) = records.network(&record.endpoint.network)?.map(|found| found.network) else {
            continue;
        };
        if !same_place || record.state == State::Removing || !network.driver.plugs_in() {
            continue;
        }
        if is_anothers(&record, me) {
            return Ok(Err(record));
        }
        if record.state == State::Ready {
            // Who died at it may have given it a table in its record alone; giving it once more does no harm.
            record.endpoint.reply_table.take_if(|_| record.owner.is_some());
            plugged.push((network, record.endpoint));
        }
    }
    Ok(Ok(plugged))
}

fn new_endpoint(
    records: &Records,
    network: &Network,
    wish: &ForeignRequest,
    request: &PlugRequest,
    prefix: &str,
) -> Result<Endpoint, EngineError> {
    let id = foreign::endpoint_id(&request.container, &network.id, &wish.interface);
    let addresses = match &wish.addresses {
        Addresses::Given(addresses) => addresses.clone(),
        Addresses::Leased(asked) => {
            records.share_pools(network)?;
            records.lease_addresses(network, asked, &id, now())?
        }
    };
    let (published, standby) = publish_or_stand_by(records, &request.container, &id, &wish.ports)?;
    let mut endpoint = foreign::endpoint(network, &request.container, wish, addresses, prefix)?;
    endpoint.ports = published;
    endpoint.settings.standby = standby;
    Ok(endpoint)
}

/// Gives a container on several networks routing tables, so that answers leave by the network that a question came in
/// by.
fn share_out(
    records: &Records,
    new: Vec<Plugged>,
    others: Vec<Plugged>,
    me: ProcessId,
) -> Result<Joining, EngineError> {
    let all: Vec<Plugged> = others.iter().chain(&new).cloned().collect();
    let roles = attach::roles(&attach::members(&all));
    let mut joining = Joining {
        new: Vec::new(),
        others: Vec::new(),
    };
    for (number, ((network, before), role)) in all.into_iter().zip(roles).enumerate() {
        let after = Endpoint {
            reply_table: role.reply_table,
            ..before.clone()
        };
        let is_new = number >= others.len();
        if is_new {
            records.set_endpoint(&after, State::Creating, Some(me))?;
            joining.new.push((network, after));
        } else if after != before {
            records.set_endpoint(&after, State::Ready, Some(me))?;
            joining.others.push(((network, before), after));
        }
    }
    Ok(joining)
}

fn join_plan(joining: &Joining, request: &PlugRequest) -> Vec<Op> {
    let namespace = &request.namespace;
    let mut plan = Vec::new();
    if joining.new.iter().any(|(network, _)| network.driver.plugs_in()) {
        plan.push(plan::set_loopback_up(namespace));
    }
    for (network, endpoint) in &joining.new {
        plan.extend(plan::attach(network, endpoint, namespace));
    }
    for ((network, before), after) in &joining.others {
        plan.extend(plan::change(network, before, after, namespace));
    }
    plan
}
