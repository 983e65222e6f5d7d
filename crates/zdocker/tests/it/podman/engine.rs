//! Podman on a host of its own, all whose files are below the host's own directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::compare::{make_image, new_host, text};
use crate::harness::{Host, NetNs, Output};

/// Debian's.
pub(super) const PODMAN: &str = "/usr/bin/podman";
/// Debian's.
pub(super) const NETAVARK: &str = "/usr/lib/podman/netavark";
/// Debian's.
pub(super) const AARDVARK_DNS: &str = "/usr/lib/podman/aardvark-dns";

/// The word of a command line that stands for the image.
const IMAGE: &str = "IMAGE";

/// Podman.
pub(super) struct Podman {
    pub(super) host: Host,
    scratch: PathBuf,
}

impl Podman {
    /// One that finds the program `netavark` under the name netavark.
    pub(super) fn new(netavark: &str) -> Self {
        Podman::configured(netavark, "")
    }

    /// The same, with lines for the part `[network]` of containers.conf.
    pub(super) fn configured(netavark: &str, network: &str) -> Self {
        let host = new_host();
        // Frames within a bridge do not pass iptables, whether or not the machine has the module for it loaded.
        let switch_off =
            "for switch in /proc/sys/net/bridge/bridge-nf-call-*; do test ! -e $switch || echo 0 >$switch; done";
        host.program("sh", &["-c", switch_off]).ok();
        let scratch = host.scratch();
        let helpers = scratch.join("helpers");
        fs::create_dir(&helpers).unwrap();
        symlink(netavark, helpers.join("netavark")).unwrap();
        symlink(AARDVARK_DNS, helpers.join("aardvark-dns")).unwrap();
        let place = |name: &str| text(&scratch.join(name));
        // crun, which Podman prefers, refuses hosts with control groups of both versions.
        let configuration = format!(
            "[containers]\ndefault_sysctls = []\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n\
             helper_binaries_dir = [{:?}]\ntmp_dir = {:?}\n\
             [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = {:?}\n{network}\n",
            text(&helpers),
            place("tmp"),
            place("networks"),
        );
        fs::write(scratch.join("containers.conf"), configuration).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            place("root"),
            place("runroot"),
        );
        fs::write(scratch.join("storage.conf"), storage).unwrap();
        fs::write(scratch.join("registries.conf"), "").unwrap();
        let archive = place("image.tar");
        let folder = text(&make_image(&scratch));
        let podman = Podman { host, scratch };
        podman.host.program("tar", &["-C", &folder, "-cf", &archive, "."]).ok();
        podman.call(&format!("import {archive} image")).ok();
        podman
    }

    /// Runs a command line, whose words are separated by spaces.
    pub(super) fn call(&self, line: &str) -> Output {
        self.call_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs a command.
    pub(super) fn call_words(&self, words: &[&str]) -> Output {
        let words = words.iter().map(|word| if *word == IMAGE { "image" } else { word });
        let mut command = self.host.command(PODMAN, &words.collect::<Vec<_>>());
        for (variable, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
            ("HOME", ""),
            ("TMPDIR", ""),
        ] {
            command.env(variable, self.scratch.join(file));
        }
        self.host.finish(command, "")
    }

    /// The network namespace of a running container.
    pub(super) fn network_of(&self, container: &str) -> NetNs {
        let pid = self.json(&format!("inspect {container}"))[0]["State"]["Pid"].clone();
        NetNs::open(&text(&self.host.proc().join(pid.to_string()).join("ns/net")))
    }

    /// The JSON that a command prints.
    pub(super) fn json(&self, line: &str) -> Value {
        self.call(line).ok().json()
    }
}
