//! A network and an endpoint, applied, taken back, failed and killed at every step.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::path::Path;
use std::process::Command;

use common::*;
use zdocker_host::{Kernel, StepError};
use zdocker_net::firewall::{Element, RULESET};
use zdocker_net::model::{Bandwidth, Endpoint, Network, Route};
use zdocker_net::op::{Op, Place};

const PORTS: [&str; 4] = ["8080:80", "53:5353/udp", "127.0.0.1:443:8443", "[::]:5000:5000/udp"];

fn nothing(_: &Op, _: std::time::Duration) {}

/// An endpoint with all that there is to be made.
fn whole_endpoint(network: &Network) -> Endpoint {
    let mut endpoint = endpoint(network, 2, &PORTS);
    endpoint.settings.bandwidth = Bandwidth {
        receive: Some(10_000_000),
        send: Some(512_000),
        ..Bandwidth::default()
    };
    endpoint
}

/// A network whose ports are isolated.
fn apart() -> Network {
    let mut network = network(7);
    network.settings.no_neighbours = true;
    network
}

/// The whole of what the tests do: a network, and an endpoint in it, isolated and with routes of its own.
fn plan(directory: &Path) -> Vec<Op> {
    let network = apart();
    let endpoint = whole_endpoint(&network);
    let mut ops = create(&network);
    ops.extend(attach(directory, &network, &endpoint));
    let route = |destination, via: Option<&str>, metric| Op::AddRoute {
        place: Place::Namespace(namespace_path(directory, &endpoint)),
        link: name("eth0"),
        route: Route::new(subnet(destination), via.map(ip), metric),
        table: None,
    };
    ops.extend([
        route("198.51.100.0/24", None, Some(7)),
        route("2001:db8:5::/48", None, None),
        route("192.0.2.0/24", Some("10.7.0.9"), Some(50)),
        route("2001:db8:6::/48", Some("fd00:7::9"), Some(60)),
    ]);
    ops
}

/// What takes it away, whatever of it is there.
fn removal(directory: &Path) -> Vec<Op> {
    let network = apart();
    let mut ops = detach_and_wait(directory, &network, &whole_endpoint(&network));
    ops.extend(delete(&network));
    ops
}

/// A host that is ready for networks.
fn prepared() -> (Kernel, tempfile::TempDir) {
    let mut kernel = Kernel::new();
    kernel.apply(&prepare_host(), &mut nothing).unwrap();
    (kernel, directory())
}

/// The settings that no list of addresses and routes shows, here and in the endpoint's namespace.
fn details(directory: &Path) -> Vec<String> {
    let inside = namespace_path(directory, &endpoint(&network(7), 2, &[])).0;
    let settings = |link: &str| {
        format!(
            "cd /proc/sys/net; grep . ipv6/conf/{link}/accept_ra ipv6/conf/{link}/addr_gen_mode \
             ipv4/conf/{link}/route_localnet"
        )
    };
    let links = "ip -d link | sed 's/^[0-9]*: //;/^zdi/{n;s/ether [0-9a-f:]*//};s/link-netns.*//;s/@if[0-9]*//;s/gc_timer *[0-9.]*//;\
                 s/hello_timer *[0-9.]*//;s/maxmtu.*numtxqueues/numtxqueues/' | grep -v 'link/ether.*brd.*ff $'";
    let of_bridge = "bridge -d link show dev zdv7x2 | sed 's/^[0-9]*: //;s/@[a-z0-9]*//;s/\\[.*//'";
    [
        sh(links),
        sh(of_bridge),
        sh(&settings("br7")),
        sh("cat /proc/sys/net/ipv6/conf/zdv7x2/addr_gen_mode"),
        // The kernel numbers queues and actions for itself.
        sh("tc -d qdisc | sed 's/tbf [0-9a-f]*:/tbf/'; tc -d filter show dev zdv7x2 ingress | sed 's/index [0-9]*//'"),
        sh(&format!(
            "nsenter --net={inside} sh -c \"{}\"",
            links.replace('$', "\\$")
        )),
        sh(&format!("nsenter --net={inside} sh -c '{}'", settings("eth0"))),
        sh(&format!(
            "nsenter --net={inside} cat /proc/sys/net/ipv6/conf/default/accept_ra"
        )),
        sh(&format!("nsenter --net={inside} ip -o addr | cut -d' ' -f2-")),
        sh(&format!("nsenter --net={inside} sh -c 'ip route; ip -6 route'")),
    ]
    .into()
}

