//! In what the two engines differ, and why.

use std::fmt::{self, Display};

/// Something in which they are known to differ.
pub(super) struct Difference {
    /// What was looked at; `*` stands for anything.
    what: &'static str,
    /// What Docker has there; `*` stands for anything.
    docker: &'static str,
    /// What zdocker has there; `*` stands for anything.
    zdocker: &'static str,
    why: &'static str,
}

impl Difference {
    /// Whether this is a difference in what is looked at as `key`.
    pub(super) fn covers(&self, key: &str, docker: &str, zdocker: &str) -> bool {
        matches(self.what, key) && matches(self.docker, docker) && matches(self.zdocker, zdocker)
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            what,
            docker,
            zdocker,
            why,
        } = self;
        write!(f, "{what}: {docker} / {zdocker}: {why}")
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

const fn differs(
    what: &'static str,
    docker: &'static str,
    zdocker: &'static str,
    why: &'static str,
) -> Difference {
    Difference {
        what,
        docker,
        zdocker,
        why,
    }
}

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[differs("x", "x", "x", "x")];
