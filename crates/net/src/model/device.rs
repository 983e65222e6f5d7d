//! The interfaces of the host that networks are made of: bridges, and the parents of macvlan and ipvlan.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{InterfaceName, MacAddress};

/// The last number that a VLAN can have; the first is 1 (IEEE 802.1Q, 9.6).
pub const LAST_VLAN: u16 = 4094;

/// Whose a bridge is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// Ours alone: we make it, and take it away with whatever is on it.
    #[default]
    Own,
    /// Made by us if it is not there; others may have ports on it, and it goes with the last port.
    Shared,
    /// The same, but one that was there before us stays.
    Kept,
    /// Somebody else's: it must be there, and nothing but our ports on it is touched.
    Foreign,
}

impl Ownership {
    /// Whether others may have made it, and have ports on it.
    pub fn is_shared(self) -> bool {
        matches!(self, Ownership::Shared | Ownership::Kept)
    }

    /// serde asks by reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_own(&self) -> bool {
        *self == Ownership::Own
    }
}

/// The device of a bridge network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeDevice {
    /// Its interface name.
    pub name: InterfaceName,
    /// Its address: a device of this name with another address is not the one that is recorded. Chosen by us, or that
    /// of a bridge that was there; says nothing of a foreign bridge.
    pub mac: MacAddress,
    /// In bytes; 0, before it is made real: that of the bridge that is there, or of the host's way out.
    pub mtu: u32,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Ownership::is_own")]
    pub ownership: Ownership,
    /// The VLAN that its ports are in, untagged; the bridge then tells VLANs apart (`vlan_filtering`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Other VLANs that its ports are in, tagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<Trunk>,
    /// The VRF device that it is put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<InterfaceName>,
}

/// VLANs that a bridge's port is in, tagged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trunk {
    /// Their numbers, 1 to 4094, the first and the last of each range.
    pub vlans: Vec<(u16, u16)>,
    /// Whether the port stays in the VLAN that the bridge put it in, untagged.
    pub native: bool,
}

impl BridgeDevice {
    /// A bridge of our own.
    pub fn own(name: InterfaceName, mac: MacAddress, mtu: u32) -> Self {
        BridgeDevice {
            name,
            mac,
            mtu,
            ownership: Ownership::Own,
            vlan: None,
            trunk: None,
            vrf: None,
        }
    }

    /// Whether it must tell VLANs apart.
    pub(crate) fn has_vlans(&self) -> bool {
        self.vlan.is_some() || self.trunk.is_some()
    }
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

impl ParentDevice {
    /// The name of a parent that is not chosen yet: [`crate::plan::adopting`] chooses the interface that the host's
    /// default route leaves by. No network is on this one in earnest, as `lo` has no children.
    pub fn unchosen() -> InterfaceName {
        InterfaceName::loopback()
    }

    /// Whether there is still to be said which interface of the host it is.
    pub fn is_unchosen(&self) -> bool {
        self.name == ParentDevice::unchosen()
    }
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
