//! Installations: each has records of its own, and in the kernel tables and interfaces that bear its name, so that
//! several of them share a host and none touches what is another's.

use std::borrow::Cow;

use crate::firewall::{PORT_PREFIX, TABLE};
use crate::names::Id;

/// What tells an installation's tables and interfaces from those of others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Installation {
    table: Cow<'static, str>,
    port_prefix: Cow<'static, str>,
}

impl Default for Installation {
    /// zdocker's own.
    fn default() -> Self {
        Installation::OWN
    }
}

impl Installation {
    /// zdocker's own.
    pub const OWN: Installation = Installation {
        table: Cow::Borrowed(TABLE),
        port_prefix: Cow::Borrowed(PORT_PREFIX),
    };

    /// The one that serves another engine, `engine` (`podman`, `cni`), and has its records in `directory`.
    pub fn serving(engine: &str, directory: &str) -> Self {
        let id = Id::named(&[engine, directory]);
        // Hexadecimal digits: no other prefix of ours begins so.
        let tag = &id.as_str()[..4];
        Installation {
            table: format!("{TABLE}-{engine}-{tag}").into(),
            port_prefix: format!("z{tag}").into(),
        }
    }

    /// The name of both its tables.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// How the names of its endpoints' bridge ports begin.
    pub fn port_prefix(&self) -> &str {
        &self.port_prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_names() {
        let own = Installation::default();
        assert_eq!((own.table(), own.port_prefix()), ("zdocker", "zdv"));
        let podman = Installation::serving("podman", "/run/containers/networks");
        let other = Installation::serving("podman", "/run/other");
        let tag = podman.port_prefix().strip_prefix('z').unwrap();
        assert!(
            tag.len() == 4 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{tag}"
        );
        assert_eq!(podman.table(), format!("zdocker-podman-{tag}"));
        assert_ne!(podman, other);
        assert_eq!(podman, Installation::serving("podman", "/run/containers/networks"));
    }
}
