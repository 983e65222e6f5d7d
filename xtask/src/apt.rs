//! Debian packages: which ones a command needs, why, and installing the ones that are missing.

use std::collections::HashSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The name of a Debian package, and what it is needed for.
pub(crate) type Package = (&'static str, &'static str);

/// To build the product.
pub(crate) const BUILD: &[Package] = &[
    ("gcc", "links every Rust program and compiles the bundled SQLite"),
    ("libc6-dev", "the C library's static half, for one static binary"),
    (
        "libseccomp-dev",
        "the system call filter of containers, linked statically",
    ),
    ("pkg-config", "finds libseccomp for the build"),
];

/// To try networks and containers out from the outside; the product itself needs none of these.
pub(crate) const TOOLS: &[Package] = &[
    ("busybox-static", "the programs that run inside test containers"),
    ("iproute2", "`ip`, `ss` and `bridge` show what the kernel has"),
    ("iputils-ping", "`ping` tries whether an address answers"),
    ("nftables", "`nft` shows the firewall"),
];

/// What the tests use beyond [`TOOLS`].
pub(crate) const TEST: &[Package] = &[
    (
        "aardvark-dns",
        "Podman's name server, which is started for its containers",
    ),
    ("conntrack", "shows the flows that the kernel remembers"),
    (
        "containerd",
        "calls zdocker as CNI plug-ins, in namespaces of the test (its service is not started)",
    ),
    (
        "containernetworking-plugins",
        "the reference plug-ins of CNI, which zdocker is compared with",
    ),
    (
        "docker.io",
        "does the same scenario as zdocker, in namespaces of the test (its service is not started)",
    ),
    ("iptables", "netavark publishes ports with it"),
    ("jq", "picks values out of JSON output"),
    (
        "netavark",
        "Podman's own network program, which zdocker is compared with",
    ),
    (
        "podman",
        "calls zdocker as netavark and as CNI plug-ins, in namespaces of the test",
    ),
    ("runc", "an outside OCI runtime, for `--runtime runc` and Podman"),
    (
        "slirp4netns",
        "leads a user's Podman outside, in namespaces of the test",
    ),
    ("strace", "counts system calls and makes chosen ones fail"),
    (
        "uidmap",
        "`newuidmap` gives a user's Podman the identifiers of its containers",
    ),
];

/// What the virtual machine is made of.
pub(crate) const VM: &[Package] = &[
    ("qemu-system-x86", "the virtual machine"),
    ("xz-utils", "unpacks the kernel and its modules"),
    ("zstd", "unpacks kernels that are compressed with zstd"),
];

/// The programs that the benchmark measures beside zdocker.
pub(crate) const PEERS: &[Package] = &[
    ("netavark", "measured beside zdocker: Podman's network plugin"),
    (
        "containernetworking-plugins",
        "measured beside zdocker: CNI bridge, host-local and portmap",
    ),
    ("podman", "measured beside zdocker: whole `run`s"),
    (
        "docker.io",
        "measured beside zdocker: whole `run`s (its service is not started)",
    ),
    ("crun", "measured beside zdocker: the OCI runtime alone"),
    ("runc", "measured beside zdocker: the OCI runtime alone"),
    ("iptables", "netavark and the CNI plugins publish ports with it"),
];

/// Installs the packages of these tables that are missing, after saying which and why. Does nothing, and needs neither
/// root nor the network, when none is.
///
/// No service that a package brings is started, now or at the next boot.
///
/// # Errors
/// When packages are missing and this is not root, or apt-get fails.
pub(crate) fn require(tables: &[&[Package]]) -> Result<()> {
    require_with(tables, &[])
}

/// Like [`require`], but rather fails than have apt-get remove other packages that conflict with these.
///
/// # Errors
/// As for [`require`], and when packages would have to be removed.
pub(crate) fn require_beside_others(tables: &[&[Package]]) -> Result<()> {
    require_with(tables, &["--no-remove"])
}

fn require_with(tables: &[&[Package]], options: &[&str]) -> Result<()> {
    let installed = installed()?;
    let mut missing: Vec<Package> = Vec::new();
    for (name, why) in tables.iter().copied().flatten().copied() {
        if !installed.contains(name) && missing.iter().all(|(other, _)| *other != name) {
            missing.push((name, why));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing with apt-get what is missing here:");
    for (name, why) in &missing {
        println!("  {name:<28} {why}");
    }
    let missing: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    if !process::is_root()? {
        let names = missing.join(" ");
        bail!("only root can install packages; run: apt-get install --no-install-recommends {names}");
    }
    install(&missing, options)
}

/// The names of all packages that dpkg has installed.
fn installed() -> Result<HashSet<String>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]);
    let list = process::capture(&mut query).context("this needs a Debian system (dpkg-query)")?;
    Ok(list
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect())
}

fn install(packages: &[&str], options: &[&str]) -> Result<()> {
    process::run(apt_get().arg("update"))?;
    // Without its unit files and init scripts a package has nothing that it, or a later boot, could start.
    let without = ["/lib/systemd/*/*", "/usr/lib/systemd/*/*", "/etc/init.d/*"];
    let without = without.map(|path| format!("Dpkg::Options::=--path-exclude={path}"));
    let mut command = apt_get();
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(options);
    command.args(without.iter().flat_map(|option| ["-o", option]));
    command.args(packages);
    println!("(What it says about missing units and presets is intended: no service is to be started.)");
    process::run(&mut command)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-q=2", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
