//! Networks in the JSON shape of Docker's API (`GET /networks/{id}`).

use serde_json::{Map, Value, json};
use zdocker_engine::networks::NetworkView;
use zdocker_net::model::{Endpoint, InterfaceAddress, Network};
use zdocker_net::subnet::Family;

use super::time::rfc3339;

/// One network.
pub(crate) fn network(view: &NetworkView) -> Value {
    let network = &view.network;
    let config: Vec<Value> = network
        .pools
        .iter()
        .map(|pool| json!({ "Subnet": pool.subnet.to_string(), "Gateway": pool.gateway.to_string() }))
        .collect();
    let containers: Map<String, Value> = view
        .endpoints
        .iter()
        .map(|(endpoint, name)| (endpoint.container.to_string(), container(network, endpoint, name)))
        .collect();
    json!({
        "Name": network.name.as_str(),
        "Id": network.id.as_str(),
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": driver(&network.driver.to_string()),
        "EnableIPv4": network.pool(Family::V4).is_some(),
        "EnableIPv6": network.pool(Family::V6).is_some(),
        "IPAM": { "Driver": "default", "Options": {}, "Config": config },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    })
}

/// Docker calls the driver of network `none` by another name.
fn driver(name: &str) -> &str {
    if name == "none" { "null" } else { name }
}

fn container(network: &Network, endpoint: &Endpoint, name: &str) -> Value {
    let address = |family| {
        let found = endpoint.addresses.iter().find(|a| Family::of(a.address) == family);
        found.map_or_else(String::new, InterfaceAddress::to_string)
    };
    json!({
        "Name": name,
        "EndpointID": endpoint.id.as_str(),
        // Docker, too, gives none where it is the parent's.
        "MacAddress": if network.has_own_macs() { endpoint.mac.to_string() } else { String::new() },
        "IPv4Address": address(Family::V4),
        "IPv6Address": address(Family::V6),
    })
}
