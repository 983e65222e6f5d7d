//! Wrong requests: each is refused before anything changes, by a message that names what is wrong and what to do.

use crate::harness::{Host, Snapshot};

/// A host with a network `there`, its container `web` at 10.20.0.2 with a published port, and a bridge that is not ours.
fn furnished() -> Host {
    let host = Host::new();
    // The default network becomes real when it is first asked for, whatever comes of it.
    host.z("run --rm --rootfs / -- true").ok();
    host.net
        .ip("link add foreign type bridge\nlink set foreign addrgenmode none\naddr add 10.30.0.1/24 dev foreign\nlink set foreign up");
    host.z("network create --subnet 10.20.0.0/24 --subnet fd00:20::/64 there")
        .ok();
    host.z("network create --subnet 10.21.0.0/24 second").ok();
    host.run("web", "--net there --ip 10.20.0.2 -p 8080:80");
    host
}

/// Checks that each command ends with `status` and a message that has the words, and that the host is the same after all.
#[track_caller]
fn refused(status: i32, cases: &[(&str, &[&str])]) {
    let host = furnished();
    let records = || host.z("network ls").ok().stdout + &host.z("ps -aq").ok().stdout;
    let (before, recorded) = (Snapshot::take(&host), records());
    for (command, words) in cases {
        host.z(command).exits(status).says(words);
        assert_eq!(records(), recorded, "{command}");
    }
    before.assert_same(&host);
}

/// As [`refused`], for commands that start with `network create`.
#[track_caller]
fn not_created(cases: &[(&str, &[&str])]) {
    let commands = cases
        .iter()
        .map(|(args, words)| (format!("network create {args}"), *words))
        .collect::<Vec<_>>();
    let cases = commands
        .iter()
        .map(|(command, words)| (command.as_str(), *words))
        .collect::<Vec<_>>();
    refused(1, &cases);
}

/// As [`refused`], for containers on `there` with other options.
#[track_caller]
fn not_run(cases: &[(&str, &[&str])]) {
    let command = |options: &&str| format!("run -d {options} --rootfs / -- busybox sleep 100");
    let commands = cases
        .iter()
        .map(|(options, words)| (command(options), *words))
        .collect::<Vec<_>>();
    let cases = commands
        .iter()
        .map(|(command, words)| (command.as_str(), *words))
        .collect::<Vec<_>>();
    refused(125, &cases);
}

#[test]
fn unknown_words_and_flags() {
    refused(
        125,
        &[
            ("run --nonsense --rootfs / -- true", &["--nonsense"]),
            ("run", &["IMAGE", "--rootfs"]),
            ("run --rootfs /", &["command"]),
        ],
    );
    let host = Host::new();
    for (command, word) in [
        ("frobnicate", "frobnicate"),
        ("network frobnicate", "frobnicate"),
        ("network create --frob n", "--frob"),
        ("network create", "create"),
        ("network rm", "rm"),
        ("ps --frob", "--frob"),
    ] {
        let output = host.z(command).says(&[word]);
        assert_ne!(output.status, 0, "{command}");
    }
}

#[test]
fn subnets() {
    not_created(&[
        ("--subnet 10.1.0.0 n", &["10.1.0.0", "/24"]),
        ("--subnet 10.1.0.0/33 n", &["10.1.0.0/33", "32"]),
        ("--subnet 10.1.0/24 n", &["10.1.0/24"]),
        ("--subnet fd00::/129 n", &["fd00::/129", "128"]),
        ("--subnet nonsense n", &["nonsense", "192.168.1.0/24"]),
        ("--subnet 10.1.0.0/32 n", &["10.1.0.0/32", "too small"]),
        ("--subnet 10.1.0.0/31 n", &["10.1.0.0/31", "too small"]),
        ("--subnet 127.5.0.0/24 n", &["127.5.0.0/24", "loopback"]),
        ("--subnet 224.1.0.0/24 n", &["224.1.0.0/24", "multicast"]),
        (
            "--subnet 10.1.0.0/24 --subnet 10.1.0.128/25 n",
            &["10.1.0.0/24", "10.1.0.128/25", "overlap"],
        ),
        (
            "--subnet 10.20.0.0/24 n",
            &["10.20.0.0/24", "\"there\"", "another subnet"],
        ),
        ("--subnet 10.0.0.0/8 n", &["10.0.0.0/8", "overlaps"]),
        ("--subnet 10.20.0.128/25 n", &["10.20.0.128/25", "\"there\""]),
        ("--subnet fd00:20::/96 n", &["fd00:20::/96", "\"there\""]),
        (
            "--subnet 10.30.0.0/24 n",
            &["10.30.0.0/24", "foreign", "another subnet"],
        ),
        ("--subnet 203.0.113.0/25 n", &["203.0.113.0/25", "eth0"]),
    ]);
}

#[test]
fn gateways() {
    not_created(&[
        (
            "--subnet 10.1.0.0/24 --gateway 10.2.0.1 n",
            &["10.2.0.1", "10.1.0.0/24"],
        ),
        (
            "--subnet 10.1.0.0/24 --gateway 10.1.0.0 n",
            &["10.1.0.0", "10.1.0.0/24"],
        ),
        (
            "--subnet 10.1.0.0/24 --gateway 10.1.0.255 n",
            &["10.1.0.255", "broadcast"],
        ),
        ("--subnet 10.1.0.0/24 --gateway x n", &["gateway", "\"x\""]),
        (
            "--subnet 10.1.0.5/24 --gateway 10.1.0.1 n",
            &["two gateways", "10.1.0.5", "10.1.0.1"],
        ),
        ("--subnet 10.1.0.0/24 --gateway fd00::1 n", &["fd00::1", "10.1.0.0/24"]),
    ]);
}

