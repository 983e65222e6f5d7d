//! Batches: the transactions of nftables (linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h).

use zdocker_net::firewall::Table;
use zdocker_net::installation::Installation;

use crate::netlink::message::{Requests, Writer};

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u16 = 10;

pub(super) const NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
pub(super) const DELTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 2;
pub(super) const NEWCHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 3;
pub(super) const GETCHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 4;
pub(super) const NEWRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;
pub(super) const GETRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 7;
pub(super) const NEWSET: u16 = NFNL_SUBSYS_NFTABLES << 8 | 9;
pub(super) const GETSET: u16 = NFNL_SUBSYS_NFTABLES << 8 | 10;
pub(super) const NEWSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 12;
pub(super) const GETSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 13;
pub(super) const DELSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 14;

/// The tables of an installation.
pub(crate) const ALL_TABLES: [Table; 2] = [Table::Inet, Table::Bridge];

const NFPROTO_INET: u8 = 1;
const NFPROTO_BRIDGE: u8 = 7;

const NFTA_TABLE_NAME: u16 = 1;

pub(super) fn family(table: Table) -> u8 {
    match table {
        Table::Inet => NFPROTO_INET,
        Table::Bridge => NFPROTO_BRIDGE,
    }
}

/// `struct nfgenmsg`; `resource` is in network byte order.
pub(crate) fn header(m: &mut Writer, family: u8, resource: u16) {
    let [high, low] = resource.to_be_bytes();
    m.raw(&[family, 0, high, low]);
}

/// Opens a transaction; what is pushed up to [`end`] takes effect all or not at all.
pub(crate) fn begin(requests: &mut Requests) -> usize {
    requests.push_unanswered(NFNL_MSG_BATCH_BEGIN, 0, |m| header(m, 0, NFNL_SUBSYS_NFTABLES))
}

/// Closes a transaction.
pub(crate) fn end(requests: &mut Requests) -> usize {
    requests.push_unanswered(NFNL_MSG_BATCH_END, 0, |m| header(m, 0, NFNL_SUBSYS_NFTABLES))
}

/// Pushes a request about something in one of an installation's tables.
pub(super) fn push(
    requests: &mut Requests,
    (kind, flags): (u16, u16),
    (whose, table): (&Installation, Table),
    payload: impl FnOnce(&mut Writer),
) {
    requests.push(kind, flags, |m| {
        header(m, family(table), 0);
        // The table's name is attribute 1 of every kind of message.
        m.text(NFTA_TABLE_NAME, whose.table());
        payload(m);
    });
}
