//! Podman on a host of its own, all whose files are below the host's own directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::user;
use crate::compare::{make_image, new_host, text};
use crate::harness::{Host, NetNs, Output};

/// Debian's.
pub(super) const PODMAN: &str = "/usr/bin/podman";
/// Debian's.
pub(super) const NETAVARK: &str = "/usr/lib/podman/netavark";
/// Debian's.
pub(super) const AARDVARK_DNS: &str = "/usr/lib/podman/aardvark-dns";
/// Debian's: forwards the ports that a user's Podman publishes.
pub(super) const ROOTLESSPORT: &str = "/usr/lib/podman/rootlessport";

/// Has frames within a bridge not pass iptables, whether or not the machine has the module for it loaded.
pub(super) const SWITCH_OFF: &str =
    "for switch in /proc/sys/net/bridge/bridge-nf-call-*; do test ! -e $switch || echo 0 >$switch; done";

/// The word of a command line that stands for the image.
const IMAGE: &str = "IMAGE";

/// Podman.
pub(super) struct Podman {
    pub(super) host: Host,
    /// Where its files are, as the host sees it.
    home: PathBuf,
    is_users: bool,
}

impl Podman {
    /// One that finds the program `netavark` under the name netavark.
    pub(super) fn new(netavark: &str) -> Self {
        Podman::configured(netavark, "")
    }

    /// The same, with lines for the part `[network]` of containers.conf.
    pub(super) fn configured(netavark: &str, network: &str) -> Self {
        let host = new_host();
        let home = host.scratch();
        let podman = Podman {
            host,
            home,
            is_users: false,
        };
        podman.prepare(netavark, network);
        podman.load_image();
        podman
    }

    /// One that an ordinary user runs.
    pub(super) fn of_user(netavark: &str) -> Self {
        let podman = Podman::without_image(netavark);
        podman.load_image();
        podman
    }

    /// The same without the image, which needs what not every machine gives a user.
    pub(super) fn without_image(netavark: &str) -> Self {
        let host = new_host();
        user::move_in(&host).ok();
        let podman = Podman {
            host,
            home: user::HOME.into(),
            is_users: true,
        };
        podman.prepare(netavark, "");
        podman
    }

    fn prepare(&self, netavark: &str, network: &str) {
        let host = &self.host;
        host.program("sh", &["-c", SWITCH_OFF]).ok();
        let scratch = host.scratch();
        let helpers = scratch.join("helpers");
        fs::create_dir(&helpers).unwrap();
        symlink(AARDVARK_DNS, helpers.join("aardvark-dns")).unwrap();
        symlink(ROOTLESSPORT, helpers.join("rootlessport")).unwrap();
        // Not a link, as a user may not be let in where the program is.
        fs::write(helpers.join("netavark"), "").unwrap();
        let place = |name: &str| text(&self.home.join(name));
        host.program("mount", &["--bind", netavark, &place("helpers/netavark")])
            .ok();
        fs::write(scratch.join("containers.conf"), self.configuration(network)).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            place("root"),
            text(&self.run_root()),
        );
        fs::write(scratch.join("storage.conf"), storage).unwrap();
        fs::write(scratch.join("registries.conf"), "").unwrap();
    }

    fn load_image(&self) {
        let scratch = self.host.scratch();
        let folder = text(&make_image(&scratch));
        let archive = text(&scratch.join("image.tar"));
        self.host.program("tar", &["-C", &folder, "-cf", &archive, "."]).ok();
        let archive = text(&self.home.join("image.tar"));
        self.call(&format!("import {archive} image")).ok();
    }

    fn configuration(&self, network: &str) -> String {
        let place = |name: &str| text(&self.home.join(name));
        // crun, which Podman prefers, refuses hosts with control groups of both versions.
        format!(
            "[containers]\ndefault_sysctls = []\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n\
             helper_binaries_dir = [{:?}]\ntmp_dir = {:?}\n\
             [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = {:?}\n{network}\n",
            place("helpers"),
            text(&self.run().join("tmp")),
            place("networks"),
        )
    }

    /// Where it keeps what is good until the next boot, as the host sees it.
    fn run(&self) -> PathBuf {
        if self.is_users {
            user::RUN.into()
        } else {
            self.home.clone()
        }
    }

    fn run_root(&self) -> PathBuf {
        // A user's is here whatever the configuration says.
        self.run().join("containers")
    }

    /// Where netavark keeps its files, as the host sees it.
    pub(super) fn state(&self) -> PathBuf {
        if self.is_users {
            self.run_root().join("networks")
        } else {
            "/run/containers/networks".into()
        }
    }

    /// Where it pins network namespaces, as the host sees it.
    pub(super) fn namespaces(&self) -> PathBuf {
        if self.is_users {
            Path::new(user::RUN).join("netns")
        } else {
            "/run/netns".into()
        }
    }

    /// Runs a command line, whose words are separated by spaces.
    pub(super) fn call(&self, line: &str) -> Output {
        self.call_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs a command.
    pub(super) fn call_words(&self, words: &[&str]) -> Output {
        let words = words.iter().map(|word| if *word == IMAGE { "image" } else { word });
        self.host.finish(self.command(&words.collect::<Vec<_>>()), "")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = if self.is_users {
            user::command(&self.host, PODMAN, words)
        } else {
            self.host.command(PODMAN, words)
        };
        for (variable, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
            ("HOME", ""),
            ("TMPDIR", ""),
        ] {
            command.env(variable, self.home.join(file));
        }
        command
    }

    /// The network namespace of a running container.
    pub(super) fn network_of(&self, container: &str) -> NetNs {
        let pid = self.json(&format!("inspect {container}"))[0]["State"]["Pid"].clone();
        NetNs::open(&text(&self.host.proc().join(pid.to_string()).join("ns/net")))
    }

    /// The network namespace that a user's Podman has beside its containers'.
    pub(super) fn users_network(&self) -> Option<NetNs> {
        // Whoever serves names does so there.
        let server = self.processes("aardvark-dns").pop().filter(|_| self.is_users);
        server.map(|process| NetNs::open(&text(&process.join("ns/net"))))
    }

    /// The host's processes that run a program of this name, as directories of `/proc`.
    pub(super) fn processes(&self, program: &str) -> Vec<PathBuf> {
        let is_it = |process: &PathBuf| {
            let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            let path = command.split('\0').next().unwrap_or_default();
            Path::new(path).file_name().is_some_and(|name| name == program)
        };
        let processes = fs::read_dir(self.host.proc()).unwrap().flatten();
        processes.map(|process| process.path()).filter(is_it).collect()
    }

    /// The JSON that a command prints.
    pub(super) fn json(&self, line: &str) -> Value {
        self.call(line).ok().json()
    }
}
