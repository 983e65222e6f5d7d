//! Whether the rules are all there: somebody may have flushed them and left the tables.

use nix::errno::Errno;
use zdocker_net::firewall::Table;
use zdocker_net::installation::Installation;

use super::batch::{ALL_TABLES, GETCHAIN, push};
use super::table;
use crate::netlink::message::{Requests, be32_of};
use crate::netlink::{NetlinkError, Socket};

const NFTA_CHAIN_NAME: u16 = 3;
/// How many rules the chain has, and how many more lead to it.
const NFTA_CHAIN_USE: u16 = 6;

/// Length of `struct nfgenmsg`.
const HEADER: usize = 4;

/// Which of the tables of `whose` are not loaded, or lack a chain or rules. Rules that somebody added are no damage.
pub(crate) fn damaged_tables(socket: &mut Socket, whose: &Installation) -> Result<Vec<Table>, NetlinkError> {
    let mut requests = Requests::default();
    let mut wanted = Vec::new();
    for table in ALL_TABLES {
        for (chain, uses) in table::uses(whose, table) {
            push(&mut requests, (GETCHAIN, 0), (whose, table), |m| {
                m.text(NFTA_CHAIN_NAME, chain);
            });
            wanted.push((table, uses));
        }
    }
    let mut found = vec![0; wanted.len()];
    let refusals = socket.exchange(requests, |position, message| {
        let uses = message.attributes(HEADER).value(NFTA_CHAIN_USE).and_then(be32_of);
        found[position] = uses.unwrap_or_default();
    })?;
    if let Some(refusal) = refusals.into_iter().find(|refusal| refusal.errno != Errno::ENOENT) {
        return Err(NetlinkError::Refused(refusal));
    }
    let mut damaged: Vec<Table> = wanted
        .iter()
        .zip(found)
        .filter(|((_, uses), found)| found < uses)
        .map(|((table, _), _)| *table)
        .collect();
    damaged.dedup();
    Ok(damaged)
}
