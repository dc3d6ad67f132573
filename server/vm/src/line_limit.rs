//! A bound on the length of a line, for readers that collect whole lines.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// No honest answer of QEMU or its agent is as long: the longest has 16 MiB of each of a program's two outputs, in base64.
const LIMIT: usize = 48 << 20;

/// Passes bytes on; fails when a line is longer than 48 MiB.
#[derive(Debug)]
pub(crate) struct LineLimit<R> {
    inner: R,
    line: usize,
}

impl<R> LineLimit<R> {
    /// Watches what is read from `inner`.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, line: 0 }
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
        let new = &buf.filled()[before..];
        self.line = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => new.len() - end - 1,
            None => self.line + new.len(),
        };
        if self.line > LIMIT {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a line of over 48 MiB")));
        }
        Poll::Ready(Ok(()))
    }
}
