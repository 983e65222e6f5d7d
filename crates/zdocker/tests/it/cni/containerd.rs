//! Debian's containerd calls the plug-ins: `ctr run --cni`.

use std::fs;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::driver::Runtime;
use super::runtimes::{give_places, is_installed, make_root, text};
use super::{addresses_of, both, both_ours, default_gateway, dual_bridge, list, portmap};
use crate::harness::{
    HOST_V4, HOST_V6, NetNs, OUTSIDE_V4, OUTSIDE_V6, Output, Proto, Server, Snapshot, ip, reaches, until, until_some,
};

both!(containers_of_containerd_come_and_go);

const SOCKET: &str = "/run/containerd.sock";
const IMAGE: &str = "docker.io/library/test:latest";

/// A containerd with one image; what it started ends with its host.
struct Containerd<'a> {
    runtime: &'a Runtime,
    daemon: Child,
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl<'a> Containerd<'a> {
    fn start(runtime: &'a Runtime) -> Self {
        let host = &runtime.host;
        let scratch = host.scratch();
        let place = |name: &str| text(&scratch.join(name));
        let (config, log) = (place("containerd.toml"), place("containerd.log"));
        let root = place("containerd");
        fs::write(
            &config,
            format!(
                "version = 2\nroot = \"{root}\"\nstate = \"/run/containerd\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{SOCKET}\"\n"
            ),
        )
        .unwrap();
        let mut command = host.command("containerd", &["--config", &config]);
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let daemon = host.spawn(&mut command).unwrap_or_else(|e| panic!("containerd: {e}"));
        let mut containerd = Containerd { runtime, daemon };
        // It says that it is ready by answering.
        until("containerd answers", || {
            if let Some(status) = containerd.daemon.try_wait().unwrap() {
                panic!("containerd ended, {status}: {}", fs::read_to_string(&log).unwrap());
            }
            runtime.seen(SOCKET).exists() && containerd.ctr(&["version"]).status == 0
        });
        let archive = containerd.make_image();
        containerd
            .ctr(&["images", "import", "--snapshotter", "native", &archive])
            .ok();
        containerd
    }

    /// Makes an image of busybox alone, in the form of `docker save`.
    fn make_image(&self) -> String {
        let scratch = self.runtime.host.scratch();
        let host = &self.runtime.host;
        let (root, directory) = (text(&make_root(&scratch)), text(&scratch));
        let layer = text(&scratch.join("layer.tar"));
        host.program("tar", &["-C", &root, "-cf", &layer, "."]).ok();
        let digest = host.program("sha256sum", &[&layer]).ok();
        let digest = digest.text().split(' ').next().unwrap().to_owned();
        let config = json!({
            "architecture": machine(), "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] }
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
        fs::write(scratch.join("config.json"), config.to_string()).unwrap();
        fs::write(scratch.join("manifest.json"), manifest.to_string()).unwrap();
        let archive = text(&scratch.join("image.tar"));
        let files = ["manifest.json", "config.json", "layer.tar"];
        host.program("tar", &[&["-C", &directory, "-cf", &archive][..], &files].concat())
            .ok();
        archive
    }

    fn ctr(&self, args: &[&str]) -> Output {
        self.runtime
            .host
            .program("ctr", &[&["--address", SOCKET], args].concat())
    }

    /// Starts a container that does nothing, and waits until it runs. Its `ctr` adds it to the network, and takes it off
    /// when it ends.
    fn run(&self, name: &str) -> (Child, NetNs, Pid) {
        let args = [
            "--address",
            SOCKET,
            "run",
            "--rm",
            "--cni",
            "--snapshotter",
            "native",
            IMAGE,
            name,
            "/bin/sleep",
            "1000000",
        ];
        let child = self
            .runtime
            .host
            .spawn(&mut self.runtime.host.command("ctr", &args))
            .unwrap();
        let pid = until_some("the container runs", || {
            let tasks = self.ctr(&["tasks", "list"]).ok().stdout;
            let task = tasks
                .lines()
                .find(|line| line.starts_with(name) && line.contains("RUNNING"))?;
            task.split_whitespace().nth(1)?.parse::<i32>().ok()
        });
        let process = self.runtime.host.proc().join(pid.to_string());
        let net = NetNs::open(&text(&process.join("ns/net")));
        // Both are the same process; this is its number in the test's process namespace.
        let status = own_number(&text(&process));
        (child, net, Pid::from_raw(status))
    }
}

/// The number that a process of a host, by its directory in the host's `/proc`, has for the test.
fn own_number(process: &str) -> i32 {
    let namespace = fs::read_link(format!("{process}/ns/net")).unwrap();
    let command = fs::read(format!("{process}/cmdline")).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let same = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other == namespace)
            && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|other| other == command)
    };
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found: Vec<i32> = numbers.filter(same).collect();
    assert_eq!(found.len(), 1, "the container's process");
    found[0]
}

/// The machine's architecture as images have it.
fn machine() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

fn containers_of_containerd_come_and_go(runtime: &Runtime) {
    if !is_installed("/usr/bin/containerd") || !is_installed("/usr/bin/ctr") {
        return;
    }
    give_places(runtime);
    let list = list("1.0.0", "net", json!([dual_bridge(), portmap()]));
    fs::write(runtime.seen("/etc/cni/net.d/10-net.conflist"), list.to_string()).unwrap();
    let containerd = Containerd::start(runtime);
    let before = Snapshot::take(&runtime.host);

    let (mut one, net_one, pid_one) = containerd.run("one");
    let (mut two, net_two, pid_two) = containerd.run("two");
    assert_eq!(addresses_of(&net_one, "eth0"), ["10.88.0.2/24", "fd00:88::2/64"]);
    assert_eq!(addresses_of(&net_two, "eth0"), ["10.88.0.3/24", "fd00:88::3/64"]);
    assert_eq!(default_gateway(&net_one, "-4").unwrap(), "10.88.0.1");
    let servers = (
        Server::start(&net_one, "one", 80),
        Server::start(&runtime.host.outside, "outside", 80),
    );
    for address in ["10.88.0.2", "fd00:88::2"].map(ip) {
        assert_eq!(reaches(&net_two, Proto::Tcp, (address, 80)).server, "one");
    }
    for (outside, host) in [(OUTSIDE_V4, HOST_V4), (OUTSIDE_V6, HOST_V6)] {
        assert_eq!(reaches(&net_one, Proto::Udp, (ip(outside), 80)).source, ip(host));
    }
    drop((servers, net_one, net_two));
    for (child, pid) in [(&mut one, pid_one), (&mut two, pid_two)] {
        kill(pid, Signal::SIGKILL).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(137), "as the container's process ended");
    }
    // Nothing of theirs holds an address.
    let leases = runtime.seen("/var/lib/cni/networks/net/10.88.0.2");
    assert!(!leases.exists());
    runtime.host.program("ip", &["link", "del", "dev", "cni0"]);
    let links = || super::interfaces(&runtime.host.net);
    until("no interface is left", || links() == ["eth0"]);
    assert_eq!(Snapshot::take(&runtime.host).lines("route"), before.lines("route"));
}
