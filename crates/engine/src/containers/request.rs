//! From what a user asked of `run` to a container's specification: all validation that needs no records.

use std::net::IpAddr;
use std::path::PathBuf;

use zdocker_net::attach::choice::NetworkChoice;
use zdocker_net::model::Bandwidth;
use zdocker_net::names::{Id, MacAddress, Name};
use zdocker_net::ports::{ContainerPorts, PortRequest, publish_all};

use super::names;
use super::spec::{ContainerSpec, ExtraHost, Mount, NamespaceChoice, ResolverSettings, RootfsSource};
use crate::engine::random;
use crate::error::EngineError;

/// The network of containers that name none.
const DEFAULT_NETWORK: &str = "bridge";

/// The longest host name that Linux takes, in bytes (gethostname(2)).
const HOST_NAME_MAX: usize = 63;

/// A container as a user asks for it.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// Its name; made up if missing.
    pub name: Option<String>,
    /// Its host name; the start of its identifier if missing.
    pub hostname: Option<String>,
    /// The command and its arguments.
    pub args: Vec<String>,
    /// Environment variables, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: Option<PathBuf>,
    /// `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// Host directories and files made visible in it.
    pub mounts: Vec<Mount>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its standard input is kept open.
    pub interactive: bool,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// The directory that is its root file system.
    pub rootfs: Option<PathBuf>,
    /// An OCI runtime binary in place of the embedded runtime.
    pub runtime: Option<PathBuf>,
    /// Name servers.
    pub dns: Vec<std::net::IpAddr>,
    /// What else its resolver is told.
    pub resolver: ResolverSettings,
    /// The domain that its host name is in.
    pub domainname: Option<String>,
    /// Lines of `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Networks, `host`, `none` or `container:NAME`; the default network if there are none.
    pub networks: Vec<NetworkChoice>,
    /// Addresses, each on the network whose subnet has it.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address on the first network.
    pub mac: Option<MacAddress>,
    /// Names on the first network.
    pub aliases: Vec<String>,
    /// How much it may send and receive on each network for which nothing else is said.
    pub bandwidth: Bandwidth,
    /// What is published.
    pub ports: Vec<PortRequest>,
    /// Ports that the container says it listens at.
    pub exposed: Vec<ContainerPorts>,
    /// Whether all of them are published.
    pub publish_all: bool,
}

impl RunRequest {
    /// What is published, with what is because all is.
    fn all_ports(&self) -> Vec<PortRequest> {
        let mut ports = self.ports.clone();
        if self.publish_all {
            ports.extend(publish_all(&self.exposed, &self.ports));
        }
        ports
    }

