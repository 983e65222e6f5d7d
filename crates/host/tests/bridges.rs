//! Bridges that are not ours alone, VLANs within bridges, and VRFs.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use common::*;
use zdocker_host::Kernel;
use zdocker_net::mend::{self, Fault, Repair};
use zdocker_net::model::{Endpoint, Network, Ownership};
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan::{self, Missing};

fn nothing(_: &Op, _: std::time::Duration) {}

/// A bridge that somebody made, with a port and an address of his.
fn others_bridge() {
    sh("ip link add br7 address 02:00:00:00:00:77 type bridge
        ip link set br7 addrgenmode none; ip addr add 192.0.2.1/24 dev br7; ip link set br7 up
        ip link add other0 master br7 up type veth peer name other1
        ip link set br7 mtu 1450");
}

fn network_of(ownership: Ownership) -> Network {
    let mut network = network(7);
    network.bridge.as_mut().unwrap().ownership = ownership;
    network
}

fn make(kernel: &mut Kernel, network: &Network) -> (Network, Vec<Op>) {
    let seen = kernel.observe().unwrap();
    let network = plan::adopting(network, &seen);
    let undo = kernel
        .apply(&plan::create_network(&network, &seen), &mut nothing)
        .unwrap();
    (network, undo)
}

fn missing(kernel: &mut Kernel, network: &Network) -> Missing {
    let bridge = network.bridge.as_ref().unwrap();
    plan::missing(network, bridge, &kernel.observe_bridge(bridge).unwrap())
}

fn differences(kernel: &mut Kernel, network: &Network) -> Option<Repair> {
    mend::bridge(network, &kernel.observe_host().unwrap()).unwrap()
}

/// Makes the namespace and plugs the endpoint in.
fn plug(kernel: &mut Kernel, directory: &tempfile::TempDir, network: &Network, endpoint: &Endpoint) -> NamespacePath {
    let path = namespace_path(directory.path(), endpoint);
    let mut plan = vec![plan::create_namespace(&path)];
    plan.extend(plan::attach(network, endpoint, &path));
    kernel.apply(&plan, &mut nothing).unwrap();
    path
}

fn inside(path: &NamespacePath, command: &str) -> String {
    sh(&format!("nsenter --net={} {command}", path.0))
}

/// Asserts that an address answers a container, or that it does not.
#[track_caller]
fn assert_answers(path: &NamespacePath, address: &str, expected: bool) {
    // On a busy machine an answer may take long; a silence need not be waited for as long.
    let patience = if expected { "-w10" } else { "-W1" };
    let ping = format!("sh -c 'ping -c1 {patience} {address} >/dev/null && echo yes || true'");
    assert_eq!(inside(path, &ping) == "yes\n", expected, "{address}");
}

#[test]
fn a_bridge_that_is_there_is_shared() {
    on_a_host(|| {
        others_bridge();
        let mut kernel = Kernel::new();
        let (network, _) = make(&mut kernel, &network_of(Ownership::Shared));
        let bridge = network.bridge.clone().unwrap();
        assert_eq!(bridge.mac.to_string(), "02:00:00:00:00:77");
        let addresses = sh("ip -o addr show dev br7");
        for address in ["192.0.2.1/24", "10.7.0.1/24", "fd00:7::1/64", "fe80::ff:fe00:77/64"] {
            assert!(addresses.contains(address), "{addresses}");
        }
        assert!(sh("ip link show br7").contains("mtu 1450"));
        assert_eq!(sh("sysctl -n net.ipv4.conf.br7.route_localnet"), "1\n");
        assert_eq!(missing(&mut kernel, &network), Missing::Nothing);
        assert_eq!(differences(&mut kernel, &network), None);

        // Its Ethernet address and size of packets are whoever's business.
        sh("ip link set br7 address 02:00:00:00:00:78; ip link set br7 mtu 1440");
        assert_eq!(missing(&mut kernel, &network), Missing::Nothing);
        assert_eq!(differences(&mut kernel, &network), None);
        // That it bears our gateways is not.
        sh("ip addr del 10.7.0.1/24 dev br7");
        assert_eq!(missing(&mut kernel, &network), Missing::Bridge);
        let repair = differences(&mut kernel, &network).unwrap();
        kernel.apply(&repair.steps, &mut nothing).unwrap();
        assert_eq!(differences(&mut kernel, &network), None);
        sh("ip link del br7");
        assert_eq!(missing(&mut kernel, &network), Missing::Bridge);
        let (again, _) = make(&mut kernel, &network);
        assert_eq!(missing(&mut kernel, &again), Missing::Nothing);
        assert_eq!(differences(&mut kernel, &again), None);
    });
}

#[test]
fn a_foreign_bridge_stays_as_it_is() {
    on_a_host(|| {
        let mut kernel = Kernel::new();
        let directory = directory();
        let network = network_of(Ownership::Foreign);
        assert_eq!(missing(&mut kernel, &network), Missing::Bridge);
        let lost = differences(&mut kernel, &network).unwrap();
        assert_eq!((lost.fault, lost.steps.len()), (Fault::LostBridge, 0));

        others_bridge();
        let shown = || {
            let bridge = sh("ip -o addr show dev br7; ip -d -o link show dev br7; sysctl net.ipv4.ip_forward");
            // How long its timers have to run, and whether it has a carrier, which the kernel notices a while after its
            // last port is gone.
            let is_timer = |word: &str| word.contains('.') && word.parse::<f32>().is_ok();
            let words = bridge
                .split_whitespace()
                .filter(|word| !is_timer(word) && !["UP", "DOWN"].contains(word));
            let words = words.map(|word| word.replace("NO-CARRIER,", "").replace(",LOWER_UP", ""));
            words.collect::<Vec<_>>().join(" ")
        };
        let before = shown();
        let (network, undo) = make(&mut kernel, &network);
        assert_eq!(undo, []);
        assert_eq!(shown(), before);
        assert_eq!(missing(&mut kernel, &network), Missing::Nothing);
        assert_eq!(differences(&mut kernel, &network), None);

        // Its neighbours are reached, and the guard holds there, too.
        let mut one = endpoint(&network, 2, &[]);
        let two = endpoint(&network, 3, &[]);
        one.sandbox = Some(String::new());
        let path = plug(&mut kernel, &directory, &network, &one);
        plug(&mut kernel, &directory, &network, &two);
        assert_answers(&path, "10.7.0.3", true);
        inside(&path, "ip addr add 10.7.0.4/24 dev eth0");
        inside(&path, "ip route replace 10.7.0.0/24 dev eth0 src 10.7.0.4");
        inside(&path, "ip neigh flush all");
        assert_answers(&path, "10.7.0.3", false);
        let seen = kernel.observe_host().unwrap();
        let within = kernel.observe_inside(&path, &[]).unwrap().unwrap();
        assert_eq!(mend::endpoint(&network, &one, &path, (&seen, &within)), Ok(Vec::new()));

        let mut removal = plan::detach_from(&network, &one, None);
        removal.extend(plan::detach_from(&network, &two, None));
        removal.extend(plan::remove_network(&network));
        assert!(kernel.remove(&removal, &mut nothing).is_empty());
        assert_eq!(shown(), before);
    });
}

/// Whether the kernel can make what `command` makes; if not, the test says so. `cargo xtask test` runs such tests in a
/// virtual machine as well.
#[allow(clippy::print_stderr, reason = "who runs the tests is to know")]
fn kernel_can(command: &str) -> bool {
    let can = sh(&format!("({command}) >/dev/null 2>&1 && echo yes || true")) == "yes\n";
    if !can {
        eprintln!("skipped: this kernel cannot {command}");
    }
    can
}

const VLANS: &str =
    "ip link add probe type bridge vlan_filtering 1 && bridge vlan add dev probe vid 9 self && ip link del probe";

/// What `bridge vlan` shows of a port.
fn vlans(port: &str) -> String {
    let shown = json(&format!("bridge -j vlan show dev {port}"));
    let vlans = shown[0]["vlans"].as_array().cloned().unwrap_or_default();
    let shown = vlans.iter().map(|vlan| format!("{}{}", vlan["vlan"], vlan["flags"]));
    shown.collect::<Vec<_>>().join(" ").replace('"', "")
}

#[test]
fn vlans_of_one_bridge_do_not_reach_each_other() {
    on_a_host(|| {
        if !kernel_can(VLANS) {
            return;
        }
        let (mut kernel, directory) = (Kernel::new(), directory());
        let mut seven = network(7);
        seven.bridge.as_mut().unwrap().vlan = Some(7);
        let (seven, _) = make(&mut kernel, &seven);
        // Another VLAN of the same bridge, the same addresses.
        let mut eight = seven.clone();
        let bridge = eight.bridge.as_mut().unwrap();
        (bridge.vlan, bridge.ownership) = (Some(8), Ownership::Foreign);
        let (eight, _) = make(&mut kernel, &eight);

        let [one, two, three, four] = [2, 3, 4, 5].map(|host| endpoint(&seven, host, &[]));
        let path = plug(&mut kernel, &directory, &seven, &one);
        plug(&mut kernel, &directory, &seven, &two);
        plug(&mut kernel, &directory, &eight, &three);
        let fourth = plug(&mut kernel, &directory, &eight, &four);
        assert_eq!(vlans("zdv7x2"), "7[PVID,Egress Untagged]");
        assert_eq!(vlans("zdv7x4"), "8[PVID,Egress Untagged]");
        for (reached, address) in [
            (true, "10.7.0.1"),
            (true, "10.7.0.3"),
            (true, "fd00:7::1"),
            (false, "10.7.0.4"),
            (false, "fd00:7::5"),
        ] {
            assert_answers(&path, address, reached);
        }
        assert_answers(&fourth, "10.7.0.4", true);
        assert_answers(&fourth, "10.7.0.1", false);

        let compare = |kernel: &mut Kernel| {
            let host = kernel.observe_host().unwrap();
            let within = kernel.observe_inside(&path, &[]).unwrap().unwrap();
            let mut repairs = mend::endpoint(&seven, &one, &path, (&host, &within)).unwrap();
            repairs.extend(mend::bridge(&seven, &host).unwrap());
            repairs.into_iter().flat_map(|repair| repair.steps).collect::<Vec<Op>>()
        };
        assert_eq!(compare(&mut kernel), []);
        for damage in [
            "bridge vlan add dev zdv7x2 vid 8",
            "bridge vlan add dev zdv7x2 vid 8 pvid untagged",
            "bridge vlan del dev zdv7x2 vid 7",
            "ip link set zdv7x2 nomaster",
            "ip link set br7 type bridge vlan_filtering 0",
        ] {
            sh(damage);
            let steps = compare(&mut kernel);
            assert!(!steps.is_empty(), "{damage}");
            kernel.apply(&steps, &mut nothing).unwrap();
            assert_eq!(compare(&mut kernel), [], "{damage}");
            assert_eq!(vlans("zdv7x2"), "7[PVID,Egress Untagged]", "{damage}");
            assert_answers(&path, "10.7.0.3", true);
        }
    });
}

#[test]
fn vlan_steps_are_what_their_commands_are() {
    let state =
        || sh("bridge vlan show; ip -d -o link show type bridge | sed 's/^[0-9]*: //' | grep -o 'vlan_filtering [01]'");
    let steps = || {
        let mut seven = network(7);
        seven.bridge.as_mut().unwrap().vlan = Some(7);
        let mut plan = plan::create_network(&seven, &Kernel::new().observe().unwrap());
        plan.retain(|op| !matches!(op, Op::LoadFirewall | Op::AddElements(_)));
        plan
    };
    let join = Op::JoinVlan {
        link: name("port0"),
        vlan: 9,
    };
    let port = "ip link add port0 type veth peer name port1; ip link set port0 master br7";
    let by = |carry_out: fn(&Op)| {
        on_a_host(|| {
            if !kernel_can(VLANS) {
                return None;
            }
            steps().iter().for_each(carry_out);
            sh(port);
            carry_out(&join);
            Some(state())
        })
    };
    // Everything is made on the thread that runs it.
    let by_commands = by(|op| drop(sh(&op.to_string())));
    let by_us = by(|op| drop(Kernel::new().apply(std::slice::from_ref(op), &mut nothing).unwrap()));
    if let Some(state) = &by_us {
        assert!(state.contains("vlan_filtering 1") && state.contains('9'), "{state}");
    }
    assert_eq!(by_us, by_commands);
}

#[test]
fn a_bridge_in_a_vrf() {
    on_a_host(|| {
        let mut kernel = Kernel::new();
        let mut seven = network(7);
        seven.bridge.as_mut().unwrap().vrf = Some(name("blue"));
        let before = State::see(directory().path());
        let seen = kernel.observe().unwrap();
        let error = kernel
            .apply(&plan::create_network(&seven, &seen), &mut nothing)
            .unwrap_err();
        assert!(error.to_string().contains("there is no interface blue"), "{error}");
        assert!(error.not_undone.is_empty(), "{error}");
        assert_eq!(State::see(directory().path()).links, before.links);

        if !kernel_can("ip link add blue type vrf table 77") {
            return;
        }
        sh("ip link set blue up");
        let (seven, _) = make(&mut kernel, &seven);
        assert!(sh("ip link show br7").contains("master blue"));
        assert!(sh("ip route show vrf blue").contains("10.7.0.0/24 dev br7"));
        assert!(sh("ip -6 route show vrf blue").contains("fd00:7::/64 dev br7"));
        assert_eq!(differences(&mut kernel, &seven), None);
        let directory = directory();
        let path = plug(&mut kernel, &directory, &seven, &endpoint(&seven, 2, &[]));
        inside(&path, "ping -c1 -w10 10.7.0.1");
        inside(&path, "ping -c1 -w10 fd00:7::1");
        sh("ip link set br7 nomaster");
        let repair = differences(&mut kernel, &seven).unwrap();
        kernel.apply(&repair.steps, &mut nothing).unwrap();
        // Its IPv6 addresses went when it was moved.
        if let Some(repair) = differences(&mut kernel, &seven) {
            kernel.apply(&repair.steps, &mut nothing).unwrap();
        }
        assert_eq!(differences(&mut kernel, &seven), None);
        inside(&path, "ping -c1 -w10 10.7.0.1");
        inside(&path, "ping -c1 -w10 fd00:7::1");
    });
}
