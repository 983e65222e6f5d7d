//! Settings of an interface that is there, beside its addresses and routes.

use crate::names::{InterfaceName, MacAddress};
use crate::op::{Frames, NamespacePath, Op, Place};

/// How an interface is, or is to be; what is missing stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Its Ethernet address.
    pub mac: Option<MacAddress>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Whether it takes every frame.
    pub promiscuous: Option<bool>,
    /// Whether it takes every frame to a group.
    pub all_multicast: Option<bool>,
    /// How many packets wait at most before it sends them.
    pub queue_length: Option<u32>,
    /// Kernel variables in their path form below `/proc/sys`, and their values.
    pub sysctls: Vec<(String, String)>,
}

impl Tuning {
    /// The steps that make the interface so.
    pub fn steps(&self, namespace: &NamespacePath, link: &InterfaceName) -> Vec<Op> {
        let place = || Place::Namespace(namespace.clone());
        let mut ops: Vec<Op> = Vec::new();
        ops.extend(self.sysctls.iter().map(|(key, value)| Op::SetSysctl {
            place: place(),
            key: key.clone(),
            value: value.clone(),
        }));
        ops.extend(self.mac.map(|mac| Op::SetMac {
            place: place(),
            link: link.clone(),
            mac,
        }));
        let reception = [(Frames::All, self.promiscuous), (Frames::Multicast, self.all_multicast)];
        ops.extend(reception.into_iter().filter_map(|(frames, on)| {
            Some(Op::SetReception {
                place: place(),
                link: link.clone(),
                frames,
                on: on?,
            })
        }));
        ops.extend(self.mtu.map(|mtu| Op::SetMtu {
            place: place(),
            link: link.clone(),
            mtu,
        }));
        ops.extend(self.queue_length.map(|packets| Op::SetQueueLength {
            place: place(),
            link: link.clone(),
            packets,
        }));
        ops
    }

    /// Of what is wanted here, what `seen` was: that puts an interface back.
    pub fn before(&self, seen: &Tuning) -> Tuning {
        Tuning {
            mac: seen.mac.filter(|_| self.mac.is_some()),
            mtu: seen.mtu.filter(|_| self.mtu.is_some()),
            promiscuous: seen.promiscuous.filter(|_| self.promiscuous.is_some()),
            all_multicast: seen.all_multicast.filter(|_| self.all_multicast.is_some()),
            queue_length: seen.queue_length.filter(|_| self.queue_length.is_some()),
            sysctls: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_set_and_put_back() {
        let wanted = Tuning {
            mtu: Some(1300),
            promiscuous: Some(true),
            sysctls: vec![("net/core/somaxconn".to_owned(), "500".to_owned())],
            ..Tuning::default()
        };
        let seen = Tuning {
            mac: Some(MacAddress::local([1; 6])),
            mtu: Some(1500),
            promiscuous: Some(false),
            all_multicast: Some(false),
            queue_length: Some(1000),
            sysctls: Vec::new(),
        };
        let steps = |tuning: &Tuning| -> Vec<String> {
            let namespace = NamespacePath("/n".to_owned());
            let ops = tuning.steps(&namespace, &"eth0".parse().unwrap());
            ops.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            steps(&wanted),
            [
                "nsenter --net=/n sysctl -w net/core/somaxconn=500",
                "nsenter --net=/n ip link set dev eth0 promisc on",
                "nsenter --net=/n ip link set dev eth0 mtu 1300",
            ]
        );
        assert_eq!(
            steps(&wanted.before(&seen)),
            [
                "nsenter --net=/n ip link set dev eth0 promisc off",
                "nsenter --net=/n ip link set dev eth0 mtu 1500",
            ]
        );
    }
}
