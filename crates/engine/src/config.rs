//! The configuration file. Everything in it is optional.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zdocker_net::pools::DefaultPool;
use zdocker_net::subnet::Subnet;

/// Where the configuration is unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/zdocker/zdocker.toml";

/// The configuration, with Docker's names where Docker has the setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Address and subnet of the default bridge, `172.30.0.1/24`.
    pub bip: Option<String>,
    /// Where networks without a given subnet get one from.
    pub default_address_pools: Vec<AddressPool>,
    /// Name servers of containers.
    pub dns: Vec<IpAddr>,
    /// The host's address that ports are published at which name none; every address if missing.
    pub ip: Option<IpAddr>,
}

/// A range of addresses and the prefix length of the subnets cut from it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressPool {
    /// The whole range.
    pub base: Subnet,
    /// Prefix length of the subnets, in bits.
    pub size: u8,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there, but cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What it says is not understood.
    #[error("the configuration {path} is not valid: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

impl Config {
    /// Reads the file at `path`; one that is not there says nothing.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
            Err(source) => {
                return Err(ConfigError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let invalid = |reason: String| ConfigError::Content {
            path: path.to_owned(),
            reason,
        };
        let config: Config = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        for AddressPool { base, size } in &self.default_address_pools {
            let longest = base.family().bits() - 2;
            if !(base.prefix()..=longest).contains(size) {
                let shortest = base.prefix();
                return Err(format!(
                    "the size of pool {base} must be a prefix length from {shortest} to {longest}"
                ));
            }
        }
        match &self.bip {
            Some(bip) => match Subnet::parse_with_host(bip) {
                Ok((_, Some(_))) => Ok(()),
                _ => Err(format!(
                    "bip {bip:?} must be an address with a prefix length, for example 172.30.0.1/24"
                )),
            },
            None => Ok(()),
        }
    }

    /// The default pools: those configured, or `built_in` if there are none.
    pub fn pools(&self, built_in: Vec<DefaultPool>) -> Vec<DefaultPool> {
        if self.default_address_pools.is_empty() {
            return built_in;
        }
        self.default_address_pools
            .iter()
            .map(|pool| DefaultPool {
                base: pool.base,
                size: pool.size,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_there_says_nothing() {
        assert_eq!(
            Config::read(Path::new("/nowhere/zdocker.toml")).unwrap(),
            Config::default()
        );
        assert_eq!(read(""), Ok(Config::default()));
    }

    #[test]
    fn everything_can_be_set() {
        let config = read(
            "bip = '172.30.0.1/24'\ndns = ['9.9.9.9', 'fd00::53']\nip = '127.0.0.1'\n\
             [[default-address-pools]]\nbase = '10.200.0.0/16'\nsize = 28\n",
        );
        let config = config.unwrap();
        assert_eq!(config.dns.len(), 2);
        assert_eq!(config.ip, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(
            config.pools(Vec::new()),
            [DefaultPool {
                base: "10.200.0.0/16".parse().unwrap(),
                size: 28
            }]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("banana = 1", "banana"),
            ("bip = '172.30.0.0/24'", "bip"),
            ("bip = 'x'", "bip"),
            ("ip = 'localhost'", "ip"),
            (
                "[[default-address-pools]]\nbase = '10.0.0.0/16'\nsize = 8",
                "from 16 to 30",
            ),
            (
                "[[default-address-pools]]\nbase = '10.0.0.0/16'\nsize = 31",
                "from 16 to 30",
            ),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(words), "{message:?} has no {words:?}");
        }
    }
}
