//! `inspect`, `network inspect`, `container inspect`

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;
use zdocker_engine::Engine;
use zdocker_engine::inspect::{Inspected, Kind};

use crate::args::{ContainerInspectArgs, InspectArgs, InspectKind, NetworkInspectArgs};
use crate::output::inspect::{self, InspectFormat};
use crate::output::{complain, say};

pub(super) fn anything(engine: &mut Engine, args: &InspectArgs) -> Result<ExitCode> {
    let kind = match args.kind {
        None => Kind::Any,
        Some(InspectKind::Container) => Kind::Container,
        Some(InspectKind::Network) => Kind::Network,
    };
    show(engine, &args.names, kind, &args.format, false)
}

pub(super) fn containers(engine: &mut Engine, args: &ContainerInspectArgs) -> Result<ExitCode> {
    show(engine, &args.containers, Kind::Container, &args.format, false)
}

pub(super) fn networks(engine: &mut Engine, args: &NetworkInspectArgs) -> Result<ExitCode> {
    show(engine, &args.networks, Kind::Network, &args.format, args.verbose)
}

/// Prints what is found, and complains of what is not.
fn show(engine: &mut Engine, names: &[String], kind: Kind, format: &InspectFormat, verbose: bool) -> Result<ExitCode> {
    let (found, missing): (Vec<_>, Vec<_>) = engine.inspect(names, kind)?.into_iter().partition(Result::is_ok);
    let values = found.iter().flatten().map(|found| value(engine, found, verbose));
    // What is not there is told also when the template does not fit what is.
    let text = format.render(values);
    let code = if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    missing
        .into_iter()
        .filter_map(Result::err)
        .for_each(|error| complain(&error.into()));
    if let Some(text) = text? {
        say(&text)?;
    }
    Ok(code)
}

fn value(engine: &Engine, found: &Inspected, verbose: bool) -> Value {
    match found {
        Inspected::Container(view) => {
            let paths = engine.container_paths(view.record.id.as_str());
            inspect::container(view, &paths, engine.sandbox(view))
        }
        Inspected::Network(view, usages) => inspect::network(view, usages, verbose),
    }
}
