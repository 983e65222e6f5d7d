use std::sync::atomic::{AtomicU8, Ordering};

use zdocker_net::model::{BridgeDevice, Driver, Endpoint, EndpointSettings, Network, Pool, Settings};
use zdocker_net::names::{Id, MacAddress, Name};
use zdocker_net::ports::{Protocol, PublishedPort};
use zdocker_net::subnet::Subnet;

use super::*;

const OWNER: ProcessId = ProcessId { pid: 1, start_time: 1 };

fn fresh_id() -> Id {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    Id::new([NEXT.fetch_add(1, Ordering::Relaxed); 32])
}

fn network(name: &str, subnet: &str) -> Network {
    let subnet: Subnet = subnet.parse().unwrap();
    Network {
        id: fresh_id(),
        name: name.parse().unwrap(),
        driver: Driver::Bridge,
        pools: vec![Pool::new(subnet, subnet.nth(1).unwrap())],
        bridge: Some(BridgeDevice::own(
            name.parse().unwrap(),
            MacAddress::local([1; 6]),
            1500,
        )),
        parent: None,
        internal: false,
        masquerade: true,
        settings: Settings::default(),
        options: Default::default(),
        labels: Default::default(),
        created: 7,
    }
}

fn endpoint(network: &Network) -> Endpoint {
    Endpoint {
        id: fresh_id(),
        network: network.id.clone(),
        container: fresh_id(),
        interface: "eth0".parse().unwrap(),
        host_interface: "veth0".parse().unwrap(),
        mac: MacAddress::local([2; 6]),
        addresses: Vec::new(),
        gateways: Vec::new(),
        metric: None,
        reply_table: None,
        routes: Vec::new(),
        settings: EndpointSettings::default(),
        sandbox: None,
        ports: Vec::new(),
    }
}

fn port(address: Option<&str>, port: u16) -> PublishedPort {
    let host_ip = address.map(|a| a.parse().unwrap());
    PublishedPort {
        host_ip,
        host_port: port,
        container_port: 80,
        protocol: Protocol::Tcp,
    }
}

fn with_store(test: impl FnOnce(&mut Store)) {
    let root = tempfile::tempdir().unwrap();
    test(&mut Store::open(root.path()).unwrap());
}

#[test]
fn a_network_is_recorded_found_and_forgotten() {
    with_store(|store| {
        let made = network("web", "10.1.0.0/24");
        store.write(|r| r.insert_network(&made, State::Creating)).unwrap();
        store
            .write(|r| r.set_network_state(&made.id, State::Ready, Some("boot")))
            .unwrap();
        for text in ["web", made.id.as_str(), made.id.short()] {
            let found = store.read(|r| r.find_networks(text)).unwrap();
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!((&found[0].network, found[0].state), (&made, State::Ready));
        }
        assert!(store.read(|r| r.find_networks("")).unwrap().is_empty());
        store.write(|r| r.delete_network(&made.id)).unwrap();
        assert!(store.read(|r| r.networks()).unwrap().is_empty());
        // Its subnet is free again.
        store
            .write(|r| r.insert_network(&network("other", "10.1.0.0/24"), State::Creating))
            .unwrap();
    });
}

#[test]
fn the_schema_itself_refuses_a_second_owner() {
    with_store(|store| {
        let first = network("web", "10.1.0.0/24");
        store.write(|r| r.insert_network(&first, State::Ready)).unwrap();
        let same_name = store.write(|r| r.insert_network(&network("web", "10.2.0.0/24"), State::Ready));
        let same_subnet = store.write(|r| r.insert_network(&network("db", "10.1.0.0/24"), State::Ready));
        assert!(same_name.is_err() && same_subnet.is_err());
        assert_eq!(store.read(|r| r.networks()).unwrap().len(), 1);
    });
}

