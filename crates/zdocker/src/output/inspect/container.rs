//! A container as Docker's API has it (`GET /containers/{id}/json`), as far as we have what it tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use zdocker_engine::containers::paths::ContainerPaths;
use zdocker_engine::containers::spec::{ContainerSpec, Mount, NamespaceChoice, RootfsSource};
use zdocker_engine::containers::{ContainerView, docker_status};
use zdocker_host::store::ContainerState;
use zdocker_net::model::{Bandwidth, Endpoint, Network};
use zdocker_net::publish::reached_at;
use zdocker_net::subnet::Family;

use super::super::time::rfc3339;
use super::{map_or_null, or_null};

/// The time of what has not come to pass, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One container, with its files and the place where its network namespace is pinned, if it is.
pub(crate) fn container(view: &ContainerView, paths: &ContainerPaths, sandbox: Option<PathBuf>) -> Value {
    let (record, spec) = (&view.record, &view.spec);
    let RootfsSource::Directory(rootfs) = &spec.rootfs;
    let (program, arguments) = match spec.args.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", &[][..]),
    };
    let etc = paths.beside(spec.etc_owner());
    json!({
        "Id": record.id.as_str(),
        "Created": rfc3339(record.created),
        "Path": program,
        "Args": arguments,
        "State": state(view),
        "Image": rootfs,
        "ResolvConfPath": etc.etc_file("resolv.conf"),
        "HostnamePath": etc.etc_file("hostname"),
        "HostsPath": etc.etc_file("hosts"),
        "LogPath": paths.log(),
        "Name": format!("/{}", record.name),
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": host_config(view),
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": rootfs,
                "MergedDir": paths.merged(),
                "UpperDir": paths.upper(),
                "WorkDir": paths.work(),
            },
        },
        "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": config(view),
        "NetworkSettings": network_settings(view, sandbox),
    })
}

fn state(view: &ContainerView) -> Value {
    let record = &view.record;
    let time = |time: Option<i64>| time.map_or_else(|| NEVER.to_owned(), rfc3339);
    json!({
        "Status": docker_status(record),
        "Running": record.state == ContainerState::Running,
        "Paused": false,
        "Restarting": false,
        "OOMKilled": false,
        "Dead": false,
        "Pid": record.process.map_or(0, |process| process.pid),
        // That of the last time is over when it runs again.
        "ExitCode": record.exit_status.filter(|_| record.state != ContainerState::Running).unwrap_or_default(),
        "Error": "",
        "StartedAt": time(record.started),
        "FinishedAt": time(record.finished),
    })
}

fn config(view: &ContainerView) -> Value {
    let ContainerSpec {
        hostname,
        domainname,
        user,
        tty,
        open_stdin,
        env,
        args,
        cwd,
        rootfs: RootfsSource::Directory(rootfs),
        ..
    } = &view.spec;
    let exposed: Map<String, Value> = bindings(view, false)
        .keys()
        .map(|port| (port.clone(), json!({})))
        .collect();
    json!({
        "Hostname": hostname,
        "Domainname": domainname.as_deref().unwrap_or_default(),
        "User": user.as_deref().unwrap_or_default(),
        "ExposedPorts": exposed,
        "Tty": tty,
        "OpenStdin": open_stdin,
        "Env": env,
        "Cmd": args,
        "Image": rootfs,
        "WorkingDir": cwd,
        "Entrypoint": null,
        "Labels": {},
    })
}

fn host_config(view: &ContainerView) -> Value {
    let spec = &view.spec;
    let bind = |mount: &Mount| {
        let mode = if mount.read_only { ":ro" } else { "" };
        format!("{}:{}{mode}", mount.source.display(), mount.destination.display())
    };
    let binds: Vec<String> = spec.mounts.iter().map(bind).collect();
    json!({
        "Binds": or_null(&binds, binds.is_empty()),
        "NetworkMode": network_mode(view),
        "PortBindings": bindings(view, false),
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "AutoRemove": spec.auto_remove,
        "Dns": spec.dns,
        "DnsOptions": spec.resolver.options,
        "DnsSearch": spec.resolver.search,
        "Runtime": spec.runtime.as_ref().map_or_else(|| "embedded".into(), |program| program.to_string_lossy()),
    })
}

/// The network that the container was started with; empty for one that has ended, whose networks are not recorded.
fn network_mode(view: &ContainerView) -> String {
    match &view.spec.namespace {
        NamespaceChoice::Container(other) => format!("container:{other}"),
        _ => view
            .plugged()
            .first()
            .map_or_else(String::new, |(network, _)| network.name.to_string()),
    }
}

fn mount(mount: &Mount) -> Value {
    json!({
        "Type": "bind",
        "Source": mount.source,
        "Destination": mount.destination,
        "Mode": if mount.read_only { "ro" } else { "" },
        "RW": !mount.read_only,
        "Propagation": "rprivate",
    })
}

