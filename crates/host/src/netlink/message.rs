//! The netlink wire format (RFC 3549, linux/netlink.h): requests are written, replies are read.
//!
//! Numbers are in the machine's byte order unless a subsystem says otherwise; everything is aligned to four bytes.

/// `NLM_F_REQUEST`: every request has it.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer also when all is well.
const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: all objects, not one.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: change the object if it is there.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: refuse when the object is there.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: create the object if it is not there.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add at the end of the list.
pub(crate) const APPEND: u16 = 0x800;

/// `NLM_F_DUMP_INTR` of a reply: the dump changed while it was read.
pub(super) const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED` of an error: only the request's header is sent back, not all of it.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS` of an error: attributes with an explanation follow.
const ACK_TLVS: u16 = 0x200;

/// `NLMSG_ERROR`: the answer to a request, good (errno 0) or bad.
pub(super) const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub(super) const DONE: u16 = 3;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// Cuts `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` off an attribute's type.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Writes the payload of one message.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends bytes as they are, a fixed header for example.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(aligned(self.bytes.len()), 0);
        self
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.attribute_header(kind, value.len() + 4);
        self.raw(value)
    }

    fn attribute_header(&mut self, kind: u16, length: usize) {
        // An attribute never outgrows 65,535 bytes: names are bounded, and lists of elements are cut (nft/element.rs).
        debug_assert!(length <= usize::from(u16::MAX));
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attribute(kind, &[value])
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a number in network byte order, as all of nfnetlink wants it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a text with its closing zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.attribute_header(kind, value.len() + 5);
        self.bytes.extend_from_slice(value.as_bytes());
        self.raw(&[0])
    }

    /// Appends an attribute that holds attributes.
    pub(crate) fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Writer)) -> &mut Self {
        let start = self.bytes.len();
        self.attribute_header(kind | NESTED, 4);
        content(self);
        let length = self.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX));
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What was written so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Requests that go to the kernel together. Each is known by its position, which becomes its sequence number.
#[derive(Default)]
pub(crate) struct Requests {
    writer: Writer,
    starts: Vec<usize>,
    answered: Option<usize>,
    framed: bool,
}

impl Requests {
    /// Adds a request and gives its position.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, payload: impl FnOnce(&mut Writer)) -> usize {
        let position = self.add(kind, flags, payload);
        self.answered = Some(position);
        position
    }

    /// Adds a message that the kernel does not answer when all is well (the frame of an nfnetlink batch).
    pub(crate) fn push_unanswered(&mut self, kind: u16, flags: u16, payload: impl FnOnce(&mut Writer)) -> usize {
        self.framed |= self.is_empty();
        self.add(kind, flags, payload)
    }

    fn add(&mut self, kind: u16, flags: u16, payload: impl FnOnce(&mut Writer)) -> usize {
        let start = self.writer.len();
        self.starts.push(start);
        let bytes = &mut self.writer.bytes;
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        payload(&mut self.writer);
        let length = (self.writer.len() - start) as u32;
        self.writer.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.starts.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How many messages there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Whether the first message is a frame that is not answered when all is well.
    pub(super) fn is_framed(&self) -> bool {
        self.framed
    }

    /// The position whose answer says that all were handled: the kernel answers in order.
    pub(super) fn answered(&self) -> Option<usize> {
        self.answered
    }

    /// Numbers the messages from `first` on and asks for the one answer that is needed; gives the bytes to be sent.
    pub(super) fn seal(&mut self, first: u32) -> &[u8] {
        for (position, start) in self.starts.iter().enumerate() {
            let sequence = first.wrapping_add(position as u32);
            self.writer.bytes[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
            if self.answered == Some(position) {
                // The flags' low byte is first or second according to the machine's byte order.
                let flags = u16::from_ne_bytes([self.writer.bytes[start + 6], self.writer.bytes[start + 7]]);
                self.writer.bytes[start + 6..start + 8].copy_from_slice(&(flags | ACK).to_ne_bytes());
            }
        }
        self.writer.as_bytes()
    }
}

/// A message from the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes that follow a fixed header of `header` bytes.
    pub(crate) fn attributes(&self, header: usize) -> Attributes<'a> {
        Attributes(self.payload.get(aligned(header)..).unwrap_or_default())
    }

    /// The number at `offset` of the fixed header.
    pub(crate) fn u32_at(&self, offset: usize) -> Option<u32> {
        self.payload.get(offset..).and_then(u32_of)
    }

    /// Of an `NLMSG_ERROR` or `NLMSG_DONE`: the errno, positive; 0 is success.
    pub(super) fn errno(&self) -> i32 {
        self.u32_at(0).map_or(0, |code| (code as i32).wrapping_neg())
    }

    /// Of an `NLMSG_ERROR`: the kernel's explanation (`NLMSGERR_ATTR_MSG`), if it gave one.
    pub(super) fn explanation(&self) -> Option<String> {
        if self.flags & ACK_TLVS == 0 {
            return None;
        }
        // The errno, then the request's header, and unless capped the request's payload too.
        let request = match self.flags & CAPPED {
            0 => self.u32_at(4)? as usize,
            _ => HEADER,
        };
        let text = self.attributes(4 + request).find(|(kind, _)| *kind == 1)?.1;
        Some(text_of(text))
    }
}

