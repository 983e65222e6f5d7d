//! Rules of policy routing (rtnetlink(7), linux/fib_rules.h).

use std::net::IpAddr;

use zdocker_net::op::RULE_PREFERENCE;
use zdocker_net::subnet::Family;

use super::address::{family_number, octets};
use super::message::{CREATE, EXCL, Requests};

const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;

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
