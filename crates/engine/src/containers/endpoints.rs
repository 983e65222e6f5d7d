//! A container's endpoints in the records: networks resolved, addresses leased, ports taken.

use std::net::IpAddr;

use zdocker_host::process::ProcessId;
use zdocker_host::store::Records;
use zdocker_net::attach::{self, EndpointWish};
use zdocker_net::model::{Driver, Endpoint, InterfaceAddress, Network, UnixNanos};
use zdocker_net::names::Id;
use zdocker_net::ports::PortRequest;

use super::publish::take_ports;
use super::request::RunRequest;
use super::spec::NamespaceChoice;
use crate::engine::{Engine, random};
use crate::error::EngineError;

/// Which namespace a container gets and how it is plugged in.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    pub(super) namespace: NamespaceChoice,
    /// Each bridge network with what the endpoint on it is to be.
    pub(super) endpoints: Vec<(Network, EndpointWish)>,
    /// Those of the networks that are still to be made real.
    pub(super) unreal: Vec<Network>,
}

/// What is done about networks that are recorded and not real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MakeReal {
    /// They are made real.
    Do,
    /// It is said which they are.
    Plan,
}

/// What endpoints are recorded for: who does it, when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recording<'a> {
    pub(super) container: &'a Id,
    pub(super) owner: ProcessId,
    pub(super) boot: &'a str,
    pub(super) now: UnixNanos,
}

impl Engine {
    /// Finds the networks that `request` names and decides what each endpoint is to be.
    pub(super) fn place(&mut self, request: &RunRequest, make_real: MakeReal) -> Result<Placement, EngineError> {
        let default = ["bridge".to_owned()];
        let asked = if request.networks.is_empty() {
            &default[..]
        } else {
            &request.networks[..]
        };
        if let [single] = asked
            && let Some(target) = single.strip_prefix("container:")
        {
            return self.place_beside(request, single, target);
        }
        let (mut networks, mut unreal) = (Vec::new(), Vec::new());
        for text in asked {
            if text.starts_with("container:") {
                return Err(EngineError::NotWithMode {
                    what: "another network",
                    mode: text.clone(),
                });
            }
            // Docker has it as a word for its default network.
            let text = if text == "default" { "bridge" } else { text };
            let record = self.find_network(text)?;
            networks.push(match make_real {
                MakeReal::Do => self.real_network(record)?,
                MakeReal::Plan => {
                    let (network, real) = self.planned_network(record)?;
                    unreal.extend((!real).then(|| network.clone()));
                    network
                }
            });
        }
        let wishes = attach::wishes(&networks.iter().collect::<Vec<_>>(), &request.attach)?;
        let host = networks.iter().any(|network| network.driver == Driver::Host);
        let bridges = networks.into_iter().filter(|network| network.driver == Driver::Bridge);
        Ok(Placement {
            namespace: if host {
                NamespaceChoice::Host
            } else {
                NamespaceChoice::Own
            },
            endpoints: bridges.zip(wishes).collect(),
            unreal,
        })
    }

    fn place_beside(&mut self, request: &RunRequest, mode: &str, target: &str) -> Result<Placement, EngineError> {
        attach::needs_bridge(&request.attach, mode)?;
        if request.hostname.is_some() {
            return Err(EngineError::NotWithMode {
                what: "--hostname",
                mode: mode.to_owned(),
            });
        }
        let (record, spec) = self.running_container(target)?;
        let namespace = match spec.namespace {
            // Its namespace is itself somebody else's.
            NamespaceChoice::Host | NamespaceChoice::Container(_) => spec.namespace,
            NamespaceChoice::Own => NamespaceChoice::Container(record.id),
        };
        Ok(Placement {
            namespace,
            endpoints: Vec::new(),
            unreal: Vec::new(),
        })
    }
}

/// Records one endpoint with its leases and ports.
pub(super) fn record_endpoint(
    records: &Records,
    network: &Network,
    wish: &EndpointWish,
    ports: &[PortRequest],
    recording: Recording,
) -> Result<Endpoint, EngineError> {
    let mut endpoint = attach::endpoint(network, recording.container, wish, random()?)?;
    let mut addresses = Vec::new();
    for pool in &network.pools {
        let asked = wish
            .addresses
            .iter()
            .copied()
            .find(|address: &IpAddr| pool.subnet.contains(*address));
        let address = records.lease_address(&pool.subnet, asked, &endpoint.id, recording.now)?;
        addresses.push(InterfaceAddress {
            address,
            prefix: pool.subnet.prefix(),
        });
    }
    attach::bear_addresses(&mut endpoint, addresses, wish);
    if wish.publishes {
        endpoint.ports = take_ports(records, &endpoint.id, ports)?;
    }
    records.insert_endpoint(&endpoint, recording.owner, recording.boot)?;
    Ok(endpoint)
}