#[test]
fn steps_do_what_their_printed_commands_do() {
    let by_commands = on_a_host(|| {
        let directory = common::directory();
        let ruleset_file = directory.path().join("ruleset");
        std::fs::write(&ruleset_file, RULESET).unwrap();
        let mut script = format!("zdocker() {{ cat {}; }}\n", ruleset_file.display());
        for op in prepare_host().iter().chain(&plan(directory.path())) {
            // conntrack(8) fails where there is nothing to forget.
            let is_lenient = matches!(op, Op::ForgetUdpFlows { .. });
            let command = |line: &str| match is_lenient {
                true => format!("{{ {line}\n}} || true\n"),
                false => format!("{line}\n"),
            };
            script.extend(op.to_string().lines().map(command));
        }
        sh(&script);
        std::fs::remove_file(ruleset_file).unwrap();
        seen(directory.path())
    });
    let by_us = on_a_host(|| {
        let (mut kernel, directory) = prepared();
        kernel.apply(&plan(directory.path()), &mut nothing).unwrap();
        seen(directory.path())
    });
    assert_eq!(by_us.1.len(), by_commands.1.len());
    for (ours, theirs) in by_us.1.iter().zip(&by_commands.1) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(by_us.0, by_commands.0);

    fn seen(directory: &Path) -> (State, Vec<String>) {
        let mut state = State::see(directory);
        // What is another each time: the addresses of the veth's host end and of the ifb, and where the directory is.
        for link in ["zdv7x2", "zdi7x2"] {
            state.links.insert(link.to_owned(), String::new());
        }
        for file in &mut state.files {
            *file = file.file_name().unwrap().into();
        }
        (state, details(directory))
    }
}

#[test]
fn what_is_applied_is_seen_and_taken_back() {
    on_a_host(|| {
        let (mut kernel, directory) = prepared();
        let before = State::see(directory.path());
        let ops = plan(directory.path());
        let mut watched = Vec::new();
        let undo = kernel.apply(&ops, &mut |op, _| watched.push(op.clone())).unwrap();
        assert_eq!(watched, ops);

        let seen = kernel.observe_bridge(&network(7).bridge.unwrap()).unwrap();
        let link = seen.link.unwrap();
        assert_eq!(
            (link.name.as_str(), link.mac, link.mtu, seen.firewall),
            ("br7", Some(mac(7, 1)), 1400, true)
        );
        let all = kernel.observe().unwrap();
        assert_eq!(all.link(&name("br7")), Some(&link));
        assert!(all.connected.contains(&(name("br7"), subnet("10.7.0.0/24"))));
        assert!(all.routes.contains(&subnet("fd00:7::/64")));
        assert!(all.forwarding_v4 && all.forwarding_v6 == Some(true) && all.firewall);
        assert!(!all.accept_ra.contains(&name("br7")), "{:?}", all.accept_ra);

        assert!(kernel.remove(&undo, &mut nothing).is_empty());
        assert_eq!(State::see(directory.path()), before);
        // Removing what is gone is no error.
        assert!(kernel.remove(&undo, &mut nothing).is_empty());
        assert!(kernel.remove(&removal(directory.path()), &mut nothing).is_empty());
        assert_eq!(State::see(directory.path()), before);
    });
}

