//! Subnets and gateways of a network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{NetworkRequest, SpecError, Surroundings};
use crate::ipam;
use crate::model::Pool;
use crate::pools as default_pools;
use crate::subnet::{AddressRange, Family, Subnet};

/// A subnet as it is asked for.
struct Wanted {
    subnet: Subnet,
    gateway: Option<IpAddr>,
    range: Option<Subnet>,
    reserved: BTreeMap<String, IpAddr>,
}

/// The subnets that `request` asks for or, of the families that are wanted, leaves to us, each with its gateway; IPv4
/// first, else in the order given. `check` refuses given subnets that collide with what is
/// around.
pub(super) fn choose(
    request: &NetworkRequest,
    (ipv4, ipv6): (bool, bool),
    around: &Surroundings,
    check: impl Fn(&Subnet, &Surroundings) -> Result<(), SpecError>,
) -> Result<Vec<Pool>, SpecError> {
    let mut subnets = read_subnets(request)?;
    for (subnet, _) in &subnets {
        check(subnet, around)?;
    }
    for (family, automatic) in [(Family::V4, ipv4), (Family::V6, ipv6)] {
        if automatic && !subnets.iter().any(|(subnet, _)| subnet.family() == family) {
            subnets.push((free_subnet(family, around)?, None));
        }
    }
    if subnets.is_empty() {
        return Err(SpecError::NoFamily);
    }
    pools(request, subnets)
}

/// The subnets that `request` names; what else there is does not matter.
pub(super) fn given(request: &NetworkRequest) -> Result<Vec<Pool>, SpecError> {
    pools(request, read_subnets(request)?)
}

/// The subnets of `request`, each perhaps with the gateway that its host bits name.
fn read_subnets(request: &NetworkRequest) -> Result<Vec<(Subnet, Option<IpAddr>)>, SpecError> {
    let mut read: Vec<(Subnet, Option<IpAddr>)> = Vec::new();
    for text in &request.subnets {
        let (subnet, gateway) = Subnet::parse_with_host(text)?;
        check_usable(&subnet)?;
        if let Some((other, _)) = read.iter().find(|(other, _)| other.overlaps(&subnet)) {
            return Err(SpecError::OverlapsItself(*other, subnet));
        }
        read.push((subnet, gateway));
    }
    Ok(read)
}

fn pools(request: &NetworkRequest, subnets: Vec<(Subnet, Option<IpAddr>)>) -> Result<Vec<Pool>, SpecError> {
    let mut wanted: Vec<Wanted> = subnets
        .into_iter()
        .map(|(subnet, gateway)| Wanted {
            subnet,
            gateway,
            range: None,
            reserved: BTreeMap::new(),
        })
        .collect();
    assign_gateways(&request.gateways, &mut wanted)?;
    assign_ranges(&request.ranges, &mut wanted)?;
    assign_reserved(&request.reserved, &mut wanted)?;
    wanted.sort_by_key(|wanted| wanted.subnet.family());
    wanted.into_iter().map(pool).collect()
}

fn list(wanted: &[Wanted]) -> String {
    let all: Vec<String> = wanted.iter().map(|wanted| wanted.subnet.to_string()).collect();
    all.join(", ")
}

/// The subnet that has `address`.
fn place(wanted: &mut [Wanted], address: IpAddr) -> Option<&mut Wanted> {
    wanted.iter_mut().find(|wanted| wanted.subnet.contains(address))
}

/// A subnet of `family` from the default pools that overlaps nothing that is known.
///
/// # Errors
/// [`SpecError::PoolsExhausted`].
pub fn free_subnet(family: Family, around: &Surroundings) -> Result<Subnet, SpecError> {
    let networks = around
        .networks
        .iter()
        .flat_map(|network| network.held_pools().iter().map(|pool| pool.subnet));
    let connected = around.seen.connected.iter().map(|(_, subnet)| *subnet);
    let taken: Vec<Subnet> = networks
        .chain(connected)
        .chain(around.seen.routes.iter().copied())
        .collect();
    default_pools::next_free(around.pools, family, &taken).ok_or(SpecError::PoolsExhausted(family))
}

