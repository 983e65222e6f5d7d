//! The shim: one small process per running container. It is the container's parent, writes its log, serves attached
//! clients, and cleans up when the container ends.
//!
//! A launcher spawns it early, prepares the container meanwhile, and then sends a [`StartRequest`]. The connection
//! between the two is the launcher's own attachment from then on; others attach by the socket in the run directory.

pub mod attach;
mod clients;
mod log;
pub mod loopback;
mod outbox;
pub mod protocol;
mod server;
mod stdio;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use self::attach::Attachment;
use self::clients::Client;
use self::log::ContainerLog;
use self::protocol::{ExitStatus, Frame, FrameReader, StartRequest, StartResult};
use self::server::Server;
use self::stdio::Pending;
use crate::containers::paths::ContainerPaths;
use crate::private;
use crate::runtime::{self, Runtime, RuntimeError, console};
use crate::sealed;
use crate::signals::ProcessRef;

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The shim was there, and the runtime said no.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The shim itself does not run or does not answer.
    #[error("cannot {action} the container's shim: {source}")]
    Shim {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// How a shim's work ended; given to the closure of [`main`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container ran and ended: take back its network, root file system and record.
    Exited(ExitStatus),
    /// The launcher died before the container ran: take back whatever the launcher had made.
    Abandoned,
}

/// A shim that waits for its [`StartRequest`].
#[derive(Debug)]
pub struct Launcher {
    socket: UnixStream,
    child: Child,
}

/// Starts `command` as a shim: its standard input becomes the connection, its standard error goes to
/// [`ContainerPaths::shim_log`]. Do this early: it costs nothing to let it wait.
///
/// # Errors
/// When the program cannot be run.
pub fn spawn(mut command: Command, paths: &ContainerPaths) -> Result<Launcher, ShimError> {
    let failed = |source| ShimError::Shim {
        action: "start",
        source,
    };
    paths.make_run_dir().map_err(failed)?;
    let log = private::options()
        .create(true)
        .append(true)
        .open(paths.shim_log())
        .map_err(failed)?;
    let (socket, theirs) = UnixStream::pair().map_err(failed)?;
    let child = command
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    Ok(Launcher { socket, child })
}

