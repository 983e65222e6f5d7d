//! The content of our firewall tables.
//!
//! The rules are fixed (`zdocker-host` loads them); all that networks and endpoints change are elements of the maps and
//! sets that the rules look into, so no change gets slower by what is there already. This module says which elements a
//! network and an endpoint have.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::model::{Endpoint, Network};
use crate::names::{InterfaceName, MacAddress};
use crate::ports::{Protocol, PublishedPort};
use crate::subnet::{Family, Subnet};

/// Our two tables with their fixed rules and empty sets, in nft's language. `zdocker-host` loads the same without
/// `nft`.
pub const RULESET: &str = include_str!("firewall.nft");

/// The name of both our tables, `inet zdocker` and `bridge zdocker`.
pub const TABLE: &str = "zdocker";

/// How the names of endpoints' bridge ports begin. Frames from such a port must bear its endpoint's addresses: one without an
/// endpoint, as a port is whose endpoint was removed while somebody holds its namespace, gets nothing through.
pub const PORT_PREFIX: &str = "zdv";

/// Which of our two tables a set or map is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// `inet zdocker`: publishing, masquerading, isolation.
    Inet,
    /// `bridge zdocker`: no frame with another endpoint's addresses.
    Bridge,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Inet => "inet zdocker",
            Table::Bridge => "bridge zdocker",
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
    /// What stays within this subnet is not masqueraded (sets `same4`, `same6`).
    Same(Subnet),
    /// Nothing but published ports is forwarded to this bridge (set `bridges`).
    Bridge(InterfaceName),
    /// Nothing is forwarded to or from this bridge (set `internal`).
    Internal(InterfaceName),
    /// What is bridged within this bridge passes, also where bridged packets walk the IP rules (map `links`).
    Within(InterfaceName),
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
    /// The table that the element's set or map is in.
    pub fn table(&self) -> Table {
        match self {
            Element::Pin { .. } | Element::Target { .. } => Table::Bridge,
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
            Element::Same(subnet) => by_family(subnet.family(), "same4", "same6"),
            Element::Bridge(_) => "bridges",
            Element::Internal(_) => "internal",
            Element::Within(_) => "links",
            Element::Pin { address, .. } => by_family(Family::of(*address), "pins4", "pins6"),
            Element::Target { .. } => "targets6",
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
            Element::Same(subnet) => write!(f, "{subnet} . {subnet}"),
            Element::Bridge(name) | Element::Internal(name) => write!(f, "\"{name}\""),
            Element::Within(name) => write!(f, "\"{name}\" . \"{name}\" : accept"),
            Element::Pin { port, mac, address } => write!(f, "\"{port}\" . {mac} . {address}"),
            // The set's second part has no type in nft's language, so it is written as a number.
            Element::Target { port, address } => write!(f, "\"{port}\" . {:#034x}", address.to_bits()),
        }
    }
}

/// The elements that a network has from its creation to its removal.
pub fn network_elements(network: &Network) -> Vec<Element> {
    let Some(bridge) = &network.bridge else {
        return Vec::new();
    };
    let mut elements = vec![
        Element::Bridge(bridge.name.clone()),
        Element::Within(bridge.name.clone()),
    ];
    if network.internal {
        elements.push(Element::Internal(bridge.name.clone()));
    }
    for pool in &network.pools {
        elements.push(Element::Same(pool.subnet));
        if network.masquerade && !network.internal {
            elements.push(Element::Masquerade(pool.subnet));
        }
    }
    elements
}

/// The elements that an endpoint has while it is plugged in.
pub fn endpoint_elements(network: &Network, endpoint: &Endpoint) -> Vec<Element> {
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
    if !network.internal {
        elements.extend(publish_elements(endpoint, &endpoint.ports));
    }
    elements
}

/// The elements by which `ports` lead to `endpoint`. From `::1` the kernel leads nothing on: a relay does.
pub(crate) fn publish_elements(endpoint: &Endpoint, ports: &[PublishedPort]) -> impl Iterator<Item = Element> {
    let addresses = [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| endpoint.address(family));
    addresses.flat_map(|address| {
        let ports = ports
            .iter()
            .filter(move |port| port.serves(Family::of(address)) && !port.is_at_loopback_v6());
        ports.map(move |published| {
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
