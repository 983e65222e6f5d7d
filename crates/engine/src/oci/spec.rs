//! From a [`ContainerSpec`] to the bundle's `config.json`.

use std::fs;
use std::io::{self, BufWriter};
use std::iter;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use rustix::process::{Resource, getrlimit};

use super::seccomp;
use super::{capabilities, devices, mounts};
use crate::containers::paths::ContainerPaths;
use crate::containers::spec::ContainerSpec;
use crate::containers::user::{User, UserError};
use crate::etc_files;
use crate::private;
use crate::rootfs::{self, RootDir};

/// Where commands are looked for when the user gives no `PATH` (as Docker).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How many open files a process may have, where the engine itself may have as many (as Docker).
const OPEN_FILES: u64 = 1_048_576;

/// Files and directories that tell about the host or act on it: empty in the container (Docker's list).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Files and directories that act on the host: read-only in the container (Docker's list).
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The user is unknown in the container.
    #[error(transparent)]
    User(#[from] UserError),
    /// A file could not be read or written.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The specification is not complete; a mistake of the engine.
    #[error("cannot make the OCI runtime specification: {0}")]
    Incomplete(#[from] OciSpecError),
}

/// What of the host a specification depends on.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// Whether `/sys/fs/cgroup` is a pure cgroup2 hierarchy.
    cgroup2: bool,
    /// The hard limit of open files, which may not be raised.
    open_files: u64,
}

impl Host {
    fn observe() -> Self {
        Self {
            cgroup2: super::is_cgroup2(),
            // No value means no limit.
            open_files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        }
    }
}

/// Writes `config.json` for a container whose root file system is mounted and whose etc files are written. `netns` is
/// the path of its network namespace; `None` is the host's.
///
/// # Errors
/// When the user is unknown in the container, or a file cannot be read or written.
pub fn write_bundle(spec: &ContainerSpec, paths: &ContainerPaths, netns: Option<&Path>) -> Result<(), BundleError> {
    let root = RootDir::open(&paths.merged()).map_err(failed("open", &paths.merged()))?;
    let user = User::find(spec.user.as_deref().unwrap_or_default(), &root)?;
    root.create_dir_all(&spec.cwd)
        .map_err(failed("create the working directory", &spec.cwd))?;
    for name in etc_files::NAMES {
        let target = Path::new("/etc").join(name);
        root.create_file(&target)
            .map_err(failed("make a place for the container's own", &target))?;
    }
    for mount in &spec.mounts {
        mount
            .create_missing_source()
            .map_err(failed("create the volume", &mount.source))?;
    }
    let bundle = bundle_spec(spec, paths, netns, &user, Host::observe())?;
    paths.make_run_dir().map_err(failed("create", &paths.bundle()))?;
    let file = paths.bundle().join("config.json");
    let mut options = private::options();
    let options = options.write(true).create(true).truncate(true);
    let config = options.open(&file).map_err(failed("create", &file))?;
    serde_json::to_writer(BufWriter::new(config), &bundle).map_err(|error| failed("write", &file)(error.into()))
}

fn bundle_spec(
    spec: &ContainerSpec,
    paths: &ContainerPaths,
    netns: Option<&Path>,
    user: &User,
    host: Host,
) -> Result<Spec, OciSpecError> {
    let mut bundle = SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(paths.merged()).readonly(false).build()?)
        .hostname(&spec.hostname)
        .mounts(mounts::all(spec, paths, netns.is_none(), host.cgroup2)?)
        .process(process(spec, user, host)?)
        .linux(linux(spec, paths, netns, host)?)
        .build()?;
    bundle.set_domainname(spec.domainname.clone());
    Ok(bundle)
}

