//! Debian's container engines on a host of the test, with one directory of plug-ins or the other.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::driver::Runtime;
use crate::harness::skipped;

/// Whether a program is installed; if not, the test says so.
pub(super) fn is_installed(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        skipped(&format!("{program} is not installed"));
    }
    there
}

/// Gives the host a copy of the directories that engines read fixed places of: `/etc`, with no network of CNI in it, and
/// `/opt`, with the plug-ins.
pub(super) fn give_places(runtime: &Runtime) {
    let (host, scratch) = (&runtime.host, text(&runtime.host.scratch()));
    let layers = format!("lowerdir=/etc,upperdir={scratch}/etc/upper,workdir={scratch}/etc/work");
    let plugins = text(runtime.directory());
    let script = format!(
        "set -e
         mkdir -p {scratch}/etc
         mount -t tmpfs tmpfs {scratch}/etc
         mkdir {scratch}/etc/upper {scratch}/etc/work
         mount -t overlay -o {layers} overlay /etc
         rm -rf /etc/cni
         mkdir -p /etc/cni/net.d
         mount -t tmpfs tmpfs /opt
         mkdir /opt/cni
         ln -s {plugins} /opt/cni/bin"
    );
    host.program("sh", &["-c", &script]).ok();
}

/// Makes a root file system of busybox alone in `place`.
pub(super) fn make_root(place: &Path) -> PathBuf {
    let folder = place.join("files");
    for name in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::copy("/usr/bin/busybox", folder.join("bin/busybox")).unwrap();
    symlink("busybox", folder.join("bin/sleep")).unwrap();
    folder
}

pub(super) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
