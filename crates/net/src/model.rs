//! What zdocker is about: networks, and the endpoints by which containers are plugged into them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{Id, InterfaceName, MacAddress, Name};
use crate::ports::PublishedPort;
use crate::subnet::{Family, Subnet};

/// Nanoseconds since the Unix epoch.
pub type UnixNanos = i64;

/// How a network is made real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge of its own; containers are plugged in by veth pairs.
    Bridge,
    /// Interfaces with Ethernet addresses of their own on an interface of the host.
    Macvlan,
    /// Interfaces that share the Ethernet address of an interface of the host.
    Ipvlan,
    /// The host's own network namespace.
    Host,
    /// A network namespace with nothing but `lo`.
    None,
}

/// A driver that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown network driver {0:?}: the drivers are bridge, macvlan, ipvlan, host and none")]
pub struct UnknownDriver(pub String);

impl FromStr for Driver {
    type Err = UnknownDriver;
    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        match text {
            "bridge" => Ok(Driver::Bridge),
            "macvlan" => Ok(Driver::Macvlan),
            "ipvlan" => Ok(Driver::Ipvlan),
            "host" => Ok(Driver::Host),
            "none" | "null" => Ok(Driver::None),
            _ => Err(UnknownDriver(text.to_owned())),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Bridge => "bridge",
            Driver::Macvlan => "macvlan",
            Driver::Ipvlan => "ipvlan",
            Driver::Host => "host",
            Driver::None => "none",
        })
    }
}

/// One subnet of a network and the address that the host bears in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The addresses of the network.
    pub subnet: Subnet,
    /// The host's own address on the bridge, and the containers' way out.
    pub gateway: IpAddr,
    /// The part of the subnet that addresses are handed out from; all of it if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
    /// Addresses that are never handed out, by the names that the user gave them (Docker's `--aux-address`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// A pool that hands out all of `subnet`.
    pub fn new(subnet: Subnet, gateway: IpAddr) -> Self {
        Pool {
            subnet,
            gateway,
            range: None,
            reserved: BTreeMap::new(),
        }
    }
}

/// A route within a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What is reached.
    pub destination: Subnet,
    /// By which neighbour; directly on the link if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Of routes to the same destination the one with the lowest is taken; the kernel's default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// The device of a bridge network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeDevice {
    /// Its interface name.
    pub name: InterfaceName,
    /// Its address, chosen by us: a device of this name with another address is not ours.
    pub mac: MacAddress,
    /// In bytes.
    pub mtu: u32,
}

/// The interface of the host that the interfaces of a macvlan or ipvlan network are made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentDevice {
    /// Its interface name.
    pub name: InterfaceName,
    /// Of the interfaces made on it, in bytes; its own if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What is made on it.
    pub children: Children,
    /// What it is, if we make it; otherwise it is somebody else's, and stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<MadeParent>,
}

/// The interfaces that containers get on a parent interface (linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Children {
    /// Each has an Ethernet address of its own.
    Macvlan {
        /// Who reaches whom.
        mode: MacvlanMode,
        /// From how many receivers on a broadcast is queued for them instead of delivered at once; -1: never. The
        /// kernel's default if missing (`IFLA_MACVLAN_BC_CUTOFF`, kernel 6.4 and later).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        broadcast_limit: Option<i32>,
    },
    /// All have the Ethernet address of the parent, which tells them apart by their addresses.
    Ipvlan {
        /// At which layer the parent leads packets on.
        mode: IpvlanMode,
        /// Who reaches whom.
        flag: IpvlanFlag,
    },
}

/// What the macvlan interfaces of one parent have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Frames between them are delivered within the host.
    Bridge,
    /// They do not reach each other.
    Private,
    /// Frames between them leave the host; a switch that sends them back lets them reach each other.
    Vepa,
    /// There is but one, and it has the Ethernet address of the parent.
    Passthru,
}

impl fmt::Display for MacvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Passthru => "passthru",
        })
    }
}

/// How an ipvlan parent leads packets to and from its interfaces (Documentation/networking/ipvlan.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// As a switch.
    L2,
    /// As a router: no broadcast and no address resolution within.
    L3,
    /// As [`IpvlanMode::L3`], and packets pass the host's firewall and connection tracking.
    L3s,
}

impl fmt::Display for IpvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IpvlanMode::L2 => "l2",
            IpvlanMode::L3 => "l3",
            IpvlanMode::L3s => "l3s",
        })
    }
}

/// What the ipvlan interfaces of one parent have to do with each other; as in [`MacvlanMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// Packets between them are delivered within the host.
    Bridge,
    /// They do not reach each other.
    Private,
    /// Packets between them leave the host.
    Vepa,
}

