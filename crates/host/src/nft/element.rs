//! Elements of our maps and sets as the kernel takes them.
//!
//! A key's or value's parts are each padded to four bytes; numbers are in network byte order.

use std::net::{IpAddr, SocketAddr};

use zdocker_net::firewall::Element;
use zdocker_net::installation::Installation;
use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::ports::Protocol;
use zdocker_net::subnet::Subnet;

use super::batch::{DELSETELEM, NEWSETELEM, push};
use super::expr::{Verdict, nfproto};
use crate::netlink::address::octets;
use crate::netlink::message::{CREATE, Requests, Writer};

const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
pub(super) const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_DATA_VALUE: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`
pub(super) const INTERVAL_END: u32 = 1;

/// How many elements go into one message: the list is one attribute, so it must stay below 65,535 bytes, and no element
/// of ours takes more than 120.
const ELEMENTS_AT_ONCE: usize = 500;

/// Whether elements are added or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Those that are there already stay; a key of a map that leads elsewhere makes the batch fail.
    Add,
    /// Those that are not there make the batch fail.
    Delete,
}

/// Pushes the elements into a batch, at most `at_once` of them in one message.
fn push_in_pieces(requests: &mut Requests, whose: &Installation, change: Change, elements: &[Element], at_once: usize) {
    let request = match change {
        Change::Add => (NEWSETELEM, CREATE),
        Change::Delete => (DELSETELEM, 0),
    };
    let same_set = |a: &Element, b: &Element| (a.table(), a.set()) == (b.table(), b.set());
    for piece in elements.chunk_by(same_set).flat_map(|run| run.chunks(at_once)) {
        push(requests, request, (whose, piece[0].table()), |m| {
            m.text(NFTA_SET_ELEM_LIST_SET, piece[0].set());
            write_list(m, |m| piece.iter().for_each(|element| write(m, element, change)));
        });
    }
}

/// Pushes the elements into a batch.
pub(crate) fn push_all(requests: &mut Requests, whose: &Installation, change: Change, elements: &[Element]) {
    push_in_pieces(requests, whose, change, elements, ELEMENTS_AT_ONCE);
}

/// Pushes each element as a message of its own, so that a refusal tells which element it is about.
pub(crate) fn push_each(requests: &mut Requests, whose: &Installation, change: Change, elements: &[Element]) {
    push_in_pieces(requests, whose, change, elements, 1);
}

pub(super) fn write_list(m: &mut Writer, content: impl FnOnce(&mut Writer)) {
    m.nested(NFTA_SET_ELEM_LIST_ELEMENTS, content);
}

/// Writes an element with this key; `more` writes what else there is to it.
pub(super) fn write_element(m: &mut Writer, key: &[u8], more: impl FnOnce(&mut Writer)) {
    m.nested(NFTA_LIST_ELEM, |m| {
        m.nested(NFTA_SET_ELEM_KEY, |m| {
            m.attribute(NFTA_DATA_VALUE, key);
        });
        more(m);
    });
}

fn write(m: &mut Writer, element: &Element, change: Change) {
    match element {
        Element::PublishAny { protocol, port, to } => {
            write_mapping(m, &endpoint_key(None, *protocol, *port), *to, change);
        }
        Element::PublishAt {
            address,
            protocol,
            port,
            to,
        } => {
            write_mapping(m, &endpoint_key(Some(*address), *protocol, *port), *to, change);
        }
        Element::Masquerade(subnet) => write_interval(m, subnet, |_| {}),
        Element::Outbound { subnet, address } => write_interval(m, subnet, |m| {
            if change == Change::Add {
                m.nested(NFTA_SET_ELEM_DATA, |m| {
                    m.attribute(NFTA_DATA_VALUE, &octets(*address));
                });
            }
        }),
        Element::Same(from, to) => {
            let first = [octets(from.address()), octets(to.address())].concat();
            let last = [octets(from.last()), octets(to.last())].concat();
            write_element(m, &first, |m| {
                m.nested(NFTA_SET_ELEM_KEY_END, |m| {
                    m.attribute(NFTA_DATA_VALUE, &last);
                });
            });
        }
        Element::Bridge(name)
        | Element::Internal(name)
        | Element::Strict(name)
        | Element::Mutual(name)
        | Element::Tolerant(name)
        | Element::Free(name) => {
            write_element(m, &padded_name(name), |_| {});
        }
        Element::Routed(family, name) | Element::Unprotected(family, name) => {
            let key = [&[nfproto(*family), 0, 0, 0][..], &padded_name(name)].concat();
            write_element(m, &key, |_| {});
        }
        Element::Apart(name) => write_element(m, &[padded_name(name), padded_name(name)].concat(), |_| {}),
        Element::Trusted { from, bridge } => {
            write_element(m, &[padded_name(from), padded_name(bridge)].concat(), |_| {});
        }
        Element::Open {
            address,
            protocol,
            port,
        } => write_element(m, &endpoint_key(Some(*address), *protocol, *port), |_| {}),
        Element::Within(name) => write_element(m, &[padded_name(name), padded_name(name)].concat(), |m| {
            if change == Change::Add {
                m.nested(NFTA_SET_ELEM_DATA, |m| Verdict::Accept.write(m));
            }
        }),
        Element::Pin { port, mac, address } => {
            let key = [&padded_name(port)[..], &padded_mac(*mac), &octets(*address)].concat();
            write_element(m, &key, |_| {});
        }
        Element::Target { port, address } => {
            write_element(m, &[padded_name(port), address.octets()].concat(), |_| {});
        }
    }
}

/// Writes an element of a set or map of intervals of addresses; `more` writes what else there is to it.
fn write_interval(m: &mut Writer, subnet: &Subnet, more: impl FnOnce(&mut Writer)) {
    write_element(m, &octets(subnet.address()), more);
    // The set is a tree of limits: an interval ends before the next address, and the last one ends with the tree.
    if let Some(next) = following(subnet.last()) {
        write_element(m, &octets(next), |m| {
            m.be32(NFTA_SET_ELEM_FLAGS, INTERVAL_END);
        });
    }
}

/// Writes an element of a map to an address and port; a deletion names the key alone.
fn write_mapping(m: &mut Writer, key: &[u8], to: SocketAddr, change: Change) {
    write_element(m, key, |m| {
        if change == Change::Add {
            let value = [&octets(to.ip())[..], &padded_port(to.port())].concat();
            m.nested(NFTA_SET_ELEM_DATA, |m| {
                m.attribute(NFTA_DATA_VALUE, &value);
            });
        }
    });
}

/// `[address .] protocol . port`
fn endpoint_key(address: Option<IpAddr>, protocol: Protocol, port: u16) -> Vec<u8> {
    let mut key = address.map(octets).unwrap_or_default();
    key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    key.extend_from_slice(&padded_port(port));
    key
}

fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn padded_name(name: &InterfaceName) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    padded
}

fn padded_mac(mac: MacAddress) -> [u8; 8] {
    let mut padded = [0; 8];
    padded[..6].copy_from_slice(&mac.octets());
    padded
}

/// The address after this one; `None` after the last.
pub(super) fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}
