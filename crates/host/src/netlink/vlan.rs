//! VLANs within a bridge (linux/if_bridge.h).

use std::collections::HashMap;

use zdocker_net::model::{LAST_VLAN, Trunk};

use super::link::{
    HEADER, IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, RTM_DELLINK, RTM_GETLINK,
    RTM_NEWLINK, header,
};
use super::message::{Attributes, Requests, Writer, text_of};
use super::{NetlinkError, Socket};

const RTM_SETLINK: u16 = 19;

const IFLA_BR_VLAN_FILTERING: u16 = 7;

/// Attribute types within `IFLA_AF_SPEC` of messages of the family `AF_BRIDGE`.
const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
/// The bridge itself is meant, not it as a port of another.
const BRIDGE_FLAGS_SELF: u16 = 2;

/// What comes in without a tag is in this VLAN.
const PVID: u16 = 2;
/// What leaves has no tag.
const UNTAGGED: u16 = 4;
const RANGE_BEGIN: u16 = 8;
const RANGE_END: u16 = 16;

/// `RTEXT_FILTER_BRVLAN`: with the VLANs of each port.
const WITH_VLANS: u32 = 1 << 1;

/// Has a bridge tell VLANs apart.
pub(crate) fn filter(requests: &mut Requests, bridge: u32) -> usize {
    requests.push(RTM_NEWLINK, 0, |m| {
        header(m, bridge, 0);
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge").nested(IFLA_INFO_DATA, |m| {
                m.u8(IFLA_BR_VLAN_FILTERING, 1);
            });
        });
    })
}

/// Whether an interface is a bridge that tells VLANs apart, from its `IFLA_LINKINFO`.
pub(super) fn is_filtered(info: &[u8]) -> bool {
    let info = Attributes::within(info);
    let bridge = info.value(IFLA_INFO_KIND).is_some_and(|kind| text_of(kind) == "bridge");
    let data = info.value(IFLA_INFO_DATA).filter(|_| bridge);
    let filtering = data.and_then(|data| Attributes::within(data).value(IFLA_BR_VLAN_FILTERING));
    filtering == Some(&[1])
}

/// `struct ifinfomsg` of the family `AF_BRIDGE`.
fn bridge_header(m: &mut Writer, index: u32) {
    m.raw(&[libc::AF_BRIDGE as u8, 0, 0, 0]);
    m.raw(&index.to_ne_bytes()).raw(&[0; 8]);
}

/// `struct bridge_vlan_info`
fn write_vlan(m: &mut Writer, flags: u16, vlan: u16) {
    let [f0, f1] = flags.to_ne_bytes();
    let [v0, v1] = vlan.to_ne_bytes();
    m.attribute(IFLA_BRIDGE_VLAN_INFO, &[f0, f1, v0, v1]);
}

/// The same, from the first to the last.
fn write_vlans(m: &mut Writer, (first, last): (u16, u16)) {
    if first == last {
        return write_vlan(m, 0, first);
    }
    write_vlan(m, RANGE_BEGIN, first);
    write_vlan(m, RANGE_END, last);
}

/// Takes a port out of all VLANs.
fn leave(requests: &mut Requests, port: u32) {
    requests.push(RTM_DELLINK, 0, |m| {
        bridge_header(m, port);
        m.nested(IFLA_AF_SPEC, |m| write_vlans(m, (1, LAST_VLAN)));
    });
}

/// Puts a port in VLANs, tagged.
pub(crate) fn join_trunk(requests: &mut Requests, port: u32, trunk: &Trunk) {
    if !trunk.native {
        leave(requests, port);
    }
    requests.push(RTM_SETLINK, 0, |m| {
        bridge_header(m, port);
        m.nested(IFLA_AF_SPEC, |m| {
            for vlans in &trunk.vlans {
                write_vlans(m, *vlans);
            }
        });
    });
}

/// Puts a port in one VLAN, untagged, and in no other.
pub(crate) fn join(requests: &mut Requests, port: u32, vlan: u16) {
    leave(requests, port);
    requests.push(RTM_SETLINK, 0, |m| {
        bridge_header(m, port);
        m.nested(IFLA_AF_SPEC, |m| write_vlan(m, PVID | UNTAGGED, vlan));
    });
}

/// Puts a bridge itself in a VLAN, untagged.
pub(crate) fn answer(requests: &mut Requests, bridge: u32, vlan: u16) -> usize {
    requests.push(RTM_SETLINK, 0, |m| {
        bridge_header(m, bridge);
        m.nested(IFLA_AF_SPEC, |m| {
            m.attribute(IFLA_BRIDGE_FLAGS, &BRIDGE_FLAGS_SELF.to_ne_bytes());
            write_vlan(m, PVID | UNTAGGED, vlan);
        });
    })
}

/// For each port and bridge that is in one VLAN only, untagged: its index and the VLAN.
pub(crate) fn only(socket: &mut Socket) -> Result<HashMap<u32, u16>, NetlinkError> {
    let dump = socket.dump(RTM_GETLINK, |m| {
        bridge_header(m, 0);
        m.u32(IFLA_EXT_MASK, WITH_VLANS);
    })?;
    let ports = dump.objects().filter(|message| message.kind == RTM_NEWLINK);
    let in_one = ports.filter_map(|message| {
        let spec = message.attributes(HEADER).value(IFLA_AF_SPEC)?;
        let mut vlans = Attributes::within(spec).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO);
        let (only, more) = (vlans.next()?.1, vlans.next());
        let [f0, f1, v0, v1] = *only.first_chunk::<4>()?;
        let untagged = u16::from_ne_bytes([f0, f1]) & (PVID | UNTAGGED) == PVID | UNTAGGED;
        let vlan = u16::from_ne_bytes([v0, v1]);
        (more.is_none() && untagged).then_some((message.u32_at(4)?, vlan))
    });
    Ok(in_one.collect())
}