impl fmt::Display for IpvlanFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IpvlanFlag::Bridge => "bridge",
            IpvlanFlag::Private => "private",
            IpvlanFlag::Vepa => "vepa",
        })
    }
}

/// A parent interface that comes with the first network on it and goes with the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeParent {
    /// A VLAN of another interface (IEEE 802.1Q).
    Vlan {
        /// The other interface.
        on: InterfaceName,
        /// The VLAN's number, 1 to 4094.
        id: u16,
    },
    /// An interface that leads nowhere.
    Dummy,
}

/// How packets get from outside to the containers of a network and back, in one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// By published ports of the host; on their way out packets bear an address of the host.
    #[default]
    Nat,
    /// As [`GatewayMode::Nat`], and at all ports of the container's own address.
    NatUnprotected,
    /// At the published ports of the container's own address; nothing is translated either way.
    Routed,
    /// Not at all, and the bridge has no address: not even the host is reached.
    Isolated,
}

impl GatewayMode {
    /// Whether ports of the host lead to containers, and packets on their way out bear its address.
    pub fn translates(self) -> bool {
        matches!(self, GatewayMode::Nat | GatewayMode::NatUnprotected)
    }
}

/// What a network's containers and those of other networks have to do with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Networks that both have this reach each other.
    None,
    /// Published ports only.
    #[default]
    Normal,
    /// Nothing, neither way.
    Strict,
}

/// Of a network that is but a configuration for others: the families for which it leaves the subnet to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigOnly {
    /// Whether there is to be an IPv4 subnet although none is given.
    pub ipv4: bool,
    /// Whether there is to be an IPv6 subnet although none is given.
    pub ipv6: bool,
}

/// What a network is told beside its addresses: what it gives its endpoints, and who reaches whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How the names of its interfaces within containers begin; `eth` if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_prefix: Option<String>,
    /// It gives no default route.
    pub no_default_route: bool,
    /// Of the default routes that it gives; the kernel's default if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Routes that every endpoint gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// How containers are reached by IPv4.
    pub gateway_mode_v4: GatewayMode,
    /// How containers are reached by IPv6.
    pub gateway_mode_v6: GatewayMode,
    /// What it has to do with other networks.
    pub isolation: Isolation,
    /// Its containers do not reach each other (Docker's `enable_icc=false`).
    pub no_neighbours: bool,
    /// No frame leaves by the port that it came in by, so no container reaches its own published ports.
    pub no_hairpin: bool,
    /// The bridge gets no IPv4 address; somebody else gives it one.
    pub inhibit_v4: bool,
    /// Where ports are published for which no address of the host is given; at every address if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_binding: Option<IpAddr>,
    /// The addresses of the host that packets bear on their way out, at most one of each family; where one is missing,
    /// that of the interface that they leave by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<IpAddr>,
    /// Interfaces of the host from which published ports are reached by the containers' own addresses, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<InterfaceName>,
    /// Accepted from the user, who sees it again (Docker's `--attachable`).
    pub attachable: bool,
    /// Options of the address management, as the user gave them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ipam_options: BTreeMap<String, String>,
    /// It is a configuration only: never real, and nobody is plugged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_only: Option<ConfigOnly>,
    /// The name of the network whose configuration it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_from: Option<String>,
}

impl Settings {
    /// How containers are reached by `family`.
    pub fn gateway_mode(&self, family: Family) -> GatewayMode {
        match family {
            Family::V4 => self.gateway_mode_v4,
            Family::V6 => self.gateway_mode_v6,
        }
    }

    /// The address of `family` that packets bear on their way out.
    pub fn outbound(&self, family: Family) -> Option<IpAddr> {
        self.outbound
            .iter()
            .copied()
            .find(|address| Family::of(*address) == family)
    }

    /// Whether the bridge gets its gateway address of `family`.
    pub fn has_gateway_address(&self, family: Family) -> bool {
        self.gateway_mode(family) != GatewayMode::Isolated && !(self.inhibit_v4 && family == Family::V4)
    }
}

/// A network as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Names the network for ever.
    pub id: Id,
    /// Names it for people; unique on this host.
    pub name: Name,
    /// How it is made real.
    pub driver: Driver,
    /// IPv4 first; none for `host` and `none`, and for the default network before its first use.
    pub pools: Vec<Pool>,
    /// The bridge; `None` for `host` and `none`, and for the default network before its first use.
    pub bridge: Option<BridgeDevice>,
    /// The parent interface; `None` for all but `macvlan` and `ipvlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentDevice>,
    /// No way out, and none in.
    pub internal: bool,
    /// What goes to the outside bears the host's address.
    pub masquerade: bool,
    /// What it gives its endpoints.
    #[serde(default)]
    pub settings: Settings,
    /// The options as the user gave them.
    pub options: BTreeMap<String, String>,
    /// Free for users.
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    pub created: UnixNanos,
}

