//! `network reload`: every kind of damage is found, said, mended, and traffic goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::thread;

use crate::harness::{
    Container, HOST_V4, HOST_V6, Host, OUTSIDE_V4, Proto, Server, Snapshot, does_not_reach, ip, reaches, until,
};

/// Two containers on a network of both families, one of them on a second network, too, and publishing a port.
struct Scene {
    host: Host,
    web: Container,
    other: Container,
    /// The host's ends of the interfaces of `web`.
    ports: [String; 2],
    _servers: [Server; 2],
}

/// The host's end of a container's interface.
fn host_end(host: &Host, container: &Container, interface: &str) -> String {
    let inside = container.net.ip_json(&["link", "show", "dev", interface]);
    let index = &inside[0]["link_index"];
    let links = host.net.ip_json(&["link", "show"]);
    let end = links.iter().find(|link| link["ifindex"] == *index).unwrap();
    end["ifname"].as_str().unwrap().to_owned()
}

impl Scene {
    fn new() -> Self {
        let host = Host::new();
        host.z("network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 n")
            .ok();
        host.z("network create --subnet 10.2.0.0/24 -o icc=false m").ok();
        let web = host.run(
            "web",
            "--network name=n,ip=10.1.0.7,ip6=fd00:1::7,mac-address=02:00:00:00:00:07 --network m -p 8080:80",
        );
        let other = host.run("other", "--net n");
        let ports = ["eth0", "eth1"].map(|interface| host_end(&host, &web, interface));
        let servers = [
            Server::start(&web.net, "web", 80),
            Server::start(&other.net, "other", 80),
        ];
        Scene {
            host,
            web,
            other,
            ports,
            _servers: servers,
        }
    }

    #[track_caller]
    fn works(&self) {
        for (net, target, port) in [
            (&self.host.outside, HOST_V4, 8080),
            (&self.host.outside, HOST_V6, 8080),
            (&self.other.net, "10.1.0.7", 80),
            (&self.other.net, "fd00:1::7", 80),
            // By hairpin.
            (&self.web.net, HOST_V4, 8080),
        ] {
            assert_eq!(reaches(net, Proto::Tcp, (ip(target), port)).server, "web");
        }
        let _server = Server::start(&self.host.outside, "outside", 9000);
        let answer = reaches(&self.web.net, Proto::Tcp, (ip(OUTSIDE_V4), 9000));
        assert_eq!(answer.source, ip(HOST_V4));
    }

    /// How steps within the container `web` begin.
    fn inside(&self) -> String {
        let path = self.host.run_root().join("netns").join(&self.web.id);
        format!("nsenter --net='{}' ", path.display())
    }

    fn in_host(&self, script: &str) {
        self.host.net.output("sh", &["-e"], script);
    }

    fn in_web(&self, script: &str) {
        self.web.net.output("sh", &["-e"], script);
    }

    /// The steps that a dry run of a reload says, the same when they are done, and none afterwards.
    #[track_caller]
    fn is_mended_by(&self, damage: &str, expected: &[&str]) {
        let dry = self.host.z("network reload --all --dry-run").ok();
        let steps: Vec<String> = dry
            .stdout
            .lines()
            .map(|line| {
                let line = line.replace(&self.inside(), "inside: ");
                let line = line.replace(&self.ports[0], "PORT0");
                line.replace(&self.ports[1], "PORT1")
            })
            .collect();
        assert_eq!(steps, expected, "{damage}");
        // The dry run has mended nothing.
        let check = self.host.z("system check").exits(1);
        for line in dry.stdout.lines() {
            assert!(
                check.stdout.contains(line),
                "{damage}: {line} is not in {}",
                check.stdout
            );
        }
        let done = self.host.z("network reload --all").ok();
        assert_eq!(done.stdout, dry.stdout, "{damage}");
        self.works();
        assert_eq!(self.host.z("network reload --all").ok().stdout, "", "{damage}");
        self.host.z("system check").ok();
    }
}

