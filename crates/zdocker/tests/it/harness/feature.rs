//! What a machine must have for a test.

use super::host::Host;
use super::netns::NetNs;
use super::wait::skipped;

/// A part of the kernel that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Interfaces that lead nowhere.
    Dummy,
    /// Interfaces that share their parent's Ethernet address.
    Ipvlan,
    /// VLANs (IEEE 802.1Q).
    Vlan,
    /// Bridges that tell VLANs apart.
    BridgeVlans,
    /// Routing tables that interfaces are put in.
    Vrf,
}

impl Feature {
    /// Whether the kernel has it: by trying, as the kernel may load a module for it.
    pub(crate) fn is_there(self) -> bool {
        let child = match self {
            Feature::Dummy => "type dummy",
            Feature::Ipvlan => "link parent type ipvlan",
            Feature::Vlan => "link parent type vlan id 7",
            Feature::BridgeVlans => "type bridge vlan_filtering 1",
            Feature::Vrf => "type vrf table 77",
        };
        let parent = "link add parent type veth peer name other";
        NetNs::new().try_ip(&format!("{parent}\nlink add child {child}"))
    }
}

/// Whether a program that a test needs is installed; if not, the test says so.
pub(crate) fn has_program(host: &Host, name: &str) -> bool {
    let is_there = host.program("sh", &["-c", "command -v \"$0\"", name]).status == 0;
    if !is_there {
        skipped(&format!("{name} is not installed"));
    }
    is_there
}

/// Whether the kernel has all that a test needs; if not, the test says so. `cargo xtask test` runs such tests in a
/// virtual machine as well.
pub(crate) fn needs(features: &[Feature]) -> bool {
    match features.iter().find(|feature| !feature.is_there()) {
        Some(feature) => {
            skipped(&format!("this kernel lacks {feature:?}"));
            false
        }
        None => true,
    }
}
