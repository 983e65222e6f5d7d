//! From what a user asked of a container's networking to what each of its endpoints is to be.

pub mod choice;
pub mod foreign;
mod roles;

use std::net::IpAddr;

use self::choice::{EndpointOptions, EndpointRequest, OptionError};
pub use self::roles::{Member, Role, roles};
use crate::firewall::PORT_PREFIX;
use crate::ipam;
use crate::model::{Bandwidth, Driver, Endpoint, EndpointSettings, InterfaceAddress, Network, Pool, Route};
use crate::names::{Id, InterfaceName, MacAddress, NameError};
use crate::ports::{self, PortRequest, Protocol};
use crate::subnet::Family;

/// How the names of interfaces begin within containers, unless the network says otherwise.
const INTERFACE_PREFIX: &str = "eth";

/// What one endpoint is to be; addresses that are not given are for the lease to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointWish {
    /// The interface within the container.
    pub interface: InterfaceName,
    /// Addresses that were asked for.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address that was asked for.
    pub mac: Option<MacAddress>,
    /// What the network is to the container.
    pub role: Role,
    /// What else was asked for.
    pub settings: EndpointSettings,
}

/// Why a container cannot be plugged in as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// See [`NameError`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// See [`OptionError`].
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The same network twice.
    #[error("network {0:?} is given twice; a container has one endpoint on each network")]
    Twice(String),
    /// The container is there already.
    #[error("the container is on network {0:?} already")]
    AlreadyOn(String),
    /// `host` or `none` among others.
    #[error("network {0:?} cannot be combined with other networks")]
    NotWithOthers(String),
    /// An address, MAC or port without a bridge network.
    #[error("{what} needs a bridge network, and network {network:?} is none: leave it out, or give --net NETWORK")]
    NeedsBridge {
        /// What was asked for.
        what: &'static str,
        /// The network that the container is on.
        network: String,
    },
    /// None of the networks has it.
    #[error("address {address} is in no subnet of the container's networks ({subnets})")]
    Outside {
        /// The address.
        address: IpAddr,
        /// What would do.
        subnets: String,
    },
    /// One interface has one address of a family.
    #[error("network {0:?} is given two {1} addresses; an endpoint has one of each family")]
    TwoAddresses(String, Family),
    /// The same port of the host twice.
    #[error("port {0} of this host is published twice; leave one out")]
    PortTwice(String),
    /// The container has no address of the family that the port is published at.
    #[error("cannot publish at {0}: the container has no {1} address on network {2:?}")]
    NoSuchFamily(IpAddr, Family, String),
    /// An address that packets cannot be led on from.
    #[error("cannot publish at {0}: the kernel leads nothing on from {1}; give another address of this host, or none")]
    Unpublishable(IpAddr, &'static str),
    /// The network's own or its broadcast address.
    #[error("address {0} cannot be given to a container: it is the own or the broadcast address of network {1:?}")]
    Unusable(IpAddr, String),
    /// All interfaces on the parent have its Ethernet address.
    #[error(
        "no MAC address can be chosen on network {0:?}: its containers bear that of the parent interface; leave --mac-address out"
    )]
    SharedMac(String),
    /// Limits are kept where a veth pair's host end is.
    #[error(
        "--bandwidth-in and --bandwidth-out are not kept on network {0:?} (driver {1}): its containers' packets pass no \
         interface of ours on this host; leave them out, or give them for a bridge network \
         (--network name=NETWORK,bandwidth-in=RATE)"
    )]
    NoLimits(String, Driver),
    /// Two interfaces of one name.
    #[error("the container has an interface {0} already; choose another name")]
    InterfaceTaken(InterfaceName),
    /// Not a name that `/etc/hosts` can hold.
    #[error("invalid alias {0:?}: use letters, digits, '.', '_' and '-'")]
    Alias(String),
}

impl Driver {
    /// Whether containers have an interface of their own on networks of this driver.
    pub fn plugs_in(self) -> bool {
        match self {
            Driver::Bridge | Driver::Macvlan | Driver::Ipvlan | Driver::Ptp | Driver::Adopted => true,
            Driver::Host | Driver::None => false,
        }
    }
}

