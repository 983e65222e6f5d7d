//! Limits to what an endpoint sends and receives: rates, the token buckets that keep to them, and the steps that put
//! them in place.
//!
//! What the container receives waits in a queue at the host's end of its veth pair. What it sends has no queue there,
//! as it arrives: it is led to a device of its own (an ifb) on its way, waits there, and goes on as if it had just come
//! out of the container, so that all that goes by the port's name sees no difference.

use std::fmt;
use std::str::FromStr;

use crate::firewall::PORT_PREFIX;
use crate::model::{Bandwidth, Endpoint};
use crate::names::InterfaceName;
use crate::op::Op;

/// How many bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// The least rate in bits a second: a full Ethernet frame then takes a second and a half, and TCP gives up with less.
pub const RATE_MIN: u64 = 8_000;
/// The greatest in bits a second: what comes with it in 20 ms is counted in 32 bits.
pub const RATE_MAX: u64 = 1_000_000_000_000;

impl Rate {
    /// In bits a second.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// No number, or an unknown unit.
    #[error(
        "invalid rate {0:?}: want a number of bits a second with bit, kbit, mbit, gbit or tbit (or k, m, g, t) behind it, \
         or of bytes a second with bps, kbps, mbps, gbps or tbps, for example 10mbit"
    )]
    Form(String),
    /// Below [`RATE_MIN`] or above [`RATE_MAX`].
    #[error("invalid rate {0:?}: the least is {min}, the greatest {max}", min = Rate(RATE_MIN), max = Rate(RATE_MAX))]
    Range(String),
}

/// What a unit stands for in bits a second, as in tc(8): `k` is 1,000, `bit` and `bps` differ by 8.
fn unit(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let (prefix, bits) = match (text.strip_suffix("bit"), text.strip_suffix("bps")) {
        (Some(prefix), _) => (prefix, 1),
        (None, Some(prefix)) => (prefix, 8),
        (None, None) => (text.as_str(), 1),
    };
    let thousands = ["", "k", "m", "g", "t"].iter().position(|known| *known == prefix)?;
    Some(bits * 1_000_u64.pow(thousands as u32))
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let form = || RateError::Form(text.to_owned());
        let range = || RateError::Range(text.to_owned());
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let unit = u128::from(unit(suffix).ok_or_else(form)?);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(form());
        }
        // More digits than these are more than there are bits, before the point and behind it.
        let scale = fraction.len().min(15);
        let whole: u128 = whole.parse().map_err(|_| range())?;
        let fraction: u128 = fraction[..scale].parse().map_err(|_| form())?;
        let bits = whole
            .checked_mul(unit)
            .and_then(|bits| bits.checked_add(fraction * unit / 10_u128.pow(scale as u32)))
            .and_then(|bits| u64::try_from(bits).ok());
        bits.filter(|bits| (RATE_MIN..=RATE_MAX).contains(bits))
            .map(Rate)
            .ok_or_else(range)
    }
}

impl fmt::Display for Rate {
    /// In the greatest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut prefixes) = (self.0, ["", "k", "m", "g", "t"].into_iter());
        let mut prefix = prefixes.next().unwrap_or_default();
        while number > 0 && number.is_multiple_of(1_000) {
            let Some(greater) = prefixes.next() else { break };
            (number, prefix) = (number / 1_000, greater);
        }
        write!(f, "{number}{prefix}bit")
    }
}

/// What is asked of the kernel's token bucket filter (tc-tbf(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// In bytes a second, of whole Ethernet frames.
    pub rate: u64,
    /// How many bytes may pass at once after a pause.
    pub burst: u32,
    /// How many bytes may wait, before what comes is dropped.
    pub limit: u32,
}

/// Length in bytes of an Ethernet header.
const ETHERNET: u64 = 14;
/// Length in bytes of the headers of IPv4 and TCP, with the timestamps that both sides nearly always use (RFC 7323).
const HEADERS: u64 = 20 + 32;
/// The least MTU in bytes (RFC 791).
const MTU_MIN: u32 = 68;

