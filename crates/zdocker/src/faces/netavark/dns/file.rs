//! The name server's file of one network.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Entry;

/// What a file holds.
pub(super) struct NetworkFile {
    /// The directory of all networks' files.
    directory: PathBuf,
    network: String,
    /// As the file is called now; `None` if there is none.
    present: Option<PathBuf>,
    internal: bool,
    /// Where the server listens.
    gateways: String,
    /// Whom it asks.
    servers: String,
    /// A line for each container.
    containers: Vec<String>,
}

impl NetworkFile {
    /// Reads the file of `network`, which may not be there yet.
    pub(super) fn read(directory: &Path, network: &str) -> Result<Self> {
        let mut file = NetworkFile {
            directory: directory.to_owned(),
            network: network.to_owned(),
            present: None,
            internal: false,
            gateways: String::new(),
            servers: String::new(),
            containers: Vec::new(),
        };
        for internal in [false, true] {
            file.internal = internal;
            let path = file.path();
            match fs::read_to_string(&path) {
                Ok(text) => {
                    file.parse(&text);
                    file.present = Some(path);
                    return Ok(file);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        file.internal = false;
        Ok(file)
    }

    fn parse(&mut self, text: &str) {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let (gateways, servers) = first.split_once(' ').unwrap_or((first, ""));
        self.gateways = gateways.to_owned();
        self.servers = servers.trim().to_owned();
        self.containers = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    }

    fn path(&self) -> PathBuf {
        let suffix = if self.internal { "%int" } else { "" };
        self.directory.join(format!("{}{suffix}", self.network))
    }

    /// Whether the network has a file.
    pub(super) fn exists(&self) -> bool {
        self.present.is_some()
    }

    /// Makes an entry the container's only one; what it says of the network holds for the network.
    pub(super) fn set(&mut self, entry: &Entry) {
        self.remove(&entry.container);
        self.internal = entry.internal;
        self.gateways = join(&entry.gateways);
        self.servers = join(&entry.servers);
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = entry.addresses.iter().partition(|address| address.is_ipv4());
        let names = entry.names.join(",");
        let mut line = format!("{} {} {} {names}", entry.container, join(&v4), join(&v6));
        if !entry.container_servers.is_empty() {
            line.push(' ');
            line.push_str(&join(&entry.container_servers));
        }
        self.containers.push(line);
    }

    /// Takes a container's entry away; whether there was one.
    pub(super) fn remove(&mut self, container: &str) -> bool {
        let before = self.containers.len();
        self.containers.retain(|line| line.split(' ').next() != Some(container));
        self.containers.len() != before
    }

    pub(super) fn set_servers(&mut self, servers: &[IpAddr]) {
        self.servers = join(servers);
    }

    /// Writes the file at once: who reads it sees it as it was or as it is. Without a container there is none.
    ///
    /// The new one is first written in `spare`, as the server takes each file of its directory for a network's.
    pub(super) fn write(&self, spare: &Path) -> Result<()> {
        let path = self.path();
        let context = || format!("cannot write the name server's file {}", path.display());
        if self.containers.is_empty() {
            return self.remove_present(None).with_context(context);
        }
        let mut text = self.gateways.clone();
        for part in [&self.servers].into_iter().filter(|part| !part.is_empty()) {
            text.push(' ');
            text.push_str(part);
        }
        for line in &self.containers {
            text.push('\n');
            text.push_str(line);
        }
        text.push('\n');
        let new = spare.join("aardvark-dns.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        let mut file = options.open(&new).with_context(context)?;
        file.write_all(text.as_bytes()).with_context(context)?;
        fs::rename(&new, &path).with_context(context)?;
        self.remove_present(Some(&path)).with_context(context)
    }

    /// Removes the file that was read, unless it is `kept`.
    fn remove_present(&self, kept: Option<&Path>) -> std::io::Result<()> {
        match &self.present {
            Some(present) if Some(present.as_path()) != kept => match fs::remove_file(present) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn join(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}
