//! After everything is removed, the host is as it was.

use crate::harness::{HOST_V4, Host, Proto, Server, Snapshot, ip, reaches};

#[test]
fn everything_removed_leaves_the_host_as_it_was() {
    let host = Host::new();
    // What stays for good, such as the directories below the roots, comes with the first use.
    host.z("run --rm --rootfs / -- true").ok();
    host.z("network prune -f").ok();
    let before = Snapshot::take(&host);
    for network in [
        "--subnet 10.1.0.0/24 --subnet fd00:1::/64 one",
        "--internal two",
        "three",
    ] {
        host.z(&format!("network create {network}")).ok();
    }
    let web = host.run(
        "web",
        "--net one -p 8080:80 -p 127.0.0.1:5353:53/udp -p [2001:db8::1]:99:99",
    );
    host.run("inside", "--net two --net three");
    host.run("alone", "--net none");
    host.run("hosted", "--net host");
    host.run("default", "-p 80");
    let server = Server::start(&web.net, "web", 80);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "web");
    host.z("exec web sh -c true").ok();
    host.z("exec -d web busybox sleep infinity").ok();
    host.z("run --name ended --net one --rootfs / -- sh -c false").exits(1);
    host.z("run --rm --net one --rootfs / -- true").ok();
    let during = before.diff(&Snapshot::take(&host));
    for kind in [
        "link", "address", "route", "element", "mount", "cgroup", "process", "file",
    ] {
        assert!(
            during.contains(&format!("+ {kind} ")),
            "a container has a {kind}:\n{during}"
        );
    }
    // Whoever holds its network namespace keeps a container's interfaces.
    drop((server, web));
    host.z("stop -t 0 web").ok();
    host.z("kill inside").ok();
    host.z("rm web").ok();
    host.z("rm -f inside alone hosted default ended").ok();
    host.z("network rm one two three").ok();
    before.assert_same(&host);
}

#[test]
fn a_stopped_container_holds_no_link_process_or_port() {
    let host = Host::new();
    host.z("run --rm --rootfs / -- true").ok();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let before = Snapshot::take(&host);
    host.run("web", "--net n -p 8080:80");
    let kinds = ["link", "address", "route", "element", "process", "cgroup", "mount"];
    let held = || {
        let diff = before.diff(&Snapshot::take(&host));
        let is_held = |line: &&str| kinds.iter().any(|kind| line[2..].starts_with(&format!("{kind} ")));
        diff.lines().filter(is_held).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!held().is_empty());
    host.z("stop -t 0 web").ok();
    // The kernel takes the interfaces of a namespace away a moment after the namespace.
    crate::harness::until("a stopped container holds nothing", || held().is_empty());
}

#[test]
fn the_firewall_is_ours_alone() {
    let host = Host::new();
    host.net.nft(
        "table ip filter { chain FORWARD { type filter hook forward priority 0; policy accept; counter; }; }
         table ip nat { chain PREROUTING { type nat hook prerouting priority -100; policy accept; }; }",
    );
    let before = Snapshot::take(&host).lines("nft").len();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.run("web", "--net n -p 8080:80");
    assert_eq!(
        Snapshot::take(&host).lines("nft").len(),
        before,
        "nothing but tables of our own"
    );
    let tables = host.net.output("nft", &["list", "tables"], "");
    let tables = tables.lines().collect::<Vec<_>>();
    assert_eq!(
        tables,
        [
            "table ip filter",
            "table ip nat",
            "table inet zdocker",
            "table bridge zdocker"
        ]
    );
}

#[test]
fn the_rules_are_the_same_whatever_there_is() {
    let host = Host::new();
    let rules = || {
        let ruleset = host.net.output("nft", &["-j", "list", "ruleset"], "");
        let ruleset = serde_json::from_str::<serde_json::Value>(&ruleset).unwrap();
        let objects = ruleset["nftables"].as_array().unwrap().iter();
        objects
            .filter(|object| object.get("rule").is_some())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    host.z("network create one").ok();
    let before = rules();
    assert!(!before.is_empty());
    host.z("network create two").ok();
    host.run("a", "--net one -p 8080:80");
    host.run("b", "--net two -p 8081:80/udp");
    assert_eq!(rules(), before);
    host.z("rm -f a b").ok();
    host.z("network rm two").ok();
    assert_eq!(rules(), before);
}

#[test]
fn commands_that_only_look_change_nothing() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.run("a", "--net n");
    let before = Snapshot::take(&host);
    for command in [
        "network ls",
        "network inspect n",
        "network ipam n",
        "ps -a",
        "logs a",
        "--help",
        "--version",
    ] {
        host.z(command).ok();
    }
    before.assert_same(&host);
}

#[test]
fn the_tables_go_with_the_last_network() {
    let host = Host::new();
    let tables = || host.net.output("nft", &["list", "tables"], "");
    host.z("network create a").ok();
    host.z("network create b").ok();
    host.z("network rm a").ok();
    assert!(tables().contains("inet zdocker") && tables().contains("bridge zdocker"));
    host.z("network rm --dry-run b")
        .ok()
        .prints(&["nft delete table inet zdocker"]);
    host.z("network rm b").ok();
    assert_eq!(tables(), "");
    // And come back with the next.
    host.z("network create c").ok();
    let server = host.run("web", "--net c -p 8080:80");
    assert!(tables().contains("inet zdocker"));
    drop(server);
}
