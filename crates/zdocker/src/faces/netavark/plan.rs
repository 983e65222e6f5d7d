//! Who does what of an input: the engine, plug-ins of other drivers, and the name server.

use std::net::IpAddr;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use zdocker_engine::Engine;
use zdocker_engine::plug::{PlugRequest, UnplugRequest};
use zdocker_host::Kernel;
use zdocker_net::model::{Network, Ownership};
use zdocker_net::op::NamespacePath;

use super::dns::Entry;
use super::input::{Input, Joined, Object};
use super::network::{Defaults, Wanted, id_of};
use super::plugin::{Plugin, Plugins};
use super::{message, ports};
use crate::output::note;

/// The networks of a container, by who makes them.
#[derive(Default)]
pub(super) struct Plan {
    /// The engine's.
    pub(super) wanted: Vec<Wanted>,
    /// Other drivers'.
    pub(super) foreign: Vec<Foreign>,
    /// What could not be read.
    pub(super) failures: Vec<anyhow::Error>,
}

/// A network of a driver that is a program of its own.
pub(super) struct Foreign {
    /// The network's name.
    pub(super) name: String,
    /// The program.
    pub(super) plugin: Plugin,
    /// What it is asked for.
    pub(super) request: Value,
}

impl Plan {
    /// Reads all of the input that can be read.
    pub(super) fn read(input: &Input, defaults: Defaults, plugins: &Plugins) -> Self {
        let mut plan = Plan::default();
        for joined in &input.networks {
            let driver = joined.network.as_ref().and_then(|network| network["driver"].as_str());
            if matches!(driver, None | Some("bridge" | "macvlan" | "ipvlan")) {
                match Wanted::read(joined, defaults) {
                    Ok(wanted) => plan.wanted.push(wanted),
                    Err(error) => plan.failures.push(error),
                }
                continue;
            }
            match plugins.find(driver.unwrap_or_default()) {
                Ok(plugin) => plan.foreign.push(Foreign {
                    name: joined.name.clone(),
                    plugin,
                    request: plugin_request(input, joined),
                }),
                Err(error) => plan.failures.push(error),
            }
        }
        match ports::read(&input.ports) {
            Ok(published) if defaults.firewall => ports::share_out(&published, &mut plan.wanted),
            Ok(_) => {}
            Err(error) => plan.failures.push(error),
        }
        plan
    }

    /// What the engine is asked for, of a container that comes.
    pub(super) fn plug(&self, input: &Input, namespace: NamespacePath) -> PlugRequest {
        PlugRequest {
            container: id_of(&input.container),
            namespace,
            endpoints: self.endpoints(),
        }
    }

    /// The same of one that goes.
    pub(super) fn unplug(&self, input: &Input, namespace: Option<NamespacePath>) -> UnplugRequest {
        UnplugRequest {
            container: id_of(&input.container),
            namespace,
            endpoints: self.endpoints(),
            remove_unused: true,
        }
    }

    fn endpoints(
        &self,
    ) -> Vec<(
        zdocker_net::model::Network,
        zdocker_net::attach::foreign::ForeignRequest,
    )> {
        let pair = |wanted: &Wanted| (wanted.network.clone(), wanted.request.clone());
        self.wanted.iter().map(pair).collect()
    }

    /// Has the plug-ins plug the container in, and gives each network's status. If one fails, those before it take it back.
    ///
    /// # Errors
    /// The plug-in's.
    pub(super) fn setup_foreign(&self, namespace: &str) -> anyhow::Result<Vec<(&str, Value)>> {
        let mut answers = Vec::new();
        for foreign in &self.foreign {
            match foreign.plugin.setup(namespace, &foreign.request) {
                Ok(answer) => answers.push((foreign.name.as_str(), answer)),
                Err(error) => {
                    self.teardown_foreign(namespace, answers.len())
                        .into_iter()
                        .for_each(|error| note(&message(&error)));
                    return Err(error);
                }
            }
        }
        Ok(answers)
    }

