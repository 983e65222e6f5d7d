//! The system calls that a container may use: Docker's default profile, as data in `seccomp.json`, and what depends on
//! arguments here.

use std::collections::HashMap;

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

/// Every `CLONE_NEW*` flag (linux/sched.h) but `CLONE_NEWTIME`, which clone(2) does not take.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// `AF_VSOCK` (linux/socket.h): it reaches the host of a virtual machine past every network namespace.
const AF_VSOCK: u64 = 40;

/// The execution domains (linux/personality.h) that are harmless: `PER_LINUX` and `PER_LINUX32`, each with and without
/// `UNAME26`, and the query of the present one.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[derive(Deserialize)]
struct Profile {
    allow: Vec<String>,
    allow_on_architecture: HashMap<String, Vec<String>>,
    allow_with_capability: HashMap<Capability, Vec<String>>,
}

/// The profile for a container with `capabilities`.
///
/// # Errors
/// Never, short of a mistake in the profile itself.
pub fn profile(capabilities: &[Capability]) -> Result<LinuxSeccomp, OciSpecError> {
    let profile: Profile = serde_json::from_str(include_str!("seccomp.json"))?;
    let mut names = profile.allow;
    names.extend(
        profile
            .allow_on_architecture
            .get(std::env::consts::ARCH)
            .cloned()
            .unwrap_or_default(),
    );
    for (capability, more) in profile.allow_with_capability {
        if capabilities.contains(&capability) {
            names.extend(more);
        }
    }
    let mut rules = vec![allow(names, Vec::new())?];
    rules.push(allow(
        ["socket"],
        vec![compare(LinuxSeccompOperator::ScmpCmpNe, AF_VSOCK, None)?],
    )?);
    for personality in PERSONALITIES {
        let same = compare(LinuxSeccompOperator::ScmpCmpEq, personality, None)?;
        rules.push(allow(["personality"], vec![same])?);
    }
    if !capabilities.contains(&Capability::SysAdmin) {
        rules.push(allow(["clone"], vec![no_new_namespaces()?])?);
        rules.push(absent("clone3")?);
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures(architectures())
        .syscalls(rules)
        .build()
}

fn allow<N: Into<String>>(
    names: impl IntoIterator<Item = N>,
    args: Vec<LinuxSeccompArg>,
) -> Result<LinuxSyscall, OciSpecError> {
    let rule = LinuxSyscallBuilder::default()
        .names(names.into_iter().map(Into::into).collect::<Vec<String>>())
        .action(LinuxSeccompAction::ScmpActAllow);
    // An empty list of arguments is not the same as none to libcontainer.
    if args.is_empty() {
        rule.build()
    } else {
        rule.args(args).build()
    }
}

/// The filter cannot look into clone3's arguments, which are in memory: "no such system call" makes C libraries fall
/// back to clone.
fn absent(name: &str) -> Result<LinuxSyscall, OciSpecError> {
    LinuxSyscallBuilder::default()
        .names(vec![name.to_owned()])
        .action(LinuxSeccompAction::ScmpActErrno)
        .errno_ret(libc::ENOSYS as u32)
        .build()
}

/// Compares the first argument.
fn compare(op: LinuxSeccompOperator, value: u64, second: Option<u64>) -> Result<LinuxSeccompArg, OciSpecError> {
    let arg = LinuxSeccompArgBuilder::default().index(0usize).value(value).op(op);
    match second {
        Some(second) => arg.value_two(second).build(),
        None => arg.build(),
    }
}

fn no_new_namespaces() -> Result<LinuxSeccompArg, OciSpecError> {
    compare(LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACES, Some(0))
}

/// This machine's architecture and the older ones that its kernel runs programs of.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::capabilities;

    fn allowed(seccomp: &LinuxSeccomp, name: &str) -> Vec<LinuxSyscall> {
        let named = |rule: &&LinuxSyscall| rule.names().iter().any(|known| known == name);
        seccomp.syscalls().iter().flatten().filter(named).cloned().collect()
    }

    #[test]
    fn the_default_capabilities_give_no_mounts_and_no_namespaces() {
        let seccomp = profile(&capabilities::DEFAULT).unwrap();
        assert_eq!(seccomp.default_action(), LinuxSeccompAction::ScmpActErrno);
        for forbidden in [
            "mount",
            "unshare",
            "setns",
            "bpf",
            "reboot",
            "io_uring_setup",
            "kexec_load",
            "add_key",
        ] {
            assert!(allowed(&seccomp, forbidden).is_empty(), "{forbidden}");
        }
        for needed in ["read", "chroot", "execve"] {
            assert_eq!(allowed(&seccomp, needed).len(), 1, "{needed}");
        }
        let clone = &allowed(&seccomp, "clone")[0].args().clone().unwrap()[0];
        assert_eq!((clone.value(), clone.value_two()), (NEW_NAMESPACES, Some(0)));
        assert_eq!(allowed(&seccomp, "clone3")[0].errno_ret(), Some(libc::ENOSYS as u32));
        assert_eq!(allowed(&seccomp, "personality").len(), 5);
    }

    #[test]
    fn a_capability_brings_its_system_calls() {
        let seccomp = profile(&[Capability::SysAdmin]).unwrap();
        for name in ["mount", "unshare", "clone", "clone3"] {
            let rules = allowed(&seccomp, name);
            assert!(rules.len() == 1 && rules[0].args().is_none(), "{name}");
        }
        assert!(allowed(&seccomp, "chroot").is_empty());
    }
}
