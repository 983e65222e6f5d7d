//! Two programs do the same, and what is then found is compared.

pub(crate) mod flat;
mod host;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

pub(crate) use host::{make_image, new_host, text};
pub(crate) use reach::{SILENCE, Source, Target, add_targets, addresses, reach};

/// What was found, by what was looked at; the same keys for both.
pub(crate) type Findings = BTreeMap<String, String>;

/// What stands for something that one of them has not got.
pub(crate) const ABSENT: &str = "(not there)";

/// Something in which they are known to differ.
pub(crate) struct Difference {
    /// What was looked at; `*` stands for anything.
    what: &'static str,
    /// What the other has there; `*` stands for anything.
    theirs: &'static str,
    /// What zdocker has there; `*` stands for anything.
    ours: &'static str,
    why: &'static str,
}

/// A known difference: what was looked at, what the other has there, what zdocker has there, and why.
pub(crate) const fn differs(
    what: &'static str,
    theirs: &'static str,
    ours: &'static str,
    why: &'static str,
) -> Difference {
    Difference {
        what,
        theirs,
        ours,
        why,
    }
}

impl Difference {
    /// Whether this is a difference in what is looked at as `key`.
    fn covers(&self, key: &str, theirs: &str, ours: &str) -> bool {
        matches(self.what, key) && matches(self.theirs, theirs) && matches(self.ours, ours)
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            what,
            theirs,
            ours,
            why,
        } = self;
        write!(f, "{what}: {theirs} / {ours}: {why}")
    }
}

/// Whether `text` is of the form `pattern`, where `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    (0..=text.len()).any(|start| text.is_char_boundary(start) && matches(rest, &text[start..]))
}

/// Checks that the other and zdocker, in that order, agree but for the listed differences (the first that fits is the one), and
/// that all of these are there.
#[expect(clippy::print_stdout, reason = "shown with --nocapture, and when the test fails")]
pub(crate) fn compare(names: [&str; 2], findings: [&Findings; 2], listed: impl Iterator<Item = &'static Difference>) {
    let listed: Vec<&Difference> = listed.collect();
    let mut seen = vec![0; listed.len()];
    let mut unlisted = Vec::new();
    let keys: BTreeSet<&String> = findings.into_iter().flat_map(Findings::keys).collect();
    for key in &keys {
        let [theirs, ours] = findings.map(|of| of.get(*key).map_or(ABSENT, String::as_str));
        if theirs == ours {
            continue;
        }
        match listed.iter().position(|one| one.covers(key, theirs, ours)) {
            Some(position) => seen[position] += 1,
            None => unlisted.push(format!("{key}\n    {}: {theirs}\n    {}: {ours}", names[0], names[1])),
        }
    }
    let of = |(listed, count): (&&Difference, &usize)| format!("{count:5} {listed}");
    println!("{} findings; they differ in:", keys.len());
    println!("{}", listed.iter().zip(&seen).map(of).collect::<Vec<_>>().join("\n"));
    let gone = listed.iter().zip(&seen).filter(|(_, count)| **count == 0);
    let gone: Vec<String> = gone.map(|(listed, _)| listed.to_string()).collect();
    assert!(
        unlisted.is_empty(),
        "{} differences that are not listed:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    assert!(gone.is_empty(), "listed, but they agree now:\n{}", gone.join("\n"));
}
