//! The programs that zdocker is compared with: where Debian puts them, their versions and sizes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cni::Cni;
use super::faces;
use super::netavark::Netavark;
use super::plugin::Plugin;
use super::results::{Group, Results};
use super::script::Script;
use crate::process;

pub(super) const NETAVARK: &str = "/usr/lib/podman/netavark";
pub(super) const CNI: &str = "/usr/lib/cni";

/// What attaches containers to networks: netavark, another one if it is given, and the rest.
pub(super) fn plugins(other_netavark: Option<&Path>) -> Vec<Box<dyn Plugin>> {
    let mut plugins: Vec<Box<dyn Plugin>> = Vec::new();
    for program in [Some(Path::new(NETAVARK)), other_netavark].into_iter().flatten() {
        let name = process::first_line(program, &["--version"]).unwrap_or_else(|| program.display().to_string());
        plugins.push(Box::new(Netavark::named(name, program)));
    }
    plugins.push(Box::new(Cni::named(faces::THEIR_CHAIN, CNI.as_ref(), false)));
    plugins.push(Box::new(Script::OneByOne));
    plugins.push(Box::new(Script::Batch));
    plugins
}

/// The versions of everything measured, a line each.
pub(super) fn versions(zdocker: &Path) -> Vec<String> {
    let ask = |program: &str, argument: &str| process::first_line(program, &[argument]);
    let debian = |package: &str| process::first_line("dpkg-query", &["-Wf", "${Package} ${Version}", package]);
    let commit = process::first_line(
        "git",
        &["-C", &process::repository().to_string_lossy(), "describe", "--always"],
    );
    [
        process::first_line(zdocker, &["--version"]).filter(|version| !version.is_empty()),
        commit.map(|commit| format!("zdocker at commit {commit}")),
        debian("netavark"),
        debian("containernetworking-plugins"),
        debian("podman"),
        debian("docker.io"),
        ask("crun", "--version"),
        ask("runc", "--version"),
        ask("ip", "-Version"),
        ask("nft", "--version"),
        ask("iptables", "--version"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sizes of the programs that each way needs.
pub(super) fn sizes(results: &mut Results, zdocker: &Path) {
    let cni = |name: &str| Path::new(CNI).join(name);
    let rows: [(&str, Vec<PathBuf>); 4] = [
        ("zdocker", vec![zdocker.to_owned()]),
        (
            "podman + conmon + crun + netavark",
            vec![
                "/usr/bin/podman".into(),
                "/usr/bin/conmon".into(),
                "/usr/bin/crun".into(),
                NETAVARK.into(),
            ],
        ),
        (
            "docker + dockerd + containerd + shim + runc + proxy",
            vec![
                "/usr/bin/docker".into(),
                "/usr/sbin/dockerd".into(),
                "/usr/bin/containerd".into(),
                "/usr/bin/containerd-shim-runc-v2".into(),
                "/usr/sbin/runc".into(),
                "/usr/sbin/docker-proxy".into(),
            ],
        ),
        (
            "CNI bridge + host-local + portmap",
            vec![cni("bridge"), cni("host-local"), cni("portmap")],
        ),
    ];
    for (who, files) in rows {
        let total = files.iter().map(|file| size(file)).sum::<Result<u64>>();
        results.bytes(Group::Size, "programs, together", who, total);
    }
}

fn size(file: &Path) -> Result<u64> {
    Ok(std::fs::metadata(file)
        .with_context(|| format!("{} is missing", file.display()))?
        .len())
}
