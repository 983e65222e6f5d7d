//! The mounts of a container: Docker's default ones, the files made for it, the user's volumes.

use std::path::Path;

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{Mount, MountBuilder};

use crate::containers::paths::ContainerPaths;
use crate::containers::spec::{self, ContainerSpec};
use crate::etc_files;

/// All mounts, in the order in which they are made.
pub(super) fn all(
    spec: &ContainerSpec,
    paths: &ContainerPaths,
    host_network: bool,
    cgroup2: bool,
) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        )?,
        mount("/dev/pts", "devpts", "devpts", &PTS_OPTIONS)?,
        sys(host_network)?,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", cgroup_options(cgroup2))?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        )?,
    ];
    let etc = paths.beside(spec.etc_owner());
    for name in etc_files::NAMES {
        mounts.push(bind(
            &etc.etc_file(name),
            &Path::new("/etc").join(name),
            &["rbind", "rprivate"],
        )?);
    }
    for volume in &spec.mounts {
        mounts.push(user_volume(volume)?);
    }
    Ok(mounts)
}

const PTS_OPTIONS: [&str; 6] = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];

/// A new sysfs shows the network devices of the network namespace that it is mounted in, and can only be mounted by
/// that namespace's owner: with the host's network, the host's own is shown.
fn sys(host_network: bool) -> Result<Mount, OciSpecError> {
    if host_network {
        return bind(
            Path::new("/sys"),
            Path::new("/sys"),
            &["bind", "nosuid", "noexec", "nodev", "ro"],
        );
    }
    mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
}

fn cgroup_options(cgroup2: bool) -> &'static [&'static str] {
    // Without a cgroup namespace (cgroup1), atime is the only option that Docker adds.
    if cgroup2 {
        &["nosuid", "noexec", "nodev", "ro"]
    } else {
        &["nosuid", "noexec", "nodev", "relatime", "ro"]
    }
}

fn user_volume(volume: &spec::Mount) -> Result<Mount, OciSpecError> {
    // "rro": what is mounted below the source is read-only too.
    let options: &[_] = if volume.read_only {
        &["rbind", "rprivate", "ro", "rro"]
    } else {
        &["rbind", "rprivate"]
    };
    bind(&volume.source, &volume.destination, options)
}

fn bind(source: &Path, destination: &Path, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ("bind")
        .source(source)
        .options(owned(options))
        .build()
}

fn mount(destination: &str, typ: &str, source: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ(typ)
        .source(source)
        .options(owned(options))
        .build()
}

fn owned(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}
