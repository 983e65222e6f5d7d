//! `network ...`

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use zdocker_engine::networks::{NetworkFilter, NetworkView, PoolView, PruneFilter, SCOPE};
use zdocker_engine::reload::Reloaded;
use zdocker_engine::{Engine, EngineError};
use zdocker_net::attach::choice::EndpointRequest;
use zdocker_net::ipam::{self, BLOCK_ADDRESSES};
use zdocker_net::model::{Bandwidth, EndpointSettings, Pool};
use zdocker_net::op::Op;
use zdocker_net::shaping::Rate;
use zdocker_net::spec::NetworkRequest;
use zdocker_net::subnet::Family;
use zdocker_net::usage::Usage;

use super::{for_each, list};
use crate::args::{ConnectArgs, CreateArgs, DisconnectArgs, IpamArgs, LsArgs, PruneArgs, ReloadArgs, RemoveArgs};
use crate::output::list::List;
use crate::output::{self, inspect, say, table, time};

pub(super) fn create(engine: &mut Engine, args: CreateArgs) -> Result<ExitCode> {
    let request = NetworkRequest {
        name: args.name,
        driver: Some(args.driver),
        subnets: args.subnet,
        gateways: args.gateway,
        ranges: args.ip_range,
        reserved: args.aux_address,
        ipv4: args.ipv4,
        ipv6: args.ipv6,
        internal: args.internal,
        options: args.opt,
        routes: args.route,
        ipam_driver: Some(args.ipam_driver),
        ipam_options: args.ipam_opt,
        attachable: args.attachable,
        ingress: args.ingress,
        scope: args.scope,
        config_only: args.config_only,
        config_from: args.config_from,
        labels: args.label,
    };
    if args.dry_run {
        print_plan(&engine.plan_network(&request)?.plan)?;
    } else {
        say(engine.create_network(&request)?.network.id.as_str())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints steps as the commands that would do the same.
pub(super) fn print_plan(plan: &[Op]) -> Result<()> {
    for op in plan {
        say(&op.to_string())?;
    }
    Ok(())
}

/// What `network ls` can show: Docker's columns, and subnets, gateways and how many containers there are.
const LIST: List = List {
    columns: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("Label", ""),
        ("CreatedAt", "CREATED AT"),
        ("Subnet", "SUBNET"),
        ("Gateway", "GATEWAY"),
        ("Containers", "CONTAINERS"),
    ],
    default: &["Name", "Subnet", "Gateway", "Driver", "Containers"],
    blank: "-",
};

pub(super) fn ls(engine: &mut Engine, args: &LsArgs) -> Result<ExitCode> {
    let filter = NetworkFilter::parse(&args.filter).map_err(EngineError::from)?;
    let networks = engine.networks()?.into_iter().filter(|view| filter.admits(view));
    let rows = networks.map(|view| row(&view, args.no_trunc));
    list(&LIST, args.format.as_ref(), args.quiet, rows)
}

/// One text of the pools' parts.
fn of_pools<T: ToString>(view: &NetworkView, part: impl Fn(&Pool) -> Option<T>) -> String {
    let parts = view
        .network
        .pools
        .iter()
        .filter_map(|pool| Some(part(pool)?.to_string()));
    parts.collect::<Vec<_>>().join(",")
}

fn row(view: &NetworkView, whole_id: bool) -> Value {
    let network = &view.network;
    let id = if whole_id {
        network.id.as_str()
    } else {
        network.id.short()
    };
    let labels = network.labels.iter().map(|(key, value)| format!("{key}={value}"));
    json!({
        "ID": id,
        "Name": network.name.as_str(),
        "Driver": inspect::driver(network),
        "Scope": SCOPE,
        "IPv4": network.pool(Family::V4).is_some().to_string(),
        "IPv6": network.pool(Family::V6).is_some().to_string(),
        "Internal": network.internal.to_string(),
        "Labels": labels.collect::<Vec<_>>().join(","),
        "Label": network.labels,
        "CreatedAt": time::go(network.created),
        "Subnet": of_pools(view, |pool| Some(pool.subnet)),
        "Gateway": of_pools(view, |pool| pool.gateway),
        "Containers": view.endpoints.len(),
    })
}

pub(super) fn connect(engine: &mut Engine, args: ConnectArgs) -> Result<ExitCode> {
    let addresses = [args.ip.map(IpAddr::V4), args.ip6.map(IpAddr::V6)];
    let endpoint = EndpointRequest {
        addresses: addresses.into_iter().flatten().collect(),
        mac: args.mac_address,
        settings: EndpointSettings {
            aliases: args.alias,
            gateway_priority: args.gw_priority,
            bandwidth: Bandwidth {
                receive: args.bandwidth_in.map(Rate::bits),
                send: args.bandwidth_out.map(Rate::bits),
                ..Bandwidth::default()
            },
            options: args.driver_opt.into_iter().collect(),
            ..EndpointSettings::default()
        },
    };
    let plan = engine.connect(&args.network, &args.container, &endpoint, args.dry_run)?;
    if args.dry_run {
        print_plan(&plan)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn disconnect(engine: &mut Engine, args: &DisconnectArgs) -> Result<ExitCode> {
    match engine.disconnect(&args.network, &args.container, args.dry_run) {
        Ok(plan) if args.dry_run => print_plan(&plan)?,
        Ok(_) => {}
        Err(EngineError::NoSuchContainer(_) | EngineError::NotConnected { .. }) if args.force => {}
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rm(engine: &mut Engine, args: &RemoveArgs) -> Result<ExitCode> {
    if args.dry_run {
        return plan_removal(engine, args);
    }
    for_each(&args.networks, |name| match engine.remove_network(name, false) {
        Err(EngineError::NoSuchNetwork(_)) if args.force => Ok(()),
        removed => removed.map(drop),
    })
}

fn plan_removal(engine: &mut Engine, args: &RemoveArgs) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in &args.networks {
        match engine.remove_network(name, true) {
            Ok((_, plan)) => print_plan(&plan)?,
            Err(EngineError::NoSuchNetwork(_)) if args.force => {}
            Err(error) => {
                output::complain(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

pub(super) fn prune(engine: &mut Engine, args: &PruneArgs) -> Result<ExitCode> {
    let filter = PruneFilter::parse(&args.filter).map_err(EngineError::from)?;
    if !args.force && !output::confirm(&prune_consequence(&args.filter))? {
        return Ok(ExitCode::SUCCESS);
    }
    let removed = engine.prune_networks(&filter)?;
    if !removed.is_empty() {
        say("Deleted Networks:")?;
    }
    for name in removed {
        say(&name)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn reload(engine: &mut Engine, args: &ReloadArgs) -> Result<ExitCode> {
    let names = (!args.all).then_some(&args.networks[..]);
    let Reloaded { steps, errors } = engine.reload(names, args.dry_run)?;
    print_plan(&steps)?;
    let code = if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    for error in errors {
        output::complain(&error.into());
    }
    Ok(code)
}

fn prune_consequence(filter: &[(String, String)]) -> String {
    let all = "This removes all networks that no container is plugged into";
    if filter.is_empty() {
        return format!("{all}.");
    }
    let filters = filter.iter().map(|(key, value)| format!("{key}={value}"));
    format!("{all} and that are so: {}.", filters.collect::<Vec<_>>().join(", "))
}

pub(super) fn ipam(engine: &mut Engine, args: &IpamArgs) -> Result<ExitCode> {
    for view in engine.network_usage(&args.network)? {
        if args.bitmap {
            for line in bitmap(&view) {
                say(&line)?;
            }
        } else {
            print_usage(&view)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whom an address is kept for that no endpoint holds.
fn unleased(pool: &Pool, address: IpAddr) -> String {
    let mut reserved = pool.reserved.iter();
    match reserved.find(|(_, reserved)| **reserved == address) {
        Some((name, _)) => format!("(reserved for {name})"),
        None => "(gateway)".to_owned(),
    }
}

fn print_usage(PoolView { pool, usage, holders }: &PoolView) -> Result<()> {
    let free = Usage::of(pool, usage.leases.iter().map(|lease| lease.address)).free;
    say(&format!(
        "SUBNET {}: {} used, {free} free",
        pool.subnet,
        usage.leases.len()
    ))?;
    let rows = usage.leases.iter().map(|lease| {
        let holder = match &lease.holder {
            None => unleased(pool, lease.address),
            Some(endpoint) => holders
                .get(endpoint)
                .cloned()
                .unwrap_or_else(|| endpoint.short().to_owned()),
        };
        vec![lease.address.to_string(), holder, time::rfc3339(lease.since)]
    });
    say(&table::render(&["ADDRESS", "HOLDER", "SINCE"], rows.collect()))?;
    Ok(())
}

/// The bitmap as a line of 0s and 1s. Of a subnet larger than one block, a line for each block that was ever needed.
fn bitmap(PoolView { pool, usage, .. }: &PoolView) -> Vec<String> {
    let last = pool.subnet.last_offset();
    let whole = last < BLOCK_ADDRESSES;
    let line = |block: &ipam::Block| {
        let first = block.number() * BLOCK_ADDRESSES;
        let bits = (0..=(last - first).min(BLOCK_ADDRESSES - 1)).map(|bit| if block.is_set(bit) { '1' } else { '0' });
        let bits: String = bits.collect();
        match pool.subnet.nth(first) {
            Some(address) if !whole => format!("{address} {bits}"),
            _ => bits,
        }
    };
    usage.blocks.iter().map(line).collect()
}
