//! Subnets and gateways of a network.

use std::net::IpAddr;

use super::{NetworkRequest, SpecError, Surroundings};
use crate::ipam;
use crate::model::Pool;
use crate::pools as default_pools;
use crate::subnet::{Family, Subnet};

/// The subnets that `request` asks for or leaves to us, each with its gateway; IPv4 first.
pub(super) fn choose_pools(request: &NetworkRequest, around: &Surroundings) -> Result<Vec<Pool>, SpecError> {
    let mut wanted: Vec<(Subnet, Option<IpAddr>)> = Vec::new();
    for text in &request.subnets {
        let (subnet, gateway) = Subnet::parse_with_host(text)?;
        check_subnet(&subnet, around)?;
        if let Some((other, _)) = wanted.iter().find(|(other, _)| other.family() == subnet.family()) {
            return Err(SpecError::TwoOfAFamily(*other, subnet));
        }
        wanted.push((subnet, gateway));
    }
    for (family, automatic) in [(Family::V4, request.ipv4), (Family::V6, request.ipv6)] {
        if automatic && !wanted.iter().any(|(subnet, _)| subnet.family() == family) {
            wanted.push((free_subnet(family, around)?, None));
        }
    }
    if wanted.is_empty() {
        return Err(SpecError::NoFamily);
    }
    assign_gateways(&request.gateways, &mut wanted)?;
    wanted.sort_by_key(|(subnet, _)| subnet.family());
    wanted
        .into_iter()
        .map(|(subnet, gateway)| pool(subnet, gateway))
        .collect()
}

/// A subnet of `family` from the default pools that overlaps nothing that is known.
///
/// # Errors
/// [`SpecError::PoolsExhausted`].
pub fn free_subnet(family: Family, around: &Surroundings) -> Result<Subnet, SpecError> {
    let networks = around
        .networks
        .iter()
        .flat_map(|network| network.pools.iter().map(|pool| pool.subnet));
    let connected = around.seen.connected.iter().map(|(_, subnet)| *subnet);
    let taken: Vec<Subnet> = networks
        .chain(connected)
        .chain(around.seen.routes.iter().copied())
        .collect();
    default_pools::next_free(around.pools, family, &taken).ok_or(SpecError::PoolsExhausted(family))
}

fn assign_gateways(gateways: &[String], wanted: &mut [(Subnet, Option<IpAddr>)]) -> Result<(), SpecError> {
    for text in gateways {
        let gateway: IpAddr = text.parse().map_err(|_| SpecError::GatewaySyntax(text.clone()))?;
        let all: Vec<String> = wanted.iter().map(|(subnet, _)| subnet.to_string()).collect();
        let place = wanted.iter_mut().find(|(subnet, _)| subnet.contains(gateway));
        let (subnet, slot) = place.ok_or_else(|| SpecError::GatewayOutside(gateway, all.join(", ")))?;
        match slot.replace(gateway) {
            Some(other) if other != gateway => return Err(SpecError::TwoGateways(*subnet, other, gateway)),
            _ => {}
        }
    }
    Ok(())
}

fn pool(subnet: Subnet, gateway: Option<IpAddr>) -> Result<Pool, SpecError> {
    let usable = ipam::usable(&subnet);
    let gateway = match gateway {
        Some(gateway) => gateway,
        None => subnet.nth(*usable.start()).ok_or(SpecError::TooSmall(subnet))?,
    };
    match subnet.offset_of(gateway) {
        Some(offset) if usable.contains(&offset) => Ok(Pool::new(subnet, gateway)),
        _ => Err(SpecError::GatewayUnusable(gateway, subnet)),
    }
}

fn check_subnet(subnet: &Subnet, around: &Surroundings) -> Result<(), SpecError> {
    if subnet.last_offset() < 3 {
        return Err(SpecError::TooSmall(*subnet));
    }
    if let Some(reason) = reserved(subnet) {
        return Err(SpecError::Reserved(*subnet, reason));
    }
    for network in around.networks {
        if let Some(pool) = network.pools.iter().find(|pool| pool.subnet.overlaps(subnet)) {
            return Err(SpecError::OverlapsNetwork(
                *subnet,
                pool.subnet,
                network.name.to_string(),
            ));
        }
    }
    if let Some((link, other)) = around.seen.connected.iter().find(|(_, other)| other.overlaps(subnet)) {
        return Err(SpecError::OverlapsHost(*subnet, *other, link.clone()));
    }
    // A route to more than the subnet, as a VPN has to 10.0.0.0/8, is meant to be overruled by the subnet's own.
    let within = |route: &&Subnet| route.prefix() >= subnet.prefix() && route.overlaps(subnet);
    match around.seen.routes.iter().find(within) {
        Some(route) => Err(SpecError::HidesRoute(*subnet, *route)),
        None => Ok(()),
    }
}

/// Why `subnet` holds addresses that no container can have (RFC 6890).
fn reserved(subnet: &Subnet) -> Option<&'static str> {
    let overlaps = |address: [u8; 4], prefix| subnet.overlaps(&Subnet::containing(IpAddr::from(address), prefix));
    let overlaps_v6 =
        |first: u16, prefix| subnet.overlaps(&Subnet::containing(IpAddr::from([first, 0, 0, 0, 0, 0, 0, 0]), prefix));
    match subnet.family() {
        Family::V4 if overlaps([127, 0, 0, 0], 8) => Some("loopback addresses"),
        Family::V4 if overlaps([169, 254, 0, 0], 16) => Some("link-local addresses"),
        Family::V4 if overlaps([224, 0, 0, 0], 4) => Some("multicast addresses"),
        Family::V4 if overlaps([0, 0, 0, 0], 8) || overlaps([240, 0, 0, 0], 4) => Some("reserved"),
        Family::V6 if overlaps_v6(0xff00, 8) => Some("multicast addresses"),
        Family::V6 if overlaps_v6(0xfe80, 10) => Some("link-local addresses"),
        Family::V6 if overlaps_v6(0, 8) => Some("reserved"),
        _ => None,
    }
}
