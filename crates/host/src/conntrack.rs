//! Connection tracking: making the kernel forget flows (linux/netfilter/nfnetlink_conntrack.h).
//!
//! The kernel decides a flow's destination by its first packet. A UDP flow that began before its port was published, or
//! unpublished, goes its old way for as long as packets come, so it must be forgotten.

use nix::errno::Errno;
use zdocker_net::ports::Protocol;

use crate::netlink::message::{Attributes, Message, Requests, Writer};
use crate::netlink::{NetlinkError, Socket};
use crate::nft::batch::header;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;
const CT_GET_STATS: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 5;

/// Length of `struct nfgenmsg`.
const HEADER: usize = 4;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_STATUS_MASK: u16 = 26;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;

/// Which fields of the tuple count (`CTA_FILTER_F_*`, net/netfilter/nf_conntrack_netlink.c).
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;

/// `IPS_SRC_NAT` and `IPS_DST_NAT`: the flow's source, its destination was changed.
const SRC_NAT: u32 = 1 << 4;
const DST_NAT: u32 = 1 << 5;

/// Flows to a port of this host are those that nobody masquerades, and those that were sent to a container. What is
/// left out are flows of containers to the same port elsewhere: forgetting them would cut them off from their answers.
const TO_THIS_HOST: [Status; 2] = [
    Status {
        value: 0,
        mask: SRC_NAT,
    },
    Status {
        value: SRC_NAT | DST_NAT,
        mask: SRC_NAT | DST_NAT,
    },
];

/// Flows whose status has this value where the mask has ones.
#[derive(Clone, Copy)]
struct Status {
    value: u32,
    mask: u32,
}

impl Status {
    fn matches(self, status: u32) -> bool {
        status & self.mask == self.value
    }
}

/// The kernel filters one family at a time.
const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];

/// Above so many ports, reading all UDP flows once costs less than having the kernel search for each port.
const SEARCH_EACH: usize = 32;

/// Forgets the UDP flows, of both families, whose first packet went to one of these ports of this host.
pub(crate) fn forget_udp(socket: &mut Socket, ports: &[u16]) -> Result<(), NetlinkError> {
    if ports.is_empty() || count(socket)? == 0 {
        return Ok(());
    }
    if ports.len() <= SEARCH_EACH && delete_matching(socket, ports)? {
        return Ok(());
    }
    delete_found(socket, ports)
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

/// Has the kernel search and delete; `false` if it cannot (before Linux 6.11 a deletion takes no filter).
fn delete_matching(socket: &mut Socket, ports: &[u16]) -> Result<bool, NetlinkError> {
    let mut requests = Requests::default();
    for port in ports {
        for (family, status) in FAMILIES
            .into_iter()
            .flat_map(|f| TO_THIS_HOST.map(|status| (f, status)))
        {
            requests.push(CT_DELETE, 0, |m| {
                header(m, family, 0);
                write_filter(m, Some(*port));
                m.be32(CTA_STATUS, status.value).be32(CTA_STATUS_MASK, status.mask);
            });
        }
    }
    match socket.exchange(requests, |_, _| {})?.into_iter().next() {
        None => Ok(true),
        // Without filters, an older kernel takes the tuple for a whole one that lacks its addresses.
        Some(refusal) if matches!(refusal.errno, Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(false),
        // Nothing was there to be deleted.
        Some(refusal) if refusal.errno == Errno::ENOENT => Ok(true),
        Some(refusal) => Err(NetlinkError::Refused(refusal)),
    }
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

/// Reads all UDP flows, and deletes those to the ports.
fn delete_found(socket: &mut Socket, ports: &[u16]) -> Result<(), NetlinkError> {
    let single = if let [port] = ports { Some(*port) } else { None };
    let mut requests = Requests::default();
    for family in FAMILIES {
        let dump = socket.dump(CT_GET, |m| {
            header(m, family, 0);
            write_filter(m, single);
        })?;
        for flow in dump.objects().filter_map(|message| Flow::read(&message)) {
            if ports.contains(&flow.port) && TO_THIS_HOST.iter().any(|wanted| wanted.matches(flow.status)) {
                flow.push_deletion(&mut requests);
            }
        }
    }
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
    port: u16,
    status: u32,
}

impl<'a> Flow<'a> {
    fn read(message: &Message<'a>) -> Option<Self> {
        let attributes = message.attributes(HEADER);
        let tuple = attributes.value(CTA_TUPLE_ORIG)?;
        let protocol = Attributes::within(Attributes::within(tuple).value(CTA_TUPLE_PROTO)?);
        let port = protocol.value(CTA_PROTO_DST_PORT)?.first_chunk::<2>()?;
        let is_udp = protocol.value(CTA_PROTO_NUM) == Some(&[Protocol::Udp.number()]);
        is_udp.then_some(Flow {
            family: *message.payload.first()?,
            tuple,
            id: attributes.value(CTA_ID)?,
            port: u16::from_be_bytes(*port),
            status: attributes.value(CTA_STATUS).and_then(be32_of)?,
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

fn be32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}
