//! The fixed part of our firewall: sets, chains and rules.
//!
//! What they mean is told by [`zdocker_net::firewall::RULESET`], which is the same in nft's language; a test compares
//! what the two load. Chains stand before the rules that go to them.

mod bridge;
mod inet;

use zdocker_net::firewall::Table;
use zdocker_net::installation::Installation;

use super::expr::*;

/// A type of nft's language: its number there (`enum datatypes`, nftables/include/datatype.h) and its length in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Type(pub(super) u32, pub(super) u32);

const NF_PROTO: Type = Type(2, 1);
pub(super) const INTEGER_16_BYTES: Type = Type(4, 16);
const IPV4_ADDR: Type = Type(7, 4);
const IPV6_ADDR: Type = Type(8, 16);
const ETHER_ADDR: Type = Type(9, 6);
pub(super) const ETHER_TYPE_ID: Type = Type(10, 2);
const INET_PROTO: Type = Type(12, 1);
const INET_SERVICE: Type = Type(13, 2);
pub(super) const CT_STATE_BITS: Type = Type(26, 4);
pub(super) const ICMPV6_TYPE_ID: Type = Type(29, 1);
pub(super) const IFNAME: Type = Type(41, 16);

/// What a map gives for a key.
pub(super) enum Gives {
    Verdict,
    Data(&'static [Type]),
}

/// A set or map.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) key: &'static [Type],
    pub(super) gives: Option<Gives>,
    pub(super) interval: bool,
}

const fn set(name: &'static str, key: &'static [Type]) -> Set {
    Set {
        name,
        key,
        gives: None,
        interval: false,
    }
}

const fn interval_set(name: &'static str, key: &'static [Type]) -> Set {
    Set {
        name,
        key,
        gives: None,
        interval: true,
    }
}

/// A map from intervals to one value each.
const fn interval_map(name: &'static str, key: &'static [Type], data: &'static [Type]) -> Set {
    Set {
        name,
        key,
        gives: Some(Gives::Data(data)),
        interval: true,
    }
}

const fn map(name: &'static str, key: &'static [Type], gives: Gives) -> Set {
    Set {
        name,
        key,
        gives: Some(gives),
        interval: false,
    }
}

/// Where a chain is called from: type, hook and priority, as nft names them.
pub(super) type Hook = (&'static str, u32, i32);

/// A chain with its rules; without a hook it is only gone to.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// The hook of both families at which what arrives is seen first (linux/netfilter.h, linux/netfilter_bridge.h).
const PREROUTING: u32 = 0;

const ICMPV6: [u8; 1] = [58];

fn chain(name: &'static str, hook: Option<Hook>, rules: impl IntoIterator<Item = Rule>) -> Chain {
    Chain {
        name,
        hook,
        rules: rules.into_iter().collect(),
    }
}

/// A set or map that a rule spells out; it has a number and no name.
pub(super) struct Nameless {
    /// Apart from the numbers of the named ones.
    pub(super) id: u32,
    pub(super) key: Type,
    /// Each key, for a map with what it gives.
    pub(super) elements: Vec<(Vec<u8>, Option<Verdict>)>,
}

/// The named sets and maps of a table.
pub(super) fn sets(table: Table) -> &'static [Set] {
    match table {
        Table::Inet => &inet::SETS,
        Table::Bridge => &bridge::SETS,
    }
}

/// The sets and maps that the rules of a table spell out.
pub(super) fn nameless(table: Table) -> Vec<Nameless> {
    match table {
        Table::Inet => inet::nameless(),
        Table::Bridge => bridge::nameless(),
    }
}

/// The chains of a table.
pub(super) fn chains(whose: &Installation, table: Table) -> Vec<Chain> {
    match table {
        Table::Inet => inet::chains(),
        Table::Bridge => bridge::chains(whose.port_prefix()),
    }
}

/// How many rules each chain of a table has and, as the kernel counts them together, how many places lead to it.
pub(super) fn uses(whose: &Installation, table: Table) -> Vec<(&'static str, u32)> {
    let (chains, nameless) = (chains(whose, table), nameless(table));
    let by_rules = chains.iter().flat_map(|chain| &chain.rules).filter_map(Rule::goes_to);
    let elements = nameless.iter().flat_map(|set| &set.elements);
    let by_maps = elements.filter_map(|(_, verdict)| verdict.and_then(Verdict::goes_to));
    let ways: Vec<&str> = by_rules.chain(by_maps).collect();
    let uses = |chain: &Chain| chain.rules.len() + ways.iter().filter(|name| **name == chain.name).count();
    chains.iter().map(|chain| (chain.name, uses(chain) as u32)).collect()
}

fn rule() -> Rule {
    Rule::default()
}
