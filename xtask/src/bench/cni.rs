//! The CNI plugins: `bridge` with `host-local`, then `portmap`, as a CNI runtime chains them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::call;
use super::plugin::{Endpoint, Plugin};

/// Where each has a directory for its leases and results.
const STATE: &str = "/run/cni-bench";

/// The name of zdocker's plug-in that is all of the chain.
pub(super) const ALL_IN_ONE: &str = "zdocker-net";

/// Where zdocker's plug-ins are told to have their records.
const RECORDS: &str = "ZDOCKER_CNI_DIR";

/// The plugins in a folder.
pub(super) struct Cni {
    name: String,
    folder: PathBuf,
    /// By the one plug-in that is all of the chain.
    in_one: bool,
    state: PathBuf,
}

impl Cni {
    /// Those in `folder`.
    pub(super) fn named(name: &str, folder: &Path, in_one: bool) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            in_one,
            state: Path::new(STATE).join(name),
        }
    }

    fn bridge(&self) -> Value {
        json!({
            "cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "bench0",
            "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": Self::host_local(&self.state),
        })
    }

    /// The same with the ports.
    fn all_in_one(&self, endpoint: &Endpoint) -> Value {
        json!({
            "cniVersion": "1.0.0", "name": "n", "type": ALL_IN_ONE, "bridge": "bench0",
            "capabilities": { "portMappings": true },
            "runtimeConfig": { "portMappings": Self::mappings(endpoint) }, "ipam": Self::host_local(&self.state),
        })
    }

    /// Any address of 10.99.0.0/16, and the route to everywhere.
    fn host_local(state: &Path) -> Value {
        json!({
            "type": "host-local", "dataDir": state,
            "ranges": [[{ "subnet": "10.99.0.0/16" }]], "routes": [{ "dst": "0.0.0.0/0" }],
        })
    }

    fn mappings(endpoint: &Endpoint) -> Vec<Value> {
        let ports = endpoint.ports.iter();
        ports
            .map(|(host, container)| json!({ "hostPort": host, "containerPort": container, "protocol": "tcp" }))
            .collect()
    }

    fn portmap(endpoint: &Endpoint, previous: &Value) -> Value {
        let ports = Self::mappings(endpoint);
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
            .env("CNI_PATH", &self.folder)
            .env(RECORDS, self.state.join("records"));
        call::timed(&mut command, configuration.to_string().as_bytes())
    }

    fn result_file(&self, endpoint: &Endpoint) -> PathBuf {
        self.state.join(format!("result-{}", endpoint.number))
    }
}

impl Plugin for Cni {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn prepare_host(&self) -> Result<()> {
        call::empty_folder(&self.state)
    }

    fn attach(&self, endpoint: &Endpoint) -> Result<Duration> {
        if self.in_one {
            let (time, result) = self.call("ADD", &self.all_in_one(endpoint), endpoint)?;
            std::fs::write(self.result_file(endpoint), &result)?;
            return Ok(time);
        }
        let (first, result) = self.call("ADD", &self.bridge(), endpoint)?;
        // A CNI runtime keeps the result, because removing needs it.
        std::fs::write(self.result_file(endpoint), &result)?;
        let previous = serde_json::from_slice(&result).context("the bridge plugin's result")?;
        let (second, _) = self.call("ADD", &Self::portmap(endpoint, &previous), endpoint)?;
        Ok(first + second)
    }

    fn detach(&self, endpoint: &Endpoint) -> Result<Duration> {
        let previous = serde_json::from_slice(&std::fs::read(self.result_file(endpoint))?)?;
        if self.in_one {
            let mut configuration = self.all_in_one(endpoint);
            configuration["prevResult"] = previous;
            return Ok(self.call("DEL", &configuration, endpoint)?.0);
        }
        let (first, _) = self.call("DEL", &Self::portmap(endpoint, &previous), endpoint)?;
        let (second, _) = self.call("DEL", &self.bridge(), endpoint)?;
        Ok(first + second)
    }
}

/// `host-local` alone: hands out an address or takes it back.
///
/// # Errors
/// When the plugin fails.
pub(super) fn address(folder: &Path, verb: &str, container: &str) -> Result<Duration> {
    let configuration = json!({ "cniVersion": "1.0.0", "name": "alone", "ipam": Cni::host_local(STATE.as_ref()) });
    let mut command = Command::new(folder.join("host-local"));
    command
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_NETNS", "/run/netns/none");
    command.env("CNI_IFNAME", "eth0").env("CNI_PATH", folder);
    Ok(call::timed(&mut command, configuration.to_string().as_bytes())?.0)
}
