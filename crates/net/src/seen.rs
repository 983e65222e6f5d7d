//! What was observed of the host before a plan is made.

use std::net::IpAddr;

use crate::names::{InterfaceName, MacAddress};
use crate::subnet::Subnet;

/// A network interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLink {
    /// Its name.
    pub name: InterfaceName,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddress>,
    /// In bytes.
    pub mtu: u32,
}

/// The host as far as creating networks depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Every interface.
    pub links: Vec<SeenLink>,
    /// The interfaces that are ports of a bridge or VRF, each with that.
    pub ports: Vec<(InterfaceName, InterfaceName)>,
    /// The subnets that the host has an address in, with the interface that bears it.
    pub connected: Vec<(InterfaceName, Subnet)>,
    /// Every address of the host.
    pub addresses: Vec<IpAddr>,
    /// The destination of every route of every table, default routes left out.
    pub routes: Vec<Subnet>,
    /// The interface that the default route leaves by.
    pub egress: Option<InterfaceName>,
    /// Its MTU in bytes.
    pub egress_mtu: Option<u32>,
    /// The interfaces that default routes of any table leave by, best first.
    pub ways_out: Vec<InterfaceName>,
    /// Whether IPv4 packets are forwarded (`net.ipv4.ip_forward`).
    pub forwarding_v4: bool,
    /// Whether IPv6 packets are forwarded (`net.ipv6.conf.all.forwarding`); `None` if the host has no IPv6.
    pub forwarding_v6: Option<bool>,
    /// The interfaces that take router advertisements only until the host forwards (`accept_ra` = 1).
    pub accept_ra: Vec<InterfaceName>,
    /// Whether both our tables are loaded, with all their rules.
    pub firewall: bool,
}

impl Seen {
    /// The interface called `name`.
    pub fn link(&self, name: &InterfaceName) -> Option<&SeenLink> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// The interface that a VRF's default route leaves by. One that is in a VRF has its routes in the VRF's table.
    pub fn way_out_of(&self, vrf: &InterfaceName) -> Option<&SeenLink> {
        let mut ways = self.ways_out.iter().filter(|name| self.master(name) == Some(vrf));
        ways.find_map(|name| self.link(name))
    }

    /// The bridge or VRF that the interface called `name` is a port of.
    pub fn master(&self, name: &InterfaceName) -> Option<&InterfaceName> {
        let port = self.ports.iter().find(|(port, _)| port == name);
        port.map(|(_, bridge)| bridge)
    }
}

/// As much of the host as plugging into one bridge depends on; two small questions to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenBridge {
    /// The interface of the bridge's name.
    pub link: Option<SeenLink>,
    /// Its addresses, where others may have made it.
    pub addresses: Vec<IpAddr>,
    /// Whether both our tables are loaded, with all their rules.
    pub firewall: bool,
}
