//! Loading the fixed part of our firewall: [`super::table`] as one batch.

use zdocker_net::firewall::{Element, Table};
use zdocker_net::installation::Installation;

use super::batch::{DELTABLE, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM, NEWTABLE, begin, end, push};
use super::element::{self, Change, NFTA_SET_ELEM_DATA, write_element, write_list};
use super::expr::{NAMELESS_MAP, NAMELESS_SET, Rule};
use super::table::{self, CT_STATE_BITS, Chain, Gives, IFNAME, INTEGER_16_BYTES, Nameless, Set, Type};
use crate::netlink::message::{APPEND, CREATE, EXCL, Requests, Writer};

const NFT_SET_ANONYMOUS: u32 = 0x1;
const NFT_SET_CONSTANT: u32 = 0x2;
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_CONCAT: u32 = 0x80;

/// The number of a concatenation: six bits for each part.
fn type_number(parts: &[Type]) -> u32 {
    parts.iter().fold(0, |number, part| number << 6 | part.0)
}

/// The length of a concatenation: each part is padded to whole registers. One part alone is not.
fn type_length(parts: &[Type]) -> u32 {
    match parts {
        [single] => single.1,
        parts => parts.iter().map(|part| part.1.next_multiple_of(4)).sum(),
    }
}

/// A batch that creates the tables; refused with `EEXIST` where one of them is there.
pub(crate) fn create(whose: &Installation, tables: &[Table]) -> Requests {
    let mut requests = Requests::default();
    begin(&mut requests);
    tables
        .iter()
        .for_each(|table| push_table(&mut requests, (whose, *table)));
    end(&mut requests);
    requests
}

/// A batch that replaces the tables, where they are there, by new ones with these elements.
pub(crate) fn replace(whose: &Installation, tables: &[Table], elements: &[Element]) -> Requests {
    let mut requests = Requests::default();
    begin(&mut requests);
    for table in tables {
        push_deletion(&mut requests, (whose, *table));
        push_table(&mut requests, (whose, *table));
    }
    element::push_all(&mut requests, whose, Change::Add, elements);
    end(&mut requests);
    requests
}

/// A batch that deletes the tables, where they are there.
pub(crate) fn unload(whose: &Installation, tables: &[Table]) -> Requests {
    let mut requests = Requests::default();
    begin(&mut requests);
    tables
        .iter()
        .for_each(|table| push_deletion(&mut requests, (whose, *table)));
    end(&mut requests);
    requests
}

/// Created first, because deleting what is not there would be refused.
fn push_deletion(requests: &mut Requests, table: (&Installation, Table)) {
    push(requests, (NEWTABLE, CREATE), table, |_| {});
    push(requests, (DELTABLE, 0), table, |_| {});
}

fn push_table(requests: &mut Requests, table: (&Installation, Table)) {
    push(requests, (NEWTABLE, CREATE | EXCL), table, |_| {});
    let (sets, nameless, chains) = (
        table::sets(table.1),
        table::nameless(table.1),
        table::chains(table.0, table.1),
    );
    chains.iter().for_each(|chain| push_chain(requests, table, chain));
    for (set, id) in sets.iter().zip(1..) {
        push_set(requests, table, set, id);
    }
    nameless.iter().for_each(|set| push_nameless(requests, table, set));
    for chain in &chains {
        chain
            .rules
            .iter()
            .for_each(|rule| push_rule(requests, table, chain.name, rule));
    }
}

fn push_chain(requests: &mut Requests, table: (&Installation, Table), chain: &Chain) {
    const NFTA_CHAIN_NAME: u16 = 3;
    const NFTA_CHAIN_HOOK: u16 = 4;
    const NFTA_CHAIN_POLICY: u16 = 5;
    const NFTA_CHAIN_TYPE: u16 = 7;
    const NF_ACCEPT: u32 = 1;
    push(requests, (NEWCHAIN, CREATE), table, |m| {
        m.text(NFTA_CHAIN_NAME, chain.name);
        if let Some((kind, hook, priority)) = chain.hook {
            m.text(NFTA_CHAIN_TYPE, kind)
                .be32(NFTA_CHAIN_POLICY, NF_ACCEPT)
                .nested(NFTA_CHAIN_HOOK, |m| {
                    m.be32(1, hook).be32(2, priority as u32);
                });
        }
    });
}

fn push_rule(requests: &mut Requests, table: (&Installation, Table), chain: &str, rule: &Rule) {
    const NFTA_RULE_CHAIN: u16 = 2;
    const NFTA_RULE_EXPRESSIONS: u16 = 4;
    push(requests, (NEWRULE, CREATE | APPEND), table, |m| {
        m.text(NFTA_RULE_CHAIN, chain).nested(NFTA_RULE_EXPRESSIONS, |m| {
            m.raw(rule.as_bytes());
        });
    });
}

const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
/// `NFT_DATA_VERDICT`
const DATA_VERDICT: u32 = 0xffff_ff00;