#[test]
fn an_address_of_each_set_is_leased() {
    with_store(|store| {
        let mut net = network("net", "10.1.0.0/24");
        let mut pool = |subnet: &str, range: Option<&str>, set: u8| {
            let subnet: Subnet = subnet.parse().unwrap();
            net.pools.push(Pool {
                gateway: None,
                range: range.map(|range| range.parse().unwrap()),
                set,
                ..Pool::new(subnet, subnet.address())
            });
        };
        pool("10.2.0.0/24", Some("10.2.0.100-10.2.0.102"), 1);
        pool("10.3.0.0/24", Some("10.3.0.7-10.3.0.7"), 1);
        pool("fd01::/64", None, 0);
        let holders: Vec<Endpoint> = (0..5).map(|_| endpoint(&net)).collect();
        store
            .write(|records| {
                records.insert_foreign_network(&net, State::Ready)?;
                records.share_pools(&net)?;
                // Again, as for each that is plugged in.
                records.share_pools(&net)?;
                holders
                    .iter()
                    .try_for_each(|holder| records.insert_endpoint(holder, OWNER, "boot"))
            })
            .unwrap();
        let mut lease = |holder: usize, asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|address| address.parse().unwrap()).collect();
            let leased = store.write(|records| records.lease_addresses(&net, &asked, &holders[holder].id, 9));
            leased.map(|leased| leased.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(lease(0, &[]).unwrap(), "10.1.0.2/24 10.2.0.100/24 fd01::1/64");
        // One that is asked for need not be of the range, and there may be several of a set.
        let asked = ["10.2.0.200", "10.3.0.9", "fd01::9"];
        assert_eq!(
            lease(1, &asked).unwrap(),
            "10.1.0.3/24 10.2.0.200/24 10.3.0.9/24 fd01::9/64"
        );
        assert_eq!(
            lease(2, &["10.2.0.102"]).unwrap(),
            "10.1.0.4/24 10.2.0.102/24 fd01::2/64"
        );
        assert!(matches!(lease(3, &["10.2.0.102"]), Err(AddressError::Taken(_))));
        assert!(matches!(lease(3, &["10.9.0.1"]), Err(AddressError::Outside(_))));
        // Pools of a set stand in for each other.
        assert_eq!(lease(3, &[]).unwrap(), "10.1.0.5/24 10.2.0.101/24 fd01::3/64");
        assert_eq!(lease(4, &[]).unwrap(), "10.1.0.6/24 10.3.0.7/24 fd01::4/64");
        store
            .write(|records| records.release_addresses(&holders[4].id))
            .unwrap();
        let mut lease = || store.write(|records| records.lease_addresses(&net, &[], &holders[4].id, 9));
        assert!(lease().is_ok());
        let error = lease().unwrap_err().to_string();
        assert!(
            error.contains("range 10.2.0.100-10.2.0.102 of subnet 10.2.0.0/24"),
            "{error}"
        );
    });
}

