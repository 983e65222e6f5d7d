//! Networks with driver `bridge`: their options and their device.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::options::{self, Given};
use super::{Birth, NetworkRequest, SpecError, Surroundings, pools, routes};
use crate::model::{BridgeDevice, Driver, GatewayMode, Isolation, Network, Pool, Settings};
use crate::names::{Id, InterfaceName, Name};
use crate::seen::Seen;
use crate::subnet::Family;

/// MTU in bytes where the host has no default route to follow: Ethernet's (RFC 894).
const ETHERNET_MTU: u32 = 1500;

/// The options of the bridge driver with Docker's and Podman's names of them; those of [`options`] come in addition.
const NAMES: [(&str, &[&str]); 16] = [
    ("bridge", &["com.docker.network.bridge.name"]),
    ("mtu", &["com.docker.network.driver.mtu"]),
    ("masquerade", &["com.docker.network.bridge.enable_ip_masquerade"]),
    ("enable_ipv4", &["com.docker.network.enable_ipv4"]),
    ("enable_ipv6", &["com.docker.network.enable_ipv6"]),
    ("gateway_mode_ipv4", &["com.docker.network.bridge.gateway_mode_ipv4"]),
    ("gateway_mode_ipv6", &["com.docker.network.bridge.gateway_mode_ipv6"]),
    ("inhibit_ipv4", &["com.docker.network.bridge.inhibit_ipv4"]),
    ("icc", &["com.docker.network.bridge.enable_icc"]),
    ("isolation", &["isolate"]),
    ("host_binding", &[]),
    ("host_binding_ipv4", &["com.docker.network.bridge.host_binding_ipv4"]),
    ("outbound_addr4", &["com.docker.network.host_ipv4"]),
    ("outbound_addr6", &["com.docker.network.host_ipv6"]),
    (
        "trusted_host_interfaces",
        &["com.docker.network.bridge.trusted_host_interfaces"],
    ),
    ("hairpin", &[]),
];

/// The options of the bridge driver, read.
struct BridgeOptions {
    device: Option<InterfaceName>,
    mtu: Option<u32>,
    masquerade: bool,
    ipv4: bool,
    ipv6: bool,
    settings: Settings,
}

impl BridgeOptions {
    fn read(request: &NetworkRequest, options: &BTreeMap<String, String>) -> Result<Self, SpecError> {
        let mut read = BridgeOptions {
            device: None,
            mtu: None,
            masquerade: true,
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            settings: options::common(request)?,
        };
        for (key, value) in options {
            read.take(Given { key, value })?;
        }
        Ok(read)
    }

    fn take(&mut self, given: Given<'_>) -> Result<(), SpecError> {
        let named = |(short, others): &&(&str, &[&str])| *short == given.key || others.contains(&given.key);
        let name = NAMES.iter().find(named).map_or("", |(short, _)| short);
        let settings = &mut self.settings;
        match name {
            "bridge" => self.device = Some(given.value.parse()?),
            "mtu" => self.mtu = Some(given.parsed("a number of bytes")?),
            "masquerade" => self.masquerade = given.boolean()?,
            "enable_ipv4" => self.ipv4 = given.boolean()?,
            "enable_ipv6" => self.ipv6 = given.boolean()?,
            "gateway_mode_ipv4" => settings.gateway_mode_v4 = gateway_mode(given)?,
            "gateway_mode_ipv6" => settings.gateway_mode_v6 = gateway_mode(given)?,
            "inhibit_ipv4" => settings.inhibit_v4 = given.boolean()?,
            "icc" => settings.no_neighbours = !given.boolean()?,
            "isolation" => settings.isolation = isolation(given)?,
            "host_binding" => settings.host_binding = Some(host_binding(given, None)?),
            "host_binding_ipv4" => settings.host_binding = Some(host_binding(given, Some(Family::V4))?),
            "outbound_addr4" => settings.outbound.push(outbound(given, Family::V4)?),
            "outbound_addr6" => settings.outbound.push(outbound(given, Family::V6)?),
            "trusted_host_interfaces" => settings.trusted = interfaces(given)?,
            "hairpin" => settings.no_hairpin = !given.boolean()?,
            _ if options::read_common(given, settings)? => {}
            _ => return Err(unknown(given.key)),
        }
        Ok(())
    }
}

fn unknown(key: &str) -> SpecError {
    options::unknown(Driver::Bridge, key, NAMES.iter().map(|(short, _)| *short))
}

fn gateway_mode(given: Given<'_>) -> Result<GatewayMode, SpecError> {
    Ok(match given.value {
        // Docker takes the empty word for the default.
        "" | "nat" => GatewayMode::Nat,
        "nat-unprotected" => GatewayMode::NatUnprotected,
        "routed" => GatewayMode::Routed,
        "isolated" => GatewayMode::Isolated,
        _ => return Err(given.bad("nat, nat-unprotected, routed or isolated")),
    })
}

