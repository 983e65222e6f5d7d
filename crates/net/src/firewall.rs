//! The content of our firewall tables.
//!
//! The rules are fixed (`zdocker-host` loads them); all that networks and endpoints change are elements of the maps and
//! sets that the rules look into, so no change gets slower by what is there already. This module says which elements a
//! network and an endpoint have.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{Callers, Driver, Endpoint, GatewayMode, Isolation, Network};
use crate::names::{InterfaceName, MacAddress};
use crate::ports::{Protocol, PublishedPort};
use crate::subnet::{Family, Subnet};

/// Our two tables with their fixed rules and empty sets, in nft's language. `zdocker-host` loads the same without
/// `nft`.
pub const RULESET: &str = include_str!("firewall.nft");

/// The name of both tables of zdocker's own installation, `inet zdocker` and `bridge zdocker`.
pub const TABLE: &str = "zdocker";

/// How the names of its endpoints' bridge ports begin. Frames from such a port must bear its endpoint's addresses: one
/// without an endpoint, as a port is whose endpoint was removed while somebody holds its namespace, gets nothing
/// through.
pub const PORT_PREFIX: &str = "zdv";

/// Which of an installation's two tables a set or map is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// `inet`: publishing, masquerading, isolation.
    Inet,
    /// `bridge`: no frame with another endpoint's addresses.
    Bridge,
}

impl fmt::Display for Table {
    /// The family that the table is of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Inet => "inet",
            Table::Bridge => "bridge",
        })
    }
}

/// An element of one of our maps or sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Element {
    /// A published port at every address of the host of the family of `to` (maps `pub4any`, `pub6any`).
    PublishAny {
        /// The transport protocol.
        protocol: Protocol,
        /// The host's port.
        port: u16,
        /// The container's address and port.
        to: SocketAddr,
    },
    /// A published port at one address of the host, of the family of `to` (maps `pub4`, `pub6`).
    PublishAt {
        /// The host's address.
        address: IpAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The host's port.
        port: u16,
        /// The container's address and port.
        to: SocketAddr,
    },
    /// What comes from this subnet and leaves it bears the host's address (sets `masq4`, `masq6`).
    Masquerade(Subnet),
    /// What leaves this subnet bears this address, one of the host's (maps `snat4`, `snat6`).
    Outbound {
        /// The subnet.
        subnet: Subnet,
        /// The address, of the same family.
        address: IpAddr,
    },
    /// What goes from the first subnet to the second, of the same family, stays within a network and is not masqueraded
    /// (sets `same4`, `same6`).
    Same(Subnet, Subnet),
    /// Nothing but published ports is forwarded to this bridge (set `bridges`).
    Bridge(InterfaceName),
    /// Nothing is forwarded to or from this bridge (set `internal`).
    Internal(InterfaceName),
    /// What is bridged within this bridge passes, also where bridged packets walk the IP rules (map `links`).
    Within(InterfaceName),
    /// Published ports lead neither into nor out of this bridge (set `strict`).
    Strict(InterfaceName),
    /// All bridges that are marked so reach each other (set `mutual`).
    Mutual(InterfaceName),
    /// Bridges that are marked mutual and this one reach each other; others that are marked like this one do not reach
    /// it (set `tolerant`).
    Tolerant(InterfaceName),
    /// Containers at this bridge do not reach each other, not even by way of the host, but for what is published (set
    /// `apart`).
    Apart(InterfaceName),
    /// By addresses of this family, containers at this bridge are reached at their open ports (set `routed`).
    Routed(Family, InterfaceName),
    /// By addresses of this family, containers at this bridge are reached at every port (set `unprotected`).
    Unprotected(Family, InterfaceName),
    /// Containers at the bridge are reached at their open ports by what comes in by `from` (set `trusted`).
    Trusted {
        /// An interface of the host.
        from: InterfaceName,
        /// The bridge.
        bridge: InterfaceName,
    },
    /// A port of a container that is reached by the container's own address (sets `open4`, `open6`).
    Open {
        /// The container's address.
        address: IpAddr,
        /// TCP or UDP.
        protocol: Protocol,
        /// The container's port.
        port: u16,
    },
    /// Frames from this bridge port may bear any addresses (bridge set `free`).
    Free(InterfaceName),
    /// An address that frames from this bridge port may bear (bridge sets `pins4`, `pins6`).
    Pin {
        /// The bridge port: the host's end of the veth pair.
        port: InterfaceName,
        /// The endpoint's.
        mac: MacAddress,
        /// One of the endpoint's.
        address: IpAddr,
    },
    /// An address that neighbour advertisements from this bridge port may be about (bridge set `targets6`).
    Target {
        /// The bridge port: the host's end of the veth pair.
        port: InterfaceName,
        /// One of the endpoint's.
        address: Ipv6Addr,
    },
}

