//! Reading our tables back: their structure as bytes to be compared, and their elements.

use std::collections::BTreeMap;

use nix::errno::Errno;
use zdocker_net::firewall::{Element, Table};
use zdocker_net::installation::Installation;

use super::batch::{
    ALL_TABLES, GETCHAIN, GETRULE, GETSET, GETSETELEM, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM, family, header,
};
use super::parse::{self, RawElement};
use super::{load, table};
use crate::netlink::message::{Attributes, Message, be32_of, text_of};
use crate::netlink::{NetlinkError, Socket, Subsystem};

/// Length of `struct nfgenmsg`.
const HEADER: usize = 4;
/// In messages about chains, rules and sets alike.
const TABLE_NAME: u16 = 1;

const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_NAME: u16 = 2;
/// Flags, types and lengths of key and data (`NFTA_SET_FLAGS` to `NFTA_SET_DATA_LEN`).
const NFTA_SET_SHAPE: [u16; 5] = [3, 4, 5, 6, 7];
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;

/// Chains, rules, sets, and the elements of sets that rules spell out, each as a line of bytes; rules in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Structure {
    /// By table and name: hook, policy and type.
    chains: BTreeMap<(u8, String), Vec<Option<Vec<u8>>>>,
    /// By table and chain: the expressions of each.
    rules: BTreeMap<(u8, String), Vec<Vec<u8>>>,
    /// By table and name.
    sets: BTreeMap<(u8, String), Vec<Option<Vec<u8>>>>,
    /// By table and set: sorted.
    spelled_out: BTreeMap<(u8, String), Vec<Vec<u8>>>,
}

/// What the kernel shows of the tables of `whose` when they have just been loaded. To be called in a network namespace
/// of its own.
pub(crate) fn of_fresh_tables(whose: &Installation) -> Result<Structure, NetlinkError> {
    let mut socket = Socket::open(Subsystem::Netfilter)?;
    socket.request(load::replace(whose, &ALL_TABLES, &[]), |_, _| {})?;
    structure(&mut socket, whose)
}

/// What the kernel shows of the tables of `whose`.
pub(crate) fn structure(socket: &mut Socket, whose: &Installation) -> Result<Structure, NetlinkError> {
    let mut structure = Structure::default();
    for table in ALL_TABLES {
        let number = family(table);
        let name = |message: &Message<'_>, kind| {
            let text = message.attributes(HEADER).value(kind).map(text_of);
            (number, text.unwrap_or_default())
        };
        let values = |message: &Message<'_>, kinds: &[u16]| {
            let attributes = message.attributes(HEADER);
            kinds
                .iter()
                .map(|kind| attributes.value(*kind).map(<[u8]>::to_vec))
                .collect::<Vec<_>>()
        };
        each(socket, (GETCHAIN, NEWCHAIN), (whose, table), |message| {
            let shape = [NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE];
            structure
                .chains
                .insert(name(message, NFTA_CHAIN_NAME), values(message, &shape));
        })?;
        each(socket, (GETRULE, NEWRULE), (whose, table), |message| {
            let expressions = message.attributes(HEADER).value(NFTA_RULE_EXPRESSIONS);
            let rules = structure.rules.entry(name(message, NFTA_RULE_CHAIN)).or_default();
            rules.push(expressions.unwrap_or_default().to_vec());
        })?;
        let mut nameless = Vec::new();
        each(socket, (GETSET, NEWSET), (whose, table), |message| {
            let name = name(message, NFTA_SET_NAME);
            if table::sets(table).iter().all(|set| set.name != name.1) {
                nameless.push(name.1.clone());
            }
            structure.sets.insert(name, values(message, &NFTA_SET_SHAPE));
        })?;
        for set in nameless {
            let mut elements = Vec::new();
            each_element(socket, (whose, table), &set, |bytes| elements.push(bytes.to_vec()))?;
            elements.sort();
            structure.spelled_out.insert((number, set), elements);
        }
    }
    Ok(structure)
}

/// Calls `look` for each object of a kind in a table.
fn each(
    socket: &mut Socket,
    (get, new): (u16, u16),
    (whose, table): (&Installation, Table),
    mut look: impl FnMut(&Message<'_>),
) -> Result<(), NetlinkError> {
    let dump = socket.dump(get, |m| {
        header(m, family(table), 0);
        m.text(TABLE_NAME, whose.table());
    });
    let dump = match dump {
        Err(error) if error.refusal() == Some(Errno::ENOENT) => return Ok(()),
        dump => dump?,
    };
    // Not every kind can be asked for by table.
    let ours = dump.objects().filter(|message| {
        let name = message.attributes(HEADER).value(TABLE_NAME).map(text_of);
        message.kind == new && message.payload.first() == Some(&family(table)) && name.as_deref() == Some(whose.table())
    });
    ours.for_each(|message| look(&message));
    Ok(())
}

/// Calls `look` with each element of a set.
fn each_element(
    socket: &mut Socket,
    (whose, table): (&Installation, Table),
    set: &str,
    mut look: impl FnMut(&[u8]),
) -> Result<(), NetlinkError> {
    let dump = socket.dump(GETSETELEM, |m| {
        header(m, family(table), 0);
        m.text(TABLE_NAME, whose.table()).text(NFTA_SET_ELEM_LIST_SET, set);
    });
    let dump = match dump {
        Err(error) if error.refusal() == Some(Errno::ENOENT) => return Ok(()),
        dump => dump?,
    };
    for message in dump.objects().filter(|message| message.kind == NEWSETELEM) {
        if let Some(list) = message.attributes(HEADER).value(NFTA_SET_ELEM_LIST_ELEMENTS) {
            Attributes::within(list).for_each(|(_, element)| look(element));
        }
    }
    Ok(())
}

/// Every element of our named sets and maps; `None` if there is one that can be none of ours.
pub(crate) fn elements(socket: &mut Socket, whose: &Installation) -> Result<Option<Vec<Element>>, NetlinkError> {
    let mut all = Vec::new();
    for table in ALL_TABLES {
        for set in table::sets(table) {
            let mut raw = Vec::new();
            each_element(socket, (whose, table), set.name, |bytes| raw.push(read_raw(bytes)))?;
            let elements = raw.into_iter().collect::<Option<Vec<_>>>();
            let Some(elements) = elements.and_then(|raw| parse::elements(set.name, raw)) else {
                return Ok(None);
            };
            all.extend(elements);
        }
    }
    Ok(Some(all))
}

fn read_raw(bytes: &[u8]) -> Option<RawElement> {
    const KEY: u16 = 1;
    const DATA: u16 = 2;
    const FLAGS: u16 = 3;
    const KEY_END: u16 = 10;
    const VALUE: u16 = 1;
    const VERDICT: u16 = 2;
    const VERDICT_CODE: u16 = 1;
    let attributes = Attributes::within(bytes);
    let value = |kind| {
        let data = attributes.value(kind)?;
        Attributes::within(data).value(VALUE).map(<[u8]>::to_vec)
    };
    let verdict = attributes.value(DATA).and_then(|data| {
        let verdict = Attributes::within(data).value(VERDICT)?;
        Attributes::within(verdict).value(VERDICT_CODE).and_then(be32_of)
    });
    Some(RawElement {
        key: value(KEY)?,
        key_end: value(KEY_END),
        data: value(DATA),
        verdict,
        flags: attributes.value(FLAGS).and_then(be32_of).unwrap_or_default(),
    })
}