/// How much may pass at once, in milliseconds at the rate. A processor that is busy with other things serves the queue
/// so much late before anything is lost, and what passes too much at first is a fiftieth of what passes in a second.
/// From 33 Mbit/s on it is also more than the 64 KiB that the kernel hands around as one packet; below, it cuts them.
const BURST: u64 = 20;
/// How much may wait, in milliseconds at the rate: a sender slows down only when something is lost, and the queue must
/// not have run dry by the time it has understood.
const WAIT: u64 = 50;
/// How many full frames may wait at least: with fewer, TCP cannot tell a loss before its timer does (RFC 5681). With
/// many more, a slow queue takes longer than that timer (200 ms, `TCP_RTO_MIN`, include/net/tcp.h), and TCP takes for
/// lost what only waits. Measured with cubic and bbr from 1 Mbit/s on.
const WAITING_FRAMES: u64 = 7;

impl TokenBucket {
    /// Keeps TCP to `rate` bits a second on a link with this MTU in bytes.
    ///
    /// A rate is what arrives of a long TCP connection, which is what people measure; the headers of its full packets
    /// come on top. The kernel counts whole frames, also those of a packet that is yet to be cut into them.
    ///
    /// `burst` is how many bits may pass at once after a pause, if not what suits the rate.
    pub fn new(rate: u64, burst: Option<u64>, mtu: u32) -> Self {
        let mtu = u64::from(mtu.max(MTU_MIN));
        let frame = mtu + ETHERNET;
        let (bits, payload) = (u128::from(rate) * u128::from(frame), u128::from(mtu - HEADERS) * 8);
        let rate = u64::try_from(bits / payload).unwrap_or(u64::MAX);
        let within = |milliseconds: u64| (rate / 1_000).saturating_mul(milliseconds);
        // A frame that is longer than the burst would never pass.
        let burst = burst.map_or_else(|| within(BURST), |bits| bits / 8).max(2 * frame);
        let limit = burst.saturating_add(within(WAIT).max(WAITING_FRAMES * frame));
        let bounded = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        TokenBucket {
            rate,
            burst: bounded(burst),
            limit: bounded(limit),
        }
    }
}

/// What the name of every device that limits what one of zdocker's own endpoints sends begins with.
pub const SEND_QUEUE_PREFIX: &str = "zdi";
/// The same where the endpoint is one of another engine's, in the place of the `z` that its port's name begins with.
const FOREIGN_SEND_QUEUE_PREFIX: &str = "i";

const _: () = assert!(SEND_QUEUE_PREFIX.len() == PORT_PREFIX.len());

/// The device that what `endpoint` sends waits in: the host's end of its veth pair, with another beginning. It keeps
/// all the digits and does not begin as a port, whose frames are looked at.
pub fn send_queue(endpoint: &Endpoint) -> InterfaceName {
    queue_of(&endpoint.host_interface)
}

fn queue_of(port: &InterfaceName) -> InterfaceName {
    port.beginning_with(if port.as_str().starts_with(PORT_PREFIX) {
        SEND_QUEUE_PREFIX
    } else {
        FOREIGN_SEND_QUEUE_PREFIX
    })
}

/// Limits what `endpoint`, whose veth pair is there, receives and sends. Nothing where there is no limit.
pub fn limit(endpoint: &Endpoint, mtu: u32) -> Vec<Op> {
    let port = endpoint.host_end();
    let bandwidth = endpoint.settings.bandwidth;
    let bucket = |link: &InterfaceName, rate, burst| Op::LimitRate {
        link: link.clone(),
        bucket: TokenBucket::new(rate, burst, mtu),
    };
    let mut ops = Vec::new();
    if let Some(rate) = bandwidth.send {
        let queue = send_queue(endpoint);
        ops.extend([
            Op::CreateIfb {
                name: queue.clone(),
                mtu,
            },
            bucket(&queue, rate, bandwidth.send_burst),
            Op::Redirect {
                from: port.clone(),
                to: queue,
            },
        ]);
    }
    let received = bandwidth.receive;
    ops.extend(received.map(|rate| bucket(port, rate, bandwidth.receive_burst)));
    ops
}

/// Takes all limits from an endpoint, whose veth pair stays.
pub fn lift(endpoint: &Endpoint) -> Vec<Op> {
    let link = endpoint.host_end();
    let Bandwidth { receive, send, .. } = endpoint.settings.bandwidth;
    let mut ops = Vec::new();
    ops.extend(send.map(|_| Op::EndRedirect { from: link.clone() }));
    ops.extend(receive.map(|_| Op::Unlimit { link: link.clone() }));
    ops.extend(unlimit(endpoint));
    ops
}