impl Element {
    /// The container's address that the element is about or leads to.
    pub fn container_address(&self) -> Option<IpAddr> {
        match self {
            Element::PublishAny { to, .. } | Element::PublishAt { to, .. } => Some(to.ip()),
            Element::Open { address, .. } | Element::Pin { address, .. } => Some(*address),
            Element::Target { address, .. } => Some(IpAddr::V6(*address)),
            _ => None,
        }
    }

    /// The same for every element that cannot be beside this one: two that lead elsewhere from one key of a map.
    pub fn key(&self) -> Element {
        let nowhere = |family: Family| family.unspecified();
        let mut key = self.clone();
        match &mut key {
            Element::PublishAny { to, .. } | Element::PublishAt { to, .. } => {
                *to = SocketAddr::new(nowhere(Family::of(to.ip())), 0);
            }
            Element::Outbound { subnet, address } => *address = nowhere(subnet.family()),
            _ => {}
        }
        key
    }

    /// The table that the element's set or map is in.
    pub fn table(&self) -> Table {
        match self {
            Element::Pin { .. } | Element::Target { .. } | Element::Free(_) => Table::Bridge,
            _ => Table::Inet,
        }
    }

    /// The name of the element's set or map.
    pub fn set(&self) -> &'static str {
        let by_family = |family, v4, v6| if family == Family::V4 { v4 } else { v6 };
        match self {
            Element::PublishAny { to, .. } => by_family(Family::of(to.ip()), "pub4any", "pub6any"),
            Element::PublishAt { to, .. } => by_family(Family::of(to.ip()), "pub4", "pub6"),
            Element::Masquerade(subnet) => by_family(subnet.family(), "masq4", "masq6"),
            Element::Outbound { subnet, .. } => by_family(subnet.family(), "snat4", "snat6"),
            Element::Same(from, _) => by_family(from.family(), "same4", "same6"),
            Element::Bridge(_) => "bridges",
            Element::Internal(_) => "internal",
            Element::Within(_) => "links",
            Element::Strict(_) => "strict",
            Element::Mutual(_) => "mutual",
            Element::Tolerant(_) => "tolerant",
            Element::Apart(_) => "apart",
            Element::Routed(..) => "routed",
            Element::Unprotected(..) => "unprotected",
            Element::Trusted { .. } => "trusted",
            Element::Open { address, .. } => by_family(Family::of(*address), "open4", "open6"),
            Element::Pin { address, .. } => by_family(Family::of(*address), "pins4", "pins6"),
            Element::Target { .. } => "targets6",
            Element::Free(_) => "free",
        }
    }
}

impl fmt::Display for Element {
    /// The element in nft's syntax, without its set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::PublishAny { protocol, port, to } => {
                write!(f, "{protocol} . {port} : {} . {}", to.ip(), to.port())
            }
            Element::PublishAt {
                address,
                protocol,
                port,
                to,
            } => {
                write!(f, "{address} . {protocol} . {port} : {} . {}", to.ip(), to.port())
            }
            Element::Masquerade(subnet) => write!(f, "{subnet}"),
            Element::Outbound { subnet, address } => write!(f, "{subnet} : {address}"),
            Element::Same(from, to) => write!(f, "{from} . {to}"),
            Element::Bridge(name)
            | Element::Internal(name)
            | Element::Strict(name)
            | Element::Mutual(name)
            | Element::Tolerant(name)
            | Element::Free(name) => {
                write!(f, "\"{name}\"")
            }
            Element::Routed(family, name) | Element::Unprotected(family, name) => {
                let family = if *family == Family::V4 { "ipv4" } else { "ipv6" };
                write!(f, "{family} . \"{name}\"")
            }
            Element::Apart(name) => write!(f, "\"{name}\" . \"{name}\""),
            Element::Trusted { from, bridge } => write!(f, "\"{from}\" . \"{bridge}\""),
            Element::Open {
                address,
                protocol,
                port,
            } => write!(f, "{address} . {protocol} . {port}"),
            Element::Within(name) => write!(f, "\"{name}\" . \"{name}\" : accept"),
            Element::Pin { port, mac, address } => write!(f, "\"{port}\" . {mac} . {address}"),
            // The set's second part has no type in nft's language, so it is written as a number.
            Element::Target { port, address } => write!(f, "\"{port}\" . {:#034x}", address.to_bits()),
        }
    }
}