/// The messages in what was received; a cut last one is left out.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32_of(rest)? as usize;
        let message = rest.get(..length)?;
        let field = |at: usize| Some(u16::from_ne_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let parsed = Message {
            kind: field(4)?,
            flags: field(6)?,
            sequence: u32_of(message.get(8..)?)?,
            payload: message.get(HEADER..)?,
        };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(parsed)
    })
}

/// Goes through attributes: type (without its flags) and value.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes within a nested one's value.
    pub(crate) fn within(value: &'a [u8]) -> Self {
        Attributes(value)
    }

    /// The value of the first attribute of this type.
    pub(crate) fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(k, _)| *k == kind).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & ATTRIBUTE_TYPE, value))
    }
}

/// The number that `bytes` start with.
pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The number in network byte order that `bytes` start with.
pub(crate) fn be32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A text up to its closing zero.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut requests = Requests::default();
        requests.push_unanswered(16, 0, |_| {});
        requests.push(20, CREATE, |m| {
            m.raw(&[1, 2, 3]).text(3, "eth0").nested(18, |m| {
                m.u8(1, 7).u32(2, 0x0102_0304);
            });
        });
        let bytes = requests.seal(41).to_vec();
        let read: Vec<Message> = messages(&bytes).collect();
        assert_eq!(
            read.iter().map(|m| (m.kind, m.flags, m.sequence)).collect::<Vec<_>>(),
            [(16, REQUEST, 41), (20, REQUEST | CREATE | ACK, 42)]
        );
        let attributes: Vec<_> = read[1].attributes(3).collect();
        assert_eq!(attributes[0], (3, b"eth0\0".as_slice()));
        assert_eq!(text_of(attributes[0].1), "eth0");
        let inner = Attributes::within(attributes[1].1);
        assert_eq!(inner.value(1), Some([7].as_slice()));
        assert_eq!(inner.value(2).and_then(u32_of), Some(0x0102_0304));
    }

    #[test]
    fn cut_and_wrong_lengths_end_the_reading() {
        let mut requests = Requests::default();
        requests.push(20, 0, |m| {
            m.raw(&[0; 4]).u32(1, 5);
        });
        let bytes = requests.seal(1).to_vec();
        for cut in 0..bytes.len() {
            assert_eq!(messages(&bytes[..cut]).count(), 0, "{cut}");
        }
        for length in [0u16, 3, 9, u16::MAX] {
            let mut attribute = length.to_ne_bytes().to_vec();
            attribute.extend_from_slice(&[1, 0, 0, 0]);
            assert_eq!(Attributes::within(&attribute).count(), 0, "{length}");
        }
    }
}
