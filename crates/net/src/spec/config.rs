//! Networks that are a configuration for others, and those others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Birth, NetworkRequest, SpecError, Surroundings, options, pools, routes};
use crate::model::{ConfigOnly, Driver, Network};
use crate::names::Name;

/// The configuration that `request` asks for. Its driver is chosen by the networks that take it over.
pub(super) fn create(request: &NetworkRequest, name: Name, birth: Birth) -> Result<Network, SpecError> {
    let fields = [
        (request.internal, "--internal"),
        (request.attachable, "--attachable"),
        (request.scope.is_some(), "--scope"),
    ];
    if let Some((_, field)) = fields.into_iter().find(|(given, _)| *given) {
        return Err(SpecError::NotOfConfiguration(field));
    }
    let pools = pools::given(request)?;
    let mut settings = options::common(request)?;
    settings.routes = routes::read(&request.routes, &pools)?;
    settings.config_only = Some(ConfigOnly {
        ipv4: request.ipv4,
        ipv6: request.ipv6,
    });
    Ok(Network {
        id: birth.id,
        name,
        driver: Driver::None,
        pools,
        bridge: None,
        parent: None,
        internal: false,
        masquerade: true,
        settings,
        options: request.options.iter().cloned().collect(),
        labels: request.labels.iter().cloned().collect(),
        created: birth.now,
    })
}

/// The network that `request` asks for with the configuration of the network `source`.
pub(super) fn take_over(
    request: &NetworkRequest,
    source: &str,
    around: &Surroundings,
    birth: Birth,
) -> Result<Network, SpecError> {
    refuse_own_configuration(request)?;
    let found = around
        .networks
        .iter()
        .find(|network| network.name.as_str() == source || network.id.as_str() == source);
    let configuration = found.ok_or_else(|| SpecError::NoConfiguration(source.to_owned()))?;
    let families = configuration.settings.config_only;
    let families = families.ok_or_else(|| SpecError::NotAConfiguration(source.to_owned()))?;
    let mut network = super::create(&configured(request, configuration, families), around, birth)?;
    network.settings.config_from = Some(configuration.name.to_string());
    Ok(network)
}

/// What `request` asks for with what the configuration `network` says.
fn configured(request: &NetworkRequest, network: &Network, families: ConfigOnly) -> NetworkRequest {
    let ConfigOnly { ipv4, ipv6 } = families;
    let pairs = |map: &BTreeMap<String, String>| map.clone().into_iter().collect();
    let reserved = network.pools.iter().flat_map(|pool| &pool.reserved);
    NetworkRequest {
        config_from: None,
        subnets: network.pools.iter().map(|pool| pool.subnet.to_string()).collect(),
        gateways: network
            .pools
            .iter()
            .filter_map(|pool| Some(pool.gateway?.to_string()))
            .collect(),
        ranges: network
            .pools
            .iter()
            .filter_map(|pool| Some(pool.range?.to_string()))
            .collect(),
        reserved: reserved
            .map(|(name, address): (&String, &IpAddr)| (name.clone(), address.to_string()))
            .collect(),
        ipv4,
        ipv6,
        routes: network.settings.routes.iter().map(routes::text).collect(),
        options: pairs(&network.options),
        ipam_options: pairs(&network.settings.ipam_options),
        labels: pairs(&network.labels),
        ..request.clone()
    }
}

/// As Docker does: what a configuration holds comes from there or from the command, not from both.
fn refuse_own_configuration(request: &NetworkRequest) -> Result<(), SpecError> {
    let own = [
        (request.config_only, "--config-only"),
        (!request.subnets.is_empty(), "--subnet"),
        (!request.gateways.is_empty(), "--gateway"),
        (!request.ranges.is_empty(), "--ip-range"),
        (!request.reserved.is_empty(), "--aux-address"),
        (request.ipv6, "--ipv6"),
        (!request.routes.is_empty(), "--route"),
        (!request.options.is_empty(), "--opt"),
        (!request.ipam_options.is_empty(), "--ipam-opt"),
        (!request.labels.is_empty(), "--label"),
    ];
    match own.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(SpecError::NotWithConfiguration(option)),
        None => Ok(()),
    }
}
