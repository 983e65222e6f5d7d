//! A throw-away host: namespaces that stand for a machine.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use tempfile::TempDir;

use super::command::Output;
use super::netns::NetNs;
use super::outside;
use super::wait::{PATIENCE, within};

/// A host with its own network, mounts, processes and control groups, and its own roots of zdocker.
///
/// All its processes are in one process namespace, so they end with it, whatever state the test left them in.
pub(crate) struct Host {
    /// The host's network; its interface `eth0` leads outside.
    pub(crate) net: NetNs,
    /// The outside world.
    pub(crate) outside: NetNs,
    /// The host's process 1: waits for the end of its input, so it also ends when the test process is killed.
    init: Child,
    mounts: Arc<OwnedFd>,
    cgroup: Arc<OwnedFd>,
    processes: OwnedFd,
    cgroups: ControlGroups,
    directory: TempDir,
}

impl Host {
    /// A new host, connected to a new outside world.
    pub(crate) fn new() -> Self {
        let net = NetNs::new();
        let outside = outside::connect_outside(&net);
        let directory = tempfile::Builder::new().prefix("zdocker-test-").tempdir().unwrap();
        let cgroups = make_cgroups();
        let init = start_init(&cgroups.0);
        cgroups.0.iter().for_each(|cgroup| delegate(cgroup));
        let namespace =
            |kind: &str| -> OwnedFd { File::open(format!("/proc/{}/ns/{kind}", init.id())).unwrap().into() };
        Host {
            net,
            outside,
            mounts: Arc::new(namespace("mnt")),
            cgroup: Arc::new(namespace("cgroup")),
            processes: namespace("pid"),
            cgroups,
            directory,
            init,
        }
    }

    /// Another host on the wire that leads outside.
    pub(crate) fn neighbour(&self) -> NetNs {
        outside::connect_neighbour(&self.outside)
    }

    /// The state root, with a space in its path.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("state root")
    }

    /// The run root.
    pub(crate) fn run_root(&self) -> PathBuf {
        self.directory.path().join("run root")
    }

    /// A directory for a test's own files, visible to the host by the same path.
    pub(crate) fn scratch(&self) -> PathBuf {
        let path = self.directory.path().join("scratch");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The host's directory of processes, as seen by the test.
    pub(crate) fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/proc", self.init.id()))
    }

    /// The host's mounts, in the form of proc_pid_mountinfo(5).
    pub(crate) fn mountinfo(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mountinfo", self.init.id())).unwrap()
    }

    /// The control groups that are the roots of the host's hierarchies.
    pub(crate) fn cgroups(&self) -> &[PathBuf] {
        &self.cgroups.0
    }

    /// A command to be run with [`Host::spawn`]; its standard streams are pipes.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("ZDOCKER_ROOT", self.root())
            .env("ZDOCKER_RUN_ROOT", self.run_root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.net.prepare(&mut command);
        let (mounts, cgroup) = (Arc::clone(&self.mounts), Arc::clone(&self.cgroup));
        // SAFETY: the closure makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                setns(&*cgroup, CloneFlags::CLONE_NEWCGROUP)?;
                Ok(setns(&*mounts, CloneFlags::CLONE_NEWNS)?)
            });
        }
        command
    }

    /// The command `zdocker ARGS`.
    pub(crate) fn zdocker_command(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_zdocker"), args)
    }

    /// Starts a command on this host.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // A thread that has chosen another process namespace for its children cannot start threads, so it is its own.
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.processes, CloneFlags::CLONE_NEWPID)?;
                command.spawn()
            });
            worker.join().unwrap()
        })
    }

    /// Runs a command on this host to its end.
    pub(crate) fn finish(&self, mut command: Command, input: &str) -> Output {
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let shown = show(&command);
        let child = self.spawn(&mut command).unwrap_or_else(|e| panic!("{shown}: {e}"));
        Output::collect(shown, child, input)
    }

    /// Runs a program on this host to its end.
    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Output {
        self.finish(self.command(program, args), "")
    }

    /// Runs `zdocker ARGS` to its end.
    pub(crate) fn zdocker(&self, args: &[&str]) -> Output {
        self.finish(self.zdocker_command(args), "")
    }

    /// Runs `zdocker ARGS` to its end with `input` at its standard input.
    pub(crate) fn zdocker_fed(&self, args: &[&str], input: &str) -> Output {
        self.finish(self.zdocker_command(args), input)
    }

    /// Runs `zdocker ARGS`, whose words are separated by spaces.
    pub(crate) fn z(&self, args: &str) -> Output {
        self.zdocker(&args.split_whitespace().collect::<Vec<_>>())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // With process 1 all other processes of its namespace end. It is gone when they are, and when those that the test
        // itself started have been waited for.
        let _ = self.init.kill();
        let ended = within(PATIENCE, || self.init.try_wait().is_ok_and(|status| status.is_some()));
        // A second panic would end the whole test program without a word about the first.
        assert!(thread::panicking() || ended, "the processes of the host do not end");
    }
}

