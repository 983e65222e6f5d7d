//! Connection tracking: making the kernel forget flows (linux/netfilter/nfnetlink_conntrack.h).
//!
//! The kernel decides a flow's destination by its first packet. A UDP flow that began before its port was published, or
//! unpublished, goes its old way for as long as packets come, so it must be forgotten.

use std::collections::HashMap;
use std::net::IpAddr;

use nix::errno::Errno;
use zdocker_net::op::HostPort;
use zdocker_net::ports::Protocol;
use zdocker_net::subnet::Subnet;

use crate::netlink::address::address_of;
use crate::netlink::message::{Attributes, Message, Requests, Writer, be32_of};
use crate::netlink::{Dump, NetlinkError, Socket};
use crate::nft::batch::header;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;
const CT_GET_STATS: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 5;

/// Length of `struct nfgenmsg`.
const HEADER: usize = 4;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_DST: u16 = 4;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;

/// Which fields of the tuple count (`CTA_FILTER_F_*`, net/netfilter/nf_conntrack_netlink.c).
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;

/// The kernel filters one family at a time.
const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];

/// Forgets the UDP flows, of both families, whose first packet went to one of these ports of this host. `local` gives
/// the host's addresses; it is asked when there are flows to the ports.
///
/// What is left out are flows to the same port elsewhere, of this host and of containers: forgetting them would cut
/// them off from their answers.
pub(crate) fn forget_udp(
    socket: &mut Socket,
    ports: &[HostPort],
    local: impl FnOnce() -> Result<Vec<Subnet>, NetlinkError>,
) -> Result<(), NetlinkError> {
    if ports.is_empty() || count(socket)? == 0 {
        return Ok(());
    }
    let dumps = FAMILIES.map(|family| {
        socket.dump(CT_GET, |m| {
            header(m, family, 0);
            write_filter(m, single(ports));
        })
    });
    let dumps = dumps.into_iter().collect::<Result<Vec<Dump>, _>>()?;
    let messages = dumps.iter().flat_map(Dump::objects);
    let mut by_port: HashMap<u16, Vec<&HostPort>> = HashMap::new();
    for port in ports {
        by_port.entry(port.port).or_default().push(port);
    }
    let is_meant = |flow: &Flow| {
        let candidates = by_port.get(&flow.port);
        candidates.is_some_and(|ports| ports.iter().any(|port| port.takes(flow.to, flow.port)))
    };
    let mut flows: Vec<Flow> = messages
        .filter_map(|message| Flow::read(&message))
        .filter(is_meant)
        .collect();
    if flows.is_empty() {
        return Ok(());
    }
    let local = local()?;
    flows.retain(|flow| local.iter().any(|subnet| subnet.contains(flow.to)));
    delete(socket, &flows)
}

/// The only port number of `ports`, if there is but one; then the kernel leaves out other flows.
fn single(ports: &[HostPort]) -> Option<u16> {
    let (first, rest) = ports.split_first()?;
    rest.iter().all(|port| port.port == first.port).then_some(first.port)
}

/// How many flows this network namespace has. Cheap, where reading the flows walks the table of the whole machine.
fn count(socket: &mut Socket) -> Result<u32, NetlinkError> {
    let mut requests = Requests::default();
    requests.push(CT_GET_STATS, 0, |m| header(m, 0, 0));
    let mut count = None;
    socket.request(requests, |_, message| {
        let value = message.attributes(HEADER).value(CTA_STATS_GLOBAL_ENTRIES);
        count = value.and_then(be32_of).or(count);
    })?;
    // A kernel that does not say has some, as far as we know.
    Ok(count.unwrap_or(u32::MAX))
}

/// Matches UDP flows, by the port that their first packet went to.
fn write_filter(m: &mut Writer, port: Option<u16>) {
    m.nested(CTA_TUPLE_ORIG, |m| {
        m.nested(CTA_TUPLE_PROTO, |m| {
            m.u8(CTA_PROTO_NUM, Protocol::Udp.number());
            if let Some(port) = port {
                m.attribute(CTA_PROTO_DST_PORT, &port.to_be_bytes());
            }
        });
    });
    let port_counts = if port.is_some() { FILTER_PROTO_DST_PORT } else { 0 };
    m.nested(CTA_FILTER, |m| {
        m.u32(CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM | port_counts)
            .u32(CTA_FILTER_REPLY_FLAGS, 0);
    });
}

fn delete(socket: &mut Socket, flows: &[Flow<'_>]) -> Result<(), NetlinkError> {
    let mut requests = Requests::default();
    flows.iter().for_each(|flow| flow.push_deletion(&mut requests));
    // ENOENT: the flow ended meanwhile.
    let refusals = socket.exchange(requests, |_, _| {})?;
    match refusals.into_iter().find(|refusal| refusal.errno != Errno::ENOENT) {
        Some(refusal) => Err(NetlinkError::Refused(refusal)),
        None => Ok(()),
    }
}

/// A flow that was read.
struct Flow<'a> {
    family: u8,
    /// The attribute that names it.
    tuple: &'a [u8],
    /// Tells it from a later flow of the same addresses.
    id: &'a [u8],
    /// Where its first packet went.
    to: IpAddr,
    port: u16,
}

impl<'a> Flow<'a> {
    fn read(message: &Message<'a>) -> Option<Self> {
        let attributes = message.attributes(HEADER);
        let tuple = attributes.value(CTA_TUPLE_ORIG)?;
        let protocol = Attributes::within(Attributes::within(tuple).value(CTA_TUPLE_PROTO)?);
        let addresses = Attributes::within(Attributes::within(tuple).value(CTA_TUPLE_IP)?);
        let to = addresses.value(CTA_IP_V4_DST).or(addresses.value(CTA_IP_V6_DST));
        let port = protocol.value(CTA_PROTO_DST_PORT)?.first_chunk::<2>()?;
        let is_udp = protocol.value(CTA_PROTO_NUM) == Some(&[Protocol::Udp.number()]);
        is_udp.then_some(Flow {
            family: *message.payload.first()?,
            tuple,
            id: attributes.value(CTA_ID)?,
            to: to.and_then(address_of)?,
            port: u16::from_be_bytes(*port),
        })
    }

    fn push_deletion(&self, requests: &mut Requests) {
        requests.push(CT_DELETE, 0, |m| {
            header(m, self.family, 0);
            m.nested(CTA_TUPLE_ORIG, |m| {
                m.raw(self.tuple);
            });
            m.attribute(CTA_ID, self.id);
        });
    }
}
