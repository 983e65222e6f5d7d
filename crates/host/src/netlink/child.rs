//! Interfaces on other interfaces, macvlan, ipvlan and VLAN, and such as lead nowhere (linux/if_link.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use zdocker_net::model::{IpvlanFlag, IpvlanMode, MacvlanMode};
use zdocker_net::names::{InterfaceName, MacAddress};

use super::link::{
    IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, IFLA_NET_NS_FD,
    RTM_NEWLINK, header, no_generated_addresses,
};
use super::message::{APPEND, CREATE, EXCL, Requests, Writer};

const RTM_NEWLINKPROP: u16 = 108;

const IFLA_LINK: u16 = 5;
pub(super) const IFLA_PROP_LIST: u16 = 52;
pub(super) const IFLA_ALT_IFNAME: u16 = 53;

const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_BC_CUTOFF: u16 = 9;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;

/// An interface to be, on a parent and straight in a namespace.
pub(crate) struct Child<'a> {
    /// The parent's index.
    pub(crate) parent: u32,
    pub(crate) namespace: BorrowedFd<'a>,
    /// A name that no other interface has, neither there nor here.
    pub(crate) id: &'a InterfaceName,
    /// In bytes; the parent's if missing.
    pub(crate) mtu: Option<u32>,
}

impl Child<'_> {
    fn write(&self, m: &mut Writer, kind: &str, data: impl FnOnce(&mut Writer)) {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, self.id.as_str())
            .u32(IFLA_LINK, self.parent)
            .u32(IFLA_NET_NS_FD, self.namespace.as_raw_fd() as u32);
        if let Some(mtu) = self.mtu {
            m.u32(IFLA_MTU, mtu);
        }
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, kind).nested(IFLA_INFO_DATA, data);
        });
    }
}

/// Creates a macvlan interface, down.
pub(crate) fn create_macvlan(
    requests: &mut Requests,
    child: &Child<'_>,
    mac: MacAddress,
    mode: MacvlanMode,
    broadcast_limit: Option<i32>,
) -> usize {
    // MACVLAN_MODE_*
    let number = match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => 8,
    };
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        child.write(m, "macvlan", |m| {
            m.u32(IFLA_MACVLAN_MODE, number);
            if let Some(limit) = broadcast_limit {
                m.attribute(IFLA_MACVLAN_BC_CUTOFF, &limit.to_ne_bytes());
            }
        });
        // In mode passthru the kernel gives it the parent's.
        if mode != MacvlanMode::Passthru {
            m.attribute(IFLA_ADDRESS, &mac.octets());
        }
    })
}

/// Creates an ipvlan interface, down.
pub(crate) fn create_ipvlan(requests: &mut Requests, child: &Child<'_>, mode: IpvlanMode, flag: IpvlanFlag) -> usize {
    // IPVLAN_MODE_* and IPVLAN_F_*
    let mode: u16 = match mode {
        IpvlanMode::L2 => 0,
        IpvlanMode::L3 => 1,
        IpvlanMode::L3s => 2,
    };
    let flag: u16 = match flag {
        IpvlanFlag::Bridge => 0,
        IpvlanFlag::Private => 1,
        IpvlanFlag::Vepa => 2,
    };
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        child.write(m, "ipvlan", |m| {
            m.attribute(IFLA_IPVLAN_MODE, &mode.to_ne_bytes())
                .attribute(IFLA_IPVLAN_FLAGS, &flag.to_ne_bytes());
        });
    })
}

/// Gives a new interface its name beside the one that it was created by; with `ipv6` keeps the kernel from giving it
/// addresses.
pub(crate) fn name(requests: &mut Requests, index: u32, name: &InterfaceName, id: &InterfaceName, ipv6: bool) {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.text(IFLA_IFNAME, name.as_str());
        if ipv6 {
            m.nested(IFLA_AF_SPEC, no_generated_addresses);
        }
    });
    requests.push(RTM_NEWLINKPROP, CREATE | EXCL | APPEND, |m| {
        header(m, index, 0);
        m.nested(IFLA_PROP_LIST, |m| {
            m.text(IFLA_ALT_IFNAME, id.as_str());
        });
    });
}

/// Creates a VLAN of the interface with the index `on`, down.
pub(crate) fn create_vlan(requests: &mut Requests, name: &InterfaceName, on: u32, id: u16) -> usize {
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, name.as_str())
            .u32(IFLA_LINK, on)
            .nested(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "vlan").nested(IFLA_INFO_DATA, |m| {
                    m.attribute(IFLA_VLAN_ID, &id.to_ne_bytes());
                });
            });
    })
}

/// Creates an interface that leads nowhere, down.
pub(crate) fn create_dummy(requests: &mut Requests, name: &InterfaceName) -> usize {
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, name.as_str()).nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "dummy");
        });
    })
}
