//! Interfaces: bridges, veth pairs, and what is there (rtnetlink(7), linux/if_link.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use zdocker_net::mend::{SeenInterface, SeenPort};
use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::op::Frames;
use zdocker_net::seen::SeenLink;

use super::child::{IFLA_ALT_IFNAME, IFLA_PROP_LIST};
use super::message::{Attributes, CREATE, EXCL, Message, Requests, Writer, text_of, u32_of};
use super::{NetlinkError, Socket, vlan};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;

/// Length of `struct ifinfomsg`.
pub(super) const HEADER: usize = 16;
const IFF_UP: u32 = 1;
const IFF_PROMISC: u32 = 0x100;
const IFF_ALLMULTI: u32 = 0x200;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;

pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;
const IFLA_INET_CONF: u16 = 1;
/// Attribute types within `IFLA_INET_CONF` are the numbers of linux/ip.h.
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const IFLA_INET6_CONF: u16 = 2;
/// Place in the array of `IFLA_INET6_CONF` (linux/ipv6.h).
const DEVCONF_ACCEPT_RA: usize = 3;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// `RTEXT_FILTER_SKIP_STATS`: no packet counters.
const SKIP_STATS: u32 = 1 << 3;

/// `struct ifinfomsg`; 0 is "no index".
pub(super) fn header(m: &mut Writer, index: u32, flags: u32) {
    m.raw(&[0; 4])
        .raw(&index.to_ne_bytes())
        .raw(&flags.to_ne_bytes())
        .raw(&flags.to_ne_bytes());
}

/// Creates a bridge, down.
pub(crate) fn create_bridge(requests: &mut Requests, name: &InterfaceName, mac: MacAddress, mtu: u32) -> usize {
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, name.as_str())
            .attribute(IFLA_ADDRESS, &mac.octets())
            .u32(IFLA_MTU, mtu);
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge").nested(IFLA_INFO_DATA, |m| {
                m.u32(IFLA_BR_STP_STATE, 0)
                    .u32(IFLA_BR_FORWARD_DELAY, 0)
                    .u8(IFLA_BR_MCAST_SNOOPING, 0);
            });
        });
    })
}

/// Lets `127.0.0.0/8` be routed to the interface, and with `ipv6` keeps the kernel from giving it addresses.
pub(crate) fn configure_bridge(requests: &mut Requests, index: u32, ipv6: bool) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.nested(IFLA_AF_SPEC, |m| {
            m.nested(AF_INET, |m| {
                m.nested(IFLA_INET_CONF, |m| {
                    m.u32(IPV4_DEVCONF_ROUTE_LOCALNET, 1);
                });
            });
            if ipv6 {
                no_generated_addresses(m);
            }
        });
    })
}

pub(super) fn no_generated_addresses(m: &mut Writer) {
    m.nested(AF_INET6, |m| {
        m.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    });
}

/// A veth pair to be.
pub(crate) struct Veth<'a> {
    pub(crate) host: &'a InterfaceName,
    pub(crate) bridge: Option<u32>,
    pub(crate) namespace: BorrowedFd<'a>,
    pub(crate) peer: &'a InterfaceName,
    pub(crate) mac: MacAddress,
    pub(crate) mtu: u32,
}

/// Creates a veth pair: the host's end up and in the bridge, if there is one, the other in its namespace and down (the
/// kernel refuses it to be up before the host's end is).
pub(crate) fn create_veth(requests: &mut Requests, veth: &Veth<'_>) -> usize {
    // One queue each way: veth would make one for each processor, which costs more than all the rest.
    let common = |m: &mut Writer, name: &InterfaceName| {
        m.text(IFLA_IFNAME, name.as_str()).u32(IFLA_MTU, veth.mtu);
        m.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
    };
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        header(m, 0, IFF_UP);
        common(m, veth.host);
        m.attribute(IFLA_ADDRESS, &veth.mac.of_host_end().octets());
        if let Some(bridge) = veth.bridge {
            m.u32(IFLA_MASTER, bridge);
        }
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |m| {
                m.nested(VETH_INFO_PEER, |m| {
                    header(m, 0, 0);
                    common(m, veth.peer);
                    m.attribute(IFLA_ADDRESS, &veth.mac.octets());
                    m.u32(IFLA_NET_NS_FD, veth.namespace.as_raw_fd() as u32);
                });
            });
        });
    })
}

