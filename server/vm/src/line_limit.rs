//! Bounds for a line of JSON, for readers that collect whole lines and make values of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// No honest answer of QEMU or its agent is as long: the longest has 16 MiB of each of a program's two outputs, in base64.
const LIMIT: usize = 48 << 20;
/// A value takes many times the memory of its text. Honest answers are long texts, or have some hundred values.
const VALUES: usize = 1 << 16;

/// Passes bytes on; fails when a line is longer than 48 MiB, or has so many values that they would take much more.
///
/// A last line without its end gets one: `qapi` (0.15) takes such a line as an answer, and then again, for ever.
#[derive(Debug)]
pub(crate) struct LineLimit<R> {
    inner: R,
    line: usize,
    values: usize,
}

impl<R> LineLimit<R> {
    /// Watches what is read from `inner`.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, line: 0, values: 0 }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for LineLimit<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let is_end = buf.filled().len() == before && buf.remaining() > 0;
        if is_end && self.line > 0 {
            buf.put_slice(b"\n");
        }
        if let Err(excess) = self.count(&buf.filled()[before..]) {
            // What is read together with an error must not seem to be read.
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, excess)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<R> LineLimit<R> {
    fn count(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for (number, piece) in bytes.split(|byte| *byte == b'\n').enumerate() {
            // The first goes on with the line of before; each other begins one.
            if number > 0 {
                (self.line, self.values) = (0, 0);
            }
            self.line += piece.len();
            self.values += memchr::memchr3_iter(b',', b'[', b'{', piece).count();
            if self.line > LIMIT {
                return Err("a line of over 48 MiB");
            }
            if self.values > VALUES {
                return Err("over 65536 values in one line");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<usize> {
        LineLimit::new(bytes).read_to_end(&mut Vec::new()).await
    }

    #[tokio::test]
    async fn the_longest_honest_answer_passes_and_so_do_many_lines() {
        assert!(read(&vec![b'A'; LIMIT]).await.is_ok());
        assert!(read(&b"{\"return\": {}}\n".repeat(VALUES)).await.is_ok());
    }

    // Q2
    #[tokio::test]
    async fn a_last_line_gets_its_end_once() {
        for (said, read) in [("", ""), ("{}\n", "{}\n"), ("{}\n{", "{}\n{\n")] {
            let mut text = String::new();
            LineLimit::new(said.as_bytes()).read_to_string(&mut text).await.unwrap();
            assert_eq!(text, read);
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_or_has_too_many_values_fails_wherever_it_begins() {
        let long = [b"\n".as_slice(), &vec![b'A'; LIMIT + 1]].concat();
        assert_eq!(read(&long).await.unwrap_err().to_string(), "a line of over 48 MiB");
        let many = [b"{}\n[0".as_slice(), &b",0".repeat(VALUES)].concat();
        assert_eq!(read(&many).await.unwrap_err().to_string(), "over 65536 values in one line");
    }
}
