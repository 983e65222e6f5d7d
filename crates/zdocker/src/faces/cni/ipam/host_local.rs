//! The configuration of `host-local`: sets of ranges, of each of which a container gets one address.

use std::net::IpAddr;

use serde_json::Value;
use zdocker_net::ipam::usable;
use zdocker_net::model::Pool;
use zdocker_net::subnet::{AddressRange, Family, Subnet};

use super::{Keys, Leases, asked_addresses, first_address, pool};
use crate::faces::cni::error::CniError;
use crate::faces::cni::fields::Fields;
use crate::faces::cni::request::Request;
use crate::faces::cni::result::{Dns, Route};
use crate::faces::cni::version::Version;

/// How many sets there may be: `Pool::set` counts them.
const SETS_MAX: usize = u8::MAX as usize;

/// Reads the key `ipam`.
///
/// # Errors
/// [`CniError`] when it is wrong.
pub(in crate::faces::cni) fn read(request: &Request, ipam: &Keys) -> Result<Leases, CniError> {
    let mut pools = Vec::new();
    let mut sets = read_sets(ipam, request.runtime()?.list("ipRanges")?, 0, &mut pools)?;
    if ipam.value("subnet").is_some() {
        pools.push(read_range(ipam, sets)?);
        sets += 1;
    }
    sets = read_sets(ipam, ipam.list("ranges")?, sets, &mut pools)?;
    if pools.is_empty() {
        return Err(ipam.error("ranges", "no range is given that addresses could be of"));
    }
    if sets > SETS_MAX {
        return Err(ipam.error("ranges", format!("want at most {SETS_MAX} sets")));
    }
    check_together(ipam, &pools)?;
    if request.version <= Version::V020 {
        check_few(ipam, &pools)?;
    }
    let addresses = asked_addresses(request)?;
    check_asked(&addresses, &pools)?;
    let routes = ipam.list("routes")?.iter();
    let routes: Result<Vec<Route>, CniError> = routes
        .map(|route| Route::read(&Fields::of(route, "ipam.routes")?))
        .collect();
    Ok(Leases {
        pools,
        addresses,
        routes: routes?,
        dns: resolver(ipam)?,
    })
}

/// Reads sets of ranges, the first of them the one with the number `first`. Returns the number of the next one.
fn read_sets(ipam: &Keys, given: &[Value], first: usize, pools: &mut Vec<Pool>) -> Result<usize, CniError> {
    for (number, set) in given.iter().enumerate() {
        let ranges = set
            .as_array()
            .ok_or_else(|| ipam.error("ranges", "want a list of lists of ranges"))?;
        for range in ranges {
            pools.push(read_range(&Fields::of(range, "ipam.ranges")?, first + number)?);
        }
    }
    Ok(first + given.len())
}

/// One range of the set `set`, or one subnet.
fn read_range(fields: &Fields, set: usize) -> Result<Pool, CniError> {
    let text = fields
        .text("subnet")?
        .ok_or_else(|| fields.error("subnet", "is missing"))?;
    let (subnet, host) = Subnet::parse_with_host(text).map_err(|error| fields.error("subnet", error))?;
    if host.is_some() {
        return Err(fields.error("subnet", format!("{text:?} has host bits set; want {subnet}")));
    }
    let within = |key: &str| match fields.parsed::<IpAddr>(key)? {
        Some(address) if !subnet.contains(address) => Err(fields.error(key, format!("{address} is not in {subnet}"))),
        address => Ok(address),
    };
    let (start, end) = (within("rangeStart")?, within("rangeEnd")?);
    let all = usable(&subnet);
    let first = start.or_else(|| subnet.nth(*all.start()));
    let last = end.or_else(|| subnet.nth(*all.end()));
    let range = first.zip(last).and_then(|(first, last)| AddressRange::new(first, last));
    let range = range.ok_or_else(|| fields.error("rangeEnd", "comes before rangeStart"))?;
    let gateway = fields.parsed("gateway")?.or_else(|| first_address(&subnet));
    Ok(Pool {
        gateway,
        range: (start.is_some() || end.is_some()).then_some(range),
        // Checked to be in bounds before anything is done with it.
        set: u8::try_from(set).unwrap_or(u8::MAX),
        ..pool(subnet)
    })
}

/// The part of its subnet that a pool hands out.
fn range(pool: &Pool) -> AddressRange {
    pool.range.unwrap_or(pool.subnet.into())
}

/// Refuses ranges that share addresses, and sets of both families.
fn check_together(ipam: &Fields, pools: &[Pool]) -> Result<(), CniError> {
    for (number, one) in pools.iter().enumerate() {
        for other in &pools[..number] {
            if one.set == other.set && one.subnet.family() != other.subnet.family() {
                return Err(ipam.error(
                    "ranges",
                    format!(
                        "{} and {} are in one set, and of two families",
                        other.subnet, one.subnet
                    ),
                ));
            }
            let (a, b) = (range(one), range(other));
            if a.contains(b.first()) || b.contains(a.first()) {
                return Err(ipam.error("ranges", format!("{b} and {a} overlap")));
            }
            if one.subnet != other.subnet && one.subnet.overlaps(&other.subnet) {
                return Err(ipam.error("ranges", format!("{} and {} overlap", other.subnet, one.subnet)));
            }
        }
    }
    Ok(())
}

