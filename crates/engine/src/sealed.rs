//! This program in a form that nobody can write to.
//!
//! The process that becomes a container's, or enters one, is for a moment this program and visible in the container,
//! where `/proc/PID/exe` leads to the program's file on the host whatever the container's root is. If that file could
//! be opened for writing, a container could put its own code into it (CVE-2019-5736). So such a process runs from a
//! read-only mount of the file that belongs to it alone, or where there can be none, from a sealed copy in memory.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{CWD, MemfdFlags, SealFlags, StatVfsMountFlags};
use rustix::io::FdFlags;
use rustix::mount::OpenTreeFlags;

/// This program as the kernel shows it to itself.
const SELF: &str = "/proc/self/exe";

/// Where the kernel shows a process its descriptors, by number.
const DESCRIPTORS: &str = "/proc/self/fd/";

/// What [`program`] has made, open as long as this process lives.
static SEALED: OnceLock<OwnedFd> = OnceLock::new();

/// Makes this process run from the sealed program, from its start on if it does not yet: call it first thing. What is
/// returned is the mount that it runs from. Whoever closes a mount last waits for the kernel to dissolve it, for
/// milliseconds at times, so a process that can wait keeps it to its end, and the one that has made it need not.
///
/// # Errors
/// When there is neither a read-only mount nor a copy. The process must not go near a container then.
pub fn ensure() -> io::Result<Option<OwnedFd>> {
    if is_sealed(&File::open(SELF)?) {
        // Else it has the number of the descriptor that it was run from.
        rustix::thread::set_name(c"zdocker")?;
        return Ok(inherited());
    }
    let program = CString::new(program()?.into_os_string().into_vec())?;
    let args = std::env::args_os().map(|arg| CString::new(arg.into_vec()));
    let args = args.collect::<Result<Vec<_>, _>>()?;
    match nix::unistd::execv(&program, &args)? {}
}

/// The path at which this process, and a child of it until it runs another program, finds the sealed program to run.
///
/// # Errors
/// When there is neither a read-only mount nor a copy.
pub fn program() -> io::Result<PathBuf> {
    let own = File::open(SELF)?;
    if is_sealed(&own) {
        return Ok(PathBuf::from(SELF));
    }
    if SEALED.get().is_none() {
        // Of two threads here at once, the second's is dropped again.
        let _ = SEALED.set(read_only_mount(SELF).or_else(|_| copy(own))?);
    }
    match SEALED.get() {
        Some(fd) => Ok(PathBuf::from(format!("{DESCRIPTORS}{}", fd.as_raw_fd()))),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The descriptor that this process was run from: the kernel tells every program by which path it was run (`AT_EXECFN`,
/// getauxval(3)).
fn inherited() -> Option<OwnedFd> {
    // SAFETY: the value is null or points to a text with its closing zero, which is there as long as the process.
    let path = unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!path.is_null()).then(|| CStr::from_ptr(path))?
    };
    let number: RawFd = path.to_str().ok()?.strip_prefix(DESCRIPTORS)?.parse().ok()?;
    // SAFETY: it is only borrowed to be looked at; if it is closed, that fails.
    let found = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(number) }).ok()?;
    let own = rustix::fs::stat(SELF).ok()?;
    if number <= libc::STDERR_FILENO || (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino) {
        return None;
    }
    // SAFETY: this program was run from it, and this is called once, when nothing else in the process owns descriptors.
    let program = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&program, FdFlags::CLOEXEC).ok()?;
    Some(program)
}

fn is_sealed(program: &File) -> bool {
    rustix::fs::fstatvfs(program).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
        || rustix::fs::fcntl_get_seals(program).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

/// A read-only mount of the program that is at no place in the tree: nothing is copied, and pages in memory are shared
/// with everyone else who runs the program. Needs CAP_SYS_ADMIN and mount_setattr(2) (Linux 5.12).
fn read_only_mount(program: &str) -> io::Result<OwnedFd> {
    // Not closed when it is run, but by `inherited` then.
    let tree = rustix::mount::open_tree(CWD, program, OpenTreeFlags::OPEN_TREE_CLONE)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open, the path is a constant text with its closing zero, and the kernel reads as many
    // bytes of `attributes` as it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    match result {
        0 => Ok(tree),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A copy in memory that cannot be changed any more (memfd_create(2)).
fn copy(mut program: File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 there was no such flag, and every such file could be run.
    let memory = rustix::fs::memfd_create("zdocker", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("zdocker", flags))?;
    let mut file = File::from(memory);
    io::copy(&mut program, &mut file)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(file.as_fd(), seals)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_sealed_program_runs_and_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("true");
        fs::copy("/bin/true", &program).unwrap();
        let check = |sealed: OwnedFd, refused: i32| {
            let path = format!("/proc/self/fd/{}", sealed.as_raw_fd());
            assert!(Command::new(&path).status().unwrap().success());
            assert!(is_sealed(&File::open(&path).unwrap()));
            let error = OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|mut file| file.write_all(b"x"));
            assert_eq!(error.unwrap_err().raw_os_error(), Some(refused));
        };
        assert!(!is_sealed(&File::open(&program).unwrap()));
        check(read_only_mount(program.to_str().unwrap()).unwrap(), libc::EROFS);
        check(copy(File::open(&program).unwrap()).unwrap(), libc::EPERM);
    }
}