/// Creates an ifb, down.
pub(crate) fn create_ifb(requests: &mut Requests, name: &InterfaceName, mtu: u32) -> usize {
    requests.push(RTM_NEWLINK, CREATE | EXCL, |m| {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, name.as_str()).u32(IFLA_MTU, mtu);
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "ifb");
        });
    })
}

/// How a bridge port is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortSettings {
    /// Frames may leave by the port that they came in by.
    pub(crate) hairpin: bool,
    /// No frame passes between this port and others that are isolated.
    pub(crate) isolated: bool,
}

/// Sets what the kernel ignores when a bridge port is created; with `ipv6` keeps it from giving the port addresses.
pub(crate) fn configure_port(requests: &mut Requests, index: u32, settings: PortSettings, ipv6: bool) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        if ipv6 {
            m.nested(IFLA_AF_SPEC, no_generated_addresses);
        }
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_SLAVE_KIND, "bridge")
                .nested(IFLA_INFO_SLAVE_DATA, |m| {
                    m.u8(IFLA_BRPORT_MODE, settings.hairpin.into())
                        .u8(IFLA_BRPORT_ISOLATED, settings.isolated.into());
                });
        });
    })
}

/// Makes the interface a port of the bridge, or a member of the VRF, with the index `master`.
pub(crate) fn set_master(requests: &mut Requests, index: u32, master: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.u32(IFLA_MASTER, master);
    })
}

/// Keeps the kernel from giving the interface IPv6 addresses of its own.
pub(crate) fn disable_generated_addresses(requests: &mut Requests, index: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.nested(IFLA_AF_SPEC, no_generated_addresses);
    })
}

/// Sets an interface up.
pub(crate) fn set_up(requests: &mut Requests, index: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| header(m, index, IFF_UP))
}

/// Sets an interface down.
pub(crate) fn set_down(requests: &mut Requests, index: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| change_flag(m, index, IFF_UP, false))
}

/// Says which frames beside its own an interface takes.
pub(crate) fn set_reception(requests: &mut Requests, index: u32, frames: Frames, on: bool) -> usize {
    let flag = match frames {
        Frames::All => IFF_PROMISC,
        Frames::Multicast => IFF_ALLMULTI,
    };
    requests.push(RTM_NEWLINK, 0, |m| change_flag(m, index, flag, on))
}

/// `struct ifinfomsg` that changes one flag.
fn change_flag(m: &mut Writer, index: u32, flag: u32, on: bool) {
    m.raw(&[0; 4])
        .raw(&index.to_ne_bytes())
        .raw(&if on { flag } else { 0 }.to_ne_bytes())
        .raw(&flag.to_ne_bytes());
}

/// Lets so many packets wait before the interface sends them.
pub(crate) fn set_queue_length(requests: &mut Requests, index: u32, packets: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.u32(IFLA_TXQLEN, packets);
    })
}

/// Lets an interface take packets of this size.
pub(crate) fn set_mtu(requests: &mut Requests, index: u32, mtu: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.u32(IFLA_MTU, mtu);
    })
}

/// Gives an interface its Ethernet address.
pub(crate) fn set_mac(requests: &mut Requests, index: u32, mac: MacAddress) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, index, 0);
        m.attribute(IFLA_ADDRESS, &mac.octets());
    })
}

/// Deletes an interface.
pub(crate) fn delete(requests: &mut Requests, name: &InterfaceName) -> usize {
    requests.push(RTM_DELLINK, 0, |m| {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, name.as_str());
    })
}

/// An interface that is there.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) seen: SeenLink,
    /// The index of the bridge that it is a port of.
    pub(crate) master: Option<u32>,
    /// The IPv6 setting `accept_ra`, where the interface has IPv6.
    pub(crate) accept_ra: Option<u32>,
    /// The IPv4 setting `route_localnet`.
    pub(crate) route_localnet: bool,
    /// Whether it is set up.
    pub(crate) up: bool,
    /// Whether it was told to take all frames, and all those to groups.
    pub(crate) takes: (bool, bool),
    /// How many packets may wait before it sends them.
    pub(crate) queue_length: Option<u32>,
    /// The index of the other end of a veth pair, or of the parent.
    pub(crate) other: Option<u32>,
    /// How it is set up as a port of a bridge.
    pub(crate) port: Option<SeenPort>,
    pub(crate) other_names: Vec<InterfaceName>,
    /// Whether it is a bridge that tells VLANs apart.
    pub(crate) vlan_filtering: bool,
}

