//! Routes of every kind: made as their printed commands make them, seen again, mended, and gone when their endpoint is.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use common::*;
use zdocker_host::Kernel;
use zdocker_net::mend::{self, Repair};
use zdocker_net::model::{Endpoint, InterfaceAddress, Network, Route, RouteKind};
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan;

fn nothing(_: &Op, _: std::time::Duration) {}

/// An endpoint in a namespace of somebody else's, with several addresses and routes of every kind.
fn plugged() -> (Network, Endpoint) {
    let network = network(7);
    let mut endpoint = endpoint(&network, 2, &["8080:80"]);
    for (text, prefix) in [("10.7.0.3", 24), ("10.17.0.2", 28), ("fd00:7::3", 64)] {
        endpoint.addresses.push(InterfaceAddress {
            address: ip(text),
            prefix,
        });
    }
    endpoint.reply_table = Some(1000);
    endpoint.sandbox = Some(String::new());
    let nowhere = |destination: &str, kind, metric| Route {
        kind,
        ..Route::new(subnet(destination), None, metric)
    };
    let sized = |destination: &str, via: &str, mtu, advmss| Route {
        mtu,
        advmss,
        ..Route::new(subnet(destination), Some(ip(via)), None)
    };
    endpoint.routes = vec![
        nowhere("10.30.0.0/16", RouteKind::Blackhole, None),
        nowhere("10.31.0.0/16", RouteKind::Unreachable, Some(7)),
        nowhere("10.32.0.0/16", RouteKind::Prohibit, None),
        nowhere("fd30::/64", RouteKind::Blackhole, None),
        nowhere("fd31::/64", RouteKind::Unreachable, Some(7)),
        nowhere("fd32::/64", RouteKind::Prohibit, None),
        sized("10.40.0.0/16", "10.7.0.9", Some(1300), Some(1200)),
        sized("10.41.0.0/16", "10.7.0.9", None, Some(1100)),
        sized("fd40::/64", "fd00:7::9", Some(1300), Some(1200)),
    ];
    (network, endpoint)
}

/// A host with the network, and a namespace that somebody made.
fn prepared() -> (Kernel, tempfile::TempDir, NamespacePath) {
    let mut kernel = Kernel::new();
    kernel.apply(&prepare_host(), &mut nothing).unwrap();
    kernel.apply(&create(&network(7)), &mut nothing).unwrap();
    let directory = directory();
    let path = directory.path().join("sandbox").display().to_string();
    sh(&format!(
        "touch {path} && unshare --net={path} ip link set lo up
         nsenter --net={path} ip route add blackhole 10.99.0.0/16"
    ));
    (kernel, directory, NamespacePath(path))
}

fn shown(path: &NamespacePath) -> String {
    let script = "ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; ip -o addr | cut -d' ' -f2-; \
                  cat /proc/sys/net/ipv6/conf/eth0/accept_ra || true";
    let text = sh(&format!("nsenter --net={} sh -c \"{script}\" 2>&1", path.0));
    // Those of the pair's number.
    text.replace("@if", "")
}

fn compare(kernel: &mut Kernel, path: &NamespacePath) -> Vec<Repair> {
    let (network, endpoint) = plugged();
    let host = kernel.observe_host().unwrap();
    let inside = kernel.observe_inside(path, &[]).unwrap().unwrap();
    mend::endpoint(&network, &endpoint, path, (&host, &inside)).unwrap()
}

#[test]
fn they_are_what_their_commands_make_of_them() {
    let (network, endpoint) = plugged();
    let by_commands = on_a_host(|| {
        let (_, _directory, path) = prepared();
        let plan = plan::attach(&network, &endpoint, &path);
        plan.iter().for_each(|op| drop(sh(&op.to_string())));
        shown(&path)
    });
    let by_us = on_a_host(|| {
        let (mut kernel, _directory, path) = prepared();
        kernel
            .apply(&plan::attach(&network, &endpoint, &path), &mut nothing)
            .unwrap();
        shown(&path)
    });
    assert!(by_us.contains("prohibit 10.32.0.0/16"), "{by_us}");
    assert!(by_us.ends_with("\n0\n"), "{by_us}");
    assert_eq!(by_us, by_commands);
}

