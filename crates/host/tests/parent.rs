//! An endpoint on a parent interface: applied, taken back, failed and killed at every step, in a namespace that stays.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::*;
use zdocker_host::{Kernel, StepError};
use zdocker_net::model::{Children, Driver, Endpoint, MacvlanMode, Network, ParentDevice};
use zdocker_net::op::{NamespacePath, Op, Place};
use zdocker_net::plan;

fn nothing(_: &Op, _: std::time::Duration) {}

/// A network on `up0`, which carries the same name as the endpoints' interfaces do where they are.
fn on_parent() -> (Network, Endpoint) {
    let mut network = network(7);
    network.driver = Driver::Macvlan;
    network.bridge = None;
    network.parent = Some(ParentDevice {
        name: name("eth0"),
        mtu: Some(1400),
        children: Children::Macvlan {
            mode: MacvlanMode::Bridge,
            broadcast_limit: None,
        },
        made: None,
    });
    let mut endpoint = endpoint(&network, 2, &[]);
    endpoint.reply_table = Some(1000);
    (network, endpoint)
}

/// A host with the parent, whose other end is `down0`, and a container's namespace.
fn prepared() -> (Kernel, tempfile::TempDir, NamespacePath) {
    sh("ip link add eth0 type veth peer name down0
        ip link set eth0 addrgenmode none; ip link set down0 addrgenmode none
        ip link set eth0 up; ip link set down0 up");
    let directory = directory();
    let path = namespace_path(directory.path(), &on_parent().1);
    let mut kernel = Kernel::new();
    kernel.apply(&[plan::create_namespace(&path)], &mut nothing).unwrap();
    (kernel, directory, path)
}

/// What is in the namespace.
fn inside(path: &NamespacePath) -> String {
    let script = "ip -d link | sed 's/^[0-9]*: //;s/@if[0-9]*//;s/ state [A-Z]* / /;s/maxmtu.*numtxqueues/numtxqueues/'; \
                  ip -o addr | cut -d' ' -f2-; ip route show table all; ip -6 route show table all; \
                  ip rule; ip -6 rule; cat /proc/sys/net/ipv6/conf/*/addr_gen_mode";
    sh(&format!("nsenter --net={} sh -c \"{script}\"", path.0))
}

fn attach(path: &NamespacePath) -> Vec<Op> {
    let (network, endpoint) = on_parent();
    plan::attach(&network, &endpoint, path)
}

fn detach(path: &NamespacePath) -> Vec<Op> {
    let (network, endpoint) = on_parent();
    plan::detach(&network, &endpoint, Some(path))
}

#[test]
fn steps_do_what_their_printed_commands_do() {
    let by_commands = on_a_host(|| {
        let (_, _directory, path) = prepared();
        attach(&path).iter().for_each(|op| drop(sh(&op.to_string())));
        inside(&path)
    });
    let (by_us, seen) = on_a_host(|| {
        let (mut kernel, _directory, path) = prepared();
        kernel.apply(&attach(&path), &mut nothing).unwrap();
        let id = on_parent().1.host_interface;
        (inside(&path), kernel.has_inside(Path::new(&path.0), &id).unwrap())
    });
    assert!(
        by_us.contains("macvlan mode bridge") && by_us.contains("mtu 1400"),
        "{by_us}"
    );
    assert_eq!(by_us, by_commands);
    assert!(seen);
}

#[test]
fn it_is_taken_away_whatever_its_container_calls_it() {
    on_a_host(|| {
        let (mut kernel, directory, path) = prepared();
        let before = (State::see(directory.path()), inside(&path));
        for rename in ["true", "ip link set eth0 down; ip link set eth0 name wan"] {
            kernel.apply(&attach(&path), &mut nothing).unwrap();
            assert_ne!(inside(&path), before.1);
            sh(&format!("nsenter --net={} sh -c '{rename}'", path.0));
            assert!(kernel.remove(&detach(&path), &mut nothing).is_empty());
            assert_eq!((State::see(directory.path()), inside(&path)), before);
            // What is gone is no failure.
            assert!(kernel.remove(&detach(&path), &mut nothing).is_empty());
        }
        kernel
            .apply(&[Op::DeleteNamespace { path: path.clone() }], &mut nothing)
            .unwrap();
        assert!(kernel.remove(&detach(&path), &mut nothing).is_empty());
    });
}

#[test]
fn a_plan_that_fails_leaves_nothing() {
    on_a_host(|| {
        let (mut kernel, directory, path) = prepared();
        let before = (State::see(directory.path()), inside(&path));
        let ops = attach(&path);
        for place in [Place::Host, Place::Namespace(path.clone())] {
            for position in 0..=ops.len() {
                let failing = Op::SetUp {
                    place: place.clone(),
                    link: name("missing0"),
                };
                let mut plan = ops.clone();
                plan.insert(position, failing.clone());
                let error = kernel.apply(&plan, &mut nothing).unwrap_err();
                assert_eq!(*error.step, failing, "at {position}: {error}");
                assert!(error.not_undone.is_empty(), "at {position}: {error}");
                let after = (State::see(directory.path()), inside(&path));
                assert_eq!(after, before, "{failing} at {position}");
            }
        }
    });
}

#[test]
fn an_interface_of_the_containers_own_is_left_alone() {
    on_a_host(|| {
        let (mut kernel, directory, path) = prepared();
        sh(&format!(
            "nsenter --net={} ip link add eth0 type veth peer name other",
            path.0
        ));
        let before = (State::see(directory.path()), inside(&path));
        let error = kernel.apply(&attach(&path), &mut nothing).unwrap_err();
        assert!(error.to_string().contains("File exists"), "{error}");
        assert!(error.not_undone.is_empty(), "{error}");
        assert_eq!((State::see(directory.path()), inside(&path)), before);
    });
}

#[test]
fn what_the_kernel_lacks_is_named() {
    on_a_host(|| {
        let (mut kernel, directory, _) = prepared();
        let before = State::see(directory.path());
        let steps = [
            (Op::CreateDummy { name: name("dm-1") }, "ip link add dm-1 type dummy"),
            (
                Op::CreateVlan {
                    name: name("eth0.7"),
                    on: name("eth0"),
                    id: 7,
                },
                "ip link add link eth0 name eth0.7 type vlan id 7",
            ),
        ];
        for (op, command) in steps {
            match kernel.apply(std::slice::from_ref(&op), &mut nothing) {
                Ok(undo) => {
                    // What it does is what its command does.
                    let by_us = sh("ip -d link show type vlan; ip -d link show type dummy | grep -v link/ether");
                    assert!(kernel.remove(&undo, &mut nothing).is_empty());
                    sh(command);
                    let by_command = sh("ip -d link show type vlan; ip -d link show type dummy | grep -v link/ether");
                    let unnumbered = |text: &str| text.split_once(": ").map(|(_, rest)| rest.to_owned());
                    assert_eq!(unnumbered(&by_us), unnumbered(&by_command));
                    assert!(kernel.remove(&undo, &mut nothing).is_empty());
                }
                Err(error) => {
                    assert!(matches!(*error.reason, StepError::NoKind(_)), "{error}");
                    assert!(
                        error.to_string().starts_with(&format!("cannot \"{command}\"")),
                        "{error}"
                    );
                }
            }
            assert_eq!(State::see(directory.path()), before);
        }
    });
}

/// The environment variables by which [`killed_process`] is told what to do.
const NAMESPACE: &str = "ZDOCKER_TEST_NAMESPACE";
const STEPS: &str = "ZDOCKER_TEST_STEPS";

#[test]
#[ignore = "the process that is killed by the test below"]
fn killed_process() {
    let path = NamespacePath(std::env::var(NAMESPACE).unwrap());
    let mut steps: usize = std::env::var(STEPS).unwrap().parse().unwrap();
    let undo = Kernel::new().apply(&attach(&path), &mut |_, _| {
        steps -= 1;
        if steps == 0 {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    });
    assert!(undo.is_ok());
}

fn killed_process_command(path: &NamespacePath, steps: usize, prefix: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut words = prefix.iter().map(Into::into).chain([own.into_os_string()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "killed_process", "--ignored"]);
    command
        .env(NAMESPACE, &path.0)
        .env(STEPS, steps.to_string())
        .stdout(Stdio::null());
    command
}

#[test]
fn a_plan_killed_anywhere_can_be_removed() {
    on_a_host(|| {
        let (mut kernel, directory, path) = prepared();
        let before = (State::see(directory.path()), inside(&path));
        let mut check = |what: String, mut command: Command| {
            let status = command.status().unwrap();
            let failures = kernel.remove(&detach(&path), &mut nothing);
            assert!(failures.is_empty(), "{what}: {failures:?}");
            assert_eq!((State::see(directory.path()), inside(&path)), before, "{what}");
            status.success()
        };
        for steps in 1..=attach(&path).len() {
            assert!(!check(
                format!("after {steps}"),
                killed_process_command(&path, steps, &[])
            ));
        }
        for call in ["sendto", "setns", "recvfrom"] {
            for time in 1.. {
                let (inject, trace) = (
                    format!("inject={call}:signal=KILL:when={time}"),
                    format!("trace={call}"),
                );
                let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
                if check(
                    format!("{call} {time}"),
                    killed_process_command(&path, usize::MAX, &strace),
                ) {
                    assert!(time > 1, "{call} was never called");
                    break;
                }
            }
        }
    });
}