/// The published ports by the container's port (`80/tcp`): as they were asked for, or with the host's addresses
/// `resolved`.
fn bindings(view: &ContainerView, resolved: bool) -> BTreeMap<String, Vec<Value>> {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for endpoint in &view.endpoints {
        for port in &endpoint.ports {
            let hosts: Vec<String> = if resolved {
                let reached = reached_at(endpoint, port);
                reached.iter().map(|address| address.ip().to_string()).collect()
            } else {
                vec![port.host_ip.map_or_else(String::new, |ip| ip.to_string())]
            };
            let list = bindings
                .entry(format!("{}/{}", port.container_port, port.protocol))
                .or_default();
            list.extend(
                hosts
                    .into_iter()
                    .map(|host| json!({ "HostIp": host, "HostPort": port.host_port.to_string() })),
            );
        }
    }
    bindings
}

fn network_settings(view: &ContainerView, sandbox: Option<PathBuf>) -> Value {
    let plugged = view.plugged();
    let networks: BTreeMap<&str, Value> = plugged
        .iter()
        .map(|(network, endpoint)| (network.name.as_str(), endpoint_settings(view, network, *endpoint)))
        .collect();
    // Docker keeps telling of the default network what it told when there was no other.
    let default = plugged
        .iter()
        .find(|(network, _)| is_default(network))
        .and_then(|(_, endpoint)| *endpoint);
    let mut settings = json!({
        "SandboxID": if sandbox.is_some() { view.record.id.as_str() } else { "" },
        "SandboxKey": sandbox.unwrap_or_default(),
        "Ports": bindings(view, true),
    });
    let old = default.and_then(|endpoint| networks.get(view.networks.get(&endpoint.network)?.name.as_str()));
    for field in [
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
    ] {
        let empty = if field.ends_with("Len") { json!(0) } else { json!("") };
        settings[field] = old.map_or(empty, |old| old[field].clone());
    }
    settings["Networks"] = json!(networks);
    settings
}

fn is_default(network: &Network) -> bool {
    network.name.as_str() == "bridge"
}

fn endpoint_settings(view: &ContainerView, network: &Network, endpoint: Option<&Endpoint>) -> Value {
    let of = |family| {
        let addresses = endpoint
            .map(|endpoint| endpoint.addresses.as_slice())
            .unwrap_or_default();
        addresses.iter().find(|address| Family::of(address.address) == family)
    };
    let address = |family| of(family).map_or_else(String::new, |found| found.address.to_string());
    let prefix = |family| of(family).map_or(0, |found| found.prefix);
    let gateway = |family| {
        let gateway = of(family).and_then(|found| gateway(network, found.address));
        gateway.map_or_else(String::new, |gateway| gateway.to_string())
    };
    let settings = endpoint.map(|endpoint| endpoint.settings.clone()).unwrap_or_default();
    let names = endpoint
        .map(|_| dns_names(view, network, &settings.aliases))
        .unwrap_or_default();
    let mut value = json!({
        "IPAMConfig": ipam_config(view, network),
        "Links": null,
        "Aliases": or_null(&settings.aliases, settings.aliases.is_empty()),
        "DriverOpts": map_or_null(&settings.options),
        "GwPriority": settings.gateway_priority,
        "NetworkID": network.id.as_str(),
        "EndpointID": endpoint.map_or("", |endpoint| endpoint.id.as_str()),
        "Gateway": gateway(Family::V4),
        "IPAddress": address(Family::V4),
        "MacAddress": endpoint.map_or_else(String::new, |endpoint| super::network::mac(network, endpoint)),
        "IPPrefixLen": prefix(Family::V4),
        "IPv6Gateway": gateway(Family::V6),
        "GlobalIPv6Address": address(Family::V6),
        "GlobalIPv6PrefixLen": prefix(Family::V6),
        "DNSNames": or_null(&names, names.is_empty()),
    });
    if settings.bandwidth != Bandwidth::default() {
        value["Bandwidth"] = bandwidth(&settings.bandwidth);
    }
    value
}

/// The addresses that the container was given by who asked for it; null where there are none.
fn ipam_config(view: &ContainerView, network: &Network) -> Value {
    let choice = view
        .spec
        .networks
        .iter()
        .find(|choice| choice.network == network.name.as_str());
    let asked = choice
        .map(|choice| choice.endpoint.addresses.as_slice())
        .unwrap_or_default();
    let fields = asked.iter().map(|address| {
        let field = if address.is_ipv4() {
            "IPv4Address"
        } else {
            "IPv6Address"
        };
        (field.to_owned(), Value::from(address.to_string()))
    });
    let fields: Map<String, Value> = fields.collect();
    or_null(&fields, fields.is_empty())
}

/// The gateway of the subnet that `address` is in; a network without a way out has none.
fn gateway(network: &Network, address: IpAddr) -> Option<IpAddr> {
    let pool = network.pools.iter().find(|pool| pool.subnet.contains(address))?;
    pool.gateway.filter(|_| !network.internal)
}

/// What the container is called on the network; on the default one, containers have no names.
fn dns_names(view: &ContainerView, network: &Network, aliases: &[String]) -> Vec<String> {
    if is_default(network) {
        return Vec::new();
    }
    let record = &view.record;
    let mut names = vec![record.name.to_string()];
    for name in aliases.iter().map(String::as_str).chain([record.id.short()]) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Limits in bits a second; null where there is none.
pub(super) fn bandwidth(bandwidth: &Bandwidth) -> Value {
    if *bandwidth == Bandwidth::default() {
        return Value::Null;
    }
    json!({ "Receive": bandwidth.receive, "Send": bandwidth.send })
}
