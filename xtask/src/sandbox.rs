//! A throw-away machine to try things in: network, mounts, processes and data folders of its own, gone without a trace
//! when the program in it ends, however it ends.
//!
//! It is made of Linux namespaces. What runs in it sees this machine's files, an empty `/run`, no links but `lo`, and
//! no processes but its own. The namespace of processes is what makes the end certain: its first process takes all the
//! others with it, and with the last process the other namespaces go.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::{cgroups, process};

/// Where engines keep what outlives a boot; each gets an empty folder of the sandbox's own.
const DATA_FOLDERS: &[&str] = &[
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/cni",
    "/var/lib/zdocker",
];

/// Runs this program with other arguments inside a new sandbox, and returns once every process in it has ended. Ctrl-C
/// and SIGTERM end the sandbox and not this program, so that the caller can clean up.
///
/// # Errors
/// When the namespaces cannot be made (this needs root).
pub(crate) fn run_this_program(arguments: &[String]) -> Result<ExitStatus> {
    // Orphans of the sandbox become our children, so that we can wait for the last of them.
    prctl::set_child_subreaper(true).context("becoming the parent of the sandbox's orphans")?;
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--net",
        "--mount",
        "--ipc",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    // The shell is the namespace's first process: it starts us and reaps the orphans, which Rust's standard library
    // does not. `exit` keeps it from replacing itself with us.
    unshare.args(["sh", "-c", r#""$@"; exit $?"#, "sh"]);
    unshare.arg(std::env::current_exe()?).args(arguments);
    let groups = cgroups::existing();
    let mut child = unshare.spawn().with_context(|| process::not_started(&unshare))?;
    SANDBOX.store(i32::try_from(child.id())?, Ordering::SeqCst);
    for interruption in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only loads an atomic and calls kill(2), which may be called from signal handlers.
        unsafe { signal(interruption, SigHandler::Handler(end_sandbox)) }?;
    }
    let status = child.wait()?;
    SANDBOX.store(0, Ordering::SeqCst);
    while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    // Control groups are the one thing that does not go with the namespaces.
    cgroups::remove_new_since(&groups);
    Ok(status)
}

/// The process whose death ends the sandbox, 0 when there is none.
static SANDBOX: AtomicI32 = AtomicI32::new(0);

extern "C" fn end_sandbox(_signal: nix::libc::c_int) {
    let sandbox = SANDBOX.load(Ordering::SeqCst);
    if sandbox > 0 {
        // It may have ended just now, which is what was wanted.
        let _ = kill(Pid::from_raw(sandbox), Signal::SIGKILL);
    }
}

/// Called first inside the sandbox: gives it an empty `/run` and data folders of its own below `folder`, and hides from
/// this machine what is written to `/etc` and `/var/lib`.
///
/// # Errors
/// When a mount fails.
pub(crate) fn furnish(folder: &Path) -> Result<()> {
    mount(&["-t", "tmpfs", "-o", "mode=755", "run", "/run"])?;
    // On a tmpfs, because an overlay cannot have its upper layer on another overlay, as `folder` is in a container.
    let layers = folder.join("layers");
    fs::create_dir(&layers)?;
    mount(&["-t", "tmpfs", "layers", &layers.to_string_lossy()])?;
    for (lower, name) in [("/etc", "etc"), ("/var/lib", "var-lib")] {
        let (upper, work) = (layers.join(name), layers.join(format!("{name}.work")));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        mount(&["-t", "overlay", "-o", &options, "overlay", lower])?;
    }
    for data in DATA_FOLDERS.iter().map(Path::new) {
        // On disk, as the engines have it on a real machine.
        let own = folder.join(data.file_name().unwrap_or_default());
        fs::create_dir(&own)?;
        fs::create_dir_all(data)?;
        mount(&["--bind", &own.to_string_lossy(), &data.to_string_lossy()])?;
    }
    ip("link set lo up")
}

fn mount(arguments: &[&str]) -> Result<()> {
    process::run(Command::new("mount").args(arguments))
}

/// A neighbouring network namespace `outside` stands for the rest of the world: 203.0.113.1 and 2001:db8::1 there, and
/// this host has 203.0.113.2 and 2001:db8::2 on its link `uplink` (addresses of RFC 5737 and RFC 3849).
///
/// # Errors
/// When the kernel refuses one of the steps.
pub(crate) fn connect_outside() -> Result<()> {
    ip("netns add outside")?;
    ip("link add uplink type veth peer name eth0 netns outside")?;
    for (place, device, number) in [("", "uplink", 2), ("-n outside ", "eth0", 1)] {
        ip(&format!("{place}addr add 203.0.113.{number}/24 dev {device}"))?;
        ip(&format!("{place}addr add 2001:db8::{number}/64 dev {device} nodad"))?;
        ip(&format!("{place}link set {device} up"))?;
    }
    ip("-n outside link set lo up")?;
    ip("route add default via 203.0.113.1")?;
    ip("route add default via 2001:db8::1")
}

/// Runs `ip` with these words.
///
/// # Errors
/// When it fails.
pub(crate) fn ip(words: &str) -> Result<()> {
    process::run(Command::new("ip").args(words.split_whitespace()))
}
