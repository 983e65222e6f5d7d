use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use super::super::update::update;
use crate::output;

use super::*;

/// Debian's.
const SERVER: &str = "/usr/lib/podman/aardvark-dns";

fn entry(network: &str, container: &str, addresses: &[&str], names: &[&str]) -> Entry {
    let ip = |text: &&str| text.parse().unwrap();
    Entry {
        network: network.to_owned(),
        internal: false,
        gateways: vec![ip(&"10.89.0.1")],
        servers: Vec::new(),
        container: container.to_owned(),
        addresses: addresses.iter().map(ip).collect(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        container_servers: Vec::new(),
    }
}

/// A name server that succeeds at once and does nothing.
fn idle() -> (TempDir, Dns) {
    let directory = TempDir::new().unwrap();
    let dns = Dns::new(directory.path(), Path::new("/bin/true"), 53, false);
    (directory, dns)
}

fn text(dns: &Dns, file: &str) -> Option<String> {
    fs::read_to_string(dns.directory().join(file)).ok()
}

#[test]
fn files_have_a_line_for_each_container() {
    let (_directory, dns) = idle();
    dns.added(&[
        entry("front", "c1", &["10.89.0.2", "fd00::2"], &["web", "www"]),
        entry("back", "c1", &["10.90.0.2"], &["web"]),
    ])
    .unwrap();
    let mut second = entry("front", "c12", &["fd00::3"], &["db"]);
    second.servers = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
    second.container_servers = vec!["192.0.2.3".parse().unwrap()];
    dns.added(&[second]).unwrap();
    let front = "10.89.0.1 192.0.2.1,192.0.2.2\nc1 10.89.0.2 fd00::2 web,www\nc12  fd00::3 db 192.0.2.3\n";
    assert_eq!(text(&dns, "front").unwrap(), front);
    assert_eq!(text(&dns, "back").unwrap(), "10.89.0.1\nc1 10.90.0.2  web\n");

    update(&dns, "back", &["192.0.2.9,fd00::9".to_owned(), "192.0.2.8".to_owned()]).unwrap();
    assert_eq!(
        text(&dns, "back").unwrap(),
        "10.89.0.1 192.0.2.9,fd00::9,192.0.2.8\nc1 10.90.0.2  web\n"
    );
    update(&dns, "back", &[String::new()]).unwrap();
    assert_eq!(text(&dns, "back").unwrap(), "10.89.0.1\nc1 10.90.0.2  web\n");
    update(&dns, "empty", &["192.0.2.9".to_owned()]).unwrap();
    assert!(update(&dns, "back", &["example".to_owned()]).is_err());

    // Whoever comes again has one line, and whose identifier only begins alike keeps his.
    dns.added(&[entry("front", "c1", &["10.89.0.7"], &["web"])]).unwrap();
    assert_eq!(
        text(&dns, "front").unwrap(),
        "10.89.0.1\nc12  fd00::3 db 192.0.2.3\nc1 10.89.0.7  web\n"
    );
    dns.removed("c1", &["front", "back", "never"]).unwrap();
    assert_eq!(text(&dns, "front").unwrap(), "10.89.0.1\nc12  fd00::3 db 192.0.2.3\n");
    dns.removed("c12", &["front"]).unwrap();
    dns.removed("c12", &["front"]).unwrap();
    assert_eq!(fs::read_dir(dns.directory()).unwrap().count(), 0);
}

#[test]
fn internal_networks_are_marked() {
    let (_directory, dns) = idle();
    let inside = |container| Entry {
        internal: true,
        ..entry("inside", container, &["10.89.0.2"], &["web"])
    };
    dns.added(&[inside("c1")]).unwrap();
    update(&dns, "inside", &["192.0.2.9".to_owned()]).unwrap();
    assert_eq!(
        text(&dns, "inside%int").unwrap(),
        "10.89.0.1 192.0.2.9\nc1 10.89.0.2  web\n"
    );
    assert_eq!(text(&dns, "inside"), None);
    // One that an earlier version wrote without the mark.
    fs::rename(dns.directory().join("inside%int"), dns.directory().join("inside")).unwrap();
    dns.added(&[inside("c2")]).unwrap();
    assert_eq!(text(&dns, "inside"), None);
    assert_eq!(
        text(&dns, "inside%int").unwrap(),
        "10.89.0.1\nc1 10.89.0.2  web\nc2 10.89.0.2  web\n"
    );
    dns.removed("c1", &["inside"]).unwrap();
    dns.removed("c2", &["inside"]).unwrap();
    assert_eq!(text(&dns, "inside%int"), None);
}

#[test]
fn what_would_be_read_as_something_else_is_refused() {
    let (_directory, dns) = idle();
    for name in ["", "a,b", "a b", "a\nb"] {
        let error = dns
            .added(&[entry("front", "c1", &[], &[name])])
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("{name:?}")), "{error}");
    }
    for network in ["", "../front", "a%int", "aardvark.pid", ".front"] {
        let error = dns
            .added(&[entry(network, "c1", &[], &["web"])])
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("{network:?}")), "{error}");
    }
    let mut looped = entry("front", "c1", &[], &["web"]);
    looped.servers = looped.gateways.clone();
    let error = dns.added(&[looped]).unwrap_err().to_string();
    assert!(error.contains("it would ask itself"), "{error}");
    assert!(!dns.directory().exists());
}

