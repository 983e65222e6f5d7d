//! `exec`: one more process in a running container.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{Process, Spec};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::containers::paths::ContainerPaths;
use crate::containers::user::{User, UserError};
use crate::oci::spec::{oci_user, override_environment};
use crate::rootfs::RootDir;
use crate::runtime::console::ConsoleSocket;
use crate::runtime::{self, ProcessStdio, RuntimeError};
use crate::signals::{ProcessRef, SignalError};
use crate::terminal::relay;

/// What the user asked to run.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// The command and its arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value` (`-e`), added to the container's own environment.
    pub env: Vec<String>,
    /// The working directory (`-w`), in place of the container's.
    pub cwd: Option<PathBuf>,
    /// `name|uid[:group|gid]` (`-u`), in place of the container's.
    pub user: Option<String>,
    /// Whether the process gets a terminal (`-t`).
    pub tty: bool,
    /// Whether our standard input is its standard input (`-i`).
    pub interactive: bool,
    /// Whether we do not wait for it (`-d`).
    pub detach: bool,
}

/// Why `exec` failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The process could not be run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The user is unknown in the container.
    #[error(transparent)]
    User(#[from] UserError),
    /// The container's init process could not be looked at.
    #[error(transparent)]
    Init(#[from] SignalError),
    /// The process could not be described.
    #[error("cannot describe the process: {0}")]
    Describe(#[from] OciSpecError),
    /// Something of our own failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl ExecError {
    /// The exit status of `exec`, as Docker's: 127, 126 or 125.
    pub fn exit_status(&self) -> i32 {
        match self {
            Self::Runtime(error) => error.exit_status(),
            Self::User(_) => 126,
            _ => 125,
        }
    }
}

/// Runs a process in the container whose init process is `init`, with our own standard streams, and returns its exit
/// status (0 with `detach`). Signals that end us do not end the process, as with Docker. Call it in a process with a
/// single thread that has begun with [`crate::sealed::ensure`].
///
/// # Errors
/// When the container is not running, or the process could not be run.
pub fn exec(
    paths: &ContainerPaths,
    runtime: Option<&Path>,
    init: ProcessRef,
    request: &ExecRequest,
) -> Result<i32, ExecError> {
    if !init.is_alive()? {
        return Err(ExecError::NotRunning(paths.id().to_owned()));
    }
    let failed = |action| move |source| ExecError::Io { action, source };
    let process = describe(paths, init, request)?;
    let mut runtime = runtime::of_container(paths, runtime);
    if !request.tty {
        let stdio = caller_stdio(request).map_err(failed("use the standard streams"))?;
        let pid = runtime.exec(&process, stdio)?;
        return if request.detach {
            Ok(0)
        } else {
            wait(pid).map_err(failed("wait for the process"))
        };
    }
    let name = format!("exec-{}.sock", std::process::id());
    let socket = ConsoleSocket::bind(&paths.run_dir(), &name).map_err(failed("make a terminal"))?;
    let stdio = ProcessStdio::Terminal {
        console_socket: socket.path().to_owned(),
    };
    let pid = runtime.exec(&process, stdio)?;
    let terminal = File::from(socket.receive().map_err(failed("get the terminal"))?);
    if request.detach {
        return Ok(0);
    }
    relay::run(&terminal, request.interactive).map_err(failed("use the terminal"))?;
    wait(pid).map_err(failed("wait for the process"))
}

/// The container's own process with what the request changes.
fn describe(paths: &ContainerPaths, init: ProcessRef, request: &ExecRequest) -> Result<Process, ExecError> {
    let spec = Spec::load(paths.bundle().join("config.json"))?;
    let mut process = spec.process().clone().unwrap_or_default();
    let mut env = process.env().clone().unwrap_or_default();
    if let Some(user) = &request.user {
        // The root as the container sees it, with its volumes.
        let root = RootDir::open(Path::new(&format!("/proc/{}/root", init.pid))).map_err(|source| ExecError::Io {
            action: "look into the container",
            source,
        })?;
        let user = User::find(user, &root)?;
        override_environment(&mut env, &[format!("HOME={}", user.home)]);
        process.set_user(oci_user(&user)?);
    }
    if request.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    override_environment(&mut env, &request.env);
    if let Some(cwd) = &request.cwd {
        process.set_cwd(cwd.clone());
    }
    process
        .set_args(Some(request.args.clone()))
        .set_env(Some(env))
        .set_terminal(Some(request.tty))
        .set_no_new_privileges(None);
    Ok(process)
}

fn caller_stdio(request: &ExecRequest) -> io::Result<ProcessStdio> {
    let null = || File::options().read(true).write(true).open("/dev/null");
    if request.detach {
        let (stdin, stdout, stderr) = (null()?.into(), null()?.into(), null()?.into());
        return Ok(ProcessStdio::Descriptors { stdin, stdout, stderr });
    }
    Ok(ProcessStdio::Descriptors {
        stdin: match request.interactive {
            true => io::stdin().as_fd().try_clone_to_owned()?,
            false => null()?.into(),
        },
        stdout: io::stdout().as_fd().try_clone_to_owned()?,
        stderr: io::stderr().as_fd().try_clone_to_owned()?,
    })
}

fn wait(pid: Pid) -> io::Result<i32> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
