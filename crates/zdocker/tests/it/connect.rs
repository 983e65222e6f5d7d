//! `network connect` and `disconnect`, and containers on several networks.

use std::fs::{self, File};

use crate::harness::{Container, HOST_V4, Host, NetNs, Proto, Server, Snapshot, does_not_reach, ip, reaches};

const PORT: u16 = 7000;

fn two_networks(host: &Host) {
    for number in [1, 2] {
        host.z(&format!(
            "network create --subnet 10.{number}.0.0/24 --subnet fd00:{number}::/64 n{number}"
        ))
        .ok();
    }
}

fn serving(host: &Host, name: &str, options: &str) -> (Container, Server) {
    let container = host.run(name, options);
    let server = Server::start(&container.net, name, PORT);
    (container, server)
}

#[track_caller]
fn answers(from: &NetNs, target: &str, name: &str) {
    for proto in [Proto::Tcp, Proto::Udp] {
        assert_eq!(
            reaches(from, proto, (ip(target), PORT)).server,
            name,
            "{target} by {proto:?}"
        );
    }
}

fn hosts_of(host: &Host, container: &str) -> String {
    host.zdocker(&["exec", container, "busybox", "cat", "/etc/hosts"])
        .ok()
        .text()
        .to_owned()
}

/// The neighbour that the default route of IPv4 (or IPv6) leads to.
fn way_out(container: &Container, family: &str) -> Option<String> {
    let routes = container.net.ip_json(&[family, "route", "show", "default"]);
    Some(routes.first()?["gateway"].as_str()?.to_owned())
}

#[test]
fn a_running_container_joins_and_leaves_a_network() {
    let host = Host::new();
    two_networks(&host);
    let (b, _b) = serving(&host, "b", "--net n2");
    let (a, _a) = serving(&host, "a", "--net n1");
    does_not_reach(&a.net, Proto::Tcp, (b.v4(), PORT));
    let before = Snapshot::take(&host);

    host.z("network connect n2 a").ok();
    answers(&a.net, &b.v4().to_string(), "b");
    answers(&a.net, &b.v6().to_string(), "b");
    let (v4, v6) = (a.address("eth1", false), a.address("eth1", true));
    answers(&b.net, &v4.to_string(), "a");
    answers(&b.net, &v6.to_string(), "a");
    assert_eq!(way_out(&a, "-4").as_deref(), Some("10.1.0.1"));
    let inspected = host.z("network inspect n2").ok().json();
    assert_eq!(inspected[0]["Containers"][&a.id]["IPv4Address"], format!("{v4}/24"));

    host.z("network disconnect n2 a").ok();
    assert_eq!(a.net.ip_json(&["link", "show"]).len(), 2);
    let rules = a.net.ip_json(&["rule", "show"]);
    assert!(!format!("{rules:?}").contains("10.2."), "{rules:?}");
    does_not_reach(&a.net, Proto::Tcp, (b.v4(), PORT));
    answers(&host.net, &a.v4().to_string(), "a");
    before.assert_same(&host);
}

#[test]
fn neighbours_know_each_other_by_name_as_long_as_they_are_neighbours() {
    let host = Host::new();
    two_networks(&host);
    let _b = host.run("b", "--net n2 --network-alias db");
    let a = host.run("a", "--net n1 --add-host printer:192.0.2.7");
    assert!(hosts_of(&host, "a").contains("192.0.2.7\tprinter"));
    assert!(!hosts_of(&host, "a").contains("db"));
    host.z("network connect --alias front --alias web n2 a").ok();
    for (from, name) in [
        ("a", "b"),
        ("a", "db"),
        ("b", "a"),
        ("b", "front"),
        ("b", "web"),
        ("b", &a.id[..12]),
    ] {
        host.zdocker(&["exec", from, "busybox", "ping", "-c", "1", "-W", "5", name])
            .ok();
    }
    let late = host.run("c", "--net n2");
    for text in [hosts_of(&host, "a"), hosts_of(&host, "b")] {
        assert!(
            text.contains(&format!("{}\tc {}\n", late.v4(), &late.id[..12])),
            "{text}"
        );
    }
    assert!(hosts_of(&host, "c").contains(&format!("{}\ta front web {}", a.address("eth1", true), &a.id[..12])));
    host.z("rm -f c").ok();
    host.z("network disconnect n2 a").ok();
    assert!(!hosts_of(&host, "b").contains("front"));
    let own = hosts_of(&host, "a");
    assert!(
        !own.contains("10.2.0.") && !own.contains("\tb ") && own.contains("printer"),
        "{own}"
    );
}

