//! Control groups: being quick about moving into one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow};

/// Where control groups are mounted (cgroups(7)).
const MOUNT: &str = "/sys/fs/cgroup";

/// Makes the kernel ready to move a process into another control group, without waiting for it.
///
/// The first move after a pause waits for an RCU grace period, about 10 ms, and those right after it do not
/// (`cgroup_threadgroup_rwsem`, kernel/cgroup/cgroup.c). So when a container is about to be started, "moving" this
/// process to where it is already lets that time pass while its network is made. Nothing depends on it.
pub(crate) fn expect_a_move() {
    let Some(file) = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| own_processes_file(&text))
    else {
        return;
    };
    // A process writing 0 moves itself. Nobody waits for the thread, and what it says does not matter.
    let warm_up = move || {
        OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut file| file.write_all(b"0"))
    };
    without_signals(|| drop(thread::Builder::new().name("expect-a-move".to_owned()).spawn(warm_up)));
}

/// Does `start` with all signals blocked, which a thread that it starts inherits: signals to the process then always go
/// to the calling thread, which knows what to do with them.
fn without_signals(start: impl FnOnce()) {
    if let Ok(before) = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        start();
        // It was the mask a moment ago, so it is a valid one.
        let _ = before.thread_set_mask();
    }
}

/// The `cgroup.procs` of the group that `text` (`/proc/self/cgroup`) says we are in: of cgroup2's hierarchy if it is
/// the only one, else of any of cgroup1's.
fn own_processes_file(text: &str) -> Option<PathBuf> {
    let hierarchies = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let (controllers, group) = hierarchies.max_by_key(|(controllers, _)| *controllers == "pids")?;
    let hierarchy = Path::new(MOUNT).join(controllers.trim_start_matches("name="));
    Some(hierarchy.join(group.trim_start_matches('/')).join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(own_processes_file(text).as_deref(), expected.map(Path::new), "{text}");
    }

    #[test]
    fn our_own_group_is_found_in_every_kind_of_hierarchy() {
        check(
            "0::/user.slice/a:b\n",
            Some("/sys/fs/cgroup/user.slice/a:b/cgroup.procs"),
        );
        check(
            "9:name=systemd:/\n8:pids:/x\n0::/\n",
            Some("/sys/fs/cgroup/pids/x/cgroup.procs"),
        );
        check("0::/\n", Some("/sys/fs/cgroup/cgroup.procs"));
        check("", None);
    }

    #[test]
    fn a_thread_takes_no_signals_from_the_one_that_starts_it() {
        let before = SigSet::thread_get_mask().unwrap();
        let mut thread = None;
        without_signals(|| thread = Some(thread::spawn(SigSet::thread_get_mask)));
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
        let mask = thread.unwrap().join().unwrap().unwrap();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGWINCH, Signal::SIGCHLD] {
            assert!(mask.contains(signal), "{signal}");
        }
    }
}