    /// Has the first `count` plug-ins unplug the container, and gives what went wrong.
    pub(super) fn teardown_foreign(&self, namespace: &str, count: usize) -> Vec<anyhow::Error> {
        let done = self
            .foreign
            .iter()
            .take(count)
            .map(|foreign| foreign.plugin.teardown(namespace, &foreign.request));
        done.filter_map(Result::err).collect()
    }
}

/// What a plug-in reads: netavark's plugin API, version 1.0.0.
fn plugin_request(input: &Input, joined: &Joined) -> Value {
    let mut options = joined.wish.clone();
    if let Some(options) = options.as_object_mut() {
        options.remove("name");
    }
    json!({
        "container_id": input.container,
        "container_name": input.name,
        "port_mappings": input.ports,
        "network": joined.network,
        "network_options": options,
    })
}

/// Gives the networks that have a name server the addresses that it listens at.
///
/// # Errors
/// When there is none.
pub(super) fn place_name_servers(wanted: &mut [Wanted]) -> anyhow::Result<()> {
    for wanted in wanted.iter_mut().filter(|wanted| wanted.name_servers.is_some()) {
        let unmanaged = wanted
            .network
            .bridge
            .as_ref()
            .filter(|bridge| bridge.ownership == Ownership::Foreign);
        let Some(bridge) = unmanaged else { continue };
        // The gateway may be another machine.
        let seen = Kernel::new().observe()?;
        let own: Vec<_> = seen.connected.iter().filter(|(link, _)| *link == bridge.name).collect();
        let mut addresses = seen.addresses;
        addresses.retain(|address| !is_link_local(address) && own.iter().any(|(_, subnet)| subnet.contains(*address)));
        if addresses.is_empty() {
            return Err(anyhow!(
                "bridge {} of network {} has no address that aardvark-dns could listen at: give it one (ip address add), or \
                 disable DNS for the network",
                bridge.name,
                wanted.name
            ));
        }
        wanted.name_servers = Some(addresses);
    }
    Ok(())
}

/// Takes the name servers from networks that cannot reach them: those at a gateway that the host is not.
///
/// # Errors
/// When the records cannot be read.
pub(super) fn drop_unreachable_servers(engine: &mut Engine, wanted: &mut [Wanted]) -> anyhow::Result<()> {
    let has_vlan = |network: &Network| network.bridge.as_ref().is_some_and(|bridge| bridge.vlan.is_some());
    for wanted in wanted.iter_mut().filter(|wanted| has_vlan(&wanted.network)) {
        if engine.is_host_in_other_vlan(&wanted.network.id)? {
            wanted.name_servers = None;
        }
    }
    Ok(())
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What the name server is told of a container.
///
/// # Errors
/// What cannot be read.
pub(super) fn names(input: &Input, wanted: &[Wanted]) -> anyhow::Result<Vec<Entry>> {
    let served = wanted
        .iter()
        .filter_map(|wanted| Some((wanted, wanted.name_servers.clone()?)));
    served
        .map(|(wanted, gateways)| entry(input, wanted, gateways))
        .collect()
}

fn entry(input: &Input, wanted: &Wanted, gateways: Vec<IpAddr>) -> anyhow::Result<Entry> {
    let joined = input.networks.iter().find(|joined| joined.name == wanted.name);
    let joined = joined.with_context(|| format!("network {}", wanted.name))?;
    let network = joined.network.as_ref().unwrap_or(&Value::Null);
    let known = Object::of("the network", network)?;
    let aliases = Object::of("the network's options", &joined.wish)?.texts("aliases")?;
    let names = [input.name.as_str()].into_iter().chain(aliases);
    let is_name = |name: &&str| {
        let valid = !name.is_empty() && !name.contains([',', '\n', ' ']);
        if !valid {
            note(&format!(
                "[WARN  netavark] invalid network alias {name:?}, ignoring this name"
            ));
        }
        valid
    };
    Ok(Entry {
        network: wanted.network.name.to_string(),
        internal: wanted.network.internal,
        gateways,
        servers: known.addresses("network_dns_servers")?.unwrap_or_default(),
        container: input.container.clone(),
        addresses: wanted.addresses(),
        names: names.filter(is_name).map(str::to_owned).collect(),
        container_servers: input.dns_servers.clone().unwrap_or_default(),
    })
}
