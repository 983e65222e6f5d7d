//! A host with networks, on which endpoints are attached and detached as the engine does it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use zdocker_host::Kernel;
use zdocker_host::process::ProcessId;
use zdocker_host::store::{AddressError, State, Store, StoreError};
use zdocker_net::attach::choice::EndpointRequest;
use zdocker_net::attach::{self, EndpointWish};
use zdocker_net::model::{Bandwidth, BridgeDevice, Driver, Endpoint, Network, Pool, Settings};
use zdocker_net::names::{Id, MacAddress};
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan;
use zdocker_net::ports::{Protocol, PublishedPort};
use zdocker_net::subnet::Subnet;

use crate::timed;

/// How long the two halves of a change took.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    /// Looking at the host, planning, and having the plan carried out.
    pub(crate) kernel: Duration,
    /// The transactions before and behind it.
    pub(crate) records: Duration,
}

/// An endpoint on one of the networks.
pub(crate) struct Attached {
    network: usize,
    endpoint: Endpoint,
}

/// A host with networks that are real, and their records.
pub(crate) struct Scene {
    pub(crate) kernel: Kernel,
    store: Store,
    networks: Vec<Network>,
    /// Where namespaces are pinned.
    pins: PathBuf,
    me: ProcessId,
    boot: String,
    /// How many endpoints there have ever been.
    count: u32,
    /// Of the endpoints that are attached from now on.
    pub(crate) bandwidth: Bandwidth,
}

/// Carries out a plan.
pub(crate) fn apply(kernel: &mut Kernel, ops: &[Op]) -> Result<()> {
    kernel.apply(ops, &mut |_, _| {})?;
    Ok(())
}

/// Carries out steps that take something away.
pub(crate) fn remove(kernel: &mut Kernel, ops: &[Op]) -> Result<()> {
    match kernel.remove(ops, &mut |_, _| {}).first() {
        Some(failure) => bail!("{failure}"),
        None => Ok(()),
    }
}