#[test]
fn addresses_are_leased_once_and_come_back() {
    with_store(|store| {
        let web = network("web", "10.1.0.0/29");
        let plugged = endpoint(&web);
        let subnet = web.pools[0].subnet;
        store.write(|r| r.insert_network(&web, State::Ready)).unwrap();
        store.write(|r| r.insert_endpoint(&plugged, OWNER, "boot")).unwrap();
        let mut lease = |asked: Option<&str>| {
            let asked = asked.map(|a| a.parse().unwrap());
            store
                .write(|r| r.lease_addresses(&web, asked.as_slice(), &plugged.id, 9))
                .map(|leased| leased[0].address.to_string())
                .map_err(|e| e.to_string())
        };
        assert_eq!(lease(None).unwrap(), "10.1.0.2");
        assert_eq!(lease(Some("10.1.0.4")).unwrap(), "10.1.0.4");
        assert!(lease(Some("10.1.0.1")).unwrap_err().contains("in use"));
        assert_eq!(
            [lease(None), lease(None), lease(None)].map(Result::unwrap),
            ["10.1.0.3", "10.1.0.5", "10.1.0.6"]
        );
        assert!(lease(None).unwrap_err().contains("6 are in use"));
        store.write(|r| r.delete_endpoint(&plugged.id)).unwrap();
        let usage = store.read(|r| r.usage(&subnet)).unwrap();
        assert_eq!(
            usage.leases,
            [Lease {
                address: "10.1.0.1".parse().unwrap(),
                holder: None,
                since: 7
            }]
        );
        let free = (0..8).filter(|bit| !usage.blocks[0].is_set(*bit)).collect::<Vec<_>>();
        assert_eq!(free, [2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_network_with_endpoints_is_not_forgotten() {
    with_store(|store| {
        let web = network("web", "10.1.0.0/24");
        store.write(|r| r.insert_network(&web, State::Ready)).unwrap();
        store
            .write(|r| r.insert_endpoint(&endpoint(&web), OWNER, "boot"))
            .unwrap();
        assert!(store.write(|r| r.delete_network(&web.id)).is_err());
        assert_eq!(store.read(|r| r.endpoints_of_network(&web.id)).unwrap().len(), 1);
    });
}

#[test]
fn overlapping_ports_are_refused_as_the_model_says() {
    let addresses = [
        None,
        Some("0.0.0.0"),
        Some("::"),
        Some("127.0.0.1"),
        Some("10.0.0.1"),
        Some("::1"),
        Some("fd00::1"),
    ];
    for first in addresses {
        for second in addresses {
            with_store(|store| {
                let web = network("web", "10.1.0.0/24");
                let plugged = endpoint(&web);
                store.write(|r| r.insert_network(&web, State::Ready)).unwrap();
                store.write(|r| r.insert_endpoint(&plugged, OWNER, "boot")).unwrap();
                let (a, b) = (port(first, 80), port(second, 80));
                assert!(store.write(|r| r.insert_port(&plugged.id, &a)).unwrap());
                let refused = !store.write(|r| r.insert_port(&plugged.id, &b)).unwrap();
                assert_eq!(refused, a.conflicts_with(&b), "{first:?} {second:?}");
                assert!(store.write(|r| r.insert_port(&plugged.id, &port(second, 81))).unwrap());
                assert_eq!(
                    store.read(|r| r.port_holder(&a)).unwrap().as_ref(),
                    Some(&plugged.container)
                );
            });
        }
    }
}

#[test]
fn ports_that_somebody_is_at_are_found_and_change_with_their_endpoint() {
    with_store(|store| {
        let web = network("web", "10.1.0.0/24");
        let mut plugged = endpoint(&web);
        let (kept, coming, other) = (port(None, 80), port(Some("::1"), 81), port(Some("0.0.0.0"), 82));
        plugged.ports = vec![kept, coming];
        store.write(|r| r.insert_network(&web, State::Ready)).unwrap();
        store.write(|r| r.insert_endpoint(&plugged, OWNER, "boot")).unwrap();
        for port in [kept, coming, other] {
            assert!(store.write(|r| r.insert_port(&plugged.id, &port)).unwrap());
        }
        let found = |store: &mut Store, endpoint: &Endpoint| {
            store
                .read(|r| Ok::<_, StoreError>((r.containers_with_unsettled_ports()?, r.unsettled_ports(endpoint)?)))
                .unwrap()
        };
        assert_eq!(found(store, &plugged), (vec![], vec![]));
        store
            .write(|r| r.set_ports_unsettled(&plugged.id, &[coming], true))
            .unwrap();
        assert_eq!(found(store, &plugged), (vec![plugged.container.clone()], vec![coming]));
        // Somebody else's is not meant.
        store.write(|r| r.delete_ports(&fresh_id(), &[coming, kept])).unwrap();
        plugged.ports = vec![kept];
        store
            .write(|r| {
                r.delete_ports(&plugged.id, &[coming])?;
                r.set_endpoint(&plugged, State::Ready, None)
            })
            .unwrap();
        assert_eq!(found(store, &plugged), (vec![], vec![]));
        let recorded = store.read(|r| r.endpoints_of_container(&plugged.container)).unwrap();
        assert_eq!(recorded[0].endpoint.ports, [kept]);
        assert!(store.write(|r| r.insert_port(&plugged.id, &coming)).unwrap());
        assert!(!store.write(|r| r.insert_port(&plugged.id, &kept)).unwrap());
    });
}

#[test]
fn records_of_the_first_version_are_brought_up_to_date() {
    let root = tempfile::tempdir().unwrap();
    let connection = Connection::open(root.path().join("zdocker.db")).unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    let old = "INSERT INTO networks VALUES ('n', 'web', '{}', 'ready', 'boot');
               INSERT INTO endpoints VALUES ('e', 'n', 'c', '{}', 'ready', NULL, NULL, 'boot');
               INSERT INTO ports VALUES ('tcp', 80, '*', 'e');";
    connection.execute_batch(old).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let mut store = Store::open(root.path()).unwrap();
    assert!(
        !store
            .write(|r| r.insert_port(&Id::from("e".to_owned()), &port(None, 80)))
            .unwrap()
    );
    assert!(store.read(|r| r.containers_with_unsettled_ports()).unwrap().is_empty());
}

#[test]
fn containers_come_go_and_keep_their_names_to_themselves() {
    with_store(|store| {
        let (id, name): (Id, Name) = (fresh_id(), "web".parse().unwrap());
        let other = fresh_id();
        fn new<'a>(id: &'a Id, name: &'a Name, other: &'a Id) -> NewContainer<'a> {
            NewContainer {
                id,
                name,
                spec: "{}",
                joins: Some(other),
                created: 5,
            }
        }
        assert!(
            store
                .write(|r| r.insert_container(&new(&id, &name, &other), OWNER, "boot"))
                .unwrap()
        );
        let second = fresh_id();
        assert!(
            !store
                .write(|r| r.insert_container(&new(&second, &name, &other), OWNER, "boot"))
                .unwrap()
        );
        assert!(store.read(|r| r.is_joined(&other)).unwrap());
        let process = ProcessId {
            pid: 77,
            start_time: 78,
        };
        store.write(|r| r.container_started(&id, process, OWNER, 8)).unwrap();
        let running = store.read(|r| r.find_containers(id.short())).unwrap().pop().unwrap();
        assert_eq!(
            (running.state, running.process, running.started),
            (ContainerState::Running, Some(process), Some(8))
        );
        store.write(|r| r.container_exited(&id, 3, 9)).unwrap();
        // A command that comes late does not bring it back to life.
        store.write(|r| r.container_started(&id, process, OWNER, 10)).unwrap();
        let ended = store.read(|r| r.container(&id)).unwrap().unwrap();
        assert_eq!(
            (ended.state, ended.exit_status, ended.process),
            (ContainerState::Exited, Some(3), None)
        );
        // Nor does one that knows it as it was before somebody changed what it is to be.
        store.write(|r| r.set_container_spec(&id, "{1}")).unwrap();
        let mut again = |before| store.write(|r| r.restart_container(&id, (before, "{2}"), None, OWNER, "boot"));
        assert!(!again("{}").unwrap());
        assert!(again("{1}").unwrap());
        store.write(|r| r.delete_container(&id)).unwrap();
        assert!(store.read(|r| r.containers()).unwrap().is_empty());
    });
}

#[test]
fn a_failed_change_changes_nothing() {
    with_store(|store| {
        let failed: Result<(), StoreError> = store.write(|r| {
            r.insert_network(&network("web", "10.1.0.0/24"), State::Ready)?;
            Err(rusqlite::Error::InvalidQuery.into())
        });
        assert!(failed.is_err());
        assert!(store.read(|r| r.networks()).unwrap().is_empty());
    });
}

#[test]
fn a_newer_database_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    drop(Store::open(root.path()).unwrap());
    let connection = Connection::open(root.path().join("zdocker.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(
        Store::open(root.path()),
        Err(StoreError::TooNew { found: 99, .. })
    ));
}

#[test]
fn several_subnets_ranges_and_reserved_addresses() {
    with_store(|store| {
        let mut web = network("web", "10.1.0.0/29");
        let pool = |subnet: &str, gateway: &str| Pool::new(subnet.parse().unwrap(), gateway.parse().unwrap());
        web.pools[0].reserved = [("router".to_owned(), "10.1.0.3".parse().unwrap())].into();
        web.pools.push(Pool {
            range: Some("10.2.0.64/30".parse().unwrap()),
            reserved: [("dns".to_owned(), "10.2.0.65".parse().unwrap())].into(),
            ..pool("10.2.0.0/24", "10.2.0.1")
        });
        web.pools.push(pool("fd00::/64", "fd00::1"));
        let plugged = endpoint(&web);
        store.write(|r| r.insert_network(&web, State::Ready)).unwrap();
        store.write(|r| r.insert_endpoint(&plugged, OWNER, "boot")).unwrap();
        let mut lease = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|a| a.parse().unwrap()).collect();
            let leased = store.write(|r| r.lease_addresses(&web, &asked, &plugged.id, 9));
            let texts = |leased: Vec<_>| {
                let texts = leased.iter().map(zdocker_net::model::InterfaceAddress::to_string);
                texts.collect::<Vec<_>>().join(" ")
            };
            leased.map(texts).map_err(|e| e.to_string())
        };
        assert_eq!(lease(&[]).unwrap(), "10.1.0.2/29 fd00::2/64");
        // An address of the second subnet, outside its range, and one of the other family.
        assert_eq!(lease(&["10.2.0.9", "fd00::77"]).unwrap(), "10.2.0.9/24 fd00::77/64");
        for reserved in ["10.1.0.3", "10.2.0.65", "10.2.0.1"] {
            assert!(lease(&[reserved]).unwrap_err().contains("in use"), "{reserved}");
        }
        let first = [lease(&[]), lease(&[]), lease(&[])].map(Result::unwrap);
        assert_eq!(
            first.map(|leased| leased.split('/').next().unwrap().to_owned()),
            ["10.1.0.4", "10.1.0.5", "10.1.0.6"]
        );
        // The first subnet is full; the second goes on.
        for expected in ["10.2.0.64/24", "10.2.0.66/24", "10.2.0.67/24"] {
            assert!(lease(&[]).unwrap().starts_with(expected));
        }
        let full = lease(&[]).unwrap_err();
        assert!(
            full.contains("subnet 10.1.0.0/29, range 10.2.0.64/30 of subnet 10.2.0.0/24"),
            "{full}"
        );
        store.write(|r| r.delete_endpoint(&plugged.id)).unwrap();
        let held = |subnet: &Subnet, store: &mut Store| store.read(|r| r.count_leases(subnet)).unwrap();
        assert_eq!(
            web.pools.iter().map(|p| held(&p.subnet, store)).collect::<Vec<_>>(),
            [2, 2, 1]
        );
    });
}

