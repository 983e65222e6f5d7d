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

/// So many ports a Linux bridge takes: `BR_MAX_PORTS` numbers, of which 0 is none (`find_portno`, net/bridge/br_if.c).
const BRIDGE_PORTS: usize = 1023;

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
    /// Finds the networks of a container and decides what each endpoint is to be. `addresses` are shared out among
    /// them.
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
    refuse_full_bridge(records, network)?;
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

/// The kernel would say no, too, but only when half the container is made.
fn refuse_full_bridge(records: &Records, network: &Network) -> Result<(), EngineError> {
    let count = records.count_endpoints(&network.id)?;
    if network.driver != Driver::Bridge || count < BRIDGE_PORTS {
        return Ok(());
    }
    Err(EngineError::BridgeFull {
        network: network.name.to_string(),
        limit: BRIDGE_PORTS,
        count,
    })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zdocker_host::store::{State, Store};
    use zdocker_net::model::{BridgeDevice, Pool, Settings};
    use zdocker_net::names::MacAddress;

    use super::*;

    fn network() -> Network {
        Network {
            id: Id::new([1; 32]),
            name: "full".parse().unwrap(),
            driver: Driver::Bridge,
            pools: vec![Pool::new("10.0.0.0/16".parse().unwrap(), "10.0.0.1".parse().unwrap())],
            bridge: Some(BridgeDevice::own(
                "br-full".parse().unwrap(),
                MacAddress::local([2; 6]),
                1500,
            )),
            parent: None,
            internal: false,
            masquerade: true,
            settings: Settings::default(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            created: 0,
        }
    }

    #[test]
    fn a_full_bridge_is_refused_by_its_records() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let network = network();
        let request = EndpointRequest::default();
        let wish = attach::wishes(&[(&network, &request)], &[]).unwrap().remove(0);
        let owner = ProcessId::own().unwrap();
        let attach = |records: &Records, number: u32| {
            let mut bytes = [2; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let container = Id::new(bytes);
            let recording = Recording {
                container: &container,
                owner,
                boot: "boot",
                default_address: None,
                now: 0,
            };
            record_endpoint(records, &network, &wish, &[], recording)
        };
        let mut last = None;
        store
            .write(|records| {
                records.insert_network(&network, State::Ready)?;
                for number in 0..1023 {
                    last = Some(attach(records, number)?);
                }
                Ok::<_, EngineError>(())
            })
            .unwrap();
        let refused = store.write(|records| attach(records, 1023)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "network \"full\" is full: its bridge takes 1023 containers, and has 1023; use a second network, or remove \
             containers"
        );
        let last = last.unwrap();
        store
            .write(|records| {
                records.delete_endpoint(&last.id)?;
                attach(records, 1024)
            })
            .unwrap();
    }
}
