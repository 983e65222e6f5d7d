//! `--bandwidth-in` and `--bandwidth-out`: what passes, what the kernel was told, and that nothing of it stays.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::*;

/// How long each transfer is to take.
const MEASURED: Duration = Duration::from_millis(1200);
/// Bytes that pass at once where nothing is limited.
const UNLIMITED: usize = 50_000_000;
/// The share of the figure that is about as much.
const ENOUGH: f64 = 0.5;
const PATIENCE: Duration = Duration::from_secs(10);
/// The containers listen here, and are published at the same port.
const PORT: u16 = 5001;

const DUAL_STACK: &str = "network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 n";

/// Which way a transfer goes between a container that listens and its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Connects from `client` to the container behind `target`, sends as much as passes, and gives bits a second of what
/// arrived.
fn throughput(container: &NetNs, client: &NetNs, target: IpAddr, way: Way, volume: usize) -> f64 {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    // A program that another test starts holds what is open here until it has begun: the listener of an earlier transfer.
    let listener = until_some("the port is free again", || {
        container.run(|| TcpListener::bind(any).ok())
    });
    let near = client.run(|| TcpStream::connect_timeout(&(target, PORT).into(), PATIENCE).unwrap());
    let (far, _) = listener.accept().unwrap();
    let (mut sender, mut receiver) = match way {
        Way::In => (near, far),
        Way::Out => (far, near),
    };
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sending = thread::spawn(move || while sender.write_all(&[0; 1 << 16]).is_ok() {});
    let mut buffer = vec![0; 1 << 18];
    // From the first byte on. A reader that is kept waiting finds what came meanwhile, so the whole never seems quicker.
    let mut bytes = receiver.read(&mut buffer).unwrap();
    let start = Instant::now();
    while bytes < volume {
        bytes += receiver.read(&mut buffer).unwrap();
    }
    let rate = bytes as f64 * 8.0 / start.elapsed().as_secs_f64();
    drop(receiver);
    sending.join().unwrap();
    rate
}

/// Never more than was asked for, and at the best of some times about as much: the machine is busy with other tests. How
/// exact the figure is, is measured elsewhere.
#[track_caller]
fn passes_about(asked: f64, container: &NetNs, client: &NetNs, target: IpAddr, way: Way) {
    let volume = (asked / 8.0 * MEASURED.as_secs_f64()) as usize;
    let mut best = 0.0_f64;
    for _ in 0..3 {
        best = best.max(throughput(container, client, target, way, volume) / asked);
        if best > ENOUGH {
            break;
        }
    }
    assert!(
        (ENOUGH..1.15).contains(&best),
        "{way:?} at {target}: {best:.3} of {asked} bits a second"
    );
}

/// The rates in bits a second of all token buckets of the host, with the beginnings of their interfaces' names.
fn buckets(host: &Host) -> Vec<(String, u64)> {
    let shown: Value = serde_json::from_str(&host.net.output("tc", &["-j", "qdisc", "show"], "")).unwrap();
    let buckets = shown.as_array().unwrap().iter().filter(|queue| queue["kind"] == "tbf");
    let mut buckets: Vec<(String, u64)> = buckets
        .map(|bucket| {
            let device = bucket["dev"].as_str().unwrap();
            let rate = 8 * bucket["options"]["rate"].as_u64().unwrap();
            (device[..3].to_owned(), rate)
        })
        .collect();
    buckets.sort();
    buckets
}

/// What the kernel counts in whole frames of 1514 bytes, where 1448 of each are asked for; in whole bytes.
fn in_frames(bits: u64) -> u64 {
    bits * 1514 / 1448 / 8 * 8
}

fn two_buckets(receive: u64, send: u64) -> [(String, u64); 2] {
    [
        ("zdi".to_owned(), in_frames(send)),
        ("zdv".to_owned(), in_frames(receive)),
    ]
}

#[test]
fn neighbours_and_the_outside_get_as_much_as_was_asked_for() {
    let host = Host::new();
    host.z(DUAL_STACK).ok();
    let limits = "--bandwidth-in 20mbit --bandwidth-out 1mbps";
    let web = host.run("web", &format!("--net n -p {PORT}:{PORT} {limits}"));
    let other = host.run("other", "--net n");
    assert_eq!(buckets(&host), two_buckets(20_000_000, 8_000_000));
    for (client, targets) in [
        (&other.net, [web.v4(), web.v6()]),
        (&host.outside, [ip(HOST_V4), ip(HOST_V6)]),
    ] {
        for target in targets {
            passes_about(20e6, &web.net, client, target, Way::In);
            passes_about(8e6, &web.net, client, target, Way::Out);
        }
    }
    // The host itself is no exception.
    passes_about(20e6, &web.net, &host.net, web.v4(), Way::In);
    passes_about(8e6, &web.net, &host.net, web.v4(), Way::Out);
    // Who asked for no limit has none.
    assert!(throughput(&other.net, &host.net, other.v4(), Way::In, UNLIMITED) > 100e6);
}

