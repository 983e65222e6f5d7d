//! Rules of policy routing (rtnetlink(7), linux/fib_rules.h).

use std::net::IpAddr;

use zdocker_net::mend::SeenRule;
use zdocker_net::op::RULE_PREFERENCE;
use zdocker_net::subnet::Family;

use super::address::{address_of, family_number, octets};
use super::message::{CREATE, EXCL, Message, Requests, u32_of};
use super::{NetlinkError, Socket};

const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;

/// Length of `struct fib_rule_hdr`.
const HEADER: usize = 12;

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;
/// The table is told by `FRA_TABLE`.
const RT_TABLE_UNSPEC: u8 = 0;
const FR_ACT_TO_TBL: u8 = 1;

/// Has what is sent from an address routed by a table.
pub(crate) fn add(requests: &mut Requests, from: IpAddr, table: u32) -> usize {
    push(requests, (RTM_NEWRULE, CREATE | EXCL), from, table)
}

/// Takes back such a rule.
pub(crate) fn delete(requests: &mut Requests, from: IpAddr, table: u32) -> usize {
    push(requests, (RTM_DELRULE, 0), from, table)
}

fn push(requests: &mut Requests, (kind, flags): (u16, u16), from: IpAddr, table: u32) -> usize {
    let family = Family::of(from);
    requests.push(kind, flags, |m| {
        // `struct fib_rule_hdr`.
        m.raw(&[family_number(family), 0, family.bits(), 0]);
        m.raw(&[RT_TABLE_UNSPEC, 0, 0, FR_ACT_TO_TBL]).raw(&[0; 4]);
        m.attribute(FRA_SRC, &octets(from))
            .u32(FRA_PRIORITY, RULE_PREFERENCE)
            .u32(FRA_TABLE, table);
    })
}

/// The rules for one sender each that are where ours are.
pub(crate) fn ours(socket: &mut Socket) -> Result<Vec<SeenRule>, NetlinkError> {
    let dump = socket.dump(RTM_GETRULE, |m| {
        m.raw(&[0; HEADER]);
    })?;
    Ok(dump.objects().filter_map(|message| read(&message)).collect())
}

fn read(message: &Message<'_>) -> Option<SeenRule> {
    if message.kind != RTM_NEWRULE {
        return None;
    }
    let attributes = message.attributes(HEADER);
    let from = attributes.value(FRA_SRC).and_then(address_of)?;
    let one = message.payload.get(2) == Some(&Family::of(from).bits());
    let ours = attributes.value(FRA_PRIORITY).and_then(u32_of) == Some(RULE_PREFERENCE);
    let table = attributes.value(FRA_TABLE).and_then(u32_of)?;
    (one && ours).then_some(SeenRule { from, table })
}