/// The elements that a network has from its creation to its removal. What passes somebody else's bridge is his to
/// decide about.
pub fn network_elements(network: &Network) -> Vec<Element> {
    if !network.passes_tables() || network.is_on_foreign_bridge() {
        return Vec::new();
    }
    let bridge = network.bridge.as_ref().map(|bridge| &bridge.name);
    let mut elements: Vec<Element> = bridge.map(|name| device_elements(network, name)).unwrap_or_default();
    // Pools may be several parts of one subnet.
    let mut subnets: Vec<Subnet> = Vec::new();
    for pool in &network.pools {
        if !subnets.contains(&pool.subnet) {
            subnets.push(pool.subnet);
        }
    }
    for subnet in &subnets {
        let neighbours = subnets.iter().filter(|other| other.family() == subnet.family());
        elements.extend(neighbours.map(|other| Element::Same(*subnet, *other)));
    }
    if !network.internal {
        elements.extend(subnets.iter().filter_map(|subnet| outward(network, *subnet)));
    }
    elements
}

/// The elements by which a bridge is known, or what stands for one to a single container: the host's end of its veth
/// pair.
fn device_elements(network: &Network, device: &InterfaceName) -> Vec<Element> {
    let name = || device.clone();
    let neighbours = if network.settings.keeps_apart() {
        Element::Apart(name())
    } else {
        Element::Within(name())
    };
    let mut elements = vec![Element::Bridge(name()), neighbours];
    if network.internal {
        elements.push(Element::Internal(name()));
    } else {
        elements.extend(inward(network, device));
    }
    elements.extend(name_servers(network));
    elements
}

/// What leads questions for names on to a name server that listens elsewhere than at port 53 (RFC 1035, 4.2).
fn name_servers(network: &Network) -> impl Iterator<Item = Element> {
    let port = network.settings.name_server_port;
    let gateways = network.pools.iter().filter_map(|pool| pool.gateway);
    gateways
        .filter_map(move |address| Some((address, port?)))
        .flat_map(|(address, port)| {
            [Protocol::Udp, Protocol::Tcp].map(|protocol| Element::PublishAt {
                address,
                protocol,
                port: 53,
                to: SocketAddr::new(address, port),
            })
        })
}

/// What makes packets that leave `subnet` bear an address of the host.
fn outward(network: &Network, subnet: Subnet) -> Option<Element> {
    let family = subnet.family();
    if !network.masquerade || !network.settings.gateway_mode(family).translates() {
        return None;
    }
    Some(match network.settings.outbound(family) {
        Some(address) => Element::Outbound { subnet, address },
        None => Element::Masquerade(subnet),
    })
}

/// Who reaches the containers of a network, beside what is published of them.
fn inward(network: &Network, bridge: &InterfaceName) -> Vec<Element> {
    let mut elements = match network.settings.isolation() {
        Isolation::None => vec![Element::Mutual(bridge.clone())],
        Isolation::Tolerant => vec![Element::Tolerant(bridge.clone())],
        Isolation::Normal => Vec::new(),
        Isolation::Strict => vec![Element::Strict(bridge.clone())],
    };
    for family in network.families() {
        match network.settings.gateway_mode(family) {
            GatewayMode::Nat | GatewayMode::Isolated => {}
            GatewayMode::Routed => elements.push(Element::Routed(family, bridge.clone())),
            GatewayMode::NatUnprotected => elements.push(Element::Unprotected(family, bridge.clone())),
        }
    }
    elements.extend(network.settings.trusted.iter().map(|from| Element::Trusted {
        from: from.clone(),
        bridge: bridge.clone(),
    }));
    elements
}

/// The elements that an endpoint has while it is plugged in. What does not come by a bridge passes none of our rules.
pub fn endpoint_elements(network: &Network, endpoint: &Endpoint) -> Vec<Element> {
    let mut elements = match (&network.bridge, network.driver) {
        _ if network.parent.is_some() || !network.driver.plugs_in() => return Vec::new(),
        (None, Driver::Ptp) => device_elements(network, &endpoint.host_interface),
        (None, Driver::Adopted) => callers(endpoint),
        _ if network.settings.unguarded => vec![Element::Free(endpoint.host_interface.clone())],
        _ => guard_elements(endpoint),
    };
    elements.extend(port_elements(network, endpoint, &endpoint.ports));
    elements
}