/// What each endpoint is to be of a container on `networks`, in their order; networks that nothing is plugged into have
/// none.
///
/// # Errors
/// [`AttachError`].
pub fn wishes(
    networks: &[(&Network, &EndpointRequest)],
    ports: &[PortRequest],
) -> Result<Vec<EndpointWish>, AttachError> {
    check_together(networks, ports)?;
    let plugged = networks.iter().filter(|(network, _)| network.driver.plugs_in());
    let members: Vec<Member> = plugged
        .clone()
        .map(|(network, request)| member(network, &request.settings))
        .collect();
    let roles = roles(&members);
    let publisher = members.iter().zip(&roles).find(|(_, role)| role.publishes);
    check_ports(ports, publisher.map(|(member, _)| member.network))?;
    let (mut interfaces, mut wishes) = (Vec::new(), Vec::new());
    for ((network, request), role) in plugged.zip(roles) {
        let wish = wish(network, request, role, &interfaces)?;
        interfaces.push(wish.interface.clone());
        wishes.push(wish);
    }
    Ok(wishes)
}

/// What the endpoint on `network` is to be of a container that is plugged into others, and what those are to it then.
///
/// # Errors
/// [`AttachError`].
pub fn join(
    others: &[(Network, Endpoint)],
    network: &Network,
    request: &EndpointRequest,
) -> Result<(EndpointWish, Vec<Role>), AttachError> {
    if others.iter().any(|(other, _)| other.id == network.id) {
        return Err(AttachError::AlreadyOn(network.name.to_string()));
    }
    if !network.driver.plugs_in() {
        return Err(AttachError::NotWithOthers(network.name.to_string()));
    }
    let mut members = members(others);
    members.push(member(network, &request.settings));
    let mut roles = roles(&members);
    let role = roles.pop().unwrap_or_default();
    let interfaces: Vec<_> = others.iter().map(|(_, endpoint)| endpoint.interface.clone()).collect();
    Ok((wish(network, request, role, &interfaces)?, roles))
}

fn member<'a>(network: &'a Network, settings: &EndpointSettings) -> Member<'a> {
    Member {
        network,
        priority: settings.gateway_priority,
        reply_table: None,
    }
}

/// The networks that a container is plugged into.
pub fn members(endpoints: &[(Network, Endpoint)]) -> Vec<Member<'_>> {
    let members = endpoints.iter().map(|(network, endpoint)| Member {
        reply_table: endpoint.reply_table,
        ..member(network, &endpoint.settings)
    });
    members.collect()
}

fn wish(
    network: &Network,
    request: &EndpointRequest,
    role: Role,
    interfaces: &[InterfaceName],
) -> Result<EndpointWish, AttachError> {
    check_addresses(network, &request.addresses)?;
    if request.mac.is_some() && !network.has_own_macs() {
        return Err(AttachError::SharedMac(network.name.to_string()));
    }
    if network.parent.is_some() && request.settings.bandwidth != Bandwidth::default() {
        return Err(AttachError::NoLimits(network.name.to_string(), network.driver));
    }
    if let Some(bad) = request.settings.aliases.iter().find(|alias| !is_alias(alias)) {
        return Err(AttachError::Alias(bad.clone()));
    }
    let options = EndpointOptions::read(&request.settings.options)?;
    let interface = match &options.interface {
        Some(name) if interfaces.contains(name) || name.as_str() == "lo" => {
            return Err(AttachError::InterfaceTaken(name.clone()));
        }
        Some(name) => name.clone(),
        None => free_interface(network, interfaces)?,
    };
    let mut settings = request.settings.clone();
    settings.sysctls = options.sysctls_of(&interface);
    Ok(EndpointWish {
        interface,
        addresses: request.addresses.clone(),
        mac: request.mac,
        role,
        settings,
    })
}

/// The first of `eth0`, `eth1` and so on that the container does not have.
fn free_interface(network: &Network, taken: &[InterfaceName]) -> Result<InterfaceName, NameError> {
    let prefix = network.settings.interface_prefix.as_deref().unwrap_or(INTERFACE_PREFIX);
    let mut number = 0;
    loop {
        let name: InterfaceName = format!("{prefix}{number}").parse()?;
        if !taken.contains(&name) {
            return Ok(name);
        }
        number += 1;
    }
}

