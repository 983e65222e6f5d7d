//! The embedded runtime: libcontainer, within this process.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::oci_spec::runtime::{Capability, LinuxNamespaceType, Process, Spec};
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::fs::MemfdFlags;

use super::executor::{CommandExecutor, Confinement, Report};
use super::filter::Filter;
use super::{ProcessStdio, Runtime, RuntimeError, devices};
use crate::containers::paths::ContainerPaths;
use crate::oci::{self, capabilities};
use crate::private;

/// libcontainer, for one container.
pub(super) struct Embedded {
    paths: ContainerPaths,
    /// Tells whether the command of the created container runs.
    report: Option<Report>,
}

impl Embedded {
    /// The runtime of one container.
    pub(super) fn new(paths: &ContainerPaths) -> Self {
        Self {
            paths: paths.clone(),
            report: None,
        }
    }

    fn builder(&self, root: &Path) -> Result<ContainerBuilder, String> {
        private::create_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
        ContainerBuilder::new(self.paths.id().to_owned(), SyscallType::default())
            .with_root_path(root)
            .map_err(reasons)
    }

    /// libcontainer's directory of this container.
    fn state_dir(&self) -> PathBuf {
        self.paths.runtime_root().join(self.paths.id())
    }

    fn load(&self) -> Result<Option<Container>, String> {
        if !self.state_dir().join("state.json").exists() {
            return Ok(None);
        }
        Container::load(self.state_dir()).map(Some).map_err(reasons)
    }

    fn try_create(&self, bundle: PathBuf, stdio: ProcessStdio, executor: CommandExecutor) -> Result<Pid, String> {
        let builder = self.builder(&self.paths.runtime_root())?.with_executor(executor);
        let container = with_stdio(builder, stdio)
            .validate_id()
            .map_err(reasons)?
            .as_init(bundle)
            .with_systemd(false)
            .with_detach(true)
            .build()
            .map_err(reasons)?;
        // The command does not run before start: it never has more than these devices.
        if let Some(cgroup) = oci::cgroup2_directory(self.paths.id()) {
            devices::restrict(&cgroup).map_err(|error| format!("cannot restrict its devices: {error}"))?;
        }
        let pid = container.pid().ok_or("the container has no init process")?;
        Ok(Pid::from_raw(pid.as_raw()))
    }

    fn try_start(&self) -> Result<(), String> {
        let mut container = self.load()?.ok_or("the container does not exist")?;
        container.start().map_err(reasons)
    }

