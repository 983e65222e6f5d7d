//! Routes (rtnetlink(7), linux/rtnetlink.h).

use std::net::IpAddr;

use zdocker_net::model::{self, RouteKind};
use zdocker_net::subnet::{Family, Subnet};

use super::address::{address_of, family_number, octets};
use super::message::{Attributes, CREATE, Message, REPLACE, Requests, u32_of};
use super::{NetlinkError, Socket};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

/// Length of `struct rtmsg`.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;

/// The table is told by `RTA_TABLE`.
const RT_TABLE_UNSPEC: u8 = 0;
const RT_TABLE_MAIN: u8 = 254;
/// Set up by a user's command, as `ip route add` marks it.
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
/// Routes that lead nothing on.
const RTN_NOWHERE: [(u8, RouteKind); 3] = [
    (6, RouteKind::Blackhole),
    (7, RouteKind::Unreachable),
    (8, RouteKind::Prohibit),
];
/// Attribute types within `RTA_METRICS`.
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
/// Addresses of the host itself, and what follows from them (`RTN_LOCAL` to `RTN_MULTICAST`).
const RTN_OF_THE_HOST: std::ops::RangeInclusive<u8> = 2..=5;

/// Adds a route to a table, the main one if none is named, in place of one to the same destination of the same metric,
/// or before it. There, one that is the same in all is refused with `EEXIST`. `index` is the interface's, which a route
/// that is not bound to it does without.
pub(crate) fn add(requests: &mut Requests, route: &model::Route, index: u32, table: Option<u32>) -> usize {
    let flags = if route.beside { CREATE } else { CREATE | REPLACE };
    push(requests, (RTM_NEWROUTE, flags), route, index, table)
}

/// Deletes a route.
pub(crate) fn delete(requests: &mut Requests, route: &model::Route, index: u32, table: Option<u32>) -> usize {
    push(requests, (RTM_DELROUTE, 0), route, index, table)
}

fn push(
    requests: &mut Requests,
    (kind, flags): (u16, u16),
    route: &model::Route,
    index: u32,
    table: Option<u32>,
) -> usize {
    let (destination, leads_on) = (route.destination, route.kind.is_unicast());
    let family = family_number(destination.family());
    let scope = if route.via.is_some() || !leads_on || destination.family() == Family::V6 {
        RT_SCOPE_UNIVERSE
    } else {
        RT_SCOPE_LINK
    };
    let nowhere = RTN_NOWHERE.iter().find(|(_, kind)| *kind == route.kind);
    let number = nowhere.map_or(RTN_UNICAST, |(number, _)| *number);
    requests.push(kind, flags, |m| {
        m.raw(&[family, destination.prefix(), 0, 0]);
        m.raw(&[RT_TABLE_UNSPEC, RTPROT_BOOT, scope, number]).raw(&[0; 4]);
        m.u32(RTA_TABLE, table.unwrap_or(RT_TABLE_MAIN.into()));
        if destination.prefix() > 0 {
            m.attribute(RTA_DST, &octets(destination.address()));
        }
        if let Some(metric) = route.metric {
            m.u32(RTA_PRIORITY, metric);
        }
        let sizes = [(RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)];
        if sizes.iter().any(|(_, size)| size.is_some()) {
            m.nested(RTA_METRICS, |m| {
                sizes.iter().for_each(|(kind, size)| {
                    if let Some(size) = size {
                        m.u32(*kind, *size);
                    }
                });
            });
        }
        if let Some(via) = route.via.filter(|_| leads_on) {
            m.attribute(RTA_GATEWAY, &octets(via));
        }
        if route.is_bound() {
            m.u32(RTA_OIF, index);
        }
    })
}

/// A route that is there.
pub(crate) struct Route {
    pub(crate) destination: Subnet,
    /// The interface that it leaves by, of several the first.
    pub(crate) index: Option<u32>,
    /// Less is better.
    pub(crate) metric: u32,
    /// The neighbour, unless it is reached on the link.
    pub(crate) via: Option<IpAddr>,
    pub(crate) table: u32,
    pub(crate) mtu: Option<u32>,
    pub(crate) advmss: Option<u32>,
    /// `RTN_UNICAST` and the like.
    kind: u8,
}

impl Route {
    /// Whether packets that match no rule of policy routing take it.
    pub(crate) fn in_main_table(&self) -> bool {
        self.table == u32::from(RT_TABLE_MAIN)
    }

    /// What becomes of packets that take it.
    pub(crate) fn kind(&self) -> RouteKind {
        let nowhere = RTN_NOWHERE.iter().find(|(number, _)| *number == self.kind);
        nowhere.map_or(RouteKind::Unicast, |(_, kind)| *kind)
    }

    fn read(message: &Message<'_>) -> Option<Self> {
        let [family, prefix, _, _, table, _, _, kind] = *message.payload.first_chunk::<8>()?;
        if message.kind != RTM_NEWROUTE {
            return None;
        }
        let family = [Family::V4, Family::V6]
            .into_iter()
            .find(|f| family_number(*f) == family)?;
        let attributes = message.attributes(HEADER);
        let destination = attributes
            .value(RTA_DST)
            .and_then(address_of)
            .unwrap_or(family.unspecified());
        // The first `struct rtnexthop` of several: length, flags, hops, then the index.
        let several = attributes
            .value(RTA_MULTIPATH)
            .and_then(|hops| hops.get(4..))
            .and_then(u32_of);
        let size = |kind| {
            let sizes = attributes.value(RTA_METRICS)?;
            Attributes::within(sizes).value(kind).and_then(u32_of)
        };
        Some(Route {
            destination: Subnet::containing(destination, prefix),
            index: attributes.value(RTA_OIF).and_then(u32_of).or(several),
            metric: attributes.value(RTA_PRIORITY).and_then(u32_of).unwrap_or(0),
            via: attributes.value(RTA_GATEWAY).and_then(address_of),
            table: attributes.value(RTA_TABLE).and_then(u32_of).unwrap_or(table.into()),
            mtu: size(RTAX_MTU),
            advmss: size(RTAX_ADVMSS),
            kind,
        })
    }
}

fn dump(socket: &mut Socket) -> Result<Vec<Route>, NetlinkError> {
    let dump = socket.dump(RTM_GETROUTE, |m| {
        m.raw(&[0; HEADER]);
    })?;
    Ok(dump.objects().filter_map(|message| Route::read(&message)).collect())
}

/// Every route of every table, but those to the host's own addresses.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Route>, NetlinkError> {
    let mut routes = dump(socket)?;
    routes.retain(|route| !RTN_OF_THE_HOST.contains(&route.kind));
    Ok(routes)
}

/// What is this host itself: its addresses, and `127.0.0.0/8` (`fib daddr type local` of our rules).
pub(crate) fn local(socket: &mut Socket) -> Result<Vec<Subnet>, NetlinkError> {
    let routes = dump(socket)?.into_iter().filter(|route| route.kind == RTN_LOCAL);
    Ok(routes.map(|route| route.destination).collect())
}