/// The names of an interface beside its own, from its `IFLA_PROP_LIST`.
fn read_other_names(list: &[u8]) -> Vec<InterfaceName> {
    let names = Attributes::within(list).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
    // Longer ones are none of ours.
    names.filter_map(|(_, name)| text_of(name).parse().ok()).collect()
}

/// How an interface is set up as a port of a bridge, from its `IFLA_LINKINFO`.
fn read_port(info: &[u8]) -> Option<SeenPort> {
    let info = Attributes::within(info);
    info.value(IFLA_INFO_SLAVE_KIND)
        .filter(|kind| text_of(kind) == "bridge")?;
    let data = Attributes::within(info.value(IFLA_INFO_SLAVE_DATA)?);
    let is_on = |kind| data.value(kind).is_some_and(|value| value.first() == Some(&1));
    Some(SeenPort {
        hairpin: is_on(IFLA_BRPORT_MODE),
        isolated: is_on(IFLA_BRPORT_ISOLATED),
    })
}

impl Link {
    fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let attributes = message.attributes(HEADER);
        let name = text_of(attributes.value(IFLA_IFNAME)?).parse().ok()?;
        let mac = attributes
            .value(IFLA_ADDRESS)
            .and_then(|mac| <[u8; 6]>::try_from(mac).ok());
        let mtu = attributes.value(IFLA_MTU).and_then(u32_of)?;
        let flags = message.u32_at(8)?;
        let of_family = |family| {
            let spec = attributes.value(IFLA_AF_SPEC)?;
            Attributes::within(spec).value(family)
        };
        let (ipv4, ipv6) = (of_family(AF_INET), of_family(AF_INET6));
        let settings4 = ipv4.and_then(|ipv4| Attributes::within(ipv4).value(IFLA_INET_CONF));
        let settings = ipv6.and_then(|ipv6| Attributes::within(ipv6).value(IFLA_INET6_CONF));
        Some(Link {
            index: message.u32_at(4)?,
            seen: SeenLink {
                name,
                mac: mac.and_then(|mac| MacAddress::try_from(mac).ok()),
                mtu,
            },
            master: attributes.value(IFLA_MASTER).and_then(u32_of),
            accept_ra: settings
                .and_then(|all| all.get(4 * DEVCONF_ACCEPT_RA..))
                .and_then(u32_of),
            // The array begins with the setting that has the number 1.
            route_localnet: settings4
                .and_then(|all| all.get(4 * (usize::from(IPV4_DEVCONF_ROUTE_LOCALNET) - 1)..))
                .and_then(u32_of)
                .is_some_and(|value| value != 0),
            up: flags & IFF_UP != 0,
            takes: (flags & IFF_PROMISC != 0, flags & IFF_ALLMULTI != 0),
            queue_length: attributes.value(IFLA_TXQLEN).and_then(u32_of),
            other: attributes.value(IFLA_LINK).and_then(u32_of),
            port: attributes.value(IFLA_LINKINFO).and_then(read_port),
            other_names: attributes
                .value(IFLA_PROP_LIST)
                .map(read_other_names)
                .unwrap_or_default(),
            vlan_filtering: attributes.value(IFLA_LINKINFO).is_some_and(vlan::is_filtered),
        })
    }

    /// As it is compared with the records.
    pub(crate) fn interface(&self) -> SeenInterface {
        SeenInterface {
            name: self.seen.name.clone(),
            other_names: self.other_names.clone(),
            index: self.index,
            mac: self.seen.mac,
            mtu: self.seen.mtu,
            up: self.up,
            other: self.other,
            master: self.master,
            port: self.port,
            vlan: None,
            vlan_filtering: self.vlan_filtering,
            accept_ra: self.accept_ra,
            route_localnet: self.route_localnet,
        }
    }
}

/// Every interface.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    let dump = socket.dump(RTM_GETLINK, |m| {
        header(m, 0, 0);
        m.u32(IFLA_EXT_MASK, SKIP_STATS);
    })?;
    Ok(dump.objects().filter_map(|message| Link::read(&message)).collect())
}

/// The interface of this name, if there is one.
pub(crate) fn find(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Link>, NetlinkError> {
    let mut requests = Requests::default();
    requests.push(RTM_GETLINK, 0, |m| {
        header(m, 0, 0);
        m.text(IFLA_IFNAME, name.as_str()).u32(IFLA_EXT_MASK, SKIP_STATS);
    });
    let mut found = None;
    match socket.request(requests, |_, message| found = Link::read(&message)) {
        Err(error) if error.refusal() == Some(Errno::ENODEV) => Ok(None),
        result => result.map(|()| found),
    }
}
