//! `cargo xtask bench`: zdocker beside the programs that do the same, in one run on one machine.

mod bandwidth;
mod budgets;
mod call;
mod cni;
mod engine;
mod faces;
mod goals;
mod in_process;
mod kernel;
mod netavark;
mod peers;
mod plugin;
mod report;
mod results;
mod run;
mod scale;
mod script;
mod stats;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use self::call::repeated;
use self::in_process::Helper;
use self::plugin::{Plugin, apart, on_fresh_host};
use self::results::{Group, Results};
use self::script::Script;
use crate::{apt, process, sandbox};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A sixth of the repetitions
    #[arg(long)]
    quick: bool,
    /// Only this group of measurements; writes no report
    #[arg(long, value_name = "GROUP")]
    only: Option<Group>,
    /// With `--only faces`: only the cases whose names have this in them
    #[arg(long, value_name = "WORDS", requires = "only")]
    case: Option<String>,
    /// Leave BENCHMARKS.md as it is
    #[arg(long)]
    no_write: bool,
    /// A further netavark to measure, for instance a newer one than Debian's
    #[arg(long, value_name = "FILE")]
    netavark: Option<PathBuf>,
    /// The zdocker binary to measure, instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The folder that is the sandbox's own; set by this program itself when it runs inside the sandbox
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
    /// The helper that measures within one process; set like `inside`
    #[arg(long, hide = true)]
    helper: Option<PathBuf>,
}

/// Measures everything that is asked for and writes the report.
///
/// # Errors
/// When not root, or when a package or the product cannot be made available. What cannot be measured is no error: the
/// report says why.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let (Some(folder), Some(binary), Some(helper)) = (&arguments.inside, &arguments.binary, &arguments.helper) {
        measure(arguments, folder, binary, helper)?;
        return Ok(ExitCode::SUCCESS);
    }
    process::require_root("bench", "it makes network namespaces, mounts and containers of its own")?;
    apt::require(&[apt::BUILD, apt::TOOLS])?;
    if let Err(error) = apt::require_beside_others(&[apt::PEERS]) {
        eprintln!("warning: {error:#}\nWhat is missing will not be measured.");
    }
    let binary = match &arguments.binary {
        Some(binary) => binary
            .canonicalize()
            .with_context(|| format!("there is no {}", binary.display()))?,
        None => process::build_release("zdocker")?,
    };
    let helper = process::build_release("measure")?;
    let folder = tempfile::Builder::new()
        .prefix("zdocker-bench-")
        .tempdir_in("/var/tmp")?;
    let mut again: Vec<String> = std::env::args().skip(1).collect();
    let mut add = |option: &str, path: &Path| again.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
    add("--inside", folder.path());
    add("--helper", &helper);
    if arguments.binary.is_none() {
        add("--binary", &binary);
    }
    let status = sandbox::run_this_program(&again)?;
    folder.close()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(arguments: &Arguments, folder: &Path, binary: &Path, helper: &Path) -> Result<()> {
    let mut results = Results::new(arguments.quick, arguments.only);
    sandbox::furnish(folder)?;
    let helper = Helper::new(helper, folder);
    if results.wants(Group::Size) {
        peers::sizes(&mut results, binary);
    }
    if results.wants(Group::Kernel) {
        kernel::measure(&mut results, &helper);
    }
    if results.wants(Group::Network) {
        bridge_by_script(&mut results);
    }
    run::measure(&mut results, folder, binary)?;
    if results.wants(Group::Ipam) {
        in_process::addresses(&mut results, &helper);
        addresses(&mut results);
    }
    if results.wants(Group::Attach) {
        in_process::endpoints(&mut results, &helper);
        plugin::measure(&mut results, &peers::plugins(arguments.netavark.as_deref()));
    }
    if results.wants(Group::Faces) {
        faces::measure(&mut results, binary, arguments.case.as_deref());
    }
    if results.wants(Group::Scale) {
        scale::endpoints(&mut results, &helper);
        scale::commands(&mut results, folder, binary, &helper);
    }
    if results.wants(Group::Bandwidth) {
        bandwidth::measure(&mut results, &helper);
    }
    let report = report::markdown(&results, binary)?;
    if arguments.no_write || arguments.only.is_some() {
        println!("\n{report}");
    } else {
        let file = process::repository().join("BENCHMARKS.md");
        std::fs::write(&file, report).with_context(|| format!("writing {}", file.display()))?;
        println!("\nWritten: {}", file.display());
    }
    Ok(())
}

/// A bridge with an address and its firewall, by hand.
fn bridge_by_script(results: &mut Results) {
    for script in [Script::OneByOne, Script::Batch] {
        let measured = on_fresh_host(|| {
            repeated(results.repetitions(18), || {
                let create = script.ip(None, &script::CREATE.map(str::to_owned))? + Script::nft(script::FIREWALL)?;
                let remove = script.ip(None, &["link del bench0".to_owned()])?;
                Ok((create, remove + Script::nft("delete table inet bench")?))
            })
        });
        let (create, remove) = apart(measured);
        results.times(Group::Network, "network create", &script.name(), create);
        results.times(Group::Network, "network rm", &script.name(), remove);
    }
}

/// Handing out an address and taking it back, as a process.
fn addresses(results: &mut Results) {
    let folder = Path::new(peers::CNI);
    let mut number = 0;
    let measured = repeated(results.repetitions(60), || {
        number += 1;
        let container = format!("container-{number}");
        Ok((
            cni::address(folder, "ADD", &container)?,
            cni::address(folder, "DEL", &container)?,
        ))
    });
    let (allocate, release) = apart(measured);
    results.times(
        Group::Ipam,
        "hand out an address, whole process",
        "CNI host-local",
        allocate,
    );
    results.times(Group::Ipam, "take it back, whole process", "CNI host-local", release);
}
