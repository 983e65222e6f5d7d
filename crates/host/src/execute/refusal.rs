//! What it means when the kernel refuses a step.

use nix::errno::Errno;
use zdocker_net::op::Op;

/// The kind of the interface that a step creates, where kernels may lack it.
pub(super) fn kind(op: &Op) -> Option<&'static str> {
    match op {
        Op::CreateMacvlan { .. } => Some("macvlan"),
        Op::CreateIpvlan { .. } => Some("ipvlan"),
        Op::CreateVlan { .. } => Some("vlan"),
        Op::CreateDummy { .. } => Some("dummy"),
        Op::FilterVlans { .. } | Op::JoinVlan { .. } | Op::JoinTrunk { .. } | Op::AnswerVlan { .. } => {
            Some("bridge (with VLANs)")
        }
        _ => None,
    }
}

/// Whether a refusal says that a step finds what it is to bring about.
pub(super) fn is_so_already(op: &Op, errno: Errno) -> bool {
    match op {
        Op::AddRule { .. } | Op::AddRoute { .. } => errno == Errno::EEXIST,
        Op::DeleteRoute { .. } => errno == Errno::ESRCH,
        Op::DeleteAddress { .. } => errno == Errno::EADDRNOTAVAIL,
        Op::DeleteRule { .. } => errno == Errno::ENOENT,
        _ => false,
    }
}
