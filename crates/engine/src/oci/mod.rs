//! The OCI runtime specification of a container.

pub mod capabilities;
pub(crate) mod devices;
mod mounts;
pub mod seccomp;
pub mod spec;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// The magic number of a cgroup2 file system (linux/magic.h).
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// Where a host has its cgroup hierarchies, or its only one.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The path of a container's cgroup in each hierarchy: at the top, as a parent of all would stay behind empty.
pub(crate) fn cgroup_path(id: &str) -> PathBuf {
    Path::new("/").join(cgroup_name(id))
}

fn cgroup_name(id: &str) -> String {
    format!("zdocker-{id}")
}

/// The directories of a container's cgroup, one in each hierarchy that has it.
pub(crate) fn cgroup_directories(id: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(CGROUP_ROOT).into_iter().flatten().flatten();
    let roots = hierarchies
        .map(|entry| entry.path())
        .chain([PathBuf::from(CGROUP_ROOT)]);
    roots
        .map(|root| root.join(cgroup_name(id)))
        .filter(|path| path.exists())
        .collect()
}

/// The directory of a container's cgroup; `None` when this host has not a pure cgroup2 hierarchy.
pub(crate) fn cgroup2_directory(id: &str) -> Option<PathBuf> {
    is_cgroup2().then(|| Path::new(CGROUP_ROOT).join(cgroup_name(id)))
}

/// Whether this host has a pure cgroup2 hierarchy, and not one of cgroup1 or of both.
pub(crate) fn is_cgroup2() -> bool {
    statfs(CGROUP_ROOT).is_ok_and(|stat| stat.f_type == CGROUP2_SUPER_MAGIC)
}
