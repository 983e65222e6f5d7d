//! Networks with driver `macvlan`, on an interface whose other end is in the outside world.

use crate::harness::kill::{KERNEL, RECORDS, has_strace, killed_at_each};
use crate::harness::{
    Container, Feature, HOST_V4, HOST_V6, Host, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, answers, ip,
    is_silent, reaches, serving,
};

/// What the wire behind `eth0` has, but for what is on it already.
const WIRE: &str = "--subnet 203.0.113.0/24 --gateway 203.0.113.2 --ip-range 203.0.113.128/25 \
                    --subnet 2001:db8::/64 --gateway 2001:db8::2 --ip-range 2001:db8::1:0/112";

/// A network on the wire that leads outside, with more options.
fn on_the_wire(host: &Host, options: &str) {
    host.z(&format!(
        "network create -d macvlan -o parent=eth0 {WIRE} {options} lan"
    ))
    .ok();
}

/// Each of two containers, both families, reaches the other.
#[track_caller]
fn reach_each_other(a: &Container, b: &Container) {
    answers(&a.net, a.v4(), b.v4(), "b");
    answers(&a.net, a.v6(), b.v6(), "b");
    answers(&b.net, b.v4(), a.v4(), "a");
    answers(&b.net, b.v6(), a.v6(), "a");
}

#[test]
fn containers_are_on_the_wire_with_their_own_addresses() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let before = Snapshot::take(&host);
    on_the_wire(&host, "");
    let (a, _a) = serving(&host, "a", "--net lan --mac-address 02:11:22:33:44:55");
    let (b, _b) = serving(&host, "b", "--net lan --ip 203.0.113.200 --ip6 2001:db8::77");
    reach_each_other(&a, &b);
    assert_eq!((b.v4(), b.v6()), (ip("203.0.113.200"), ip("2001:db8::77")));
    assert_eq!(a.v4(), ip("203.0.113.128"));
    let link = &a.net.ip_json(&["-details", "link", "show", "eth0"])[0];
    assert_eq!(link["address"], "02:11:22:33:44:55");
    assert_eq!(
        (&link["linkinfo"]["info_kind"], &link["mtu"]),
        (&"macvlan".into(), &1500.into())
    );

    // Outside knows them, and they know who asks, both ways; also what is further outside is reached.
    let _outside = Server::start(&host.outside, "outside", 7000);
    host.outside.ip("addr add 198.51.100.1/32 dev lo");
    for (own, gateway) in [(a.v4(), OUTSIDE_V4), (a.v6(), OUTSIDE_V6)] {
        answers(&host.outside, ip(gateway), own, "a");
        answers(&a.net, own, ip(gateway), "outside");
    }
    assert_eq!(reaches(&a.net, Proto::Tcp, (ip("198.51.100.1"), 7000)).source, a.v4());

    // As with Docker: the host itself and what is on its parents do not reach each other.
    let _host = Server::start(&host.net, "host", 7000);
    for (address, own) in [(a.v4(), HOST_V4), (a.v6(), HOST_V6)] {
        is_silent(&host.net, address);
        is_silent(&a.net, ip(own));
    }
    let inspected = host.z("network inspect lan").ok().json();
    assert_eq!(inspected[0]["Driver"], "macvlan");
    assert_eq!(inspected[0]["Options"]["parent"], "eth0");
    assert_eq!(inspected[0]["Containers"][&a.id]["MacAddress"], "02:11:22:33:44:55");
    host.z("network rm lan").exits(1).says(&["2 endpoints", "a", "b"]);
    host.z("rm -f a b").ok();
    host.z("network rm lan").ok();
    before.assert_same(&host);
}

#[test]
fn the_hosts_own_address_is_not_handed_out() {
    let host = Host::new();
    host.z("network create -d macvlan -o parent=eth0 --subnet 203.0.113.0/29 --gateway 203.0.113.2 lan")
        .ok();
    assert_eq!(host.run("a", "--net lan").v4(), ip("203.0.113.3"));
    host.z(&format!("run --net lan --ip {HOST_V4} --rootfs / -- true"))
        .exits(125)
        .says(&[HOST_V4, "in use"]);
}

