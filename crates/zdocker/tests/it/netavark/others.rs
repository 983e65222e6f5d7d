//! What others do of it: the name server, and plug-ins of other drivers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Host, Snapshot, skipped, until};

use super::{Caller, Sandbox, error, input, network, with};

/// Debian's.
const AARDVARK: &str = "/usr/lib/podman/aardvark-dns";

#[test]
fn names_are_served_at_any_port() {
    if !Path::new(AARDVARK).exists() {
        skipped("aardvark-dns is not installed");
        return;
    }
    let host = Host::new();
    let caller = Caller::new(&host);
    let (c, d) = (Sandbox::new(&host, "c"), Sandbox::new(&host, "d"));
    let before = Snapshot::take(&host);
    let named = with(network(1), json!({"dns_enabled": true}));
    let mut first = input(2, &[&named]);
    first["networks"][0]["aliases"] = json!(["db", "not a name"]);
    let second = input(3, &[&named]);
    for port in ["53", "1153"] {
        let call = |verb: &str, sandbox: &Sandbox, wanted: &Value| {
            let config = caller.config.to_str().unwrap();
            let words = ["--config", config, "--aardvark-binary", AARDVARK, verb, &sandbox.path];
            let mut command = host.command(caller.program.to_str().unwrap(), &words);
            command.env("NETAVARK_DNS_PORT", port);
            host.finish(command, &wanted.to_string()).ok();
        };
        call("setup", &c, &first);
        call("setup", &d, &second);
        for name in ["c2", "db"] {
            // Debian's server says that it is ready a moment before it is.
            let asked = format!("busybox nslookup {name}.dns.podman 10.89.1.1 || true");
            until("the name server answers", || {
                d.net.output("sh", &["-c", &asked], "").contains("10.89.1.2")
            });
        }
        call("teardown", &d, &second);
        call("teardown", &c, &first);
        before.assert_same(&host);
    }
}

#[test]
fn a_name_server_that_does_not_start_is_an_error() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let named = input(2, &[&with(network(1), json!({"dns_enabled": true}))]);
    // The last one would ask itself.
    let loops = with(named.clone(), json!({"dns_servers": ["10.89.1.1"]}));
    for (program, wanted) in [("/bin/false", &named), ("/etc", &named), ("/bin/true", &loops)] {
        let refused = error(caller.call(&["-a", program, "setup", &c.path], wanted));
        assert!(refused.contains("error while applying dns entries"), "{refused}");
        let entries = fs::read_dir(caller.config.join("aardvark-dns"));
        assert_eq!(entries.map_or(0, Iterator::count), 0, "{program}");
        c.is_empty_soon();
        before.assert_same(&host);
    }
}

/// Stands for systemd: notes what it is asked, and runs it.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
echo "$@" >> "$0.calls"
while true; do case "$1" in -*) shift;; *) exec "$@";; esac; done
"#;

#[test]
fn systemd_starts_the_name_server_where_it_was_booted() {
    if !Path::new(AARDVARK).exists() {
        skipped("aardvark-dns is not installed");
        return;
    }
    let host = Host::new();
    host.program("mount", &["-t", "tmpfs", "tmpfs", "/run"]).ok();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let program = host.scratch().join("systemd-run");
    fs::write(&program, SYSTEMD_RUN).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin", host.scratch().display());
    let config = caller.config.to_str().unwrap();
    let wanted = input(2, &[&with(network(1), json!({"dns_enabled": true}))]);
    let call = |rootless: &str, verb: &str| {
        let words = [
            "--config",
            config,
            "--rootless",
            rootless,
            "--aardvark-binary",
            AARDVARK,
            verb,
            &c.path,
        ];
        let mut command = host.command(caller.program.to_str().unwrap(), &words);
        command.env("PATH", &path);
        host.finish(command, &wanted.to_string()).ok();
    };
    // Installed alone it is not asked: something else may have booted the system.
    call("false", "setup");
    call("false", "teardown");
    assert!(!host.scratch().join("systemd-run.calls").exists());
    host.program("mkdir", &["-p", "/run/systemd/system"]).ok();
    for rootless in ["false", "true"] {
        call(rootless, "setup");
        until("the name server answers", || {
            let asked = "busybox nslookup c2.dns.podman 10.89.1.1 || true";
            c.net.output("sh", &["-c", asked], "").contains("10.89.1.2")
        });
        call(rootless, "teardown");
    }
    let calls = fs::read_to_string(host.scratch().join("systemd-run.calls")).unwrap();
    let server = format!("{AARDVARK} --config {config}/aardvark-dns -p 53 run");
    let expected = ["-q --scope", "-q --scope --user"].map(|options| format!("{options} {server}"));
    assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
}

