//! The devices that a container may use: Docker's default list.

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType};

/// Character devices (major, minor) that may be read and written: null, zero, full, random, urandom, tty, console,
/// ptmx, and every pseudo terminal.
pub(crate) const READ_WRITE: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// The rules of the device cgroup: everything may be made (mknod), little may be used.
pub(super) fn rules() -> Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let rule = || LinuxDeviceCgroupBuilder::default();
    let mut rules = vec![rule().allow(false).typ(LinuxDeviceType::A).access("rwm").build()?];
    for typ in [LinuxDeviceType::C, LinuxDeviceType::B] {
        rules.push(rule().allow(true).typ(typ).access("m").build()?);
    }
    for (major, minor) in READ_WRITE {
        let device = rule().allow(true).typ(LinuxDeviceType::C).major(major).access("rwm");
        rules.push(match minor {
            Some(minor) => device.minor(minor).build()?,
            None => device.build()?,
        });
    }
    Ok(rules)
}