#[test]
fn a_port_joins_a_bridge_that_was_made_anew() {
    on_a_host(|| {
        let (mut kernel, directory) = prepared();
        kernel.apply(&plan(directory.path()), &mut nothing).unwrap();
        let before = details(directory.path())[1].clone();
        assert!(
            before.contains("hairpin on") && before.contains("isolated on"),
            "{before}"
        );
        let port = |kernel: &mut Kernel| kernel.observe().unwrap().master(&name("zdv7x2")).cloned();
        assert_eq!(port(&mut kernel), Some(name("br7")));
        let join = Op::JoinBridge {
            link: name("zdv7x2"),
            bridge: name("br7"),
            hairpin: true,
            isolated: true,
        };
        let bridge = &create(&network(7))[1..];
        sh("ip link delete br7");
        assert_eq!(port(&mut kernel), None);
        kernel.apply(bridge, &mut nothing).unwrap();
        kernel.apply(std::slice::from_ref(&join), &mut nothing).unwrap();
        assert_eq!(port(&mut kernel), Some(name("br7")));
        let of_port = || details(directory.path())[1].clone();
        assert_eq!(of_port(), before);
        // Its printed commands do the same.
        sh(&format!("ip link set zdv7x2 nomaster; {join}"));
        assert_eq!(of_port(), before);
    });
}

#[test]
fn the_way_out_is_seen() {
    on_a_host(|| {
        sh(
            "ip link add up0 mtu 1280 type veth peer name x; ip link add up1 mtu 1380 type veth peer name y
            for i in up0 up1 x y; do ip link set $i up; done
            ip addr add 198.51.100.2/24 dev up0; ip addr add 203.0.113.2/24 dev up1
            ip route add default via 198.51.100.1 metric 200; ip route add default via 203.0.113.1 metric 100
            ip route add 192.0.2.0/24 nexthop via 198.51.100.1 nexthop via 203.0.113.1
            ip route add table 42 10.42.0.0/16 via 198.51.100.1; ip route add unreachable 10.43.0.0/16",
        );
        let seen = Kernel::new().observe().unwrap();
        assert_eq!(seen.egress_mtu, Some(1380));
        for text in ["192.0.2.0/24", "10.42.0.0/16", "10.43.0.0/16", "203.0.113.0/24"] {
            assert!(seen.routes.contains(&subnet(text)), "{text}: {:?}", seen.routes);
        }
        assert!(seen.routes.iter().all(|route| route.prefix() > 0));
        assert!(seen.accept_ra.contains(&name("up0")));
        assert!(!seen.firewall);
    });
}

/// Steps that fail: before anything is sent, in a message to rtnetlink, here and in the namespace, and in a
/// transaction.
fn failing_steps(directory: &Path) -> Vec<Op> {
    let unreachable = |place| Op::AddRoute {
        place,
        link: name("lo"),
        route: Route::new(subnet("198.18.0.0/15"), Some(ip("203.0.113.99")), None),
        table: None,
    };
    let endpoint = endpoint(&network(7), 2, &[]);
    vec![
        Op::SetUp {
            place: Place::Host,
            link: name("missing0"),
        },
        unreachable(Place::Host),
        unreachable(Place::Namespace(namespace_path(directory, &endpoint))),
        Op::DeleteElements(vec![Element::Bridge(name("missing0"))]),
        Op::SetSysctl {
            place: Place::Host,
            key: "net/missing".to_owned(),
            value: "1".to_owned(),
        },
    ]
}

#[test]
fn a_plan_that_fails_leaves_nothing() {
    on_a_host(|| {
        let (mut kernel, directory) = prepared();
        let before = State::see(directory.path());
        let ops = plan(directory.path());
        for failing in failing_steps(directory.path()) {
            for position in 0..=ops.len() {
                let mut plan = ops.clone();
                plan.insert(position, failing.clone());
                let error = kernel.apply(&plan, &mut nothing).unwrap_err();
                assert_eq!(*error.step, failing, "at {position}: {error}");
                assert!(error.not_undone.is_empty(), "at {position}: {error}");
                assert!(error.to_string().starts_with(&format!("cannot \"{failing}")), "{error}");
                assert_eq!(State::see(directory.path()), before, "{failing} at {position}");
            }
        }
    });
}

#[test]
fn what_was_there_before_is_not_taken_back() {
    on_a_host(|| {
        let (mut kernel, directory) = prepared();
        let ops = plan(directory.path());
        kernel.apply(&ops, &mut nothing).unwrap();
        let before = State::see(directory.path());
        // Each creating step alone meets what is there, and must leave it. Elements are the same ones then.
        for op in ops.iter().filter(|op| op.inverse().is_some()) {
            if matches!(op, Op::AddElements(_)) {
                kernel.apply(std::slice::from_ref(op), &mut nothing).unwrap();
                assert_eq!(State::see(directory.path()), before, "{op}");
                continue;
            }
            let error = kernel.apply(std::slice::from_ref(op), &mut nothing).unwrap_err();
            assert!(error.to_string().contains("File exists"), "{error}");
            assert_eq!(State::see(directory.path()), before, "{op}");
        }
        assert!(kernel.remove(&removal(directory.path()), &mut nothing).is_empty());
    });
}