/// Random enough for identifiers: the number, then a mark of what it numbers.
pub(crate) fn bytes(number: u32, mark: u8) -> [u8; 32] {
    let mut bytes = [mark; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A bridge network with these subnets.
pub(crate) fn network(number: u8, subnets: &[Subnet]) -> Result<Network> {
    let pool = |subnet: &Subnet| {
        let gateway = subnet.nth(1).context("the subnet has no second address")?;
        Ok(Pool::new(*subnet, gateway))
    };
    Ok(Network {
        id: Id::new(bytes(number.into(), 1)),
        name: format!("net{number}").parse()?,
        driver: Driver::Bridge,
        pools: subnets.iter().map(pool).collect::<Result<_>>()?,
        bridge: Some(BridgeDevice::own(
            format!("br{number}").parse()?,
            MacAddress::local([2, 0, 0, 0, 0, number]),
            1500,
        )),
        parent: None,
        internal: false,
        masquerade: true,
        settings: Settings::default(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        created: 0,
    })
}

impl Scene {
    /// So many networks, 10.N.0.0/16 each and fd00:N::/64 if asked for; records in `state`, namespaces in `run`.
    pub(crate) fn new(state: &Path, run: &Path, networks: u8, ipv6: bool) -> Result<Self> {
        fs::create_dir_all(run)?;
        let mut scene = Self {
            kernel: Kernel::new(),
            store: Store::open(state)?,
            networks: Vec::new(),
            pins: run.to_owned(),
            me: ProcessId::own()?,
            boot: zdocker_host::process::boot_id()?,
            count: 0,
            bandwidth: Bandwidth::default(),
        };
        for number in 0..networks {
            let mut subnets = vec![format!("10.{number}.0.0/16").parse()?];
            if ipv6 {
                subnets.push(format!("fd00:{number}::/64").parse()?);
            }
            let network = network(number, &subnets)?;
            scene
                .store
                .write(|records| records.insert_network(&network, State::Ready))?;
            let seen = scene.kernel.observe()?;
            apply(&mut scene.kernel, &plan::create_network(&network, &seen))?;
            scene.networks.push(network);
        }
        Ok(scene)
    }

    /// Plugs a new container into a network and publishes these of its ports.
    pub(crate) fn attach(&mut self, network: usize, ports: &[PublishedPort]) -> Result<(Attached, Took)> {
        self.count += 1;
        let (endpoint, recorded) = timed(|| self.record(network, ports))?;
        let ((), kernel) = timed(|| self.plug_in(network, &endpoint))?;
        let ((), marked) = timed(|| self.set_state(&endpoint, State::Ready))?;
        let records = recorded + marked;
        Ok((Attached { network, endpoint }, Took { kernel, records }))
    }

    /// Publishes one more port of an endpoint, and takes it back; how long the former took.
    pub(crate) fn publish(&mut self, attached: &Attached, port: u16) -> Result<Duration> {
        let network = &self.networks[attached.network];
        let mut after = attached.endpoint.clone();
        after.ports.extend(ports(port, 1));
        let pin = self.pin(&attached.endpoint);
        let change = |kernel: &mut Kernel, before: &Endpoint, after: &Endpoint| {
            apply(kernel, &plan::change(network, before, after, &pin))
        };
        let ((), took) = timed(|| change(&mut self.kernel, &attached.endpoint, &after))?;
        change(&mut self.kernel, &after, &attached.endpoint)?;
        Ok(took)
    }

    /// Unplugs it and gives its namespace up.
    pub(crate) fn detach(&mut self, attached: &Attached) -> Result<Took> {
        let endpoint = &attached.endpoint;
        let ((), marked) = timed(|| self.set_state(endpoint, State::Removing))?;
        let ((), kernel) = timed(|| self.unplug(attached))?;
        let ((), forgotten) = timed(|| Ok(self.store.write(|records| records.delete_endpoint(&endpoint.id))?))?;
        let records = marked + forgotten;
        Ok(Took { kernel, records })
    }

    /// Waits until the kernel has taken down the interfaces of all that were detached.
    pub(crate) fn wait_for_detached(&mut self) -> Result<()> {
        crate::taken_down::wait(&mut self.kernel, "veth")
    }

    fn record(&mut self, network: usize, ports: &[PublishedPort]) -> Result<Endpoint> {
        let network = &self.networks[network];
        let container = Id::new(bytes(self.count, 2));
        let wish = wish(network, self.bandwidth)?;
        let mut endpoint = attach::endpoint(network, &container, &wish, bytes(self.count, 3))?;
        let (me, boot) = (self.me, &self.boot);
        Ok(self.store.write(|records| {
            let addresses = records.lease_addresses(network, &[], &endpoint.id, 0)?;
            attach::bear_addresses(&mut endpoint, network, addresses, &wish);
            for port in ports {
                records.insert_port(&endpoint.id, port)?;
            }
            endpoint.ports = ports.to_vec();
            records.insert_endpoint(&endpoint, me, boot)?;
            Ok::<_, AddressError>(endpoint)
        })?)
    }

    fn set_state(&mut self, endpoint: &Endpoint, state: State) -> Result<()> {
        let owner = (state != State::Ready).then_some(self.me);
        let set = |records: &zdocker_host::store::Records| -> Result<(), StoreError> {
            records.set_endpoints_state(&endpoint.container, state, owner)
        };
        Ok(self.store.write(set)?)
    }

    fn plug_in(&mut self, network: usize, endpoint: &Endpoint) -> Result<()> {
        let (namespace, network) = (self.pin(endpoint), &self.networks[network]);
        let bridge = network.bridge.as_ref().context("the network has no bridge")?;
        let seen = self.kernel.observe_bridge(bridge)?;
        if plan::missing(network, bridge, &seen) != plan::Missing::Nothing {
            bail!("{} is not as it was made", bridge.name);
        }
        let mut ops = vec![plan::create_namespace(&namespace)];
        ops.extend(plan::attach(network, endpoint, &namespace));
        apply(&mut self.kernel, &ops)
    }

    fn unplug(&mut self, attached: &Attached) -> Result<()> {
        let path = self.pin(&attached.endpoint);
        let mut ops = plan::detach(&self.networks[attached.network], &attached.endpoint, None);
        ops.push(Op::DeleteNamespace { path });
        remove(&mut self.kernel, &ops)
    }

    fn pin(&self, endpoint: &Endpoint) -> NamespacePath {
        NamespacePath(self.pins.join(endpoint.id.as_str()).display().to_string())
    }
}

/// What an endpoint on this network alone is to be.
pub(crate) fn wish(network: &Network, bandwidth: Bandwidth) -> Result<EndpointWish> {
    let mut request = EndpointRequest::default();
    request.settings.bandwidth = bandwidth;
    let wishes = attach::wishes(&[(network, &request)], &[])?;
    wishes.into_iter().next().context("the network takes no endpoints")
}

/// So many TCP ports from this one on; only every second, so that nobody can take them for a range.
pub(crate) fn ports(first: u16, count: u16) -> Vec<PublishedPort> {
    let port = |index: u16| PublishedPort {
        host_ip: None,
        host_port: first + 2 * index,
        container_port: 1 + index,
        protocol: Protocol::Tcp,
    };
    (0..count).map(port).collect()
}
