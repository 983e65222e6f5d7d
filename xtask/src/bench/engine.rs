//! Whole container engines, called as a person calls them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::call;
use crate::process;

/// A command-line engine with a small image and a network `n`, ready to run containers.
pub(super) struct Engine {
    pub(super) name: &'static str,
    program: PathBuf,
    /// Options before the verb.
    options: Vec<String>,
    /// What says which files the container has: an image, or a folder.
    image: Vec<String>,
    daemon: Option<Child>,
}

impl Engine {
    /// A command of this engine.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options).args(words);
        command
    }

    /// Runs a command of this engine to its end.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub(super) fn timed(&self, words: &[&str]) -> Result<Duration> {
        Ok(call::timed(&mut self.command(words), b"")?.0)
    }

    /// Runs a container with these options and this program in it.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub(super) fn run(&self, options: &[&str], program: &[&str]) -> Result<Duration> {
        let mut command = self.command(&["run"]);
        command.args(options).args(&self.image).args(program);
        Ok(call::timed(&mut command, b"")?.0)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It may have ended by itself; either way nothing of it must stay.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// A root file system of busybox alone, as a folder and as an archive of it.
pub(super) struct Image {
    pub(super) folder: PathBuf,
    archive: PathBuf,
}

impl Image {
    /// Makes it below this folder.
    ///
    /// # Errors
    /// When busybox is missing or the disk is full.
    pub(super) fn make(place: &Path) -> Result<Self> {
        let (folder, archive) = (place.join("image"), place.join("image.tar"));
        for name in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        fs::copy(
            busybox.context("busybox-static is not installed")?,
            folder.join("bin/busybox"),
        )?;
        for name in ["true", "sleep", "sh"] {
            symlink("busybox", folder.join("bin").join(name))?;
        }
        process::run(
            Command::new("tar")
                .arg("-C")
                .arg(&folder)
                .arg("-cf")
                .arg(&archive)
                .arg("."),
        )?;
        Ok(Self { folder, archive })
    }
}

/// Podman with the OCI runtime that works here.
///
/// # Errors
/// When it cannot import the image, make a network or run a container.
pub(super) fn podman(image: &Image) -> Result<Engine> {
    let mut engine = Engine {
        name: "podman",
        program: "podman".into(),
        options: Vec::new(),
        image: vec!["bench".to_owned()],
        daemon: None,
    };
    engine.timed(&["import", &image.archive.to_string_lossy(), "bench"])?;
    // crun is Podman's own choice, but refuses hosts that have control groups of both versions.
    for (name, runtime) in [("podman with crun", "crun"), ("podman with runc", "runc")] {
        engine.name = name;
        engine.options = ["--runtime", runtime, "--cgroup-manager", "cgroupfs"]
            .map(str::to_owned)
            .into();
        match engine.run(&["--rm", "--net", "none"], &["true"]) {
            Ok(_) => break,
            Err(error) if runtime == "runc" => return Err(error),
            Err(_) => {}
        }
    }
    engine.timed(&["network", "create", "n"])?;
    Ok(engine)
}

/// Docker, with a daemon of our own.
///
/// # Errors
/// When the daemon does not come up, or cannot import the image.
pub(super) fn docker(image: &Image) -> Result<Engine> {
    const SOCKET: &str = "/run/docker-bench.sock";
    let log = fs::File::create("/run/docker-bench.log")?;
    let mut command = Command::new("dockerd");
    command.args(["--data-root", "/var/lib/docker", "--exec-root", "/run/docker-bench"]);
    command.args([
        "--pidfile",
        "/run/docker-bench.pid",
        "--host",
        &format!("unix://{SOCKET}"),
    ]);
    command.stdout(Stdio::null()).stderr(log);
    let daemon = command.spawn().with_context(|| process::not_started(&command))?;
    let mut engine = Engine {
        name: "docker",
        program: "docker".into(),
        options: vec!["--host".to_owned(), format!("unix://{SOCKET}")],
        image: vec!["bench".to_owned()],
        daemon: Some(daemon),
    };
    wait_for_daemon(&mut engine)?;
    engine.timed(&["import", &image.archive.to_string_lossy(), "bench"])?;
    engine.timed(&["network", "create", "n"])?;
    Ok(engine)
}

/// Docker's daemon has no other way to say that it is ready than answering.
fn wait_for_daemon(engine: &mut Engine) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(30);
    while engine.timed(&["version"]).is_err() {
        if let Some(status) = engine.daemon.as_mut().map(Child::try_wait).transpose()?.flatten() {
            let log = fs::read_to_string("/run/docker-bench.log").unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            bail!("dockerd {}: {last}", process::ending(status));
        }
        if Instant::now() > patience {
            bail!("dockerd did not answer within 30 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// zdocker as built, with the image as a folder.
///
/// # Errors
/// When it cannot make a network.
pub(super) fn zdocker(binary: &Path, image: &Image) -> Result<Engine> {
    let engine = Engine {
        name: "zdocker",
        program: binary.to_owned(),
        options: Vec::new(),
        image: vec![
            "--rootfs".to_owned(),
            image.folder.to_string_lossy().into_owned(),
            "--".to_owned(),
        ],
        daemon: None,
    };
    if call::timed(&mut engine.command(&["--version"]), b"")?.1.is_empty() {
        bail!("this build of zdocker has no command line");
    }
    engine.timed(&["network", "create", "n"])?;
    Ok(engine)
}
