//! Kernel variables under `/proc/sys` (proc_sys(5)). Those of the network are the calling thread's network namespace's.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Why a kernel variable could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} kernel variable {key}: {source}")]
pub struct SysctlError {
    /// What was being done.
    pub doing: &'static str,
    /// In its path form, `net/ipv4/ip_forward`.
    pub key: String,
    /// Why it failed.
    pub source: io::Error,
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

/// Reads the variable `key`, given in its path form; `None` if this kernel has none of that name.
///
/// # Errors
/// [`SysctlError`]
pub fn read(key: &str) -> Result<Option<String>, SysctlError> {
    read_file(&path(key), key)
}

fn read_file(path: &Path, key: &str) -> Result<Option<String>, SysctlError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError {
            doing: "read",
            key: key.to_owned(),
            source,
        }),
    }
}

/// Writes the variable `key`, given in its path form.
///
/// # Errors
/// [`SysctlError`]
pub fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    write_file(&path(key), value).map_err(|source| SysctlError {
        doing: "write",
        key: key.to_owned(),
        source,
    })
}

fn write_file(path: &Path, value: &str) -> io::Result<()> {
    // Not fs::write: that would ask for the file to be created, which a missing variable answers by "permission
    // denied".
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(mut file) => io::Write::write_all(&mut file, value.as_bytes()),
        // Within somebody's container, say, who has set it as it is to be.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && has_value(path, value) => Ok(()),
        Err(error) => Err(error),
    }
}

fn has_value(path: &Path, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim_end() == value)
}

/// Whether the kernel has IPv6 at all (`ipv6.disable=1` on its command line takes it away).
pub(crate) fn has_ipv6() -> bool {
    path("net/ipv6").exists()
}

/// A procfs of our own, for the variables of new network namespaces.
///
/// The kernel remembers the directories of all namespaces that were looked at through one mounted procfs under one
/// hash, and goes through them one by one (`proc_sys_compare`, fs/proc/proc_sysctl.c): with 1,000 containers, opening
/// one file takes a millisecond instead of 20 µs. One that only this process uses remembers nobody else's.
#[derive(Debug, Default)]
pub(crate) struct OwnProc {
    mount: Option<OwnedFd>,
    uses: u32,
}

/// After so many uses another one is made, which remembers nothing yet.
const USES: u32 = 64;

impl OwnProc {
    /// Writes the variable `key` of the calling thread's network namespace.
    pub(crate) fn write(&mut self, key: &str, value: &str) -> Result<(), SysctlError> {
        match self.path(key) {
            Some(path) => write_file(&path, value).map_err(|source| SysctlError {
                doing: "write",
                key: key.to_owned(),
                source,
            }),
            None => write(key, value),
        }
    }

    /// Reads the variable `key` of the calling thread's network namespace; `None` if there is none of that name.
    pub(crate) fn read(&mut self, key: &str) -> Result<Option<String>, SysctlError> {
        match self.path(key) {
            Some(path) => read_file(&path, key),
            None => read(key),
        }
    }

    /// Gives it up, unmounted as soon as it is closed, which the kernel takes some milliseconds for.
    pub(crate) fn take_mount(&mut self) -> Option<OwnedFd> {
        self.uses = 0;
        self.mount.take()
    }

    /// Where the variable is; `None` where we cannot have a procfs of our own (before Linux 5.2), and share the
    /// system's.
    fn path(&mut self, key: &str) -> Option<PathBuf> {
        if self.uses.is_multiple_of(USES) {
            self.mount = mount_proc().ok();
        }
        self.uses += 1;
        let mount = self.mount.as_ref()?.as_raw_fd();
        Some(PathBuf::from(format!("/proc/self/fd/{mount}/sys/{key}")))
    }
}

/// Mounts a procfs nowhere (fsopen(2), fsconfig(2), fsmount(2)).
fn mount_proc() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_int = 1;
    const FSCONFIG_CMD_CREATE: libc::c_int = 6;
    const FSMOUNT_CLOEXEC: libc::c_int = 1;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the text is a constant with its closing zero.
    let opened = unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), FSOPEN_CLOEXEC) };
    let context = own(opened)?;
    // SAFETY: this command takes neither key nor value.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            none,
            none,
            0,
        )
    };
    Errno::result(created)?;
    // SAFETY: the call takes no pointers.
    own(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })
}

/// The descriptor that a system call has opened.
fn own(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = Errno::result(result)?;
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_cannot_be_written_may_be_right_already() {
        // Read-only for everybody, as /proc/sys is within containers.
        unshare_with_read_only_proc(|| {
            let key = "net/ipv4/ip_forward";
            let value = read(key).unwrap().unwrap();
            write(key, &value).unwrap();
            let other = if value == "0" { "1" } else { "0" };
            let refused = write(key, other).unwrap_err();
            assert_eq!(refused.source.kind(), io::ErrorKind::ReadOnlyFilesystem);
        });
    }

    /// Runs `test` on a thread with mounts and network of its own, where `/proc/sys` is read-only.
    fn unshare_with_read_only_proc(test: impl FnOnce() + Send) {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let on_thread = || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
            let flags = [
                ("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE),
                ("/proc/sys", MsFlags::MS_BIND),
                ("/proc/sys", MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY),
            ];
            for (path, flags) in flags {
                mount(Some(path), path, None::<&str>, flags, None::<&str>).unwrap();
            }
            test();
        };
        std::thread::scope(|scope| scope.spawn(on_thread).join().unwrap());
    }
}
