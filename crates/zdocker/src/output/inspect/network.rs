//! A network as Docker's API has it (`GET /networks/{id}`).

use serde_json::{Map, Value, json};
use zdocker_engine::networks::{NetworkView, SCOPE};
use zdocker_net::model::{Endpoint, InterfaceAddress, Network, Pool};
use zdocker_net::subnet::{Family, Subnet};
use zdocker_net::usage::Usage;

use super::super::time::rfc3339;
use super::{driver, map_or_null, or_null};

/// One network; with `verbose`, also what Docker does not tell of it.
pub(crate) fn network(view: &NetworkView, usages: &[(Subnet, Usage)], verbose: bool) -> Value {
    let network = &view.network;
    let settings = &network.settings;
    let config: Vec<Value> = network.pools.iter().map(pool).collect();
    let containers: Map<String, Value> = view
        .endpoints
        .iter()
        .map(|(endpoint, name)| {
            (
                endpoint.container.to_string(),
                container(network, endpoint, name, verbose),
            )
        })
        .collect();
    let mut value = json!({
        "Name": network.name.as_str(),
        "Id": network.id.as_str(),
        "Created": rfc3339(network.created),
        "Scope": SCOPE,
        "Driver": driver(network),
        "EnableIPv4": network.pool(Family::V4).is_some(),
        "EnableIPv6": network.pool(Family::V6).is_some(),
        "IPAM": { "Driver": "default", "Options": settings.ipam_options, "Config": config },
        "Internal": network.internal,
        "Attachable": settings.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": settings.config_from.as_deref().unwrap_or_default() },
        "ConfigOnly": settings.config_only.is_some(),
        "Options": network.options,
        "Labels": network.labels,
        "Containers": containers,
        "Status": { "IPAM": { "Subnets": subnets(usages) } },
    });
    if verbose {
        value["Device"] = device(network);
        value["Masquerade"] = network.masquerade.into();
    }
    value
}

fn pool(pool: &Pool) -> Value {
    let mut config = Map::new();
    config.insert("Subnet".to_owned(), pool.subnet.to_string().into());
    // Docker leaves these out where they are not given.
    if let Some(range) = &pool.range {
        config.insert("IPRange".to_owned(), range.to_string().into());
    }
    if let Some(gateway) = pool.gateway {
        config.insert("Gateway".to_owned(), gateway.to_string().into());
    }
    if !pool.reserved.is_empty() {
        config.insert("AuxiliaryAddresses".to_owned(), json!(pool.reserved));
    }
    Value::Object(config)
}

/// The numbers of addresses, which the API cuts off at 64 bits.
fn subnets(usages: &[(Subnet, Usage)]) -> Value {
    let cut = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    let subnets = usages.iter().map(|(subnet, usage)| {
        let numbers = json!({ "IPsInUse": cut(usage.in_use), "DynamicIPsAvailable": cut(usage.free) });
        (subnet.to_string(), numbers)
    });
    Value::Object(subnets.collect())
}

/// Docker, too, shows none where it is the parent's.
pub(super) fn mac(network: &Network, endpoint: &Endpoint) -> String {
    if network.has_own_macs() {
        endpoint.mac.to_string()
    } else {
        String::new()
    }
}

fn container(network: &Network, endpoint: &Endpoint, name: &str, verbose: bool) -> Value {
    let address = |family| {
        let found = endpoint.addresses.iter().find(|a| Family::of(a.address) == family);
        found.map_or_else(String::new, InterfaceAddress::to_string)
    };
    let mut value = json!({
        "Name": name,
        "EndpointID": endpoint.id.as_str(),
        "MacAddress": mac(network, endpoint),
        "IPv4Address": address(Family::V4),
        "IPv6Address": address(Family::V6),
    });
    if verbose {
        let settings = &endpoint.settings;
        let ports: Vec<String> = endpoint.ports.iter().map(ToString::to_string).collect();
        value["Interface"] = endpoint.interface.as_str().into();
        value["HostInterface"] = endpoint.host_interface.as_str().into();
        value["Aliases"] = or_null(&settings.aliases, settings.aliases.is_empty());
        value["GwPriority"] = settings.gateway_priority.into();
        value["DriverOpts"] = map_or_null(&settings.options);
        value["Bandwidth"] = super::container::bandwidth(&settings.bandwidth);
        value["PublishedPorts"] = ports.into();
    }
    value
}

/// The interface of the host that the network is made of.
fn device(network: &Network) -> Value {
    match (&network.bridge, &network.parent) {
        (Some(bridge), _) => json!({
            "Name": bridge.name.as_str(),
            "MacAddress": bridge.mac.to_string(),
            "Mtu": bridge.mtu,
        }),
        (None, Some(parent)) => json!({ "Name": parent.name.as_str(), "Mtu": parent.mtu }),
        (None, None) => Value::Null,
    }
}
