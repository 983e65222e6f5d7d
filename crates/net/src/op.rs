//! The steps that plans are made of.
//!
//! An [`Op`] is data: it names what it touches and never an interface index, so that it can be printed, compared,
//! tested and carried out later. Its [`Display`](std::fmt::Display) is what a person would type to do the same.

mod display;

pub use display::Shown;

use std::net::IpAddr;

use crate::firewall::Element;
use crate::model::{IpvlanFlag, IpvlanMode, MacvlanMode, Route, Trunk};
use crate::names::{InterfaceName, MacAddress};
use crate::shaping::TokenBucket;

/// The path that a network namespace is pinned at (a bind mount of its nsfs file).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamespacePath(pub String);

/// The place of our rules among the rules of policy routing (`ip rule`): before the main table's.
pub const RULE_PREFERENCE: u32 = 30000;

/// Where a step is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the network namespace that zdocker itself runs in.
    Host,
    /// In the one pinned at this path.
    Namespace(NamespacePath),
}

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// At one address, or at every address of the host.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Whether packets to `port` at `address`, one of the host's, are for this.
    pub fn takes(&self, address: IpAddr, port: u16) -> bool {
        self.port == port && self.address.is_none_or(|own| own == address)
    }
}

/// Frames that an interface takes beside those that are sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// All (`IFF_PROMISC`).
    All,
    /// Those to any group (`IFF_ALLMULTI`).
    Multicast,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Load our two tables with their fixed rules and empty sets; if they are there with all their rules, nothing
    /// happens.
    LoadFirewall,
    /// Replace our two tables, whatever is in them, by the fixed rules and these elements; in one transaction, so that
    /// no packet meets less. Never undone.
    RestoreFirewall(Vec<Element>),
    /// Delete our two tables with all that is in them.
    UnloadFirewall,
    /// Set a kernel variable; `key` in its path form, `net/ipv4/ip_forward`. Never undone: others may rely on it by
    /// then.
    SetSysctl {
        /// Where.
        place: Place,
        /// Path below `/proc/sys`.
        key: String,
        /// What is written.
        value: String,
    },
    /// Create a bridge without spanning tree, without IPv6 addresses of the kernel's own and deaf to router
    /// advertisements, that lets `127.0.0.0/8` be routed to its ports for published ports.
    CreateBridge {
        /// Its interface name.
        name: InterfaceName,
        /// Its address.
        mac: MacAddress,
        /// In bytes.
        mtu: u32,
    },
    /// Have a bridge tell VLANs apart.
    FilterVlans {
        /// The bridge.
        bridge: InterfaceName,
    },
    /// Put a port of a bridge, which tells VLANs apart, in one VLAN, untagged, and in no other.
    JoinVlan {
        /// The port.
        link: InterfaceName,
        /// The VLAN's number, 1 to 4094.
        vlan: u16,
    },
    /// Put a port of a bridge, which tells VLANs apart, in VLANs, tagged.
    JoinTrunk {
        /// The port.
        link: InterfaceName,
        /// The VLANs, and whether the port leaves all others.
        trunk: Trunk,
    },
    /// Put such a bridge itself in a VLAN, untagged: this host, when it sends by the bridge's addresses, is in it.
    AnswerVlan {
        /// The bridge.
        bridge: InterfaceName,
        /// The VLAN's number, 1 to 4094.
        vlan: u16,
    },
    /// Put an interface of the host in a VRF (Documentation/networking/vrf.rst). IPv6 addresses that it has are lost.
    JoinVrf {
        /// The interface.
        link: InterfaceName,
        /// The VRF's device.
        vrf: InterfaceName,
    },
    /// Make an interface in a namespace deaf to router advertisements, if it has IPv6.
    IgnoreRouters {
        /// Its namespace.
        namespace: NamespacePath,
        /// The interface.
        link: InterfaceName,
    },
    /// Create a network namespace, deaf to router advertisements and with `lo` up, and pin it at a path.
    CreateNamespace {
        /// Where it is pinned.
        path: NamespacePath,
    },
    /// Create a veth pair with one end on the host (up, its address following from the other's) and the other in a
    /// namespace (down), both without IPv6 addresses of the kernel's own.
    CreateVeth {
        /// The host's end.
        host: InterfaceName,
        /// The bridge that the host's end is put in; without one, `127.0.0.0/8` may be routed to it for published
        /// ports.
        bridge: Option<InterfaceName>,
        /// The namespace of the other end.
        namespace: NamespacePath,
        /// The name of the other end.
        peer: InterfaceName,
        /// The address of the other end.
        mac: MacAddress,
        /// Of both ends, in bytes.
        mtu: u32,
        /// Frames may leave by the port that they came in by: a container reaches its own published port.
        hairpin: bool,
        /// No frame passes between this port and others that are isolated.
        isolated: bool,
    },
    /// Create a macvlan interface in a namespace, down and without IPv6 addresses of the kernel's own.
    CreateMacvlan {
        /// The interface of the host that it is made on.
        parent: InterfaceName,
        /// Its namespace.
        namespace: NamespacePath,
        /// Its name there.
        link: InterfaceName,
        /// Its other name, which nobody else has: it is created by it, as older kernels (before 6.13) refuse names that
        /// an interface of the host has.
        id: InterfaceName,
        /// Its address; in mode passthru it has that of the parent.
        mac: MacAddress,
        /// In bytes; the parent's if missing.
        mtu: Option<u32>,
        /// Whom it reaches.
        mode: MacvlanMode,
        /// From how many receivers on a broadcast is queued; the kernel's default if missing.
        broadcast_limit: Option<i32>,
    },
    /// Create an ipvlan interface in a namespace, down and without IPv6 addresses of the kernel's own.
    CreateIpvlan {
        /// The interface of the host that it is made on.
        parent: InterfaceName,
        /// Its namespace.
        namespace: NamespacePath,
        /// Its name there.
        link: InterfaceName,
        /// Its other name, which nobody else has: it is created by it, as older kernels (before 6.13) refuse names that
        /// an interface of the host has.
        id: InterfaceName,
        /// In bytes; the parent's if missing.
        mtu: Option<u32>,
        /// How packets get to it, the same for all on the parent.
        mode: IpvlanMode,
        /// Whom it reaches, the same for all on the parent.
        flag: IpvlanFlag,
    },
    /// Create a VLAN of an interface of the host.
    CreateVlan {
        /// Its interface name.
        name: InterfaceName,
        /// The interface.
        on: InterfaceName,
        /// The VLAN's number.
        id: u16,
    },
    /// Create an interface of the host that leads nowhere.
    CreateDummy {
        /// Its interface name.
        name: InterfaceName,
    },
    /// Put the host's end of a veth pair that is there back into a bridge.
    JoinBridge {
        /// The host's end.
        link: InterfaceName,
        /// The bridge.
        bridge: InterfaceName,
        /// As for a new veth pair.
        hairpin: bool,
        /// As for a new veth pair.
        isolated: bool,
    },
    /// Create a device that packets can be led to, to wait there and then go on from where they were (an ifb); up, and
    /// without IPv6 addresses of the kernel's own.
    CreateIfb {
        /// Its interface name.
        name: InterfaceName,
        /// In bytes.
        mtu: u32,
    },
    /// Let what leaves by an interface of the host wait until a token bucket lets it pass.
    LimitRate {
        /// The interface.
        link: InterfaceName,
        /// How much passes.
        bucket: TokenBucket,
    },
    /// Lead all that comes in by an interface of the host to an ifb first.
    Redirect {
        /// The interface.
        from: InterfaceName,
        /// The ifb.
        to: InterfaceName,
    },
    /// Let what leaves by an interface of the host pass as it comes again.
    Unlimit {
        /// The interface.
        link: InterfaceName,
    },
    /// Lead what comes in by an interface of the host nowhere else any more.
    EndRedirect {
        /// The interface.
        from: InterfaceName,
    },
    /// Give an interface an address; in IPv4 with its subnet's broadcast address, in IPv6 without duplicate address
    /// detection.
    AddAddress {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
        /// The address.
        address: IpAddr,
        /// Prefix length in bits.
        prefix: u8,
    },
    /// Take an address from an interface.
    DeleteAddress {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
        /// The address.
        address: IpAddr,
        /// Prefix length in bits.
        prefix: u8,
    },
    /// Set an interface up.
    SetUp {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
    },
    /// Set an interface down.
    SetDown {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
    },
    /// Say which frames beside its own an interface takes.
    SetReception {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
        /// Which.
        frames: Frames,
        /// Whether it takes them.
        on: bool,
    },
    /// Let so many packets wait before an interface sends them, where its queue counts them.
    SetQueueLength {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
        /// How many.
        packets: u32,
    },
    /// Let an interface take packets of this size.
    SetMtu {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
        /// In bytes.
        mtu: u32,
    },
    /// Give an interface its Ethernet address.
    SetMac {
        /// Where the interface is.
        place: Place,
        /// The interface.
        link: InterfaceName,
        /// The address.
        mac: MacAddress,
    },
    /// Add a route, in place of one to the same destination of the same metric.
    AddRoute {
        /// Where.
        place: Place,
        /// By which interface.
        link: InterfaceName,
        /// What is reached, and how.
        route: Route,
        /// In which routing table; the main one if missing.
        table: Option<u32>,
    },
    /// Delete a route, if it is there.
    DeleteRoute {
        /// Where.
        place: Place,
        /// The interface that it leaves by.
        link: InterfaceName,
        /// The route.
        route: Route,
        /// Its routing table; the main one if missing.
        table: Option<u32>,
    },
    /// Have what is sent from an address routed by a table of its own, if it is not already.
    AddRule {
        /// Where.
        place: Place,
        /// The sender.
        from: IpAddr,
        /// The routing table.
        table: u32,
    },
    /// Take back such a rule, if it is there.
    DeleteRule {
        /// Where.
        place: Place,
        /// The sender.
        from: IpAddr,
        /// The routing table.
        table: u32,
    },
    /// Add elements to our firewall's maps and sets, all or none. Those that are there already stay; a key of a map
    /// that leads elsewhere is refused.
    AddElements(Vec<Element>),
    /// Delete elements from our firewall's maps and sets.
    DeleteElements(Vec<Element>),
    /// Make the kernel forget the UDP flows to these ports of the host, so that they take their new way at once. Flows
    /// to the same ports elsewhere are left alone.
    ForgetUdpFlows {
        /// Host ports.
        ports: Vec<HostPort>,
    },
    /// Delete an interface of the host, and with it the other end of a veth pair, its addresses and its routes.
    DeleteLink {
        /// The interface.
        name: InterfaceName,
    },
    /// Delete an interface within a namespace, if it is there.
    DeleteInside {
        /// The namespace.
        namespace: NamespacePath,
        /// The interface, by any of its names.
        link: InterfaceName,
    },
    /// Unpin a network namespace; when no process is left in it, it goes with all its interfaces.
    DeleteNamespace {
        /// Where it is pinned.
        path: NamespacePath,
    },
}

