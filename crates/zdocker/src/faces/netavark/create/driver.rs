//! What the drivers want of a new network.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use zdocker_net::model::LAST_VLAN;
use zdocker_net::seen::Seen;

use super::network::Network;
use super::{Surroundings, check_bridge_name, subnets};

/// Completes and checks a bridge network.
pub(super) fn bridge(network: &mut Network, surroundings: &mut Surroundings) -> Result<()> {
    take_docker_names(network);
    check_options(network, bridge_option)?;
    let option = |name| option(network, name);
    // A bridge that others manage, or that has VLANs, may be of several networks.
    let shared = option("vlan").is_some() || option("mode").is_some_and(|mode| mode == "unmanaged");
    surroundings.check_used &= !shared;
    match &network.interface {
        Some(name) => {
            check_bridge_name(name)?;
            ensure!(
                shared || !surroundings.interfaces.contains(name),
                "bridge name {name} already in use"
            );
        }
        None => network.interface = Some(surroundings.free_interface()?),
    }
    if network.ipam_driver().is_none_or(|driver| driver == "host-local") {
        subnets::choose(network, surroundings)?;
        network.set_ipam_driver("host-local");
    }
    Ok(())
}

/// Options that Docker's users know by other names.
fn take_docker_names(network: &mut Network) {
    let Some(options) = &mut network.options else { return };
    if let Some(mtu) = options.remove("com.docker.network.driver.mtu") {
        options.insert("mtu".to_owned(), mtu);
    }
    if let Some(Value::String(name)) = options.remove("com.docker.network.bridge.name") {
        network.interface = Some(name);
    }
}

/// Completes and checks a macvlan or ipvlan network.
pub(super) fn child(network: &mut Network, seen: &Seen) -> Result<()> {
    if let Some(parent) = &network.interface {
        parent.parse::<zdocker_net::names::InterfaceName>()?;
        let exists = seen.links.iter().any(|link| link.name.as_str() == parent);
        // Nothing was seen at all if the kernel did not answer.
        ensure!(
            exists || seen.links.is_empty(),
            "parent interface {parent} does not exist"
        );
    }
    // Their packets do not pass the host, where the name server is.
    network.dns = false;
    if network.ipam_driver() != Some("none") {
        ensure!(
            network.has_subnet(None),
            "{} network {:?} needs a subnet, as leasing addresses by DHCP is not supported yet; \
             give one, or the IPAM driver none",
            network.driver,
            network.name
        );
        network.set_ipam_driver("host-local");
    }
    match network.driver.as_str() {
        "ipvlan" => check_options(network, ipvlan_option),
        _ => check_options(network, macvlan_option),
    }
}

fn option<'n>(network: &'n Network, name: &str) -> Option<&'n str> {
    network.options.as_ref()?.get(name)?.as_str()
}

/// Checks every option by `check`, which says what a value must be, or that there is no such option.
fn check_options(network: &Network, check: fn(&str, &str) -> Option<Result<(), &'static str>>) -> Result<()> {
    for (name, value) in network.options.iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        match check(name, value) {
            Some(Ok(())) => {}
            Some(Err(wanted)) => bail!(
                "unable to parse {name:?}: the option is {value:?}, and must be {wanted} (network {:?})",
                network.name
            ),
            None => bail!(
                "unsupported {} network option: {name} (network {:?})",
                network.driver,
                network.name
            ),
        }
    }
    Ok(())
}

type Verdict = Option<Result<(), &'static str>>;

fn bridge_option(name: &str, value: &str) -> Verdict {
    Some(match name {
        "mode" => wants(matches!(value, "" | "managed" | "unmanaged"), "managed or unmanaged"),
        "isolate" => wants(matches!(value, "true" | "false" | "strict"), "true, false or strict"),
        "vlan" => wants(
            value.parse::<u16>().is_ok_and(|vlan| vlan <= LAST_VLAN),
            "a number from 0 to 4094",
        ),
        "vrf" => wants(!value.is_empty(), "the name of a VRF"),
        "outbound_addr4" => wants(value.parse::<Ipv4Addr>().is_ok(), "an IPv4 address"),
        "outbound_addr6" => wants(value.parse::<Ipv6Addr>().is_ok(), "an IPv6 address"),
        _ => return common_option(name, value),
    })
}

fn macvlan_option(name: &str, value: &str) -> Verdict {
    Some(match name {
        "mode" => wants(
            matches!(value, "" | "bridge" | "private" | "vepa" | "passthru"),
            "bridge, private, vepa or passthru",
        ),
        "bclim" => wants(value.parse::<i32>().is_ok(), "a number"),
        _ => return common_option(name, value),
    })
}

fn ipvlan_option(name: &str, value: &str) -> Verdict {
    Some(match name {
        "mode" => wants(matches!(value, "" | "l2" | "l3" | "l3s"), "l2, l3 or l3s"),
        _ => return common_option(name, value),
    })
}

fn common_option(name: &str, value: &str) -> Verdict {
    Some(match name {
        "mtu" => wants(value.parse::<u32>().is_ok(), "a number of bytes"),
        "metric" => wants(value.parse::<u32>().is_ok(), "a number below 4294967296"),
        "no_default_route" => wants(value.parse::<bool>().is_ok(), "true or false"),
        _ => return None,
    })
}

fn wants(fits: bool, wanted: &'static str) -> Result<(), &'static str> {
    if fits { Ok(()) } else { Err(wanted) }
}
