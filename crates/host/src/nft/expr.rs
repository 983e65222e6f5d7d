//! Rules as the kernel runs them: expressions that load fields of a packet into registers, compare them, look them up
//! and decide (linux/netfilter/nf_tables.h; `nft --debug=netlink` prints the same).
//!
//! A [`Rule`] is written from left to right as in nft's language: [`Rule::load`] puts fields side by side in the
//! registers, and what comes next consumes them.

use zdocker_net::subnet::Family;

use crate::netlink::message::Writer;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// What is done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    /// Back to the chain that jumped here, or to the chain's policy.
    Return,
    /// To a chain, and back at its end.
    Jump(&'static str),
    /// To a chain, without coming back.
    Goto(&'static str),
}

impl Verdict {
    fn code(self) -> i32 {
        match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Jump(_) => -3,
            Verdict::Goto(_) => -4,
            Verdict::Return => -5,
        }
    }

    /// The chain that it leads to.
    pub(super) fn goes_to(self) -> Option<&'static str> {
        match self {
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
            Verdict::Accept | Verdict::Drop | Verdict::Return => None,
        }
    }

    /// Writes the verdict as the data of a rule or of a map's element.
    pub(super) fn write(self, m: &mut Writer) {
        m.nested(NFTA_DATA_VERDICT, |m| {
            m.be32(NFTA_VERDICT_CODE, self.code() as u32);
            if let Some(chain) = self.goes_to() {
                m.text(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}

/// Where a field is found.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// `nft_meta_keys`
    Meta(u32),
    /// `nft_payload_bases`, and the offset in bytes.
    Payload(u32, u32),
    /// `nft_ct_keys`
    Conntrack(u32),
    /// The type of the destination address as the routing tables have it (`NFT_FIB_RESULT_ADDRTYPE` of the
    /// destination).
    DestinationType,
}

/// A field of a packet, or something the kernel knows about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    source: Source,
    /// In bytes.
    length: u32,
}

const fn meta(key: u32, length: u32) -> Field {
    Field {
        source: Source::Meta(key),
        length,
    }
}

const fn payload(base: u32, offset: u32, length: u32) -> Field {
    Field {
        source: Source::Payload(base, offset),
        length,
    }
}

const LINK: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

pub(super) const PROTOCOL: Field = meta(1, 2);
pub(super) const IIFNAME: Field = meta(6, 16);
pub(super) const OIFNAME: Field = meta(7, 16);
pub(super) const NFPROTO: Field = meta(15, 1);
pub(super) const L4PROTO: Field = meta(16, 1);
pub(super) const CT_STATE: Field = Field {
    source: Source::Conntrack(0),
    length: 4,
};
pub(super) const CT_STATUS: Field = Field {
    source: Source::Conntrack(2),
    length: 4,
};
pub(super) const DESTINATION_TYPE: Field = Field {
    source: Source::DestinationType,
    length: 4,
};
pub(super) const ETHER_SADDR: Field = payload(LINK, 6, 6);
pub(super) const ETHER_TYPE: Field = payload(LINK, 12, 2);
pub(super) const ARP_SADDR_ETHER: Field = payload(NETWORK, 8, 6);
pub(super) const ARP_SADDR_IP: Field = payload(NETWORK, 14, 4);
pub(super) const IP_SADDR: Field = payload(NETWORK, 12, 4);
pub(super) const IP_DADDR: Field = payload(NETWORK, 16, 4);
/// As much of an IPv4 address as tells 127.0.0.0/8.
pub(super) const IP_SADDR_FIRST: Field = payload(NETWORK, 12, 1);
pub(super) const IP_DADDR_FIRST: Field = payload(NETWORK, 16, 1);
pub(super) const IP6_SADDR: Field = payload(NETWORK, 8, 16);
pub(super) const IP6_DADDR: Field = payload(NETWORK, 24, 16);
pub(super) const TH_SPORT: Field = payload(TRANSPORT, 0, 2);
pub(super) const TH_DPORT: Field = payload(TRANSPORT, 2, 2);
pub(super) const ICMPV6_TYPE: Field = payload(TRANSPORT, 0, 1);
/// SYN, RST and the like (RFC 9293, section 3.1).
pub(super) const TCP_FLAGS: Field = payload(TRANSPORT, 13, 1);
/// The address that a neighbour advertisement is about (RFC 4861, section 4.4).
pub(super) const ND_TARGET: Field = payload(TRANSPORT, 8, 16);

/// A place among the 16 registers of four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register(u32);

impl Register {
    /// The number as nft writes it: four registers that start one of 16 bytes have its number (`NFT_REG_1` is 1,
    /// `NFT_REG32_00` is 8).
    fn number(self) -> u32 {
        if self.0.is_multiple_of(4) {
            1 + self.0 / 4
        } else {
            8 + self.0
        }
    }
}

const FIRST: Register = Register(0);
/// The register of verdicts.
const NFT_REG_VERDICT: u32 = 0;

/// The kernel replaces `%d` by a number that is free.
pub(super) const NAMELESS_SET: &str = "__set%d";
/// As [`NAMELESS_SET`].
pub(super) const NAMELESS_MAP: &str = "__map%d";

/// The number of a family of packets (`enum nfproto`, linux/netfilter.h).
pub(super) fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => libc::NFPROTO_IPV4 as u8,
        Family::V6 => libc::NFPROTO_IPV6 as u8,
    }
}

