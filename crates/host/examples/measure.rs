//! Measures what carrying out plans costs, in a network namespace of its own: `cargo run --release --example measure`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use zdocker_host::Kernel;
use zdocker_net::firewall::Element;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::op::Op;
use zdocker_net::ports::Protocol;

/// How often each thing is done.
const TIMES: usize = 100;
/// How long the kernel may go on cleaning up, which is not what is measured.
const SETTLING: Duration = Duration::from_millis(40);

fn nothing(_: &Op, _: Duration) {}

struct Measured(Vec<Duration>);

impl Measured {
    fn of(mut work: impl FnMut() -> Duration, times: usize) -> Self {
        let mut all: Vec<Duration> = (0..times).map(|_| work()).collect();
        all.sort();
        Measured(all)
    }

    fn print(&self, what: &str) {
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 100].as_micros();
        println!("{what:<58} {:>7} {:>7} {:>7}", at(10), at(50), at(90));
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = work();
    let elapsed = start.elapsed();
    drop(result);
    elapsed
}

/// In a process of its own: publishes a port, takes it back, and ends, with or without leaving the socket to a child.
fn publish_and_end(leave: bool) {
    let mut kernel = Kernel::new();
    let undo = kernel
        .apply(&[Op::AddElements(vec![publish(7)])], &mut nothing)
        .unwrap();
    assert!(kernel.remove(&undo, &mut nothing).is_empty());
    if leave {
        kernel.leave();
    }
}

fn whole_processes() {
    Kernel::new().apply(&[Op::LoadFirewall], &mut nothing).unwrap();
    for how in ["closing", "leaving"] {
        let own = std::env::current_exe().unwrap();
        let run = || {
            // What the process before left behind holds up the next one's transaction.
            std::thread::sleep(SETTLING);
            timed(|| std::process::Command::new(&own).arg(how).status().unwrap())
        };
        Measured::of(run, TIMES).print(&format!(
            "a process that deletes an element and ends by {how} its socket"
        ));
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("closing") => return publish_and_end(false),
        Some("leaving") => return publish_and_end(true),
        _ => {}
    }
    println!("{:<58} {:>7} {:>7} {:>7}", "microseconds", "10 %", "median", "90 %");
    on_a_host(|| {
        let load = || {
            let mut kernel = Kernel::new();
            kernel.observe_bridge(&name("lo")).unwrap();
            let time = timed(|| kernel.apply(&[Op::LoadFirewall], &mut nothing).unwrap());
            sh("nft flush ruleset");
            time
        };
        Measured::of(load, 20).print("load the firewall");
    });
    on_a_host(whole_processes);
    for published in [0, 10_000] {
        on_a_host(|| endpoints(published));
    }
}

fn publish(port: usize) -> Element {
    // Both protocols, so that more than 65,535 fit.
    let protocol = if port > 60_000 { Protocol::Udp } else { Protocol::Tcp };
    Element::PublishAny {
        protocol,
        port: (port % 60_000 + 1) as u16,
        to: "10.7.0.9:80".parse().unwrap(),
    }
}

/// A hundred endpoints without a pause, which finds the processor's caches warm.
fn one_after_another(kernel: &mut Kernel, directory: &Path, network: &Network) {
    let endpoints: Vec<Endpoint> = (2..102)
        .map(|host| {
            let port = 64_000 + u16::from(host);
            endpoint(network, host, &[&format!("{port}:80"), &format!("{port}:53/udp")])
        })
        .collect();
    let mut next = endpoints.iter();
    let mut attach_next = || {
        let plan = next
            .next()
            .map(|endpoint| attach(directory, network, endpoint))
            .unwrap_or_default();
        timed(|| kernel.apply(&plan, &mut nothing).unwrap())
    };
    Measured::of(&mut attach_next, endpoints.len()).print("attach one after another, a TCP and a UDP port");
    let mut next = endpoints.iter();
    let mut detach_next = || {
        let plan = next
            .next()
            .map(|endpoint| detach(directory, network, endpoint))
            .unwrap_or_default();
        timed(|| kernel.remove(&plan, &mut nothing))
    };
    Measured::of(&mut detach_next, endpoints.len()).print("detach one after another, a TCP and a UDP port");
    for endpoint in endpoints {
        kernel.remove(
            &[Op::DeleteLink {
                name: endpoint.host_interface,
            }],
            &mut nothing,
        );
    }
}

fn endpoints(published: usize) {
    let directory = common::directory();
    let network = network(7);
    let mut kernel = Kernel::new();
    kernel.apply(&prepare_host(), &mut nothing).unwrap();
    kernel.apply(&create(&network), &mut nothing).unwrap();
    let others: Vec<Element> = (0..published).map(publish).collect();
    kernel.apply(&[Op::AddElements(others)], &mut nothing).unwrap();
    println!("-- with {published} other published ports");

    for (what, ports) in [
        ("no port", &[][..]),
        ("a TCP port", &["65001:80"][..]),
        ("a TCP and a UDP port", &["65001:80", "65002:53/udp"][..]),
    ] {
        let endpoint = endpoint(&network, 2, ports);
        let (up, down) = (
            attach(directory.path(), &network, &endpoint),
            detach(directory.path(), &network, &endpoint),
        );
        let (mut attached, mut detached, mut steps) = (Vec::new(), Vec::new(), vec![Vec::new(); up.len() + down.len()]);
        for _ in 0..TIMES {
            let mut step = 0;
            let mut watch = |_: &Op, time| {
                steps[step].push(time);
                step += 1;
            };
            attached.push(timed(|| kernel.apply(&up, &mut watch).unwrap()));
            detached.push(timed(|| kernel.remove(&down, &mut watch)));
            kernel.remove(
                &[Op::DeleteLink {
                    name: endpoint.host_interface.clone(),
                }],
                &mut nothing,
            );
            std::thread::sleep(SETTLING);
        }
        attached.sort();
        detached.sort();
        Measured(attached).print(&format!("attach, with namespace, {what}"));
        Measured(detached).print(&format!("detach, {what}"));
        if std::env::args().any(|argument| argument == "--steps") {
            for (op, mut times) in up.iter().chain(&down).zip(steps) {
                times.sort();
                let line = op.to_string();
                Measured(times).print(&format!("    {:.50}", line.lines().next().unwrap_or_default()));
            }
        }
    }
    one_after_another(&mut kernel, directory.path(), &network);
    for count in [1, 1_000, 10_000] {
        let elements: Vec<Element> = (published..published + count).map(publish).collect();
        let (add, delete) = (Op::AddElements(elements.clone()), Op::DeleteElements(elements));
        let mut deleted = Vec::new();
        let added = Measured::of(
            || {
                let time = timed(|| kernel.apply(std::slice::from_ref(&add), &mut nothing).unwrap());
                deleted.push(timed(|| kernel.remove(std::slice::from_ref(&delete), &mut nothing)));
                time
            },
            20,
        );
        deleted.sort();
        added.print(&format!("publish {count}"));
        Measured(deleted).print(&format!("unpublish {count}"));
    }
    let bridge = network.bridge.clone().unwrap().name;
    Measured::of(|| timed(|| kernel.observe_bridge(&bridge).unwrap()), TIMES).print("observe the bridge");
    Measured::of(|| timed(|| kernel.observe().unwrap()), TIMES).print("observe the host");
}
