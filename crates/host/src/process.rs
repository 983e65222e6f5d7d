//! Who a process is, so that records can name it: a number alone is given again to another process.

use std::fs::{self, File};
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// A process, for as long as the machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc_pid_stat(5)).
    pub start_time: u64,
}

impl ProcessId {
    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        let pid = nix::unistd::getpid().as_raw();
        let stat = read_stat(pid)?;
        let (_, start_time) = state_and_start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(ProcessId { pid, start_time })
    }

    /// The process that has the number `pid` now; `None` if there is none.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        match read_stat(pid) {
            Ok(stat) => {
                let (_, start_time) = state_and_start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
                Ok(Some(ProcessId { pid, start_time }))
            }
            // ESRCH: it ended between opening and reading.
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the process still runs. One that has ended and was not waited for (a zombie) does not.
    ///
    /// # Errors
    /// When `/proc` cannot be read: then nothing is known.
    pub fn is_alive(&self) -> io::Result<bool> {
        match read_stat(self.pid) {
            Ok(stat) => {
                let (state, start_time) = state_and_start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
                Ok(start_time == self.start_time && !matches!(state, b'Z' | b'X'))
            }
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What `/proc/PID/stat` says, with one read: a list asks after each of its containers.
fn read_stat(pid: i32) -> io::Result<String> {
    // The line has 52 numbers and a name of at most 64 bytes.
    let mut line = [0; 2048];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut line)?;
    // Names are of any bytes; what is looked for stands behind them.
    Ok(String::from_utf8_lossy(&line[..length]).into_owned())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The state is field 3 and the start time field 22; field 2 is the name, which may hold blanks and brackets.
fn state_and_start_time(stat: &str) -> Option<(u8, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

/// Which boot this is: what is true only until the next one carries it (`/proc/sys/kernel/random/boot_id`, random(4)).
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim_end()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        assert_eq!(state_and_start_time(stat), Some((b'S', 987_654)));
        assert_eq!(state_and_start_time("42 (cut) S 1 2"), None);
    }

    #[test]
    fn the_living_and_the_dead() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive().unwrap());
        assert_eq!(ProcessId::of(own.pid).unwrap(), Some(own));
        let other = ProcessId {
            start_time: own.start_time + 1,
            ..own
        };
        assert!(!other.is_alive().unwrap());

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap().unwrap();
        assert!(id.is_alive().unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!id.is_alive().unwrap());
    }

    #[test]
    fn the_boot_has_a_name() {
        assert_eq!(boot_id().unwrap().len(), 36);
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