#[test]
fn nothing_of_the_kernels_own_is_on_the_interface() {
    let host = Host::new();
    on_the_wire(&host, "");
    let a = host.run("a", "--net lan");
    let addresses = &a.net.ip_json(&["addr", "show", "dev", "eth0"])[0]["addr_info"];
    assert_eq!(addresses.as_array().unwrap().len(), 3, "{addresses}");
    for setting in ["accept_ra", "addr_gen_mode"] {
        let key = format!("net/ipv6/conf/eth0/{setting}");
        let read = a
            .net
            .run(|| std::fs::read_to_string(format!("/proc/sys/{key}")).unwrap());
        let expected = if setting == "accept_ra" { "0" } else { "1" };
        assert_eq!(read.trim(), expected, "{setting}");
    }
}

#[test]
fn mode_private_keeps_neighbours_apart() {
    let host = Host::new();
    on_the_wire(&host, "-o macvlan_mode=private");
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net lan");
    is_silent(&a.net, b.v4());
    is_silent(&a.net, b.v6());
    answers(&host.outside, ip(OUTSIDE_V4), b.v4(), "b");
    answers(&host.outside, ip(OUTSIDE_V6), a.v6(), "a");
}

#[test]
fn mode_vepa_leaves_neighbours_to_the_switch() {
    let host = Host::new();
    on_the_wire(&host, "-o mode=vepa");
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net lan");
    is_silent(&a.net, b.v4());
    answers(&host.outside, ip(OUTSIDE_V4), b.v4(), "b");
    host.outside
        .output("bridge", &["link", "set", "dev", "wire", "hairpin", "on"], "");
    reach_each_other(&a, &b);
}

