//! Handing out the addresses of a subnet by bitmap.
//!
//! The bitmap is cut into [`Block`]s that are made when first needed, so a large subnet costs nothing until it is used,
//! and one allocation reads and writes one block. Allocation is next-fit: it goes on behind the last allocated address
//! and comes back to the start, so that a released address is not handed out again at once.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::subnet::{AddressRange, Family, Subnet};

/// Number of addresses that a block stands for.
pub const BLOCK_ADDRESSES: u128 = 1024;

const WORDS: usize = (BLOCK_ADDRESSES / 64) as usize;

/// Length of a block's bitmap in bytes.
pub const BLOCK_BYTES: usize = WORDS * 8;

/// The bitmap of [`BLOCK_ADDRESSES`] neighbouring addresses: a set bit is an address that is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    number: u128,
    words: [u64; WORDS],
}

/// Offsets within `subnet` that may be borne by an interface: all but the network's own and the broadcast address, in
/// IPv6 all but the subnet-router anycast address (RFC 4291, 2.6.1); all in subnets of one or two addresses (RFC 3021,
/// RFC 6164).
pub fn usable(subnet: &Subnet) -> RangeInclusive<u128> {
    let last = subnet.last_offset();
    match subnet.family() {
        _ if last <= 1 => 0..=last,
        Family::V4 => 1..=last - 1,
        Family::V6 => 1..=last,
    }
}

impl Block {
    /// The block `number` of `subnet` before anything was allocated: what is not usable is marked.
    pub fn fresh(subnet: &Subnet, number: u128) -> Self {
        let mut block = Block {
            number,
            words: [0; WORDS],
        };
        let usable = usable(subnet);
        for bit in 0..BLOCK_ADDRESSES {
            if !usable.contains(&(number * BLOCK_ADDRESSES + bit)) {
                block.set(bit, true);
            }
        }
        block
    }

    /// The block `number` with a bitmap as [`Block::to_bytes`] gave it.
    pub fn from_bytes(number: u128, bytes: &[u8; BLOCK_BYTES]) -> Self {
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            *word = u64::from_le_bytes(eight);
        }
        Block { number, words }
    }

    /// The bitmap: the lowest bit of the first byte is the block's first address.
    pub fn to_bytes(&self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The block's place among the subnet's blocks, from zero.
    pub fn number(&self) -> u128 {
        self.number
    }

    /// Whether the address at `bit` of this block is not free.
    pub fn is_set(&self, bit: u128) -> bool {
        self.words[(bit / 64) as usize] & mask(bit) != 0
    }

    fn set(&mut self, bit: u128, value: bool) {
        let word = &mut self.words[(bit / 64) as usize];
        *word = if value { *word | mask(bit) } else { *word & !mask(bit) };
    }

    /// The first free bit at `from` or after it.
    fn first_free(&self, from: u128) -> Option<u128> {
        let start = (from / 64) as usize;
        (start..WORDS).find_map(|index| {
            let passed_over = if index == start { mask(from) - 1 } else { 0 };
            let free = !(self.words[index] | passed_over);
            (free != 0).then(|| index as u128 * 64 + u128::from(free.trailing_zeros()))
        })
    }
}

fn mask(bit: u128) -> u64 {
    1 << (bit % 64)
}

/// Where the blocks of one subnet are kept.
pub trait Blocks {
    /// What can go wrong in keeping them.
    type Error;

    /// The block `number`, or `None` if it was never saved.
    ///
    /// # Errors
    /// When the keeper cannot be read.
    fn load(&mut self, number: u128) -> Result<Option<Block>, Self::Error>;

    /// Keeps `block`.
    ///
    /// # Errors
    /// When the keeper cannot be written.
    fn save(&mut self, block: &Block) -> Result<(), Self::Error>;
}

fn load_or_fresh<B: Blocks>(subnet: &Subnet, number: u128, blocks: &mut B) -> Result<Block, B::Error> {
    Ok(blocks.load(number)?.unwrap_or_else(|| Block::fresh(subnet, number)))
}

/// Allocates a free address of `range`, a part of `subnet` or all of it: the first one at offset `cursor` of the subnet
/// or after it, or else from the range's start. `None` when there is none. The next cursor is the offset behind the
/// address.
///
/// # Errors
/// When the blocks cannot be loaded or saved.
pub fn allocate<B: Blocks>(
    subnet: &Subnet,
    range: &AddressRange,
    cursor: u128,
    blocks: &mut B,
) -> Result<Option<IpAddr>, B::Error> {
    let (Some(first), Some(last)) = (subnet.offset_of(range.first()), subnet.offset_of(range.last())) else {
        return Ok(None);
    };
    let cursor = if (first..=last).contains(&cursor) {
        cursor
    } else {
        first
    };
    let (first_block, last_block) = (first / BLOCK_ADDRESSES, last / BLOCK_ADDRESSES);
    let start = cursor / BLOCK_ADDRESSES;
    // The start block comes twice: first from the cursor on, in the end as a whole.
    let (mut number, mut from) = (start, cursor % BLOCK_ADDRESSES);
    let mut wrapped = false;
    loop {
        let mut block = load_or_fresh(subnet, number, blocks)?;
        let free = block.first_free(from);
        if let Some(bit) = free.filter(|bit| number * BLOCK_ADDRESSES + bit <= last) {
            block.set(bit, true);
            blocks.save(&block)?;
            return Ok(subnet.nth(number * BLOCK_ADDRESSES + bit));
        }
        if wrapped && number == start {
            return Ok(None);
        }
        (number, wrapped) = if number == last_block {
            (first_block, true)
        } else {
            (number + 1, wrapped)
        };
        from = if number == first_block {
            first % BLOCK_ADDRESSES
        } else {
            0
        };
    }
}

