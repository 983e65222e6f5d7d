//! Times as people and programs read them.

use chrono::{DateTime, SecondsFormat, Utc};
use zdocker_net::model::UnixNanos;

/// RFC 3339 with nanoseconds, in UTC.
pub(crate) fn rfc3339(time: UnixNanos) -> String {
    DateTime::<Utc>::from_timestamp_nanos(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// As Go prints a time, in UTC: `2026-01-31 12:00:00.5 +0000 UTC`.
pub(crate) fn go(time: UnixNanos) -> String {
    let time = DateTime::<Utc>::from_timestamp_nanos(time);
    let fraction = format!("{:09}", time.timestamp_subsec_nanos());
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    format!("{}{fraction} +0000 UTC", time.format("%Y-%m-%d %H:%M:%S"))
}

/// How long ago `time` was, in Docker's words: `5 minutes`.
pub(crate) fn age(time: UnixNanos) -> String {
    let now = Utc::now().timestamp_nanos_opt().unwrap_or(time);
    in_words((now - time) / 1_000_000_000)
}

fn in_words(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if hours < 1 => format!("{minutes} minutes"),
        _ if hours < 2 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (7199, "About an hour"),
            (7200, "2 hours"),
            (86400 * 3, "3 days"),
            (86400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }

    #[test]
    fn times_as_go_prints_them() {
        assert_eq!(go(1_500_000_000), "1970-01-01 00:00:01.5 +0000 UTC");
        assert_eq!(go(60_000_000_000), "1970-01-01 00:01:00 +0000 UTC");
    }

    #[test]
    fn programs_read_rfc3339() {
        assert_eq!(rfc3339(1_000_000_001), "1970-01-01T00:00:01.000000001Z");
    }
}
