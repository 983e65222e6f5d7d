//! What zdocker is about: networks, and the endpoints by which containers are plugged into them.

mod device;
mod endpoint;
mod route;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::device::{
    BridgeDevice, Children, IpvlanFlag, IpvlanMode, LAST_VLAN, MacvlanMode, MadeParent, Ownership, ParentDevice, Trunk,
};
pub use self::endpoint::{Bandwidth, Callers, Endpoint, EndpointSettings, InterfaceAddress};
pub use self::route::{Route, RouteKind};
pub use self::settings::{ConfigOnly, GatewayMode, HostInVlan, Ingress, Isolation, Settings};

use crate::names::{Id, Name};
use crate::subnet::{AddressRange, Family, Subnet};

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
    /// Veth pairs without a bridge: the host routes between its ends. Of other engines only.
    Ptp,
    /// Interfaces that somebody else made and takes away again: ports are published of them, and limits set. Of other
    /// engines only.
    Adopted,
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
            Driver::Ptp => "ptp",
            Driver::Adopted => "adopted",
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
    /// The host's own address on the bridge, and the containers' way out; none where another engine wants none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The part of the subnet that addresses are handed out from; all of it if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<AddressRange>,
    /// Pools of one family and one set stand in for each other: an endpoint gets an address of each set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set: u8,
    /// Addresses that are never handed out, by the names that the user gave them (Docker's `--aux-address`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// A pool that hands out all of `subnet`.
    pub fn new(subnet: Subnet, gateway: IpAddr) -> Self {
        Pool {
            subnet,
            gateway: Some(gateway),
            range: None,
            set: 0,
            reserved: BTreeMap::new(),
        }
    }
}

/// The name that [`Pool::reserved`] has for the way out where that is no address of this host.
pub const WAY_OUT: &str = "gateway";

impl Pool {
    /// The neighbour by which other subnets are reached: this host, or another.
    pub fn way_out(&self) -> Option<IpAddr> {
        self.gateway.or_else(|| self.reserved.get(WAY_OUT).copied())
    }
}

/// serde asks by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u8) -> bool {
    *number == 0
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

/// Ethernet's, in bytes (RFC 894).
const DEFAULT_MTU: u32 = 1500;

/// The device of the default network `bridge`.
pub const DEFAULT_BRIDGE_DEVICE: &str = "zdocker0";

impl Network {
    /// A network without addresses, made real by `driver`: for another engine, whose name for it `id` is.
    pub fn foreign(id: Id, name: Name, driver: Driver, now: UnixNanos) -> Self {
        Network {
            id,
            name,
            driver,
            pools: Vec::new(),
            bridge: None,
            parent: None,
            internal: false,
            masquerade: false,
            settings: Settings::default(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            created: now,
        }
    }

    /// Whether the network is one of [`BUILT_IN`].
    pub fn is_built_in(&self) -> bool {
        BUILT_IN.iter().any(|(name, _)| *name == self.name.as_str())
    }

    /// Whether its packets pass our tables: there are elements for it and its endpoints.
    pub fn passes_tables(&self) -> bool {
        self.bridge.is_some() || matches!(self.driver, Driver::Ptp | Driver::Adopted)
    }

    /// The size in bytes that packets of its veth pairs have at most.
    pub fn pair_mtu(&self) -> u32 {
        let bridge = self.bridge.as_ref().map(|bridge| bridge.mtu);
        bridge.or(self.settings.mtu).unwrap_or(DEFAULT_MTU)
    }

    /// Whether its endpoints are veth pairs of ours, with an end on the host.
    pub fn has_pairs(&self) -> bool {
        self.bridge.is_some() || self.driver == Driver::Ptp
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

    /// Whether its containers are plugged into a bridge of somebody else's.
    pub fn is_on_foreign_bridge(&self) -> bool {
        let bridge = self.bridge.as_ref();
        bridge.is_some_and(|bridge| bridge.ownership == Ownership::Foreign)
    }

    /// Whether endpoints can get their default route of `family` from this network.
    pub fn gives_default_route(&self, family: Family) -> bool {
        let gateways = self.pools_of(family).any(|pool| pool.gateway.is_some());
        gateways && !self.internal && !self.settings.no_default_route
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

    /// Whether this host is the way out of one of the pools of `family`.
    pub fn has_gateway(&self, family: Family) -> bool {
        self.pools_of(family).any(|pool| pool.gateway.is_some())
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
