//! What plug-ins have in common that go behind another in a list, ours or somebody else's.

use zdocker_engine::Engine;
use zdocker_engine::plug::{Stranger, adopted_network};
use zdocker_net::model::{Bandwidth, Driver, Endpoint, InterfaceAddress, Network};

use super::error::CniError;
use super::request::Request;
use super::result::CniResult;
use super::state;

/// What the main plug-in made.
pub(super) enum Plugged {
    /// An endpoint of ours.
    Own(Box<Network>, Endpoint),
    /// Somebody else's interface, of which something may be recorded already.
    Strange(Option<Endpoint>),
}

/// What the main plug-in made of the container's interface.
///
/// # Errors
/// When the records cannot be read.
pub(super) fn plugged(engine: &mut Engine, request: &Request) -> Result<Plugged, CniError> {
    let found = engine.plugged_at(&request.container_id(), request.interface()?)?;
    Ok(match found {
        Some((network, endpoint)) if network.driver != Driver::Adopted => Plugged::Own(Box::new(network), endpoint),
        found => Plugged::Strange(found.map(|(_, endpoint)| endpoint)),
    })
}

/// Somebody else's interface, as the plug-in that made it describes it.
///
/// # Errors
/// When the environment lacks it.
pub(super) fn stranger(request: &Request, previous: &CniResult) -> Result<Stranger, CniError> {
    Ok(Stranger {
        network: request.network.clone(),
        container: request.container_id(),
        namespace: request.namespace()?,
        interface: request.interface()?.clone(),
        addresses: addresses(previous, request.interface()?.as_str()),
    })
}

/// The addresses of the container's interface of this name, and those of which it is not said whose they are.
fn addresses(previous: &CniResult, name: &str) -> Vec<InterfaceAddress> {
    let is_own = |place: usize| {
        let interface = previous.interfaces.get(place);
        interface.is_some_and(|interface| interface.name == name && !interface.sandbox.is_empty())
    };
    let own = previous.ips.iter().filter(|ip| ip.interface.is_none_or(is_own));
    own.map(|ip| ip.address).collect()
}

/// Takes back the ports or the limits of attachments that are not listed.
///
/// # Errors
/// When a part could not be removed.
pub(super) fn gc(request: &Request, ports: bool) -> Result<(), CniError> {
    let valid = request.valid_attachments()?;
    let mut engine = state::open(request)?;
    let (own, adopted) = (request.network_id(), adopted_network(&request.network).id);
    for (network, endpoint) in engine.plugged()? {
        let attachment = (endpoint.container, endpoint.interface.to_string());
        if valid.contains(&attachment) {
            continue;
        }
        if network.id == adopted {
            engine.release(&attachment.0, &endpoint.interface, ports)?;
        } else if network.id == own && ports && !endpoint.ports.is_empty() {
            engine.republish(&endpoint.id, &[])?;
        } else if network.id == own && !ports && endpoint.settings.bandwidth != Bandwidth::default() {
            engine.relimit(&endpoint.id, Bandwidth::default())?;
        }
    }
    engine.finish_behind();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_addresses_of_another_interface_are_not_its_own() {
        let previous = json!({
            "interfaces": [{"name": "eth0"}, {"name": "eth0", "sandbox": "/ns"}, {"name": "eth1", "sandbox": "/ns"}],
            "ips": [
                {"address": "10.0.0.1/24", "interface": 0},
                {"address": "10.0.0.2/24", "interface": 1},
                {"address": "10.0.0.3/24", "interface": 2},
                {"address": "10.0.0.4/24"}
            ]
        });
        let previous = CniResult::from_json(&previous).unwrap();
        let own = |name| -> Vec<String> { addresses(&previous, name).iter().map(ToString::to_string).collect() };
        assert_eq!(own("eth0"), ["10.0.0.2/24", "10.0.0.4/24"]);
        assert_eq!(own("eth1"), ["10.0.0.3/24", "10.0.0.4/24"]);
    }
}
