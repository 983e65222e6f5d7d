//! What was observed of a network namespace, as far as comparing it with the records needs it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::firewall::Element;
use crate::model::{InterfaceAddress, RouteKind};
use crate::names::{InterfaceName, MacAddress};
use crate::subnet::Subnet;

/// How a bridge port is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenPort {
    /// Frames may leave by the port that they came in by.
    pub hairpin: bool,
    /// No frame passes between this port and others that are isolated.
    pub isolated: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenInterface {
    /// Its name.
    pub name: InterfaceName,
    /// Its other names.
    pub other_names: Vec<InterfaceName>,
    /// Its number in its namespace.
    pub index: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddress>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// The number of the other end of a veth pair, or of the parent, in that one's namespace.
    pub other: Option<u32>,
    /// The number of the bridge that it is a port of.
    pub master: Option<u32>,
    /// How that port is set up.
    pub port: Option<SeenPort>,
    /// The VLAN that it is in as a port of a bridge, untagged, if it is in no other.
    pub vlan: Option<u16>,
    /// Whether it is a bridge that tells VLANs apart.
    pub vlan_filtering: bool,
    /// The IPv6 setting `accept_ra`, where the interface has IPv6.
    pub accept_ra: Option<u32>,
    /// The IPv4 setting `route_localnet`.
    pub route_localnet: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRoute {
    /// Its routing table.
    pub table: u32,
    /// What is reached.
    pub destination: Subnet,
    /// By which neighbour; directly on the link if missing.
    pub via: Option<IpAddr>,
    /// The number of the interface that it leaves by, if it leads on.
    pub index: Option<u32>,
    /// Less is better.
    pub metric: u32,
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// Largest packet in bytes, where one is set.
    pub mtu: Option<u32>,
    /// Largest TCP segment in bytes, where one is set.
    pub advmss: Option<u32>,
}

/// A rule of policy routing at the place where ours are ([`crate::op::RULE_PREFERENCE`]), for one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenRule {
    /// The sender.
    pub from: IpAddr,
    /// The routing table.
    pub table: u32,
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenNamespace {
    /// Every interface.
    pub interfaces: Vec<SeenInterface>,
    /// Every address, with the number of the interface that bears it.
    pub addresses: Vec<(u32, InterfaceAddress)>,
    /// Every route of every table, but those to the host's own addresses.
    pub routes: Vec<SeenRoute>,
    /// The rules of policy routing that are where ours are.
    pub rules: Vec<SeenRule>,
    /// Those of the kernel variables asked for that are there.
    pub sysctls: BTreeMap<String, String>,
}

impl SeenNamespace {
    /// The interface called `name`.
    pub fn interface(&self, name: &InterfaceName) -> Option<&SeenInterface> {
        self.interfaces.iter().find(|interface| interface.name == *name)
    }

    /// Whether an interface is called `name`, also as another name.
    pub fn knows(&self, name: &InterfaceName) -> bool {
        let called = |interface: &SeenInterface| interface.name == *name || interface.other_names.contains(name);
        self.interfaces.iter().any(called)
    }

    /// The interface with this number.
    pub fn numbered(&self, index: u32) -> Option<&SeenInterface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }
}

/// Our two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenTables {
    /// Not there, or with other chains, rules or sets than ours, or with elements that none of ours can be.
    Damaged,
    /// As they are loaded, with these elements.
    Whole(Vec<Element>),
}
