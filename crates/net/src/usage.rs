//! How many addresses of a pool are in use, and how many are free to be handed out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::ipam;
use crate::model::Pool;

/// Numbers of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Those of the subnet that cannot be handed out: leased, reserved, the gateway's, and those that no interface may
    /// bear.
    pub in_use: u128,
    /// Those that can be handed out: of the pool's range, if it has one.
    pub free: u128,
}

impl Usage {
    /// What is in use of `pool`, of which the addresses `leased` are leased.
    pub fn of(pool: &Pool, leased: impl IntoIterator<Item = IpAddr>) -> Self {
        let subnet = &pool.subnet;
        let usable = ipam::usable(subnet);
        let known = leased
            .into_iter()
            .chain(pool.reserved.values().copied())
            .chain(pool.gateway);
        // A gateway is leased as well, and a reserved address may be: each counts once.
        let taken: BTreeSet<u128> = known
            .filter_map(|address| subnet.offset_of(address))
            .filter(|offset| usable.contains(offset))
            .collect();
        // One less than there are, as all of ::/0 do not fit.
        let unusable = subnet.last_offset() - (usable.end() - usable.start());
        let handed_out = handed_out(pool, &usable);
        let taken_of_it = taken.iter().filter(|offset| handed_out.contains(offset)).count() as u128;
        Usage {
            in_use: unusable.saturating_add(taken.len() as u128),
            free: length(&handed_out).saturating_sub(taken_of_it),
        }
    }
}

/// The offsets that addresses are handed out from.
fn handed_out(pool: &Pool, usable: &RangeInclusive<u128>) -> RangeInclusive<u128> {
    let Some(range) = &pool.range else {
        return usable.clone();
    };
    let bounds = (
        pool.subnet.offset_of(range.first()),
        pool.subnet.offset_of(range.last()),
    );
    match bounds {
        (Some(first), Some(last)) => first.max(*usable.start())..=last.min(*usable.end()),
        _ => usable.clone(),
    }
}

fn length(range: &RangeInclusive<u128>) -> u128 {
    if range.is_empty() {
        return 0;
    }
    (range.end() - range.start()).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(subnet: &str, range: Option<&str>, reserved: &[&str], leased: &[&str], expected: (u128, u128)) {
        let subnet: crate::subnet::Subnet = subnet.parse().unwrap();
        let mut pool = Pool::new(subnet, subnet.nth(1).unwrap());
        pool.range = range.map(|range| range.parse().unwrap());
        pool.reserved = reserved
            .iter()
            .map(|text| ((*text).to_owned(), text.parse().unwrap()))
            .collect();
        let usage = Usage::of(&pool, leased.iter().map(|text| text.parse().unwrap()));
        assert_eq!((usage.in_use, usage.free), expected, "{subnet}");
    }

    #[test]
    fn what_is_taken_counts_once() {
        // The examples of Docker's API reference: the network's own, the broadcast and the gateway's address.
        check("172.16.0.0/16", None, &[], &[], (3, 65533));
        check("172.16.0.0/16", None, &[], &["172.16.0.1"], (3, 65533));
        check(
            "10.0.0.0/24",
            None,
            &["10.0.0.9"],
            &["10.0.0.1", "10.0.0.2", "10.0.0.9"],
            (5, 251),
        );
        // Not of the subnet, or not usable.
        check("10.0.0.0/24", None, &["10.0.0.255"], &["10.0.1.1", "fd00::1"], (3, 253));
        check("10.0.0.0/31", None, &[], &["10.0.0.0"], (2, 0));
    }

    #[test]
    fn only_the_range_is_handed_out() {
        check(
            "10.0.0.0/24",
            Some("10.0.0.0/28"),
            &[],
            &["10.0.0.2", "10.0.0.200"],
            (5, 13),
        );
        check(
            "10.0.0.0/24",
            Some("10.0.0.128/25"),
            &["10.0.0.130"],
            &["10.0.0.129"],
            (5, 125),
        );
        check("10.0.0.0/24", Some("10.0.0.255/32"), &[], &[], (3, 0));
    }

    #[test]
    fn large_subnets_fit() {
        check("2001:db8::/96", None, &[], &["2001:db8::2"], (3, (1 << 32) - 3));
        check("::/0", None, &[], &[], (2, u128::MAX - 1));
    }
}
