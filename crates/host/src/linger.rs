//! Ending without waiting for the kernel's cleaning.
//!
//! When elements were deleted, closing the nfnetlink socket waits about 15 ms for an RCU grace period
//! (`nft_rcv_nl_event`, net/netfilter/nf_tables_api.c), and closing a procfs of our own, which unmounts it, as long
//! (`namespace_unlock`, fs/namespace.c); also when it is the process's end that closes them. A process that is about to
//! end leaves them to a small child instead, which nobody waits for.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use crate::kernel::Kernel;

impl Kernel {
    /// Gives up sockets and mounts. For a process that ends right afterwards: its end is not held up, and the child
    /// that closes them is not its zombie for long.
    pub fn leave(mut self) {
        let lingering = self.take_lingering();
        if !lingering.is_empty() {
            // Where no child can be made, closing them here waits, and that is all.
            let _ = leave_to_child(lingering);
        }
    }
}

/// Makes the child, and closes the descriptors here. The child ends when what is returned is closed, which the end of
/// this process sees to.
fn leave_to_child(lingering: Vec<OwnedFd>) -> nix::Result<(Pid, OwnedFd)> {
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
    let mut kept: Vec<RawFd> = lingering.iter().chain([&read_end]).map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    // SAFETY: the child only makes system calls (`hold`), so it does not matter which locks other threads held.
    match unsafe { fork() }? {
        ForkResult::Child => hold(&kept, read_end.as_raw_fd()),
        ForkResult::Parent { child } => Ok((child, write_end)),
    }
}

/// In the child: holds the descriptors `kept`, which are in order, until the parent has closed its end of `parent`, and
/// nothing else of the parent's.
fn hold(kept: &[RawFd], parent: RawFd) -> ! {
    let mut first = 0;
    for end in kept.iter().map(|fd| *fd as u32).chain([u32::MAX]) {
        if first < end {
            // SAFETY: the call takes no pointers, and no value here owns any of the descriptors.
            unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
        }
        first = end.saturating_add(1);
    }
    // SAFETY: the path is a constant text with its closing zero.
    unsafe { libc::chdir(c"/".as_ptr()) };
    let mut byte = [0u8];
    loop {
        // SAFETY: the buffer is one byte long and outlives the call.
        let length = unsafe { libc::read(parent, byte.as_mut_ptr().cast(), 1) };
        if length >= 0 || Errno::last() != Errno::EINTR {
            break;
        }
    }
    // SAFETY: the call takes no pointers and does not return.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Socket, Subsystem};
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::io::Read;
    use std::os::fd::FromRawFd;
    use std::path::Path;

    /// Above what tests open that run side by side, below what a process may open.
    const HIGHEST: RawFd = 900;

    #[test]
    fn the_child_holds_the_socket_and_nothing_else() {
        // A pipe that the child inherits, as a caller's standard output is. Its number is the highest, as others are
        // open beside this test, so it is the last that the child closes.
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let highest = fcntl(&write_end, FcntlArg::F_DUPFD_CLOEXEC(HIGHEST)).unwrap();
        drop(write_end);
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let inherited = unsafe { OwnedFd::from_raw_fd(highest) };
        let socket = Socket::open(Subsystem::Netfilter).unwrap();
        let (child, parents_end) = leave_to_child(vec![socket.into()]).unwrap();
        drop(inherited);
        // Ends only when the child has closed its copy, so what follows sees it when it is done with closing.
        std::fs::File::from(read_end).read_to_end(&mut Vec::new()).unwrap();
        let open = std::fs::read_dir(format!("/proc/{child}/fd")).unwrap().count();
        assert!(open <= 2, "{open}");
        drop(parents_end);
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        assert!(!Path::new(&format!("/proc/{child}")).exists());
    }
}
