//! The two engines, each on a host of its own, called with the same words.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::compare::{make_image, new_host, text};
use crate::harness::{Host, NetNs, Output, until};

/// Debian's, whatever else of that name is installed.
pub(super) const DOCKER: &str = "/usr/bin/docker";

/// The word of a command line that stands for the files of a container.
const IMAGE: &str = "IMAGE";

/// An engine on a host of its own.
pub(super) struct Engine {
    /// Ends before its host does.
    _daemon: Option<Daemon>,
    pub(super) host: Host,
    program: PathBuf,
    /// Options before the verb.
    options: Vec<String>,
    /// What stands in the place of [`IMAGE`].
    image: Vec<String>,
}

impl Engine {
    /// zdocker, with a folder as the image.
    pub(super) fn zdocker() -> Self {
        let host = new_host();
        let folder = make_image(&host.scratch());
        Engine {
            _daemon: None,
            program: env!("CARGO_BIN_EXE_zdocker").into(),
            options: Vec::new(),
            image: vec!["--rootfs".to_owned(), text(&folder), "--".to_owned()],
            host,
        }
    }

    /// Docker, with a daemon that ends with its host.
    pub(super) fn docker() -> Self {
        let host = new_host();
        let scratch = host.scratch();
        let socket = format!("unix://{}", text(&scratch.join("socket")));
        let log = scratch.join("dockerd.log");
        let mut daemon = start_daemon(&host, &socket, &log);
        // The daemon has no other way to say that it is ready than making its socket.
        until("dockerd makes its socket", || {
            if let Some(status) = daemon.0.try_wait().unwrap() {
                panic!("dockerd ended, {status}: {}", fs::read_to_string(&log).unwrap());
            }
            scratch.join("socket").exists()
        });
        let engine = Engine {
            _daemon: Some(daemon),
            program: DOCKER.into(),
            options: vec!["--host".to_owned(), socket],
            image: vec!["image".to_owned()],
            host,
        };
        let archive = text(&scratch.join("image.tar"));
        let folder = text(&make_image(&scratch));
        engine.host.program("tar", &["-C", &folder, "-cf", &archive, "."]).ok();
        engine.call(&format!("import {archive} image")).ok();
        engine
    }

    /// Runs a command line, whose words are separated by spaces.
    pub(super) fn call(&self, line: &str) -> Output {
        self.call_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs a command.
    pub(super) fn call_words(&self, words: &[&str]) -> Output {
        let mut args: Vec<&str> = self.options.iter().map(String::as_str).collect();
        for word in words {
            match *word {
                IMAGE => args.extend(self.image.iter().map(String::as_str)),
                word => args.push(word),
            }
        }
        self.host.program(&text(&self.program), &args)
    }

    /// The JSON that a command prints.
    pub(super) fn json(&self, line: &str) -> Value {
        let output = self.call(line).ok();
        serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {}", output.stdout))
    }

    /// The network namespace of a running container.
    pub(super) fn network_of(&self, container: &str) -> NetNs {
        let pid = self.json(&format!("inspect {container}"))[0]["State"]["Pid"].clone();
        NetNs::open(&text(&self.host.proc().join(pid.to_string()).join("ns/net")))
    }
}

/// Starts dockerd, all whose files are below the host's own directories.
fn start_daemon(host: &Host, socket: &str, log: &Path) -> Daemon {
    let scratch = host.scratch();
    let place = |name: &str| text(&scratch.join(name));
    let (data, exec, pid) = (place("data"), place("exec"), place("pid"));
    let mut command = host.command(
        "dockerd",
        &[
            "--data-root",
            &data,
            "--exec-root",
            &exec,
            "--pidfile",
            &pid,
            "--host",
            socket,
            "--storage-driver",
            "vfs",
            // Where zdocker has it.
            "--bip",
            "172.16.0.1/24",
            // Without these it leaves IPv6 to its relay alone; newer ones always have them.
            "--experimental",
            "--ip6tables",
        ],
    );
    let log = fs::File::create(log).unwrap();
    command.stdout(Stdio::null()).stderr(log);
    Daemon(host.spawn(&mut command).unwrap_or_else(|e| panic!("dockerd: {e}")))
}

/// A running dockerd; what it started ends with its host.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
