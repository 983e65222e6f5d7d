//! Names for containers that are given none.

const QUALITIES: [&str; 32] = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clever", "cosy", "eager", "fair", "fleet", "fresh", "gentle",
    "glad", "golden", "green", "happy", "jolly", "keen", "kind", "lively", "lucky", "merry", "nimble", "proud",
    "quick", "quiet", "sharp", "silver", "steady", "swift", "warm",
];

const ANIMALS: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "curlew", "dolphin", "eagle", "falcon", "ferret", "finch", "fox", "gecko",
    "hare", "hawk", "heron", "ibex", "jay", "kestrel", "lark", "lynx", "marten", "moose", "newt", "orca", "otter",
    "owl", "puffin", "raven", "robin", "seal", "stoat", "wren",
];

/// A name made of `random` bytes: a quality, an animal, and enough digits that a clash is a rarity.
pub(super) fn made_up(random: [u8; 4]) -> String {
    let [quality, animal, high, low] = random;
    let number = u16::from_be_bytes([high, low]);
    let pick = |words: &[&'static str; 32], byte: u8| words[usize::from(byte) % words.len()];
    format!("{}_{}_{number:04x}", pick(&QUALITIES, quality), pick(&ANIMALS, animal))
}
