//! Parents that are ours to make: VLANs, and interfaces that lead nowhere. Where the kernel lacks them they are tried in
//! the virtual machine (`cargo xtask test`).

use std::fs;

use crate::harness::kill::{KERNEL, has_strace, killed_at_each};
use crate::harness::{Feature, Host, Snapshot, answers, ip, is_silent, needs, serving};

/// A host whose wire carries VLAN 7 as well: outside is `10.7.0.1` on it. `None` where the kernel has no VLANs.
fn host_with_vlan() -> Option<Host> {
    if !needs(&[Feature::Vlan]) {
        return None;
    }
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 other").ok();
    host.outside.ip("link add link lan name lan.7 type vlan id 7
         addr add 10.7.0.1/24 dev lan.7
         link set lan.7 up");
    Some(host)
}

fn has_link(host: &Host, name: &str) -> bool {
    host.net
        .ip_json(&["link", "show"])
        .iter()
        .any(|link| link["ifname"] == name)
}

#[test]
fn a_vlan_comes_with_the_first_network_and_goes_with_the_last() {
    let Some(host) = host_with_vlan() else { return };
    let before = Snapshot::take(&host);
    host.z("network create --dry-run -d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 n")
        .ok()
        .prints(&[
            "ip link add link eth0 name eth0.7 type vlan id 7\n",
            "ip link set eth0.7 up",
        ]);
    before.assert_same(&host);
    host.z("network create -d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 n")
        .ok();
    host.z("network create -d macvlan -o parent=eth0.7 --subnet 10.8.0.0/24 m")
        .ok();
    let (a, _a) = serving(&host, "a", "--net n");
    answers(&host.outside, ip("10.7.0.1"), a.v4(), "a");
    let (b, _b) = serving(&host, "b", "--net n");
    answers(&a.net, a.v4(), b.v4(), "b");
    host.z("rm -f a b").ok();
    host.z("network rm n").ok();
    assert!(has_link(&host, "eth0.7"), "the other network is on it");
    host.z("network rm --dry-run m").ok().prints(&["ip link delete eth0.7"]);
    host.z("network rm m").ok();
    before.assert_same(&host);
}

#[test]
fn a_vlan_that_was_there_stays() {
    let Some(host) = host_with_vlan() else { return };
    // Without an address of the kernel's own, which would come some time later.
    host.net
        .ip("link add link eth0 name eth0.7 type vlan id 7\nlink set eth0.7 addrgenmode none\nlink set eth0.7 up");
    let before = Snapshot::take(&host);
    host.z("network create -d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 n")
        .ok();
    let (a, _a) = serving(&host, "a", "--net n");
    answers(&host.outside, ip("10.7.0.1"), a.v4(), "a");
    host.z("rm -f a").ok();
    host.z("network rm n").ok();
    before.assert_same(&host);
}

#[test]
fn a_vlan_that_somebody_deleted_is_made_again() {
    let Some(host) = host_with_vlan() else { return };
    host.z("network create -d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 n")
        .ok();
    let (a, _a) = serving(&host, "a", "--net n");
    let own = a.v4();
    host.net.ip("link delete eth0.7");
    let (b, _b) = serving(&host, "b", "--net n");
    answers(&host.outside, ip("10.7.0.1"), b.v4(), "b");
    host.z("system check")
        .exits(1)
        .prints(&["container a has lost its interface to network n"]);
    host.z("system check --repair").ok();
    answers(&host.outside, ip("10.7.0.1"), own, "a");
    host.net.ip("link delete eth0.7");
    host.z("system check")
        .exits(1)
        .prints(&["network n has lost its parent interface"]);
    host.z("system check --repair").ok();
    answers(&host.outside, ip("10.7.0.1"), own, "a");
    host.z("rm -f a b").ok();
    host.z("network rm n").ok();
    assert!(!has_link(&host, "eth0.7"));
}

#[test]
fn after_a_reboot_a_vlan_is_made_again_unless_somebody_else_did() {
    let Some(host) = host_with_vlan() else { return };
    let reboot = |number: u32| {
        let id = host.scratch().join(format!("boot {number}"));
        fs::write(&id, format!("00000000-0000-0000-0000-{number:012}\n")).unwrap();
        host.net.ip("link delete eth0.7");
        let id = id.to_str().unwrap();
        host.program("mount", &["--bind", id, "/proc/sys/kernel/random/boot_id"])
            .ok();
    };
    host.z("network create -d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 n")
        .ok();
    reboot(1);
    assert!(!has_link(&host, "eth0.7"));
    let (a, a_server) = serving(&host, "a", "--net n");
    answers(&host.outside, ip("10.7.0.1"), a.v4(), "a");
    host.z("rm -f a").ok();
    drop((a, a_server));
    reboot(2);
    // Without an address of the kernel's own, which would come some time later.
    host.net
        .ip("link add link eth0 name eth0.7 type vlan id 7\nlink set eth0.7 addrgenmode none\nlink set eth0.7 up");
    let (a, _a) = serving(&host, "a", "--net n");
    answers(&host.outside, ip("10.7.0.1"), a.v4(), "a");
    host.z("rm -f a").ok();
    host.z("network rm n").ok();
    assert!(has_link(&host, "eth0.7"), "it is not ours");
}

#[test]
fn a_network_without_a_parent_leads_nowhere() {
    if !needs(&[Feature::Dummy, Feature::Ipvlan]) {
        return;
    }
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 other").ok();
    let before = Snapshot::take(&host);
    for driver in ["macvlan", "ipvlan"] {
        host.z(&format!("network create -d {driver} --subnet 10.5.0.0/24 n"))
            .ok();
        let (a, _a) = serving(&host, "a", "--net n");
        let (b, _b) = serving(&host, "b", "--net n");
        answers(&a.net, a.v4(), b.v4(), "b");
        assert!(a.net.ip_json(&["route", "show", "default"]).is_empty());
        is_silent(&host.net, a.v4());
        assert_eq!(host.z("network inspect n").ok().json()[0]["Internal"], true);
        host.z("rm -f a b").ok();
        host.z("network rm n").ok();
        before.assert_same(&host);
    }
}

#[test]
fn create_and_rm_killed_leave_no_vlan() {
    let Some(host) = host_with_vlan() else { return };
    if !has_strace(&host) {
        return;
    }
    let create = "network create -d macvlan -o parent=eth0.7 --subnet 10.7.0.0/24 n";
    let tidy = || {
        let removed = host.z("network rm n");
        assert!([0, 1].contains(&removed.status), "{removed:?}");
    };
    killed_at_each(&host, (KERNEL, 6), || {}, create, tidy);
    killed_at_each(&host, (KERNEL, 1), || drop(host.z(create).ok()), "network rm n", tidy);
}
