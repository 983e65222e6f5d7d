//! Which subnets a network gets, and their gateways.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use zdocker_net::pools::{self, DefaultPool};
use zdocker_net::subnet::{Family, Subnet};

use super::Surroundings;
use super::fields::Fields;
use super::network::{Network, Pool};

/// The pools that subnets are chosen from.
pub(super) fn read_pools(options: &Fields<'_>) -> Result<Vec<DefaultPool>> {
    let pools = options.list("subnet_pools")?;
    pools
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(read_pool)
        .collect()
}

fn read_pool(value: &Value) -> Result<DefaultPool> {
    let fields = Fields::of("a subnet pool", value)?;
    let base: Subnet = fields
        .parsed("base")?
        .context("missing field `base` in a subnet pool")?;
    let size = fields.required("size")?;
    let number = size.as_u64().and_then(|size| u8::try_from(size).ok());
    let fits = |size: &u8| (base.prefix()..=base.family().bits()).contains(size);
    let size = number.filter(fits).with_context(|| {
        let (least, most) = (base.prefix(), base.family().bits());
        format!("invalid size {size} of subnet pool {base}: want a prefix length from {least} to {most}")
    })?;
    Ok(DefaultPool { base, size })
}

/// Gives a network that wants addresses a subnet of each family that it has none of.
pub(super) fn choose(network: &mut Network, surroundings: &Surroundings) -> Result<()> {
    let mut wanted = Vec::new();
    if !network.has_subnet(Some(Family::V4)) && (network.ipv6 || !network.has_subnet(None)) {
        wanted.push(Family::V4);
    }
    if network.ipv6 && !network.has_subnet(Some(Family::V6)) {
        wanted.push(Family::V6);
    }
    for family in wanted {
        let subnet = next_free(network, surroundings, family).with_context(|| {
            format!(
                "no {family} subnet of the subnet pools is free for network {:?}",
                network.name
            )
        })?;
        network.pools.get_or_insert_default().push(Pool::new(subnet));
    }
    Ok(())
}

fn next_free(network: &Network, surroundings: &Surroundings, family: Family) -> Option<Subnet> {
    // Its own subnets are nobody else's; the others' matter only if they are to be checked.
    let mut taken: Vec<Subnet> = network.pools.iter().flatten().map(|pool| pool.subnet).collect();
    if surroundings.check_used || family == Family::V6 {
        let seen = &surroundings.seen;
        taken.extend(&surroundings.subnets);
        taken.extend(seen.connected.iter().map(|(_, subnet)| subnet));
        taken.extend(&seen.routes);
    }
    match family {
        Family::V4 => pools::next_free(&surroundings.pools, family, &taken),
        Family::V6 => pools::next_free(&[unique_local(&network.id)], family, &taken),
    }
}

/// The unique local prefix (RFC 4193) of 40 bits of the network's identifier, which is random.
fn unique_local(id: &str) -> DefaultPool {
    let mut bits = [0; 5];
    for (byte, index) in bits.iter_mut().zip(0..) {
        let digits = id.get(2 * index..2 * index + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    pools::unique_local(bits)
}

/// Checks a network's subnets, and gives them gateways where they need some.
pub(super) fn complete(network: &mut Network, surroundings: &Surroundings) -> Result<()> {
    let needs_gateway = !network.internal || network.dns;
    let mut earlier: Vec<Subnet> = Vec::new();
    for pool in network.pools.iter_mut().flatten() {
        let subnet = pool.subnet;
        ensure!(!earlier.contains(&subnet), "duplicate subnet defined: {subnet}");
        if let Some(other) = earlier.iter().find(|other| other.overlaps(&subnet)) {
            anyhow::bail!("overlapping subnets: {other} and {subnet}");
        }
        earlier.push(subnet);
        if surroundings.check_used && surroundings.subnets.iter().any(|used| used.overlaps(&subnet)) {
            anyhow::bail!("subnet {subnet} is already used on the host or by another config");
        }
        if pool.gateway.is_none() && needs_gateway {
            // In IPv4 the last address is for broadcasts.
            let least_host_bits = if subnet.family() == Family::V4 { 2 } else { 1 };
            let room = subnet.family().bits() - subnet.prefix() >= least_host_bits;
            pool.gateway = subnet.nth(1).filter(|_| room);
            ensure!(
                pool.gateway.is_some(),
                "could not create gateway for subnet {subnet}: it has no room for one; give a larger subnet or a gateway"
            );
        }
        pool.check()?;
        network.ipv6 |= subnet.family() == Family::V6;
    }
    Ok(())
}
