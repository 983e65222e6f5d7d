//! From a [`ContainerSpec`] to the bundle's `config.json`.

use std::io;
use std::path::{Path, PathBuf};

use crate::containers::paths::ContainerPaths;
use crate::containers::spec::ContainerSpec;

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Writes `config.json` for a container whose root file system is mounted and whose etc files are written. `netns` is
/// the path of its network namespace; `None` is the host's.
///
/// # Errors
/// When the user is unknown in the container, or a file cannot be read or written.
pub fn write_bundle(_spec: &ContainerSpec, _paths: &ContainerPaths, _netns: Option<&Path>) -> Result<(), BundleError> {
    unimplemented!()
}
