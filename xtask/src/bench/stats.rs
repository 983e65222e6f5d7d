//! What many measurements of the same thing come to.

use std::time::Duration;

/// The middle and the spread of some durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    /// How many were measured.
    pub(super) count: usize,
    pub(super) median: Duration,
    /// Nine of ten took longer than this.
    pub(super) tenth: Duration,
    /// Nine of ten took less than this.
    pub(super) ninetieth: Duration,
}

impl Summary {
    /// Nothing for an empty list.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len().checked_sub(1)? * percent + 50) / 100).copied();
        Some(Self {
            count: sorted.len(),
            median: at(50)?,
            tenth: at(10)?,
            ninetieth: at(90)?,
        })
    }
}

/// A duration with three digits and the unit that suits it.
pub(super) fn shown(time: Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    match microseconds {
        small if small < 1e3 => format!("{} µs", three_digits(small)),
        middle if middle < 1e6 => format!("{} ms", three_digits(middle / 1e3)),
        large => format!("{} s", three_digits(large / 1e6)),
    }
}

/// A number with three digits, or with all digits before the point when those are more.
pub(super) fn three_digits(number: f64) -> String {
    match number {
        large if large >= 99.95 => format!("{large:.0}"),
        middle if middle >= 9.995 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_middle_and_the_tenths() {
        let times: Vec<_> = (0..=100).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&times).unwrap();
        assert_eq!(summary.count, 101);
        assert_eq!(summary.median, Duration::from_millis(50));
        assert_eq!(summary.tenth, Duration::from_millis(10));
        assert_eq!(summary.ninetieth, Duration::from_millis(90));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&times[..1]).unwrap().tenth, Duration::from_millis(100));
    }

    #[test]
    fn shows_three_digits_and_a_unit() {
        let cases = [
            (1_234, "1.23 µs"),
            (337_000, "337 µs"),
            (12_340_000, "12.3 ms"),
            (2_400_000_000, "2.40 s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(shown(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
