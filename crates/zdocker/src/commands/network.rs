//! `network ...`

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use zdocker_engine::networks::{NetworkView, PoolView};
use zdocker_engine::reload::Reloaded;
use zdocker_engine::{Engine, EngineError};
use zdocker_net::attach::choice::EndpointRequest;
use zdocker_net::ipam::{self, BLOCK_ADDRESSES};
use zdocker_net::model::{EndpointSettings, Pool};
use zdocker_net::op::Op;
use zdocker_net::spec::NetworkRequest;

use super::for_each;
use crate::args::{
    ConnectArgs, CreateArgs, DisconnectArgs, InspectArgs, IpamArgs, ListFormat, LsArgs, PruneArgs, ReloadArgs,
    RemoveArgs,
};
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

pub(super) fn ls(engine: &mut Engine, args: &LsArgs) -> Result<ExitCode> {
    let networks = engine.networks()?;
    if args.quiet {
        for view in &networks {
            say(view.network.id.short())?;
        }
    } else if args.format == ListFormat::Json {
        for view in &networks {
            say(&json_line(view).to_string())?;
        }
    } else {
        let rows: Vec<Vec<String>> = networks.iter().map(row).collect();
        say(&table::render(
            &["NAME", "SUBNET", "GATEWAY", "DRIVER", "CONTAINERS"],
            &rows,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn subnets(view: &NetworkView) -> String {
    view.network
        .pools
        .iter()
        .map(|pool| pool.subnet.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn gateways(view: &NetworkView) -> String {
    view.network
        .pools
        .iter()
        .map(|pool| pool.gateway.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn row(view: &NetworkView) -> Vec<String> {
    let network = &view.network;
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        network.name.to_string(),
        or_dash(subnets(view)),
        or_dash(gateways(view)),
        network.driver.to_string(),
        view.endpoints.len().to_string(),
    ]
}

fn json_line(view: &NetworkView) -> Value {
    json!({
        "ID": view.network.id.short(),
        "Name": view.network.name.as_str(),
        "Subnet": subnets(view),
        "Gateway": gateways(view),
        "Driver": view.network.driver.to_string(),
        "Scope": "local",
        "Containers": view.endpoints.len(),
        "Internal": view.network.internal,
        "CreatedAt": time::rfc3339(view.network.created),
    })
}

pub(super) fn inspect(engine: &mut Engine, args: &InspectArgs) -> Result<ExitCode> {
    let (mut found, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for name in &args.networks {
        match engine.network(name) {
            Ok(view) => found.push(inspect::network(&view)),
            Err(error) => {
                output::complain(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    say(&serde_json::to_string_pretty(&found)?)?;
    Ok(code)
}

pub(super) fn connect(engine: &mut Engine, args: ConnectArgs) -> Result<ExitCode> {
    let addresses = [args.ip.map(IpAddr::V4), args.ip6.map(IpAddr::V6)];
    let endpoint = EndpointRequest {
        addresses: addresses.into_iter().flatten().collect(),
        mac: args.mac_address,
        settings: EndpointSettings {
            aliases: args.alias,
            gateway_priority: args.gw_priority,
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
        for name in &args.networks {
            print_plan(&engine.remove_network(name, true)?.1)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    for_each(&args.networks, |name| match engine.remove_network(name, false) {
        Err(EngineError::NoSuchNetwork(_)) if args.force => Ok(()),
        removed => removed.map(drop),
    })
}

pub(super) fn prune(engine: &mut Engine, args: &PruneArgs) -> Result<ExitCode> {
    if !args.force && !output::confirm("This removes all networks that no container is plugged into.")? {
        return Ok(ExitCode::SUCCESS);
    }
    let removed = engine.prune_networks()?;
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
    let usable = ipam::usable(&pool.subnet);
    // The number of usable addresses less one fits, and 2^128 addresses are never all in use.
    let total = (usable.end() - usable.start()).saturating_add(1);
    let used = usage.leases.len() as u128;
    say(&format!(
        "SUBNET {}: {used} used, {} free",
        pool.subnet,
        total.saturating_sub(used)
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
    say(&table::render(
        &["ADDRESS", "HOLDER", "SINCE"],
        &rows.collect::<Vec<_>>(),
    ))?;
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
