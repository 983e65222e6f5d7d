//! Published ports: each way to reach one, and the ways that must stay shut.

use std::net::{SocketAddr, TcpListener};

use crate::harness::{
    Answer, Container, HOST_V4, HOST_V6, Host, NetNs, OUTSIDE_V4, OUTSIDE_V6, Proto, Server, Snapshot, UdpFlow,
    does_not_reach, ip, reaches, until_some,
};

const SUBNETS: &str = "--subnet 10.80.0.0/24 --subnet fd00:80::/64";
const GATEWAY_V4: &str = "10.80.0.1";
const GATEWAY_V6: &str = "fd00:80::1";

/// A host with a container `web` on the dual-stack network `front`, that serves at port 80 of TCP and UDP.
struct Web {
    host: Host,
    container: Container,
    _server: Server,
}

impl Web {
    /// `options` say how port 80 is published.
    fn published(options: &str) -> Self {
        let host = Host::new();
        host.z(&format!("network create {SUBNETS} front")).ok();
        let container = host.run("web", &format!("--net front {options}"));
        let server = Server::start(&container.net, "web", 80);
        Web {
            host,
            container,
            _server: server,
        }
    }

    /// Published at port 8080 of every address.
    fn everywhere() -> Self {
        Web::published("-p 8080:80 -p 8080:80/udp")
    }
}

/// The answer of the container `web` when asked at port 8080 of `target`.
#[track_caller]
fn web_answers(from: &NetNs, target: &str) -> Vec<Answer> {
    let answers = [Proto::Tcp, Proto::Udp].map(|proto| reaches(from, proto, (ip(target), 8080)));
    for answer in &answers {
        assert_eq!(answer.server, "web", "somebody else answered at {target}");
    }
    answers.into()
}

/// As [`web_answers`], and the server sees `source` as the client's address.
#[track_caller]
fn web_answers_to(from: &NetNs, target: &str, source: impl ToString) {
    for answer in web_answers(from, target) {
        assert_eq!(
            answer.source,
            ip(&source.to_string()),
            "source seen of a request to {target}"
        );
    }
}

/// Nobody answers at port 8080 of `target`, by TCP or UDP.
#[track_caller]
fn nobody_answers(from: &NetNs, target: &str) {
    for proto in [Proto::Tcp, Proto::Udp] {
        does_not_reach(from, proto, (ip(target), 8080));
    }
}

#[test]
fn from_outside_with_the_clients_own_address() {
    let web = Web::everywhere();
    web_answers_to(&web.host.outside, HOST_V4, OUTSIDE_V4);
    web_answers_to(&web.host.outside, HOST_V6, OUTSIDE_V6);
}

#[test]
fn from_the_host_by_its_outer_address() {
    let web = Web::everywhere();
    web_answers(&web.host.net, HOST_V4);
    web_answers(&web.host.net, HOST_V6);
}

#[test]
fn from_the_host_by_the_loopback_address() {
    let web = Web::everywhere();
    web_answers_to(&web.host.net, "127.0.0.1", GATEWAY_V4);
    web_answers_to(&web.host.net, "127.1.2.3", GATEWAY_V4);
}

#[test]
fn from_the_host_by_the_bridges_own_address() {
    let web = Web::everywhere();
    web_answers(&web.host.net, GATEWAY_V4);
    web_answers(&web.host.net, GATEWAY_V6);
}

#[test]
fn from_the_container_itself_by_the_hosts_addresses() {
    let web = Web::everywhere();
    for (target, source) in [
        (HOST_V4, GATEWAY_V4),
        (GATEWAY_V4, GATEWAY_V4),
        (HOST_V6, GATEWAY_V6),
        (GATEWAY_V6, GATEWAY_V6),
    ] {
        web_answers_to(&web.container.net, target, source);
    }
}

#[test]
fn from_a_neighbour_on_the_same_network() {
    let web = Web::everywhere();
    let neighbour = web.host.run("neighbour", "--net front");
    for target in [HOST_V4, GATEWAY_V4, HOST_V6, GATEWAY_V6] {
        web_answers(&neighbour.net, target);
    }
}

#[test]
fn from_a_container_on_another_network() {
    let web = Web::everywhere();
    web.host
        .z("network create --subnet 10.81.0.0/24 --subnet fd00:81::/64 back")
        .ok();
    let other = web.host.run("other", "--net back");
    for target in [HOST_V4, "10.81.0.1", HOST_V6, "fd00:81::1"] {
        web_answers(&other.net, target);
    }
    // The way around the published port stays shut.
    for proto in [Proto::Tcp, Proto::Udp] {
        does_not_reach(&other.net, proto, (web.container.v4(), 80));
        does_not_reach(&other.net, proto, (web.container.v6(), 80));
    }
}

#[test]
fn from_another_host_on_the_wire() {
    let web = Web::everywhere();
    let neighbour = web.host.neighbour();
    web_answers(&neighbour, HOST_V4);
    web_answers(&neighbour, HOST_V6);
}

