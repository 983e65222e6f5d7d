//! `cargo xtask test`: formatting, lints and every test, as CI runs them.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{apt, other_kernel, process};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to `cargo test`, for instance `-p zdocker-net` or `-- --nocapture`
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
    test.arg("test").args(cargo_test_arguments(&arguments.cargo_test));
    println!("$ {}", process::shown(&test));
    process::run(&mut test)?;
    // Who chose tests wants those and no others.
    if arguments.cargo_test.is_empty() {
        other_kernel::run_tests()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole workspace, unless the caller chose packages.
fn cargo_test_arguments(given: &[String]) -> Vec<String> {
    let mut arguments = given.to_vec();
    // Clap takes a `--` in the first place for its own.
    if std::env::args().nth(2).is_some_and(|word| word == "--") {
        arguments.insert(0, "--".to_owned());
    }
    if !arguments
        .iter()
        .any(|word| word.starts_with("-p") || word.starts_with("--package"))
    {
        arguments.insert(0, "--workspace".to_owned());
    }
    arguments
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
