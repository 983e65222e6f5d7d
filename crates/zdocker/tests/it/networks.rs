//! The network verbs: what they make, show, refuse and remove.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::harness::{Host, Proto, Server, Snapshot, ip, is_id, reaches};

/// `network inspect NAME`, whose answer is a list of one.
#[track_caller]
fn inspect(host: &Host, name: &str) -> Value {
    host.z(&format!("network inspect {name}")).ok().json()[0].take()
}

/// The IPv4 subnet of the network `name`.
#[track_caller]
fn subnet(host: &Host, name: &str) -> String {
    let shown = inspect(host, name);
    let subnet = shown["IPAM"]["Config"][0]["Subnet"].as_str();
    subnet
        .unwrap_or_else(|| panic!("{name} has no subnet: {shown}"))
        .to_owned()
}

/// First and last address of an IPv4 subnet.
fn range(subnet: &str) -> (u32, u32) {
    let (address, prefix) = subnet.split_once('/').unwrap();
    let first = address.parse::<Ipv4Addr>().unwrap().to_bits();
    let size = 32 - prefix.parse::<u32>().unwrap();
    (first, first | ((1u64 << size) - 1) as u32)
}

fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (range(a), range(b));
    a.0 <= b.1 && b.0 <= a.1
}

#[test]
fn create_prints_the_id_and_makes_the_bridge() {
    let host = Host::new();
    let created = host
        .z("network create --driver bridge --subnet 192.168.1.0/24 mynet")
        .ok();
    assert!(is_id(created.text()), "{:?}", created.stdout);
    assert_eq!(created.stdout.lines().count(), 1);
    let bridge = &host.net.ip_json(&["-details", "addr", "show", "dev", "mynet"])[0];
    assert_eq!(bridge["linkinfo"]["info_kind"], "bridge");
    let addresses = bridge["addr_info"].as_array().unwrap();
    let own = addresses
        .iter()
        .map(|a| a["local"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(own, ["192.168.1.1"], "the gateway and nothing of the kernel's own");
    assert!(bridge["flags"].as_array().unwrap().contains(&json!("UP")));
}

#[test]
fn ls_shows_a_table_ids_and_json() {
    let host = Host::new();
    let id = host
        .z("network create --subnet 192.168.1.0/24 --subnet fd00:1::/64 mynet")
        .ok()
        .text()
        .to_owned();
    host.run("a", "--net mynet");
    let table = host.z("network ls").ok().stdout;
    let heading = table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        heading,
        ["NAME", "SUBNET", "GATEWAY", "DRIVER", "CONTAINERS"],
        "{table}"
    );
    let row = table
        .lines()
        .find(|line| line.starts_with("mynet "))
        .unwrap_or_else(|| panic!("{table}"));
    for cell in ["192.168.1.0/24", "192.168.1.1", "fd00:1::/64", "fd00:1::1", "bridge"] {
        assert!(row.contains(cell), "{cell} is not in {row:?}");
    }
    assert_eq!(row.split_whitespace().last(), Some("1"), "one container: {row:?}");
    for name in ["bridge", "host", "none"] {
        assert!(
            table.lines().any(|line| line.starts_with(&format!("{name} "))),
            "{name} is not in {table}"
        );
    }
    assert_eq!(host.z("network list").ok().stdout, table);
    let ids = host.z("network ls -q").ok().stdout;
    assert!(
        ids.lines().any(|line| id.starts_with(line) && line.len() >= 12),
        "{id} is not in {ids}"
    );
    let json = host.z("network ls --format json").ok();
    // One object a line, as Docker has it, or one list.
    let objects = match serde_json::from_str::<Value>(&json.stdout) {
        Ok(Value::Array(list)) => list,
        _ => json
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    };
    assert!(
        objects
            .iter()
            .any(|object| object["Name"] == "mynet" && object["Driver"] == "bridge"),
        "{objects:?}"
    );
}

#[test]
fn inspect_shows_what_docker_shows() {
    let host = Host::new();
    let create = "network create --subnet 10.5.0.0/16 --gateway 10.5.0.254 --subnet fd00:5::/64 --internal \
                  --label who=me -o mtu=1400 web";
    let id = host.z(create).ok().text().to_owned();
    let a = host.run("a", "--net web --ip 10.5.1.2");
    let shown = inspect(&host, "web");
    for (key, expected) in [
        ("Name", json!("web")),
        ("Id", json!(id)),
        ("Driver", json!("bridge")),
        ("Scope", json!("local")),
        ("Internal", json!(true)),
        ("EnableIPv6", json!(true)),
        ("Labels", json!({"who": "me"})),
    ] {
        assert_eq!(shown[key], expected, "{key} in {shown:#}");
    }
    let pools = shown["IPAM"]["Config"].as_array().unwrap();
    assert_eq!(
        (&pools[0]["Subnet"], &pools[0]["Gateway"]),
        (&json!("10.5.0.0/16"), &json!("10.5.0.254"))
    );
    assert_eq!(
        (&pools[1]["Subnet"], &pools[1]["Gateway"]),
        (&json!("fd00:5::/64"), &json!("fd00:5::1"))
    );
    let container = &shown["Containers"][&a.id];
    assert_eq!(container["Name"], "a", "{shown:#}");
    assert_eq!(container["IPv4Address"], "10.5.1.2/16");
    assert_eq!(container["IPv6Address"], format!("{}/64", a.v6()));
    let mac = a.net.ip_json(&["link", "show", "dev", "eth0"])[0]["address"].clone();
    assert_eq!(container["MacAddress"], mac);
    // A name, the whole id, and the start of an id all do; what is missing is named.
    assert_eq!(inspect(&host, &id), shown);
    assert_eq!(inspect(&host, &id[..12]), shown);
    host.z("network inspect web nothing").exits(1).says(&["nothing"]);
}

#[test]
fn a_name_that_no_device_can_bear_gets_one_from_the_id() {
    let host = Host::new();
    let id = host
        .z("network create a-name-longer-than-15-bytes")
        .ok()
        .text()
        .to_owned();
    let device = format!("zd-{}", &id[..12]);
    host.net.ip(&format!("link show dev {device}"));
    host.net.ip("link add taken type bridge");
    let id = host.z("network create taken").ok().text().to_owned();
    host.net.ip(&format!("link show dev zd-{}", &id[..12]));
    host.z("network rm taken a-name-longer-than-15-bytes").ok();
    assert_eq!(
        host.net.ip_json(&["link", "show", "type", "bridge"])[0]["ifname"],
        "taken"
    );
}

#[test]
fn the_bridge_device_can_be_named() {
    let host = Host::new();
    for (name, option) in [("one", "bridge"), ("two", "com.docker.network.bridge.name")] {
        host.z(&format!("network create -o {option}=br-{name} {name}")).ok();
        host.net.ip(&format!("link show dev br-{name}"));
    }
}

#[test]
fn an_address_with_host_bits_is_the_gateway() {
    let host = Host::new();
    host.z("network create --subnet 192.168.10.7/24 n").ok();
    assert_eq!(
        inspect(&host, "n")["IPAM"]["Config"][0],
        json!({"Subnet": "192.168.10.0/24", "Gateway": "192.168.10.7"})
    );
    let a = host.run("a", "--net n");
    let _host = Server::start(&host.net, "host", 7000);
    assert_eq!(reaches(&a.net, Proto::Tcp, (ip("192.168.10.7"), 7000)).source, a.v4());
    assert_eq!(
        a.net.ip_json(&["route", "show", "default"])[0]["gateway"],
        "192.168.10.7"
    );
}

#[test]
fn default_subnets_avoid_the_hosts_routes_and_other_networks() {
    let host = Host::new();
    host.z("network create first").ok();
    let first = subnet(&host, "first");
    host.z("network create second").ok();
    let second = subnet(&host, "second");
    assert!(!overlap(&first, &second), "{first} {second}");
    let third = {
        let host = Host::new();
        host.net.ip(&format!("route add {first} via 203.0.113.2"));
        host.net.ip(&format!(
            "link add dev x type bridge\naddr add {second} dev x\nlink set x up"
        ));
        host.net
            .ip("link add dev y type bridge\nlink set y up\nroute add 172.16.0.0/14 dev y table 99");
        host.z("network create third").ok();
        subnet(&host, "third")
    };
    for used in [&first, &second, "172.16.0.0/14"] {
        assert!(!overlap(&third, used), "{third} overlaps {used}");
    }
}

#[test]
fn a_removed_networks_subnet_can_be_used_again() {
    let host = Host::new();
    for _ in 0..3 {
        host.z("network create --subnet 10.7.0.0/24 n").ok();
        host.z("network remove n").ok();
    }
}

#[test]
fn prune_asks_first() {
    let host = Host::new();
    host.z("network create idle").ok();
    for answer in ["n\n", "\n", ""] {
        let asked = host.zdocker_fed(&["network", "prune"], answer).ok();
        asked.prints(&["WARNING!", "[y/N]"]);
        host.z("network inspect idle").ok();
    }
    host.zdocker_fed(&["network", "prune"], "y\n").ok().prints(&["idle"]);
    host.z("network inspect idle").exits(1);
}

#[test]
fn prune_removes_what_nobody_uses() {
    let host = Host::new();
    for name in ["used", "stopped", "idle", "spare"] {
        host.z(&format!("network create {name}")).ok();
    }
    host.run("a", "--net used");
    host.run("b", "--net stopped");
    host.z("stop -t 0 b").ok();
    let pruned = host.z("network prune -f").ok();
    pruned.prints(&["idle", "spare"]);
    let table = host.z("network ls").ok().stdout;
    let names = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect::<Vec<_>>();
    assert!(names.contains(&"used") && names.contains(&"bridge"), "{table}");
    assert!(!names.contains(&"idle") && !names.contains(&"spare"), "{table}");
    let bridges = host.net.ip_json(&["link", "show", "type", "bridge"]);
    assert!(
        bridges
            .iter()
            .all(|link| link["ifname"] != "idle" && link["ifname"] != "spare"),
        "{bridges:?}"
    );
}

#[test]
fn dry_run_shows_the_commands_and_changes_nothing() {
    let host = Host::new();
    // The records are there from now on.
    host.z("network create --subnet 10.9.0.0/24 there").ok();
    let before = Snapshot::take(&host);
    let plan = host.z("network create --dry-run --subnet 10.8.0.0/24 new").ok();
    plan.prints(&[
        "ip link add new",
        "type bridge",
        "ip address add 10.8.0.1/24 dev new",
        "nft add element",
        "10.8.0.0/24",
    ]);
    let plan = host
        .z("run --dry-run --name x --net there -p 8080:80 --rootfs / -- true")
        .ok();
    plan.prints(&[
        "ip link add",
        "type veth",
        "10.9.0.2/24",
        "8080",
        "nft add element inet zdocker",
    ]);
    before.assert_same(&host);
    host.z("network inspect new").exits(1).says(&["new"]);
    assert!(!host.z("ps -a").ok().stdout.contains("there"));
    // Nor is an address or the name used up.
    assert_eq!(host.run("x", "--net there").v4(), ip("10.9.0.2"));
}

#[test]
fn rm_refuses_while_containers_are_there_and_names_them() {
    let host = Host::new();
    host.z("network create n").ok();
    host.run("alpha", "--net n");
    host.run("beta", "--net n");
    let before = Snapshot::take(&host);
    host.z("network rm n").exits(1).says(&["\"n\"", "alpha", "beta"]);
    before.assert_same(&host);
    host.z("rm -f alpha beta").ok();
    host.z("network rm n").ok().prints(&["n"]);
    host.z("network inspect n").exits(1).says(&["n"]);
}

#[test]
fn rm_succeeds_when_the_bridge_is_gone() {
    let host = Host::new();
    host.z("network create --subnet 10.6.0.0/24 other").ok();
    let before = Snapshot::take(&host);
    host.z("network create --subnet 10.7.0.0/24 n").ok();
    host.net.ip("link del dev n");
    host.z("network rm n").ok();
    before.assert_same(&host);
}

#[test]
fn rm_succeeds_when_the_firewall_is_gone() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 n").ok();
    host.net.nft("flush ruleset");
    host.z("network rm n").ok();
    assert!(Snapshot::take(&host).lines("link n ").is_empty());
}

