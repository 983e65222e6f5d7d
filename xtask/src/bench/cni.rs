//! The CNI plugins: `bridge` with `host-local`, then `portmap`, as a CNI runtime chains them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::call;
use super::plugin::{Endpoint, Plugin};

/// Where `host-local` keeps its leases.
const LEASES: &str = "/run/cni-bench";

/// The plugins in this folder.
pub(super) struct Cni {
    pub(super) folder: PathBuf,
}

impl Cni {
    fn bridge() -> Value {
        json!({
            "cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "bench0",
            "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": Self::host_local(),
        })
    }

    /// Any address of 10.99.0.0/16, and the route to everywhere.
    fn host_local() -> Value {
        json!({
            "type": "host-local", "dataDir": LEASES,
            "ranges": [[{ "subnet": "10.99.0.0/16" }]], "routes": [{ "dst": "0.0.0.0/0" }],
        })
    }

    fn portmap(endpoint: &Endpoint, previous: &Value) -> Value {
        let ports: Vec<_> = endpoint
            .ports
            .iter()
            .map(|(host, container)| json!({ "hostPort": host, "containerPort": container, "protocol": "tcp" }))
            .collect();
        json!({
            "cniVersion": "1.0.0", "name": "n", "type": "portmap", "capabilities": { "portMappings": true },
            "runtimeConfig": { "portMappings": ports }, "prevResult": previous,
        })
    }

    fn call(&self, verb: &str, configuration: &Value, endpoint: &Endpoint) -> Result<(Duration, Vec<u8>)> {
        let plugin = self.folder.join(configuration["type"].as_str().unwrap_or_default());
        let mut command = match endpoint.ports.len() {
            0..100 => Command::new(&plugin),
            _ => call::limited(&plugin.to_string_lossy()),
        };
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", endpoint.id())
            .env("CNI_NETNS", endpoint.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.folder);
        call::timed(&mut command, configuration.to_string().as_bytes())
    }

    fn result_file(endpoint: &Endpoint) -> PathBuf {
        Path::new(LEASES).join(format!("result-{}", endpoint.number))
    }
}

impl Plugin for Cni {
    fn name(&self) -> String {
        "CNI bridge + host-local + portmap".to_owned()
    }

    fn prepare_host(&self) -> Result<()> {
        if Path::new(LEASES).exists() {
            std::fs::remove_dir_all(LEASES)?;
        }
        std::fs::create_dir_all(LEASES)?;
        Ok(())
    }

    fn attach(&self, endpoint: &Endpoint) -> Result<Duration> {
        let (first, result) = self.call("ADD", &Self::bridge(), endpoint)?;
        // A CNI runtime keeps the result, because removing needs it.
        std::fs::write(Self::result_file(endpoint), &result)?;
        let previous = serde_json::from_slice(&result).context("the bridge plugin's result")?;
        let (second, _) = self.call("ADD", &Self::portmap(endpoint, &previous), endpoint)?;
        Ok(first + second)
    }

    fn detach(&self, endpoint: &Endpoint) -> Result<Duration> {
        let previous = serde_json::from_slice(&std::fs::read(Self::result_file(endpoint))?)?;
        let (first, _) = self.call("DEL", &Self::portmap(endpoint, &previous), endpoint)?;
        let (second, _) = self.call("DEL", &Self::bridge(), endpoint)?;
        Ok(first + second)
    }
}

/// `host-local` alone: hands out an address or takes it back.
///
/// # Errors
/// When the plugin fails.
pub(super) fn address(folder: &Path, verb: &str, container: &str) -> Result<Duration> {
    let configuration = json!({ "cniVersion": "1.0.0", "name": "alone", "ipam": Cni::host_local() });
    let mut command = Command::new(folder.join("host-local"));
    command
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_NETNS", "/run/netns/none");
    command.env("CNI_IFNAME", "eth0").env("CNI_PATH", folder);
    Ok(call::timed(&mut command, configuration.to_string().as_bytes())?.0)
}
