//! Elements of our maps and sets as the kernel gives them back: the inverse of [`super::element`].

use std::net::{IpAddr, SocketAddr};

use zdocker_net::firewall::Element;
use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::ports::Protocol;
use zdocker_net::subnet::{Family, Subnet};

use super::element::{INTERVAL_END, following};
use super::expr::nfproto;
use crate::netlink::address::address_of;

/// `NF_ACCEPT`, the only verdict that a map of ours gives.
const ACCEPT: u32 = 1;

/// An element as bytes.
pub(super) struct RawElement {
    pub(super) key: Vec<u8>,
    /// The end of an interval, where the set is one of concatenated intervals.
    pub(super) key_end: Option<Vec<u8>>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) verdict: Option<u32>,
    /// `NFTA_SET_ELEM_FLAGS`
    pub(super) flags: u32,
}

/// The elements of the set or map of this name; `None` if one cannot be ours.
pub(super) fn elements(set: &str, raw: Vec<RawElement>) -> Option<Vec<Element>> {
    match set {
        "masq4" | "masq6" | "snat4" | "snat6" => intervals(raw),
        _ => raw.iter().map(|raw| element(set, raw)).collect(),
    }
}

fn element(set: &str, raw: &RawElement) -> Option<Element> {
    let (family, words) = match set {
        "pub4" | "pub4any" | "open4" | "same4" | "pins4" => (Family::V4, 4),
        _ => (Family::V6, 16),
    };
    let mut key = Key(&raw.key);
    let element = match set {
        "pub4any" | "pub6any" => Element::PublishAny {
            protocol: key.protocol()?,
            port: key.port()?,
            to: socket_address(raw.data.as_deref()?, words)?,
        },
        "pub4" | "pub6" => Element::PublishAt {
            address: key.address(words)?,
            protocol: key.protocol()?,
            port: key.port()?,
            to: socket_address(raw.data.as_deref()?, words)?,
        },
        "open4" | "open6" => Element::Open {
            address: key.address(words)?,
            protocol: key.protocol()?,
            port: key.port()?,
        },
        "same4" | "same6" => {
            let mut last = Key(raw.key_end.as_deref()?);
            let first = subnet(key.address(words)?, last.address(words)?, family)?;
            let second = subnet(key.address(words)?, last.address(words)?, family)?;
            Element::Same(first, second)
        }
        "bridges" => Element::Bridge(key.name()?),
        "internal" => Element::Internal(key.name()?),
        "strict" => Element::Strict(key.name()?),
        "mutual" => Element::Mutual(key.name()?),
        "tolerant" => Element::Tolerant(key.name()?),
        "free" => Element::Free(key.name()?),
        "routed" => Element::Routed(key.family()?, key.name()?),
        "unprotected" => Element::Unprotected(key.family()?, key.name()?),
        "trusted" => Element::Trusted {
            from: key.name()?,
            bridge: key.name()?,
        },
        "apart" => {
            let (from, to) = (key.name()?, key.name()?);
            (from == to).then_some(Element::Apart(from))?
        }
        "links" => {
            let (from, to) = (key.name()?, key.name()?);
            (from == to && raw.verdict == Some(ACCEPT)).then_some(Element::Within(from))?
        }
        "pins4" | "pins6" => Element::Pin {
            port: key.name()?,
            mac: key.mac()?,
            address: key.address(words)?,
        },
        "targets6" => Element::Target {
            port: key.name()?,
            address: match key.address(16)? {
                IpAddr::V6(address) => address,
                IpAddr::V4(_) => return None,
            },
        },
        _ => return None,
    };
    Some(element)
}

/// What is left of a key.
struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn address(&mut self, length: usize) -> Option<IpAddr> {
        address_of(self.take(length)?)
    }

    fn protocol(&mut self) -> Option<Protocol> {
        let number = *self.take(4)?.first()?;
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| protocol.number() == number)
    }

    fn port(&mut self) -> Option<u16> {
        let bytes = self.take(4)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*bytes)).filter(|port| *port > 0)
    }

    fn family(&mut self) -> Option<Family> {
        let number = *self.take(4)?.first()?;
        [Family::V4, Family::V6]
            .into_iter()
            .find(|family| nfproto(*family) == number)
    }

    fn name(&mut self) -> Option<InterfaceName> {
        let bytes = self.take(16)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()
    }

    fn mac(&mut self) -> Option<MacAddress> {
        let bytes = self.take(8)?.first_chunk::<6>()?;
        MacAddress::try_from(*bytes).ok()
    }
}

fn socket_address(data: &[u8], words: usize) -> Option<SocketAddr> {
    let mut data = Key(data);
    let address = data.address(words)?;
    Some(SocketAddr::new(address, data.port()?))
}

/// The subnet from `first` to `last`, if that is one.
fn subnet(first: IpAddr, last: IpAddr, family: Family) -> Option<Subnet> {
    (0..=family.bits())
        .map(|prefix| Subnet::containing(first, prefix))
        .find(|subnet| subnet.address() == first && subnet.last() == last)
}

/// Pairs the limits of intervals: an interval ends before the next limit that is marked as an end, or with the
/// addresses.
fn intervals(mut raw: Vec<RawElement>) -> Option<Vec<Element>> {
    let is_end = |raw: &RawElement| raw.flags & INTERVAL_END != 0;
    raw.sort_by(|a, b| (&a.key, !is_end(a)).cmp(&(&b.key, !is_end(b))));
    let mut elements = Vec::new();
    let mut open: Option<RawElement> = None;
    for limit in raw {
        match (is_end(&limit), open.take()) {
            // What is before the first interval is written as an end, too, by nft.
            (true, None) => {}
            (true, Some(start)) => elements.push(interval(&start, Some(&limit.key))?),
            (false, None) => open = Some(limit),
            // The one before has no end of its own.
            (false, Some(_)) => return None,
        }
    }
    if let Some(start) = open {
        elements.push(interval(&start, None)?);
    }
    Some(elements)
}

fn interval(start: &RawElement, end: Option<&[u8]>) -> Option<Element> {
    let first = address_of(&start.key)?;
    let family = Family::of(first);
    let fits = |subnet: &Subnet| {
        let next = following(subnet.last());
        subnet.address() == first && next == end.and_then(address_of)
    };
    let mut subnets = (0..=family.bits()).map(|prefix| Subnet::containing(first, prefix));
    let subnet = subnets.find(fits)?;
    Some(match start.data.as_deref() {
        None => Element::Masquerade(subnet),
        Some(data) => Element::Outbound {
            subnet,
            address: address_of(data).filter(|address| Family::of(*address) == family)?,
        },
    })
}
