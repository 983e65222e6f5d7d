//! Where the files of one container are.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::private;

/// The directories of one container, below the state root (kept across boots) and the run root (gone after a boot).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPaths {
    id: String,
    state_root: PathBuf,
    run_root: PathBuf,
}

impl ContainerPaths {
    /// The paths of container `id` (its full id, which must be a plain file name).
    pub fn new(state_root: &Path, run_root: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state_root: state_root.to_owned(),
            run_root: run_root.to_owned(),
        }
    }

    /// Those of another container below the same roots.
    pub fn beside(&self, id: &str) -> Self {
        Self::new(&self.state_root, &self.run_root, id)
    }

    /// The container's full id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state root, which no container may see.
    pub fn state_root(&self) -> &Path {
        &self.state_root
    }

    /// The run root, which no container may see.
    pub fn run_root(&self) -> &Path {
        &self.run_root
    }

    /// `<state root>/containers/<id>`: everything of the container that outlives a boot.
    pub fn state_dir(&self) -> PathBuf {
        self.state_root.join("containers").join(&self.id)
    }

    /// `<run root>/containers/<id>`: the OCI bundle and the sockets of a running container.
    pub fn run_dir(&self) -> PathBuf {
        self.run_root.join("containers").join(&self.id)
    }

    /// Makes [`Self::state_dir`], closed to other users of the host.
    ///
    /// # Errors
    /// As mkdir(2) and chmod(2).
    pub(crate) fn make_state_dir(&self) -> io::Result<()> {
        private::create_dir(&self.state_root.join("containers"))?;
        private::create_dir(&self.state_dir())
    }

    /// Makes [`Self::run_dir`], closed to other users of the host.
    ///
    /// # Errors
    /// As mkdir(2) and chmod(2).
    pub(crate) fn make_run_dir(&self) -> io::Result<()> {
        private::create_dir(&self.run_root.join("containers"))?;
        private::create_dir(&self.run_dir())
    }

    /// The overlay's upper directory: what the container has written.
    pub fn upper(&self) -> PathBuf {
        self.state_dir().join("upper")
    }

    /// The overlay's work directory, on the same file system as [`Self::upper`].
    pub fn work(&self) -> PathBuf {
        self.state_dir().join("work")
    }

    /// Where the container's root file system is mounted.
    pub fn merged(&self) -> PathBuf {
        self.state_dir().join("merged")
    }

    /// The container's output, in Docker's json-file format.
    pub fn log(&self) -> PathBuf {
        self.state_dir().join("container.log")
    }

    /// The file that is bind-mounted over `/etc/<name>` in the container.
    pub fn etc_file(&self, name: &str) -> PathBuf {
        self.state_dir().join("etc").join(name)
    }

    /// The OCI bundle: the directory that holds `config.json`.
    pub fn bundle(&self) -> PathBuf {
        self.run_dir()
    }

    /// The socket on which the shim accepts clients.
    pub fn attach_socket(&self) -> PathBuf {
        self.run_dir().join("attach.sock")
    }

    /// What the shim writes on standard error; empty when all goes well.
    pub fn shim_log(&self) -> PathBuf {
        self.run_dir().join("shim.log")
    }

    /// The directory in which the OCI runtime keeps its own state of all containers.
    pub fn runtime_root(&self) -> PathBuf {
        self.run_root.join("runtime")
    }
}
