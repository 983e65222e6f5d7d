//! A host for an engine, and what its containers are made of.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::{Host, OUTSIDE_V4};

/// A host with a directory of its own for what runs, and whose name server refuses to talk: who asks it knows at once.
pub(crate) fn new_host() -> Host {
    let host = Host::new();
    let resolv_conf = text(&host.scratch().join("resolv.conf"));
    fs::write(
        &resolv_conf,
        format!("nameserver {OUTSIDE_V4}\noptions timeout:1 attempts:1\n"),
    )
    .unwrap();
    host.program("mount", &["-t", "tmpfs", "tmpfs", "/run"]).ok();
    host.program("mount", &["--bind", &resolv_conf, "/etc/resolv.conf"])
        .ok();
    host
}

/// Makes a root file system of busybox alone in `place`.
pub(crate) fn make_image(place: &Path) -> PathBuf {
    let folder = place.join("image");
    for name in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::copy("/usr/bin/busybox", folder.join("bin/busybox")).unwrap();
    for name in ["nc", "sh", "sleep"] {
        symlink("busybox", folder.join("bin").join(name)).unwrap();
    }
    folder
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