#[test]
fn each_network_of_a_container_is_limited() {
    let host = Host::new();
    for number in [1, 2] {
        host.z(&format!("network create --subnet 10.{number}.0.0/24 n{number}"))
            .ok();
    }
    let both = host.run("both", "--net n1 --net n2 --bandwidth-out 10m");
    let bucket = ("zdi".to_owned(), in_frames(10_000_000));
    assert_eq!(buckets(&host), [bucket.clone(), bucket]);
    for (number, interface) in [(1, "eth0"), (2, "eth1")] {
        let other = host.run(&format!("other{number}"), &format!("--net n{number}"));
        let target = both.address(interface, false);
        passes_about(10e6, &both.net, &other.net, target, Way::Out);
    }
}

#[test]
fn nothing_of_it_stays_when_the_container_ends() {
    let host = Host::new();
    host.z(DUAL_STACK).ok();
    let before = Snapshot::take(&host);
    let limits = "--net n -p 8080:80 --bandwidth-in 1gbit --bandwidth-out 512kbit";
    for end in ["stop -t 0 c", "kill c", "rm -f c"] {
        host.run("c", &format!("--rm {limits}"));
        assert_eq!(buckets(&host), two_buckets(1_000_000_000, 512_000));
        host.z(end).ok();
        before.assert_same(&host);
    }
    host.zdocker(&[
        "run",
        "--rm",
        "--net",
        "n",
        "--bandwidth-out",
        "1m",
        "--rootfs",
        "/",
        "--",
        "true",
    ])
    .ok();
    before.assert_same(&host);
    // One that is kept is gone from the network all the same.
    host.run("c", limits);
    host.z("stop -t 0 c").ok();
    until("its interface is gone, which nobody waits for", || {
        buckets(&host).is_empty()
    });
    host.z("rm c").ok();
    before.assert_same(&host);
}

#[test]
fn a_container_whose_namespace_another_has_joined_leaves_no_device() {
    let host = Host::new();
    host.z(DUAL_STACK).ok();
    let before = Snapshot::take(&host);
    host.run("c", "--rm --net n --bandwidth-out 10mbit");
    host.run("beside", "--rm --net container:c");
    host.z("kill c").ok();
    until("the device of a container that ended is gone", || {
        buckets(&host).is_empty()
    });
    host.z("kill beside").ok();
    before.assert_same(&host);
}

#[test]
fn an_interface_that_somebody_deleted_comes_back_with_its_limits() {
    let host = Host::new();
    host.z(DUAL_STACK).ok();
    let c = host.run("c", "--net n --bandwidth-in 10mbit --bandwidth-out 10mbit");
    let other = host.run("other", "--net n");
    let expected = two_buckets(10_000_000, 10_000_000);
    let of_c = |beginning: &str| {
        let queues = host.net.output("tc", &["-j", "qdisc", "show"], "");
        let queues: Value = serde_json::from_str(&queues).unwrap();
        let mut devices = queues.as_array().unwrap().iter().filter(|queue| queue["kind"] == "tbf");
        let device = devices.find_map(|queue| queue["dev"].as_str().filter(|name| name.starts_with(beginning)));
        device.unwrap().to_owned()
    };
    // Without and with the device for what it sends.
    for lost in [&["zdv"][..], &["zdi", "zdv"]] {
        for beginning in lost {
            host.net.ip(&format!("link del {}", of_c(beginning)));
        }
        host.z("system check --repair").ok();
        assert_eq!(buckets(&host), expected);
        passes_about(10e6, &c.net, &other.net, c.v4(), Way::Out);
    }
}

#[test]
fn what_is_no_limit_is_refused_and_nothing_is_made() {
    let host = Host::new();
    host.z(DUAL_STACK).ok();
    host.run("other", "--net none");
    let before = Snapshot::take(&host);
    let refused = |options: &str, status: i32, words: &[&str]| {
        host.z(&format!("run {options} --rootfs / -- true"))
            .exits(status)
            .says(words);
        before.assert_same(&host);
    };
    refused("--net n --bandwidth-in 10mb", 125, &["10mb", "for example 10mbit"]);
    refused("--net n --bandwidth-in 10mbit/s", 125, &["for example 10mbit"]);
    refused("--net n --bandwidth-out 7kbit", 125, &["7kbit", "the least is 8kbit"]);
    refused("--net n --bandwidth-out 2tbit", 125, &["the greatest 1tbit"]);
    for network in ["host", "none", "container:other"] {
        let options = format!("--net {network} --bandwidth-out 10mbit");
        refused(&options, 125, &["--bandwidth-out", "needs a bridge network", network]);
    }
}

#[test]
fn a_dry_run_prints_what_a_person_would_type() {
    let host = Host::new();
    host.z(DUAL_STACK).ok();
    let before = Snapshot::take(&host);
    host.z("run --dry-run --net n --bandwidth-in 1mbit --bandwidth-out 10mbit --rootfs / -- true")
        .ok()
        .prints(&[
            "type ifb",
            "root tbf rate 10455800bit burst 26120 limit 91420",
            "root tbf rate 1045576bit burst 3028 limit 13626",
            "action mirred egress redirect dev zdi",
        ]);
    before.assert_same(&host);
}