/// The networks that are always there; they cannot be created or removed.
pub const BUILT_IN: [(&str, Driver); 3] = [
    ("bridge", Driver::Bridge),
    ("host", Driver::Host),
    ("none", Driver::None),
];

/// The device of the default network `bridge`.
pub const DEFAULT_BRIDGE_DEVICE: &str = "zdocker0";

impl Network {
    /// Whether the network is one of [`BUILT_IN`].
    pub fn is_built_in(&self) -> bool {
        BUILT_IN.iter().any(|(name, _)| *name == self.name.as_str())
    }

    /// Whether its endpoints have Ethernet addresses of their own, which can be chosen.
    pub fn has_own_macs(&self) -> bool {
        self.parent.as_ref().is_none_or(|parent| match parent.children {
            Children::Macvlan { mode, .. } => mode != MacvlanMode::Passthru,
            Children::Ipvlan { .. } => false,
        })
    }

    /// Whether its endpoints reach everything by their interface itself, for want of a neighbour that could be asked.
    pub fn is_routed_by_link(&self) -> bool {
        self.parent.as_ref().is_some_and(|parent| {
            matches!(
                parent.children,
                Children::Ipvlan {
                    mode: IpvlanMode::L3 | IpvlanMode::L3s,
                    ..
                }
            )
        })
    }

    /// Whether endpoints can get their default route of `family` from this network.
    pub fn gives_default_route(&self, family: Family) -> bool {
        !self.internal && !self.settings.no_default_route && self.pool(family).is_some()
    }

    /// The pool that `address` is of.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.contains(address))
    }

    /// The pools whose addresses are this network's alone. Those of a configuration are but words: the networks that
    /// take it over have them.
    pub fn held_pools(&self) -> &[Pool] {
        match self.settings.config_only {
            Some(_) => &[],
            None => &self.pools,
        }
    }

    /// The first pool of `family`, if the network has one.
    pub fn pool(&self, family: Family) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.family() == family)
    }

    /// The families that it has addresses of.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| self.pool(*family).is_some())
    }

    /// The pools of `family`, in the order in which addresses are taken from them.
    pub fn pools_of(&self, family: Family) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(move |pool| pool.subnet.family() == family)
    }
}

/// An address with the prefix length of its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How much an endpoint may send and receive, in bits a second; no limit where missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// What the container receives.
    pub receive: Option<u64>,
    /// What the container sends.
    pub send: Option<u64>,
}

/// What a user may choose of an endpoint, beside addresses and ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSettings {
    /// Names of the container on this network, beside its own.
    pub aliases: Vec<String>,
    /// Of a container's networks the one with the highest gives the default route.
    pub gateway_priority: i32,
    /// Kernel variables of the interface, each a path below `/proc/sys` with the interface's name in it, and its value.
    pub sysctls: Vec<(String, String)>,
    /// How much it may send and receive.
    pub bandwidth: Bandwidth,
    /// The options as the user gave them.
    pub options: BTreeMap<String, String>,
}

/// One container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Names the endpoint for ever.
    pub id: Id,
    /// The network.
    pub network: Id,
    /// The container.
    pub container: Id,
    /// The interface within the container (`eth0`).
    pub interface: InterfaceName,
    /// The host's end of the veth pair; on networks with a parent interface, which have no such end, another name of the
    /// interface within the container.
    pub host_interface: InterfaceName,
    /// Of the interface within the container.
    pub mac: MacAddress,
    /// At most one of each family, IPv4 first.
    pub addresses: Vec<InterfaceAddress>,
    /// The gateways of the default routes; empty where another network gives the way out, or none does.
    pub gateways: Vec<IpAddr>,
    /// Of the default routes; the kernel's default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The routing table by which answers leave by this endpoint that came in by it; none where the main one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_table: Option<u32>,
    /// Other routes by this endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// What is published of the container through this endpoint.
    pub ports: Vec<PublishedPort>,
    /// What the user chose.
    #[serde(default)]
    pub settings: EndpointSettings,
}

impl Endpoint {
    /// The address of `family`, if the endpoint has one.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses
            .iter()
            .map(|a| a.address)
            .find(|a| Family::of(*a) == family)
    }
}