#[test]
fn errors_name_the_step_and_the_kernels_reason() {
    on_a_host(|| {
        let mut kernel = Kernel::new();
        let mut check = |op: Op, expected: &str| {
            let error = kernel.apply(&[op], &mut nothing).unwrap_err();
            assert_eq!(error.to_string(), expected);
            error
        };
        let error = check(
            Op::AddRoute {
                place: Place::Host,
                link: name("lo"),
                route: Route::new(subnet("10.0.0.0/8"), Some(ip("192.0.2.1")), None),
                table: None,
            },
            "cannot \"ip route replace 10.0.0.0/8 via 192.0.2.1 dev lo\": Network is unreachable (os error 101): \
             Nexthop has invalid gateway",
        );
        assert!(matches!(*error.reason, StepError::Netlink(_)));
        check(
            Op::SetUp {
                place: Place::Host,
                link: name("nope0"),
            },
            "cannot \"ip link set nope0 up\": there is no interface nope0",
        );
        let directory = common::directory();
        let path = directory.path().display().to_string();
        check(
            Op::DeleteNamespace {
                path: zdocker_net::op::NamespacePath(path.clone()),
            },
            &format!(
                "cannot \"umount {path} && rm {path}\": cannot delete network namespace {path}: \
                 Is a directory (os error 21)"
            ),
        );
    });
}

/// The environment variables by which [`killed_process`] is told what to do.
const DIRECTORY: &str = "ZDOCKER_TEST_DIRECTORY";
const STEPS: &str = "ZDOCKER_TEST_STEPS";

#[test]
#[ignore = "the process that is killed by the tests below"]
fn killed_process() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let mut steps: usize = std::env::var(STEPS).unwrap().parse().unwrap();
    let undo = Kernel::new().apply(&plan(Path::new(&directory)), &mut |_, _| {
        steps -= 1;
        if steps == 0 {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    });
    assert!(undo.is_ok());
}

fn killed_process_command(directory: &Path, steps: usize, prefix: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut words = prefix.iter().map(Into::into).chain([own.into_os_string()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "killed_process", "--ignored"]);
    command
        .env(DIRECTORY, directory)
        .env(STEPS, steps.to_string())
        .stdout(std::process::Stdio::null());
    command
}

#[test]
fn a_plan_killed_after_any_step_can_be_removed() {
    on_a_host(|| {
        let (mut kernel, directory) = prepared();
        let before = State::see(directory.path());
        for steps in 1..=plan(directory.path()).len() {
            let status = killed_process_command(directory.path(), steps, &[]).status().unwrap();
            assert!(!status.success());
            assert_ne!(State::see(directory.path()), before);
            let failures = kernel.remove(&removal(directory.path()), &mut nothing);
            assert!(failures.is_empty(), "after {steps}: {failures:?}");
            assert_eq!(State::see(directory.path()), before, "after {steps}");
        }
    });
}

#[test]
fn a_plan_killed_at_any_system_call_can_be_removed() {
    on_a_host(|| {
        let (mut kernel, directory) = prepared();
        let before = State::see(directory.path());
        for call in ["sendto", "unshare", "mount", "recvfrom"] {
            for time in 1.. {
                let inject = format!("inject={call}:signal=KILL:when={time}");
                let trace = format!("trace={call}");
                let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
                let status = killed_process_command(directory.path(), usize::MAX, &strace)
                    .status()
                    .unwrap();
                let failures = kernel.remove(&removal(directory.path()), &mut nothing);
                assert!(failures.is_empty(), "{call} {time}: {failures:?}");
                assert_eq!(State::see(directory.path()), before, "{call} {time}");
                if status.success() {
                    assert!(time > 1, "{call} was never called");
                    break;
                }
            }
        }
    });
}
