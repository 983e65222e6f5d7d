//! Network namespaces: created and pinned at a path, opened, entered and unpinned (network_namespaces(7)).
//!
//! The calling thread enters a namespace for as long as some work takes, and comes back whichever way the work ends; no
//! other thread is concerned. A thread made for the work would have to wait for a processor first: milliseconds where
//! all are busy.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// The calling thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

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
    /// Creates a namespace, runs `prepare` within it, and pins it at `path`, where no file may be yet.
    ///
    /// # Errors
    /// [`NamespaceError`]; then nothing is left.
    pub fn create<T>(path: &Path, prepare: impl FnOnce() -> io::Result<T>) -> Result<(Self, T), NamespaceError> {
        let failed = failure("create", path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(path)
            .map_err(&failed)?;
        let created = elsewhere(
            || unshare(CloneFlags::CLONE_NEWNET),
            || {
                let prepared = prepare()?;
                mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                Ok(prepared)
            },
        );
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
        Namespace::open(Path::new(OWN))
    }

    /// Runs `work` within a new namespace, which ends with the work and the sockets opened in it.
    ///
    /// # Errors
    /// [`NamespaceError`] for lack of rights.
    pub fn run_in_new<T>(work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let entered = elsewhere(|| unshare(CloneFlags::CLONE_NEWNET), || Ok(work()));
        entered.map_err(failure("create", Path::new("(nowhere pinned)")))
    }

    /// Runs `work` within the namespace. Sockets opened there stay in the namespace for ever.
    ///
    /// # Errors
    /// [`NamespaceError`] when the file is no network namespace, or for lack of rights.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let entered = elsewhere(|| setns(&self.file, CloneFlags::CLONE_NEWNET), || Ok(work()));
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

/// Runs `work` after `enter` has put the calling thread into another namespace, and comes back.
fn elsewhere<T>(enter: impl FnOnce() -> nix::Result<()>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    struct ComeBack(File);

    impl Drop for ComeBack {
        fn drop(&mut self) {
            // Nobody can make this fail from outside; and going on in the wrong namespace would be worse than ending.
            if setns(&self.0, CloneFlags::CLONE_NEWNET).is_err() {
                std::process::abort();
            }
        }
    }

    let own = File::open(OWN)?;
    enter()?;
    let _come_back = ComeBack(own);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_inode() -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(OWN).unwrap().ino()
    }

    #[test]
    fn the_thread_comes_back_also_after_a_panic() {
        let before = own_inode();
        // A namespace that is never pinned: what is entered ends with the work.
        let new = || unshare(CloneFlags::CLONE_NEWNET);
        let inside = elsewhere(new, || Ok(own_inode())).unwrap();
        assert_ne!(inside, before);
        assert_eq!(own_inode(), before);
        assert!(elsewhere(new, || Err::<(), _>(io::ErrorKind::Other.into())).is_err());
        assert_eq!(own_inode(), before);
        assert!(std::panic::catch_unwind(|| elsewhere::<()>(new, || panic!("as the test wants"))).is_err());
        assert_eq!(own_inode(), before);
    }

    #[test]
    fn what_is_no_namespace_is_not_entered() {
        let error = Namespace::open(Path::new("/proc/self/status"))
            .unwrap()
            .run(|| ())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot enter network namespace /proc/self/status: "),
            "{error}"
        );
        assert!(Namespace::open(Path::new("/nowhere/at all")).is_err());
    }

    #[test]
    fn deleting_what_is_gone_or_half_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("half made");
        delete(&path).unwrap();
        fs::write(&path, "").unwrap();
        delete(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let error = Namespace::create(&path, || Ok(())).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists());
    }
}
