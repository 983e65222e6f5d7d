//! What the user asked a container to be.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zdocker_net::attach::choice::NetworkChoice;
use zdocker_net::names::Id;
use zdocker_net::ports::PortRequest;

use crate::error::EngineError;

/// A container as it was asked for: everything that is needed to start it, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name, unique on this host.
    pub name: String,
    /// What `hostname` says in the container.
    pub hostname: String,
    /// The command and its arguments; never empty.
    pub args: Vec<String>,
    /// Environment variables as `NAME=value`, later ones win. `PATH`, `HOME` and `HOSTNAME` are added when missing.
    pub env: Vec<String>,
    /// The working directory in the container, absolute; created when missing.
    pub cwd: PathBuf,
    /// `name|uid[:group|gid]`, looked up in the container's own `/etc/passwd` and `/etc/group`; root when missing.
    pub user: Option<String>,
    /// Host directories and files made visible in the container.
    pub mounts: Vec<Mount>,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// Whether standard input is kept open for clients to write to.
    pub open_stdin: bool,
    /// Whether the container is removed when it ends.
    pub auto_remove: bool,
    /// Where the root file system comes from.
    pub rootfs: RootfsSource,
    /// An OCI runtime binary (a path, or a name looked up in `PATH`) to use in place of the embedded runtime.
    pub runtime: Option<PathBuf>,
    /// Name servers for the container, in place of the host's.
    pub dns: Vec<IpAddr>,
    /// The rest of what its resolver is told.
    #[serde(default)]
    pub resolver: ResolverSettings,
    /// The domain that its host name is in.
    #[serde(default)]
    pub domainname: Option<String>,
    /// Names and addresses that `/etc/hosts` lists beside those of its networks.
    #[serde(default)]
    pub extra_hosts: Vec<ExtraHost>,
    /// Its networks, in the order in which it is plugged into them; `host`, `none` or `container:NAME` stand alone.
    #[serde(default)]
    pub networks: Vec<NetworkChoice>,
    /// What is published of it.
    #[serde(default)]
    pub ports: Vec<PortRequest>,
    /// Which network namespace it gets.
    pub namespace: NamespaceChoice,
}

/// A line of `/etc/hosts` that the user gave (`--add-host NAME:IP`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// Why an `--add-host` argument was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid host {0:?}: want NAME:IP, for example db:10.0.0.5 or db:[fd00::5]")]
pub struct ExtraHostError(String);

impl FromStr for ExtraHost {
    type Err = ExtraHostError;

    fn from_str(text: &str) -> Result<Self, ExtraHostError> {
        let bad = || ExtraHostError(text.to_owned());
        let (name, address) = text.split_once([':', '=']).ok_or_else(bad)?;
        let address = address
            .strip_prefix('[')
            .and_then(|a| a.strip_suffix(']'))
            .unwrap_or(address);
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        match address.parse() {
            Ok(address) if is_name => Ok(ExtraHost {
                name: name.to_owned(),
                address,
            }),
            _ => Err(bad()),
        }
    }
}

/// Lines of resolv.conf(5) in place of the host's; the host's where nothing is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverSettings {
    /// Domains that names are looked for in; `.` alone is none.
    pub search: Vec<String>,
    /// Options such as `ndots:2`.
    pub options: Vec<String>,
}

impl ContainerSpec {
    /// The identifier of the container whose files of `/etc` it has: with a namespace it shares the names in it.
    pub fn etc_owner(&self) -> &str {
        match &self.namespace {
            NamespaceChoice::Container(other) => other.as_str(),
            NamespaceChoice::Own | NamespaceChoice::Host => &self.id,
        }
    }

    /// The host name with its domain, if it is in one.
    pub(crate) fn full_hostname(&self) -> Option<String> {
        let domain = self.domainname.as_ref()?;
        Some(format!("{}.{domain}", self.hostname))
    }

    /// As it is recorded.
    ///
    /// # Errors
    /// [`EngineError::Record`], which never happens: every part has a form in JSON.
    pub(super) fn to_record(&self) -> Result<String, EngineError> {
        serde_json::to_string(self).map_err(|source| EngineError::Record {
            name: self.name.clone(),
            source,
        })
    }
}

/// Which network namespace a container gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamespaceChoice {
    /// One of its own.
    Own,
    /// The host's.
    Host,
    /// That of the container with this identifier.
    Container(Id),
}

/// Where a container's root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootfsSource {
    /// A directory of this host, `/` included, used as read-only lower layer.
    Directory(PathBuf),
}

