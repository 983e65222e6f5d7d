//! Signals to a container's init process, and waiting for its end, without ever touching a recycled process id.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::PidfdFlags;
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same id by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The process id, in the namespace of this host.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    pub start_time: u64,
}

/// Why a signal could not be sent, or a process not waited for.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// Neither a name nor a number of a signal.
    #[error("invalid signal: {0}")]
    Invalid(String),
    /// The kernel refused.
    #[error("cannot {action} process {pid}: {source}")]
    Process {
        /// What was being done.
        action: &'static str,
        /// To which process.
        pid: i32,
        /// Why it failed.
        source: io::Error,
    },
}

/// A signal number of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal(i32);

impl Signal {
    /// The polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// The end that cannot be refused.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// Parses what Docker accepts: `KILL`, `SIGKILL`, `kill`, `9`, `RTMIN+3`.
    ///
    /// # Errors
    /// [`SignalError::Invalid`] for anything else, 0 included.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        let invalid = || SignalError::Invalid(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number).ok_or_else(invalid);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(number) = real_time(name) {
            return Self::from_number(number).ok_or_else(invalid);
        }
        let name = match name {
            "POLL" => "IO",
            "CLD" => "CHLD",
            "IOT" => "ABRT",
            other => other,
        };
        let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().map_err(|_| invalid())?;
        Ok(Self(signal as i32))
    }

    /// The signal of that number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=libc::SIGRTMAX()).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// `RTMIN`, `RTMIN+N`, `RTMAX`, `RTMAX-N` as a number, which may be out of range.
fn real_time(name: &str) -> Option<i32> {
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset = if rest.is_empty() {
            0
        } else {
            rest.strip_prefix('+')?.parse::<u8>().ok()?
        };
        return Some(libc::SIGRTMIN() + i32::from(offset));
    }
    let rest = name.strip_prefix("RTMAX")?;
    let offset = if rest.is_empty() {
        0
    } else {
        rest.strip_prefix('-')?.parse::<u8>().ok()?
    };
    Some(libc::SIGRTMAX() - i32::from(offset))
}

impl From<zdocker_host::process::ProcessId> for ProcessRef {
    fn from(id: zdocker_host::process::ProcessId) -> Self {
        ProcessRef {
            pid: id.pid,
            start_time: id.start_time,
        }
    }
}

impl From<ProcessRef> for zdocker_host::process::ProcessId {
    fn from(process: ProcessRef) -> Self {
        Self {
            pid: process.pid,
            start_time: process.start_time,
        }
    }
}

impl ProcessRef {
    /// The process that has the id `pid` now.
    ///
    /// # Errors
    /// When there is no such process, or `/proc` cannot be read.
    pub fn of(pid: i32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command name, in parentheses, may itself contain spaces and parentheses.
        let start_time = stat
            .rsplit_once(") ")
            .and_then(|(_, fields)| fields.split(' ').nth(19)?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has an unknown format")))?;
        Ok(Self { pid, start_time })
    }

    /// Whether the process still exists (a zombie counts as gone).
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn is_alive(self) -> Result<bool, SignalError> {
        Ok(!self.wait(Some(Duration::ZERO))?)
    }

    /// A file descriptor that stands for the process, `None` when it is gone.
    pub(crate) fn open(self) -> Result<Option<OwnedFd>, SignalError> {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        let fd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(self.error("open", error.into())),
        };
        // Only a descriptor that is held keeps the id from being given away again: compare after opening.
        Ok(Self::of(self.pid).is_ok_and(|now| now == self).then_some(fd))
    }

    /// Sends `signal`; false when the process is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn send(self, signal: Signal) -> Result<bool, SignalError> {
        match self.open()? {
            Some(pidfd) => self.send_to(&pidfd, signal),
            None => Ok(false),
        }
    }

    fn send_to(self, pidfd: &OwnedFd, signal: Signal) -> Result<bool, SignalError> {
        let (fd, no_info) = (pidfd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open; a null siginfo means that the kernel fills it in like kill(2).
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.0, no_info, 0u32) };
        match Errno::result(sent) {
            Ok(_) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => Err(self.error("signal", error.into())),
        }
    }

    /// Waits until the process has ended, `timeout` at the longest; false when time ran out.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn wait(self, timeout: Option<Duration>) -> Result<bool, SignalError> {
        match self.open()? {
            Some(pidfd) => self.wait_for(&pidfd, timeout),
            None => Ok(true),
        }
    }

    fn wait_for(self, pidfd: &OwnedFd, timeout: Option<Duration>) -> Result<bool, SignalError> {
        let deadline = timeout.and_then(|time| Instant::now().checked_add(time));
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            // Rounded up, so that the last millisecond is not spun away; longer than poll can say is for ever.
            let millis = left.map(|left| left.as_micros().div_ceil(1000));
            let wait = millis
                .and_then(|millis| PollTimeout::try_from(millis).ok())
                .unwrap_or(PollTimeout::NONE);
            match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], wait) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(self.error("wait for", error.into())),
            }
        }
    }

    /// Sends `signal`, and kills the process when it has not ended `grace` later. Returns when it has ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop(self, signal: Signal, grace: Duration) -> Result<(), SignalError> {
        let Some(pidfd) = self.open()? else {
            return Ok(());
        };
        if self.send_to(&pidfd, signal)? && !self.wait_for(&pidfd, Some(grace))? {
            self.send_to(&pidfd, Signal::KILL)?;
        }
        self.wait_for(&pidfd, None).map(|_| ())
    }

    fn error(self, action: &'static str, source: io::Error) -> SignalError {
        SignalError::Process {
            action,
            pid: self.pid,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper(script: &str) -> (Child, ProcessRef) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first byte says that the shell has set its traps.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let process = ProcessRef::of(child.id() as i32).unwrap();
        (child, process)
    }

    #[test]
    fn names_and_numbers_of_signals() {
        let check = |text: &str, number| assert_eq!(Signal::parse(text).unwrap().number(), number);
        check("KILL", 9);
        check("sigkill", 9);
        check("9", 9);
        check("SIGIOT", 6);
        check("winch", 28);
        check("RTMIN", libc::SIGRTMIN());
        check("SIGRTMIN+3", libc::SIGRTMIN() + 3);
        check("rtmax-1", libc::SIGRTMAX() - 1);
        for wrong in ["", "0", "-1", "65", "FOO", "RTMIN-1", "RTMAX+1", "RTMIN+99", "SIG"] {
            assert!(Signal::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_polite_process_ends_by_the_first_signal() {
        let (mut child, process) = sleeper("echo; exec sleep 100");
        process.stop(Signal::TERM, Duration::from_secs(60)).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(!process.send(Signal::TERM).unwrap());
        assert!(process.wait(None).unwrap());
    }

    #[test]
    fn a_deaf_process_is_killed_after_the_grace_period() {
        let (mut child, process) = sleeper("trap '' TERM; echo; while :; do sleep 100; done");
        process.stop(Signal::TERM, Duration::from_millis(100)).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_process_with_a_recycled_id_is_left_alone() {
        let (mut child, process) = sleeper("echo; exec sleep 100");
        let earlier = ProcessRef {
            start_time: process.start_time - 1,
            ..process
        };
        assert!(!earlier.send(Signal::KILL).unwrap());
        earlier.stop(Signal::KILL, Duration::ZERO).unwrap();
        assert!(process.is_alive().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn waiting_stops_when_the_time_is_over() {
        let (mut child, process) = sleeper("echo; exec sleep 100");
        assert!(!process.wait(Some(Duration::from_millis(20))).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