impl Launcher {
    /// The shim's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Creates and starts the container. When this returns, the command runs; the attachment is there when the request
    /// asked for it.
    ///
    /// # Errors
    /// [`ShimError::Runtime`], with the exit status for the user, when the container does not start. Nothing of the
    /// container is left then; what the launcher has made, it takes back.
    pub fn start(self, request: &StartRequest) -> Result<(ProcessRef, Option<Attachment>), ShimError> {
        let failed = |action| move |source| ShimError::Shim { action, source };
        protocol::send(&self.socket, &Frame::Start(Box::new(request.clone()))).map_err(failed("ask"))?;
        let mut reader = FrameReader::default();
        match reader.wait(&self.socket).map_err(failed("hear"))? {
            Some(Frame::Started(result)) => {
                let init = result?;
                let attach = |streams| Attachment::new(self.socket, reader, streams);
                Ok((init, request.attach.map(attach)))
            }
            _ => Err(failed("hear")(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Ends a shim that is not needed after all, because the preparation has failed; its closure is not called.
    pub fn cancel(mut self) {
        // It has done nothing yet: killing it leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole life of a shim process, whose standard input is the connection to its launcher. `on_start` is called when
/// the container runs, before the launcher is told; if it fails, the container has not started. `on_end` is called
/// once, when the container has ended, or its launcher died before it could start, and before attached clients are
/// told. Call it first thing: descriptors that are open are closed. Nothing that is called here, or was before, may
/// start threads.
///
/// # Errors
/// When the shim cannot do its work; the launcher knows if it can be told.
pub fn main(
    on_start: impl FnOnce(ProcessRef) -> Result<(), String>,
    on_end: impl FnOnce(Outcome),
) -> Result<(), ShimError> {
    let failed = |action| move |source| ShimError::Shim { action, source };
    let program = sealed::ensure().map_err(failed("seal"))?;
    let launcher = take_launcher(program.as_ref()).map_err(failed("connect"))?;
    let signals = become_shim().map_err(failed("set up"))?;
    let mut reader = FrameReader::default();
    let Ok(Some(Frame::Start(request))) = reader.wait(&launcher) else {
        on_end(Outcome::Abandoned);
        return Ok(());
    };
    let mut runtime = runtime::of_container(&request.paths, request.runtime.as_deref());
    let (init, mut server) = match start(&request, runtime.as_mut(), signals, on_start) {
        Ok(started) => started,
        Err(error) => {
            if protocol::send(&launcher, &Frame::Started(Err(error))).is_err() {
                on_end(Outcome::Abandoned);
            }
            return Ok(());
        }
    };
    // Before the launcher says that the container runs: its clients may come at once.
    server
        .relay(&request.relays)
        .iter()
        .for_each(|warning| complain(warning));
    welcome(&mut server, launcher, init, &request);
    drop(request);
    give_memory_back();
    let status = server.run().map_err(failed("run"))?;
    // The ports are free before the records say so.
    server.loopback = None;
    if let Err(error) = runtime.delete() {
        complain(&error);
    }
    on_end(Outcome::Exited(status));
    server.dismiss(status).map_err(failed("end"))
}

/// The launcher's socket, which is our standard input, out of the container's way. Whatever else the launcher has had
/// open, by mistake or from its own caller (a pipe, a lock), must not stay open as long as the container runs.
fn take_launcher(program: Option<&OwnedFd>) -> io::Result<UnixStream> {
    let kept = program.map_or(2, |fd| fd.as_raw_fd() as libc::c_uint);
    for (first, last) in [(3, kept - 1), (kept + 1, libc::c_uint::MAX)] {
        // SAFETY: this is the first thing that the process does; nothing else in it owns a descriptor above standard
        // error.
        if first <= last && unsafe { libc::close_range(first, last, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}

/// Leaves the launcher's session, adopts the container's orphans, and turns signals into something to read. Those that
/// end sessions and machines are held back for ever: the shim ends when its container has.
fn become_shim() -> io::Result<SignalFd> {
    // A shim that a shell has started in a session of its own is its leader already.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::chdir(c"/")?;
    let child = SigSet::from_iter([Signal::SIGCHLD]);
    let ends = [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
    ];
    SigSet::from_iter(ends).thread_block()?;
    Ok(SignalFd::with_flags(
        &child,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// Creates and starts the container; on failure nothing of it is left.
fn start(
    request: &StartRequest,
    runtime: &mut dyn Runtime,
    signals: SignalFd,
    on_start: impl FnOnce(ProcessRef) -> Result<(), String>,
) -> Result<(ProcessRef, Server), RuntimeError> {
    let result = try_start(request, runtime, signals).and_then(|(init, server)| {
        on_start(init).map_err(|reason| RuntimeError::failed("record", reason))?;
        Ok((init, server))
    });
    if result.is_err()
        && let Err(error) = runtime.delete()
    {
        complain(&error);
    }
    result
}

fn try_start(
    request: &StartRequest,
    runtime: &mut dyn Runtime,
    signals: SignalFd,
) -> Result<(ProcessRef, Server), RuntimeError> {
    let failed = |error: io::Error| RuntimeError::failed("create", error);
    let paths = &request.paths;
    let log = ContainerLog::open(&paths.log()).map_err(failed)?;
    let listener = listen(paths).map_err(failed)?;
    let (pending, theirs) = Pending::new(request, &paths.run_dir()).map_err(failed)?;
    let pid = runtime.create(theirs)?;
    let stdio = pending.ready().map_err(failed)?;
    let init = ProcessRef::of(pid.as_raw()).map_err(failed)?;
    runtime.start()?;
    let server = Server {
        init: Pid::from_raw(init.pid),
        stdio,
        log,
        listener,
        signals,
        clients: Vec::new(),
        overflow: paths.state_dir(),
        buffer: Vec::new(),
        loopback: None,
    };
    Ok((init, server))
}

/// The socket of an earlier run stays behind, refusing connections, until the container runs again or is removed.
fn listen(paths: &ContainerPaths) -> io::Result<UnixListener> {
    let socket = paths.attach_socket();
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => console::bind(&socket),
    }
}

/// Tells the launcher that the container runs; it becomes the first client if it wants to.
fn welcome(server: &mut Server, launcher: UnixStream, init: ProcessRef, request: &StartRequest) {
    let started: StartResult = Ok(init);
    // A launcher that is gone has started a container all the same.
    let told = protocol::send(&launcher, &Frame::Started(started));
    let streams = request.attach.unwrap_or_default();
    if let (Ok(()), Some(_), Ok(mut client)) = (
        told,
        request.attach,
        Client::new(launcher, streams, &request.paths.state_dir()),
    ) {
        client.owns_stdin = streams.stdin && !request.tty;
        server.clients.push(client);
    }
}

/// What creating the container has needed, running it does not.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only gives free pages back to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Standard error is the shim's log.
#[expect(clippy::print_stderr)]
fn complain(error: &dyn std::fmt::Display) {
    eprintln!("{error}");
}
