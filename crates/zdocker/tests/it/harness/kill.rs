//! Commands that are killed at each step.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command::Output;
use super::feature::has_program;
use super::host::Host;
use super::snapshot::Snapshot;
use super::wait::until;

/// System calls by which a command changes the kernel's network, its namespaces and mounts, or starts a process.
pub(crate) const KERNEL: &str =
    "sendto,sendmsg,mount,umount2,unshare,setns,clone,clone3,fork,vfork,mkdir,unlink,rename";
/// System calls by which a command changes its records.
pub(crate) const RECORDS: &str = "pwrite64,fdatasync,ftruncate";

/// The words of `strace OPTIONS` that send the command after them a signal at its `number`th system call of those in
/// `calls`, and write what they see to `log`.
fn injecting(options: &[&str], (calls, number): (&str, usize), signal: &str, log: &Path) -> Vec<String> {
    let inject = format!("inject={calls}:signal={signal}:when={number}");
    let trace = format!("trace={calls}");
    let words = ["-qq", "-o", log.to_str().unwrap(), "-e", &trace, "-e", &inject];
    options.iter().copied().chain(words).map(str::to_owned).collect()
}

/// The words of `strace OPTIONS` that kill each process of the command after them before its `number`th system call of
/// those in `calls`.
pub(crate) fn killing((calls, number): (&str, usize)) -> Vec<String> {
    injecting(&["-f"], (calls, number), "KILL", Path::new("/dev/null"))
}

/// Runs `zdocker ARGS` and kills each of its processes before its `number`th system call of those in `calls`.
pub(crate) fn killed_at(host: &Host, at: (&str, usize), args: &str) -> Output {
    let words = killing(at).into_iter().chain(zdocker(args)).collect::<Vec<_>>();
    host.program("strace", &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The words of `zdocker ARGS`.
fn zdocker(args: &str) -> impl Iterator<Item = String> {
    [env!("CARGO_BIN_EXE_zdocker")]
        .into_iter()
        .chain(args.split_whitespace())
        .map(str::to_owned)
}

/// A command that stands still after a system call, and the tracer that stopped it.
pub(crate) struct Stopped {
    tracer: Child,
    command: Pid,
}

impl Stopped {
    /// Runs `zdocker ARGS` until its `number`th system call of those in `calls`, or its end: then there is none.
    pub(crate) fn at(host: &Host, at: (&str, usize), args: &str) -> Option<Self> {
        Self::of(host, at, |options| {
            let words: Vec<&str> = options.iter().map(String::as_str).collect();
            let mut strace = host.command("strace", &words);
            // Whoever the command started may outlive it, and keep what it was given open.
            strace.args(zdocker(args)).stdout(Stdio::null()).stderr(Stdio::null());
            host.spawn(&mut strace).unwrap()
        })
    }

    /// The same with `strace OPTIONS COMMAND` as `spawn` starts it.
    pub(crate) fn of(host: &Host, at: (&str, usize), spawn: impl FnOnce(&[String]) -> Child) -> Option<Self> {
        static STOPS: AtomicU32 = AtomicU32::new(0);
        let number = STOPS.fetch_add(1, Ordering::Relaxed);
        let log = host.scratch().join(format!("stopped-{number}"));
        // Between two system calls it is seen stopped for a moment, too; the tracer knows which stop is the one.
        let is_stopped = || fs::read_to_string(&log).is_ok_and(|seen| seen.contains("--- stopped by SIGSTOP ---"));
        let mut tracer = spawn(&injecting(&[], at, "STOP", &log));
        let mut ended = None;
        until("the command ends or is stopped", || {
            ended = tracer.try_wait().unwrap();
            ended.is_some() || is_stopped()
        });
        if ended.is_some() {
            return None;
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", tracer.id())).unwrap();
        let command = children.split_whitespace().next();
        let command = command.expect("what is stopped is its tracer's child").parse().unwrap();
        Some(Self {
            tracer,
            command: Pid::from_raw(command),
        })
    }

    /// Kills the command where it stands.
    pub(crate) fn kill(self) {
        kill(self.command, Signal::SIGKILL).unwrap();
        self.wait();
    }

    /// Waits until somebody has killed the command.
    pub(crate) fn wait(mut self) {
        self.tracer.wait().unwrap();
    }
}

/// Whether commands can be killed at all; if not, the test says so.
pub(crate) fn has_strace(host: &Host) -> bool {
    has_program(host, "strace")
}

/// Has `is_killed` kill a command at its first, then every `stride`th call of `calls`, until it says that the command
/// came to its end instead. After each the host must be as it was. How many were killed.
#[track_caller]
pub(crate) fn at_each_call(
    host: &Host,
    (calls, stride): (&str, usize),
    mut is_killed: impl FnMut((&str, usize)) -> bool,
) -> usize {
    let before = Snapshot::take(host);
    let mut kills = 0;
    for number in (1..).step_by(stride) {
        assert!(number < 500, "the command never gets to its end");
        let was_killed = is_killed((calls, number));
        before.assert_same(host);
        if !was_killed {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 2, "killed at {kills} of {calls} only");
    kills
}

/// Kills `command` at each call. Before each, `prepare` brings about what it works on; after each, `tidy` must bring
/// the host back to what it was. How many were killed.
#[track_caller]
pub(crate) fn killed_at_each(
    host: &Host,
    calls: (&str, usize),
    prepare: impl Fn(),
    command: &str,
    tidy: impl Fn(),
) -> usize {
    at_each_call(host, calls, |at| {
        prepare();
        let output = killed_at(host, at, command);
        tidy();
        output.status != 0
    })
}