#[test]
fn they_are_mended_changed_and_taken_away() {
    on_a_host(|| {
        let (mut kernel, _directory, path) = prepared();
        let before = shown(&path);
        let (network, endpoint) = plugged();
        let plan = plan::attach(&network, &endpoint, &path);
        kernel.apply(&plan, &mut nothing).unwrap();
        assert_eq!(compare(&mut kernel, &path), []);
        let plugged = shown(&path);
        for damage in [
            "ip route del blackhole 10.30.0.0/16",
            "ip route replace unreachable 10.30.0.0/16",
            "ip route replace 10.31.0.0/16 dev eth0 metric 7",
            "ip -6 route del fd32::/64",
            "ip route replace 10.40.0.0/16 via 10.7.0.9 dev eth0 mtu 1300",
            "ip route replace 10.41.0.0/16 via 10.7.0.9 dev eth0 mtu 1300 advmss 1100",
            "ip -6 route replace fd40::/64 via fd00:7::9 dev eth0",
            "ip addr del 10.17.0.2/28 dev eth0",
            "ip rule del from 10.7.0.3",
            "sysctl -qw net.ipv6.conf.eth0.accept_ra=1",
        ] {
            sh(&format!("nsenter --net={} {damage}", path.0));
            let repairs = compare(&mut kernel, &path);
            let steps: Vec<Op> = repairs.into_iter().flat_map(|repair| repair.steps).collect();
            assert!(!steps.is_empty(), "{damage}");
            kernel.apply(&steps, &mut nothing).unwrap();
            assert_eq!(compare(&mut kernel, &path), [], "{damage}");
        }
        // One by one as another, and back.
        let mut other = endpoint.clone();
        other.routes[0].kind = RouteKind::Prohibit;
        other.routes[3].kind = RouteKind::Unreachable;
        other.routes[6].mtu = None;
        other.routes[8].advmss = Some(1000);
        other.routes.remove(4);
        for (from, to) in [(&endpoint, &other), (&other, &endpoint)] {
            let change = plan::change(&network, from, to, &path);
            kernel.apply(&change, &mut nothing).unwrap();
        }
        assert_eq!(compare(&mut kernel, &path), []);
        let lines = |text: &str| {
            text.lines()
                .map(str::to_owned)
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(lines(&shown(&path)), lines(&plugged));

        let removal = plan::detach_from(&network, &endpoint, Some(&path));
        for _ in 0..2 {
            let failures = kernel.remove(&removal, &mut nothing);
            assert!(failures.is_empty(), "{failures:?}");
            assert_eq!(shown(&path), before);
        }
        // What was pinned there is gone, and then the file is, too.
        for gone in ["umount", "rm"] {
            sh(&format!("{gone} {}", path.0));
            let failures = kernel.remove(&removal, &mut nothing);
            assert!(failures.is_empty(), "{gone}: {failures:?}");
        }
    });
}

#[test]
fn a_namespace_may_have_no_ipv6() {
    on_a_host(|| {
        let (mut kernel, _directory, path) = prepared();
        let (mut network, mut endpoint) = plugged();
        network.pools.truncate(1);
        endpoint.addresses.retain(|own| own.address.is_ipv4());
        endpoint.gateways.truncate(1);
        endpoint.routes.clear();
        sh(&format!(
            "nsenter --net={} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
            path.0
        ));
        // What is larger than any packet of an interface's is no IPv6 packet of its.
        for mtu in [1400, 1000] {
            network.bridge.as_mut().unwrap().mtu = mtu;
            let plan = plan::attach(&network, &endpoint, &path);
            let undo = kernel.apply(&plan, &mut nothing).unwrap();
            let there = sh(&format!("nsenter --net={} ip -6 addr show dev eth0", path.0));
            assert_eq!(there, "");
            assert!(kernel.remove(&undo, &mut nothing).is_empty());
        }
    });
}
