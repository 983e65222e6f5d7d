//! The name server's process.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zdocker_engine::signals::{self, ProcessRef};

use super::Dns;
use crate::output;

/// The file in the server's directory that names its process.
pub(super) const PID_FILE: &str = "aardvark.pid";
/// How long a server may take to end.
const GRACE: Duration = Duration::from_secs(5);

impl Dns {
    /// Makes the running server read its files again, or starts one.
    pub(super) fn reload_or_start(&self) -> Result<()> {
        if self.rootless {
            self.end_stray()?;
        }
        match self.reload()? {
            Some(pid) => {
                self.warn_of_other_namespace(pid);
                Ok(())
            }
            None => self.start(),
        }
    }

    /// Makes the server read its files again, if it runs; which process it is.
    pub(super) fn reload(&self) -> Result<Option<Pid>> {
        let Some(pid) = self.running()? else { return Ok(None) };
        match kill(pid, Signal::SIGHUP) {
            Ok(()) => Ok(Some(pid)),
            Err(Errno::ESRCH) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to send SIGHUP to aardvark-dns (process {pid})")),
        }
    }

    /// The server's process.
    fn running(&self) -> Result<Option<Pid>> {
        let path = self.directory().join(PID_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("failed to get aardvark pid: {}", path.display())),
        };
        // A file that is damaged names nobody: a new server writes another.
        let Ok(pid) = text.trim().parse::<i32>() else {
            return Ok(None);
        };
        // The number may since have become another process's, whom SIGHUP would kill.
        let is_server = pid > 0 && serves(pid, &self.directory());
        Ok(is_server.then(|| Pid::from_raw(pid)))
    }

    /// Ends a server in another network namespace. A user's Podman has one at a time, which goes with its last
    /// container and comes anew with the next: a server in an earlier one serves nobody any more.
    fn end_stray(&self) -> Result<()> {
        let Some(pid) = self.running()?.filter(|pid| is_elsewhere(*pid)) else {
            return Ok(());
        };
        let context = || format!("failed to end aardvark-dns (process {pid}), which runs in another network namespace");
        match ProcessRef::of(pid.as_raw()) {
            Ok(server) => server.stop(signals::Signal::TERM, GRACE).with_context(context),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(context),
        }
    }

    /// Starts the server. It goes to the background by itself, after it listens.
    fn start(&self) -> Result<()> {
        let mut command = self.command(has_systemd());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let context = || format!("aardvark-dns failed to start ({})", self.program.display());
        let output = command.output().with_context(context)?;
        if !output.status.success() {
            match String::from_utf8_lossy(&output.stderr).trim() {
                "" => bail!("{}: {}, and no error message", context(), output.status),
                message => bail!("{}: {}: {message}", context(), output.status),
            }
        }
        Ok(())
    }

    /// The command that starts the server, by systemd or as our own child.
    pub(super) fn command(&self, by_systemd: bool) -> Command {
        let mut command = if by_systemd {
            // In a scope of its own it outlives the service that Podman is started by.
            let mut command = Command::new("systemd-run");
            command.args(["-q", "--scope"]);
            if self.rootless {
                command.arg("--user");
            }
            command.arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command
            .arg("--config")
            .arg(self.directory())
            .args(["-p", &self.port.to_string(), "run"]);
        command
    }

    /// A server in another network namespace, which another Podman may use, serves nobody here.
    fn warn_of_other_namespace(&self, pid: Pid) {
        if is_elsewhere(pid) {
            output::note(&format!(
                "warning: aardvark-dns (process {pid}) runs in another network namespace and resolves no names here; stop all \
                 containers, end it, remove {} and start them again",
                self.directory().display()
            ));
        }
    }
}

/// Whether a process is known to be in another network namespace.
fn is_elsewhere(pid: Pid) -> bool {
    let namespace = |process: String| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let (ours, theirs) = (namespace("thread-self".to_owned()), namespace(pid.to_string()));
    ours.is_some() && theirs.is_some() && ours != theirs
}

/// Whether a process is a name server for `directory`.
fn serves(pid: i32, directory: &Path) -> bool {
    let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
    arguments.contains(&directory.as_os_str().as_bytes()) && arguments.contains(&b"run".as_slice())
}

/// Whether the system was booted by systemd, and its program for scopes is there.
fn has_systemd() -> bool {
    let has_program =
        |path: &OsStr| std::env::split_paths(path).any(|directory| directory.join("systemd-run").exists());
    Path::new("/run/systemd/system").exists() && std::env::var_os("PATH").is_some_and(|path| has_program(&path))
}
