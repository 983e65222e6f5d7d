//! IP addresses of interfaces (rtnetlink(7), linux/if_addr.h).

use std::net::IpAddr;

use zdocker_net::model::InterfaceAddress;
use zdocker_net::subnet::{Family, Subnet};

use super::message::{CREATE, EXCL, Requests};
use super::{NetlinkError, Socket};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

/// Length of `struct ifaddrmsg`.
const HEADER: usize = 8;
/// The address, or on a point-to-point interface the other side's.
const IFA_ADDRESS: u16 = 1;
/// The interface's own address.
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// No duplicate address detection: the address can be used at once.
const IFA_F_NODAD: u32 = 2;

/// The number of the address family, as headers have it.
pub(super) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    }
}

/// The bytes of an address as they go over the wire.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address of 4 or 16 bytes.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Gives the interface an address; in IPv4 with the subnet's broadcast address, in IPv6 without duplicate address
/// detection.
pub(crate) fn add(requests: &mut Requests, index: u32, address: IpAddr, prefix: u8) -> usize {
    let family = Family::of(address);
    requests.push(RTM_NEWADDR, CREATE | EXCL, |m| {
        m.raw(&[family_number(family), prefix, 0, 0]).raw(&index.to_ne_bytes());
        m.attribute(IFA_LOCAL, &octets(address))
            .attribute(IFA_ADDRESS, &octets(address));
        match family {
            // Point-to-point subnets have no broadcast address (RFC 3021).
            Family::V4 if prefix < 31 => {
                m.attribute(IFA_BROADCAST, &octets(Subnet::containing(address, prefix).last()))
            }
            Family::V4 => m,
            Family::V6 => m.u32(IFA_FLAGS, IFA_F_NODAD),
        };
    })
}

/// Takes an address from the interface.
pub(crate) fn delete(requests: &mut Requests, index: u32, address: IpAddr, prefix: u8) -> usize {
    requests.push(RTM_DELADDR, 0, |m| {
        m.raw(&[family_number(Family::of(address)), prefix, 0, 0])
            .raw(&index.to_ne_bytes());
        m.attribute(IFA_LOCAL, &octets(address));
    })
}

/// An address that is there.
pub(crate) struct Address {
    /// Of the interface that bears it.
    pub(crate) index: u32,
    /// The address itself.
    pub(crate) own: InterfaceAddress,
    /// The subnet that is reached by it directly.
    pub(crate) subnet: Subnet,
}

/// The addresses of one interface.
pub(crate) fn of(socket: &mut Socket, index: u32) -> Result<Vec<IpAddr>, NetlinkError> {
    let own = all(socket)?.into_iter().filter(|address| address.index == index);
    Ok(own.map(|address| address.own.address).collect())
}

/// Every address of every interface.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Address>, NetlinkError> {
    let dump = socket.dump(RTM_GETADDR, |m| {
        m.raw(&[0; HEADER]);
    })?;
    let read = dump
        .objects()
        .filter(|message| message.kind == RTM_NEWADDR)
        .filter_map(|message| {
            let attributes = message.attributes(HEADER);
            let near = attributes.value(IFA_LOCAL).and_then(address_of);
            let far = attributes.value(IFA_ADDRESS).and_then(address_of);
            let prefix = *message.payload.get(1)?;
            Some(Address {
                index: message.u32_at(4)?,
                own: InterfaceAddress {
                    address: near.or(far)?,
                    prefix,
                },
                subnet: Subnet::containing(far.or(near)?, prefix),
            })
        });
    Ok(read.collect())
}