#[test]
fn from_a_real_program_of_a_container_to_a_real_server() {
    let host = Host::new();
    host.z("network create --subnet 10.80.0.0/24 front").ok();
    std::fs::write(host.scratch().join("index.html"), "hello from httpd\n").unwrap();
    let volume = format!("{}:/www:ro", host.scratch().display());
    let serve = ["busybox", "httpd", "-f", "-p", "80", "-h", "/www"];
    let run = [
        "run", "-d", "--name", "web", "--net", "front", "-p", "8080:80", "-v", &volume, "--rootfs", "/", "--",
    ];
    host.zdocker(&[&run[..], &serve].concat()).ok();
    let fetch = |target: &str| format!("for i in $(seq 20); do busybox wget -qO- http://{target}:8080/ && exit; done");
    let page = until_some("the page of the web server", || {
        let page = host.program("sh", &["-c", &fetch("127.0.0.1")]);
        (page.status == 0).then_some(page.stdout)
    });
    assert_eq!(page, "hello from httpd\n");
    let client = [
        "run",
        "--rm",
        "--net",
        "front",
        "--rootfs",
        "/",
        "--",
        "sh",
        "-c",
        &fetch(HOST_V4),
    ];
    assert_eq!(host.zdocker(&client).ok().stdout, "hello from httpd\n");
}

#[test]
fn a_port_at_the_loopback_address_is_for_this_host_alone() {
    let web = Web::published("-p 127.0.0.1:8080:80 -p 127.0.0.1:8080:80/udp");
    web_answers_to(&web.host.net, "127.0.0.1", GATEWAY_V4);
    let neighbour = web.host.neighbour();
    nobody_answers(&web.host.net, HOST_V4);
    for from in [&web.host.outside, &neighbour, &web.container.net] {
        nobody_answers(from, HOST_V4);
        nobody_answers(from, HOST_V6);
    }
}

#[test]
fn the_loopback_address_on_the_wire_leads_nowhere() {
    let web = Web::published("-p 127.0.0.1:8080:80 -p 127.0.0.1:8080:80/udp");
    let neighbour = web.host.neighbour();
    neighbour.ip(&format!(
        "route del local 127.0.0.1 dev lo table local
         route del local 127.0.0.0/8 dev lo table local
         route add 127.0.0.1/32 via {HOST_V4}"
    ));
    neighbour.run(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap());
    web.host.net.nft(
        "table inet probe { chain arriving { type filter hook prerouting priority -400;
         iifname eth0 ip daddr 127.0.0.1 counter; }; }",
    );
    nobody_answers(&neighbour, "127.0.0.1");
    let seen = web.host.net.output("nft", &["list", "table", "inet", "probe"], "");
    assert!(
        seen.contains("packets") && !seen.contains("packets 0 "),
        "no such packet came to the host: {seen}"
    );
    web_answers(&web.host.net, "127.0.0.1");
}

#[test]
fn a_port_at_one_address_is_not_at_the_others() {
    let web = Web::published("-p 203.0.113.1:8080:80 -p 203.0.113.1:8080:80/udp");
    web_answers_to(&web.host.outside, HOST_V4, OUTSIDE_V4);
    web_answers(&web.host.net, HOST_V4);
    web_answers(&web.container.net, HOST_V4);
    nobody_answers(&web.host.outside, HOST_V6);
    nobody_answers(&web.host.net, "127.0.0.1");
    nobody_answers(&web.host.net, GATEWAY_V4);
}

#[test]
fn a_port_at_one_ipv6_address_is_not_at_the_others() {
    let web = Web::published("-p [2001:db8::1]:8080:80 -p [2001:db8::1]:8080:80/udp");
    web_answers_to(&web.host.outside, HOST_V6, OUTSIDE_V6);
    web_answers(&web.host.net, HOST_V6);
    nobody_answers(&web.host.outside, HOST_V4);
    nobody_answers(&web.host.net, GATEWAY_V6);
}

#[test]
fn two_containers_share_a_port_at_two_addresses() {
    let host = Host::new();
    host.net.ip("addr add 203.0.113.9/24 dev eth0");
    host.z(&format!("network create {SUBNETS} front")).ok();
    let one = host.run("one", "--net front -p 203.0.113.1:8080:80");
    let two = host.run("two", "--net front -p 203.0.113.9:8080:80");
    let _servers = [Server::start(&one.net, "one", 80), Server::start(&two.net, "two", 80)];
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "one");
    assert_eq!(
        reaches(&host.outside, Proto::Tcp, (ip("203.0.113.9"), 8080)).server,
        "two"
    );
}

/// The host port that `ps` shows for the container port 80 of `proto`.
fn chosen_port(host: &Host, proto: &str) -> u16 {
    let shown = host.z("ps").ok().stdout;
    let arrow = format!("->80/{proto}");
    let before = shown.split(&arrow).next().filter(|before| before.len() < shown.len());
    let before = before.unwrap_or_else(|| panic!("no {arrow} in:\n{shown}"));
    let port = before.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no host port before {arrow} in:\n{shown}"))
}

