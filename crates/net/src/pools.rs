//! Default pools: where a network without a given subnet gets one from.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::subnet::{Family, Subnet};

/// A range of addresses that is cut into subnets of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultPool {
    /// The whole range.
    pub base: Subnet,
    /// Prefix length of the subnets cut from it, in bits.
    pub size: u8,
}

/// Prefix length of the IPv6 subnets that are handed out (RFC 4291, 2.5.4).
const IPV6_SIZE: u8 = 64;

/// The pools when the configuration names none: IPv4's private ranges (RFC 1918) in subnets of 254 addresses, and the
/// unique local prefix (RFC 4193) made of this host's 40 random bits.
pub fn built_in(global_id: [u8; 5]) -> Vec<DefaultPool> {
    let v4 = |a, b, prefix| DefaultPool {
        base: Subnet::containing(IpAddr::from([a, b, 0, 0]), prefix),
        size: 24,
    };
    vec![v4(172, 16, 12), v4(192, 168, 16), v4(10, 0, 8), unique_local(global_id)]
}

/// The /48 prefix of unique local addresses with this global ID (RFC 4193, 3.1).
pub fn unique_local(global_id: [u8; 5]) -> DefaultPool {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&global_id);
    DefaultPool {
        base: Subnet::containing(IpAddr::V6(Ipv6Addr::from(octets)), 48),
        size: IPV6_SIZE,
    }
}

/// The first subnet of `family` in `pools` that overlaps nothing in `taken`.
pub fn next_free(pools: &[DefaultPool], family: Family, taken: &[Subnet]) -> Option<Subnet> {
    pools
        .iter()
        .filter(|pool| pool.base.family() == family)
        .find_map(|pool| next_free_in(pool, taken))
}

fn next_free_in(pool: &DefaultPool, taken: &[Subnet]) -> Option<Subnet> {
    // Most of what is taken are networks cut from the same pool: those are found by hash, the few others one by one.
    let near = taken.iter().filter(|t| t.overlaps(&pool.base));
    let (same_size, others): (Vec<&Subnet>, Vec<&Subnet>) = near.partition(|t| t.prefix() == pool.size);
    if others.iter().any(|t| t.prefix() <= pool.base.prefix()) {
        return None;
    }
    let same_size: HashSet<&Subnet> = same_size.into_iter().collect();
    let step = u32::from(pool.base.family().bits() - pool.size);
    let count = 1u128 << (pool.size - pool.base.prefix()).min(127);
    (0..count)
        .filter_map(|number| pool.base.nth(number << step))
        .map(|address| Subnet::containing(address, pool.size))
        .find(|candidate| !same_size.contains(candidate) && !others.iter().any(|t| t.overlaps(candidate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn check(family: Family, taken: &[&str], expected: Option<&str>) {
        let pools = built_in([1, 2, 3, 4, 5]);
        assert_eq!(
            next_free(&pools, family, &subnets(taken))
                .map(|s| s.to_string())
                .as_deref(),
            expected,
            "{taken:?}"
        );
    }

    #[test]
    fn avoids_what_is_taken() {
        check(Family::V4, &[], Some("172.16.0.0/24"));
        check(Family::V4, &["172.16.0.0/24"], Some("172.16.1.0/24"));
        check(Family::V4, &["172.16.0.128/25", "172.16.1.0/28"], Some("172.16.2.0/24"));
        check(Family::V4, &["172.16.0.0/16"], Some("172.17.0.0/24"));
        check(Family::V4, &["172.16.0.0/12"], Some("192.168.0.0/24"));
        check(Family::V4, &["172.0.0.0/8", "192.168.0.0/16"], Some("10.0.0.0/24"));
        check(Family::V4, &["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"], None);
        check(Family::V6, &["172.16.0.0/12"], Some("fd01:203:405::/64"));
        check(Family::V6, &["fd01:203:405::/64"], Some("fd01:203:405:1::/64"));
    }

    #[test]
    fn a_thousand_networks_are_distinct() {
        let pools = built_in([0; 5]);
        let mut taken = Vec::new();
        for _ in 0..1000 {
            taken.extend(next_free(&pools, Family::V4, &taken));
        }
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 1000);
    }

    #[test]
    fn a_pool_no_larger_than_one_subnet() {
        let pool = [DefaultPool {
            base: "10.1.2.0/24".parse().unwrap(),
            size: 24,
        }];
        assert_eq!(next_free(&pool, Family::V4, &[]), Some(pool[0].base));
        assert_eq!(next_free(&pool, Family::V4, &[pool[0].base]), None);
    }
}
