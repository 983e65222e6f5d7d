//! What a host is made of at one moment, for tests that say "as before".

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::mem;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::host::Host;
use super::wait::{PATIENCE, within};

/// Every link, address, route, firewall object, mount, control group, process and file of a host, one a line.
///
/// Left out is what zdocker may leave for good: the fixed content of its firewall tables (though not the elements of
/// their sets and maps), its database, compiled seccomp filters, and the switches that make the host forward packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at `host`, and looks again until it sees the same twice: interfaces and processes end a moment after their
    /// last user.
    pub(crate) fn take(host: &Host) -> Self {
        let mut seen = Snapshot::look(host);
        let settled = within(PATIENCE, || {
            thread::sleep(Duration::from_millis(30));
            let earlier = mem::replace(&mut seen, Snapshot::look(host));
            earlier == seen && seen.is_at_rest()
        });
        assert!(settled, "the host does not come to rest");
        seen
    }

    /// Whether every endpoint's interface has its addresses pinned: one that has not is about to be reaped.
    fn is_at_rest(&self) -> bool {
        let ports = self
            .0
            .iter()
            .filter_map(|line| line.strip_prefix("link zdv")?.split(' ').next());
        ports.into_iter().all(|port| {
            let pinned = |line: &String| line.contains("pins") && line.contains(port);
            self.0.iter().any(pinned)
        })
    }

    fn look(host: &Host) -> Self {
        let mut lines = BTreeSet::new();
        links(host, &mut lines);
        routes(host, &mut lines);
        firewall(host, &mut lines);
        switches(host, &mut lines);
        mounts(host, &mut lines);
        processes(host, &mut lines);
        for cgroup in host.cgroups() {
            directories(cgroup, cgroup, "cgroup", &mut lines);
        }
        files(&host.root(), &mut lines);
        files(&host.run_root(), &mut lines);
        Snapshot(lines)
    }

    /// What differs, one line each: `-` for what is gone and `+` for what is new. Empty when nothing differs.
    pub(crate) fn diff(&self, later: &Snapshot) -> String {
        let mut diff = String::new();
        for line in self.0.difference(&later.0) {
            let _ = writeln!(diff, "- {line}");
        }
        for line in later.0.difference(&self.0) {
            let _ = writeln!(diff, "+ {line}");
        }
        diff
    }

    /// The lines that start with `prefix`.
    pub(crate) fn lines(&self, prefix: &str) -> Vec<&str> {
        self.0
            .iter()
            .map(String::as_str)
            .filter(|line| line.starts_with(prefix))
            .collect()
    }

    /// Checks that `host` is as it was when this snapshot was taken. Processes and namespaces end a moment after their
    /// last user, so it looks until it is so.
    #[track_caller]
    pub(crate) fn assert_same(&self, host: &Host) {
        let mut diff = String::new();
        let same = within(PATIENCE, || {
            diff = self.diff(&Snapshot::look(host));
            diff.is_empty()
        });
        assert!(same, "the host is not as it was:\n{diff}");
    }
}

fn links(host: &Host, lines: &mut BTreeSet<String>) {
    for link in host.net.ip_json(&["-details", "addr", "show"]) {
        let text = |key: &str| link[key].as_str().unwrap_or("-").to_owned();
        let name = text("ifname");
        let (mtu, kind) = (&link["mtu"], link["linkinfo"]["info_kind"].as_str().unwrap_or("-"));
        let (mac, master) = (text("address"), text("master"));
        let up = link["flags"]
            .as_array()
            .is_some_and(|flags| flags.contains(&"UP".into()));
        lines.insert(format!(
            "link {name} kind {kind} mac {mac} mtu {mtu} master {master} up {up}"
        ));
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let local = address["local"].as_str().unwrap_or("-");
            lines.insert(format!("address {local}/{} of {name}", address["prefixlen"]));
        }
    }
}

