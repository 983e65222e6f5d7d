//! The socket over which an OCI runtime hands out the master end of a container's terminal.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::private;

/// A listening socket for one terminal; its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct ConsoleSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Its directory, which is kept open as [`Self::path`] leads through it.
    _directory: File,
}

impl ConsoleSocket {
    /// Listens as `name` in `directory`.
    pub(crate) fn bind(directory: &Path, name: &str) -> io::Result<Self> {
        let directory = File::open(directory)?;
        let path = format!("/proc/{}/fd/{}/{name}", std::process::id(), directory.as_raw_fd());
        let listener = UnixListener::bind(&path)?;
        private::close_file(Path::new(&path))?;
        // A runtime that has done its work has connected: there is nothing to wait for.
        listener.set_nonblocking(true)?;
        Ok(Self {
            path: path.into(),
            listener,
            _directory: directory,
        })
    }

    /// A path that is short enough for the address of a socket, also in other processes.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal that the runtime has sent.
    pub(crate) fn receive(&self) -> io::Result<OwnedFd> {
        let (connection, _) = self.listener.accept()?;
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let mut data = [0; 4096];
        let mut data = [IoSliceMut::new(&mut data)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(connection.as_raw_fd(), &mut data, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = control
                && let [descriptor] = descriptors[..]
            {
                // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
                return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
        Err(io::Error::other("the runtime has sent no terminal"))
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        // The run directory, which this file is in, is removed as a whole in the end.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds a socket at a path of any length: a socket address holds 107 bytes, so the directory is named by descriptor.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    by_short_path(path, |short| {
        let listener = UnixListener::bind(short)?;
        private::close_file(short)?;
        Ok(listener)
    })
}

/// Calls `act` with a short path for `path`.
pub(crate) fn by_short_path<T>(path: &Path, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(parent)?;
    act(&Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}
