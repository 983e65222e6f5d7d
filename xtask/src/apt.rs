//! Debian packages: which ones a command needs, why, and installing the ones that are missing.

use std::collections::HashSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// A Debian package and what it is needed for.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    name: &'static str,
    why: &'static str,
}

/// To build the product.
pub(crate) const BUILD: &[Package] = &[
    Package {
        name: "gcc",
        why: "links every Rust program and compiles the bundled SQLite",
    },
    Package {
        name: "libc6-dev",
        why: "the C library's static half, for one static binary",
    },
    Package {
        name: "libseccomp-dev",
        why: "the system call filter of containers, linked statically",
    },
    Package {
        name: "pkg-config",
        why: "finds libseccomp for the build",
    },
];

/// To try networks and containers out from the outside; the product itself needs none of these.
pub(crate) const TOOLS: &[Package] = &[
    Package {
        name: "busybox-static",
        why: "the programs that run inside test containers",
    },
    Package {
        name: "iproute2",
        why: "`ip`, `ss` and `bridge` show what the kernel has",
    },
    Package {
        name: "iputils-ping",
        why: "`ping` tries whether an address answers",
    },
    Package {
        name: "nftables",
        why: "`nft` shows the firewall",
    },
];

/// What the tests use beyond [`TOOLS`].
pub(crate) const TEST: &[Package] = &[
    Package {
        name: "conntrack",
        why: "shows the flows that the kernel remembers",
    },
    Package {
        name: "jq",
        why: "picks values out of JSON output",
    },
    Package {
        name: "runc",
        why: "an outside OCI runtime, for `--runtime runc`",
    },
    Package {
        name: "strace",
        why: "counts system calls and makes chosen ones fail",
    },
];

/// What the virtual machine is made of.
pub(crate) const VM: &[Package] = &[
    Package {
        name: "qemu-system-x86",
        why: "the virtual machine",
    },
    Package {
        name: "xz-utils",
        why: "unpacks the kernel and its modules",
    },
    Package {
        name: "zstd",
        why: "unpacks kernels that are compressed with zstd",
    },
];

/// The programs that the benchmark measures beside zdocker.
pub(crate) const PEERS: &[Package] = &[
    Package {
        name: "netavark",
        why: "measured beside zdocker: Podman's network plugin",
    },
    Package {
        name: "containernetworking-plugins",
        why: "measured beside zdocker: CNI bridge, host-local and portmap",
    },
    Package {
        name: "podman",
        why: "measured beside zdocker: whole `run`s",
    },
    Package {
        name: "docker.io",
        why: "measured beside zdocker: whole `run`s (its service is not started)",
    },
    Package {
        name: "crun",
        why: "measured beside zdocker: the OCI runtime alone",
    },
    Package {
        name: "runc",
        why: "measured beside zdocker: the OCI runtime alone",
    },
    Package {
        name: "iptables",
        why: "netavark and the CNI plugins publish ports with it",
    },
];

/// Installs the packages of these tables that are missing, after saying which and why. Does nothing, and needs neither
/// root nor the network, when none is.
///
/// No service that a package brings is started, now or at the next boot.
///
/// # Errors
/// When packages are missing and this is not root, or apt-get fails.
pub(crate) fn require(tables: &[&[Package]]) -> Result<()> {
    let installed = installed()?;
    let mut missing: Vec<Package> = Vec::new();
    for package in tables.iter().copied().flatten() {
        if !installed.contains(package.name)
            && missing.iter().all(|other| other.name != package.name)
        {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing with apt-get what is missing here:");
    for package in &missing {
        println!("  {:<28} {}", package.name, package.why);
    }
    if !process::is_root()? {
        let names: Vec<_> = missing.iter().map(|package| package.name).collect();
        bail!(
            "only root can install packages; run: apt-get install --no-install-recommends {}",
            names.join(" ")
        );
    }
    install(&missing)
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

fn install(packages: &[Package]) -> Result<()> {
    process::run(apt_get().arg("update"))?;
    // Without its unit files and init scripts a package has nothing that it, or a later boot, could start.
    let without = ["/lib/systemd/*/*", "/usr/lib/systemd/*/*", "/etc/init.d/*"];
    let without = without.map(|path| format!("Dpkg::Options::=--path-exclude={path}"));
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]);
    command.args(without.iter().flat_map(|option| ["-o", option]));
    command.args(packages.iter().map(|package| package.name));
    process::run(&mut command)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-q=2", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