/// Takes away what does not go with the veth pair.
pub fn unlimit(endpoint: &Endpoint) -> Option<Op> {
    let queue = endpoint.settings.bandwidth.send.map(|_| send_queue(endpoint))?;
    Some(Op::DeleteLink { name: queue })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, bits) in [
            ("10mbit", 10_000_000),
            ("1gbit", 1_000_000_000),
            ("512kbit", 512_000),
            ("8000bit", 8_000),
            ("8000", 8_000),
            ("100k", 100_000),
            ("10m", 10_000_000),
            ("1g", 1_000_000_000),
            ("1T", 1_000_000_000_000),
            ("1tbit", 1_000_000_000_000),
            ("1000bps", 8_000),
            ("1kbps", 8_000),
            ("10MBps", 80_000_000),
            ("0.1tbps", 800_000_000_000),
            ("1.5Mbit", 1_500_000),
            ("2.5gbit", 2_500_000_000),
            ("0.0123456789012345678gbit", 12_345_678),
            ("00010mbit", 10_000_000),
        ] {
            assert_eq!(text.parse::<Rate>().map(Rate::bits), Ok(bits), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let wrong = [
            "",
            "mbit",
            "-1mbit",
            "10 mbit",
            "10mib",
            "10mibit",
            "1e6",
            "1.mbit",
            ".5mbit",
            "1.2.3mbit",
            "10mbits",
            "tenmbit",
            "١mbit",
            "10kk",
        ];
        for text in wrong {
            let error = text.parse::<Rate>().unwrap_err();
            assert_eq!(error, RateError::Form(text.to_owned()));
            assert!(error.to_string().contains("for example 10mbit"), "{error}");
        }
        let long = "9".repeat(50);
        for text in [
            "0",
            "7999",
            "7kbit",
            "1.1tbit",
            "200gbps",
            "340282366920938463463374607431768211455tbit",
            &long,
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid rate {text:?}: the least is 8kbit, the greatest 1tbit")
            );
        }
    }

    #[test]
    fn rates_are_shown_as_they_can_be_typed() {
        for (text, shown) in [
            ("10mbit", "10mbit"),
            ("1500k", "1500kbit"),
            ("1000kbps", "8mbit"),
            ("8001", "8001bit"),
            ("1000g", "1tbit"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), shown);
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
    }

    /// Of these bits a second at this MTU: bytes a second, burst, and what may wait beyond it.
    #[test]
    fn buckets_hold_frames_and_times() {
        for (rate, mtu, expected) in [
            // 10 mbit of payload, 1448 bytes in each frame of 1514.
            (10_000_000, 1500, (1_306_975, 26_120, 65_300)),
            // As little as there can be: frames count, not times.
            (8_000, 1500, (1_045, 3_028, 10_598)),
            (1_000_000, 9000, (125_921, 18_028, 63_098)),
            (1_000_000_000, 1500, (130_697_513, 2_613_940, 6_534_850)),
            (1_000_000, 65_535, (125_125, 131_098, 458_843)),
            (1_000_000, 68, (640_625, 12_800, 32_000)),
            (1_000_000, 0, (640_625, 12_800, 32_000)),
        ] {
            let TokenBucket {
                rate: bytes,
                burst,
                limit,
            } = TokenBucket::new(rate, None, mtu);
            assert_eq!((bytes, burst, limit - burst), expected, "{rate} at {mtu}");
        }
        let greatest = TokenBucket::new(RATE_MAX, None, 68);
        assert_eq!((greatest.burst, greatest.limit), (u32::MAX, u32::MAX));
        for (bits, bytes) in [(0, 3_028), (8, 3_028), (800_000, 100_000), (u64::MAX, u32::MAX)] {
            assert_eq!(TokenBucket::new(1_000_000, Some(bits), 1500).burst, bytes, "{bits}");
        }
    }

    #[test]
    fn queues_keep_the_digits_and_are_no_ports() {
        for (port, queue) in [
            ("zdvabababababab", "zdiabababababab"),
            ("z1a2b0123456789", "i1a2b0123456789"),
        ] {
            assert_eq!(queue_of(&port.parse().unwrap()).as_str(), queue);
        }
    }
}
