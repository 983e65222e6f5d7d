//! What the filters of all lists have in common.

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, TimeZone};
use regex_lite::Regex;
use zdocker_net::model::UnixNanos;

/// Why a filter is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant's message says what it means")]
pub enum FilterError {
    #[error("unknown filter {key:?}: the filters are {known}")]
    Unknown { key: String, known: &'static str },
    #[error("invalid filter \"{key}={value}\": want {want}")]
    Value {
        key: String,
        value: String,
        want: &'static str,
    },
    #[error("filter {0:?} is given twice with different values")]
    Twice(&'static str),
}

/// A filter as it is given: `KEY=VALUE`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Given<'_> {
    pub(crate) fn unknown(self, known: &'static str) -> FilterError {
        FilterError::Unknown {
            key: self.key.to_owned(),
            known,
        }
    }

    pub(crate) fn invalid(self, want: &'static str) -> FilterError {
        FilterError::Value {
            key: self.key.to_owned(),
            value: self.value.to_owned(),
            want,
        }
    }

    pub(crate) fn pattern(self) -> Result<Regex, FilterError> {
        Regex::new(self.value).map_err(|_| self.invalid("a text or a regular expression"))
    }

    pub(crate) fn boolean(self) -> Result<bool, FilterError> {
        match self.value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.invalid("true or false")),
        }
    }

    pub(crate) fn label(self) -> LabelFilter {
        match self.value.split_once('=') {
            Some((key, value)) => LabelFilter(key.to_owned(), Some(value.to_owned())),
            None => LabelFilter(self.value.to_owned(), None),
        }
    }
}

/// A label by its key, or by key and value.
#[derive(Debug, Clone)]
pub(crate) struct LabelFilter(String, Option<String>);

impl LabelFilter {
    pub(crate) fn admits(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.0);
        found.is_some_and(|value| self.1.as_ref().is_none_or(|wanted| wanted == value))
    }
}

/// Whether one of `wanted` is `it`, or nothing is wanted.
pub(crate) fn any<T>(wanted: &[T], it: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(it)
}

/// The moment that `text` means: so long ago (`10m`, `1h30m`), a date with or without a time (RFC 3339; the host's time
/// zone where none is said), or seconds since 1970. `None` for anything else.
pub(crate) fn moment(text: &str, now: UnixNanos) -> Option<UnixNanos> {
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago);
    }
    if let Some(seconds) = seconds(text) {
        return Some(seconds);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt();
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let local = formats
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    Local.from_local_datetime(&local).earliest()?.timestamp_nanos_opt()
}

const SECOND: i64 = 1_000_000_000;

/// Seconds since 1970, perhaps with a fraction, in nanoseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(SECOND)?.checked_add(nanos)
}

/// A duration as Go writes it, in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 3600 * SECOND),
    ];
    let (mut rest, mut total) = (text, 0f64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(end);
        let end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * *length as f64;
        rest = behind;
    }
    (!text.is_empty() && total < i64::MAX as f64).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = 1_000_000 * SECOND;
        for (text, expected) in [
            ("10m", Some(now - 600 * SECOND)),
            ("1h30m", Some(now - 5400 * SECOND)),
            ("1.5s", Some(now - SECOND * 3 / 2)),
            ("0s", Some(now)),
            ("86400", Some(86400 * SECOND)),
            ("1.5", Some(SECOND * 3 / 2)),
            ("1970-01-02T00:00:00Z", Some(86400 * SECOND)),
            ("1970-01-02T01:00:00.5+01:00", Some(86400 * SECOND + SECOND / 2)),
            ("", None),
            ("h", None),
            ("5", Some(5 * SECOND)),
            ("5x", None),
            ("5m3", None),
            ("99999999999999999999h", None),
            ("99999999999999999999", None),
            ("yesterday", None),
            ("1970-13-01", None),
        ] {
            assert_eq!(moment(text, now), expected, "{text:?}");
        }
        let local = Local.with_ymd_and_hms(2020, 1, 2, 3, 4, 0).unwrap();
        assert_eq!(moment("2020-01-02T03:04", now), local.timestamp_nanos_opt());
        let day = Local.with_ymd_and_hms(2020, 1, 2, 0, 0, 0).unwrap();
        assert_eq!(moment("2020-01-02", now), day.timestamp_nanos_opt());
    }
}
