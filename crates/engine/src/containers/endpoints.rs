//! A container's endpoints in the records: networks resolved, addresses leased, ports taken.

use std::net::IpAddr;

use zdocker_host::process::ProcessId;
use zdocker_host::store::Records;
use zdocker_net::attach::choice::EndpointRequest;
use zdocker_net::attach::{self, EndpointWish};
use zdocker_net::model::{Children, Driver, Endpoint, MacvlanMode, Network, UnixNanos};
use zdocker_net::names::Id;
use zdocker_net::ports::PortRequest;

use super::publish::{at_default_address, take_ports};
use super::spec::{ContainerSpec, NamespaceChoice};
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
    /// Where ports are published that name no address, unless the network says so.
    pub(super) default_address: Option<IpAddr>,
}

impl Engine {
    /// Finds the networks of a container and decides what each endpoint is to be. `addresses` are shared out among them.
    pub(super) fn place(
        &mut self,
        spec: &mut ContainerSpec,
        addresses: &[IpAddr],
        make_real: MakeReal,
    ) -> Result<Placement, EngineError> {
        if let [single] = &spec.networks[..]
            && let Some(target) = single.network.strip_prefix("container:")
        {
            let request = EndpointRequest {
                addresses: addresses.to_vec(),
                ..single.endpoint.clone()
            };
            attach::needs_bridge(&request, &spec.ports, &single.network)?;
            let (placement, hostname) = self.place_beside(target)?;
            spec.hostname = hostname;
            return Ok(placement);
        }
        let (mut networks, mut unreal) = (Vec::new(), Vec::new());
        for choice in &mut spec.networks {
            if choice.network.starts_with("container:") {
                return Err(EngineError::NotWithMode {
                    what: "another network",
                    mode: choice.network.clone(),
                });
            }
            let network = self.placed_network(&choice.network, make_real, &mut unreal)?;
            choice.network = network.name.to_string();
            networks.push(network);
        }
        self.plug_wishes(spec, addresses, networks, unreal)
    }

    /// The network that `text` means: real, or what it would be.
    pub(super) fn placed_network(
        &mut self,
        text: &str,
        make_real: MakeReal,
        unreal: &mut Vec<Network>,
    ) -> Result<Network, EngineError> {
        let record = self.find_network(text)?;
        match make_real {
            MakeReal::Do => self.real_network(record),
            MakeReal::Plan => {
                let (network, real) = self.planned_network(record)?;
                unreal.extend((!real).then(|| network.clone()));
                Ok(network)
            }
        }
    }

    fn plug_wishes(
        &mut self,
        spec: &mut ContainerSpec,
        addresses: &[IpAddr],
        networks: Vec<Network>,
        unreal: Vec<Network>,
    ) -> Result<Placement, EngineError> {
        let found: Vec<&Network> = networks.iter().collect();
        let mut requests: Vec<&mut EndpointRequest> = spec.networks.iter_mut().map(|c| &mut c.endpoint).collect();
        if let [network] = found[..]
            && !network.driver.plugs_in()
        {
            // Refused with the better reason below.
            requests[0].addresses.extend(addresses);
        } else {
            attach::distribute(addresses, &found, &mut requests)?;
        }
        let asked: Vec<_> = found
            .iter()
            .copied()
            .zip(spec.networks.iter().map(|choice| &choice.endpoint))
            .collect();
        let wishes = attach::wishes(&asked, &spec.ports)?;
        let host = networks.iter().any(|network| network.driver == Driver::Host);
        let plugged = networks.into_iter().filter(|network| network.driver.plugs_in());
        Ok(Placement {
            namespace: if host {
                NamespaceChoice::Host
            } else {
                NamespaceChoice::Own
            },
            endpoints: plugged.zip(wishes).collect(),
            unreal,
        })
    }

    /// With the host name that is shared, too.
    fn place_beside(&mut self, target: &str) -> Result<(Placement, String), EngineError> {
        let (record, spec) = self.running_container(target)?;
        let namespace = match spec.namespace {
            // Its namespace is itself somebody else's.
            NamespaceChoice::Host | NamespaceChoice::Container(_) => spec.namespace,
            NamespaceChoice::Own => NamespaceChoice::Container(record.id),
        };
        let placement = Placement {
            namespace,
            endpoints: Vec::new(),
            unreal: Vec::new(),
        };
        Ok((placement, spec.hostname))
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
    refuse_second(records, network)?;
    let mut endpoint = attach::endpoint(network, recording.container, wish, random()?)?;
    let addresses = records.lease_addresses(network, &wish.addresses, &endpoint.id, recording.now)?;
    attach::bear_addresses(&mut endpoint, network, addresses, wish);
    if wish.role.publishes {
        let ports = at_default_address(ports, network, recording.default_address);
        endpoint.ports = take_ports(records, &endpoint.id, &ports)?;
    }
    records.insert_endpoint(&endpoint, recording.owner, recording.boot)?;
    Ok(endpoint)
}

/// Refuses a second endpoint on a network whose parent takes but one.
fn refuse_second(records: &Records, network: &Network) -> Result<(), EngineError> {
    let children = network.parent.as_ref().map(|parent| parent.children);
    let passthru = MacvlanMode::Passthru;
    if !matches!(children, Some(Children::Macvlan { mode, .. }) if mode == passthru) {
        return Ok(());
    }
    let Some(first) = records.endpoints_of_network(&network.id)?.into_iter().next() else {
        return Ok(());
    };
    let holder = records.container(&first.endpoint.container)?;
    Err(EngineError::OnlyOne {
        network: network.name.to_string(),
        holder: holder.map_or_else(|| first.endpoint.container.short().to_owned(), |c| c.name.to_string()),
    })
}
