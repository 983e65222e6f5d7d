//! `port`, `update`

use std::process::ExitCode;

use anyhow::{Result, bail};
use zdocker_engine::Engine;
use zdocker_engine::containers::{PortChanges, PublishedView};

use super::network::print_plan;
use crate::args::{PortArgs, UpdateArgs};
use crate::output::say;

pub(super) fn port(engine: &mut Engine, args: &PortArgs) -> Result<ExitCode> {
    let published = engine.published_ports(&args.container)?;
    let Some(wanted) = &args.private_port else {
        for PublishedView { port, reached_at } in &published {
            for address in reached_at {
                say(&format!("{}/{} -> {address}", port.container_port, port.protocol))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    let is_wanted = |view: &&PublishedView| {
        view.port.protocol == wanted.protocol && wanted.ports.contains(view.port.container_port)
    };
    let found: Vec<_> = published.iter().filter(is_wanted).collect();
    if found.is_empty() {
        bail!("No public port '{wanted}' published for {}", args.container);
    }
    for address in found.iter().flat_map(|view| &view.reached_at) {
        say(&address.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn update(engine: &mut Engine, args: UpdateArgs) -> Result<ExitCode> {
    let changes = PortChanges {
        add: args.publish_add,
        remove: args.publish_rm,
    };
    if args.dry_run {
        print_plan(&engine.plan_update(&args.container, &changes)?)?;
    } else {
        engine.update_ports(&args.container, &changes)?;
        say(&args.container)?;
    }
    Ok(ExitCode::SUCCESS)
}
