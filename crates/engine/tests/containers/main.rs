//! Real containers, from a busybox tree or from `/`, run by the engine's own machinery. Needs root and busybox-static.
//!
//! The program is run again by its tests: as shim, and as the small command line of [`roles`].

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of this program is a test")]

mod fixture;
mod isolation;
mod life;
mod processes;
mod roles;
mod streams;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    let mut tests: Vec<Trial> = Vec::new();
    tests.extend(life::tests());
    tests.extend(streams::tests());
    tests.extend(isolation::tests());
    tests.extend(processes::tests());
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// Trials of the test functions named.
#[macro_export]
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(
            concat!(module_path!(), "::", stringify!($name)).trim_start_matches("containers::"),
            || { $name(); Ok(()) },
        )),*]
    };
}
