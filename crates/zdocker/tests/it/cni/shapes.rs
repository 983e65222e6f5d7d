//! What a result looks like in each version of the specification.

use std::net::IpAddr;

use serde_json::Value;

/// Checks that an ADD's result is one of `version`, by what is in it and what is not; `sandbox` is the container's
/// namespace.
#[track_caller]
pub(super) fn check(result: &Value, version: &str, sandbox: &str) {
    assert_eq!(result["cniVersion"], version, "{result:#}");
    if version < "0.3.0" {
        return check_old(result);
    }
    has_only(result, &["cniVersion", "interfaces", "ips", "routes", "dns"]);
    let interfaces = list(result, "interfaces");
    for interface in interfaces {
        let newer = ["mtu", "socketPath", "pciID"].as_slice();
        let newer = if version == "1.1.0" { newer } else { &[] };
        has_only(interface, &[&["name", "mac", "sandbox"], newer].concat());
        assert!(interface["name"].as_str().is_some_and(|name| !name.is_empty()));
        let place = interface["sandbox"].as_str().unwrap_or_default();
        assert!(place.is_empty() || place == sandbox, "{interface:#}");
    }
    for address in list(result, "ips") {
        has_only(address, &["version", "address", "gateway", "interface"]);
        let (own, _) = split(&address["address"]);
        let family = if own.is_ipv4() { "4" } else { "6" };
        if version < "1.0.0" {
            assert_eq!(address["version"], family, "{address:#}");
        } else {
            assert!(address.get("version").is_none(), "1.0.0 has no such key: {address:#}");
        }
        if let Some(gateway) = address.get("gateway") {
            assert_eq!(ip(gateway).is_ipv4(), own.is_ipv4(), "{address:#}");
        }
        if let Some(index) = address.get("interface") {
            let index = usize::try_from(index.as_u64().unwrap()).unwrap();
            assert!(index < interfaces.len(), "{result:#}");
        }
    }
    for route in list(result, "routes") {
        let newer = ["mtu", "advmss", "priority", "table", "scope"].as_slice();
        let newer = if version == "1.1.0" { newer } else { &[] };
        has_only(route, &[&["dst", "gw"], newer].concat());
        split(&route["dst"]);
    }
    has_only(&result["dns"], &["nameservers", "domain", "search", "options"]);
}

/// Checks that a result has the form that there was before 0.3.0: an address of each family, and no interfaces.
fn check_old(result: &Value) {
    has_only(result, &["cniVersion", "ip4", "ip6", "dns"]);
    for (key, is_v4) in [("ip4", true), ("ip6", false)] {
        let Some(address) = result.get(key) else { continue };
        has_only(address, &["ip", "gateway", "routes"]);
        assert_eq!(split(&address["ip"]).0.is_ipv4(), is_v4, "{result:#}");
        for route in list(address, "routes") {
            has_only(route, &["dst", "gw"]);
            assert_eq!(split(&route["dst"]).0.is_ipv4(), is_v4, "{result:#}");
        }
    }
}

/// The objects of an array that may be absent.
fn list<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    match result.get(key) {
        Some(list) => list
            .as_array()
            .unwrap_or_else(|| panic!("{key} is an array: {result:#}")),
        None => &[],
    }
}

#[track_caller]
fn has_only(object: &Value, keys: &[&str]) {
    for (key, _) in object.as_object().into_iter().flatten() {
        assert!(
            keys.contains(&key.as_str()),
            "{key:?} is not a key of this version: {object:#}"
        );
    }
}

fn ip(text: &Value) -> IpAddr {
    crate::harness::ip(text.as_str().unwrap_or_else(|| panic!("an address: {text}")))
}

/// An address with a prefix length.
#[track_caller]
pub(super) fn split(text: &Value) -> (IpAddr, u8) {
    let parts = text.as_str().and_then(|text| text.split_once('/'));
    let (address, length) = parts.unwrap_or_else(|| panic!("an address with a prefix length: {text}"));
    (crate::harness::ip(address), length.parse().unwrap())
}

/// The addresses of a result, without their prefix lengths.
pub(super) fn addresses(result: &Value) -> Vec<IpAddr> {
    let addresses = list(result, "ips").iter();
    addresses.map(|address| split(&address["address"]).0).collect()
}