#[test]
fn damage_of_the_host_and_its_bridges_is_mended() {
    let scene = Scene::new();
    scene.works();
    assert_eq!(scene.host.z("network reload --all").ok().stdout, "");
    for (damage, expected) in [
        (
            "sysctl -qw net.ipv4.ip_forward=0",
            &["sysctl -w net/ipv4/ip_forward=1"][..],
        ),
        ("ip link set dev n mtu 1280", &["ip link set dev n mtu 1500"]),
        (
            "ip addr del 10.1.0.1/24 dev n",
            &["ip address add 10.1.0.1/24 dev n brd +"],
        ),
        (
            "ip addr del fd00:1::1/64 dev n",
            &["ip address add fd00:1::1/64 dev n nodad"],
        ),
        (
            "sysctl -qw net.ipv4.conf.n.route_localnet=0 net.ipv6.conf.n.accept_ra=1",
            &[
                "sysctl -w net/ipv6/conf/n/accept_ra=0",
                "sysctl -w net/ipv4/conf/n/route_localnet=1",
            ],
        ),
        (
            "ip addr del 10.1.0.1/24 dev n; ip addr add 10.1.0.1/16 dev n",
            &[
                "ip address delete 10.1.0.1/16 dev n",
                "ip address add 10.1.0.1/24 dev n brd +",
            ],
        ),
        (
            "ip link set dev n down",
            &[
                "ip address add fd00:1::1/64 dev n nodad",
                "LINK LOCAL",
                "ip link set n up",
            ],
        ),
    ] {
        scene.in_host(damage);
        let bridge = scene.host.net.ip_json(&["link", "show", "dev", "n"]);
        let link_local = link_local_of(bridge[0]["address"].as_str().unwrap());
        let line = format!("ip address add {link_local}/64 dev n nodad");
        let expected: Vec<&str> = expected
            .iter()
            .map(|step| if *step == "LINK LOCAL" { &line } else { *step })
            .collect();
        scene.is_mended_by(damage, &expected);
    }
}

/// The address of RFC 4291, appendix A.
fn link_local_of(mac: &str) -> std::net::Ipv6Addr {
    let b: Vec<u16> = mac
        .split(':')
        .map(|byte| u16::from_str_radix(byte, 16).unwrap())
        .collect();
    std::net::Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        (b[0] ^ 2) << 8 | b[1],
        b[2] << 8 | 0xff,
        0xfe00 | b[3],
        b[4] << 8 | b[5],
    )
}

