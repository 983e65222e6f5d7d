//! Podman's name server, aardvark-dns: its configuration, and starting and telling it.
//!
//! One server serves all networks of a configuration directory. In `aardvark-dns` there, each network that has
//! containers has a file: a line `GATEWAYS[ SERVERS]`, where it listens and whom it asks, and a line `ID IPV4S IPV6S
//! NAMES[ SERVERS]` for each container, with commas within a field. The file of an internal network is called
//! `NAME%int`. The server writes its process identifier to `aardvark.pid`, reads everything again at SIGHUP, and ends
//! when it then finds no network.

mod file;
mod server;

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use file::NetworkFile;

/// The name server of a configuration directory.
pub(crate) struct Dns {
    /// The configuration directory.
    config: PathBuf,
    /// The server's program.
    program: PathBuf,
    /// Where it listens.
    port: u16,
    rootless: bool,
}

/// A container's place on one network, as the name server sees it.
pub(crate) struct Entry {
    /// The network's name.
    pub(crate) network: String,
    /// Whether names of the outside are not to be asked for.
    pub(crate) internal: bool,
    /// Where the server listens for the network.
    pub(crate) gateways: Vec<IpAddr>,
    /// Whom the server asks for the network; empty: whom the host asks.
    pub(crate) servers: Vec<IpAddr>,
    /// The container's identifier.
    pub(crate) container: String,
    /// The container's addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// The names that lead to them.
    pub(crate) names: Vec<String>,
    /// Whom the server asks for the container; empty: whom it asks for the network.
    pub(crate) container_servers: Vec<IpAddr>,
}

impl Dns {
    /// The name server for `config`, the directory that Podman gives with `--config`; `port` is NETAVARK_DNS_PORT.
    pub(crate) fn new(config: &Path, program: &Path, port: u16, rootless: bool) -> Self {
        Dns {
            config: config.to_owned(),
            program: program.to_owned(),
            port,
            rootless,
        }
    }

    /// The port that the server listens at, as the environment says.
    ///
    /// # Errors
    /// When NETAVARK_DNS_PORT is no port.
    pub(crate) fn port_from(environment: Option<&str>) -> Result<u16> {
        let Some(text) = environment else { return Ok(53) };
        text.parse()
            .with_context(|| format!("Invalid NETAVARK_DNS_PORT {text}"))
    }

    /// Whether the server is installed. Where it is not, containers have no names, and that is no error.
    pub(crate) fn is_installed(&self) -> bool {
        self.program.exists()
    }

    /// Makes the entries of one container known, and starts the server if it does not run. All or nothing. The
    /// addresses that it listens at must be there.
    ///
    /// # Errors
    /// When an entry is not valid, a file cannot be written, or the server does not start.
    pub(crate) fn added(&self, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        entries.iter().try_for_each(Entry::check)?;
        check_for_loops(entries)?;
        let directory = self.directory();
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error)
                    .with_context(|| format!("failed to create aardvark-dns directory {}", directory.display()));
            }
            _ => {}
        }
        // Held until the server has been told, so that two commands never start two.
        let _lock = self.lock()?;
        let done = entries.iter().try_for_each(|entry| {
            let mut file = NetworkFile::read(&directory, &entry.network)?;
            file.set(entry);
            file.write(&self.config)
        });
        done.and_then(|()| self.reload_or_start()).inspect_err(|_| {
            // The error is why it did not work; what cannot be taken back either is in the way of nobody.
            let networks: Vec<&str> = entries.iter().map(|entry| entry.network.as_str()).collect();
            if let Some(first) = entries.first() {
                let _ = self.forget(&first.container, &networks);
            }
        })
    }

    /// Takes a container's entries away; gone already is no error. The server ends when none is left.
    ///
    /// # Errors
    /// When a file cannot be changed, or the server not told.
    pub(crate) fn removed(&self, container: &str, networks: &[&str]) -> Result<()> {
        if !self.directory().exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.forget(container, networks)?;
        if self.has_networks()? {
            // Others wait for their names, should it have died.
            return self.reload_or_start();
        }
        self.reload().map(drop)
    }

    /// Changes whom the server asks for a network.
    ///
    /// # Errors
    /// When a file cannot be changed, or the server not told.
    pub(crate) fn update(&self, network: &str, servers: &[IpAddr]) -> Result<()> {
        check_network(network)?;
        if !self.directory().exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut file = NetworkFile::read(&self.directory(), network)?;
        if !file.exists() {
            return Ok(());
        }
        file.set_servers(servers);
        file.write(&self.config)?;
        self.reload().map(drop)
    }

    fn directory(&self) -> PathBuf {
        self.config.join("aardvark-dns")
    }

    /// Waits until no other command changes the configuration; netavark holds the same lock.
    fn lock(&self) -> Result<File> {
        let path = self.config.join("aardvark.lock");
        let context = || format!("failed to lock {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).with_context(context)?;
        file.lock().with_context(context)?;
        Ok(file)
    }

    fn forget(&self, container: &str, networks: &[&str]) -> Result<()> {
        for network in networks {
            check_network(network)?;
            let mut file = NetworkFile::read(&self.directory(), network)?;
            if file.remove(container) {
                file.write(&self.config)?;
            }
        }
        Ok(())
    }

    /// Whether any network has containers.
    fn has_networks(&self) -> Result<bool> {
        let directory = self.directory();
        let names = fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
        Ok(names.flatten().any(|entry| entry.file_name() != server::PID_FILE))
    }
}

impl Entry {
    /// Checks that nothing in it would be read as something else.
    fn check(&self) -> Result<()> {
        check_network(&self.network)?;
        let names = self.names.iter().chain([&self.container]);
        for name in names {
            ensure!(
                !name.is_empty() && !name.contains([',', '\n', ' ']),
                "the name {name:?} of container {} on network {:?} cannot be resolved: it is empty, or has a comma or white space",
                self.container,
                self.network
            );
        }
        Ok(())
    }
}

/// Checks that a network's name can be a file's.
fn check_network(network: &str) -> Result<()> {
    let fits = !network.is_empty() && !network.starts_with('.') && !network.contains(['/', '%']);
    ensure!(
        fits && network != server::PID_FILE,
        "network {network:?} cannot have a name server: its name cannot be a file's"
    );
    Ok(())
}

/// Refuses servers that are the name server itself: it would ask itself for ever.
fn check_for_loops(entries: &[Entry]) -> Result<()> {
    let owner_of = |server: &IpAddr| entries.iter().find(|entry| entry.gateways.contains(server));
    for entry in entries {
        for server in entry.servers.iter().chain(&entry.container_servers) {
            if let Some(owner) = owner_of(server) {
                bail!(
                    "DNS server {server} of container {} on network {:?} is the gateway of network {:?}, where aardvark-dns \
                     listens: it would ask itself",
                    entry.container,
                    entry.network,
                    owner.network
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
