//! netavark, Podman's network plugin, and whatever speaks its protocol: JSON on standard input.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::call;
use super::plugin::{Endpoint, Plugin};

/// Where each has a directory for its state.
const STATE: &str = "/run/netavark-bench";

/// A program that is called as netavark is.
pub(super) struct Netavark {
    name: String,
    program: PathBuf,
    /// The directory that Podman would give it for its state.
    config: PathBuf,
}

impl Netavark {
    /// A netavark, or what is called by its name.
    pub(super) fn named(name: String, program: &Path) -> Self {
        Self {
            config: Path::new(STATE).join(&name),
            name,
            program: program.to_owned(),
        }
    }

    /// The options that Podman would give it, for a bridge network 10.99.0.0/16.
    fn input(endpoint: &Endpoint) -> Vec<u8> {
        let ports: Vec<_> = endpoint
            .ports
            .iter()
            .map(|(host, container)| {
                json!({ "container_port": container, "host_ip": "", "host_port": host, "protocol": "tcp", "range": 1 })
            })
            .collect();
        json!({
            "container_id": endpoint.id(),
            "container_name": endpoint.namespace(),
            "port_mappings": ports,
            "networks": { "n": { "interface_name": "eth0", "static_ips": [endpoint.address()] } },
            "network_info": { "n": {
                "name": "n",
                "id": format!("{:064x}", 1),
                "driver": "bridge",
                "network_interface": "bench0",
                "subnets": [{ "subnet": "10.99.0.0/16", "gateway": "10.99.0.1" }],
                "ipv6_enabled": false,
                "internal": false,
                "dns_enabled": false,
                "ipam_options": { "driver": "host-local" },
            } },
        })
        .to_string()
        .into_bytes()
    }

    fn call(&self, verb: &str, endpoint: &Endpoint) -> Result<Duration> {
        let mut command = match endpoint.ports.len() {
            0..100 => Command::new(&self.program),
            _ => call::limited(&self.program.to_string_lossy()),
        };
        command.arg("--config").arg(&self.config).arg(verb).arg(endpoint.path());
        Ok(call::timed(&mut command, &Self::input(endpoint))?.0)
    }
}

impl Plugin for Netavark {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn prepare_host(&self) -> Result<()> {
        call::empty_folder(&self.config)
    }

    fn attach(&self, endpoint: &Endpoint) -> Result<Duration> {
        self.call("setup", endpoint)
    }

    fn detach(&self, endpoint: &Endpoint) -> Result<Duration> {
        self.call("teardown", endpoint)
    }
}
