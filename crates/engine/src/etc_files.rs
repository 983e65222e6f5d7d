//! The files that the engine makes for a container: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

mod hosts_file;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub use self::hosts_file::{HostsFile, HostsLine};
use crate::containers::paths::ContainerPaths;
use crate::containers::spec::ResolverSettings;
use crate::private;

/// The names of the files, below `/etc` in the container and as given to [`ContainerPaths::etc_file`].
pub const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// The local stub of systemd-resolved, which answers on the host only.
const RESOLVED_STUB: &str = "127.0.0.53";

/// Where systemd-resolved writes the name servers behind its stub.
const RESOLVED_UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// What a container asks when the host has no name server that can be reached from elsewhere (as Docker).
const PUBLIC_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// The content of `/etc/hosts`: the loopback names, then these lines.
pub fn hosts(lines: impl Iterator<Item = HostsLine>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for line in lines {
        text.push_str(&line.text);
    }
    text
}

/// The content of `/etc/resolv.conf`: the name servers `dns` when given, else the host's without those that only work
/// on the host; search domains and options are those of `settings` when given, else the host's. See resolv.conf(5).
pub fn resolv_conf(dns: &[IpAddr], settings: &ResolverSettings, host: &str) -> String {
    let mut text = String::new();
    let mut servers: Vec<String> = dns.iter().map(ToString::to_string).collect();
    for line in host.lines().map(str::trim) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["nameserver", server, ..] if dns.is_empty() && !is_local(server) => {
                servers.push(server.to_owned());
            }
            ["search" | "domain", ..] if !settings.search.is_empty() => {}
            ["options", ..] if !settings.options.is_empty() => {}
            ["search" | "domain" | "options" | "sortlist", _, ..] => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    let given = |name: &str, words: &[String]| match words {
        [] => String::new(),
        [dot] if dot == "." => String::new(),
        words => format!("{name} {}\n", words.join(" ")),
    };
    text.push_str(&given("search", &settings.search));
    text.push_str(&given("options", &settings.options));
    if servers.is_empty() {
        servers = PUBLIC_SERVERS.map(str::to_owned).to_vec();
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

/// Loopback addresses, and link-local ones, whose scope is an interface that the container does not have.
fn is_local(server: &str) -> bool {
    let (address, zone) = match server.split_once('%') {
        Some((address, _)) => (address, true),
        None => (server, false),
    };
    zone || address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// The host's own resolver configuration, that of systemd-resolved's upstream when the host has only its local stub.
/// Empty when the host has none.
pub fn host_resolv_conf() -> String {
    host_resolv_conf_from(Path::new("/etc/resolv.conf"), Path::new(RESOLVED_UPSTREAM))
}

fn host_resolv_conf_from(file: &Path, upstream: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim);
    let stub_only = servers.next() == Some(RESOLVED_STUB) && servers.next().is_none();
    if stub_only {
        fs::read_to_string(upstream).unwrap_or(text)
    } else {
        text
    }
}

/// Writes all but `/etc/hosts` ([`HostsFile`]) to where the bundle mounts them from.
///
/// # Errors
/// As writing files.
pub fn write(paths: &ContainerPaths, hostname: &str, resolv_conf: &str) -> io::Result<()> {
    paths.make_state_dir()?;
    private::create_dir(&paths.etc_file(""))?;
    let hostname = format!("{hostname}\n");
    for (name, content) in [("hostname", hostname.as_str()), ("resolv.conf", resolv_conf)] {
        let file = paths.etc_file(name);
        fs::write(&file, content)?;
        readable_by_all(&file)?;
    }
    Ok(())
}

/// Every user of the container reads them, whatever the mask of who starts it.
pub(crate) fn readable_by_all(file: &Path) -> io::Result<()> {
    fs::set_permissions(file, Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_and_options_are_in_place_of_the_hosts() {
        let host = "search a b\noptions ndots:1\nnameserver 10.0.0.1\n";
        let check = |search: &[&str], options: &[&str], expected: &str| {
            let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            let settings = ResolverSettings {
                search: words(search),
                options: words(options),
            };
            assert_eq!(resolv_conf(&[], &settings, host), expected);
        };
        check(&["x", "y"], &[], "options ndots:1\nsearch x y\nnameserver 10.0.0.1\n");
        check(
            &["."],
            &["ndots:2", "edns0"],
            "options ndots:2 edns0\nnameserver 10.0.0.1\n",
        );
    }

    #[test]
    fn every_address_is_listed_with_every_name() {
        let addresses: [IpAddr; 2] = ["192.168.1.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let lines = addresses.map(|address| HostsLine::new(address, ["web", "0123456789ab"]));
        let text = hosts(lines.into_iter());
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "));
        assert!(text.ends_with("\n192.168.1.2\tweb 0123456789ab\nfd00::2\tweb 0123456789ab\n"));
    }

    #[test]
    fn name_servers_that_only_work_on_the_host_are_dropped() {
        let host = "# comment\nsearch example.org corp\nnameserver 127.0.0.1\nnameserver\t10.0.0.1 \nnameserver ::1\n\
                    nameserver fe80::1%eth0\noptions ndots:2\nnameserver 2001:db8::1\n";
        let expected = "search example.org corp\noptions ndots:2\nnameserver 10.0.0.1\nnameserver 2001:db8::1\n";
        assert_eq!(resolv_conf(&[], &ResolverSettings::default(), host), expected);
    }

    #[test]
    fn a_host_without_usable_servers_leaves_the_public_ones() {
        for host in ["", "nameserver 127.0.0.53\n", "nameserver 0.0.0.0\n"] {
            assert_eq!(
                resolv_conf(&[], &ResolverSettings::default(), host),
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
            );
        }
    }

    #[test]
    fn given_servers_replace_the_hosts_and_may_be_local() {
        let dns = ["127.0.0.1".parse().unwrap()];
        assert_eq!(
            resolv_conf(&dns, &ResolverSettings::default(), "search a\nnameserver 10.0.0.1\n"),
            "search a\nnameserver 127.0.0.1\n"
        );
    }

    #[test]
    fn the_stub_of_systemd_resolved_is_looked_behind() {
        let dir = tempfile::tempdir().unwrap();
        let [file, upstream] = ["stub", "upstream"].map(|name| dir.path().join(name));
        fs::write(&upstream, "nameserver 10.0.0.1\n").unwrap();
        let check = |content: &str, expected: &str| {
            fs::write(&file, content).unwrap();
            assert_eq!(host_resolv_conf_from(&file, &upstream), expected);
        };
        check("nameserver 127.0.0.53\noptions edns0\n", "nameserver 10.0.0.1\n");
        check(
            "nameserver 127.0.0.53\nnameserver 10.0.0.9\n",
            "nameserver 127.0.0.53\nnameserver 10.0.0.9\n",
        );
        check("nameserver 10.0.0.9\n", "nameserver 10.0.0.9\n");
        assert_eq!(host_resolv_conf_from(&dir.path().join("none"), &upstream), "");
    }
}
