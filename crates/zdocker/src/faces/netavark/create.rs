//! `create`: completes and checks the configuration of a new network. Nothing is made: Podman keeps the answer, and
//! hands it to `setup` later.

mod driver;
mod fields;
mod network;
mod subnets;

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use chrono::Utc;
use serde_json::Value;
use zdocker_host::Kernel;
use zdocker_net::names::InterfaceName;
use zdocker_net::pools::DefaultPool;
use zdocker_net::seen::Seen;
use zdocker_net::subnet::Subnet;

use super::plugin::Plugins;
use crate::output::time::rfc3339;
use fields::Fields;
use network::Network;

/// What of a request is not the network itself.
struct Surroundings {
    /// The names of all networks.
    names: HashSet<String>,
    /// The bridges of all networks.
    interfaces: HashSet<String>,
    /// The subnets of all networks, and what else must not be used.
    subnets: Vec<Subnet>,
    /// Where subnets are chosen from.
    pools: Vec<DefaultPool>,
    /// What the name of a bridge begins with if none is given; a number follows.
    prefix: Option<String>,
    /// Whether a subnet that others have is refused.
    check_used: bool,
    /// The host's network, as far as it can be seen.
    seen: Seen,
}

/// Completes and checks the configuration of a new network, and returns it.
///
/// # Errors
/// When something is missing, wrong, or somebody else's.
pub(crate) fn create(input: &Value, plugins: &Plugins) -> Result<Value> {
    // Who may not look at all of the host's network has the names and subnets of the request all the same.
    complete(input, plugins, Kernel::new().observe().unwrap_or_default())
}

/// Completes and checks, on a host as it is `seen`.
fn complete(input: &Value, plugins: &Plugins, seen: Seen) -> Result<Value> {
    let mut surroundings = Surroundings::read(input, seen)?;
    let request = Fields::of("the request", input)?.required("network")?;
    let mut network = Network::read(request)?;
    check_identity(&network, &surroundings)?;
    network.check_ipam()?;
    match network.driver.as_str() {
        "bridge" => driver::bridge(&mut network, &mut surroundings)?,
        "macvlan" | "ipvlan" => {
            surroundings.check_used = false;
            driver::child(&mut network, &surroundings.seen)?;
        }
        name => {
            surroundings.check_used = false;
            network = from_plugin(&network, request, plugins)
                .with_context(|| format!("network {:?} of driver {name:?}", network.name))?;
        }
    }
    if network.ipam_driver() == Some("none") {
        network.dns = false;
    }
    if network.servers.is_some() && !network.dns {
        bail!(
            "DNS is not enabled for network {:?}, so nobody would ask its DNS servers: enable it, or leave them out",
            network.name
        );
    }
    subnets::complete(&mut network, &surroundings)?;
    network.check_routes()?;
    network.created = Some(Value::String(rfc3339(
        Utc::now().timestamp_nanos_opt().unwrap_or_default(),
    )));
    Ok(network.into_json())
}

impl Surroundings {
    fn read(input: &Value, seen: Seen) -> Result<Self> {
        let input = Fields::of("the request", input)?;
        let used = Fields::of("\"used\"", input.required("used")?)?;
        let options = Fields::of("\"options\"", input.required("options")?)?;
        Ok(Surroundings {
            names: Fields::of("\"names\"", used.required("names")?)?.keys(),
            interfaces: used.texts("interfaces")?.unwrap_or_default().into_iter().collect(),
            subnets: used.parsed_list("subnets")?.unwrap_or_default(),
            pools: subnets::read_pools(&options)?,
            prefix: options.text("default_interface_name")?.map(str::to_owned),
            check_used: options.flag("check_used_subnets")?,
            seen,
        })
    }

    /// The name of a bridge that nobody has.
    fn free_interface(&self) -> Result<String> {
        let prefix = self
            .prefix
            .as_deref()
            .context("neither a name for the bridge is given, nor default_interface_name to make one from")?;
        let links = self.seen.links.iter().map(|link| link.name.as_str());
        let taken: HashSet<&str> = links
            .chain(self.interfaces.iter().map(String::as_str))
            .chain(self.names.iter().map(String::as_str))
            .collect();
        let mut names = (1..1_000_000).map(|number| format!("{prefix}{number}"));
        let free = names.find(|name| !taken.contains(name.as_str()));
        let free = free.with_context(|| format!("all bridge names from {prefix}1 to {prefix}999999 are in use"))?;
        check_bridge_name(&free)?;
        Ok(free)
    }
}

fn check_identity(network: &Network, surroundings: &Surroundings) -> Result<()> {
    let Network { name, id, .. } = network;
    ensure!(!name.is_empty(), "the network has no name");
    ensure!(
        is_word(name),
        "invalid network name {name:?}: want letters, digits, '_', '.' and '-', with a letter or digit first"
    );
    ensure!(!surroundings.names.contains(name), "network already exists {name}");
    ensure!(
        id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "invalid id {id:?} of network {name:?}: want 64 hexadecimal digits"
    );
    Ok(())
}

/// Checks the name of a bridge: a little stricter than the kernel.
fn check_bridge_name(name: &str) -> Result<()> {
    name.parse::<InterfaceName>()?;
    ensure!(
        is_word(name),
        "bridge name {name} is invalid: want letters, digits, '_', '.' and '-', with a letter or digit first"
    );
    Ok(())
}

fn is_word(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.bytes().all(rest) && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// What the plugin makes of the network; it must be the same network.
fn from_plugin(network: &Network, request: &Value, plugins: &Plugins) -> Result<Network> {
    let plugin = plugins.find(&network.driver)?;
    let answer = Network::read(&plugin.create(request)?).context("the plugin's answer")?;
    for (what, asked, answered) in [
        ("name", &network.name, &answer.name),
        ("ID", &network.id, &answer.id),
        ("driver", &network.driver, &answer.driver),
    ] {
        ensure!(
            asked == answered,
            "invalid answer of the plugin: it changed the network's {what} from {asked:?} to {answered:?}"
        );
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
