//! Versions of the CNI specification.

use super::error::{CniError, Code};

/// A version, the older ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// One address of each family in the result.
    V010,
    /// The verb `VERSION`.
    V020,
    /// Interfaces and any number of addresses in the result; chaining.
    V030,
    /// The same, with a mistake in the text mended.
    V031,
    /// The verb `CHECK`.
    V040,
    /// Addresses have no `version` of their own.
    V100,
    /// The verbs `GC` and `STATUS`.
    V110,
}

/// All versions, by name.
const ALL: [(&str, Version); 7] = [
    ("0.1.0", Version::V010),
    ("0.2.0", Version::V020),
    ("0.3.0", Version::V030),
    ("0.3.1", Version::V031),
    ("0.4.0", Version::V040),
    ("1.0.0", Version::V100),
    ("1.1.0", Version::V110),
];

impl Version {
    /// The newest.
    pub(super) const NEWEST: Version = Version::V110;

    /// The names of all, the oldest first.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, _)| *name)
    }

    /// The one called `text`; the oldest if nothing is said, as before versions were.
    ///
    /// # Errors
    /// [`Code::IncompatibleVersion`].
    pub(super) fn read(text: Option<&str>) -> Result<Self, CniError> {
        let text = text.unwrap_or("0.1.0");
        let known = ALL.iter().find(|(name, _)| *name == text);
        known.map(|(_, version)| *version).ok_or_else(|| CniError {
            details: format!(
                "the configuration has cniVersion {text:?}; supported are {}",
                Version::names().collect::<Vec<_>>().join(", ")
            ),
            ..CniError::new(Code::IncompatibleVersion, "incompatible CNI versions")
        })
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        ALL.iter()
            .find(|(_, version)| *version == self)
            .map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_back() {
        for name in Version::names() {
            assert_eq!(Version::read(Some(name)).map(Version::name), Ok(name));
        }
        assert_eq!(Version::read(None), Ok(Version::V010));
        let error = Version::read(Some("2.0.0")).unwrap_err();
        assert!(error.code == 1 && error.details.contains("\"2.0.0\""), "{error:?}");
    }
}
