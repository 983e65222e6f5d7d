//! Networks with driver `bridge`: their options and their device.

use std::collections::BTreeMap;

use super::options::boolean;
use super::pools::choose_pools;
use super::{Birth, NetworkRequest, SpecError, Surroundings};
use crate::model::{BridgeDevice, Driver, Network, Pool, Settings};
use crate::names::{Id, InterfaceName, Name};
use crate::seen::Seen;
use crate::subnet::Family;

/// MTU in bytes where the host has no default route to follow: Ethernet's (RFC 894).
const ETHERNET_MTU: u32 = 1500;

/// The least MTU in bytes that IPv4 (RFC 791) and IPv6 (RFC 8200, section 5) work with, and the most that a bridge takes.
const MTU_LIMITS: [(Family, u32); 2] = [(Family::V4, 68), (Family::V6, 1280)];
const MTU_MAX: u32 = 65535;

/// The options of the bridge driver, read.
#[derive(Default)]
struct BridgeOptions {
    device: Option<InterfaceName>,
    mtu: Option<u32>,
    masquerade: Option<bool>,
}

impl BridgeOptions {
    fn read(options: &BTreeMap<String, String>) -> Result<Self, SpecError> {
        let mut read = BridgeOptions::default();
        for (key, value) in options {
            let bad = |want| SpecError::OptionValue {
                key: key.clone(),
                value: value.clone(),
                want,
            };
            match key.as_str() {
                "bridge" | "com.docker.network.bridge.name" => read.device = Some(value.parse()?),
                "mtu" | "com.docker.network.driver.mtu" => {
                    let mtu = value.parse().map_err(|_| bad("a number of bytes"))?;
                    read.mtu = Some(mtu);
                }
                "masquerade" | "com.docker.network.bridge.enable_ip_masquerade" => {
                    read.masquerade = Some(boolean(value).ok_or_else(|| bad("true or false"))?);
                }
                _ => return Err(SpecError::UnknownOption(key.clone())),
            }
        }
        Ok(read)
    }
}

/// The bridge network that `request` asks for.
pub(super) fn create(
    request: &NetworkRequest,
    name: Name,
    around: &Surroundings,
    birth: Birth,
) -> Result<Network, SpecError> {
    let options: BTreeMap<String, String> = request.options.iter().cloned().collect();
    let read = BridgeOptions::read(&options)?;
    let pools = choose_pools(request, around)?;
    let device = choose_device(read.device, &name, &birth.id, around)?;
    let mtu = choose_mtu(read.mtu, &options, &pools, around.seen)?;
    Ok(Network {
        id: birth.id,
        name,
        driver: Driver::Bridge,
        pools,
        bridge: Some(BridgeDevice {
            name: device,
            mac: birth.mac,
            mtu,
        }),
        parent: None,
        internal: request.internal,
        masquerade: read.masquerade.unwrap_or(true),
        settings: Settings::default(),
        options,
        labels: request.labels.iter().cloned().collect(),
        created: birth.now,
    })
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
    let has = |family| pools.iter().any(|pool| pool.subnet.family() == family);
    let least = MTU_LIMITS
        .iter()
        .filter(|(family, _)| has(*family))
        .map(|(_, mtu)| *mtu)
        .max()
        .unwrap_or(0);
    if (least..=MTU_MAX).contains(&mtu) {
        return Ok(mtu);
    }
    let key = options
        .keys()
        .find(|key| key.ends_with("mtu"))
        .cloned()
        .unwrap_or_default();
    let want = "68 to 65535 bytes, with IPv6 at least 1280";
    Err(SpecError::OptionValue {
        key,
        value: mtu.to_string(),
        want,
    })
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
