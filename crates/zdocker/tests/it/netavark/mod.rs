//! The binary called as netavark, as Podman calls it: JSON in, JSON out, and what comes of it in the kernel.

mod aftermath;
mod bridge;
mod child;
mod isolation;
mod others;
mod ports;
mod refused;
mod rootless;
mod routes;

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Host, NetNs, Output, until};

/// What calls netavark on a host: a link of that name, and a directory for state.
struct Caller<'h> {
    host: &'h Host,
    config: PathBuf,
    program: PathBuf,
}

impl<'h> Caller<'h> {
    fn new(host: &'h Host) -> Self {
        let program = host.scratch().join("netavark");
        if !program.exists() {
            symlink(env!("CARGO_BIN_EXE_zdocker"), &program).unwrap();
        }
        Caller {
            host,
            config: host.scratch().join("config"),
            program,
        }
    }

    /// Runs `netavark --config DIR ARGS` with this input.
    fn call(&self, args: &[&str], input: &Value) -> Output {
        let config = self.config.to_str().unwrap();
        let words = [&["--config", config], args].concat();
        let command = self.host.command(self.program.to_str().unwrap(), &words);
        self.host.finish(command, &input.to_string())
    }

    /// Plugs a container in, and gives the answer.
    #[track_caller]
    fn setup(&self, sandbox: &Sandbox, input: &Value) -> Value {
        self.call(&["setup", &sandbox.path], input).ok().json()
    }

    /// Unplugs a container.
    #[track_caller]
    fn teardown(&self, sandbox: &Sandbox, input: &Value) {
        let output = self.call(&["teardown", &sandbox.path], input).ok();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    }

    /// The error that plugging in must end with.
    #[track_caller]
    fn refused(&self, sandbox: &Sandbox, input: &Value) -> String {
        error(self.call(&["setup", &sandbox.path], input))
    }
}

/// The error that a call ended with, on standard output.
#[track_caller]
fn error(output: Output) -> String {
    let answer = output.exits(1).json();
    answer["error"].as_str().unwrap().to_owned()
}

/// A container's network namespace, pinned on a host.
struct Sandbox {
    path: String,
    net: NetNs,
}

impl Sandbox {
    fn new(host: &Host, name: &str) -> Self {
        let path = host.scratch().join(name).to_str().unwrap().to_owned();
        let pin = "touch \"$0\" && unshare --net=\"$0\" true";
        host.program("sh", &["-c", pin, &path]).ok();
        let root = host.proc().parent().unwrap().to_str().unwrap().to_owned();
        Sandbox {
            net: NetNs::open(&format!("{root}{path}")),
            path,
        }
    }

    /// Unpins the namespace, which goes with its last user: this, but for the path.
    fn unpin(self, host: &Host) -> String {
        host.program("umount", &["-l", &self.path]).ok();
        std::fs::remove_file(&self.path).unwrap();
        self.path
    }

    /// Waits until it has but `lo`: interfaces are deleted behind the call that unplugs them.
    #[track_caller]
    fn is_empty_soon(&self) {
        until("the interfaces are gone", || {
            self.net.ip_json(&["link", "show"]).len() == 1
        });
    }

    /// The lines of an `ip` command.
    fn ip(&self, args: &str) -> Vec<String> {
        let words: Vec<&str> = args.split_whitespace().collect();
        let shown = self.net.output("ip", &words, "");
        shown.lines().map(|line| line.trim().to_owned()).collect()
    }
}

/// Podman's definition of a bridge network: `10.89.N.0/24` and `fd00:89:N::/64`, the bridge `podmanN`.
fn network(number: u8) -> Value {
    json!({
        "name": format!("n{number}"),
        "id": format!("{number:064x}"),
        "driver": "bridge",
        "network_interface": format!("podman{number}"),
        "created": "2026-01-02T03:04:05.123456789Z",
        "subnets": [
            {"subnet": format!("10.89.{number}.0/24"), "gateway": format!("10.89.{number}.1")},
            {"subnet": format!("fd00:89:{number}::/64"), "gateway": format!("fd00:89:{number}::1")},
        ],
        "ipv6_enabled": true,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": {"driver": "host-local"},
    })
}

/// `value` with the fields of `changes` instead of its own.
fn with(mut value: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("{changes}")
    };
    for (key, change) in changes {
        value[key] = change;
    }
    value
}

/// What Podman writes for a container, the `own`th of its hosts' (2 to 254), on these networks, the first by `eth0`.
fn input(own: u8, networks: &[&Value]) -> Value {
    let info: serde_json::Map<String, Value> = networks
        .iter()
        .map(|network| (network["name"].as_str().unwrap().to_owned(), (*network).clone()))
        .collect();
    let wish = |(number, network): (usize, &&Value)| {
        let subnets = network["subnets"].as_array().cloned().unwrap_or_default();
        let address = |subnet: Value| {
            let subnet = subnet["subnet"].as_str().unwrap().to_owned();
            let (address, _) = subnet.split_once('/').unwrap();
            json!(format!("{}{own}", address.strip_suffix('0').unwrap_or(address)))
        };
        json!({
            "name": network["name"],
            "interface_name": format!("eth{number}"),
            "static_ips": subnets.into_iter().map(address).collect::<Vec<_>>(),
        })
    };
    json!({
        "container_id": format!("{own:064x}"),
        "container_name": format!("c{own}"),
        "networks": networks.iter().enumerate().map(wish).collect::<Vec<_>>(),
        "network_info": info,
    })
}

/// The same as Podman wrote it up to version 5: a map.
fn as_map(mut input: Value) -> Value {
    let list = input["networks"].take();
    let map: serde_json::Map<String, Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|wish| {
            let mut wish = wish.clone();
            let name = wish.as_object_mut().unwrap().remove("name").unwrap();
            (name.as_str().unwrap().to_owned(), wish)
        })
        .collect();
    with(input, json!({ "networks": map }))
}

/// A port mapping.
fn mapping(host_ip: &str, host: u16, container: u16, protocol: &str, range: u16) -> Value {
    json!({"host_ip": host_ip, "host_port": host, "container_port": container, "protocol": protocol, "range": range})
}