/// Marks `address` as used. `false` if it was already, or is not in the subnet.
///
/// # Errors
/// When the blocks cannot be loaded or saved.
pub fn claim<B: Blocks>(subnet: &Subnet, address: IpAddr, blocks: &mut B) -> Result<bool, B::Error> {
    change(subnet, address, true, blocks)
}

/// Marks `address` as free. `false` if it was already: releasing twice is harmless.
///
/// # Errors
/// When the blocks cannot be loaded or saved.
pub fn release<B: Blocks>(subnet: &Subnet, address: IpAddr, blocks: &mut B) -> Result<bool, B::Error> {
    change(subnet, address, false, blocks)
}

fn change<B: Blocks>(subnet: &Subnet, address: IpAddr, used: bool, blocks: &mut B) -> Result<bool, B::Error> {
    let Some(offset) = subnet
        .offset_of(address)
        .filter(|offset| usable(subnet).contains(offset))
    else {
        return Ok(false);
    };
    let (number, bit) = (offset / BLOCK_ADDRESSES, offset % BLOCK_ADDRESSES);
    let mut block = load_or_fresh(subnet, number, blocks)?;
    if block.is_set(bit) == used {
        return Ok(false);
    }
    block.set(bit, used);
    blocks.save(&block)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    #[derive(Default)]
    struct InMemory {
        blocks: BTreeMap<u128, Block>,
        loads: usize,
    }

    impl Blocks for InMemory {
        type Error = Infallible;
        fn load(&mut self, number: u128) -> Result<Option<Block>, Infallible> {
            self.loads += 1;
            Ok(self
                .blocks
                .get(&number)
                .map(|block| Block::from_bytes(number, &block.to_bytes())))
        }
        fn save(&mut self, block: &Block) -> Result<(), Infallible> {
            self.blocks.insert(block.number(), block.clone());
            Ok(())
        }
    }

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn take(subnet: &Subnet, cursor: u128, blocks: &mut InMemory) -> Option<IpAddr> {
        take_within(subnet, subnet, cursor, blocks)
    }

    fn take_within(subnet: &Subnet, range: &Subnet, cursor: u128, blocks: &mut InMemory) -> Option<IpAddr> {
        let Ok(address) = allocate(subnet, &(*range).into(), cursor, blocks);
        address
    }

    #[test]
    fn a_small_subnet_gives_each_usable_address_once() {
        let subnet = subnet("192.168.1.0/29");
        let mut blocks = InMemory::default();
        let all: Vec<_> = std::iter::from_fn(|| take(&subnet, 0, &mut blocks))
            .map(|a| a.to_string())
            .collect();
        assert_eq!(
            all,
            [
                "192.168.1.1",
                "192.168.1.2",
                "192.168.1.3",
                "192.168.1.4",
                "192.168.1.5",
                "192.168.1.6"
            ]
        );
    }

    #[test]
    fn the_last_usable_address_is_found_behind_full_blocks() {
        let subnet = subnet("10.0.0.0/20");
        let mut blocks = InMemory::default();
        assert_eq!(std::iter::from_fn(|| take(&subnet, 3000, &mut blocks)).count(), 4094);
        assert_eq!(release(&subnet, "10.0.1.7".parse().unwrap(), &mut blocks), Ok(true));
        assert_eq!(take(&subnet, 3000, &mut blocks), Some("10.0.1.7".parse().unwrap()));
        assert_eq!(take(&subnet, 3000, &mut blocks), None);
    }

    #[test]
    fn next_fit_comes_back_to_the_start() {
        let subnet = subnet("192.168.1.0/24");
        let mut blocks = InMemory::default();
        assert_eq!(take(&subnet, 254, &mut blocks), Some("192.168.1.254".parse().unwrap()));
        assert_eq!(take(&subnet, 255, &mut blocks), Some("192.168.1.1".parse().unwrap()));
    }

    #[test]
    fn a_large_subnet_costs_what_a_small_one_costs() {
        for text in ["192.168.1.0/24", "10.0.0.0/8", "fd00::/64", "fd00::/8", "::/0"] {
            let subnet = subnet(text);
            let mut blocks = InMemory::default();
            for _ in 0..100 {
                assert!(take(&subnet, 0, &mut blocks).is_some());
            }
            assert_eq!((blocks.blocks.len(), blocks.loads), (1, 100), "{text}");
        }
    }

    #[test]
    fn a_range_gives_its_own_addresses_only() {
        for (whole, range, first, last, count) in [
            ("192.168.1.0/24", "192.168.1.64/29", "192.168.1.64", "192.168.1.71", 8),
            ("192.168.1.0/24", "192.168.1.0/29", "192.168.1.1", "192.168.1.7", 7),
            (
                "192.168.1.0/24",
                "192.168.1.248/29",
                "192.168.1.248",
                "192.168.1.254",
                7,
            ),
            ("10.0.0.0/8", "10.9.0.0/21", "10.9.0.0", "10.9.7.255", 2048),
            ("fd00::/64", "fd00::9:0/120", "fd00::9:0", "fd00::9:ff", 256),
        ] {
            let (subnet, range) = (subnet(whole), subnet(range));
            for cursor in [0, 70, subnet.offset_of(range.last()).unwrap(), subnet.last_offset()] {
                let mut blocks = InMemory::default();
                let mut all: Vec<_> =
                    std::iter::from_fn(|| take_within(&subnet, &range, cursor, &mut blocks)).collect();
                all.sort();
                assert_eq!(all.len(), count, "{whole} {range}");
                let ends = [all[0].to_string(), all[count - 1].to_string()];
                assert_eq!(ends, [first, last], "{whole} {range}");
            }
        }
    }

    #[test]
    fn a_range_may_be_no_subnet() {
        let subnet = subnet("10.0.0.0/16");
        let range: AddressRange = "10.0.3.250-10.0.4.5".parse().unwrap();
        for cursor in [0, 1018, 1023, 1024, 1029, 1030] {
            let mut blocks = InMemory::default();
            let taken = std::iter::from_fn(|| {
                let Ok(address) = allocate(&subnet, &range, cursor, &mut blocks);
                address
            });
            let mut all: Vec<IpAddr> = taken.collect();
            all.sort();
            let ends = [all[0].to_string(), all[11].to_string()];
            assert_eq!(all.len(), 12, "{cursor}");
            assert_eq!(ends, ["10.0.3.250", "10.0.4.5"], "{cursor}");
        }
        let elsewhere: AddressRange = "10.1.0.1-10.1.0.9".parse().unwrap();
        assert_eq!(allocate(&subnet, &elsewhere, 0, &mut InMemory::default()), Ok(None));
    }

    #[test]
    fn a_range_far_into_a_large_subnet_costs_one_block() {
        let (subnet, range) = (subnet("10.0.0.0/8"), subnet("10.200.0.0/24"));
        let mut blocks = InMemory::default();
        for _ in 0..100 {
            assert!(take_within(&subnet, &range, 0, &mut blocks).is_some());
        }
        assert_eq!((blocks.blocks.len(), blocks.loads), (1, 100));
    }

    #[test]
    fn network_and_broadcast_address_cannot_be_claimed_or_released() {
        let subnet = subnet("192.168.1.0/24");
        let mut blocks = InMemory::default();
        for text in ["192.168.1.0", "192.168.1.255", "192.168.2.1", "fd00::1"] {
            let address = text.parse().unwrap();
            assert_eq!(claim(&subnet, address, &mut blocks), Ok(false), "{text}");
            assert_eq!(release(&subnet, address, &mut blocks), Ok(false), "{text}");
        }
    }

    proptest! {
        /// Against the simplest thing that could be right: a set of used addresses.
        #[test]
        fn behaves_like_a_set(prefix in 20u8..=30, steps in prop::collection::vec((0u8..3, 0u32..5000), 1..200)) {
            let subnet = Subnet::containing("10.1.0.0".parse().unwrap(), prefix);
            let mut blocks = InMemory::default();
            let mut used = BTreeSet::new();
            let mut cursor = 0;
            for (what, number) in steps {
                let address = subnet.nth(u128::from(number) % (subnet.last_offset() + 1)).unwrap();
                let offset = subnet.offset_of(address).unwrap();
                match what {
                    0 => match take(&subnet, cursor, &mut blocks) {
                        Some(address) => {
                            prop_assert!(usable(&subnet).contains(&subnet.offset_of(address).unwrap()));
                            prop_assert!(used.insert(address));
                            cursor = subnet.offset_of(address).unwrap() + 1;
                        }
                        None => prop_assert_eq!(used.len() as u128, subnet.last_offset() - 1),
                    },
                    1 => {
                        let free = usable(&subnet).contains(&offset) && !used.contains(&address);
                        prop_assert_eq!(claim(&subnet, address, &mut blocks), Ok(free));
                        if free { used.insert(address); }
                    }
                    _ => prop_assert_eq!(release(&subnet, address, &mut blocks), Ok(used.remove(&address))),
                }
            }
        }
    }
}