fn routes(host: &Host, lines: &mut BTreeSet<String>) {
    for family in ["-4", "-6"] {
        for (what, args) in [
            ("route", &["route", "show", "table", "all"][..]),
            ("rule", &["rule", "show"]),
        ] {
            let shown = host.net.output("ip", &[&[family], args].concat(), "");
            // Whether a device has a carrier, which a bridge without ports has not, comes and goes by itself.
            let lasting = |line: &str| line.replace(" linkdown", "").trim_end().to_owned();
            // A router answers at the anycast address of each of its subnets (RFC 4291, section 2.6.1).
            // The kernel joins multicast groups when it comes to it.
            let own = |line: &&str| line.starts_with("anycast ") || line.starts_with("multicast ff00::/8 ");
            let shown = shown.lines().filter(|line| !own(line));
            lines.extend(shown.map(|line| format!("{what} {family} {}", lasting(line))));
        }
    }
}

fn firewall(host: &Host, lines: &mut BTreeSet<String>) {
    let ruleset = host.net.output("nft", &["-j", "list", "ruleset"], "");
    let ruleset: Value = serde_json::from_str(&ruleset).unwrap_or_else(|e| panic!("{e}: {ruleset}"));
    for object in ruleset["nftables"].as_array().unwrap() {
        let (kind, content) = object.as_object().unwrap().iter().next().unwrap();
        let text = |key: &str| content[key].as_str().unwrap_or("-");
        let table = if kind == "table" { text("name") } else { text("table") };
        if kind == "metainfo" {
        } else if table != "zdocker" {
            let mut content = content.clone();
            content.as_object_mut().unwrap().remove("handle");
            lines.insert(format!("nft {kind} {content}"));
        } else {
            for element in content["elem"].as_array().into_iter().flatten() {
                lines.insert(format!(
                    "element {} zdocker {}: {element}",
                    text("family"),
                    text("name")
                ));
            }
        }
    }
}

fn switches(host: &Host, lines: &mut BTreeSet<String>) {
    let read = |directory: &str| {
        host.net.run(|| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let named = entries.map(|entry| (entry.path(), fs::read_to_string(entry.path())));
            named
                .filter_map(|(path, value)| Some((path, value.ok()?)))
                .collect::<Vec<_>>()
        })
    };
    for (family, scope) in ["ipv4", "ipv6"]
        .into_iter()
        .flat_map(|f| ["all", "default", "lo", "eth0"].map(|s| (f, s)))
    {
        for (path, value) in read(&format!("/proc/sys/net/{family}/conf/{scope}")) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Turning forwarding on also turns the acceptance of redirects off, and that of router advertisements is
            // kept.
            if !matches!(
                name.as_str(),
                "forwarding" | "accept_redirects" | "accept_ra" | "stable_secret"
            ) {
                lines.insert(format!("switch net/{family}/conf/{scope}/{name} = {}", value.trim()));
            }
        }
    }
}

fn mounts(host: &Host, lines: &mut BTreeSet<String>) {
    for line in host.mountinfo().lines() {
        // Without the two ids at the start, which are of no meaning.
        let shown = line.splitn(4, ' ').nth(3).unwrap_or(line);
        lines.insert(format!("mount {shown}"));
    }
}

fn processes(host: &Host, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(host.proc()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        lines.insert(format!("process {pid} {}", command.trim_end()));
    }
}

fn directories(root: &Path, directory: &Path, label: &str, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            lines.insert(format!("{label} {}: {}", root.display(), path.display()));
            directories(root, &entry.path(), label, lines);
        }
    }
}

/// What is below one of the roots. The directories that the root itself is divided into stay for good.
fn files(root: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_database = [".db", ".db-wal", ".db-shm"].iter().any(|end| name.ends_with(end));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tree(&entry.path(), lines);
        } else if !is_database {
            lines.insert(format!("file {}", entry.path().display()));
        }
    }
}

fn tree(directory: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // Seccomp filters, once compiled, are kept for the next container.
        if !(directory.ends_with("seccomp") && entry.path().extension().is_some_and(|end| end == "bpf")) {
            lines.insert(format!("file {}", entry.path().display()));
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tree(&entry.path(), lines);
        }
    }
}
