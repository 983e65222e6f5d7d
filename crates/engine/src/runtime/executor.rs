//! How the embedded runtime runs the command of a container, and tells us when it cannot.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libcontainer::oci_spec::runtime::{LinuxCapabilities, Process, Spec};
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::fs::{Access, access};
use rustix::pipe::PipeFlags;

use super::RuntimeError;
use super::filter::Filter;

/// How many signals there are (asm-generic/signal.h).
const SIGNALS: libc::c_int = 64;

/// Replaces the container's init process, or an exec'd one, by the user's command.
#[derive(Clone)]
pub(super) struct CommandExecutor {
    /// Where a failure is written; closed by the kernel when the command runs.
    report: Arc<OwnedFd>,
    /// What the process takes on last.
    confinement: Confinement,
}

/// The restrictions that a container's process takes on last. libcontainer would compile the filter anew for each
/// container, and forget it for each process that enters one.
#[derive(Clone, Default)]
pub(super) struct Confinement {
    pub(super) filter: Option<Filter>,
    pub(super) capabilities: LinuxCapabilities,
}

/// The reading end of a [`CommandExecutor`]'s report.
pub(super) struct Report(File);

impl CommandExecutor {
    pub(super) fn new(confinement: Confinement) -> io::Result<(Self, Report)> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Ok((
            Self {
                report: Arc::new(writer),
                confinement,
            },
            Report(File::from(reader)),
        ))
    }

    fn fail(&self, command: &str, error: &io::Error) -> String {
        let error = RuntimeError::from_exec(command, error);
        // When this fails nobody reads the report, and libcontainer's own message is all there is.
        if let Ok(text) = serde_json::to_vec(&error) {
            let _ = rustix::io::write(&*self.report, &text);
        }
        error.to_string()
    }

    fn confine(&self) -> Result<(), ExecutorError> {
        let Confinement { filter, capabilities } = &self.confinement;
        let other = |what: &str, error: &dyn std::fmt::Display| {
            ExecutorError::Other(format!("cannot {what} the process: {error}"))
        };
        if let Some(filter) = filter {
            filter
                .load()
                .map_err(|error| other("filter the system calls of", &error))?;
        }
        let syscall = libcontainer::syscall::syscall::create_syscall();
        libcontainer::capabilities::drop_privileges(capabilities, syscall.as_ref())
            .map_err(|error| other("take capabilities from", &error))
    }
}

impl Report {
    /// Waits until the command runs, or says why it does not.
    pub(super) fn wait(mut self) -> Result<(), RuntimeError> {
        let mut text = Vec::new();
        self.0
            .read_to_end(&mut text)
            .map_err(|error| RuntimeError::failed("start", error))?;
        if text.is_empty() { Ok(()) } else { Err(parse(&text)) }
    }

    /// The failure that is there already, if any.
    pub(super) fn failure(mut self) -> Option<RuntimeError> {
        rustix::io::ioctl_fionbio(&self.0, true).ok()?;
        // One report is written at once, and is shorter than what a pipe never tears apart.
        let mut text = [0; libc::PIPE_BUF];
        let length = self.0.read(&mut text).ok().filter(|length| *length > 0)?;
        Some(parse(&text[..length]))
    }
}

fn parse(report: &[u8]) -> RuntimeError {
    serde_json::from_slice(report).unwrap_or_else(|error| RuntimeError::failed("start", error))
}

impl Executor for CommandExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let invalid = ExecutorValidationError::ArgValidationError;
        let (process, command) = command(spec).ok_or_else(|| invalid("there is no command".into()))?;
        locate(command, process).map_err(|error| invalid(self.fail(command, &error)))?;
        Ok(())
    }

    /// The environment is given to execve(2) as it is in the specification; libcontainer's own would be in random
    /// order.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (process, command) = command(spec).ok_or(ExecutorError::InvalidArg)?;
        self.confine()?;
        let error = reset_signals().and_then(|()| execute(command, process)).err();
        let error = error.unwrap_or_else(|| io::Error::other("execve returned"));
        Err(ExecutorError::Other(self.fail(command, &error)))
    }
}

fn command(spec: &Spec) -> Option<(&Process, &str)> {
    let process = spec.process().as_ref()?;
    Some((process, process.args().as_ref()?.first()?))
}

/// Every signal as a new process expects it: the shim blocks some, Rust ignores SIGPIPE, and callers may ignore any.
fn reset_signals() -> io::Result<()> {
    for signal in 1..=SIGNALS {
        // SAFETY: all zeroes are the kernel's `struct sigaction` of the default action, and 8 the size of its mask;
        // the C library's own function refuses some signals. SIGKILL and SIGSTOP are refused, being default for ever.
        unsafe {
            let default = [0u64; 4];
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &default,
                std::ptr::null::<u64>(),
                8usize,
            );
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

fn execute(command: &str, process: &Process) -> io::Result<()> {
    let program = locate(command, process)?;
    let program = CString::new(program.into_os_string().into_encoded_bytes())?;
    let strings = |list: &Option<Vec<String>>| {
        list.iter()
            .flatten()
            .map(|text| CString::new(text.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    nix::unistd::execve(&program, &strings(process.args())?, &strings(process.env())?)?;
    Ok(())
}

/// The file that `command` means: itself when it has a slash, else the first executable of that name in `PATH`.
fn locate(command: &str, process: &Process) -> io::Result<PathBuf> {
    if command.contains('/') {
        return check(Path::new(command)).map(|()| PathBuf::from(command));
    }
    let path = process
        .env()
        .iter()
        .flatten()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "executable file not found in $PATH");
    for directory in path.unwrap_or_default().split(':') {
        // An empty entry is the working directory (execvp(3)).
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(command);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

fn check(program: &Path) -> io::Result<()> {
    if program.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(access(program, Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use libcontainer::oci_spec::runtime::ProcessBuilder;

    use super::*;

    #[test]
    fn a_command_is_found_like_a_shell_does() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        let file = |path: PathBuf, mode| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        file(first.join("plain"), 0o644);
        file(first.join("both"), 0o644);
        file(second.join("both"), 0o700);
        fs::create_dir(second.join("dir")).unwrap();
        let path = format!("PATH={}:{}", first.display(), second.display());
        let process = ProcessBuilder::default().env(vec![path]).build().unwrap();
        let find = |command: &str| locate(command, &process).map_err(|error| error.kind());
        assert_eq!(find("both"), Ok(second.join("both")));
        assert_eq!(find("missing"), Err(io::ErrorKind::NotFound));
        assert_eq!(find("dir"), Err(io::ErrorKind::NotFound));
        assert_eq!(find("plain"), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(
            find(second.join("dir").to_str().unwrap()),
            Err(io::ErrorKind::IsADirectory)
        );
        assert_eq!(find("/no/such/file"), Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_report_is_read_back_with_its_kind() {
        let (executor, report) = CommandExecutor::new(Confinement::default()).unwrap();
        executor.fail("sh", &io::ErrorKind::NotFound.into());
        let failure = report.failure().unwrap();
        assert_eq!(
            (failure.exit_status(), failure.to_string().as_str()),
            (127, "\"sh\": entity not found")
        );

        let (executor, report) = CommandExecutor::new(Confinement::default()).unwrap();
        assert_eq!(report.failure(), None);
        let (other, report) = CommandExecutor::new(Confinement::default()).unwrap();
        drop((executor, other));
        report.wait().unwrap();
    }
}
