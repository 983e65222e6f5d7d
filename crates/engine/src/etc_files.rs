//! The files that the engine makes for a container: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::io;
use std::net::IpAddr;

use crate::containers::paths::ContainerPaths;

/// The content of `/etc/hosts`: the loopback names, then each address with the names of this container.
pub fn hosts(_addresses: &[IpAddr], _names: &[&str]) -> String {
    unimplemented!()
}

/// The content of `/etc/resolv.conf`: `dns` when given, else the host's without what only works on the host.
pub fn resolv_conf(_dns: &[IpAddr], _host: &str) -> String {
    unimplemented!()
}

/// The host's own resolver configuration, that of systemd-resolved's upstream when the host's is its local stub.
pub fn host_resolv_conf() -> String {
    unimplemented!()
}

/// Writes the three files where the bundle mounts them from.
///
/// # Errors
/// As writing files.
pub fn write(_: &ContainerPaths, _hosts: &str, _hostname: &str, _resolv_conf: &str) -> io::Result<()> {
    unimplemented!()
}
