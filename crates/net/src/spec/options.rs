//! What drivers have in common: reading options, and the settings that do not depend on the driver.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{NetworkRequest, SpecError};
use crate::model::{Driver, Pool, Settings};
use crate::names::InterfaceName;
use crate::subnet::Family;

/// The least MTU in bytes that IPv4 (RFC 791) and IPv6 (RFC 8200, section 5) work with, and the most that a bridge
/// takes.
const MTU_LIMITS: [(Family, u32); 2] = [(Family::V4, 68), (Family::V6, 1280)];
const MTU_MAX: u32 = 65535;

/// The longest beginning of interfaces' names, in bytes: there must be room for a number.
const PREFIX_MAX: usize = 12;

/// An option as the user gave it.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

impl Given<'_> {
    /// What is wrong with its value: `want` says what would do.
    pub(super) fn bad(self, want: &'static str) -> SpecError {
        SpecError::OptionValue {
            key: self.key.to_owned(),
            value: self.value.to_owned(),
            want,
        }
    }

    /// Its value, of any type that is read from text.
    pub(super) fn parsed<T: FromStr>(self, want: &'static str) -> Result<T, SpecError> {
        self.value.parse().map_err(|_| self.bad(want))
    }

    /// A truth value as Go's `strconv.ParseBool`, and so Docker, reads it.
    pub(super) fn boolean(self) -> Result<bool, SpecError> {
        match self.value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(self.bad("true or false")),
        }
    }
}

/// The names of the options that [`read_common`] reads.
const COMMON: [&str; 3] = ["interface_prefix", "no_default_route", "metric"];

/// Refuses an option that the driver does not know; `own` are those that are its alone.
pub(super) fn unknown(driver: Driver, key: &str, own: impl IntoIterator<Item = &'static str>) -> SpecError {
    let known: Vec<&str> = own.into_iter().chain(COMMON).collect();
    SpecError::UnknownOption {
        key: key.to_owned(),
        driver,
        known: known.join(", "),
    }
}

/// Reads an option that every driver with endpoints has; `false` if it is none of these.
pub(super) fn read_common(given: Given<'_>, settings: &mut Settings) -> Result<bool, SpecError> {
    match given.key {
        "interface_prefix" | "com.docker.network.container_iface_prefix" => {
            let valid = given.value.len() <= PREFIX_MAX && format!("{}0", given.value).parse::<InterfaceName>().is_ok();
            if given.value.is_empty() || !valid {
                return Err(given.bad("1 to 12 characters that interface names may have"));
            }
            settings.interface_prefix = Some(given.value.to_owned());
        }
        "no_default_route" => settings.no_default_route = given.boolean()?,
        "metric" => settings.metric = Some(given.parsed("a number from 0 to 4294967295")?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The settings that `request` names beside options of the driver.
pub(super) fn common(request: &NetworkRequest) -> Result<Settings, SpecError> {
    match request.ipam_driver.as_deref() {
        None | Some("" | "default") => {}
        Some(driver) => return Err(SpecError::IpamDriver(driver.to_owned())),
    }
    Ok(Settings {
        attachable: request.attachable,
        ipam_options: request.ipam_options.iter().cloned().collect(),
        ..Settings::default()
    })
}

/// Refuses an MTU that one of the networks' families does not work with, or that no interface has.
pub(super) fn check_mtu(mtu: u32, options: &BTreeMap<String, String>, pools: &[Pool]) -> Result<(), SpecError> {
    let has = |family| pools.iter().any(|pool| pool.subnet.family() == family);
    let least = MTU_LIMITS
        .iter()
        .filter(|(family, _)| has(*family))
        .map(|(_, mtu)| *mtu)
        .max()
        .unwrap_or(0);
    if (least..=MTU_MAX).contains(&mtu) {
        return Ok(());
    }
    let key = options
        .keys()
        .find(|key| key.ends_with("mtu"))
        .cloned()
        .unwrap_or_default();
    let want = "68 to 65535 bytes, with IPv6 at least 1280";
    Err(SpecError::OptionValue {
        key,
        value: mtu.to_string(),
        want,
    })
}