#[test]
fn configurations_leave_their_subnets_to_others() {
    with_store(|store| {
        let mut configuration = network("plan", "10.1.0.0/24");
        configuration.settings.config_only = Some(zdocker_net::model::ConfigOnly {
            ipv4: true,
            ipv6: false,
        });
        let taker = network("web", "10.1.0.0/24");
        store.write(|r| r.insert_network(&configuration, State::Ready)).unwrap();
        store.write(|r| r.insert_network(&taker, State::Ready)).unwrap();
        assert_eq!(
            store.read(|r| r.find_networks("plan")).unwrap()[0].network,
            configuration
        );
    });
}

#[test]
fn writers_in_many_threads_queue_up() {
    let root = tempfile::tempdir().unwrap();
    drop(Store::open(root.path()).unwrap());
    let web = network("web", "10.1.0.0/16");
    let subnet = web.pools[0].subnet;
    let plugged = endpoint(&web);
    let mut store = Store::open(root.path()).unwrap();
    store.write(|r| r.insert_network(&web, State::Ready)).unwrap();
    store.write(|r| r.insert_endpoint(&plugged, OWNER, "boot")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut store = Store::open(root.path()).unwrap();
                for _ in 0..25 {
                    store.write(|r| r.lease_addresses(&web, &[], &plugged.id, 0)).unwrap();
                }
            });
        }
    });
    assert_eq!(store.read(|r| r.count_leases(&subnet)).unwrap(), 201);
}

#[test]
fn a_directory_for_everybody_stays_one() {
    let everybodys = tempfile::tempdir().unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(everybodys.path(), mode(0o1777)).unwrap();
    let refused = Store::open(everybodys.path()).unwrap_err().to_string();
    assert!(refused.contains("for everybody"), "{refused}");
    let left: std::fs::Permissions = std::fs::metadata(everybodys.path()).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&left) & 0o7777, 0o1777);
    Store::open(&everybodys.path().join("below")).unwrap();
}
