//! For tests of readers that must not panic: many damaged variants of good bytes, the same ones every time.

use std::time::{Duration, Instant};

/// A small generator of numbers (splitmix64), so that a failure repeats.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

/// Calls `read` with damaged variants of `seed`: at least a hundred, then until the time is up.
pub(crate) fn mutations(seed: &[u8], time: Duration, mut read: impl FnMut(&[u8])) {
    let mut numbers = Numbers::new(0x5EED);
    let end = Instant::now() + time;
    let mut count = 0;
    while count < 100 || Instant::now() < end {
        let mut bytes = seed.to_vec();
        for _ in 0..=numbers.below(8) {
            if bytes.is_empty() {
                break;
            }
            let at = numbers.below(bytes.len());
            match numbers.below(6) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF, b'\n'][numbers.below(6)],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, numbers.below(256) as u8),
                4 => {
                    let end = (at + 1 + numbers.below(8)).min(bytes.len());
                    bytes[at..end].fill(0xFF);
                }
                _ => {
                    let end = (at + 1 + numbers.below(16)).min(bytes.len());
                    drop(bytes.drain(at..end));
                }
            }
        }
        read(&bytes);
        count += 1;
    }
}