    /// An option that is about the files of `/etc` that are shared with a network namespace.
    fn names_of_its_own(&self) -> Option<&'static str> {
        let options = [
            ("--hostname", self.hostname.is_some()),
            ("--domainname", self.domainname.is_some()),
            ("--add-host", !self.extra_hosts.is_empty()),
            ("--dns", !self.dns.is_empty()),
            ("--dns-search", !self.resolver.search.is_empty()),
            ("--dns-option", !self.resolver.options.is_empty()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// The networks, with what was said of the first one apart from them.
    fn choices(&self) -> Vec<NetworkChoice> {
        let mut choices = self.networks.clone();
        if choices.is_empty() {
            choices.push(NetworkChoice::plain(DEFAULT_NETWORK));
        }
        for choice in &mut choices {
            // Docker has it as a word for its default network.
            if choice.network == "default" {
                DEFAULT_NETWORK.clone_into(&mut choice.network);
            }
            let own = &mut choice.endpoint.settings.bandwidth;
            own.receive = own.receive.or(self.bandwidth.receive);
            own.send = own.send.or(self.bandwidth.send);
        }
        let first = &mut choices[0].endpoint;
        first.mac = first.mac.or(self.mac);
        first.settings.aliases.extend(self.aliases.iter().cloned());
        choices
    }
}

/// The specification of the container that `request` asks for, with `dns` where it names no name servers. The namespace
/// is filled in when the networks are known.
pub(super) fn specify(
    request: &RunRequest,
    dns: &[std::net::IpAddr],
) -> Result<(Id, Name, ContainerSpec), EngineError> {
    let rootfs = request.rootfs.clone().ok_or(EngineError::NoRootfs)?;
    if request.args.is_empty() {
        return Err(EngineError::NoCommand);
    }
    if let Some(bad) = request
        .env
        .iter()
        .find(|variable| variable.is_empty() || variable.starts_with('='))
    {
        return Err(EngineError::BadEnvironment(bad.clone()));
    }
    let cwd = request.cwd.clone().unwrap_or_else(|| PathBuf::from("/"));
    if !cwd.is_absolute() {
        return Err(EngineError::RelativeWorkdir(cwd));
    }
    let choices = request.choices();
    if let Some(shared) = choices.iter().find(|choice| choice.network.starts_with("container:"))
        && let Some(what) = request.names_of_its_own()
    {
        return Err(EngineError::NotWithMode {
            what,
            mode: shared.network.clone(),
        });
    }
    if let Some(bad) = request.domainname.as_ref().filter(|name| !is_hostname(name)) {
        return Err(EngineError::BadHostname(bad.clone()));
    }
    check_resolver(&request.resolver)?;
    if let Some(bad) = request.hostname.as_ref().filter(|name| !is_hostname(name)) {
        return Err(EngineError::BadHostname(bad.clone()));
    }
    let rootfs = rootfs
        .canonicalize()
        .map_err(EngineError::io("use as root file system", rootfs))?;
    let id = Id::new(random()?);
    let name: Name = match &request.name {
        Some(name) => name.parse()?,
        None => names::made_up(random()?).parse()?,
    };
    let spec = ContainerSpec {
        id: id.to_string(),
        name: name.to_string(),
        hostname: request.hostname.clone().unwrap_or_else(|| id.short().to_owned()),
        args: request.args.clone(),
        env: request.env.clone(),
        cwd,
        user: request.user.clone(),
        mounts: request.mounts.clone(),
        tty: request.tty,
        open_stdin: request.interactive,
        auto_remove: request.auto_remove,
        rootfs: RootfsSource::Directory(rootfs),
        runtime: request.runtime.clone(),
        dns: if request.dns.is_empty() {
            dns.to_vec()
        } else {
            request.dns.clone()
        },
        resolver: request.resolver.clone(),
        domainname: request.domainname.clone(),
        extra_hosts: request.extra_hosts.clone(),
        networks: choices,
        ports: request.all_ports(),
        namespace: NamespaceChoice::Own,
    };
    Ok((id, name, spec))
}

/// Each is one word of a line of resolv.conf(5).
fn check_resolver(settings: &ResolverSettings) -> Result<(), EngineError> {
    let is_word = |word: &&String| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_graphic());
    let bad = settings
        .search
        .iter()
        .chain(&settings.options)
        .find(|word| !is_word(word));
    bad.map_or(Ok(()), |bad| Err(EngineError::BadResolver(bad.clone())))
}

/// Whether `name` is a host name (RFC 1123, section 2.1) of at most [`HOST_NAME_MAX`] bytes.
fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= HOST_NAME_MAX && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        let longest = "a".repeat(HOST_NAME_MAX);
        for good in ["a", "web-1.example.org", "3com", "WEB", &longest] {
            assert!(is_hostname(good), "{good}");
        }
        let long = longest.clone() + "a";
        for bad in [
            "",
            "a b",
            "a\n127.0.0.1 evil",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "\u{e4}",
            &long,
        ] {
            assert!(!is_hostname(bad), "{bad}");
            let request = RunRequest {
                hostname: Some(bad.to_owned()),
                args: vec!["true".to_owned()],
                rootfs: Some(PathBuf::from("/")),
                ..RunRequest::default()
            };
            let error = specify(&request, &[]).unwrap_err();
            assert!(
                matches!(&error, EngineError::BadHostname(name) if name == bad),
                "{error}"
            );
        }
    }
}