/// Refuses what has two addresses of a family, where a result has place for one.
fn check_few(ipam: &Fields, pools: &[Pool]) -> Result<(), CniError> {
    for family in [Family::V4, Family::V6] {
        let mut sets: Vec<u8> = pools
            .iter()
            .filter(|pool| pool.subnet.family() == family)
            .map(|pool| pool.set)
            .collect();
        sets.dedup();
        if sets.len() > 1 {
            return Err(ipam.error("ranges", "before cniVersion 0.3.0, want one set of each family"));
        }
    }
    Ok(())
}

/// Refuses addresses that no range has, and two of one set.
fn check_asked(asked: &[IpAddr], pools: &[Pool]) -> Result<(), CniError> {
    let mut sets = Vec::new();
    for address in asked {
        let pool = pools.iter().find(|pool| range(pool).contains(*address));
        let pool = pool.ok_or_else(|| CniError::config("ips", format!("{address} is in no range")))?;
        if sets.contains(&pool.set) {
            return Err(CniError::config(
                "ips",
                format!("{address} is the second address of one set of ranges"),
            ));
        }
        sets.push(pool.set);
    }
    Ok(())
}

/// What the file of `resolvConf` says (resolv.conf(5)).
fn resolver(ipam: &Fields) -> Result<Dns, CniError> {
    let Some(path) = ipam.text("resolvConf")?.filter(|path| !path.is_empty()) else {
        return Ok(Dns::default());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| ipam.error("resolvConf", format!("cannot read {path}: {error}")))?;
    Ok(read_resolver(&text))
}

fn read_resolver(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.nameservers.extend(words.next()),
            Some("domain") => dns.domain = words.next().unwrap_or_default(),
            Some("search") => dns.search.extend(words),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::cni::request::Verb;
    use serde_json::json;

    fn read_config(ipam: Value, runtime: Value, args: &str) -> Result<Leases, CniError> {
        let config = json!({"cniVersion": "1.0.0", "name": "n", "ipam": ipam, "runtimeConfig": runtime});
        let environment = |key: &str| match key {
            "CNI_ARGS" => Some(args.into()),
            "CNI_CONTAINERID" => Some("c".into()),
            _ => Some("eth0".into()),
        };
        let request = Request::new(Verb::Add, &environment, &config.to_string())?;
        read(&request, &request.fields().object("ipam")?)
    }

    #[test]
    fn sets_ranges_and_gateways() {
        let ipam = json!({
            "type": "host-local",
            "ranges": [
                [
                    {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"},
                    {"subnet": "10.2.0.0/24", "gateway": "10.2.0.254"}
                ],
                [{"subnet": "fd00:1::/64"}]
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.7"}]
        });
        let leases = read_config(ipam, json!({"ips": ["fd00:1::9/64"]}), "IgnoreUnknown=1;IP=10.1.0.12").unwrap();
        let pools: Vec<String> = leases
            .pools
            .iter()
            .map(|pool| format!("{} {} {} {}", pool.set, pool.subnet, range(pool), pool.gateway.unwrap()))
            .collect();
        assert_eq!(
            pools,
            [
                "0 10.1.0.0/24 10.1.0.10-10.1.0.20 10.1.0.1",
                "0 10.2.0.0/24 10.2.0.0/24 10.2.0.254",
                "1 fd00:1::/64 fd00:1::/64 fd00:1::1"
            ]
        );
        let asked: Vec<String> = leases.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            (asked.join(" ").as_str(), leases.routes.len()),
            ("10.1.0.12 fd00:1::9", 2)
        );
    }

    #[test]
    fn the_runtimes_ranges_come_first_and_then_the_one_subnet() {
        let leases = read_config(
            json!({"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.9", "ranges": [[{"subnet": "10.2.0.0/24"}]]}),
            json!({"ipRanges": [[{"subnet": "10.4.0.0/24"}]]}),
            "",
        );
        let subnets: Vec<String> = leases
            .unwrap()
            .pools
            .iter()
            .map(|pool| pool.subnet.to_string())
            .collect();
        assert_eq!(subnets, ["10.4.0.0/24", "10.3.0.0/24", "10.2.0.0/24"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let range = |json: Value| json!({"ranges": [[json]]});
        for (ipam, args, words) in [
            (json!({}), "", "no range is given"),
            (range(json!({"subnet": "10.1.0.5/24"})), "", "host bits"),
            (
                range(json!({"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"})),
                "",
                "ipam.ranges.rangeStart",
            ),
            (
                range(json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"})),
                "",
                "before rangeStart",
            ),
            (
                json!({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]}),
                "",
                "two families",
            ),
            (
                json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]}),
                "",
                "overlap",
            ),
            (json!({"ranges": [{"subnet": "10.1.0.0/24"}]}), "", "list of lists"),
            (range(json!({"subnet": "10.1.0.0/24"})), "IP=10.2.0.1", "in no range"),
            (range(json!({"subnet": "10.1.0.0/24"})), "IP=x", "CNI_ARGS"),
        ] {
            let error = read_config(ipam, Value::Null, args).unwrap_err();
            assert!(error.message.contains(words), "{words}: {error:?}");
        }
    }

    #[test]
    fn a_resolver_file() {
        let dns = read_resolver(
            "# x\nnameserver 10.0.0.1\nnameserver fd00::1\nsearch a b\ndomain c\noptions ndots:2 edns0\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.1", "fd00::1"]);
        assert_eq!(
            (dns.search, dns.domain.as_str()),
            (vec!["a".to_owned(), "b".to_owned()], "c")
        );
        assert_eq!(dns.options, ["ndots:2", "edns0"]);
    }
}
