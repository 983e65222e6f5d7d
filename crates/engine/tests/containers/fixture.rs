//! A container of a test, which leaves nothing behind.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use tempfile::TempDir;
use zdocker_engine::containers::paths::ContainerPaths;
use zdocker_engine::containers::spec::{ContainerSpec, ResolverSettings, RootfsSource};
use zdocker_engine::rootfs;
use zdocker_engine::runtime;
use zdocker_engine::shim::attach::Attachment;
use zdocker_engine::signals::{ProcessRef, Signal};
use zdocker_engine::terminal::WindowSize;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A container: its own roots, its own busybox tree, its specification.
pub(crate) struct TestBox {
    pub(crate) root: TempDir,
    pub(crate) paths: ContainerPaths,
    pub(crate) spec: ContainerSpec,
}

impl TestBox {
    /// A container that runs a shell script.
    pub(crate) fn new(script: &str) -> Self {
        let root = tempfile::Builder::new().prefix("zd box").tempdir().unwrap();
        let tree = root.path().join("tree");
        busybox_tree(&tree);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}{:056x}", std::process::id(), number);
        let paths = ContainerPaths::new(&root.path().join("state"), &root.path().join("run"), &id);
        let spec = ContainerSpec {
            resolver: ResolverSettings::default(),
            domainname: None,
            name: format!("test-{number}"),
            hostname: "testbox".into(),
            args: ["sh", "-c", script].map(String::from).to_vec(),
            env: Vec::new(),
            cwd: "/".into(),
            user: None,
            mounts: Vec::new(),
            tty: false,
            open_stdin: false,
            auto_remove: false,
            rootfs: RootfsSource::Directory(tree),
            runtime: None,
            dns: Vec::new(),
            extra_hosts: Vec::new(),
            networks: Vec::new(),
            ports: Vec::new(),
            namespace: zdocker_engine::containers::spec::NamespaceChoice::Own,
            id,
        };
        Self { root, paths, spec }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    pub(crate) fn args(self, args: &[&str]) -> Self {
        self.with(|spec| spec.args = args.iter().map(ToString::to_string).collect())
    }

    /// The busybox tree on the host.
    pub(crate) fn tree(&self) -> PathBuf {
        self.root.path().join("tree")
    }

    /// This program in a role for this container.
    pub(crate) fn role(&self, role: &str, args: &[&str]) -> Command {
        fs::create_dir_all(self.paths.state_dir()).unwrap();
        let spec = serde_json::to_vec(&self.spec).unwrap();
        fs::write(self.paths.state_dir().join("spec.json"), spec).unwrap();
        let mut command = Command::new("/proc/self/exe");
        command.arg(role).args([self.paths.state_root(), self.paths.run_root()]);
        command.arg(self.paths.id()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs it in the foreground to its end.
    pub(crate) fn run(&self) -> Output {
        self.role("run", &[]).output().unwrap()
    }

    /// What it writes on standard output in the foreground; it must succeed.
    #[track_caller]
    pub(crate) fn stdout(&self) -> String {
        succeed(self.run())
    }

    /// Starts it in the background.
    #[track_caller]
    pub(crate) fn start(&self) {
        succeed(self.role("run", &["-d"]).output().unwrap());
    }

    pub(crate) fn exec(&self, args: &[&str]) -> Output {
        let runtime = self.spec.runtime.as_ref().map_or("-", |path| path.to_str().unwrap());
        self.role("exec", &[&[runtime], args].concat()).output().unwrap()
    }

    pub(crate) fn init(&self) -> ProcessRef {
        serde_json::from_slice(&fs::read(crate::roles::init_file(&self.paths)).unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.init().send(signal).unwrap());
    }

    /// Waits until it has ended and is cleaned up; its exit code.
    pub(crate) fn wait(&self) -> i32 {
        Attachment::connect(&self.paths, Default::default())
            .unwrap()
            .wait()
            .unwrap()
            .code
    }

    /// The parent of its init process.
    pub(crate) fn shim(&self) -> i32 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.init().pid)).unwrap();
        stat.rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    /// What the shim's closure was told.
    pub(crate) fn outcome(&self) -> String {
        fs::read_to_string(self.paths.state_dir().join("outcome")).unwrap_or_default()
    }

    /// That nothing of the container is left: processes, mounts, cgroups, the runtime's state, complaints.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.paths.id()), "{mounts}");
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
        assert!(!self.paths.runtime_root().join(self.paths.id()).exists());
        assert_eq!(fs::read_to_string(self.paths.shim_log()).unwrap_or_default(), "");
    }

    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let own = format!("zdocker-{}", self.paths.id());
        let hierarchies = fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let all = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        all.map(|path| path.join(&own)).filter(|path| path.exists()).collect()
    }
}