fn push_set(requests: &mut Requests, table: (&Installation, Table), set: &Set, id: u32) {
    let concatenated_intervals = set.interval && set.key.len() > 1;
    let flags = [
        (set.interval, NFT_SET_INTERVAL),
        (set.gives.is_some(), NFT_SET_MAP),
        (concatenated_intervals, NFT_SET_CONCAT),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
    push(requests, (NEWSET, CREATE), table, |m| {
        m.text(NFTA_SET_NAME, set.name).be32(NFTA_SET_FLAGS, flags);
        m.be32(NFTA_SET_KEY_TYPE, type_number(set.key))
            .be32(NFTA_SET_KEY_LEN, type_length(set.key));
        match &set.gives {
            None => {}
            Some(Gives::Verdict) => {
                m.be32(NFTA_SET_DATA_TYPE, DATA_VERDICT).be32(NFTA_SET_DATA_LEN, 0);
            }
            Some(Gives::Data(data)) => {
                m.be32(NFTA_SET_DATA_TYPE, type_number(data))
                    .be32(NFTA_SET_DATA_LEN, type_length(data));
            }
        }
        m.be32(NFTA_SET_ID, id);
        if concatenated_intervals {
            write_parts(m, set.key);
        }
        if set.key.contains(&INTEGER_16_BYTES) {
            m.attribute(NFTA_SET_USERDATA, &TYPEOF_IIFNAME_AND_ND_TARGET);
        } else {
            m.attribute(NFTA_SET_USERDATA, &key_byte_order(set.key));
        }
    });
}

/// Where the parts of a key end, which a set of intervals must know.
fn write_parts(m: &mut Writer, key: &[Type]) {
    const NFTA_SET_DESC_CONCAT: u16 = 2;
    m.nested(NFTA_SET_DESC, |m| {
        m.nested(NFTA_SET_DESC_CONCAT, |m| {
            for part in key {
                m.nested(1, |m| {
                    m.be32(1, part.1);
                });
            }
        });
    });
}

/// What `nft` keeps with a set for itself (`NFTNL_UDATA_SET_KEYBYTEORDER`, libnftnl/udata.h): 1 for the machine's byte
/// order, 2 for the network's, 0 for several parts. Without it, `nft list` would print keys the wrong way round.
fn key_byte_order(key: &[Type]) -> [u8; 6] {
    let order = match key {
        [IFNAME | CT_STATE_BITS] => 1,
        [_] => 2,
        _ => 0,
    };
    [0, 4, order, 0, 0, 0]
}

/// The same for `typeof iifname . @th,64,128`, a key that has no type of its own and that `nft` therefore describes by
/// two expressions (`NFTNL_UDATA_SET_KEY_TYPEOF`).
#[rustfmt::skip]
const TYPEOF_IIFNAME_AND_ND_TARGET: [u8; 72] = [
    0, 4, 0, 0, 0, 0,
    3, 64, 0, 4, 13, 0, 0, 0, 1, 56,
    0, 14, 0, 4, 9, 0, 0, 0, 1, 6, 0, 4, 6, 0, 0, 0,
    1, 38, 0, 4, 7, 0, 0, 0, 1, 30,
    0, 4, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 2, 4, 3, 0, 0, 0, 3, 4, 64, 0, 0, 0, 4, 4, 128, 0, 0, 0,
];

fn push_nameless(requests: &mut Requests, table: (&Installation, Table), set: &Nameless) {
    const NFTA_SET_DESC_SIZE: u16 = 1;
    const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
    let is_map = set.elements.iter().any(|(_, verdict)| verdict.is_some());
    let (name, map_flag) = if is_map {
        (NAMELESS_MAP, NFT_SET_MAP)
    } else {
        (NAMELESS_SET, 0)
    };
    push(requests, (NEWSET, CREATE), table, |m| {
        m.text(NFTA_SET_NAME, name)
            .be32(NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | map_flag);
        m.be32(NFTA_SET_KEY_TYPE, set.key.0).be32(NFTA_SET_KEY_LEN, set.key.1);
        if is_map {
            m.be32(NFTA_SET_DATA_TYPE, DATA_VERDICT).be32(NFTA_SET_DATA_LEN, 0);
        }
        m.be32(NFTA_SET_ID, set.id).nested(NFTA_SET_DESC, |m| {
            m.be32(NFTA_SET_DESC_SIZE, set.elements.len() as u32);
        });
        m.attribute(NFTA_SET_USERDATA, &key_byte_order(&[set.key]));
    });
    push(requests, (NEWSETELEM, CREATE), table, |m| {
        m.text(NFTA_SET_NAME, name).be32(NFTA_SET_ELEM_LIST_SET_ID, set.id);
        write_list(m, |m| {
            for (key, verdict) in &set.elements {
                write_element(m, key, |m| {
                    if let Some(verdict) = verdict {
                        m.nested(NFTA_SET_ELEM_DATA, |m| verdict.write(m));
                    }
                });
            }
        });
    });
}