#[test]
fn damage_of_the_hosts_ends_is_mended() {
    let scene = Scene::new();
    let [port0, port1] = &scene.ports;
    let join0 = [
        "ip link set PORT0 master n",
        "bridge link set dev PORT0 hairpin on isolated off",
    ];
    let join1 = [
        "ip link set PORT1 master m",
        "bridge link set dev PORT1 hairpin off isolated on",
    ];
    for (damage, expected) in [
        (format!("ip link set {port0} nomaster"), &join0[..]),
        (format!("ip link set {port0} master m"), &join0),
        (format!("bridge link set dev {port0} hairpin off"), &join0),
        (format!("bridge link set dev {port0} isolated on"), &join0),
        (format!("bridge link set dev {port1} isolated off"), &join1),
        (format!("bridge link set dev {port1} hairpin on"), &join1),
        (format!("ip link set {port0} down"), &["ip link set PORT0 up"]),
        (
            format!("ip link set {port0} mtu 1280"),
            &["ip link set dev n mtu 1500", "ip link set dev PORT0 mtu 1500"],
        ),
    ] {
        scene.in_host(&damage);
        scene.is_mended_by(&damage, expected);
    }
    // The interface is made anew, with all that belongs to it.
    scene.in_host(&format!("ip link del {port0}"));
    does_not_reach(&scene.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    let dry = scene.host.z("network reload n --dry-run").ok();
    dry.prints(&["ip link add", "master n", "address add 10.1.0.7/24", "via 10.1.0.1"]);
    let again = scene.host.z("network reload m").ok();
    assert_eq!(again.stdout, "", "network m has lost nothing");
    scene.host.z("network reload n").ok();
    scene.works();
    assert_eq!(scene.host.z("network reload --all").ok().stdout, "");
    // The bridge, too, with its ports.
    scene.in_host("ip link del dev n");
    let done = scene.host.z("network reload n").ok();
    assert_eq!(done.stdout.matches("master n").count(), 2, "{}", done.stdout);
    scene.works();
    assert_eq!(scene.host.z("network reload --all").ok().stdout, "");
}

#[test]
fn damage_within_containers_is_mended() {
    let scene = Scene::new();
    for (damage, expected) in [
        (
            "ip link set dev eth0 mtu 1280",
            &["inside: ip link set dev eth0 mtu 1500"][..],
        ),
        (
            "ip link set dev eth0 address 02:00:00:00:00:99",
            &["inside: ip link set dev eth0 address 02:00:00:00:00:07"],
        ),
        (
            "ip addr del 10.1.0.7/24 dev eth0",
            &[
                "inside: ip address add 10.1.0.7/24 dev eth0 brd +",
                "inside: ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0",
                "inside: ip route replace 10.1.0.0/24 dev eth0 table 1000",
                "inside: ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0 table 1000",
            ],
        ),
        (
            "ip addr del fd00:1::7/64 dev eth0",
            &["inside: ip address add fd00:1::7/64 dev eth0 nodad"],
        ),
        (
            "ip route del default",
            &["inside: ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0"],
        ),
        (
            "ip route replace default via 10.1.0.9",
            &["inside: ip route replace 0.0.0.0/0 via 10.1.0.1 dev eth0"],
        ),
        (
            "ip -6 route del default",
            &["inside: ip route replace ::/0 via fd00:1::1 dev eth0"],
        ),
        (
            "ip route del default table 1001",
            &["inside: ip route replace 0.0.0.0/0 via 10.2.0.1 dev eth1 table 1001"],
        ),
        (
            "ip rule del from 10.1.0.7 pref 30000; ip rule add from 10.1.0.7 lookup 77 pref 30000",
            &[
                "inside: ip rule delete from 10.1.0.7 lookup 77 pref 30000",
                "inside: ip rule add from 10.1.0.7 lookup 1000 pref 30000",
            ],
        ),
        (
            "ip -6 rule del from fd00:1::7 pref 30000",
            &["inside: ip -6 rule add from fd00:1::7 lookup 1000 pref 30000"],
        ),
        (
            "sysctl -qw net.ipv6.conf.eth0.accept_ra=1",
            &["inside: sysctl -w net/ipv6/conf/eth0/accept_ra=0"],
        ),
        ("ip link set lo down; ip link set lo up", &[]),
    ] {
        scene.in_web(damage);
        if expected.is_empty() {
            assert_eq!(scene.host.z("network reload --all").ok().stdout, "", "{damage}");
        } else {
            scene.is_mended_by(damage, expected);
        }
    }
    // What somebody added stays.
    scene
        .in_web("ip addr add 10.9.9.9/32 dev eth0; ip route add 10.9.8.0/24 via 10.1.0.9; ip rule add pref 5 lookup 9");
    scene.in_host("ip addr add 10.9.9.1/32 dev n; ip link add foreign type veth peer name foreign0 master n");
    let before = Snapshot::take(&scene.host);
    assert_eq!(scene.host.z("network reload --all").ok().stdout, "");
    before.assert_same(&scene.host);
    // All at once.
    scene.in_web("ip link set eth0 down; ip addr flush dev eth0; ip rule flush; ip rule add lookup main pref 32766");
    scene.host.z("network reload n").ok();
    scene.works();
    assert_eq!(scene.host.z("network reload --all").ok().stdout, "");
}

#[test]
fn sysctls_of_an_endpoint_are_mended() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let option = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    let c = host.run("c", &format!("--network name=n,{option}"));
    c.net
        .output("sysctl", &["-qw", "net.ipv4.conf.eth0.log_martians=0"], "");
    let done = host.z("network reload n").ok();
    assert!(
        done.stdout.ends_with("sysctl -w net/ipv4/conf/eth0/log_martians=1\n"),
        "{}",
        done.stdout
    );
    let value = c.net.output("sysctl", &["-n", "net.ipv4.conf.eth0.log_martians"], "");
    assert_eq!(value.trim(), "1");
}

