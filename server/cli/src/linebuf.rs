//! Cuts a guest's bytes into clean lines and keeps the first and the last of them.

use std::collections::VecDeque;

use vmtest_vm::sanitize;

/// Lines kept from the beginning.
const HEAD: usize = 100;
/// Lines kept from the end.
const TAIL: usize = 400;
/// Longest line; what is longer is cut into several, so that a guest that never breaks a line is shown and bounded.
const LONGEST: usize = 4096;

/// Clean lines; the number of bytes in it is bounded.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
    head: Vec<String>,
    tail: VecDeque<String>,
    left_out: u64,
}

impl LineBuffer {
    /// Adds bytes as they came; calls `whole` with each line that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut whole: impl FnMut(&str)) {
        for mut piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(LONGEST - self.partial.len()));
                self.partial.extend_from_slice(now);
                if now.ends_with(b"\n") || self.partial.len() == LONGEST {
                    self.complete(&mut whole);
                }
                piece = later;
            }
        }
    }

    /// Takes what is left as a line.
    pub(crate) fn finish(&mut self, mut whole: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.complete(&mut whole);
        }
    }

    fn complete(&mut self, whole: &mut impl FnMut(&str)) {
        let line = sanitize::line(&self.partial);
        self.partial.clear();
        whole(&line);
        if self.head.len() < HEAD {
            self.head.push(line);
            return;
        }
        self.tail.push_back(line);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
            self.left_out += 1;
        }
    }

    /// The last `count` lines, the unfinished one included.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let mut lines: Vec<_> = self
            .partial_line()
            .into_iter()
            .chain(self.tail.iter().rev().chain(self.head.iter().rev()).cloned())
            .take(count)
            .collect();
        lines.reverse();
        lines
    }

    /// The line that is not complete yet.
    pub(crate) fn partial_line(&self) -> Option<String> {
        (!self.partial.is_empty()).then(|| sanitize::line(&self.partial))
    }

    /// First lines, how many are missing, last lines.
    pub(crate) fn kept(&self) -> (&[String], u64, impl Iterator<Item = &String>) {
        (&self.head, self.left_out, self.tail.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_over_pieces_are_whole() {
        let mut lines = LineBuffer::default();
        let mut seen = Vec::new();
        for piece in ["a", "b\nc", "\n", "d"] {
            lines.push(piece.as_bytes(), |line| seen.push(line.to_owned()));
        }
        assert_eq!(seen, ["ab", "c"]);
        assert_eq!(lines.last(2), ["c", "d"]);
        lines.finish(|line| seen.push(line.to_owned()));
        assert_eq!(seen, ["ab", "c", "d"]);
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut lines = LineBuffer::default();
        for n in 0..1000 {
            lines.push(format!("{n}\n").as_bytes(), |_| ());
        }
        let (head, left_out, tail) = lines.kept();
        assert_eq!((head.len(), left_out), (100, 500));
        assert_eq!(tail.cloned().collect::<Vec<_>>().first().unwrap(), "600");
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let long = vec![b'x'; 100_000];
        let mut lines = LineBuffer::default();
        for _ in 0..1000 {
            lines.push(&long, |_| ());
        }
        let (head, left_out, tail) = lines.kept();
        assert!(left_out > 0);
        assert!(head.iter().chain(tail).all(|line| line.len() <= LONGEST));
        assert!(lines.partial.len() < LONGEST);
    }
}