fn assign_gateways(gateways: &[String], wanted: &mut [Wanted]) -> Result<(), SpecError> {
    let all = list(wanted);
    for text in gateways {
        let gateway: IpAddr = text.parse().map_err(|_| SpecError::GatewaySyntax(text.clone()))?;
        let place = place(wanted, gateway).ok_or(SpecError::GatewayOutside(gateway, all.clone()))?;
        match place.gateway.replace(gateway) {
            Some(other) if other != gateway => return Err(SpecError::TwoGateways(place.subnet, other, gateway)),
            _ => {}
        }
    }
    Ok(())
}

fn assign_ranges(ranges: &[String], wanted: &mut [Wanted]) -> Result<(), SpecError> {
    let all = list(wanted);
    for text in ranges {
        let range: Subnet = text.parse().map_err(|_| SpecError::RangeSyntax(text.clone()))?;
        let place = place(wanted, range.address()).filter(|place| place.subnet.contains(range.last()));
        let place = place.ok_or(SpecError::RangeOutside(range, all.clone()))?;
        if let Some(other) = place.range.replace(range) {
            return Err(SpecError::TwoRanges(place.subnet, other, range));
        }
    }
    Ok(())
}

fn assign_reserved(reserved: &[(String, String)], wanted: &mut [Wanted]) -> Result<(), SpecError> {
    let all = list(wanted);
    for (name, text) in reserved {
        let address: IpAddr = text
            .parse()
            .map_err(|_| SpecError::ReservedSyntax(name.clone(), text.clone()))?;
        let place = place(wanted, address).ok_or(SpecError::ReservedOutside(name.clone(), address, all.clone()))?;
        let usable = |offset: u128| ipam::usable(&place.subnet).contains(&offset);
        if !place.subnet.offset_of(address).is_some_and(usable) {
            return Err(SpecError::ReservedUnusable(name.clone(), address, place.subnet));
        }
        if let Some((other, _)) = place.reserved.iter().find(|(_, other)| **other == address) {
            return Err(SpecError::ReservedTwice(name.clone(), address, other.clone()));
        }
        if let Some(other) = place.reserved.insert(name.clone(), address) {
            return Err(SpecError::ReservedNameTwice(name.clone(), other, address));
        }
    }
    Ok(())
}

fn pool(wanted: Wanted) -> Result<Pool, SpecError> {
    let Wanted {
        subnet,
        gateway,
        range,
        reserved,
    } = wanted;
    let usable = ipam::usable(&subnet);
    let is_reserved = |address: &IpAddr| reserved.values().any(|other| other == address);
    let gateway = match gateway {
        Some(gateway) => gateway,
        // There are more addresses than reserved ones, or the loop ends at the subnet's end.
        None => usable
            .clone()
            .map_while(|offset| subnet.nth(offset))
            .find(|address| !is_reserved(address))
            .ok_or(SpecError::TooSmall(subnet))?,
    };
    if let Some((name, _)) = reserved.iter().find(|(_, address)| **address == gateway) {
        return Err(SpecError::ReservedTwice(
            name.clone(),
            gateway,
            "the gateway".to_owned(),
        ));
    }
    match subnet.offset_of(gateway) {
        Some(offset) if usable.contains(&offset) => Ok(Pool {
            subnet,
            gateway: Some(gateway),
            range: range.map(AddressRange::from),
            set: 0,
            reserved,
        }),
        _ => Err(SpecError::GatewayUnusable(gateway, subnet)),
    }
}

fn check_usable(subnet: &Subnet) -> Result<(), SpecError> {
    if subnet.last_offset() < 3 {
        return Err(SpecError::TooSmall(*subnet));
    }
    match reserved(subnet) {
        Some(reason) => Err(SpecError::Reserved(*subnet, reason)),
        None => Ok(()),
    }
}

/// Refuses a subnet that is another network's.
pub(super) fn free_of_networks(subnet: &Subnet, around: &Surroundings) -> Result<(), SpecError> {
    for network in around.networks {
        if let Some(pool) = network.held_pools().iter().find(|pool| pool.subnet.overlaps(subnet)) {
            return Err(SpecError::OverlapsNetwork(
                *subnet,
                pool.subnet,
                network.name.to_string(),
            ));
        }
    }
    Ok(())
}

/// Refuses a subnet that is another network's, or that the host reaches otherwise.
pub(super) fn free_of_all(subnet: &Subnet, around: &Surroundings) -> Result<(), SpecError> {
    free_of_networks(subnet, around)?;
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