#[test]
fn damage_of_the_tables_is_mended() {
    let scene = Scene::new();
    let add = |set: &str, elements: &str| format!("nft add element {set} '{{ {elements} }}'");
    let delete = |set: &str, elements: &str| format!("nft delete element {set} '{{ {elements} }}'");
    let pin = "\"PORT0\" . 02:00:00:00:00:07 . 10.1.0.7";
    for (damage, expected) in [
        (
            "delete element inet zdocker pub4any { tcp . 8080 }",
            vec![add("inet zdocker pub4any", "tcp . 8080 : 10.1.0.7 . 80")],
        ),
        (
            "delete element inet zdocker pub4any { tcp . 8080 }
             add element inet zdocker pub4any { tcp . 8080 : 10.1.0.99 . 80 }",
            vec![
                delete("inet zdocker pub4any", "tcp . 8080 : 10.1.0.99 . 80"),
                add("inet zdocker pub4any", "tcp . 8080 : 10.1.0.7 . 80"),
            ],
        ),
        (
            "add element inet zdocker pub4any { tcp . 9999 : 10.1.0.7 . 80 }",
            vec![delete("inet zdocker pub4any", "tcp . 9999 : 10.1.0.7 . 80")],
        ),
        (
            "delete element inet zdocker masq4 { 10.1.0.0/24 }",
            vec![add("inet zdocker masq4", "10.1.0.0/24")],
        ),
        (
            "add element inet zdocker masq4 { 10.77.0.0/24 }
             add element inet zdocker bridges { \"eth0\" }",
            vec![
                delete("inet zdocker masq4", "10.77.0.0/24"),
                delete("inet zdocker bridges", "\"eth0\""),
            ],
        ),
        (
            "delete element inet zdocker same4 { 10.1.0.0/24 . 10.1.0.0/24 }",
            vec![add("inet zdocker same4", "10.1.0.0/24 . 10.1.0.0/24")],
        ),
        (
            "delete element inet zdocker bridges { \"n\" }
             delete element inet zdocker links { \"n\" . \"n\" : accept }",
            vec![
                add("inet zdocker bridges", "\"n\""),
                add("inet zdocker links", "\"n\" . \"n\" : accept"),
            ],
        ),
        (
            "add element inet zdocker internal { \"n\" }",
            vec![delete("inet zdocker internal", "\"n\"")],
        ),
        (
            "delete element bridge zdocker pins4 { \"PORT0\" . 02:00:00:00:00:07 . 10.1.0.7 }",
            vec![add("bridge zdocker pins4", pin)],
        ),
        (
            "add element bridge zdocker pins4 { \"zdvstranger\" . 02:00:00:00:00:99 . 10.1.0.99 }",
            vec![delete(
                "bridge zdocker pins4",
                "\"zdvstranger\" . 02:00:00:00:00:99 . 10.1.0.99",
            )],
        ),
        (
            "delete element bridge zdocker targets6 { \"PORT0\" . 0xfd000001000000000000000000000007 }",
            vec![add(
                "bridge zdocker targets6",
                "\"PORT0\" . 0xfd000001000000000000000000000007",
            )],
        ),
    ] {
        scene.host.net.nft(&damage.replace("PORT0", &scene.ports[0]));
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        scene.is_mended_by(damage, &expected);
    }
}

#[test]
fn tables_that_are_not_as_they_were_loaded_are_replaced() {
    let scene = Scene::new();
    // Connections live through it.
    let flow = crate::harness::UdpFlow::open(&scene.web.net, (ip(HOST_V4), 8080).into());
    drop(flow);
    for damage in [
        "insert rule inet zdocker forward drop",
        "flush chain inet zdocker publish",
        "add chain inet zdocker forward { policy drop; }",
        "delete table bridge zdocker",
        "flush ruleset",
        "add element inet zdocker masq4 { 10.3.0.1-10.3.0.9 }",
    ] {
        scene.host.net.nft(damage);
        let dry = scene.host.z("network reload --all --dry-run").ok();
        dry.prints(&["zdocker system firewall | nft -f -", "tcp . 8080 : 10.1.0.7 . 80"]);
        scene
            .host
            .z("system check")
            .exits(1)
            .prints(&["has lost its firewall rules, or has others"]);
        scene.host.z("network reload m").ok();
        scene.works();
        assert_eq!(scene.host.z("network reload --all").ok().stdout, "", "{damage}");
    }
}

#[test]
fn names_choose_what_is_mended() {
    let scene = Scene::new();
    scene.in_host("ip link set dev n mtu 1280; ip link set dev m mtu 1280");
    scene.host.net.nft(
        "add element inet zdocker masq4 { 10.77.0.0/24 }
         add element inet zdocker pub4any { tcp . 9999 : 10.1.0.7 . 80 }",
    );
    let done = scene.host.z("network reload n").ok();
    let expected =
        "nft delete element inet zdocker pub4any '{ tcp . 9999 : 10.1.0.7 . 80 }'\nip link set dev n mtu 1500\n";
    assert_eq!(done.stdout, expected);
    let done = scene.host.z("network reload --all").ok();
    let expected = "nft delete element inet zdocker masq4 '{ 10.77.0.0/24 }'\nip link set dev m mtu 1500\n";
    assert_eq!(done.stdout, expected);
    // The good ones are mended although one is not there.
    scene.in_host("ip link set dev n mtu 1280");
    let done = scene
        .host
        .z("network reload nowhere n")
        .exits(1)
        .says(&["no network \"nowhere\""]);
    assert_eq!(done.stdout, "ip link set dev n mtu 1500\n");
    for network in ["host", "none", "bridge"] {
        assert_eq!(scene.host.z(&format!("network reload {network}")).ok().stdout, "");
    }
    scene.host.z("network reload").exits(125).says(&["--all"]);
    scene.host.z("network reload --all n").exits(125).says(&["--all"]);
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let scene = Scene::new();
    scene
        .in_host("ip link del dev n; ip link add name n type bridge; ip link set dev n up; ip link set dev m mtu 1280");
    let stranger = scene.host.net.ip_json(&["link", "show", "dev", "n"]);
    let done = scene.host.z("network reload --all").exits(1);
    let done = done.says(&["interface n exists", "not network \"n\"'s bridge", "ip link delete n"]);
    assert_eq!(done.stdout, "ip link set dev m mtu 1500\n");
    scene.host.z("network reload n").exits(1).says(&["interface n exists"]);
    scene.host.z("system check").exits(1).prints(&["interface n exists"]);
    scene
        .host
        .z("system check --repair")
        .exits(1)
        .says(&["interface n exists"]);
    let after = scene.host.net.ip_json(&["link", "show", "dev", "n"]);
    assert_eq!(after, stranger);
    assert!(scene.host.net.ip_json(&["link", "show", "master", "n"]).is_empty());
    scene.in_host("ip link del dev n");
    scene.host.z("network reload --all").ok();
    scene.works();
    // An interface of the container's own in place of ours.
    scene.in_host(&format!("ip link del {}", scene.ports[0]));
    scene.in_web("ip link add eth0 type veth peer name eth9");
    scene
        .host
        .z("network reload --all")
        .exits(1)
        .says(&["container web", "interface eth0"]);
    scene.in_web("ip link del eth0");
    scene.host.z("network reload --all").ok();
    scene.works();
}

/// Starts a container by a runtime that waits when the network is there already, and returns what lets it go on.
fn slow_container(host: &Host) -> (std::process::Child, impl FnOnce()) {
    let (runtime, gate, arrived) = (
        host.scratch().join("runtime"),
        host.scratch().join("gate"),
        host.scratch().join("arrived"),
    );
    host.program("mkfifo", &[gate.to_str().unwrap()]).ok();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *create*) touch '{}'; cat '{}' > /dev/null;; esac\nexec runc \"$@\"\n",
        arrived.display(),
        gate.display()
    );
    fs::write(&runtime, script).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let words = "run -d --name slow --net n --ip 10.1.0.9 -p 9090:80 --runtime";
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut command = host.zdocker_command(&words);
    command
        .arg(&runtime)
        .args(["--rootfs", "/", "--", "busybox", "sleep", "infinity"]);
    let run = host.spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    until("the container's network is made", || arrived.exists());
    (run, move || fs::write(&gate, "go on\n").unwrap())
}

