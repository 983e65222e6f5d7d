//! As an ordinary user's Podman calls it: in a user namespace, with what that is not allowed; a whole one is in
//! [`crate::podman`].

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Host, Output, Snapshot};

use super::{Caller, Sandbox, error, input, mapping, network, with};

/// Runs a script in a user namespace where there are a file `input`, a container's namespace `c`, and a program
/// `netavark`.
fn without_privileges(host: &Host, input: &Value, script: &str) -> Output {
    let caller = Caller::new(host);
    let prepare = "set -e; mount -t tmpfs none \"$1\"; cd \"$1\"; cat >input; touch c; unshare --net=c true
        echo \"exec '$0' --rootless true --config '$1' \\\"\\$@\\\" <input\" >netavark
        chmod +x netavark; PATH=$1:$PATH";
    let own = host.scratch().join("own");
    fs::create_dir(&own).unwrap();
    let script = format!("{prepare}\n{script}");
    let namespaces = ["--user", "--map-root-user", "--net", "--mount", "sh", "-c", &script];
    let arguments = [caller.program.to_str().unwrap(), own.to_str().unwrap()];
    let command = host.command("unshare", &[&namespaces[..], &arguments].concat());
    host.finish(command, &input.to_string())
}

/// A container that publishes `range` ports.
fn publishing(range: u16) -> Value {
    let ports = json!({"port_mappings": [mapping("", 8080, 7000, "tcp", range)]});
    with(input(2, &[&network(1)]), ports)
}

#[test]
fn all_is_done_when_teardown_answers() {
    let script = "netavark setup c; nsenter --net=c ip -4 -o addr show eth0
        nft list map inet $(nft list tables inet | cut -d' ' -f3) pub4any
        netavark teardown c; ip -o link; nft list tables; nsenter --net=c ip -o link | wc -l";
    let output = without_privileges(&Host::new(), &publishing(1), script)
        .ok()
        .prints(&["10.89.1.2/24", "tcp . 8080 : 10.89.1.2 . 7000"]);
    let (_, left) = output.text().split_once("\n1: lo: ").unwrap();
    assert_eq!(left.lines().skip(1).collect::<Vec<_>>(), ["1"]);
}

#[test]
fn as_many_ports_as_one_likes() {
    // More than the kernel lets a user send at once.
    let script = "count() { nft list ruleset | grep -o 'tcp \\. [0-9]* :' | wc -l; }
        netavark setup c >answer; count; netavark teardown c; nft list tables
        netavark setup c >answer; nft flush ruleset; netavark firewall-reload; count
        nft flush ruleset; netavark teardown c; ip -o link | wc -l";
    let output = without_privileges(&Host::new(), &publishing(6000), script).ok();
    assert_eq!(output.text().lines().collect::<Vec<_>>(), ["12000", "12000", "1"]);
}

#[test]
fn without_a_procfs_of_its_own() {
    // Where something is mounted over a part of it, as in containers, the kernel lets no user mount another one.
    let host = Host::new();
    host.program("mount", &["--bind", "/dev/null", "/proc/version"]).ok();
    let script = "if unshare --pid --fork mount -t proc proc /mnt 2>refused; then echo another one; fi
        netavark setup c >answer; nsenter --net=c cat /proc/sys/net/ipv4/conf/eth0/arp_notify
        cat /proc/sys/net/ipv4/ip_forward; netavark teardown c; ip -o link | wc -l";
    let output = without_privileges(&host, &publishing(1), script).ok();
    assert_eq!(output.text().lines().collect::<Vec<_>>(), ["1", "1", "1"]);
}

#[test]
fn a_namespace_made_anew_takes_over() {
    // The first is held by us, as by a name server that still runs.
    let script = "netavark setup c >answer; ip -o link show podman1 | wc -l
        unshare --net sh -c 'ip link set lo up; netavark teardown c; nsenter --net=c ip -o link | wc -l
            netavark setup c >answer; nsenter --net=c ip -4 -o addr show eth0; ip -o link show podman1 | wc -l
            netavark teardown c; ip -o link | wc -l'";
    let output = without_privileges(&Host::new(), &publishing(1), script).ok();
    let lines: Vec<&str> = output.text().lines().collect();
    assert!(
        matches!(lines[..], ["1", "1", address, "1", "1"] if address.contains("10.89.1.2/24")),
        "{lines:?}"
    );
}

#[test]
fn who_may_not_look_is_told_so() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let sandbox = Sandbox::new(&host, "c");
    let config = caller.config.to_str().unwrap();
    let program = caller.program.to_str().unwrap();
    let words = [
        "--bounding-set=-all",
        program,
        "--config",
        config,
        "setup",
        &sandbox.path,
    ];
    let refused = error(host.finish(host.command("setpriv", &words), &publishing(1).to_string()));
    assert!(refused.contains("this needs root"), "{refused}");
}

#[test]
fn a_container_goes_whose_addresses_are_forgotten() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let wanted = publishing(1);
    caller.setup(&c, &wanted);
    let mut forgetful = wanted;
    forgetful["networks"][0].as_object_mut().unwrap().remove("static_ips");
    let refused = caller.refused(&c, &forgetful);
    assert!(refused.contains("no static ips provided"), "{refused}");
    caller.teardown(&c, &forgetful);
    before.assert_same(&host);
}
