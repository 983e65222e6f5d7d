//! `cargo xtask test`: formatting, lints and every test, as CI runs them.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{apt, process};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to `cargo test --workspace`, for instance `-p zdocker-net` or `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test: Vec<String>,
}

/// Runs all checks in turn and stops at the first that fails.
///
/// # Errors
/// When not root, a package cannot be installed, or a check fails.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::require_root(
        "test",
        "the tests make namespaces, links, firewall tables and mounts of their own",
    )?;
    apt::require(&[apt::BUILD, apt::TOOLS, apt::TEST])?;
    check("fmt", &["--all", "--check"]).context("run `cargo fmt --all`")?;
    check("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let mut test = process::cargo();
    // A choice of packages given by the caller replaces the whole workspace.
    let chosen = arguments
        .cargo_test
        .iter()
        .any(|word| word.starts_with("-p") || word.starts_with("--package"));
    test.arg("test")
        .args((!chosen).then_some("--workspace"))
        .args(&arguments.cargo_test);
    println!("$ {}", process::shown(&test));
    process::run(&mut test)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs one of cargo's checks; both are rustup components that a minimal toolchain lacks.
fn check(component: &str, arguments: &[&str]) -> Result<()> {
    process::capture(process::cargo().args([component, "--version"]))
        .with_context(|| format!("cargo {component} is missing; run: rustup component add rustfmt clippy"))?;
    let mut command = process::cargo();
    command.arg(component).args(arguments);
    println!("$ {}", process::shown(&command));
    process::run(&mut command)
}