#[test]
fn mode_passthru_has_room_for_one() {
    let host = Host::new();
    host.net.ip("link add up1 type veth peer name down1
         link set up1 addrgenmode none
         link set down1 addrgenmode none
         link set up1 up
         link set down1 up
         addr add 10.9.0.1/24 dev down1");
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let before = Snapshot::take(&host);
    let create = "network create -d macvlan -o parent=up1 --subnet 10.9.0.0/24";
    host.z(&format!("{create} -o macvlan_mode=passthru whole")).ok();
    let (a, _a) = serving(&host, "a", "--net whole");
    answers(&host.net, ip("10.9.0.1"), a.v4(), "a");
    let mac = |link: &serde_json::Value| link["address"].clone();
    assert_eq!(
        mac(&a.net.ip_json(&["link", "show", "eth0"])[0]),
        mac(&host.net.ip_json(&["link", "show", "up1"])[0])
    );
    host.zdocker(&["run", "--net", "whole", "--rootfs", "/", "--", "true"])
        .exits(125)
        .says(&["room for one container", "\"a\""]);
    for subnet in ["10.8.0.0/24", "10.7.0.0/24"] {
        host.z(&format!(
            "network create -d macvlan -o parent=up1 --subnet {subnet} second"
        ))
        .exits(1)
        .says(&["up1", "whole", "passthru"]);
    }
    host.z("rm -f a").ok();
    host.z("run --net whole --mac-address 02:00:00:00:00:07 --rootfs / -- true")
        .exits(125)
        .says(&["--mac-address", "parent"]);
    host.z("run --rm --net whole --rootfs / -- true").ok();
    host.z("network rm whole").ok();
    before.assert_same(&host);
}

#[test]
fn networks_share_a_parent() {
    let host = Host::new();
    on_the_wire(&host, "");
    host.z("network create -d macvlan -o parent=eth0 --subnet 10.5.0.0/24 --aux-address nas=10.5.0.2 other")
        .ok();
    host.outside.ip("addr add 10.5.0.1/24 dev lan");
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net other");
    assert_eq!(b.v4(), ip("10.5.0.3"), "after the gateway and the reserved one");
    answers(&host.outside, ip("10.5.0.1"), b.v4(), "b");
    answers(&host.outside, ip(OUTSIDE_V4), a.v4(), "a");
    host.z("network create -d macvlan -o parent=eth0 --subnet 10.5.0.128/25 third")
        .exits(1)
        .says(&["10.5.0.0/24", "other"]);
    host.z("network create -d ipvlan -o parent=eth0 --subnet 10.6.0.0/24 third")
        .exits(1)
        .says(&["eth0", "macvlan and ipvlan"]);
}

#[test]
fn the_mtu_is_the_parents_or_less() {
    let host = Host::new();
    let mtu = |container: &Container| container.net.ip_json(&["link", "show", "eth0"])[0]["mtu"].clone();
    host.net.ip("link set eth0 mtu 1400");
    on_the_wire(&host, "");
    assert_eq!(mtu(&host.run("a", "--net lan")), 1400);
    host.z("network create -d macvlan -o parent=eth0 -o mtu=1300 --subnet 10.5.0.0/24 less")
        .ok();
    assert_eq!(mtu(&host.run("b", "--net less")), 1300);
    host.z("network create -d macvlan -o parent=eth0 -o mtu=1401 --subnet 10.6.0.0/24 more")
        .exits(1)
        .says(&["1401", "1400", "eth0"]);
}

#[test]
fn an_internal_network_has_no_way_out() {
    let host = Host::new();
    on_the_wire(&host, "--internal");
    let (a, _a) = serving(&host, "a", "--net lan");
    let (b, _b) = serving(&host, "b", "--net lan");
    reach_each_other(&a, &b);
    for family in ["-4", "-6"] {
        assert!(a.net.ip_json(&[family, "route", "show", "default"]).is_empty());
    }
}

#[test]
fn ports_cannot_be_published() {
    let host = Host::new();
    on_the_wire(&host, "");
    let output = host.z("run --rm --net lan -p 8080:80 --rootfs / -- true").ok().says(&[
        "published ports are discarded",
        "lan",
        "macvlan",
    ]);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    let _b = host.run("b", "--net lan");
    host.z("update --publish-add 8080:80 b").exits(1).says(&["b"]);
    // Beside a bridge network, that one publishes.
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let (a, _a) = serving(&host, "a", "--net lan --network name=n -p 7070:7000");
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 7070)).server, "a");
    answers(&host.outside, ip(OUTSIDE_V4), a.v4(), "a");
}

#[test]
fn what_is_sent_cannot_be_limited() {
    let host = Host::new();
    on_the_wire(&host, "");
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    for limit in ["--bandwidth-in 1M", "--bandwidth-out 1M"] {
        host.z(&format!("run --net lan {limit} --rootfs / -- true"))
            .exits(125)
            .says(&["--bandwidth-in", "lan", "macvlan"]);
    }
    host.z("run --rm --net lan --network name=n,bandwidth-in=1M --rootfs / -- true")
        .ok();
}

#[test]
fn running_containers_join_and_leave() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    on_the_wire(&host, "");
    let (b, _b) = serving(&host, "b", "--net lan");
    let (a, _a) = serving(&host, "a", "--net n");
    let before = Snapshot::take(&host);
    let inside = || {
        (
            a.net.ip_json(&["link", "show"]).len(),
            a.net.output("ip", &["route", "show", "table", "all"], ""),
            a.net.output("ip", &["rule", "show"], ""),
        )
    };
    host.z("network connect lan a").ok();
    host.z("network disconnect lan a").ok();
    // The first time leaves a table for the answers on the other network.
    let without = inside();
    host.z("network connect --gw-priority 1 lan a").ok();
    let (v4, v6) = (a.address("eth1", false), a.address("eth1", true));
    answers(&a.net, v4, b.v4(), "b");
    answers(&b.net, b.v6(), v6, "a");
    answers(&host.outside, ip(OUTSIDE_V4), v4, "a");
    let way_out = &a.net.ip_json(&["route", "show", "default"])[0];
    assert_eq!(
        (&way_out["gateway"], &way_out["dev"]),
        (&OUTSIDE_V4.into(), &"eth1".into())
    );
    host.z("network disconnect lan a").ok();
    assert_eq!(inside(), without);
    is_silent(&host.outside, v4);
    let way_out = &a.net.ip_json(&["route", "show", "default"])[0];
    assert_eq!(way_out["gateway"], "10.1.0.1");
    before.assert_same(&host);
    drop((a, b));
}

