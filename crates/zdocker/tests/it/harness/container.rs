//! Containers of a test.

use std::fs;
use std::net::IpAddr;

use super::host::Host;
use super::netns::NetNs;
use super::wait::until_some;

/// A running container that a test started and whose network the test can enter.
pub(crate) struct Container {
    /// As `run -d` printed it: 64 hexadecimal digits.
    pub(crate) id: String,
    /// The container's network namespace.
    pub(crate) net: NetNs,
    /// A process of the container, by its number in the test's own process namespace.
    pub(crate) pid: u32,
}

impl Container {
    /// The first address of IPv4 (or IPv6) of `interface`.
    pub(crate) fn address(&self, interface: &str, v6: bool) -> IpAddr {
        let links = self.net.ip_json(&["addr", "show", "dev", interface]);
        let found = links[0]["addr_info"].as_array().unwrap().iter().find_map(|address| {
            let address = address["local"].as_str()?.parse::<IpAddr>().ok()?;
            let link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
            (address.is_ipv6() == v6 && !link_local).then_some(address)
        });
        found.unwrap_or_else(|| panic!("{interface} of {} has no such address: {links:?}", self.id))
    }

    /// The IPv4 address of `eth0`.
    pub(crate) fn v4(&self) -> IpAddr {
        self.address("eth0", false)
    }

    /// The IPv6 address of `eth0`.
    pub(crate) fn v6(&self) -> IpAddr {
        self.address("eth0", true)
    }
}

impl Host {
    /// Starts a container that does nothing: `run -d --name NAME OPTIONS --rootfs / -- busybox sleep infinity`.
    pub(crate) fn run(&self, name: &str, options: &str) -> Container {
        let mark = format!("ZDOCKER_TEST_CONTAINER={}/{name}", self.run_root().display());
        let mut args = vec!["run", "-d", "--name", name, "-e", &mark];
        args.extend(options.split_whitespace());
        args.extend(["--rootfs", "/", "--", "busybox", "sleep", "infinity"]);
        let output = self.zdocker(&args).ok();
        let id = output.text().to_owned();
        assert!(is_id(&id), "run -d prints the container's id, not {id:?}");
        self.container_with(&mark, id)
    }

    /// A container that [`Host::run`] has started and that was started again since.
    pub(crate) fn container(&self, name: &str) -> Container {
        let mark = format!("ZDOCKER_TEST_CONTAINER={}/{name}", self.run_root().display());
        self.container_with(&mark, name.to_owned())
    }

    fn container_with(&self, mark: &str, id: String) -> Container {
        let pid = Host::process_with(mark);
        Container {
            id,
            net: NetNs::open(&format!("/proc/{pid}/ns/net")),
            pid,
        }
    }

    /// Waits for a process that has `variable` (`NAME=value`) in its environment.
    fn process_with(variable: &str) -> u32 {
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == variable.as_bytes())
        };
        until_some(&format!("a process with {variable} in its environment"), || {
            processes().find(marked)
        })
    }
}

/// The process ids of the machine.
fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether `text` is an id: 64 hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
