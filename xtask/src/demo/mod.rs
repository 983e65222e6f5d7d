//! `cargo xtask demo`: the main things zdocker does, shown on a throw-away machine inside this one.

mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::state::State;
use crate::{apt, process, sandbox};

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The binary to show, instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Set by this program itself when it runs inside the sandbox
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// Runs the demonstration and shows that nothing of it is left.
///
/// # Errors
/// When not root, when a package or the product cannot be made available, or when a step fails.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let (Some(folder), Some(binary)) = (&arguments.inside, &arguments.binary) {
        story::run(folder, binary)?;
        return Ok(ExitCode::SUCCESS);
    }
    process::require_root("demo", "it makes network namespaces, mounts and containers of its own")?;
    apt::require(&[apt::BUILD, apt::TOOLS])?;
    let binary = match &arguments.binary {
        Some(binary) => binary
            .canonicalize()
            .with_context(|| format!("there is no {}", binary.display()))?,
        None => build()?,
    };

    let before = State::observe()?;
    let folder = tempfile::Builder::new()
        .prefix("zdocker-demo-")
        .tempdir_in("/var/tmp")?;
    let words = [
        "demo",
        "--binary",
        &binary.to_string_lossy(),
        "--inside",
        &folder.path().to_string_lossy(),
    ];
    let status = sandbox::run_this_program(&words.map(str::to_owned))?;
    let path = folder.path().to_owned();
    folder.close().with_context(|| format!("removing {}", path.display()))?;

    stage::heading("This machine, after the throw-away one is gone");
    let extra: Vec<_> = State::observe()?
        .beyond(&before)
        .into_iter()
        .filter(|line| !line.starts_with("processes:"))
        .collect();
    if !extra.is_empty() {
        bail!("not as it was before; new on this machine:\n  {}", extra.join("\n  "));
    }
    println!(
        "Links, routes, firewall, mounts, control groups: as they were. {} is gone.",
        path.display()
    );
    if !status.success() {
        bail!(
            "the demonstration did not reach its end: it {}",
            process::ending(status)
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<PathBuf> {
    println!("Building zdocker with optimisation (the first time takes some minutes) ...");
    let start = Instant::now();
    let binary = process::build_release("zdocker")?;
    let size = std::fs::metadata(&binary)?.len();
    println!(
        "Built in {:.0} s: {} ({:.1} MB)",
        start.elapsed().as_secs_f64(),
        binary.display(),
        size as f64 / 1e6
    );
    Ok(binary)
}