impl Drop for TestBox {
    /// A test that has failed half-way leaves nothing either.
    fn drop(&mut self) {
        if let Ok(text) = fs::read(crate::roles::init_file(&self.paths))
            && let Ok(init) = serde_json::from_slice::<ProcessRef>(&text)
        {
            init.stop(Signal::KILL, Duration::ZERO).unwrap();
            if let Ok(attachment) = Attachment::connect(&self.paths, Default::default()) {
                let _ = attachment.wait();
            }
        }
        let mut runtime = runtime::of_container(&self.paths, self.spec.runtime.as_deref());
        let _ = runtime.delete();
        rootfs::unmount(&self.paths).unwrap();
    }
}

/// Standard output of a program that must have succeeded.
#[track_caller]
pub(crate) fn succeed(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A root file system of busybox alone.
fn busybox_tree(tree: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/web"] {
        fs::create_dir_all(tree.join(dir)).unwrap();
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).expect("install busybox-static");
    for applet in [
        "cat", "chmod", "dd", "echo", "env", "false", "find", "grep", "head", "hostname", "id", "ip", "kill", "ls",
        "mkdir", "mknod", "mount", "nc", "ps", "pwd", "readlink", "seq", "sh", "sleep", "stty", "test", "touch",
        "true", "tty", "unshare", "wc", "yes",
    ] {
        symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    let accounts = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n";
    fs::write(tree.join("etc/passwd"), accounts).unwrap();
    fs::write(tree.join("etc/group"), "root:x:0:\nweb:x:1001:\naudio:x:29:web\n").unwrap();
}

/// A client that has a terminal of its own, whose keys the test types and whose screen it reads.
pub(crate) struct Typist {
    pub(crate) master: File,
    pub(crate) child: Child,
    screen: String,
}

impl Typist {
    pub(crate) fn new(mut command: Command) -> Self {
        // Closed on exec, or the programs of other tests would keep the terminal open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        WindowSize { rows: 33, columns: 77 }.apply(&master).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(ptsname_r(&master).unwrap())
            .unwrap();
        let side = || slave.try_clone().unwrap();
        command.stdin(side()).stdout(side()).stderr(side());
        // SAFETY: setsid and ioctl may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                nix::libc::setsid();
                nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0);
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        Self {
            master: file(master),
            child,
            screen: String::new(),
        }
    }

    pub(crate) fn type_keys(&mut self, keys: &[u8]) {
        std::io::Write::write_all(&mut self.master, keys).unwrap();
    }

    /// Waits until `text` is on the screen, and forgets the screen up to there.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        loop {
            if let Some(found) = self.screen.find(text) {
                self.screen.drain(..found + text.len());
                return;
            }
            match self.master.read(&mut buffer) {
                Ok(length @ 1..) => self.screen.push_str(&String::from_utf8_lossy(&buffer[..length])),
                end => panic!("{text:?} never came: {end:?} {:?}", self.screen),
            }
        }
    }

    pub(crate) fn code(mut self) -> Option<i32> {
        // The slave end in the command is closed by now, so the screen ends with the client.
        let mut rest = [0; 4096];
        while self.master.read(&mut rest).is_ok_and(|length| length > 0) {}
        self.child.wait().unwrap().code()
    }
}

impl TestBox {
    /// Waits until the container has ended, if it has not yet, and is gone with that outcome.
    #[track_caller]
    pub(crate) fn assert_ended(&self, outcome: &str) {
        self.wait_for_outcome();
        if let Ok(attachment) = Attachment::connect(&self.paths, Default::default()) {
            // A shim that has just sent its last word to nobody closes the connection.
            let _ = attachment.wait();
        }
        assert_eq!(self.outcome(), outcome);
        self.assert_gone();
    }

    /// Waits until the shim's closure has been called.
    pub(crate) fn wait_for_outcome(&self) {
        wait_for_file(&self.paths.state_dir(), "outcome", true);
    }

    /// Waits until the container's init process is known.
    pub(crate) fn wait_for_start(&self) {
        fs::create_dir_all(self.paths.run_dir()).unwrap();
        wait_for_file(&self.paths.run_dir(), "init.json", true);
    }
}

/// Waits by inotify until the file is written and closed.
fn wait_for_file(dir: &Path, name: &str, content: bool) {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    inotify.add_watch(dir, AddWatchFlags::IN_CLOSE_WRITE).unwrap();
    let there = || fs::read(dir.join(name)).is_ok_and(|text| !content || !text.is_empty());
    while !there() {
        inotify.read_events().unwrap();
    }
}

impl TestBox {
    /// As [`Self::assert_ended`], for a container whose client has not read all yet.
    #[track_caller]
    pub(crate) fn assert_cleaned(&self, outcome: &str) {
        self.wait_for_outcome();
        assert_eq!(self.outcome(), outcome);
        self.assert_gone();
    }
}

fn file(master: PtyMaster) -> File {
    // SAFETY: the descriptor is given up by its owner.
    unsafe { File::from_raw_fd(master.into_raw_fd()) }
}
