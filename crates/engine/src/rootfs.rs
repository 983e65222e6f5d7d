//! A container's root file system: an overlay whose lower layer is never written to.

use std::io;
use std::path::PathBuf;

use crate::containers::paths::ContainerPaths;
use crate::containers::spec::RootfsSource;

/// Why a root file system could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A system call failed.
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

/// Mounts the container's root file system at [`ContainerPaths::merged`].
///
/// # Errors
/// When the source is no directory, or the kernel refuses the overlay.
pub fn mount(_source: &RootfsSource, _paths: &ContainerPaths) -> Result<(), RootfsError> {
    unimplemented!()
}

/// Unmounts it; "not mounted" is success.
///
/// # Errors
/// When the kernel refuses.
pub fn unmount(_paths: &ContainerPaths) -> Result<(), RootfsError> {
    unimplemented!()
}
