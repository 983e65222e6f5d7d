//! Other engines' plug-in interfaces. Each turns what it is asked into the engine's requests and the engine's answers
//! back.

pub(crate) mod cni;
mod netavark;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// Serves as the plug-in whose name the program is called by, if it is one's.
pub(crate) fn by_name(program: &OsStr) -> Option<ExitCode> {
    let name = Path::new(program).file_name()?.to_str()?;
    match name {
        "netavark" => Some(netavark::main(std::env::args_os())),
        name => cni::Plugin::named(name).map(cni::main).or_else(by_verb),
    }
}

/// The same where the name is the first argument: `zdocker netavark ARGS..`.
fn by_verb() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == "netavark").then(|| netavark::main(std::env::args_os().skip(1)))
}

/// Whether the kernel has IPv6.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}