#[test]
fn a_container_that_is_started_again_is_on_the_wire_again() {
    let host = Host::new();
    on_the_wire(&host, "");
    host.z("create --name c --net lan --ip 203.0.113.222 --rootfs / -- busybox sleep infinity")
        .ok();
    for _ in 0..3 {
        host.z("start c").ok();
        host.outside.output("ping", &["-c1", "-W5", "203.0.113.222"], "");
        host.z("stop -t 0 c").ok();
    }
    host.z("rm c").ok();
    // The address is free at once: the kernel refuses it, and the MAC address that follows from it, while it is in use.
    for _ in 0..5 {
        host.z("run --rm --net lan --ip 203.0.113.222 --rootfs / -- true").ok();
    }
}

#[test]
fn a_dry_run_prints_what_would_be_done_and_does_nothing() {
    let host = Host::new();
    on_the_wire(&host, "-o macvlan_mode=vepa -o mtu=1400");
    let before = Snapshot::take(&host);
    host.z("run --dry-run --net lan --mac-address 02:00:00:00:00:07 --rootfs / -- true")
        .ok()
        .prints(&[
            "ip link add link eth0 name zdv",
            " address 02:00:00:00:00:07 mtu 1400 type macvlan mode vepa\n",
            "ip route replace 0.0.0.0/0 via 203.0.113.2 dev eth0",
        ]);
    let a = host.run("a", "--net lan");
    host.z("network disconnect --dry-run lan a")
        .ok()
        .prints(&["nsenter --net=", " ip link delete zdv"]);
    assert_eq!(host.z("network rm --dry-run lan").status, 1, "somebody is on it");
    host.z("rm -f a").ok();
    drop(a);
    assert_eq!(host.z("network rm --dry-run lan").ok().text(), "");
    before.assert_same(&host);
}

#[test]
fn what_cannot_be_a_parent_is_refused_with_the_reason() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.net.ip("link add br9 type bridge
         link add port9 type veth peer name other9
         link set port9 master br9
         tuntap add tun9 mode tun");
    let before = Snapshot::take(&host);
    for (options, words) in [
        ("-o parent=nowhere0", &["nowhere0", "ip link"][..]),
        ("-o parent=nowhere0.7", &["nowhere0.7"]),
        ("-o parent=eth0.x", &["eth0.x", "1 to 4094"]),
        ("-o parent=eth0.0", &["1 to 4094"]),
        ("-o parent=eth0.4095", &["1 to 4094"]),
        ("-o parent=lo", &["lo", "leads nowhere"]),
        ("-o parent=lo.7", &["lo", "leads nowhere"]),
        ("-o parent=port9", &["port9", "-o parent=br9"]),
        ("-o parent=n", &["the bridge of network \"n\""]),
        ("-o parent=tun9", &["tun9", "Ethernet", "ipvlan"]),
        ("-o parent=not/a/name", &["not/a/name"]),
        (
            "-o parent=eth0 -o macvlan_mode=fast",
            &["fast", "bridge, private, vepa or passthru"],
        ),
        ("-o parent=eth0 -o bclim=many", &["many", "bclim"]),
        ("-o parent=eth0 -o mtu=60", &["60", "68"]),
        ("-o parent=eth0 -o icc=false", &["icc", "macvlan", "macvlan_mode"]),
        ("-o parent=eth0 -o ipvlan_mode=l2", &["ipvlan_mode"]),
        ("-o parent=eth0 --subnet 10.1.0.0/25", &["10.1.0.0/24", "\"n\""]),
    ] {
        host.z(&format!("network create -d macvlan {options} m"))
            .exits(1)
            .says(words);
    }
    host.z("network create -d macvlan -o parent=br9 --subnet 10.2.0.0/24 m")
        .ok();
    host.z("network rm m").ok();
    before.assert_same(&host);
}

