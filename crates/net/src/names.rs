//! Names of networks, containers, interfaces and Ethernet addresses: parsed once, valid ever after.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of Docker's form `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    #[error(
        "invalid name {0:?}: a name starts with a letter or digit and goes on with letters, digits, '_', '.' or '-'"
    )]
    Name(String),
    /// Not a name that the kernel takes for an interface (`dev_valid_name`, net/core/dev.c).
    #[error(
        "invalid interface name {0:?}: 1 to 15 bytes, none of them white space, '/', ':' or '%', and not '.' or '..'"
    )]
    Interface(String),
    /// Not six bytes in hexadecimal.
    #[error("invalid MAC address {0:?}: want six bytes in hexadecimal, for example 02:42:ac:11:00:02")]
    Mac(String),
    /// A group address cannot be an interface's own.
    #[error("invalid MAC address {0:?}: it is a multicast address, which no interface can bear")]
    MulticastMac(String),
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

/// The name of a network or of a container, as Docker allows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);
text_newtype!(Name);

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let valid = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if valid {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameError::Name(text.to_owned()))
        }
    }
}

/// The name of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);
text_newtype!(InterfaceName);

/// Longest interface name in bytes: `IFNAMSIZ` less the closing zero (linux/if.h).
pub const INTERFACE_NAME_MAX: usize = 15;

impl InterfaceName {
    /// `prefix` followed by as much of `text` as fits; both must be of characters valid in interface names.
    ///
    /// # Errors
    /// [`NameError::Interface`] when they are not.
    pub fn prefixed(prefix: &str, text: &str) -> Result<Self, NameError> {
        let mut name = String::from(prefix);
        name.extend(text.chars().take(INTERFACE_NAME_MAX.saturating_sub(prefix.len())));
        name.parse()
    }
}

impl InterfaceName {
    /// `lo`.
    pub fn loopback() -> Self {
        InterfaceName("lo".to_owned())
    }

    /// This name with its first characters replaced by `prefix`, which must be of characters valid in interface names.
    pub(crate) fn beginning_with(&self, prefix: &'static str) -> Self {
        let rest = self.0.get(prefix.len()..).unwrap_or_default();
        InterfaceName(format!("{prefix}{rest}"))
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let length_fits = (1..=INTERFACE_NAME_MAX).contains(&text.len());
        // The kernel itself refuses white space, '/' and ':'; '%' makes it choose a number, which a plan must not leave
        // open.
        let bytes_fit = text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'));
        if length_fits && bytes_fit && text != "." && text != ".." {
            Ok(InterfaceName(text.to_owned()))
        } else {
            Err(NameError::Interface(text.to_owned()))
        }
    }
}

/// An Ethernet address that an interface can bear (never a group address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// A locally administered unicast address made of `random` bytes (IEEE 802, section 8.2).
    pub fn local(random: [u8; 6]) -> Self {
        let mut bytes = random;
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        MacAddress(bytes)
    }

    /// The address of the host's end of a veth pair the other end of which has this one. A bridge whose own was never
    /// set has the lowest of its ports': such a high one leaves it what it has.
    pub fn of_host_end(self) -> Self {
        let mut bytes = self.0;
        bytes[0] = if bytes[0] == 0xfe { 0xfa } else { 0xfe };
        MacAddress(bytes)
    }

    /// The six bytes in the order they go over the wire.
    pub fn octets(&self) -> [u8; 6] {
        self.0
    }

    /// The IPv6 link-local address with the modified EUI-64 interface identifier of this address (RFC 4291, appendix
    /// A).
    pub fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0.map(u16::from);
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            (a ^ 0x02) << 8 | b,
            c << 8 | 0xff,
            0xfe00 | d,
            e << 8 | f,
        )
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Mac(text.to_owned());
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        MacAddress::try_from(bytes)
    }
}

impl TryFrom<[u8; 6]> for MacAddress {
    type Error = NameError;

    /// The address of these bytes, in the order they go over the wire.
    fn try_from(bytes: [u8; 6]) -> Result<Self, NameError> {
        let address = MacAddress(bytes);
        if bytes == [0; 6] {
            return Err(NameError::Mac(address.to_string()));
        }
        if bytes[0] & 1 == 1 {
            return Err(NameError::MulticastMac(address.to_string()));
        }
        Ok(address)
    }
}

impl TryFrom<String> for MacAddress {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

/// Parameters of the hash FNV-1a of 128 bits (draft-eastlake-fnv, 5).
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
const FNV_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// 256 random bits in hexadecimal that name a network, an endpoint or a container for ever, as in Docker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// An identifier made of `random` bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Id(random.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The identifier of what these names name together: the same for the same names, another for others (FNV-1a, as
    /// nobody gains by making two the same).
    pub fn named(names: &[&str]) -> Self {
        let half = |basis: u128| {
            let names = names.iter().flat_map(|name| name.bytes().chain([0]));
            names.fold(basis, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME))
        };
        let first = half(FNV_BASIS);
        Id(format!("{first:032x}{:032x}", half(first)))
    }

    /// All 64 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 characters, as people see it in tables.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl From<String> for Id {
    /// An identifier as it was recorded.
    fn from(text: String) -> Self {
        Id(text)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, valid) in [
            ("mynet", true),
            ("0a_b.c-d", true),
            ("", false),
            ("-x", false),
            ("my net", false),
            ("é", false),
        ] {
            assert_eq!(text.parse::<Name>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn interface_names() {
        for (text, valid) in [
            ("br0", true),
            ("eth0.100", true),
            ("exactly15bytes-", true),
            ("a-name-too-long-", false),
            ("a b", false),
            ("..", false),
            ("a/b", false),
            ("eth%d", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<InterfaceName>().is_ok(), valid, "{text:?}");
        }
        assert_eq!(
            InterfaceName::prefixed("zd-", "0123456789abcdef").map(String::from),
            Ok("zd-0123456789ab".to_owned())
        );
    }

    #[test]
    fn mac_addresses() {
        for (text, expected) in [
            ("02:42:ac:11:00:02", Some("02:42:ac:11:00:02")),
            ("02-42-AC-11-00-02", Some("02:42:ac:11:00:02")),
            ("01:00:5e:00:00:01", None),
            ("00:00:00:00:00:00", None),
            ("02:42:ac:11:00", None),
            ("02:42:ac:11:00:02:03", None),
            ("2:42:ac:11:0:2", None),
        ] {
            assert_eq!(
                text.parse::<MacAddress>().ok().map(|m| m.to_string()),
                expected.map(str::to_owned),
                "{text}"
            );
        }
        let mac: MacAddress = "02:42:ac:11:00:02".parse().unwrap();
        assert_eq!(mac.link_local(), "fe80::42:acff:fe11:2".parse::<Ipv6Addr>().unwrap());
    }
}