/// A rule being written.
#[derive(Default)]
pub(super) struct Rule {
    expressions: Writer,
    /// How many of the four-byte registers hold loaded fields.
    loaded: u32,
    /// The chain that the rule's verdict leads to.
    goes_to: Option<&'static str>,
}

impl Rule {
    fn expression(mut self, name: &str, data: impl FnOnce(&mut Writer)) -> Self {
        self.expressions.nested(NFTA_LIST_ELEM, |m| {
            m.text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data);
        });
        self
    }

    /// The chain that the rule's verdict leads to.
    pub(super) fn goes_to(&self) -> Option<&'static str> {
        self.goes_to
    }

    /// The expressions, as the attribute `NFTA_RULE_EXPRESSIONS` holds them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.expressions.as_bytes()
    }

    /// Loads a field behind those loaded before.
    pub(super) fn load(mut self, field: Field) -> Self {
        let to = Register(self.loaded).number();
        self.loaded += field.length.div_ceil(4);
        match field.source {
            Source::Meta(key) => self.expression("meta", |m| {
                m.be32(1, to).be32(2, key);
            }),
            Source::Payload(base, offset) => self.expression("payload", |m| {
                m.be32(1, to).be32(2, base).be32(3, offset).be32(4, field.length);
            }),
            Source::Conntrack(key) => self.expression("ct", |m| {
                m.be32(1, to).be32(2, key);
            }),
            Source::DestinationType => self.expression("fib", |m| {
                const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
                const NFTA_FIB_F_DADDR: u32 = 1 << 1;
                m.be32(1, to).be32(2, NFT_FIB_RESULT_ADDRTYPE).be32(3, NFTA_FIB_F_DADDR);
            }),
        }
    }

    fn compare(mut self, operator: u32, value: &[u8]) -> Self {
        self.loaded = 0;
        self.expression("cmp", |m| {
            m.be32(1, FIRST.number()).be32(2, operator).nested(3, |m| {
                m.attribute(NFTA_DATA_VALUE, value);
            });
        })
    }

    /// Goes on if what is loaded equals `value`.
    pub(super) fn equals(self, value: &[u8]) -> Self {
        self.compare(0, value)
    }

    /// Goes on if what is loaded differs from `value`.
    pub(super) fn differs(self, value: &[u8]) -> Self {
        self.compare(1, value)
    }

    /// Goes on if the flow's destination was changed (`IPS_DST_NAT`).
    pub(super) fn ct_status_dnat(self) -> Self {
        const IPS_DST_NAT: u32 = 1 << 5;
        self.load(CT_STATUS).has_bit(IPS_DST_NAT)
    }

    /// Goes on if the flow's destination was not changed.
    pub(super) fn ct_status_not_dnat(self) -> Self {
        const IPS_DST_NAT: u32 = 1 << 5;
        self.load(CT_STATUS).masked(&IPS_DST_NAT.to_ne_bytes()).equals(&[0; 4])
    }

    /// Goes on if the packet fits no flow (`NF_CT_STATE_INVALID_BIT`).
    pub(super) fn ct_state_invalid(self) -> Self {
        const INVALID: u32 = 1;
        self.load(CT_STATE).has_bit(INVALID)
    }

    /// Goes on if the number that is loaded has this bit.
    fn has_bit(self, bit: u32) -> Self {
        self.masked(&bit.to_ne_bytes()).differs(&[0; 4])
    }

    /// Keeps those bits of what is loaded that are set in `mask`, which is as long.
    pub(super) fn masked(self, mask: &[u8]) -> Self {
        self.expression("bitwise", |m| {
            m.be32(1, FIRST.number())
                .be32(2, FIRST.number())
                .be32(3, mask.len() as u32);
            m.nested(4, |m| {
                m.attribute(NFTA_DATA_VALUE, mask);
            });
            m.nested(5, |m| {
                m.attribute(NFTA_DATA_VALUE, &vec![0; mask.len()]);
            });
        })
    }

    fn lookup(mut self, set: &str, rest: impl FnOnce(&mut Writer)) -> Self {
        self.loaded = 0;
        self.expression("lookup", |m| {
            m.text(1, set).be32(2, FIRST.number());
            rest(m);
        })
    }

    /// Goes on if what is loaded is in the set.
    pub(super) fn in_set(self, set: &str) -> Self {
        self.lookup(set, |_| {})
    }

    /// Goes on if what is loaded is not in the set.
    pub(super) fn not_in_set(self, set: &str) -> Self {
        const NFT_LOOKUP_F_INV: u32 = 1;
        self.lookup(set, |m| {
            m.be32(5, NFT_LOOKUP_F_INV);
        })
    }

    /// Goes on if what is loaded is in the nameless set with this number in the batch.
    pub(super) fn in_nameless_set(self, id: u32) -> Self {
        self.lookup(NAMELESS_SET, |m| {
            m.be32(4, id);
        })
    }

    /// Does what the map says of what is loaded; goes on if it says nothing.
    pub(super) fn verdict_of(self, map: &str) -> Self {
        self.lookup(map, |m| {
            m.be32(3, NFT_REG_VERDICT);
        })
    }

    /// As [`Self::verdict_of`], by the nameless map with this number in the batch.
    pub(super) fn verdict_of_nameless(self, id: u32) -> Self {
        self.lookup(NAMELESS_MAP, |m| {
            m.be32(3, NFT_REG_VERDICT).be32(4, id);
        })
    }

    /// Sends the flow to the address and port that the map gives for what is loaded; goes on if it gives none.
    pub(super) fn dnat_to(self, map: &str, family: Family) -> Self {
        let address_length = u32::from(family.bits()) / 8;
        let looked_up = self.lookup(map, |m| {
            m.be32(3, FIRST.number());
        });
        looked_up.expression("nat", |m| {
            const NFT_NAT_DNAT: u32 = 1;
            let port = Register(address_length / 4).number();
            m.be32(1, NFT_NAT_DNAT)
                .be32(2, nfproto(family).into())
                .be32(3, FIRST.number())
                .be32(5, port);
        })
    }

    /// Gives the flow the source address that the map gives for what is loaded; goes on if it gives none.
    pub(super) fn snat_to(self, map: &str, family: Family) -> Self {
        let looked_up = self.lookup(map, |m| {
            m.be32(3, FIRST.number());
        });
        looked_up.expression("nat", |m| {
            const NFT_NAT_SNAT: u32 = 0;
            m.be32(1, NFT_NAT_SNAT)
                .be32(2, nfproto(family).into())
                .be32(3, FIRST.number());
        })
    }

    /// Lowers the maximum segment size that a TCP packet names (RFC 9293, section 3.7.1) to what the ways to its
    /// destination and back to its source have room for.
    pub(super) fn clamp_segment_size(self) -> Self {
        const NFT_RT_TCPMSS: u32 = 3;
        const NFT_BYTEORDER_HTON: u32 = 1;
        const NFT_EXTHDR_OP_TCPOPT: u32 = 1;
        const TCPOPT_MSS: u8 = 2;
        let (offset, length) = (2, 2);
        let register = FIRST.number();
        self.expression("rt", |m| {
            m.be32(1, register).be32(2, NFT_RT_TCPMSS);
        })
        .expression("byteorder", |m| {
            m.be32(1, register)
                .be32(2, register)
                .be32(3, NFT_BYTEORDER_HTON)
                .be32(4, length)
                .be32(5, length);
        })
        .expression("exthdr", |m| {
            m.be32(7, register)
                .u8(2, TCPOPT_MSS)
                .be32(3, offset)
                .be32(4, length)
                .be32(6, NFT_EXTHDR_OP_TCPOPT);
        })
    }

    /// Gives the flow the address of the interface that it leaves by.
    pub(super) fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    pub(super) fn verdict(mut self, verdict: Verdict) -> Self {
        self.goes_to = verdict.goes_to();
        self.expression("immediate", |m| {
            m.be32(1, NFT_REG_VERDICT).nested(2, |m| verdict.write(m));
        })
    }

    /// Goes on if the packet is IPv4; in a chain of the inet family.
    pub(super) fn ipv4(self) -> Self {
        self.load(NFPROTO).equals(&[nfproto(Family::V4)])
    }

    /// Goes on if the packet is IPv6; in a chain of the inet family.
    pub(super) fn ipv6(self) -> Self {
        self.load(NFPROTO).equals(&[nfproto(Family::V6)])
    }
}
