//! The control groups that container engines make, and removing those of an engine that was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The groups in which the other engines make one for each container.
const PARENTS: &[&str] = &["docker", "libpod_parent"];

/// How the names of zdocker's groups, which have no parent, begin.
const OWN_PREFIX: &str = "zdocker-";

/// Where control groups are mounted: one hierarchy (version 2), or a folder with one a controller (version 1).
const TOP: &str = "/sys/fs/cgroup";

/// The engines' groups that exist, each after the groups below it.
pub(crate) fn existing() -> BTreeSet<std::cmp::Reverse<PathBuf>> {
    let mut found = BTreeSet::new();
    let tops: Vec<PathBuf> = std::iter::once(PathBuf::from(TOP))
        .chain(folders(Path::new(TOP)))
        .collect();
    let is_own = |group: &PathBuf| {
        let name = group.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(OWN_PREFIX))
    };
    for group in tops.iter().flat_map(|top| folders(top)).filter(is_own) {
        collect(&group, &mut found);
    }
    for parent in tops
        .iter()
        .flat_map(|top| PARENTS.iter().map(move |name| top.join(name)))
    {
        if parent.is_dir() {
            collect(&parent, &mut found);
        }
    }
    found
}

/// Whether it is the group of a container rather than an engine's parent of all.
pub(crate) fn is_container(group: &Path) -> bool {
    group
        .file_name()
        .and_then(|name| name.to_str())
        .is_none_or(|name| !PARENTS.contains(&name))
}

/// Removes the groups that are new since then and that nothing runs in.
pub(crate) fn remove_new_since(before: &BTreeSet<std::cmp::Reverse<PathBuf>>) {
    for group in existing().difference(before) {
        // The kernel refuses to remove a group that is in use, which then is not ours.
        let _ = fs::remove_dir(&group.0);
    }
}

fn collect(group: &Path, found: &mut BTreeSet<std::cmp::Reverse<PathBuf>>) {
    for below in folders(group) {
        collect(&below, found);
    }
    found.insert(std::cmp::Reverse(group.to_owned()));
}

/// The folders in a folder; none when it has vanished.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
