//! Subnets: an IPv4 or IPv6 network address with its prefix length, and arithmetic on the addresses in it.

mod range;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use range::AddressRange;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Length of an address in bits: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The address that stands for "any": `0.0.0.0` or `::`.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// Why a text is not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// No address before the `/`, or none at all.
    #[error("invalid subnet {0:?}: want ADDRESS/PREFIX, for example 192.168.1.0/24 or fd00:1::/64")]
    Syntax(String),
    /// The prefix length is not a number, or longer than an address of the family.
    #[error("invalid subnet {text:?}: the prefix length must be a number from 0 to {max}")]
    Prefix {
        /// The text as given.
        text: String,
        /// The longest prefix of the family.
        max: u8,
    },
}

/// A subnet. The host bits of its address are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of `prefix` bits that `address` lies in. A prefix longer than the family's addresses is cut to their
    /// length.
    pub fn containing(address: IpAddr, prefix: u8) -> Self {
        let family = Family::of(address);
        let prefix = prefix.min(family.bits());
        let kept = to_bits(address) & !host_mask(family, prefix);
        Subnet {
            address: from_bits(family, kept),
            prefix,
        }
    }

    /// Reads `ADDRESS/PREFIX` and gives the subnet, and the address itself when it has host bits set
    /// (`192.168.10.1/24`).
    ///
    /// # Errors
    /// [`SubnetError`] when the text is no address with a prefix length.
    pub fn parse_with_host(text: &str) -> Result<(Self, Option<IpAddr>), SubnetError> {
        let syntax = || SubnetError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let max = Family::of(address).bits();
        let bad_prefix = || SubnetError::Prefix {
            text: text.to_owned(),
            max,
        };
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad_prefix());
        }
        let prefix: u8 = prefix.parse().map_err(|_| bad_prefix())?;
        if prefix > max {
            return Err(bad_prefix());
        }
        let subnet = Subnet::containing(address, prefix);
        Ok((subnet, (subnet.address != address).then_some(address)))
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// The network's own address (all host bits zero).
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Prefix length in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The last address (all host bits one); in IPv4 the broadcast address.
    pub fn last(&self) -> IpAddr {
        from_bits(
            self.family(),
            to_bits(self.address) | host_mask(self.family(), self.prefix),
        )
    }

    /// Number of addresses less one, so that `::/0` fits.
    pub fn last_offset(&self) -> u128 {
        host_mask(self.family(), self.prefix)
    }

    /// Whether `address` lies in this subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && Subnet::containing(address, self.prefix) == *self
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The address `offset` places after the network's own; `None` past the end.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        (offset <= self.last_offset()).then(|| from_bits(self.family(), to_bits(self.address) | offset))
    }

    /// How many places after the network's own address `address` stands; `None` if it is not in the subnet.
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address)
            .then(|| to_bits(address) & host_mask(self.family(), self.prefix))
    }

    /// The network mask as an address (`255.255.255.0`).
    pub fn mask(&self) -> IpAddr {
        from_bits(
            self.family(),
            full_mask(self.family()) & !host_mask(self.family(), self.prefix),
        )
    }

    /// The default route's destination: `0.0.0.0/0` or `::/0`.
    pub fn default_route(family: Family) -> Self {
        Subnet {
            address: family.unspecified(),
            prefix: 0,
        }
    }
}

fn full_mask(family: Family) -> u128 {
    match family {
        Family::V4 => u128::from(u32::MAX),
        Family::V6 => u128::MAX,
    }
}

fn host_mask(family: Family, prefix: u8) -> u128 {
    full_mask(family).checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        // The mask of the family keeps `bits` within 32 bits.
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Reads `ADDRESS/PREFIX`; host bits are cleared.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        Subnet::parse_with_host(text).map(|(subnet, _)| subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;
    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_and_refuses() {
        for (text, expected) in [
            ("192.168.1.0/24", Ok(("192.168.1.0/24", None))),
            ("192.168.10.1/24", Ok(("192.168.10.0/24", Some("192.168.10.1")))),
            ("10.0.0.0/8", Ok(("10.0.0.0/8", None))),
            ("fd00:1::5/64", Ok(("fd00:1::/64", Some("fd00:1::5")))),
            ("0.0.0.0/0", Ok(("0.0.0.0/0", None))),
            ("1.2.3.4/32", Ok(("1.2.3.4/32", None))),
            ("192.168.1.0", Err(())),
            ("192.168.1.0/33", Err(())),
            ("192.168.1.0/+4", Err(())),
            ("192.168.1.0/", Err(())),
            ("192.168.1/24", Err(())),
            ("fd00::/129", Err(())),
            ("", Err(())),
        ] {
            let got = Subnet::parse_with_host(text)
                .map(|(s, h)| (s.to_string(), h.map(|a| a.to_string())))
                .map_err(|_| ());
            let expected = expected.map(|(s, h): (&str, Option<&str>)| (s.to_owned(), h.map(str::to_owned)));
            assert_eq!(got, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn offsets_and_addresses_are_inverse(bits: u32, prefix in 0u8..=32, offset: u32) {
            let subnet = Subnet::containing(IpAddr::V4(Ipv4Addr::from_bits(bits)), prefix);
            match subnet.nth(u128::from(offset)) {
                Some(address) => {
                    prop_assert!(subnet.contains(address));
                    prop_assert_eq!(subnet.offset_of(address), Some(u128::from(offset)));
                }
                None => prop_assert!(u128::from(offset) > subnet.last_offset()),
            }
        }

        #[test]
        fn overlap_is_symmetric_and_means_a_shared_address(a: u32, p in 0u8..=32, b: u32, q in 0u8..=32) {
            let x = Subnet::containing(IpAddr::V4(Ipv4Addr::from_bits(a)), p);
            let y = Subnet::containing(IpAddr::V4(Ipv4Addr::from_bits(b)), q);
            prop_assert_eq!(x.overlaps(&y), y.overlaps(&x));
            let (narrow, wide) = if p > q { (x, y) } else { (y, x) };
            prop_assert_eq!(x.overlaps(&y), wide.contains(narrow.address()));
        }

        #[test]
        fn text_round_trips(bits: u128, prefix in 0u8..=128) {
            let subnet = Subnet::containing(IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix);
            prop_assert_eq!(subnet.to_string().parse::<Subnet>(), Ok(subnet));
        }
    }
}
