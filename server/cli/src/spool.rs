//! Output kept for later: in memory while it is small, in an unnamed temporary file when it is not.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

/// Bytes of a waiting target that stay in memory.
const IN_MEMORY: usize = 1 << 20;

/// Bytes in the order in which they were written.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    /// Adds `bytes` at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() <= IN_MEMORY {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }

    /// Writes everything to `out` and leaves nothing.
    pub(crate) fn drain_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.seek(SeekFrom::Start(0))?;
            let mut piece = vec![0; 64 << 10];
            loop {
                let count = file.read(&mut piece)?;
                if count == 0 {
                    break;
                }
                out.write_all(&piece[..count])?;
            }
        }
        out.write_all(&std::mem::take(&mut self.memory))
    }
}

/// The beginning and the end of something that may be endless.
#[derive(Debug)]
pub(crate) struct HeadTail {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    half: usize,
    left_out: u64,
}

impl HeadTail {
    /// Keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: std::collections::VecDeque::new(),
            half: (limit / 2).max(1),
            left_out: 0,
        }
    }

    /// Adds `bytes` at the end.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        let room = self.half - self.head.len();
        let first = bytes.len().min(room);
        self.head.extend_from_slice(&bytes[..first]);
        bytes = &bytes[first..];
        if bytes.len() > self.half {
            self.left_out += (bytes.len() - self.half) as u64;
            bytes = &bytes[bytes.len() - self.half..];
        }
        self.tail.extend(bytes);
        let over = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    /// What was kept, with a note where something was left out.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.tail.as_slices();
        if self.left_out == 0 {
            return String::from_utf8_lossy(&[&self.head, front, back].concat()).into_owned();
        }
        let tail = [front, back].concat();
        format!(
            "{}\n[{} bytes left out by vmtest]\n{}",
            String::from_utf8_lossy(&self.head),
            self.left_out,
            String::from_utf8_lossy(&tail)
        )
    }

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_every_byte_in_order_also_from_its_file() {
        let mut spool = Spool::default();
        let mut expected = Vec::new();
        for n in 0..300u32 {
            let piece = vec![n as u8; 10_000];
            spool.push(&piece).unwrap();
            expected.extend(piece);
        }
        assert!(spool.file.is_some());
        let mut out = Vec::new();
        spool.drain_to(&mut out).unwrap();
        assert!(out == expected);
        let mut rest = Vec::new();
        spool.drain_to(&mut rest).unwrap();
        assert!(rest.is_empty());
    }

    #[test]
    fn head_and_tail_are_kept_and_the_rest_is_counted() {
        let mut kept = HeadTail::new(8);
        for piece in ["abcdef", "ghij", "k", "lmnopqrstuv"] {
            kept.push(piece.as_bytes());
        }
        assert_eq!(kept.text(), "abcd\n[14 bytes left out by vmtest]\nstuv");
    }

    #[test]
    fn a_short_output_is_kept_whole() {
        let mut kept = HeadTail::new(8);
        kept.push(b"abcdefgh");
        assert_eq!(kept.text(), "abcdefgh");
    }
}
