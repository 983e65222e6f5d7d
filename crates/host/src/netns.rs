//! Network namespaces: created and pinned at a path, opened, entered and unpinned (network_namespaces(7)).
//!
//! A namespace is entered by threads made for it, never by the caller's: a thread that fails to come back would do
//! everything after in the wrong place.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// The calling thread's network namespace.
const OWN: &CStr = c"/proc/thread-self/ns/net";

/// What such a thread needs: it opens a few files and sockets.
const STACK: usize = 256 * 1024;

/// Why something about a network namespace failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} network namespace {path}: {source}")]
pub struct NamespaceError {
    /// What was being done.
    pub doing: &'static str,
    /// Which.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// An open network namespace: it lives at least as long as this.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// Creates a namespace, runs `prepare` on a thread within it, and pins it at `path`, where no file may be yet.
    ///
    /// # Errors
    /// [`NamespaceError`]; then nothing is left.
    pub fn create<T: Send>(
        path: &Path,
        prepare: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<(Self, T), NamespaceError> {
        let failed = failure("create", path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(path)
            .map_err(&failed)?;
        let created = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let prepared = prepare()?;
            mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(prepared)
        });
        let opened = created.and_then(|prepared| Ok((File::open(path)?, prepared)));
        match opened {
            Ok((file, prepared)) => Ok((
                Namespace {
                    file,
                    path: path.to_owned(),
                },
                prepared,
            )),
            Err(error) => {
                // The first error is the one to report.
                let _ = delete(path);
                Err(failed(error))
            }
        }
    }

    /// Opens the namespace that is pinned at `path`; also `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// [`NamespaceError`] when there is no such file.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        let file = File::open(path).map_err(failure("open", path))?;
        Ok(Namespace {
            file,
            path: path.to_owned(),
        })
    }

    /// Opens the calling thread's own.
    ///
    /// # Errors
    /// [`NamespaceError`] when `/proc` is not mounted.
    pub fn own() -> Result<Self, NamespaceError> {
        Namespace::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Runs `work` on a thread within the namespace. Sockets opened there stay in the namespace for ever.
    ///
    /// # Errors
    /// [`NamespaceError`] when the file is no network namespace, or for lack of rights.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        let entered = on_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        entered.map_err(failure("enter", &self.path))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Unpins the namespace at `path`; when no process and no open file is left to it, the kernel takes it down later.
/// It is no error if it is gone already, or only half made.
///
/// # Errors
/// [`NamespaceError`] when the mount or the file cannot be removed.
pub fn delete(path: &Path) -> Result<(), NamespaceError> {
    let failed = failure("delete", path);
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not mounted (a process was killed between creating the file and mounting), or no file.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(failed(errno.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn failure(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> NamespaceError {
    move |source| NamespaceError {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Runs `work` on a thread that ends with it.
fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