/// What makes those who come by a published port of somebody else's interface be masqueraded, if they are to be.
fn callers(endpoint: &Endpoint) -> Vec<Element> {
    if endpoint.ports.is_empty() {
        return Vec::new();
    }
    let mut elements = Vec::new();
    for own in &endpoint.addresses {
        let family = Family::of(own.address);
        let to = Subnet::containing(own.address, family.bits());
        let near = Subnet::containing(own.address, own.prefix);
        let from = match endpoint.settings.masquerade {
            Callers::None => Vec::new(),
            Callers::All => vec![Subnet::default_route(family)],
            Callers::Near if family == Family::V4 => vec![near, Subnet::containing(Ipv4Addr::LOCALHOST.into(), 8)],
            Callers::Near => vec![near],
        };
        elements.extend(from.into_iter().map(|from| Element::Same(from, to)));
    }
    elements
}

/// What frames from the port of an endpoint may bear.
fn guard_elements(endpoint: &Endpoint) -> Vec<Element> {
    let port = &endpoint.host_interface;
    let mut addresses: Vec<IpAddr> = endpoint.addresses.iter().map(|a| a.address).collect();
    if endpoint.address(Family::V6).is_some() {
        addresses.push(IpAddr::V6(endpoint.mac.link_local()));
    }
    let pin = |address: &IpAddr| Element::Pin {
        port: port.clone(),
        mac: endpoint.mac,
        address: *address,
    };
    let mut elements: Vec<Element> = addresses.iter().map(pin).collect();
    elements.extend(addresses.iter().filter_map(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(Element::Target {
            port: port.clone(),
            address: *address,
        }),
    }));
    elements
}

/// The elements by which `ports` of the endpoint are reached. Those that some ports share, as where a port of the
/// container is published twice, come once: what changes with the ports is the difference of two such lists.
pub(crate) fn port_elements(network: &Network, endpoint: &Endpoint, ports: &[PublishedPort]) -> Vec<Element> {
    if network.internal {
        return Vec::new();
    }
    let mut elements: Vec<Element> = publish_elements(network, endpoint, ports).collect();
    elements.extend(open_elements(network, endpoint, ports));
    elements
}

/// Those of the ports that lead to `address` of the container. From `::1` the kernel leads nothing on: a relay does.
fn ports_at(ports: &[PublishedPort], address: IpAddr) -> impl Iterator<Item = &PublishedPort> {
    ports
        .iter()
        .filter(move |port| port.serves(Family::of(address)) && !port.is_at_loopback_v6())
}

fn publish_elements(network: &Network, endpoint: &Endpoint, ports: &[PublishedPort]) -> impl Iterator<Item = Element> {
    let translated = |family: &Family| network.settings.gateway_mode(*family).translates();
    let families = [Family::V4, Family::V6].into_iter().filter(translated);
    let addresses = families.filter_map(|family| endpoint.address(family));
    addresses.flat_map(|address| {
        ports_at(ports, address).map(move |published| {
            let to = SocketAddr::new(address, published.container_port);
            let (protocol, port) = (published.protocol, published.host_port);
            match published.bound_address() {
                Some(address) => Element::PublishAt {
                    address,
                    protocol,
                    port,
                    to,
                },
                None => Element::PublishAny { protocol, port, to },
            }
        })
    })
}

/// The ports that are reached by the container's own address. What is published for this host alone is not: the host
/// itself reaches every port.
fn open_elements(network: &Network, endpoint: &Endpoint, ports: &[PublishedPort]) -> Vec<Element> {
    let settings = &network.settings;
    let is_open =
        |family: &Family| settings.gateway_mode(*family) == GatewayMode::Routed || !settings.trusted.is_empty();
    let addresses = endpoint.addresses.iter().map(|own| own.address);
    let mut elements = Vec::new();
    for address in addresses.filter(|address| is_open(&Family::of(*address))) {
        let outward = ports_at(ports, address).filter(|port| !port.host_ip.is_some_and(|ip| ip.is_loopback()));
        let mut seen = HashSet::new();
        for published in outward {
            let (protocol, port) = (published.protocol, published.container_port);
            if seen.insert((protocol, port)) {
                elements.push(Element::Open {
                    address,
                    protocol,
                    port,
                });
            }
        }
    }
    elements
}
