//! The second part of `cargo xtask test`: tests of bridges and whole-program tests on a stock Debian kernel, which has
//! what this machine's may lack and control groups of version 2 only.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;

/// The tests that kernels may lack something for, and a few of the others to see that they pass there as well: each
/// name that contains one of these is run.
const TESTS: &[&str] = &[
    "ipvlan::",
    "vlans::",
    "netavark::bridge::a_bridge_in_a_vrf",
    "netavark::bridge::vlans_of_one_bridge",
    "netavark::child::ipvlan",
    "cni::parent::ours",
    "cni::vlan::ours",
    "cni::vlan::several_come_with_their_tags",
    "sctp",
    "macvlan::containers_are_on_the_wire",
    "macvlan::mode_passthru",
    "connect::a_running_container_joins_and_leaves",
    "publish::from_outside_with_the_clients_own_address",
    "publish::from_the_host_by_the_loopback_address",
];

/// How long the machine may take, in seconds; with two idle processors and no hardware virtualisation it takes about
/// three minutes, with busy ones several times as long.
const LIMIT: u32 = 1500;

/// Its memory in MiB: the tests' files are in it.
const MEMORY: u32 = 1024;

/// The status of `vmrun.sh` that says that there can be no virtual machine here.
const CANNOT_RUN: i32 = 77;

/// Runs the tests of bridges and [`TESTS`] in the virtual machine; where QEMU is missing, says so and does nothing. It
/// is not installed for this: with all that it needs it is several hundred megabytes.
///
/// # Errors
/// When a test fails, or the machine breaks.
pub(crate) fn run_tests() -> Result<()> {
    if process::first_line("qemu-system-x86_64", &["--version"]).is_none() {
        println!(
            "skipped: the tests on a Debian kernel, as QEMU is not installed \
             (apt-get install --no-install-recommends qemu-system-x86)"
        );
        return Ok(());
    }
    let mut vm = Command::new(process::repository().join("xtask/vm/vmrun.sh"));
    vm.env("VM_TIMEOUT", LIMIT.to_string())
        .env("VM_MEM", MEMORY.to_string());
    // In the machine, only its own tmpfs can hold what containers write.
    let script = "\"$1\" && shift && exec \"$@\"";
    vm.args(["--", "env", "TMPDIR=/var/tmp", "sh", "-c", script, "sh"])
        .arg(program("zdocker-host", "bridges")?)
        .arg(program("zdocker", "it")?)
        .args(TESTS);
    println!("$ {}", process::shown(&vm));
    let status = vm.status().with_context(|| process::not_started(&vm))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(CANNOT_RUN) => {
            println!("skipped: the tests on a Debian kernel, as there can be no virtual machine here");
            Ok(())
        }
        _ => bail!("`{}` {}", process::shown(&vm), process::ending(status)),
    }
}

/// The program that `cargo test` has built of the tests called `test` of a package.
fn program(package: &str, test: &str) -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(["test", "--package", package, "--test", test, "--no-run"]);
    build
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let messages = process::capture(&mut build)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not say where it put the tests {test} of {package}"))
}