/// The words of Podman's `isolate` mean the same.
fn isolation(given: Given<'_>) -> Result<Isolation, SpecError> {
    Ok(match given.value {
        "none" | "false" => Isolation::None,
        "normal" | "true" => Isolation::Normal,
        "strict" => Isolation::Strict,
        _ => return Err(given.bad("none, normal or strict")),
    })
}

/// An address that ports can be published at.
fn host_binding(given: Given<'_>, family: Option<Family>) -> Result<IpAddr, SpecError> {
    let want = "an address of this host, neither ::1 nor link-local";
    let address: IpAddr = given.parsed(want)?;
    let unpublishable = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    };
    if family.is_some_and(|family| family != Family::of(address)) {
        return Err(given.bad("an IPv4 address of this host"));
    }
    if unpublishable {
        Err(given.bad(want))
    } else {
        Ok(address)
    }
}

/// An address that packets can bear on their way out.
fn outbound(given: Given<'_>, family: Family) -> Result<IpAddr, SpecError> {
    let want = match family {
        Family::V4 => "an IPv4 address of this host",
        Family::V6 => "an IPv6 address of this host",
    };
    let address: IpAddr = given.parsed(want)?;
    let usable =
        Family::of(address) == family && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    if usable { Ok(address) } else { Err(given.bad(want)) }
}

fn interfaces(given: Given<'_>) -> Result<Vec<InterfaceName>, SpecError> {
    let mut interfaces = Vec::new();
    for name in given.value.split(':') {
        let name = name
            .parse()
            .map_err(|_| given.bad("names of interfaces with colons between them, for example eth0:eth1"))?;
        if !interfaces.contains(&name) {
            interfaces.push(name);
        }
    }
    Ok(interfaces)
}

/// The bridge network that `request` asks for.
pub(super) fn create(
    request: &NetworkRequest,
    name: Name,
    around: &Surroundings,
    birth: Birth,
) -> Result<Network, SpecError> {
    let options: BTreeMap<String, String> = request.options.iter().cloned().collect();
    let mut read = BridgeOptions::read(request, &options)?;
    let pools = pools::choose(request, (read.ipv4, read.ipv6), around, pools::free_of_all)?;
    read.settings.routes = routes::read(&request.routes, &pools)?;
    check_together(request, &read.settings, &pools)?;
    let device = choose_device(read.device, &name, &birth.id, around)?;
    let mtu = choose_mtu(read.mtu, &options, &pools, around.seen)?;
    Ok(Network {
        id: birth.id,
        name,
        driver: Driver::Bridge,
        pools,
        bridge: Some(BridgeDevice::own(device, birth.mac, mtu)),
        parent: None,
        internal: request.internal,
        masquerade: read.masquerade,
        settings: read.settings,
        options,
        labels: request.labels.iter().cloned().collect(),
        created: birth.now,
    })
}

/// Refuses what cannot be had together.
fn check_together(request: &NetworkRequest, settings: &Settings, pools: &[Pool]) -> Result<(), SpecError> {
    let has = |family| pools.iter().any(|pool| pool.subnet.family() == family);
    let addresses = settings.host_binding.iter().chain(&settings.outbound);
    if let Some(address) = addresses.copied().find(|address| !has(Family::of(*address))) {
        return Err(SpecError::NoSuchFamily(address, Family::of(address)));
    }
    let modes = [settings.gateway_mode_v4, settings.gateway_mode_v6];
    if modes.contains(&GatewayMode::Isolated) && !request.internal {
        return Err(SpecError::IsolatedNotInternal);
    }
    routes::check_default(settings)
}

fn choose_mtu(
    asked: Option<u32>,
    options: &BTreeMap<String, String>,
    pools: &[Pool],
    seen: &Seen,
) -> Result<u32, SpecError> {
    let Some(mtu) = asked else {
        return Ok(seen.egress_mtu.unwrap_or(ETHERNET_MTU));
    };
    options::check_mtu(mtu, options, pools)?;
    Ok(mtu)
}

fn choose_device(
    asked: Option<InterfaceName>,
    name: &Name,
    id: &Id,
    around: &Surroundings,
) -> Result<InterfaceName, SpecError> {
    let owner = |device: &InterfaceName| {
        around
            .networks
            .iter()
            .find(|network| network.bridge.as_ref().is_some_and(|bridge| bridge.name == *device))
    };
    if let Some(device) = asked {
        return match owner(&device) {
            Some(network) => Err(SpecError::DeviceTaken(device, network.name.to_string())),
            None if around.seen.link(&device).is_some() => Err(SpecError::DeviceExists(device)),
            None => Ok(device),
        };
    }
    let own_name = name.as_str().parse().ok();
    match own_name.filter(|device| owner(device).is_none() && around.seen.link(device).is_none()) {
        Some(device) => Ok(device),
        None => Ok(InterfaceName::prefixed("zd-", id.as_str())?),
    }
}