impl Op {
    /// The step that takes this one back, or `None` where there is nothing to take back: what is shared by the whole
    /// host stays, and what is on an interface or in a namespace goes with it.
    pub fn inverse(&self) -> Option<Op> {
        match self {
            Op::CreateBridge { name, .. } => Some(Op::DeleteLink { name: name.clone() }),
            Op::CreateVeth { host, .. } => Some(Op::DeleteLink { name: host.clone() }),
            Op::CreateIfb { name, .. } => Some(Op::DeleteLink { name: name.clone() }),
            Op::CreateVlan { name, .. } | Op::CreateDummy { name } => Some(Op::DeleteLink { name: name.clone() }),
            Op::CreateMacvlan { namespace, id, .. } | Op::CreateIpvlan { namespace, id, .. } => {
                Some(Op::DeleteInside {
                    namespace: namespace.clone(),
                    link: id.clone(),
                })
            }
            Op::CreateNamespace { path } => Some(Op::DeleteNamespace { path: path.clone() }),
            Op::AddElements(elements) => Some(Op::DeleteElements(elements.clone())),
            Op::AddRule { place, from, table } => Some(Op::DeleteRule {
                place: place.clone(),
                from: *from,
                table: *table,
            }),
            Op::LoadFirewall
            | Op::RestoreFirewall(_)
            | Op::UnloadFirewall
            | Op::SetSysctl { .. }
            | Op::FilterVlans { .. }
            | Op::JoinVlan { .. }
            | Op::JoinTrunk { .. }
            | Op::AnswerVlan { .. }
            | Op::JoinVrf { .. }
            | Op::IgnoreRouters { .. }
            | Op::JoinBridge { .. }
            | Op::LimitRate { .. }
            | Op::Redirect { .. }
            | Op::AddAddress { .. }
            | Op::DeleteAddress { .. }
            | Op::Unlimit { .. }
            | Op::EndRedirect { .. }
            | Op::SetUp { .. }
            | Op::SetDown { .. }
            | Op::SetReception { .. }
            | Op::SetQueueLength { .. }
            | Op::SetMtu { .. }
            | Op::SetMac { .. }
            | Op::AddRoute { .. }
            | Op::DeleteRoute { .. }
            | Op::DeleteRule { .. }
            | Op::ForgetUdpFlows { .. }
            | Op::DeleteElements(_)
            | Op::DeleteLink { .. }
            | Op::DeleteInside { .. }
            | Op::DeleteNamespace { .. } => None,
        }
    }
}