#[test]
fn without_a_host_port_a_free_one_is_chosen_and_shown() {
    let web = Web::published("-p 80 -p 80/udp");
    for (proto, name) in [(Proto::Tcp, "tcp"), (Proto::Udp, "udp")] {
        let port = chosen_port(&web.host, name);
        let answer = reaches(&web.host.outside, proto, (ip(HOST_V4), port));
        assert_eq!(answer.server, "web");
    }
}

#[test]
fn ps_shows_published_ports_as_docker_does() {
    let web = Web::published("-p 8080:80 -p 127.0.0.1:5353:53/udp");
    web.host
        .z("ps")
        .ok()
        .prints(&["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp", "127.0.0.1:5353->53/udp"]);
}

#[test]
fn a_port_of_another_container_is_refused_by_its_name() {
    let web = Web::everywhere();
    let before = Snapshot::take(&web.host);
    let taken = |publish: &str| {
        let args = format!("run -d --name second --net front -p {publish} --rootfs / -- busybox sleep 100");
        web.host.z(&args).exits(125).says(&["8080", "web"]);
        before.assert_same(&web.host);
        assert_eq!(web.host.z("ps -aq").ok().stdout.lines().count(), 1);
    };
    taken("8080:80");
    taken("127.0.0.1:8080:80");
    taken("[::]:8080:81");
    taken("8080:80/udp");
    web_answers(&web.host.outside, HOST_V4);
    // The same number of another protocol or port is free.
    web.host.run("third", "--net front -p 8081:80");
}

#[test]
fn a_port_of_a_program_of_the_host_is_refused_by_its_name() {
    let host = Host::new();
    let mut program = host.command("/usr/bin/busybox", &["nc", "-l", "-p", "8080"]);
    let mut program = host.spawn(&mut program).unwrap();
    until_some("the program listens", || {
        host.net
            .output("ss", &["-Hlnt", "sport = 8080"], "")
            .contains("8080")
            .then_some(())
    });
    host.z(&format!("network create {SUBNETS} front")).ok();
    let before = Snapshot::take(&host);
    let args = "run -d --name web --net front -p 8080:80 --rootfs / -- busybox sleep 100";
    host.z(args).exits(125).says(&["8080/tcp", "busybox", "in use"]);
    before.assert_same(&host);
    program.kill().unwrap();
    program.wait().unwrap();
    host.z(args).ok();
    let socket = host.net.run(|| std::net::UdpSocket::bind("0.0.0.0:9090").unwrap());
    host.z("run -d --net front -p 9090:90/udp --rootfs / -- busybox sleep 100")
        .exits(125)
        .says(&["9090/udp", "in use"]);
    drop(socket);
    host.z("run -d --net front -p 9090:90/udp --rootfs / -- busybox sleep 100")
        .ok();
}

#[test]
fn the_hosts_own_programs_cannot_take_a_published_ports_traffic() {
    let web = Web::everywhere();
    let listen = || [HOST_V4, HOST_V6].map(|own| TcpListener::bind((ip(own), 8080)).unwrap());
    let _late = web.host.net.run(listen);
    web_answers(&web.host.outside, HOST_V4);
    web_answers(&web.host.outside, HOST_V6);
}

#[test]
fn a_udp_flow_follows_publishing_at_once() {
    let host = Host::new();
    host.z(&format!("network create {SUBNETS} front")).ok();
    let targets = [(&host.outside, HOST_V4), (&host.outside, HOST_V6), (&host.net, HOST_V4)];
    let flows = targets.map(|(from, target)| UdpFlow::open(from, SocketAddr::from((ip(target), 8080))));
    let answered_by = |name: &str| {
        for flow in &flows {
            assert_eq!(flow.answer().server, name);
        }
    };
    let silent = || flows.iter().for_each(UdpFlow::is_silent);
    silent();
    let one = host.run("one", "--net front -p 8080:80/udp");
    let server = Server::start(&one.net, "one", 80);
    answered_by("one");
    host.z("rm -f one").ok();
    drop(server);
    let two = host.run("two", "--net front -p 8080:80/udp");
    assert_ne!(one.id, two.id);
    let _server = Server::start(&two.net, "two", 80);
    answered_by("two");
    host.z("stop -t 0 two").ok();
    silent();
}

#[test]
fn unpublishing_frees_the_port() {
    let web = Web::everywhere();
    web.host.z("rm -f web").ok();
    nobody_answers(&web.host.outside, HOST_V4);
    let _own = Server::start(&web.host.net, "host", 8080);
    assert_eq!(
        reaches(&web.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "host"
    );
}

#[test]
fn many_ports_of_one_container() {
    let host = Host::new();
    host.z(&format!("network create {SUBNETS} front")).ok();
    let options = (0..200)
        .map(|n| format!(" -p {}:{}", 20000 + n, 1000 + n))
        .collect::<String>();
    let web = host.run("web", &format!("--net front{options}"));
    let _servers = [
        Server::start(&web.net, "first", 1000),
        Server::start(&web.net, "last", 1199),
    ];
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 20000)).server, "first");
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V6), 20199)).server, "last");
}