/// The control groups that are the roots of a host's hierarchies; removed when dropped.
struct ControlGroups(Vec<PathBuf>);

impl Drop for ControlGroups {
    fn drop(&mut self) {
        let removed = within(PATIENCE, || self.0.iter().all(|cgroup| remove_cgroup(cgroup).is_ok()));
        assert!(
            thread::panicking() || removed,
            "control groups cannot be removed: {:?}",
            self.0
        );
    }
}

/// The command as a person would type it.
fn show(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words
        .map(|word| OsString::from(word).to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Makes one control group in each hierarchy of the machine.
fn make_cgroups() -> ControlGroups {
    static HOSTS: AtomicU32 = AtomicU32::new(0);
    let number = HOSTS.fetch_add(1, Ordering::Relaxed);
    let name = format!("zdocker-test-{}-{number}", std::process::id());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let hierarchies = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let kind = kind.split(' ').next()?;
        matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(place.split(' ').nth(4).unwrap()))
    });
    let cgroups = ControlGroups(hierarchies.map(|hierarchy| hierarchy.join(&name)).collect());
    for cgroup in &cgroups.0 {
        let create = |path: &Path| fs::create_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        create(cgroup);
        if is_version_2(cgroup) {
            create(&cgroup.join(LEAF));
        } else {
            inherit_cpuset(cgroup);
        }
    }
    cgroups
}

/// The group below a host's root of version 2 that its process 1 is in: a group that shares controllers out to others has
/// no processes of its own (cgroups(7), "no internal processes").
const LEAF: &str = "init";

fn is_version_2(cgroup: &Path) -> bool {
    cgroup.join("cgroup.controllers").exists()
}

/// Lets a new control group of version 1 have processes.
fn inherit_cpuset(cgroup: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(value) = fs::read_to_string(cgroup.parent().unwrap().join(file)) {
            fs::write(cgroup.join(file), value).unwrap();
        }
    }
}

/// Lets the groups below a control group have its controllers.
fn delegate(cgroup: &Path) {
    if let Ok(controllers) = fs::read_to_string(cgroup.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
    }
}

fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

/// Detaches, in the new mount namespace of the calling thread, what others have mounted in the directory of temporary files
/// and may unmount at any time.
fn detach_foreign() {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let temporary = std::env::temp_dir();
    for place in places.map(|place| PathBuf::from(place.replace("\\040", " "))) {
        if place.starts_with(&temporary) && place != temporary {
            // It may be gone already, with what it was mounted on.
            let _ = umount2(&place, MntFlags::MNT_DETACH);
        }
    }
}

/// Starts process 1 of the host in new mount, process and control group namespaces, where `cgroups` are the roots of their
/// hierarchies.
fn start_init(cgroups: &[PathBuf]) -> Child {
    thread::scope(|scope| {
        let starter = scope.spawn(|| {
            let members = |cgroup: PathBuf| {
                OpenOptions::new()
                    .write(true)
                    .open(cgroup.join("cgroup.procs"))
                    .unwrap()
            };
            let roots = cgroups.iter().cloned().map(members).collect::<Vec<_>>();
            let version_2 = cgroups.iter().filter(|cgroup| is_version_2(cgroup));
            let leaves = version_2.map(|cgroup| members(cgroup.join(LEAF))).collect::<Vec<_>>();
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            detach_foreign();
            for cgroup in cgroups {
                mount(Some(cgroup), cgroup.parent().unwrap(), none, MsFlags::MS_BIND, none).unwrap();
            }
            let mut command = Command::new("/usr/bin/busybox");
            command.arg("cat").stdin(Stdio::piped()).stdout(Stdio::null());
            // SAFETY: the closure makes system calls and allocates nothing.
            unsafe {
                command.pre_exec(move || {
                    for mut members in &roots {
                        members.write_all(b"0")?;
                    }
                    unshare(CloneFlags::CLONE_NEWCGROUP)?;
                    for mut members in &leaves {
                        members.write_all(b"0")?;
                    }
                    // The kernel then reaps the orphans that fall to process 1.
                    signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
                    Ok(mount(
                        Some("proc"),
                        "/proc",
                        Some("proc"),
                        MsFlags::empty(),
                        None::<&str>,
                    )?)
                });
            }
            command.spawn().unwrap_or_else(|e| panic!("cannot start busybox: {e}"))
        });
        starter.join().unwrap()
    })
}