#[test]
fn what_a_container_adds_to_its_names_stays() {
    let host = Host::new();
    two_networks(&host);
    let _a = host.run("a", "--net n1");
    host.zdocker(&[
        "exec",
        "a",
        "busybox",
        "sh",
        "-c",
        "printf '192.0.2.9\\tmine' >> /etc/hosts",
    ])
    .ok();
    let _b = host.run("b", "--net n1");
    host.z("rm -f b").ok();
    assert!(
        hosts_of(&host, "a").ends_with("\n192.0.2.9\tmine"),
        "{}",
        hosts_of(&host, "a")
    );
}

#[test]
fn what_a_container_does_to_its_names_keeps_nobody_waiting() {
    let host = Host::new();
    two_networks(&host);
    let a = host.run("a", "--net n1");
    let file = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{}/root/etc/hosts", a.pid))
        .unwrap();
    // As a process of the container can.
    file.lock().unwrap();
    let b = host.run("b", "--net n1");
    assert!(hosts_of(&host, "a").contains(&format!("{}\tb ", b.v4())));
    host.z("network connect n2 a").ok();
    file.set_len(1 << 42).unwrap();
    host.z("network disconnect n2 a").ok();
    host.z("rm -f b").ok();
    host.run("c", "--net n1");
}

#[test]
fn the_highest_priority_gives_the_way_out() {
    let host = Host::new();
    two_networks(&host);
    let a = host.run("a", "--net n1");
    host.z("network connect --gw-priority 5 n2 a").ok();
    assert_eq!(way_out(&a, "-4").as_deref(), Some("10.2.0.1"));
    assert_eq!(way_out(&a, "-6").as_deref(), Some("fd00:2::1"));
    host.z("network disconnect n2 a").ok();
    assert_eq!(way_out(&a, "-4").as_deref(), Some("10.1.0.1"));
    assert_eq!(way_out(&a, "-6").as_deref(), Some("fd00:1::1"));
    let b = host.run("b", "--network name=n1 --network name=n2,gw-priority=1");
    assert_eq!(way_out(&b, "-4").as_deref(), Some("10.2.0.1"));
    host.z("network disconnect n2 b").ok();
    assert_eq!(way_out(&b, "-4").as_deref(), Some("10.1.0.1"));
    host.z("network disconnect n1 b").ok();
    assert_eq!(way_out(&b, "-4"), None);
    host.z("network connect n1 b").ok();
    assert_eq!(way_out(&b, "-4").as_deref(), Some("10.1.0.1"));
}

#[test]
fn answers_leave_by_the_network_that_the_question_came_in_by() {
    let host = Host::new();
    two_networks(&host);
    // Published by its first network; who asks is its neighbour on the second.
    let (_a, _server) = serving(&host, "a", "--net n1 --net n2 -p 8080:7000 -p 8080:7000/udp");
    let c = host.run("c", "--net n2");
    for proto in [Proto::Tcp, Proto::Udp] {
        assert_eq!(reaches(&c.net, proto, (ip(HOST_V4), 8080)).server, "a", "{proto:?}");
    }
}

#[test]
fn published_ports_outlive_the_network_that_they_were_published_by() {
    let host = Host::new();
    two_networks(&host);
    let (a, _server) = serving(&host, "a", "--net n1 -p 8080:7000");
    host.z("network connect n2 a").ok();
    let reached = || reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    assert_eq!(reached().server, "a");
    host.z("network disconnect n1 a").ok();
    assert_eq!(reached().server, "a");
    assert_eq!(way_out(&a, "-4").as_deref(), Some("10.2.0.1"));
    let warned = host.z("network disconnect n2 a").ok();
    assert!(warned.stderr.contains("publishes nothing any more"), "{warned:?}");
    does_not_reach(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    host.z("network connect n2 a").ok();
    assert_eq!(reached().server, "a");
}

#[test]
fn a_port_that_a_program_of_the_host_holds_by_now_is_not_taken_from_it() {
    let host = Host::new();
    two_networks(&host);
    host.z("network create --internal --subnet 10.9.0.0/24 inside").ok();
    let (a, _server) = serving(&host, "a", "--net inside -p 8080:7000");
    let program = Server::start(&host.net, "host", 8080);
    host.z("network connect n1 a").exits(1).says(&["8080"]);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "host");
    assert_eq!(a.net.ip_json(&["link", "show"]).len(), 2);
    drop(program);
    host.z("network connect n1 a").ok();
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
}

