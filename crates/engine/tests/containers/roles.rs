//! What this program is when a test runs it: `ROLE STATE_ROOT RUN_ROOT ID ...`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use zdocker_engine::containers::paths::ContainerPaths;
use zdocker_engine::containers::spec::ContainerSpec;
use zdocker_engine::exec::{self, ExecRequest};
use zdocker_engine::logs::{self, LogOptions};
use zdocker_engine::oci::spec::write_bundle;
use zdocker_engine::shim::attach::{AttachEnd, AttachError, Attachment};
use zdocker_engine::shim::protocol::{StartRequest, Streams};
use zdocker_engine::shim::{self, ShimError};
use zdocker_engine::signals::ProcessRef;
use zdocker_engine::terminal::WindowSize;
use zdocker_engine::{etc_files, rootfs, sealed};

/// Exit status of a client that has detached.
pub(crate) const DETACHED: i32 = 99;

/// Plays the role that the arguments name; `None` when this is the test program itself.
pub(crate) fn play() -> Option<ExitCode> {
    let args: Vec<String> = std::env::args().collect();
    let [_, role, state_root, run_root, id, rest @ ..] = &args[..] else {
        return None;
    };
    let paths = ContainerPaths::new(Path::new(state_root), Path::new(run_root), id);
    let code = match role.as_str() {
        "shim" => be_shim(&paths),
        "run" => run(&paths, rest),
        "vanish" => {
            // A launcher that is killed before it says start.
            shim::spawn(shim_command(&paths), &paths).unwrap();
            0
        }
        "attach" => attach(&paths, rest.contains(&"-t".to_owned())),
        "exec" => be_exec(&paths, rest),
        "logs" => {
            let options = LogOptions {
                follow: true,
                ..Default::default()
            };
            logs::copy(&paths, options, &mut io::stdout(), &mut io::stderr()).unwrap();
            0
        }
        _ => return None,
    };
    Some(ExitCode::from(code as u8))
}

/// What runs this program as a container's shim.
pub(crate) fn shim_command(paths: &ContainerPaths) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("shim")
        .args([paths.state_root(), paths.run_root()])
        .arg(paths.id());
    command
}

/// Where the shim records the container's first process, as an engine would in its records.
pub(crate) fn init_file(paths: &ContainerPaths) -> PathBuf {
    paths.run_dir().join("init.json")
}

fn be_shim(paths: &ContainerPaths) -> i32 {
    shim::main(
        |init| fs::write(init_file(paths), serde_json::to_vec(&init).unwrap()).map_err(|error| error.to_string()),
        |outcome| {
            rootfs::unmount(paths).unwrap();
            fs::write(paths.state_dir().join("outcome"), format!("{outcome:?}")).unwrap();
        },
    )
    .unwrap();
    0
}

/// Starts the container of `spec.json` and, unless there is `-d`, stays attached. `--netns PATH` is its network.
fn run(paths: &ContainerPaths, flags: &[String]) -> i32 {
    let spec = fs::read(paths.state_dir().join("spec.json")).unwrap();
    let spec: ContainerSpec = serde_json::from_slice(&spec).unwrap();
    let launcher = shim::spawn(shim_command(paths), paths).unwrap();
    rootfs::mount(&spec.rootfs, paths, rootfs::WritableLayer::Kept).unwrap();
    etc_files::write(paths, &spec.hostname, "nameserver 192.0.2.1\n").unwrap();
    let mut hosts = etc_files::HostsFile::create(&paths.etc_file("hosts")).unwrap();
    hosts.set(&etc_files::hosts(std::iter::empty())).unwrap();
    let netns = flags
        .iter()
        .position(|flag| flag == "--netns")
        .map(|index| PathBuf::from(&flags[index + 1]));
    write_bundle(&spec, paths, netns.as_deref()).unwrap();
    let detach = flags.contains(&"-d".to_owned());
    let streams = Streams {
        stdin: spec.open_stdin,
        stdout: true,
        stderr: true,
    };
    let request = StartRequest {
        paths: paths.clone(),
        runtime: spec.runtime.clone(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        window: WindowSize::of_caller(),
        attach: (!detach).then_some(streams),
        relays: Vec::new(),
    };
    match launcher.start(&request) {
        Ok((_, None)) => 0,
        Ok((_, Some(attachment))) => relay(attachment, spec.tty),
        Err(ShimError::Runtime(error)) => {
            rootfs::unmount(paths).unwrap();
            eprintln!("{error}");
            error.exit_status()
        }
        Err(error) => panic!("{error}"),
    }
}

fn attach(paths: &ContainerPaths, tty: bool) -> i32 {
    let streams = Streams {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    relay(Attachment::connect(paths, streams).unwrap(), tty)
}

fn relay(attachment: Attachment, tty: bool) -> i32 {
    match attachment.relay(tty) {
        Ok(AttachEnd::Exited(status)) => status.code,
        Ok(AttachEnd::Detached) => DETACHED,
        Ok(AttachEnd::Interrupted(signal)) => 128 + signal,
        Err(AttachError::Caller { .. }) => 100,
        Err(error) => panic!("{error}"),
    }
}

/// `exec RUNTIME|- FLAGS... -- COMMAND...`
fn be_exec(paths: &ContainerPaths, args: &[String]) -> i32 {
    sealed::ensure().unwrap();
    let runtime = Some(PathBuf::from(&args[0])).filter(|runtime| runtime != Path::new("-"));
    let mut request = ExecRequest::default();
    let mut args = args[1..].iter();
    while let Some(flag) = args.next() {
        let mut value = || args.next().unwrap().clone();
        match flag.as_str() {
            "-i" => request.interactive = true,
            "-t" => request.tty = true,
            "-d" => request.detach = true,
            "-e" => request.env.push(value()),
            "-w" => request.cwd = Some(value().into()),
            "-u" => request.user = Some(value()),
            _ => request.args = args.by_ref().cloned().collect(),
        }
    }
    let init: ProcessRef = serde_json::from_slice(&fs::read(init_file(paths)).unwrap()).unwrap();
    exec::exec(paths, runtime.as_deref(), init, &request).unwrap_or_else(|error| {
        eprintln!("{error}");
        error.exit_status()
    })
}
