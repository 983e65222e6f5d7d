use std::cell::Cell;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use zdocker_net::model::{Driver, Endpoint, EndpointSettings, InterfaceAddress, Network, Pool, Settings};
use zdocker_net::names::{Id, MacAddress};

use super::*;
use zdocker_net::subnet::Subnet;

const OWNER: ProcessId = ProcessId { pid: 1, start_time: 1 };

thread_local! {
    /// Statements that SQLite has run for this thread.
    static STATEMENTS: Cell<usize> = const { Cell::new(0) };
}

fn count_statement(event: TraceEvent) {
    if let TraceEvent::Stmt(..) = event {
        STATEMENTS.set(STATEMENTS.get() + 1);
    }
}

fn id(kind: u8, number: u8) -> Id {
    let mut bytes = [kind; 32];
    bytes[31] = number;
    Id::new(bytes)
}

fn network(number: u8) -> Network {
    let subnet: Subnet = format!("10.{number}.0.0/16").parse().unwrap();
    Network {
        id: id(1, number),
        name: format!("n{number}").parse().unwrap(),
        driver: Driver::Bridge,
        pools: vec![Pool::new(subnet, subnet.nth(1).unwrap())],
        bridge: None,
        parent: None,
        internal: false,
        masquerade: true,
        settings: Settings::default(),
        options: Default::default(),
        labels: Default::default(),
        created: number.into(),
    }
}

fn endpoint(network: &Network, number: u8, addresses: Vec<InterfaceAddress>) -> Endpoint {
    Endpoint {
        id: id(2, number),
        network: network.id.clone(),
        container: id(3, number),
        interface: "eth0".parse().unwrap(),
        host_interface: format!("veth{number}").parse().unwrap(),
        mac: MacAddress::local([number; 6]),
        addresses,
        gateways: Vec::new(),
        metric: None,
        reply_table: None,
        routes: Vec::new(),
        settings: EndpointSettings::default(),
        sandbox: None,
        ports: Vec::new(),
    }
}

/// Records with so many networks, and so many containers on the last of them; the last container is another engine's.
fn store_of(networks: u8, containers: u8) -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let mut store = Store::open(root.path()).unwrap();
    let filled: Result<(), AddressError> = store.write(|records| {
        for number in 1..=networks {
            records.insert_network(&network(number), State::Ready)?;
        }
        let last = network(networks);
        for number in 1..=containers {
            let holder = id(2, number);
            let addresses = records.lease_addresses(&last, &[], &holder, 0)?;
            records.insert_endpoint(&endpoint(&last, number, addresses), OWNER, "boot")?;
            let (id, name) = (id(3, number), format!("c{number}").parse().unwrap());
            let new = NewContainer {
                id: &id,
                name: &name,
                spec: "{}",
                joins: None,
                created: number.into(),
            };
            if number < containers {
                records.insert_container(&new, OWNER, "boot")?;
            }
        }
        Ok(())
    });
    filled.unwrap();
    (root, store)
}

fn statements<T>(store: &mut Store, look: impl FnOnce(&Records) -> Result<T, StoreError>) -> usize {
    store
        .connection
        .trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count_statement))
        .unwrap();
    let before = STATEMENTS.get();
    store.read(look).unwrap();
    STATEMENTS.get() - before
}

#[test]
fn long_lists_take_no_more_statements_than_short_ones() {
    let (_root, mut short) = store_of(1, 1);
    let (_root, mut long) = store_of(9, 90);
    for store in [&mut short, &mut long] {
        // One to begin the transaction, one to end it.
        assert_eq!(statements(store, |r| r.list_networks()), 2 + 2);
        assert_eq!(statements(store, |r| r.list_containers()), 2 + 2);
        assert_eq!(statements(store, |r| r.networks_by_id()), 2 + 1);
        assert_eq!(
            statements(store, |r| r.leased_addresses(&network(1).pools[0].subnet)),
            2 + 1
        );
        let record = store.read(|r| r.networks()).unwrap().pop().unwrap();
        assert_eq!(statements(store, |r| r.list_network(record)), 2 + 1);
    }
}

#[test]
fn lists_say_who_is_where() {
    let (_root, mut store) = store_of(2, 3);
    let networks = store.read(|r| r.list_networks()).unwrap();
    let on = |listed: &ListedNetwork| {
        let names = listed.endpoints.iter().map(|(_, name)| name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(networks.len(), 2);
    assert!(networks[0].endpoints.is_empty());
    assert_eq!(on(&networks[1]), ["c1", "c2", id(3, 3).as_str()]);
    let second = networks[1].clone();
    let alone = store.read(|r| r.list_network(second.record.clone())).unwrap();
    assert_eq!(alone, second);

    let containers = store.read(|r| r.list_containers()).unwrap();
    let shown: Vec<_> = containers
        .iter()
        .map(|listed| (listed.record.name.as_str(), listed.endpoints[0].id.clone()))
        .collect();
    assert_eq!(shown, [("c2", id(2, 2)), ("c1", id(2, 1))]);

    let mut leased = store.read(|r| r.leased_addresses(&network(2).pools[0].subnet)).unwrap();
    leased.sort_unstable();
    assert_eq!(
        leased.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.2.0.1", "10.2.0.2", "10.2.0.3", "10.2.0.4"]
    );
}
