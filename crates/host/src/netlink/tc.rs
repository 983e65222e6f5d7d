//! Traffic control: token buckets and redirection (tc(8), linux/pkt_sched.h, linux/pkt_cls.h).

use zdocker_net::shaping::TokenBucket;

use super::message::{CREATE, EXCL, Requests, Writer, text_of};
use super::{NetlinkError, Socket};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;

/// Length of `struct tcmsg`.
const HEADER: usize = 20;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// The handle of every ingress qdisc.
const INGRESS_HANDLE: u32 = 0xffff_0000;
/// The ingress side of a device as a filter's parent (`TC_H_CLSACT`, `TC_H_MIN_INGRESS`).
const INGRESS_SIDE: u32 = 0xffff_fff2;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// `TC_LINKLAYER_ETHERNET`: the kernel reckons itself and needs no table of times.
const LINKLAYER_ETHERNET: u8 = 1;

const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// `TC_ACT_STOLEN`: the packet is not to be looked at any further here.
const ACT_STOLEN: u32 = 4;
const TCA_EGRESS_REDIR: u32 = 1;
/// The one filter's place among those of the device.
const PRIORITY: u32 = 1;

/// `struct tcmsg`.
fn header(m: &mut Writer, index: u32, handle: u32, parent: u32, info: u32) {
    m.raw(&[0; 4]);
    for number in [index, handle, parent, info] {
        m.raw(&number.to_ne_bytes());
    }
}

/// Puts a token bucket before the interface, in place of the queue that the kernel gave it.
pub(crate) fn limit_rate(requests: &mut Requests, index: u32, bucket: &TokenBucket) -> usize {
    requests.push(RTM_NEWQDISC, CREATE | EXCL, |m| {
        header(m, index, 0, TC_H_ROOT, 0);
        m.text(TCA_KIND, "tbf").nested(TCA_OPTIONS, |m| {
            m.attribute(TCA_TBF_PARMS, &tbf_parameters(bucket));
            m.attribute(TCA_TBF_RATE64, &bucket.rate.to_ne_bytes());
            m.u32(TCA_TBF_BURST, bucket.burst);
        });
    })
}

/// Takes the token bucket from before the interface; the kernel puts in its place what was there at first.
pub(crate) fn unlimit(requests: &mut Requests, index: u32) -> usize {
    requests.push(RTM_DELQDISC, 0, |m| header(m, index, 0, TC_H_ROOT, 0))
}

/// Leads what comes in by the interface nowhere else any more.
pub(crate) fn end_redirect(requests: &mut Requests, index: u32) -> usize {
    requests.push(RTM_DELQDISC, 0, |m| header(m, index, INGRESS_HANDLE, TC_H_INGRESS, 0))
}

/// Whether what leaves by the interface passes a token bucket, and whether what comes in is led elsewhere or may be.
pub(crate) fn limits(socket: &mut Socket, index: u32) -> Result<(bool, bool), NetlinkError> {
    let dump = socket.dump(RTM_GETQDISC, |m| header(m, index, 0, 0, 0))?;
    let mut found = (false, false);
    for message in dump.objects().filter(|message| message.u32_at(4) == Some(index)) {
        let kind = message.attributes(HEADER).value(TCA_KIND).map(text_of);
        match kind.as_deref() {
            Some("tbf") => found.0 |= message.u32_at(12) == Some(TC_H_ROOT),
            Some("ingress") => found.1 = true,
            _ => {}
        }
    }
    Ok(found)
}

/// `struct tc_tbf_qopt`: the rate and the peak rate (none) as `struct tc_ratespec`, limit, burst as a time, MTU of the
/// peak rate. Rate and burst are left to the attributes that give them exactly.
fn tbf_parameters(bucket: &TokenBucket) -> [u8; 36] {
    const RATE_LINKLAYER: usize = 1;
    const RATE: usize = 8;
    const LIMIT: usize = 24;
    let mut parameters = [0; 36];
    parameters[RATE_LINKLAYER] = LINKLAYER_ETHERNET;
    let rate = u32::try_from(bucket.rate).unwrap_or(u32::MAX);
    parameters[RATE..RATE + 4].copy_from_slice(&rate.to_ne_bytes());
    parameters[LIMIT..LIMIT + 4].copy_from_slice(&bucket.limit.to_ne_bytes());
    parameters
}

/// Leads all that comes in by the interface `from` out by `to`.
pub(crate) fn redirect(requests: &mut Requests, from: u32, to: u32) -> usize {
    requests.push(RTM_NEWQDISC, CREATE | EXCL, |m| {
        header(m, from, INGRESS_HANDLE, TC_H_INGRESS, 0);
        m.text(TCA_KIND, "ingress");
    });
    let every_protocol = u32::from((libc::ETH_P_ALL as u16).to_be());
    requests.push(RTM_NEWTFILTER, CREATE | EXCL, |m| {
        header(m, from, 0, INGRESS_SIDE, PRIORITY << 16 | every_protocol);
        m.text(TCA_KIND, "u32").nested(TCA_OPTIONS, |m| {
            m.nested(TCA_U32_ACT, |m| {
                // Actions are numbered from 1 on.
                m.nested(1, |m| {
                    m.text(TCA_ACT_KIND, "mirred").nested(TCA_ACT_OPTIONS, |m| {
                        m.attribute(TCA_MIRRED_PARMS, &mirred_parameters(to));
                    });
                });
            });
            m.attribute(TCA_U32_SEL, &SELECT_ALL);
        });
    })
}

/// `struct tc_mirred`: index, capabilities, what then, two counters, what, and where to.
fn mirred_parameters(to: u32) -> Vec<u8> {
    let numbers = [0, 0, ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to];
    numbers.iter().flat_map(|number: &u32| number.to_ne_bytes()).collect()
}

/// `struct tc_u32_sel` with one key, which has no bit to compare.
const SELECT_ALL: [u8; 32] = {
    let mut selector = [0; 32];
    selector[0] = TC_U32_TERMINAL;
    const KEYS: usize = 2;
    selector[KEYS] = 1;
    selector
};
