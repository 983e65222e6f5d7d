//! Ranges of addresses: a part of a subnet, which need be no subnet itself.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Family, Subnet, SubnetError, to_bits};

/// Addresses of one family that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// From `first` to `last`, both included; `None` if they are of two families, or `last` comes before `first`.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(AddressRange { first, last })
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == Family::of(self.first) && (self.first..=self.last).contains(&address)
    }

    /// The subnet that has the same addresses, if one has.
    fn as_subnet(&self) -> Option<Subnet> {
        let family = Family::of(self.first);
        let differing = to_bits(self.first) ^ to_bits(self.last);
        // One bit more than a family has cannot differ.
        let host_bits = u128::BITS - differing.leading_zeros();
        let subnet = Subnet::containing(self.first, family.bits().saturating_sub(host_bits as u8));
        (subnet.address() == self.first && subnet.last() == self.last).then_some(subnet)
    }
}

impl From<Subnet> for AddressRange {
    fn from(subnet: Subnet) -> Self {
        AddressRange {
            first: subnet.address(),
            last: subnet.last(),
        }
    }
}

impl fmt::Display for AddressRange {
    /// As a subnet where it is one, else `FIRST-LAST`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_subnet() {
            Some(subnet) => subnet.fmt(f),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for AddressRange {
    type Err = SubnetError;

    /// Reads `ADDRESS/PREFIX` or `FIRST-LAST`.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let Some((first, last)) = text.split_once('-') else {
            return text.parse().map(|subnet: Subnet| subnet.into());
        };
        let bounds = first.parse().ok().zip(last.parse().ok());
        bounds
            .and_then(|(first, last)| AddressRange::new(first, last))
            .ok_or_else(|| SubnetError::Syntax(text.to_owned()))
    }
}

impl TryFrom<String> for AddressRange {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_subnet_where_it_is_one() {
        for (text, shown, first, last) in [
            ("10.0.0.0/25", "10.0.0.0/25", "10.0.0.0", "10.0.0.127"),
            ("10.0.0.0-10.0.0.127", "10.0.0.0/25", "10.0.0.0", "10.0.0.127"),
            ("10.0.0.1-10.0.0.127", "10.0.0.1-10.0.0.127", "10.0.0.1", "10.0.0.127"),
            ("10.0.0.7-10.0.0.7", "10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
            ("10.0.0.9-10.0.1.8", "10.0.0.9-10.0.1.8", "10.0.0.9", "10.0.1.8"),
            ("fd00::/64", "fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff"),
            (
                "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "::/0",
                "::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ] {
            let range: AddressRange = text.parse().unwrap();
            let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(
                (range.to_string().as_str(), range.first(), range.last()),
                (shown, first, last)
            );
            assert!(
                range.contains(first) && range.contains(last) && !range.contains("192.0.2.1".parse().unwrap())
                    || shown == "0.0.0.0/0"
            );
        }
        for text in ["", "10.0.0.2-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.1", "a-b"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }
}