fn is_alias(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(fits)
}

/// Adds addresses that were given for the container as a whole (`--ip`) to what is asked of the endpoint whose network
/// has them.
///
/// # Errors
/// [`AttachError::Outside`].
pub fn distribute(
    addresses: &[IpAddr],
    networks: &[&Network],
    requests: &mut [&mut EndpointRequest],
) -> Result<(), AttachError> {
    for address in addresses {
        let place = networks.iter().position(|network| network.pool_of(*address).is_some());
        match place.and_then(|place| requests.get_mut(place)) {
            Some(request) => request.addresses.push(*address),
            None => return Err(outside(*address, networks)),
        }
    }
    Ok(())
}

fn outside(address: IpAddr, networks: &[&Network]) -> AttachError {
    let subnets = networks
        .iter()
        .flat_map(|network| network.pools.iter().map(|pool| pool.subnet.to_string()));
    AttachError::Outside {
        address,
        subnets: subnets.collect::<Vec<_>>().join(", "),
    }
}

fn check_together(networks: &[(&Network, &EndpointRequest)], ports: &[PortRequest]) -> Result<(), AttachError> {
    for (number, (network, request)) in networks.iter().enumerate() {
        if networks[..number].iter().any(|(other, _)| other.id == network.id) {
            return Err(AttachError::Twice(network.name.to_string()));
        }
        if network.driver.plugs_in() {
            continue;
        }
        if networks.len() > 1 {
            return Err(AttachError::NotWithOthers(network.name.to_string()));
        }
        needs_bridge(request, ports, network.name.as_str())?;
    }
    Ok(())
}

/// Refuses addresses, and ports where `network`, which is no bridge, cannot publish them.
///
/// # Errors
/// [`AttachError::NeedsBridge`]. Published ports on the host's network are no error: the container is there already.
pub fn needs_bridge(request: &EndpointRequest, ports: &[PortRequest], network: &str) -> Result<(), AttachError> {
    let needs = |what| {
        Err(AttachError::NeedsBridge {
            what,
            network: network.to_owned(),
        })
    };
    if !request.addresses.is_empty() {
        return needs("an address (--ip, --ip6)");
    }
    if request.mac.is_some() {
        return needs("a MAC address (--mac-address)");
    }
    if !request.settings.aliases.is_empty() {
        return needs("an alias (--network-alias)");
    }
    if !request.settings.options.is_empty() {
        return needs("an option (driver-opt)");
    }
    if request.settings.bandwidth != Bandwidth::default() {
        return needs("a limit (--bandwidth-in, --bandwidth-out)");
    }
    if !ports.is_empty() && network != "host" {
        return needs("a published port (-p)");
    }
    Ok(())
}

/// Refuses ports that can never be reached at a container whose published ports lead to `publisher`.
///
/// # Errors
/// [`AttachError`].
pub fn check_ports(asked: &[PortRequest], publisher: Option<&Network>) -> Result<(), AttachError> {
    if let Some((port, request)) = ports::first_conflict(asked) {
        return Err(AttachError::PortTwice(format!("{port}/{}", request.protocol())));
    }
    for port in asked {
        let Some(ip) = port.host_ip() else { continue };
        match ip {
            // A relay leads on from there, also to IPv4.
            IpAddr::V6(ip) if ip.is_loopback() && port.protocol() != Protocol::Sctp => continue,
            IpAddr::V6(ip) if ip.is_loopback() => return Err(AttachError::Unpublishable(ip.into(), "::1")),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                return Err(AttachError::Unpublishable(ip.into(), "link-local addresses"));
            }
            _ => {}
        }
        let family = Family::of(ip);
        if let Some(network) = publisher.filter(|n| !n.pools.is_empty() && n.pool(family).is_none()) {
            return Err(AttachError::NoSuchFamily(ip, family, network.name.to_string()));
        }
    }
    Ok(())
}

