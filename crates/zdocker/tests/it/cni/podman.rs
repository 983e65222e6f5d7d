//! Debian's Podman with its CNI backend calls the plug-ins.

use std::fs;

use serde_json::Value;

use super::driver::Runtime;
use super::runtimes::{give_places, is_installed, make_root, text};
use super::{addresses_of, both, both_ours, default_gateway, interfaces};
use crate::harness::{HOST_V4, HOST_V6, NetNs, OUTSIDE_V4, Output, Proto, Server, does_not_reach, ip, reaches, until};

both!(
    containers_of_podman_come_and_go,
    a_container_of_podman_is_on_two_networks
);

/// Podman on a runtime's host.
struct Podman<'a> {
    runtime: &'a Runtime,
    options: Vec<String>,
    root: String,
}

impl<'a> Podman<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        give_places(runtime);
        let scratch = runtime.host.scratch();
        let plugins = text(runtime.directory());
        let config = format!(
            "[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{plugins}\"]\n\
             network_config_dir = \"/etc/cni/net.d\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n"
        );
        fs::write(runtime.seen("/etc/containers/containers.conf"), config).unwrap();
        let options = [
            ("--root", text(&scratch.join("podman"))),
            ("--runroot", "/run/podman".to_owned()),
            ("--tmpdir", "/run/podman-tmp".to_owned()),
            ("--storage-driver", "vfs".to_owned()),
        ];
        Podman {
            runtime,
            options: options
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value])
                .collect(),
            root: text(&make_root(&scratch)),
        }
    }

    /// Runs `podman ARGS`, whose words are separated by spaces.
    fn call(&self, args: &str) -> Output {
        let words = self.options.iter().map(String::as_str).chain(args.split_whitespace());
        self.runtime.host.program("podman", &words.collect::<Vec<_>>())
    }

    /// Starts a container that does nothing, and enters its network.
    fn run(&self, name: &str, options: &str) -> NetNs {
        let root = &self.root;
        self.call(&format!(
            "run -d --name {name} {options} --rootfs {root} /bin/sleep 1000000"
        ))
        .ok();
        self.network_of(name)
    }

    fn network_of(&self, name: &str) -> NetNs {
        let pid = self.inspect(name)["State"]["Pid"].clone();
        NetNs::open(&text(&self.runtime.host.proc().join(pid.to_string()).join("ns/net")))
    }

    fn inspect(&self, name: &str) -> Value {
        self.call(&format!("inspect {name}")).ok().json()[0].clone()
    }
}

fn containers_of_podman_come_and_go(runtime: &Runtime) {
    if !is_installed("/usr/bin/podman") {
        return;
    }
    let podman = Podman::new(runtime);
    podman
        .call("network create --subnet 10.91.0.0/24 --ipv6 --subnet fd00:91::/64 n")
        .ok();
    let web = podman.run(
        "web",
        "--network n -p 8080:80 -p 5353:53/udp --ip 10.91.0.50 --mac-address 02:11:22:33:44:55",
    );
    let other = podman.run("other", "--network n");
    let shown = &podman.inspect("web")["NetworkSettings"]["Networks"]["n"];
    assert_eq!(
        (&shown["IPAddress"], &shown["Gateway"]),
        (&"10.91.0.50".into(), &"10.91.0.1".into()),
        "{shown:#}"
    );
    assert_eq!(shown["MacAddress"], "02:11:22:33:44:55", "{shown:#}");
    assert_eq!(addresses_of(&web, "eth0")[0], "10.91.0.50/24");
    assert_eq!(default_gateway(&web, "-4").unwrap(), "10.91.0.1");
    let servers = [
        Server::start(&web, "web", 80),
        Server::start(&web, "web", 53),
        Server::start(&runtime.host.outside, "outside", 80),
    ];
    for host in [HOST_V4, HOST_V6].map(ip) {
        assert_eq!(reaches(&runtime.host.outside, Proto::Tcp, (host, 8080)).server, "web");
        assert_eq!(reaches(&runtime.host.outside, Proto::Udp, (host, 5353)).server, "web");
    }
    assert_eq!(reaches(&other, Proto::Tcp, (ip("10.91.0.50"), 80)).server, "web");
    assert_eq!(reaches(&other, Proto::Tcp, (ip(HOST_V4), 8080)).server, "web");
    assert_eq!(
        reaches(&web, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "web",
        "its own port"
    );
    assert_eq!(reaches(&other, Proto::Tcp, (ip(OUTSIDE_V4), 80)).source, ip(HOST_V4));
    drop((servers, web, other));

    podman.call("stop -t 0 web").ok();
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    podman.call("start web").ok();
    let web = podman.network_of("web");
    let server = Server::start(&web, "web", 80);
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "web"
    );
    drop((server, web));
    podman.call("rm -f -t 0 web other").ok();
    podman.call("network rm n").ok();
    // Podman deletes its bridge itself.
    until("no interface is left", || interfaces(&runtime.host.net) == ["eth0"]);
}

fn a_container_of_podman_is_on_two_networks(runtime: &Runtime) {
    if !is_installed("/usr/bin/podman") {
        return;
    }
    let podman = Podman::new(runtime);
    podman.call("network create --subnet 10.91.0.0/24 one").ok();
    podman.call("network create --subnet 10.92.0.0/24 --internal two").ok();
    let a = podman.run(
        "a",
        "--network one:interface_name=eth0 --network two:interface_name=eth1",
    );
    let b = podman.run("b", "--network two");
    assert_eq!(addresses_of(&a, "eth0"), ["10.91.0.2/24"]);
    assert_eq!(addresses_of(&a, "eth1"), ["10.92.0.2/24"]);
    assert_eq!(default_gateway(&b, "-4"), None);
    let servers = [
        Server::start(&a, "a", 80),
        Server::start(&runtime.host.outside, "outside", 80),
    ];
    assert_eq!(reaches(&b, Proto::Tcp, (ip("10.92.0.2"), 80)).server, "a");
    assert_eq!(reaches(&a, Proto::Tcp, (ip(OUTSIDE_V4), 80)).server, "outside");
    does_not_reach(&b, Proto::Tcp, (ip(OUTSIDE_V4), 80));
    podman.call("network disconnect two a").ok();
    until("the interface is gone", || interfaces(&a) == ["eth0"]);
    podman.call("network connect two a").ok();
    let again = interfaces(&a);
    assert_eq!(again.len(), 2, "{again:?}");
    drop((servers, a, b));
    podman.call("rm -f -t 0 a b").ok();
    podman.call("network rm one two").ok();
    until("no interface is left", || interfaces(&runtime.host.net) == ["eth0"]);
}
