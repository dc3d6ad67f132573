//! New inputs from good ones.

use crate::Random;

/// Makes inputs.
#[derive(Debug)]
pub(crate) struct Mutator<'a> {
    random: Random,
    seeds: &'a [Vec<u8>],
    pieces: &'a [Vec<u8>],
    longest: usize,
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(random: Random, seeds: &'a [Vec<u8>], pieces: &'a [Vec<u8>], longest: usize) -> Self {
        Self { random, seeds, pieces, longest }
    }

    /// The next input: mostly a seed with some damage, now and then pieces in any order, or any bytes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut bytes = match self.random.below(16) {
            0 => self.any(),
            1..=4 if !self.pieces.is_empty() => self.strung(),
            _ if !self.seeds.is_empty() => self.random.of_all(self.seeds).clone(),
            _ if !self.pieces.is_empty() => self.strung(),
            _ => self.any(),
        };
        // More damage is likelier to be refused early: mostly a little.
        let most = 1 << self.random.below(5);
        for _ in 0..self.random.below(most + 1) {
            self.damage(&mut bytes);
        }
        if self.random.below(256) == 0 {
            self.blow_up(&mut bytes);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn any(&mut self) -> Vec<u8> {
        let most = 1 << self.random.below(10);
        let count = self.random.below(most);
        self.random.bytes(count)
    }

    fn strung(&mut self) -> Vec<u8> {
        let most = 1 << self.random.below(7);
        (0..=self.random.below(most)).flat_map(|_| self.random.of_all(self.pieces).clone()).collect()
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        const BYTES: [u8; 12] = [0, 1, 0x7F, 0x80, 0xFF, b'\n', b'\r', b' ', b'"', b'\\', 0x1B, 0xC3];
        const NUMBERS: [u64; 12] =
            [0, 1, 4, 0x7F, 0xFF, 0x200, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX >> 1, u64::MAX];
        let at = self.random.below(bytes.len() + 1);
        let most = 1 << self.random.below(7);
        let span = at..(at + 1 + self.random.below(most)).min(bytes.len());
        match self.random.below(12) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.random.below(8),
            1 if at < bytes.len() => bytes[at] = *self.random.of_all(&BYTES),
            2 => bytes.insert(at, self.random.number() as u8),
            3 => bytes.truncate(at),
            4 if at < bytes.len() => drop(bytes.drain(span)),
            5 if at < bytes.len() => {
                let copy = bytes[span].to_vec();
                let to = self.random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            // A number of a header, of any width and byte order.
            6 | 7 => {
                let width = *self.random.of_all(&[2, 4, 8]);
                let number = self.random.of_all(&NUMBERS).wrapping_add(self.random.below(3) as u64);
                let number = match self.random.below(3) {
                    0 => number.to_le_bytes()[..width].to_vec(),
                    1 => number.to_be_bytes()[8 - width..].to_vec(),
                    _ => bytes.len().wrapping_sub(self.random.below(64)).to_le_bytes()[..width].to_vec(),
                };
                let end = (at + width).min(bytes.len());
                bytes.splice(at.min(end)..end, number);
            }
            // A part of another seed in the place of this one's.
            8 if !self.seeds.is_empty() => {
                let other = self.random.of_all(self.seeds);
                let from = self.random.below(other.len() + 1);
                let most = 1 << self.random.below(9);
                let until = (from + self.random.below(most)).min(other.len());
                let end = if self.random.below(2) == 0 { at } else { span.end.max(at) };
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            _ if !self.pieces.is_empty() => {
                let piece = self.random.of_all(self.pieces).clone();
                bytes.splice(at..at, piece);
            }
            _ => bytes.push(self.random.number() as u8),
        }
    }

    /// Repeats a part of it to the longest that an input may be: what is more than linear shows.
    fn blow_up(&mut self, bytes: &mut Vec<u8>) {
        let start = self.random.below(bytes.len() + 1);
        let end = (start + 1 + self.random.below(32)).min(bytes.len());
        let part = match bytes[start.min(end)..end].to_vec() {
            part if part.is_empty() => vec![self.random.number() as u8],
            part => part,
        };
        let times = self.longest.saturating_sub(bytes.len()) / part.len();
        bytes.splice(end..end, part.repeat(times));
    }
}