fn process(spec: &ContainerSpec, user: &User, host: Host) -> Result<Process, OciSpecError> {
    let mut process = ProcessBuilder::default()
        .terminal(spec.tty)
        .user(oci_user(user)?)
        .args(spec.args.clone())
        .env(environment(&spec.env, &spec.hostname, &user.home, spec.tty))
        .cwd(&spec.cwd)
        .capabilities(capabilities::bounded_to(&capabilities::DEFAULT))
        .rlimits(vec![open_files(host)?])
        .build()?;
    // false is not the same as nothing to libcontainer, which then loads the seccomp filter too late.
    process.set_no_new_privileges(None);
    Ok(process)
}

/// The OCI form of a user.
pub(crate) fn oci_user(user: &User) -> Result<libcontainer::oci_spec::runtime::User, OciSpecError> {
    UserBuilder::default()
        .uid(user.uid)
        .gid(user.gid)
        .additional_gids(user.supplementary.clone())
        .build()
}

fn open_files(host: Host) -> Result<PosixRlimit, OciSpecError> {
    let limit = OPEN_FILES.min(host.open_files);
    PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(limit)
        .hard(limit)
        .build()
}

/// The environment of a process: what every process has, overridden by what the user gave.
fn environment(given: &[String], hostname: &str, home: &str, tty: bool) -> Vec<String> {
    let mut environment = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if tty {
        environment.push("TERM=xterm".to_owned());
    }
    environment.push(format!("HOME={home}"));
    override_environment(&mut environment, given);
    environment
}

/// Sets the variables of `given` in `environment`, in the place of an earlier value or at the end.
pub(crate) fn override_environment(environment: &mut Vec<String>, given: &[String]) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in given {
        match environment.iter_mut().find(|earlier| name(earlier) == name(entry)) {
            Some(earlier) => earlier.clone_from(entry),
            None => environment.push(entry.clone()),
        }
    }
}

fn linux(
    spec: &ContainerSpec,
    paths: &ContainerPaths,
    netns: Option<&Path>,
    host: Host,
) -> Result<Linux, OciSpecError> {
    let hidden = rootfs::visible_in(&spec.rootfs, &[paths.state_root(), paths.run_root()]);
    let hidden = hidden.iter().map(|path| path.to_string_lossy().into_owned());
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(netns, host)?)
        .cgroups_path(super::cgroup_path(&spec.id))
        .resources(LinuxResourcesBuilder::default().devices(devices::rules()?).build()?)
        .seccomp(seccomp::profile(&capabilities::DEFAULT)?)
        .masked_paths(
            MASKED
                .iter()
                .map(|path| (*path).to_owned())
                .chain(hidden)
                .collect::<Vec<_>>(),
        )
        .readonly_paths(read_only(host))
        .build()?;
    if netns.is_some() {
        // What Docker allows every process in a network namespace of its own: ports below 1024, and ping.
        linux.set_sysctl(Some(
            [
                ("net.ipv4.ip_unprivileged_port_start", "0"),
                ("net.ipv4.ping_group_range", "0 2147483647"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ));
    }
    Ok(linux)
}

/// What a container may read and not write.
fn read_only(host: Host) -> Vec<String> {
    let mut paths = READ_ONLY.map(str::to_owned).to_vec();
    if !host.cgroup2 {
        // libcontainer mounts the hierarchies of cgroup1 writable, whatever the mount's options say; those that it does
        // not manage even from their root on.
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let all = iter::once(root.to_owned()).chain(hierarchies);
        paths.extend(all.map(|path| path.to_string_lossy().into_owned()));
    }
    paths
}

fn namespaces(netns: Option<&Path>, host: Host) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let mut types = vec![
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Ipc,
    ];
    if host.cgroup2 {
        types.push(LinuxNamespaceType::Cgroup);
    }
    let own = |typ| LinuxNamespaceBuilder::default().typ(typ).build();
    let mut namespaces = types.into_iter().map(own).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = netns {
        let network = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network);
        namespaces.push(network.path(path).build()?);
    }
    Ok(namespaces)
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Io {
        action,
        path: path.clone(),
        source,
    }
}
