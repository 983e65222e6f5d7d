//! `update`: changes whom a network's name server asks.

use std::net::IpAddr;

use anyhow::{Context, Result};

use super::dns::Dns;

/// Makes the name server of `network` ask `servers`; an empty text stands for none. Each text may hold several,
/// separated by commas. No error if no container is on the network: its next one brings what Podman has recorded.
///
/// # Errors
/// When one is no address, or the name server's configuration cannot be changed.
pub(crate) fn update(dns: &Dns, network: &str, servers: &[String]) -> Result<()> {
    let texts = servers.iter().flat_map(|list| list.split(',')).map(str::trim);
    let servers = texts
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .with_context(|| format!("--network-dns-servers {text:?} is no IP address"))
        })
        .collect::<Result<Vec<IpAddr>>>()?;
    dns.update(network, &servers)
        .with_context(|| format!("unable to modify network dns servers of network {network:?}"))
}