#[test]
fn a_container_that_is_being_made_keeps_its_elements() {
    for damage in ["delete table inet zdocker", "flush ruleset", ""] {
        let host = Host::new();
        host.z("network create --subnet 10.1.0.0/24 n").ok();
        let (mut run, go_on) = slow_container(&host);
        if damage.is_empty() {
            // What it has added belongs to somebody.
            assert_eq!(host.z("network reload --all --dry-run").ok().stdout, "");
            assert_eq!(host.z("network reload --all").ok().stdout, "");
        } else {
            host.net.nft(damage);
            // By another command that needs the tables, and by reload.
            let next = if damage.starts_with("flush") {
                "network create o"
            } else {
                "network reload --all"
            };
            host.z(next).ok();
        }
        go_on();
        assert!(run.wait().unwrap().success());
        assert_eq!(host.z("network reload --all").ok().stdout, "", "{damage}");
        host.z("exec -d slow busybox httpd -p 80 -h /");
        let elements = host
            .net
            .output("nft", &["list", "map", "inet", "zdocker", "pub4any"], "");
        assert!(elements.contains("tcp . 9090 : 10.1.0.9 . 80"), "{elements}");
    }
}

#[test]
fn reload_beside_containers_that_come_and_go() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 n")
        .ok();
    let before = Snapshot::take(&host);
    let stays = host.run("stays", "--net n -p 8080:80");
    let _server = Server::start(&stays.net, "stays", 80);
    thread::scope(|scope| {
        let host = &host;
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                scope.spawn(move || {
                    for round in 0..6 {
                        let name = format!("c{worker}-{round}");
                        let port = 9000 + worker;
                        let run = format!("run -d --name {name} --net n --ip 10.1.0.{} -p {port}:80", 50 + worker);
                        host.z(&format!("{run} --rootfs / -- busybox sleep infinity")).ok();
                        let map = host
                            .net
                            .output("nft", &["list", "map", "inet", "zdocker", "pub4any"], "");
                        assert!(map.contains(&format!("tcp . {port} :")), "{name}: {map}");
                        host.z(&format!("rm -f {name}")).ok();
                    }
                })
            })
            .collect();
        let mut reloads = 0;
        while !workers.iter().all(|worker| worker.is_finished()) {
            let done = host.z("network reload --all").ok();
            assert_eq!(done.stdout, "", "nothing is wrong");
            // Damage that is mended while others come and go.
            if reloads % 3 == 0 {
                host.net
                    .nft("add element inet zdocker pub4any { tcp . 7777 : 10.1.0.200 . 80 }");
                let done = host.z("network reload n").ok();
                done.prints(&["7777"]);
            }
            reloads += 1;
        }
        assert!(reloads > 3);
    });
    assert_eq!(host.z("network reload --all").ok().stdout, "");
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "stays");
    drop((_server, stays));
    host.z("rm -f stays").ok();
    before.assert_same(&host);
}
