//! From what a user asked for to a valid [`Network`]: all validation, and all choices that were left open.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ipam;
use crate::model::{BUILT_IN, BridgeDevice, Driver, Network, Pool, Settings, UnixNanos, UnknownDriver};
use crate::names::{Id, InterfaceName, MacAddress, Name, NameError};
use crate::pools::{self, DefaultPool};
use crate::seen::Seen;
use crate::subnet::{Family, Subnet, SubnetError};

/// MTU in bytes where the host has no default route to follow: Ethernet's (RFC 894).
const ETHERNET_MTU: u32 = 1500;

/// The least MTU in bytes that IPv4 (RFC 791) and IPv6 (RFC 8200, section 5) work with, and the most that a bridge takes.
const MTU_LIMITS: [(Family, u32); 2] = [(Family::V4, 68), (Family::V6, 1280)];
const MTU_MAX: u32 = 65535;

/// A network as a user asks for it, nothing checked yet.
#[derive(Debug, Clone, Default)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// Its driver; bridge by default.
    pub driver: Option<String>,
    /// Subnets, each perhaps with host bits that name the gateway.
    pub subnets: Vec<String>,
    /// Gateways, each in one of the subnets.
    pub gateways: Vec<String>,
    /// Whether it has an IPv4 subnet although none is given.
    pub ipv4: bool,
    /// Whether it has an IPv6 subnet although none is given.
    pub ipv6: bool,
    /// No way out, and none in.
    pub internal: bool,
    /// Options of the driver.
    pub options: Vec<(String, String)>,
    /// Free for users.
    pub labels: Vec<(String, String)>,
}

/// What a new network must get along with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The networks there are.
    pub networks: &'a [Network],
    /// The host.
    pub seen: &'a Seen,
    /// Where subnets come from when none is given.
    pub pools: &'a [DefaultPool],
}

/// What a new network cannot know of itself: chance and time.
#[derive(Debug, Clone)]
pub struct Birth {
    /// Its identifier.
    pub id: Id,
    /// The address of its bridge.
    pub mac: MacAddress,
    /// Now.
    pub now: UnixNanos,
}

/// Why a network cannot be created as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// See [`NameError`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// See [`SubnetError`].
    #[error(transparent)]
    Subnet(#[from] SubnetError),
    /// See [`UnknownDriver`].
    #[error(transparent)]
    Driver(#[from] UnknownDriver),
    /// Another network has the name.
    #[error("network {0:?} exists already (zdocker network inspect {0}); choose another name or remove it first")]
    NameTaken(String),
    /// The networks that are always there have their names for themselves.
    #[error("network {0:?} is always there and cannot be created")]
    BuiltIn(String),
    /// Docker, too, has one `host` and one `none` network only.
    #[error("a network with driver \"{0}\" is always there and cannot be created a second time; use --net {0}")]
    OnlyOne(Driver),
    /// Subnets and gateways are for bridges.
    #[error("driver \"{0}\" takes no subnet")]
    NoSubnets(Driver),
    /// Two subnets of one family.
    #[error("subnets {0} and {1} are both {family}: a network has one subnet of each family", family = .0.family())]
    TwoOfAFamily(Subnet, Subnet),
    /// Neither family is wanted.
    #[error("the network would have no subnet: leave --ipv4=false out, or give --ipv6 or --subnet")]
    NoFamily,
    /// No room for a gateway and a container.
    #[error("subnet {0} is too small: it has no room for a gateway and a container")]
    TooSmall(Subnet),
    /// Loopback, multicast and the like.
    #[error("subnet {0} cannot be used for a network: it has addresses that are {1}")]
    Reserved(Subnet, &'static str),
    /// Another network's.
    #[error("subnet {0} overlaps {1} of network {2:?}; choose another subnet, or none and a free one is found")]
    OverlapsNetwork(Subnet, Subnet, String),
    /// The host's own.
    #[error(
        "subnet {0} overlaps {1} of this host's interface {2}; choose another subnet, or none and a free one is found"
    )]
    OverlapsHost(Subnet, Subnet, InterfaceName),
    /// Hosts that are reached by a route would be cut off.
    #[error(
        "subnet {0} would hide what this host reaches by its route to {1}; choose another subnet, or none and a free \
         one is found"
    )]
    HidesRoute(Subnet, Subnet),
    /// Nothing is left of the default pools.
    #[error(
        "no free {0} subnet is left in the default pools; give one with --subnet, or remove networks (zdocker network prune)"
    )]
    PoolsExhausted(Family),
    /// Not an IP address.
    #[error("invalid gateway {0:?}: want an IP address")]
    GatewaySyntax(String),
    /// No subnet has it.
    #[error("gateway {0} is in none of the network's subnets ({1})")]
    GatewayOutside(IpAddr, String),
    /// The subnet's own address, or its broadcast address.
    #[error("gateway {0} cannot be used: it is the network's own or the broadcast address of {1}")]
    GatewayUnusable(IpAddr, Subnet),
    /// Two for one subnet.
    #[error("subnet {0} has two gateways, {1} and {2}")]
    TwoGateways(Subnet, IpAddr, IpAddr),
    /// An option that the driver does not know.
    #[error(
        "unknown option {0:?} of the bridge driver: it knows bridge, mtu and masquerade, and Docker's long names of them"
    )]
    UnknownOption(String),
    /// `host` and `none` have none.
    #[error("driver \"{0}\" takes no options")]
    NoOptions(Driver),
    /// A value that the option does not take.
    #[error("invalid value {value:?} of option {key:?}: want {want}")]
    OptionValue {
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What is taken.
        want: &'static str,
    },
    /// The named bridge device is there, and not ours to use.
    #[error(
        "interface {0} exists already and is not ours; choose another name (-o bridge=NAME), or remove it (ip link delete {0})"
    )]
    DeviceExists(InterfaceName),
    /// The named bridge device is another network's.
    #[error("interface {0} is the bridge of network {1:?}; choose another name (-o bridge=NAME)")]
    DeviceTaken(InterfaceName, String),
}

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

/// A truth value as Go's `strconv.ParseBool`, and so Docker, reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The network that `request` asks for.
///
/// # Errors
/// [`SpecError`] says what is wrong with the request, or what it collides with.
pub fn create(request: &NetworkRequest, around: &Surroundings, birth: Birth) -> Result<Network, SpecError> {
    let name: Name = request.name.parse()?;
    if BUILT_IN.iter().any(|(built_in, _)| *built_in == name.as_str()) {
        return Err(SpecError::BuiltIn(request.name.clone()));
    }
    if around.networks.iter().any(|network| network.name == name) {
        return Err(SpecError::NameTaken(request.name.clone()));
    }
    match request.driver.as_deref().unwrap_or("bridge").parse()? {
        Driver::Bridge => bridge_network(request, name, around, birth),
        driver @ (Driver::Host | Driver::None) => Err(refuse_second(driver, request)),
    }
}

fn refuse_second(driver: Driver, request: &NetworkRequest) -> SpecError {
    if !request.subnets.is_empty() || !request.gateways.is_empty() {
        SpecError::NoSubnets(driver)
    } else if !request.options.is_empty() {
        SpecError::NoOptions(driver)
    } else {
        SpecError::OnlyOne(driver)
    }
}

fn bridge_network(
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

fn choose_pools(request: &NetworkRequest, around: &Surroundings) -> Result<Vec<Pool>, SpecError> {
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
    pools::next_free(around.pools, family, &taken).ok_or(SpecError::PoolsExhausted(family))
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

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