/// A plug-in that notes what it is asked, and refuses what is named `bad`.
const PLUGIN: &str = r#"#!/bin/sh
cat > "$0.$1"
echo "$@" >> "$0.calls"
if grep -q '"name":"bad"' "$0.$1"; then echo '{"error":"it is bad"}'; exit 3; fi
[ "$1" = teardown ] || echo '{"interfaces":{"eth1":{"mac_address":"02:00:00:00:00:01","subnets":[]}}}'
"#;

#[test]
fn other_drivers_are_programs() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    let directory = host.scratch().join("plugins");
    let plugin = directory.join("special");
    fs::create_dir(&directory).unwrap();
    fs::write(&plugin, PLUGIN).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let special = |name: &str| with(network(2), json!({"name": name, "driver": "special", "subnets": null}));
    let directories = [
        "--plugin-directory",
        "/nowhere",
        "--plugin-directory",
        directory.to_str().unwrap(),
    ];
    let call = |verb: &str, wanted: &Value| caller.call(&[&directories[..], &[verb, &c.path]].concat(), wanted);
    let wanted = input(2, &[&network(1), &special("n2")]);
    let answer = call("setup", &wanted).ok().json();
    assert_eq!(answer["n2"]["interfaces"]["eth1"]["mac_address"], "02:00:00:00:00:01");
    assert_eq!(
        answer["n1"]["interfaces"]["eth0"]["subnets"].as_array().unwrap().len(),
        2
    );
    let asked: Value = serde_json::from_str(&fs::read_to_string(directory.join("special.setup")).unwrap()).unwrap();
    assert_eq!(
        (&asked["container_name"], &asked["network"]["driver"]),
        (&json!("c2"), &json!("special"))
    );
    assert_eq!(asked["network_options"]["interface_name"], "eth1");
    call("teardown", &wanted).ok();
    before.assert_same(&host);
    // What it refuses, all refuse: the others are taken back.
    let refused = error(call(
        "setup",
        &input(2, &[&network(1), &special("n2"), &special("bad")]),
    ));
    assert!(refused.contains("it is bad"), "{refused}");
    before.assert_same(&host);
    let calls = fs::read_to_string(directory.join("special.calls")).unwrap();
    let verbs: Vec<&str> = calls.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(verbs, ["setup", "teardown", "setup", "setup", "teardown"]);
    // It is told of a container whose namespace is gone, too.
    call("setup", &wanted).ok();
    let nowhere = [&directories[..], &["teardown", "/nowhere/ns"]].concat();
    caller.call(&nowhere, &wanted).ok();
    let calls = fs::read_to_string(directory.join("special.calls")).unwrap();
    assert_eq!(calls.lines().last(), Some("teardown /nowhere/ns"));
    before.assert_same(&host);
    let unknown = caller.refused(&c, &wanted);
    assert!(unknown.contains("unknown network driver \"special\""), "{unknown}");
}

#[test]
fn new_networks_are_completed() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let request = json!({
        "network": {"name": "web", "id": format!("{:064x}", 1), "driver": "bridge", "dns_enabled": true, "internal": false,
                    "ipv6_enabled": false},
        "used": {"interfaces": ["podman1"], "names": {}, "subnets": []},
        "options": {"subnet_pools": [{"base": "10.89.0.0/16", "size": 24}], "default_interface_name": "podman",
                    "check_used_subnets": true},
    });
    let created = caller.call(&["create"], &request).ok().json();
    assert_eq!(created["network_interface"], "podman2");
    assert_eq!(
        created["subnets"][0],
        json!({"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"})
    );
    // What it made can be used.
    let c = Sandbox::new(&host, "c");
    let before = Snapshot::take(&host);
    caller.setup(&c, &input(2, &[&created]));
    caller.teardown(&c, &input(2, &[&created]));
    before.assert_same(&host);
    let refused = error(caller.call(&["create"], &with(request, json!({"network": {"name": "web"}}))));
    assert!(!refused.is_empty());
    // Nobody is on a network of this name.
    caller
        .call(&["update", "web", "--network-dns-servers", "192.0.2.53"], &Value::Null)
        .ok();
}
