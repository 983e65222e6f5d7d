//! The zdocker binary.
fn main() {}