/// A directory or file of the host that is visible in the container (`-v SOURCE:DESTINATION[:ro]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// Why a `-v` argument was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MountError {
    /// Not `SOURCE:DESTINATION[:MODE]`.
    #[error("invalid volume specification {0:?}: it must be SOURCE:DESTINATION or SOURCE:DESTINATION:ro")]
    Format(String),
    /// A name in place of a host path.
    #[error(
        "invalid volume specification {spec:?}: named volumes are not supported yet; \
         give an absolute host path in place of {name:?}"
    )]
    NamedVolume {
        /// The whole argument.
        spec: String,
        /// Its source.
        name: String,
    },
    /// The path in the container is not absolute.
    #[error("invalid mount path {destination:?} in {spec:?}: the path in the container must be absolute")]
    RelativeDestination {
        /// The whole argument.
        spec: String,
        /// The destination.
        destination: String,
    },
    /// Mounting over the whole root file system.
    #[error("invalid volume specification {0:?}: destination cannot be '/'")]
    RootDestination(String),
    /// A mode that is neither `ro` nor `rw`.
    #[error("invalid mode {mode:?} in volume specification {spec:?}: it must be \"ro\" or \"rw\"")]
    Mode {
        /// The whole argument.
        spec: String,
        /// The mode.
        mode: String,
    },
}

impl Mount {
    /// Parses `SOURCE:DESTINATION[:ro|:rw]` as Docker does.
    ///
    /// # Errors
    /// Says which part of the argument is wrong. Named volumes are refused.
    pub fn parse(spec: &str) -> Result<Self, MountError> {
        let (source, destination, mode) = match spec.split(':').collect::<Vec<_>>()[..] {
            [source, destination] => (source, destination, "rw"),
            [source, destination, mode] => (source, destination, mode),
            _ => return Err(MountError::Format(spec.to_owned())),
        };
        if source.is_empty() || destination.is_empty() {
            return Err(MountError::Format(spec.to_owned()));
        }
        let read_only = match mode {
            "rw" => false,
            "ro" => true,
            other => {
                return Err(MountError::Mode {
                    spec: spec.to_owned(),
                    mode: other.to_owned(),
                });
            }
        };
        if !source.starts_with('/') {
            return Err(MountError::NamedVolume {
                spec: spec.to_owned(),
                name: source.to_owned(),
            });
        }
        let Some(target) = clean_absolute(Path::new(destination)) else {
            return Err(MountError::RelativeDestination {
                spec: spec.to_owned(),
                destination: destination.to_owned(),
            });
        };
        if target == Path::new("/") {
            return Err(MountError::RootDestination(spec.to_owned()));
        }
        Ok(Self {
            source: PathBuf::from(source),
            destination: target,
            read_only,
        })
    }

    /// Creates the source as a directory when nothing is there, as Docker does for `-v`.
    ///
    /// # Errors
    /// As `mkdir -p`.
    pub fn create_missing_source(&self) -> std::io::Result<()> {
        // A dangling symbolic link is something that is there: mkdir's own error is the clearest then.
        if self.source.exists() {
            Ok(())
        } else {
            std::fs::create_dir_all(&self.source)
        }
    }
}

/// Resolves `.` and `..` in an absolute path by name alone (no symbolic link is looked at); `None` when it is relative.
pub(crate) fn clean_absolute(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: &str, destination: &str, read_only: bool) -> Mount {
        Mount {
            source: source.into(),
            destination: destination.into(),
            read_only,
        }
    }

    #[test]
    fn volumes_with_and_without_a_mode() {
        assert_eq!(Mount::parse("/srv:/data"), Ok(mount("/srv", "/data", false)));
        assert_eq!(Mount::parse("/srv:/data:rw"), Ok(mount("/srv", "/data", false)));
        assert_eq!(Mount::parse("/a b,c:/data/../x/:ro"), Ok(mount("/a b,c", "/x", true)));
    }

    #[test]
    fn wrong_volumes_say_what_is_wrong() {
        let check = |spec: &str, expected: &str| assert_eq!(Mount::parse(spec).unwrap_err().to_string(), expected);
        let form = "it must be SOURCE:DESTINATION or SOURCE:DESTINATION:ro";
        check("/data", &format!("invalid volume specification \"/data\": {form}"));
        check(":/data", &format!("invalid volume specification \":/data\": {form}"));
        check(
            "/a:/b:ro:z",
            &format!("invalid volume specification \"/a:/b:ro:z\": {form}"),
        );
        check(
            "/a:/",
            "invalid volume specification \"/a:/\": destination cannot be '/'",
        );
        check(
            "/a:b",
            "invalid mount path \"b\" in \"/a:b\": the path in the container must be absolute",
        );
        check(
            "/a:/b:z",
            "invalid mode \"z\" in volume specification \"/a:/b:z\": it must be \"ro\" or \"rw\"",
        );
        check(
            "db:/b",
            "invalid volume specification \"db:/b\": named volumes are not supported yet; \
             give an absolute host path in place of \"db\"",
        );
    }

    #[test]
    fn a_missing_source_is_created_as_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let missing = dir.path().join("a/b");
        for source in [&file, &missing] {
            Mount {
                source: source.clone(),
                destination: "/x".into(),
                read_only: false,
            }
            .create_missing_source()
            .unwrap();
        }
        assert!(missing.is_dir());
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }
}