#[test]
fn network_names() {
    not_created(&[
        ("there", &["\"there\"", "exists already", "remove it"]),
        ("bridge", &["\"bridge\"", "always there"]),
        ("host", &["\"host\"", "always there"]),
        (".hidden", &["\".hidden\"", "letter"]),
        ("sl/ash", &["\"sl/ash\"", "letters"]),
    ]);
    let host = Host::new();
    host.zdocker(&["network", "create", "two words"])
        .exits(1)
        .says(&["two words", "letters"]);
    host.zdocker(&["network", "create", ""]).exits(1).says(&["name"]);
}

#[test]
fn drivers_and_options() {
    not_created(&[
        ("-d overlay9 n", &["\"overlay9\"", "bridge"]),
        ("-d host n", &["host", "--net host"]),
        ("-o frob=1 n", &["\"frob\"", "mtu"]),
        ("-o mtu n", &["mtu"]),
        ("-o mtu=big n", &["mtu", "\"big\"", "number"]),
        ("-o mtu=10 n", &["mtu", "10"]),
        ("-o mtu=70000 n", &["mtu", "70000"]),
        ("-o masquerade=perhaps n", &["masquerade", "perhaps", "true or false"]),
        ("-o bridge=a/b n", &["\"a/b\"", "15 bytes"]),
        (
            "-o bridge=a-name-that-is-too-long n",
            &["a-name-that-is-too-long", "15 bytes"],
        ),
        ("-o bridge=foreign n", &["foreign", "not ours"]),
        ("-o bridge=eth0 n", &["eth0", "not ours"]),
        ("-o bridge=there n", &["there", "-o bridge="]),
    ]);
}

#[test]
fn networks_that_are_not_there() {
    refused(
        1,
        &[
            ("network rm nothing", &["\"nothing\""]),
            ("network inspect nothing", &["\"nothing\""]),
        ],
    );
    not_run(&[
        ("--net nothing", &["\"nothing\"", "network ls"]),
        ("--net container:nothing", &["nothing", "container"]),
        ("--net there --net nothing", &["nothing"]),
        ("--net there --net there", &["there"]),
        ("--net host --net there", &["host"]),
        ("--net none -p 80:80", &["none"]),
        ("--net host --ip 10.20.0.9", &["host"]),
        ("--net container:web -p 80:80", &["container"]),
    ]);
}

#[test]
fn addresses_of_containers() {
    not_run(&[
        ("--net there --ip 10.99.0.2", &["10.99.0.2", "10.20.0.0/24"]),
        ("--net there --ip 10.20.0.2", &["10.20.0.2", "in use"]),
        ("--net there --ip 10.20.0.1", &["10.20.0.1"]),
        ("--net there --ip 10.20.0.0", &["10.20.0.0"]),
        ("--net there --ip 10.20.0.255", &["10.20.0.255"]),
        ("--net there --ip nonsense", &["nonsense"]),
        ("--net second --ip6 fd00:20::9", &["fd00:20::9"]),
        ("--net there --ip fd00:20::9", &["fd00:20::9"]),
        ("--net there --mac-address nonsense", &["nonsense", "MAC"]),
        (
            "--net there --mac-address 01:00:5e:00:00:01",
            &["01:00:5e:00:00:01", "multicast"],
        ),
        ("--net there --dns nonsense", &["nonsense"]),
    ]);
}

#[test]
fn ports() {
    not_run(&[
        ("--net there -p 70000:80", &["70000:80", "65535"]),
        ("--net there -p 80:0", &["80:0", "65535"]),
        ("--net there -p x:80", &["x:80"]),
        ("--net there -p 80/icmp", &["80/icmp", "tcp or udp"]),
        ("--net there -p 1.2.3:80:80", &["1.2.3:80:80", "address"]),
        ("--net there -p 8080:80", &["8080", "web"]),
        ("--net there -p 9090:80 -p 9090:81", &["9090"]),
        (
            "--net there -p 198.51.100.7:9090:80",
            &["198.51.100.7", "no such address"],
        ),
    ]);
}

#[test]
fn container_options() {
    not_run(&[
        ("--name web", &["\"web\"", "in use"]),
        ("--name sl/ash", &["sl/ash"]),
        ("-v relative:/x", &["relative"]),
        ("-v /tmp:relative", &["relative"]),
        ("-e =x", &["=x"]),
        ("-u nobody-of-this-name", &["nobody-of-this-name"]),
        ("--runtime /no/such/runtime", &["/no/such/runtime"]),
    ]);
    let host = Host::new();
    host.z("run --rootfs /no/such/directory -- true")
        .exits(125)
        .says(&["/no/such/directory"]);
    host.z("run --rootfs /etc/passwd -- true")
        .exits(125)
        .says(&["/etc/passwd"]);
}

#[test]
fn containers_that_are_not_there() {
    for verb in ["stop", "kill", "rm", "logs"] {
        refused(1, &[(&format!("{verb} nothing"), &["nothing"])]);
    }
    let host = Host::new();
    let exec = host.z("exec nothing true").says(&["nothing"]);
    assert!([1, 125].contains(&exec.status), "{exec:?}");
}

#[test]
fn a_root_that_cannot_be_written_is_named() {
    let host = Host::new();
    std::fs::write(host.scratch().join("file"), "").unwrap();
    let root = host.scratch().join("file").join("below");
    let root = root.to_str().unwrap();
    let refused = host.zdocker(&["--root", root, "network", "create", "n"]).exits(1);
    refused.says(&[root]);
}