#[test]
fn a_server_that_does_not_start_leaves_no_entry() {
    let (directory, dns) = idle();
    let program = directory.path().join("server");
    fs::write(&program, "#!/bin/sh\necho broken >&2\nexit 7\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let failing = Dns::new(directory.path(), &program, 53, false);
    dns.added(&[entry("front", "c1", &[], &["web"])]).unwrap();
    let error = failing.added(&[entry("front", "c2", &[], &["db"])]).unwrap_err();
    for word in ["exit status: 7", "broken"] {
        assert!(format!("{error:#}").contains(word), "{error:#}");
    }
    assert_eq!(text(&dns, "front").unwrap(), "10.89.0.1\nc1   web\n");
}

#[test]
fn a_process_that_is_no_server_gets_no_signal() {
    let (_directory, dns) = idle();
    dns.added(&[entry("front", "c1", &[], &["web"])]).unwrap();
    let mut other = Command::new("sleep").arg("infinity").spawn().unwrap();
    fs::write(dns.directory().join(server::PID_FILE), other.id().to_string()).unwrap();
    dns.removed("c1", &["front"]).unwrap();
    let ended = other.try_wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(ended, None);
}

#[test]
fn systemd_starts_a_server_in_a_scope_of_its_own() {
    let words = |rootless, by_systemd| {
        let dns = Dns::new(Path::new("/run/n"), Path::new("/lib/aardvark-dns"), 1053, rootless);
        let command = dns.command(by_systemd);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words
            .map(|word| word.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let server = "/lib/aardvark-dns --config /run/n/aardvark-dns -p 1053 run";
    assert_eq!(words(false, true), format!("systemd-run -q --scope {server}"));
    assert_eq!(words(true, true), format!("systemd-run -q --scope --user {server}"));
    assert_eq!(
        (words(false, false), words(true, false)),
        (server.to_owned(), server.to_owned())
    );
}

#[test]
fn ports_of_the_environment() {
    assert_eq!(Dns::port_from(None).unwrap(), 53);
    assert_eq!(Dns::port_from(Some("1053")).unwrap(), 1053);
    assert!(Dns::port_from(Some("dns")).is_err());
}

/// The server that wrote its number to the file of its directory.
fn pid(dns: &Dns) -> Pid {
    let text = text(dns, server::PID_FILE).unwrap();
    Pid::from_raw(text.trim().parse().unwrap())
}

/// A running server; killed when dropped, if it still runs.
struct Running(Pid);

impl Running {
    fn of(dns: &Dns) -> Self {
        Running(pid(dns))
    }

    /// Whether it ends before the deadline. Whoever adopted it may not have waited for it yet.
    fn ends(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let command = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
            if command.is_empty() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !fs::read(format!("/proc/{}/cmdline", self.0))
            .unwrap_or_default()
            .is_empty()
        {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// Runs `work` in a network namespace where 10.89.0.1 and 10.89.0.2 are local, and who asks the first is the second.
fn in_namespace(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            for command in [
                "link set lo up",
                "address add 10.89.0.1/24 dev lo",
                "address add 10.89.0.2/24 dev lo",
                "route replace local 10.89.0.1 dev lo src 10.89.0.2 table local",
            ] {
                assert!(
                    Command::new("ip").args(command.split(' ')).status().unwrap().success(),
                    "{command}"
                );
            }
            work();
        });
    });
}

/// The answer of the server at 10.89.0.1 for the IPv4 address of `name`; it is asked until it knows, as it says of no
/// signal that it has heeded it.
fn ask(name: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut command = Command::new("busybox");
        command
            .args(["nslookup", "-type=a", name, "10.89.0.1"])
            .stderr(Stdio::null());
        let answer = command.output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        if answer.lines().any(|line| line == format!("Address: {expected}")) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is not {expected}: {answer}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn debians_server_resolves_names() {
    if !Path::new(SERVER).exists() || !geteuid().is_root() {
        output::note("SKIPPED: this needs root and Debian's package aardvark-dns");
        return;
    }
    let directory = TempDir::new().unwrap();
    let dns = Dns::new(directory.path(), Path::new(SERVER), 53, false);
    assert!(dns.is_installed());
    in_namespace(|| {
        dns.added(&[entry("front", "c1", &["10.89.0.2"], &["web", "www"])])
            .unwrap();
        let first = Running::of(&dns);
        ask("web.dns.podman", "10.89.0.2");
        ask("www", "10.89.0.2");
        dns.added(&[entry("front", "c2", &["10.89.0.3"], &["db"])]).unwrap();
        ask("db", "10.89.0.3");
        assert_eq!(pid(&dns), first.0);
        dns.removed("c2", &["front"]).unwrap();
        ask("web", "10.89.0.2");
        // One that died is replaced, also by who goes.
        kill(first.0, Signal::SIGKILL).unwrap();
        assert!(first.ends());
        dns.added(&[entry("front", "c3", &["10.89.0.4"], &["app"])]).unwrap();
        let second = Running::of(&dns);
        ask("app", "10.89.0.4");
        kill(second.0, Signal::SIGKILL).unwrap();
        assert!(second.ends());
        dns.removed("c3", &["front"]).unwrap();
        let third = Running::of(&dns);
        ask("web", "10.89.0.2");
        dns.removed("c1", &["front"]).unwrap();
        assert!(third.ends(), "the server does not end with its last network");
    });
    assert_eq!(text(&dns, "front"), None);
}

#[test]
fn a_users_server_in_an_earlier_namespace_is_replaced() {
    if !Path::new(SERVER).exists() || !geteuid().is_root() {
        output::note("SKIPPED: this needs root and Debian's package aardvark-dns");
        return;
    }
    let directory = TempDir::new().unwrap();
    let dns = Dns::new(directory.path(), Path::new(SERVER), 53, true);
    let mut first = None;
    in_namespace(|| {
        dns.added(&[entry("front", "c1", &["10.89.0.2"], &["web"])]).unwrap();
        first = Some(Running::of(&dns));
    });
    in_namespace(|| {
        dns.added(&[entry("front", "c2", &["10.89.0.3"], &["db"])]).unwrap();
        let second = Running::of(&dns);
        assert!(first.as_ref().unwrap().ends());
        ask("db", "10.89.0.3");
        dns.removed("c2", &["front"]).unwrap();
        dns.removed("c1", &["front"]).unwrap();
        assert!(second.ends());
    });
}
