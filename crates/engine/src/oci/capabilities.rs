//! Which capabilities a container has.

use libcontainer::oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

/// What root in a container may do: Docker's default set.
pub const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// The OCI object that bounds a process to `capabilities`. None is inheritable or ambient (CVE-2022-24769), so a
/// process of another user than root has none until it executes a file with file capabilities.
pub fn bounded_to(capabilities: &[Capability]) -> LinuxCapabilities {
    let set: Capabilities = capabilities.iter().copied().collect();
    let mut result = LinuxCapabilities::default();
    result
        .set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(None)
        .set_ambient(None);
    result
}
