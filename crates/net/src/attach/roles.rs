//! Which of a container's networks gives the way out, and by which its answers leave.

use crate::model::{Driver, Network};
use crate::subnet::Family;

/// The first of the routing tables that answers leave by, beyond those that the kernel and others number (rt_tables).
const FIRST_REPLY_TABLE: u32 = 1000;

/// A network that a container is on, as far as the choice depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The network.
    pub network: &'a Network,
    /// The highest gives the default route; of equals the first.
    pub priority: i32,
    /// The routing table of its answers, if it has one already.
    pub reply_table: Option<u32>,
}

/// What a network is to a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// The families whose default route it gives.
    pub default_route: Vec<Family>,
    /// Whether the container's published ports lead to the endpoint on it.
    pub publishes: bool,
    /// The routing table by which answers leave to what came in by this network; needed by none that is alone, or that
    /// has no way out.
    pub reply_table: Option<u32>,
}

/// What each of a container's networks is to it, in their order.
pub fn roles(members: &[Member]) -> Vec<Role> {
    let mut ranked: Vec<usize> = (0..members.len()).collect();
    ranked.sort_by_key(|number| std::cmp::Reverse(members[*number].priority));
    let gives = |family: Family| {
        let way_out = |number: &&usize| members[**number].network.gives_default_route(family);
        ranked.iter().find(way_out).copied()
    };
    let (v4, v6) = (gives(Family::V4), gives(Family::V6));
    let is_open = |number: &&usize| publishes(members[**number].network);
    let publisher = ranked.iter().find(is_open).copied();
    let mut tables: Vec<u32> = members.iter().filter_map(|member| member.reply_table).collect();
    let role = |(number, member): (usize, &Member)| {
        let has_way_out = [Family::V4, Family::V6]
            .into_iter()
            .any(|family| member.network.gives_default_route(family));
        let needs_table = members.len() > 1 && has_way_out;
        let reply_table = member
            .reply_table
            .or_else(|| needs_table.then(|| take_free_table(&mut tables)));
        Role {
            default_route: [(v4, Family::V4), (v6, Family::V6)]
                .into_iter()
                .filter(|(giver, _)| *giver == Some(number))
                .map(|(_, family)| family)
                .collect(),
            publishes: publisher == Some(number),
            reply_table,
        }
    };
    members.iter().enumerate().map(role).collect()
}

/// Whether ports can be published by an endpoint on `network`.
pub(super) fn publishes(network: &Network) -> bool {
    network.driver == Driver::Bridge && !network.internal
}

fn take_free_table(taken: &mut Vec<u32>) -> u32 {
    let mut table = FIRST_REPLY_TABLE;
    while taken.contains(&table) {
        table += 1;
    }
    taken.push(table);
    table
}
