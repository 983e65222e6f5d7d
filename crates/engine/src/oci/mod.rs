//! The OCI runtime specification of a container.

pub mod capabilities;
mod devices;
mod mounts;
pub mod seccomp;
pub mod spec;

use std::path::Path;

use rustix::fs::statfs;

/// The magic number of a cgroup2 file system (linux/magic.h).
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Whether this host has a pure cgroup2 hierarchy, and not one of cgroup1 or of both.
pub(crate) fn is_cgroup2() -> bool {
    statfs(Path::new("/sys/fs/cgroup"))
        .is_ok_and(|stat| i64::from(stat.f_type) == CGROUP2_SUPER_MAGIC)
}