#[test]
fn everything_can_be_asked_of_an_endpoint() {
    let host = Host::new();
    two_networks(&host);
    let a = host.run(
        "a",
        "--network name=n1,ip=10.1.0.77,ip6=fd00:1::77,mac-address=02:00:00:00:00:77,\
         driver-opt=com.docker.network.endpoint.ifname=wan0,\
         driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
    );
    assert_eq!(a.address("wan0", false), ip("10.1.0.77"));
    assert_eq!(a.address("wan0", true), ip("fd00:1::77"));
    let sysctl = |key: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{key}/log_martians");
        a.net.run(|| fs::read_to_string(&path).unwrap()).trim().to_owned()
    };
    assert_eq!((sysctl("wan0").as_str(), sysctl("lo").as_str()), ("1", "0"));
    host.z(
        "network connect --ip 10.2.0.9 --ip6 fd00:2::9 --mac-address 02:00:00:00:00:99 \
         --driver-opt com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 n2 a",
    )
    .ok();
    assert_eq!((a.v4(), a.v6()), (ip("10.2.0.9"), ip("fd00:2::9")));
    assert_eq!(sysctl("eth0"), "1");
    assert_eq!(
        a.net.ip_json(&["link", "show", "dev", "eth0"])[0]["address"],
        "02:00:00:00:00:99"
    );
}

#[test]
fn a_container_that_does_not_run_changes_networks_for_its_next_start() {
    let host = Host::new();
    two_networks(&host);
    host.z("create --name a --net n1 --rootfs / -- busybox sleep infinity")
        .ok();
    host.z("network connect --ip 10.2.0.9 --gw-priority 3 n2 a").ok();
    host.z("start a").ok();
    let routes = host
        .zdocker(&["exec", "a", "busybox", "ip", "route"])
        .ok()
        .text()
        .to_owned();
    assert!(
        routes.contains("default via 10.2.0.1") && routes.contains("src 10.2.0.9"),
        "{routes}"
    );
    host.z("stop -t 0 a").ok();
    host.z("network disconnect n1 a").ok();
    host.z("network disconnect n1 a")
        .exits(1)
        .says(&["a", "not on network", "n1"]);
    host.z("start a").ok();
    let links = host
        .zdocker(&["exec", "a", "busybox", "ip", "-o", "link"])
        .ok()
        .text()
        .to_owned();
    assert_eq!(links.lines().count(), 2, "{links}");
    host.z("network connect nowhere a").exits(1).says(&["nowhere"]);
    host.z("create --name b --net host --rootfs / -- true").ok();
    host.z("network disconnect host b")
        .exits(1)
        .says(&["b", "shares the network"]);
}

#[test]
fn what_cannot_be_connected_is_refused_and_nothing_changes() {
    let host = Host::new();
    two_networks(&host);
    let _a = host.run("a", "--net n1");
    let _taken = host.run("taken", "--net n2 --ip 10.2.0.9");
    let _shared = host.run("shared", "--net container:a");
    let _on_host = host.run("on-host", "--net host");
    let before = Snapshot::take(&host);
    for (arguments, words) in [
        ("connect n1 a", &["on network", "n1", "already"][..]),
        ("connect n2 shared", &["shared", "shares the network"]),
        ("connect n2 on-host", &["on-host", "shares the network"]),
        ("connect host a", &["host", "combined"]),
        ("connect n2 nobody", &["nobody"]),
        ("connect nowhere a", &["nowhere"]),
        ("connect --ip 10.2.0.9 n2 a", &["10.2.0.9", "in use"]),
        ("connect --ip 10.3.0.9 n2 a", &["10.3.0.9", "no subnet"]),
        ("connect --ip 10.2.0.255 n2 a", &["10.2.0.255", "broadcast"]),
        ("connect --alias a/b n2 a", &["a/b"]),
        ("connect --driver-opt color=red n2 a", &["color"]),
        (
            "connect --driver-opt com.docker.network.endpoint.ifname=eth0 n2 a",
            &["eth0"],
        ),
        ("disconnect n2 a", &["a", "not on network", "n2"]),
    ] {
        host.z(&format!("network {arguments}")).exits(1).says(words);
    }
    host.z("network disconnect -f n2 a").ok();
    host.z("network connect --dry-run n2 a")
        .ok()
        .prints(&["ip link add zdv", "master n2", "ip rule add from 10.2.0."]);
    host.z("network disconnect --dry-run n1 a")
        .ok()
        .prints(&["ip link delete zdv"]);
    before.assert_same(&host);
}

#[test]
fn many_connect_one_container_at_the_same_time() {
    let host = Host::new();
    for number in 1..=6 {
        host.z(&format!("network create --subnet 10.{number}.0.0/24 n{number}"))
            .ok();
    }
    let a = host.run("a", "--net none");
    let commands: Vec<_> = (1..=6)
        .map(|number| {
            let name = format!("n{number}");
            host.spawn(&mut host.zdocker_command(&["network", "connect", &name, "a"]))
                .unwrap()
        })
        .collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    assert_eq!(a.net.ip_json(&["link", "show"]).len(), 7);
    assert_eq!(a.net.ip_json(&["-4", "route", "show", "default"]).len(), 1);
    host.z("system check").ok();
    host.z("rm -f a").ok();
    for number in 1..=6 {
        host.z(&format!("network rm n{number}")).ok();
    }
}
