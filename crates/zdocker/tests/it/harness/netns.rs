//! Network namespaces, entered by a thread of their own, so that the test's own thread never changes its namespace.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

/// A network namespace; it lives at least as long as this value.
#[derive(Clone)]
pub(crate) struct NetNs(Arc<OwnedFd>);

impl NetNs {
    /// A new one, with `lo` up and interfaces that make no IPv6 addresses on their own.
    pub(crate) fn new() -> Self {
        let netns = thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                NetNs::open("/proc/thread-self/ns/net")
            });
            made.join().unwrap()
        });
        netns.ip("link set lo up");
        netns
    }

    /// The one behind a file such as `/proc/PID/ns/net`.
    pub(crate) fn open(path: &str) -> Self {
        NetNs(Arc::new(
            File::open(path).unwrap_or_else(|e| panic!("{path}: {e}")).into(),
        ))
    }

    /// Runs `work` in this namespace. A socket made there stays there, whoever uses it.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&*self.0, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Makes `command` run in this namespace.
    pub(crate) fn prepare(&self, command: &mut Command) {
        let fd = Arc::clone(&self.0);
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || Ok(setns(&*fd, CloneFlags::CLONE_NEWNET)?)) };
    }

    /// A path by which programs of the machine's own process namespace can name this namespace.
    pub(crate) fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs a program of the machine in this namespace, feeds it `input`, and returns what it printed.
    pub(crate) fn output(&self, program: &str, args: &[&str], input: &str) -> String {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.prepare(&mut command);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {errors}\n{input}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ip` commands, one a line and without the word `ip`.
    pub(crate) fn ip(&self, commands: &str) {
        self.output("ip", &["-batch", "-"], commands);
    }

    /// Whether `ip` commands, one a line, all succeed.
    pub(crate) fn try_ip(&self, commands: &str) -> bool {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.prepare(&mut command);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run ip: {e}"));
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    /// What an `ip -json` command shows.
    pub(crate) fn ip_json(&self, args: &[&str]) -> Vec<Value> {
        let text = self.output("ip", &[&["-json"], args].concat(), "");
        if text.trim().is_empty() {
            return Vec::new();
        }
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("ip -json {args:?}: {e}: {text}"))
    }

    /// Runs an `nft` script.
    pub(crate) fn nft(&self, script: &str) {
        self.output("nft", &["-f", "-"], script);
    }
}