    fn try_delete(&self) -> Result<(), String> {
        if let Some(mut container) = self.load()? {
            container.refresh_status().map_err(reasons)?;
            if let Some(pid) = container
                .pid()
                .filter(|_| container.status() != ContainerStatus::Stopped)
            {
                let pid = Pid::from_raw(pid.as_raw());
                // Wait for it, so that libcontainer finds its cgroup empty; it may be somebody else's child.
                let _ = kill(pid, Signal::SIGKILL).and_then(|()| waitpid(pid, None));
            }
            // Removing empty cgroups is quick; libcontainer, which looks through every hierarchy first and waits
            // between attempts, is for what is left of them.
            let cgroups = oci::cgroup_directories(self.paths.id());
            if !cgroups.iter().all(|cgroup| fs::remove_dir(cgroup).is_ok()) {
                container.delete(true).map_err(reasons)?;
            }
        }
        // What a create that was killed half-way has left.
        match fs::remove_dir_all(self.state_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// The container as seen by one exec: libcontainer leaves sockets behind in the directory that it is given.
    fn try_exec(&self, process: &Process, stdio: ProcessStdio, executor: CommandExecutor) -> Result<Pid, String> {
        let terminal = matches!(stdio, ProcessStdio::Terminal { .. });
        let scratch = self.paths.run_dir().join(format!("exec-{}", std::process::id()));
        let described = describe(process).map_err(|error| error.to_string())?;
        let result = self.enter(&scratch, terminal, stdio, executor, &described);
        // Below the run directory, which is removed with the container at the latest.
        let _ = fs::remove_dir_all(&scratch);
        result
    }

    fn enter(
        &self,
        scratch: &Path,
        terminal: bool,
        stdio: ProcessStdio,
        executor: CommandExecutor,
        process: &std::os::fd::OwnedFd,
    ) -> Result<Pid, String> {
        let view = scratch.join(self.paths.id());
        fs::create_dir_all(&view)
            .and_then(|()| self.write_view(&view))
            .map_err(|error| format!("it is not running ({error})"))?;
        let builder = self.builder(scratch)?.with_executor(executor);
        let pid = with_stdio(builder, stdio)
            .as_tenant()
            .with_detach(terminal)
            .with_process(Some(format!("/proc/self/fd/{}", process.as_raw_fd())))
            .build()
            .map_err(reasons)?;
        Ok(Pid::from_raw(pid.as_raw()))
    }

    /// Writes the container's state to `view`, and a bundle there that names its network namespace by its init process:
    /// the path that it was started with leads nowhere when it is that of another container, which has ended.
    fn write_view(&self, view: &Path) -> io::Result<()> {
        let state = fs::read(self.state_dir().join("state.json"))?;
        let mut state: serde_json::Value = serde_json::from_slice(&state)?;
        let spec = fs::read(self.unconfined_bundle().join("config.json"))?;
        let mut spec: Spec = serde_json::from_slice(&spec)?;
        let namespaces = spec
            .linux_mut()
            .as_mut()
            .and_then(|linux| linux.namespaces_mut().as_mut());
        for namespace in namespaces.into_iter().flatten() {
            if namespace.typ() == LinuxNamespaceType::Network {
                namespace.set_path(Some(format!("/proc/{}/ns/net", state["pid"]).into()));
            }
        }
        state["bundle"] = view.to_string_lossy().into();
        fs::write(view.join("config.json"), serde_json::to_vec(&spec)?)?;
        fs::write(view.join("state.json"), serde_json::to_vec(&state)?)
    }

    /// The bundle that libcontainer gets.
    fn unconfined_bundle(&self) -> PathBuf {
        self.paths.bundle().join("embedded")
    }

    /// What `process` is confined by: its own capabilities, and the container's filter.
    fn confinement(&self, spec: &Spec, process: &Process) -> Result<Confinement, String> {
        let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let cache = self.paths.run_root().join("seccomp");
        let filter = profile
            .map(|profile| Filter::of(profile, &cache))
            .transpose()
            .map_err(reasons)?;
        Ok(Confinement {
            filter,
            capabilities: process.capabilities().clone().unwrap_or_default(),
        })
    }

    fn spec(&self) -> Result<Spec, String> {
        Spec::load(self.paths.bundle().join("config.json")).map_err(reasons)
    }

    /// The bundle as libcontainer gets it: without what the executor does in its place.
    fn write_unconfined(&self, mut spec: Spec, process: &Process) -> Result<PathBuf, String> {
        if let Some(linux) = spec.linux_mut() {
            linux.set_seccomp(None);
        }
        spec.set_process(Some(privileged(process)));
        let bundle = self.unconfined_bundle();
        private::create_dir(&bundle).map_err(reasons)?;
        spec.save(bundle.join("config.json")).map_err(reasons)?;
        Ok(bundle)
    }

    fn executor(&self, spec: &Spec, process: &Process) -> Result<(CommandExecutor, Report), String> {
        CommandExecutor::new(self.confinement(spec, process)?).map_err(reasons)
    }
}

impl Runtime for Embedded {
    fn create(&mut self, stdio: ProcessStdio) -> Result<Pid, RuntimeError> {
        let failed = |reason: String| RuntimeError::failed("create", reason);
        let spec = self.spec().map_err(failed)?;
        let process = spec.process().clone().unwrap_or_default();
        let (executor, report) = self.executor(&spec, &process).map_err(failed)?;
        let bundle = self.write_unconfined(spec, &process).map_err(failed)?;
        match self.try_create(bundle, stdio, executor) {
            Ok(pid) => {
                self.report = Some(report);
                Ok(pid)
            }
            Err(reason) => Err(report.failure().unwrap_or_else(|| failed(reason))),
        }
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        self.try_start()
            .map_err(|reason| RuntimeError::failed("start", reason))?;
        self.report.take().map_or(Ok(()), Report::wait)
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        self.try_delete()
            .map_err(|reason| RuntimeError::failed("delete", reason))
    }

    fn exec(&mut self, process: &Process, stdio: ProcessStdio) -> Result<Pid, RuntimeError> {
        let failed = |reason: String| RuntimeError::failed("enter", reason);
        let spec = self.spec().map_err(failed)?;
        let (executor, report) = self.executor(&spec, process).map_err(failed)?;
        match self.try_exec(&privileged(process), stdio, executor) {
            Ok(pid) => report.wait().map(|()| pid),
            Err(reason) => Err(report.failure().unwrap_or_else(|| failed(reason))),
        }
    }
}

fn with_stdio(builder: ContainerBuilder, stdio: ProcessStdio) -> ContainerBuilder {
    match stdio {
        ProcessStdio::Descriptors { stdin, stdout, stderr } => {
            builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr)
        }
        ProcessStdio::Terminal { console_socket } => builder.with_console_socket(Some(console_socket)),
    }
}

/// Loading a filter needs CAP_SYS_ADMIN, and dropping the rest CAP_SETPCAP: the process keeps both until the executor
/// takes them away.
fn privileged(process: &Process) -> Process {
    let mut wanted = capabilities::DEFAULT.to_vec();
    wanted.extend([Capability::SysAdmin, Capability::Setpcap]);
    let mut process = process.clone();
    process.set_capabilities(Some(capabilities::bounded_to(&wanted)));
    process
}

/// The process as a file in memory.
fn describe(process: &Process) -> io::Result<std::os::fd::OwnedFd> {
    let file = fs::File::from(rustix::fs::memfd_create("process.json", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&file, process)?;
    Ok(file.into())
}

/// An error with all its causes: libcontainer's own messages say little.
fn reasons(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
