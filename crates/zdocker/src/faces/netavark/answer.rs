//! What Podman is told of a container that is plugged in.

use serde_json::{Map, Value, json};
use zdocker_engine::Engine;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::MacAddress;

use super::input::Input;
use super::network::Wanted;

/// The domain that containers look for names in.
const SEARCH_DOMAIN: &str = "dns.podman";

/// The state of each network, by its name; of `others`, as their plug-ins say.
///
/// # Errors
/// When the host cannot be looked at.
pub(super) fn answer(
    engine: &mut Engine,
    input: &Input,
    wanted: &[Wanted],
    endpoints: &[Endpoint],
    others: Vec<(&str, Value)>,
) -> anyhow::Result<Value> {
    let mut answer: Map<String, Value> = others
        .into_iter()
        .map(|(name, status)| (name.to_owned(), status))
        .collect();
    for (wanted, endpoint) in wanted.iter().zip(endpoints) {
        let mac = mac(engine, &wanted.network, endpoint)?;
        let own = json!({ "mac_address": mac.to_string(), "subnets": wanted.subnets });
        let (servers, domains) = match &wanted.name_servers {
            Some(servers) => (json!(servers), json!([SEARCH_DOMAIN])),
            // Those that the user named are used where the network has none of its own.
            None if wanted.network.bridge.is_some() => {
                (json!(input.dns_servers.as_deref().unwrap_or_default()), json!([]))
            }
            None => (json!([]), json!([])),
        };
        let status = json!({
            "dns_search_domains": domains,
            "dns_server_ips": servers,
            "interfaces": { endpoint.interface.as_str(): own },
        });
        answer.insert(wanted.name.clone(), status);
    }
    Ok(Value::Object(answer))
}

/// The Ethernet address of an endpoint's interface, which may be its parent's.
fn mac(engine: &mut Engine, network: &Network, endpoint: &Endpoint) -> anyhow::Result<MacAddress> {
    if network.has_own_macs() {
        return Ok(endpoint.mac);
    }
    Ok(engine.parent_mac(endpoint)?.unwrap_or(endpoint.mac))
}