/// Refuses addresses that no endpoint on `network` can have.
fn check_addresses(network: &Network, addresses: &[IpAddr]) -> Result<(), AttachError> {
    for (number, address) in addresses.iter().enumerate() {
        let family = Family::of(*address);
        if addresses[..number].iter().any(|other| Family::of(*other) == family) {
            return Err(AttachError::TwoAddresses(network.name.to_string(), family));
        }
        let Some(pool) = network.pool_of(*address) else {
            return Err(outside(*address, &[network]));
        };
        let offset = pool.subnet.offset_of(*address);
        if !offset.is_some_and(|offset| ipam::usable(&pool.subnet).contains(&offset)) {
            return Err(AttachError::Unusable(*address, network.name.to_string()));
        }
    }
    Ok(())
}

/// The endpoint of `container` on `network` before addresses are leased and ports chosen.
///
/// # Errors
/// [`AttachError::Name`] never happens with an [`Id`] of our own making.
pub fn endpoint(
    network: &Network,
    container: &Id,
    wish: &EndpointWish,
    random: [u8; 32],
) -> Result<Endpoint, AttachError> {
    let id = Id::new(random);
    let mut chance = [0; 6];
    chance.copy_from_slice(&random[..6]);
    Ok(Endpoint {
        host_interface: InterfaceName::prefixed(PORT_PREFIX, id.as_str())?,
        id,
        network: network.id.clone(),
        container: container.clone(),
        interface: wish.interface.clone(),
        mac: wish.mac.unwrap_or(MacAddress::local(chance)),
        addresses: Vec::new(),
        gateways: Vec::new(),
        metric: network.settings.metric,
        reply_table: wish.role.reply_table,
        routes: network.settings.routes.clone(),
        ports: Vec::new(),
        settings: wish.settings.clone(),
        sandbox: None,
    })
}

/// Gives `endpoint` its leased addresses, and the gateways that follow from them. Unless a MAC address was asked for,
/// it follows from the IPv4 address, so that neighbours that remember an address's former holder do not send to nobody.
pub fn bear_addresses(
    endpoint: &mut Endpoint,
    network: &Network,
    addresses: Vec<InterfaceAddress>,
    wish: &EndpointWish,
) {
    endpoint.addresses = addresses;
    endpoint.gateways = gateways(endpoint, network, &wish.role);
    endpoint
        .routes
        .retain(|route| is_passable(route, network, &endpoint.addresses));
    if let (None, Some(mac)) = (wish.mac, mac_of(&endpoint.addresses)) {
        endpoint.mac = mac;
    }
}

/// The MAC address that follows from the first IPv4 address.
fn mac_of(addresses: &[InterfaceAddress]) -> Option<MacAddress> {
    addresses.iter().find_map(|own| match own.address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Some(MacAddress::local([0x02, 0x42, a, b, c, d]))
        }
        IpAddr::V6(_) => None,
    })
}

/// Whether a bearer of `addresses` can take the route: the neighbour is on one of their subnets, and is not the bearer.
fn is_passable(route: &Route, network: &Network, addresses: &[InterfaceAddress]) -> bool {
    let Some(via) = route.via else { return true };
    let near = |pool: &Pool| addresses.iter().any(|own| pool.subnet.contains(own.address));
    network.pool_of(via).is_some_and(near) && addresses.iter().all(|own| own.address != via)
}

/// `endpoint` as it is when `network` is to its container what `role` says.
pub fn in_role(endpoint: &Endpoint, network: &Network, role: &Role) -> Endpoint {
    Endpoint {
        gateways: gateways(endpoint, network, role),
        reply_table: role.reply_table,
        ..endpoint.clone()
    }
}

/// The gateways of the default routes that the endpoint gives.
fn gateways(endpoint: &Endpoint, network: &Network, role: &Role) -> Vec<IpAddr> {
    let addresses = endpoint.addresses.iter().map(|a| a.address);
    let gateways = addresses
        .filter(|address| role.default_route.contains(&Family::of(*address)))
        .filter_map(|address| network.pool_of(address))
        .filter_map(|pool| pool.gateway);
    first_of_each_family(gateways)
}

/// One address of each family: there is one default route of each.
pub(crate) fn first_of_each_family(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut first: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if first.iter().all(|other| Family::of(*other) != Family::of(address)) {
            first.push(address);
        }
    }
    first
}

#[cfg(test)]
mod tests;