#[test]
fn rm_goes_on_after_a_network_that_it_cannot_remove() {
    let host = Host::new();
    host.z("network create n").ok();
    host.z("network create m").ok();
    host.run("a", "--net n");
    host.z("network rm n nothing m")
        .exits(1)
        .says(&["n", "a", "nothing"])
        .prints(&["m"]);
    host.z("network inspect m").exits(1);
    host.z("network inspect n").ok();
}

#[test]
fn a_route_of_the_host_that_came_later_does_not_hinder_removal() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 n").ok();
    host.net.ip("route add 10.99.0.0/16 via 10.7.0.9");
    host.z("network rm n").ok();
    assert!(host.net.ip_json(&["route", "show", "10.99.0.0/16"]).is_empty());
}

#[test]
fn ipam_shows_which_addresses_are_used() {
    let host = Host::new();
    host.z("network create --subnet 192.168.1.0/24 n").ok();
    let bits = || {
        let shown = host.z("network ipam n --bitmap").ok().stdout;
        let map = shown.chars().filter(|c| matches!(c, '0' | '1')).collect::<String>();
        let start = map
            .len()
            .checked_sub(256)
            .unwrap_or_else(|| panic!("256 bits of 0 and 1: {shown}"));
        let set = map[start..].bytes().enumerate().filter(|(_, bit)| *bit == b'1');
        set.map(|(offset, _)| offset).collect::<Vec<_>>()
    };
    assert_eq!(bits(), [0, 1, 255]);
    let a = host.run("a", "--net n --ip 192.168.1.100");
    let b = host.run("b", "--net n");
    let offset = |address: IpAddr| {
        address
            .to_string()
            .rsplit('.')
            .next()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    let mut expected = vec![0, 1, offset(a.v4()), offset(b.v4()), 255];
    expected.sort_unstable();
    assert_eq!(bits(), expected);
    host.z("network ipam n")
        .ok()
        .prints(&["192.168.1.0/24", "192.168.1.1", "192.168.1.100", "a", "b"]);
    host.z("rm -f a b").ok();
    assert_eq!(bits(), [0, 1, 255]);
}

#[test]
fn a_full_subnet_is_said_and_a_released_address_serves_again() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/29 n").ok();
    for number in 0..5 {
        host.run(&format!("c{number}"), "--net n");
    }
    let before = Snapshot::take(&host);
    let run = "run -d --name more --net n --rootfs / -- busybox sleep 100";
    host.z(run).exits(125).says(&["10.7.0.0/29", "address"]);
    before.assert_same(&host);
    host.z("rm -f c3").ok();
    host.z(run).ok();
}

#[test]
fn a_released_address_is_not_used_again_at_once() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 n").ok();
    let first = host.run("a", "--net n").v4();
    host.z("rm -f a").ok();
    assert_ne!(host.run("a", "--net n").v4(), first);
}

#[test]
fn large_subnets_cost_nothing() {
    let host = Host::new();
    host.z("network create --subnet 10.0.0.0/8 --subnet fd00::/48 n").ok();
    let a = host.run("a", "--net n");
    assert_eq!(a.v4(), ip("10.0.0.2"));
    assert_eq!(host.run("b", "--net n --ip 10.255.255.254").v4(), ip("10.255.255.254"));
}

#[test]
fn the_built_in_networks_cannot_be_removed() {
    let host = Host::new();
    for name in ["bridge", "host", "none"] {
        host.z(&format!("network rm {name}")).exits(1).says(&[name]);
        assert_eq!(inspect(&host, name)["Name"], name);
    }
}