#[test]
fn what_the_kernel_lacks_is_named() {
    let host = Host::new();
    on_the_wire(&host, "");
    let before = Snapshot::take(&host);
    for (feature, options, kind) in [
        (Feature::Dummy, "", "dummy"),
        (Feature::Vlan, "-o parent=eth0.7", "vlan"),
    ] {
        if !feature.is_there() {
            host.z(&format!("network create -d macvlan {options} m"))
                .exits(1)
                .says(&[&format!("this kernel has no {kind} interfaces")]);
            assert_eq!(host.z("network ls -q").ok().text().lines().count(), 4);
        }
    }
    before.assert_same(&host);
}

#[test]
fn a_parent_that_is_gone_is_named_and_repaired_when_it_is_back() {
    let host = Host::new();
    let plug = "link add up1 type veth peer name down1
                link set up1 up
                link set down1 up
                addr add 10.9.0.1/24 dev down1";
    host.net.ip(plug);
    host.z("network create -d macvlan -o parent=up1 --subnet 10.9.0.0/24 m")
        .ok();
    let (a, _a) = serving(&host, "a", "--net m");
    answers(&host.net, ip("10.9.0.1"), a.v4(), "a");
    let own = a.v4();
    host.net.ip("link delete up1");
    let gone = "network m has lost its parent interface";
    host.z("system check").exits(1).prints(&[gone]);
    host.z("run --rm --net m --rootfs / -- true")
        .exits(125)
        .says(&["up1", "\"m\"", "network rm m"]);
    host.z("run --dry-run --net m --rootfs / -- true")
        .exits(125)
        .says(&["up1"]);
    host.z("system check --repair").ok();
    host.net.ip(plug);
    host.z("system check")
        .exits(1)
        .prints(&["container a has lost its interface to network m"]);
    host.z("system check --repair").ok();
    host.z("system check").ok();
    answers(&host.net, ip("10.9.0.1"), own, "a");
    // Without its parent, all can be removed as well.
    host.net.ip("link delete up1");
    host.z("rm -f a").ok();
    host.z("network rm m").ok();
}

#[test]
fn connect_and_disconnect_killed_are_tidied_by_repair() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    on_the_wire(&host, "");
    let a = host.run("a", "--net n");
    let inside = || {
        (
            a.net.ip_json(&["link", "show"]).len(),
            a.net.output("ip", &["route", "show", "table", "all"], ""),
        )
    };
    host.z("network connect lan a").ok();
    host.z("network disconnect lan a").ok();
    let before = inside();
    let tidy = || {
        host.z("system check --repair").ok();
        host.z("network disconnect -f lan a").ok();
        assert_eq!(inside(), before);
    };
    let connect = "network connect --ip 203.0.113.140 --gw-priority 1 lan a";
    killed_at_each(&host, (KERNEL, 2), || {}, connect, tidy);
    killed_at_each(&host, (RECORDS, 6), || {}, connect, tidy);
    let connected = || drop(host.z(connect).ok());
    killed_at_each(&host, (KERNEL, 2), connected, "network disconnect lan a", tidy);
}

#[test]
fn run_killed_is_tidied_by_rm() {
    let host = Host::new();
    if !has_strace(&host) {
        return;
    }
    on_the_wire(&host, "");
    let tidy = || {
        let removed = host.z("rm -f c");
        assert!([0, 1].contains(&removed.status), "{removed:?}");
    };
    let run = "run -d --name c --net lan --ip 203.0.113.140 --rootfs / -- true";
    killed_at_each(&host, (KERNEL, 3), || {}, run, tidy);
}
