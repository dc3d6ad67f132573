//! Where one message ends and the next begins: the base protocol's headers.
//!
//! A client that gets them wrong loses messages, not the server: one [`Frame::Broken`], then everything up to the next
//! `Content-Length` is skipped. What is read at once is bounded, whatever the headers say.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// The longest message. A vmtest.toml has at most 1 MiB, which JSON may make six times as long.
const MOST_BODY: usize = 64 << 20;
/// The longest line among the headers.
const MOST_LINE: usize = 4 << 10;
/// More headers than any client sends.
const MOST_HEADERS: usize = 32;
const CONTENT_LENGTH: &str = "Content-Length";

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message as announced.
    Body(Vec<u8>),
    /// Headers that announce no message, and why; the reader then looks for the next ones.
    Broken(&'static str),
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    input: BufReader<R>,
    /// Whether the place in the stream is unknown since the last broken frame.
    lost: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from here on.
    pub(crate) fn new(input: R) -> Self {
        Self { input: BufReader::new(input), lost: false }
    }

    /// The next frame; none at the end, also when that comes in the middle of one.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut length = if self.lost {
            let Some(length) = self.find_again().await? else { return Ok(None) };
            self.lost = false;
            Some(length)
        } else {
            None
        };
        for _ in 0..MOST_HEADERS {
            let Some(line) = self.line().await? else { return Ok(None) };
            if line == b"\r\n" || line == b"\n" {
                return match length {
                    Some(length) => self.body(length).await,
                    None => Ok(Some(self.broken("no Content-Length"))),
                };
            }
            let Some((name, value)) = header(&line) else {
                return Ok(Some(self.broken("a line that is no header")));
            };
            if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
                let Some(value) = length_of(value) else {
                    return Ok(Some(self.broken("an impossible Content-Length")));
                };
                if length.is_some_and(|length| length != value) {
                    return Ok(Some(self.broken("two Content-Lengths")));
                }
                length = Some(value);
            }
        }
        Ok(Some(self.broken("too many headers")))
    }

    fn broken(&mut self, why: &'static str) -> Frame {
        self.lost = true;
        Frame::Broken(why)
    }

    async fn body(&mut self, length: usize) -> io::Result<Option<Frame>> {
        // Grows with what really comes.
        let mut body = Vec::new();
        (&mut self.input).take(length as u64).read_to_end(&mut body).await?;
        Ok((body.len() == length).then_some(Frame::Body(body)))
    }

    /// Skips to the next header with a length; it may follow right after the body of a lost message.
    async fn find_again(&mut self) -> io::Result<Option<usize>> {
        let mut text = Vec::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            text.extend_from_slice(&line);
            let name = CONTENT_LENGTH.as_bytes();
            let found = text.windows(name.len()).rposition(|window| window == name);
            if text.ends_with(b"\n") {
                let length = found
                    .and_then(|at| header(&text[at..]))
                    .filter(|(name, _)| *name == CONTENT_LENGTH)
                    .and_then(|(_, value)| length_of(value));
                if length.is_some() {
                    return Ok(length);
                }
                text.clear();
            } else {
                // A piece of a long line: the header may have begun in it.
                let keep = found.unwrap_or_else(|| text.len().saturating_sub(name.len()));
                text.drain(..keep.max(text.len().saturating_sub(MOST_LINE)));
            }
        }
    }

    /// A line with its end, cut where it gets too long; none when input ends before the line does.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.input).take(MOST_LINE as u64).read_until(b'\n', &mut line).await?;
        Ok((line.ends_with(b"\n") || line.len() == MOST_LINE).then_some(line))
    }
}

fn header(line: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some((name, value.trim()))
}

fn length_of(value: &str) -> Option<usize> {
    value.parse().ok().filter(|length| *length <= MOST_BODY)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use vmtest_fuzz::{Fuzzer, Random};

    use super::*;

    async fn frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut reader = FrameReader::new(&mut bytes);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().await.unwrap() {
            frames.push(frame);
        }
        frames
    }

    fn body(text: &str) -> Frame {
        Frame::Body(text.into())
    }

    #[tokio::test]
    async fn messages_follow_each_other() {
        let bytes = b"Content-Length: 2\r\n\r\n{}content-length:3\r\nContent-Type: x\r\n\r\nabc";
        assert_eq!(frames(bytes).await, [body("{}"), body("abc")]);
    }

    #[tokio::test]
    async fn the_end_in_the_middle_of_a_message_is_the_end() {
        for bytes in [&b"Content-Length: 5\r\n\r\n{}"[..], b"Content-Le", b"Content-Length: 5\r\n", b""] {
            assert_eq!(frames(bytes).await, []);
        }
    }

    // L2
    #[tokio::test]
    async fn impossible_lengths_are_told_once_and_the_next_message_is_read() {
        for length in ["-1", "x", "", "1.5", "99999999999", "99999999999999999999999"] {
            let bytes = format!("Content-Length: {length}\r\n\r\n{{\"a\":1}}Content-Length: 2\r\n\r\n{{}}");
            let expected = [Frame::Broken("an impossible Content-Length"), body("{}")];
            assert_eq!(frames(bytes.as_bytes()).await, expected, "{length}");
        }
    }

    // L2
    #[tokio::test]
    async fn two_lengths_must_agree() {
        let same = b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(frames(same).await, [body("{}")]);
        let other = b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}";
        assert_eq!(frames(other).await, [Frame::Broken("two Content-Lengths")]);
    }

    // L2
    #[tokio::test]
    async fn a_message_without_a_length_is_told() {
        let bytes = b"Content-Type: x\r\n\r\n{}Content-Length: 1\r\n\r\n1";
        assert_eq!(frames(bytes).await, [Frame::Broken("no Content-Length"), body("1")]);
    }

    #[tokio::test]
    async fn garbage_of_any_length_is_skipped() {
        for length in [1, MOST_LINE - 5, MOST_LINE, MOST_LINE + 1, 5 * MOST_LINE - 7] {
            let mut bytes = vec![b'x'; length];
            bytes.extend_from_slice(b"Content-Length: 2\r\n\r\n{}");
            let found = frames(&bytes).await;
            // Garbage on the same line as a header hides that one, unless it was found out before.
            assert!(matches!(found.first(), Some(Frame::Broken(_))), "{length}: {found:?}");
            bytes.extend_from_slice(b"Content-Length: 2\r\n\r\n[]");
            assert_eq!(frames(&bytes).await.last(), Some(&body("[]")), "{length}");
        }
    }

    /// Reads frames out of bytes that come in these pieces.
    fn in_pieces(bytes: &[u8], mut next: impl FnMut() -> usize) -> Vec<Frame> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut from, to) = tokio::io::duplex(64 << 10);
            let mut reader = FrameReader::new(to);
            let write = async move {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(next().clamp(1, rest.len()));
                    from.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                    rest = after;
                }
            };
            let read = async {
                let mut frames = Vec::new();
                while let Some(frame) = reader.next().await.unwrap() {
                    frames.push(frame);
                }
                frames
            };
            tokio::join!(write, read).1
        })
    }

    // L2
    #[test]
    fn any_bytes_are_the_same_frames_in_any_split_and_do_not_eat_the_good_message_after_them() {
        let good = b"\nContent-Length: 4\r\n\r\ntrue";
        Fuzzer::new("framing")
            .seed("Content-Length: 2\r\n\r\n{}content-length:3\r\nContent-Type: x\r\n\r\nabc")
            .seed("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}Content-Length: 1\r\n\r\n1")
            .pieces([
                "Content-Length: ",
                "content-length:",
                "Content-Type: x\r\n",
                "\r\n",
                "\r\n\r\n",
                "\n",
                "\r",
                ": ",
                "{}",
            ])
            .pieces([
                "0",
                "2",
                "41",
                "4096",
                "67108864",
                "67108865",
                "-1",
                "99999999999999999999",
                "+5",
                "a:b\n",
                "\u{e9}",
            ])
            .run(|bytes| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let whole = runtime.block_on(frames(bytes));
                let mut random = Random::of(bytes);
                let widest = 1 + random.below(300);
                assert_eq!(in_pieces(bytes, || 1 + random.below(widest)), whole);
                // Some may be eaten as the body that the bytes announced, or as the rest of its line.
                let rest = good.repeat(20);
                let after = runtime.block_on(frames(&[bytes, &rest].concat()));
                let is_longer = longest_announced(bytes) > rest.len();
                assert!(is_longer || after.last() == Some(&body("true")), "{after:?}");
            });
    }

    /// The largest number in the bytes: as long a body may be announced by them.
    fn longest_announced(bytes: &[u8]) -> usize {
        let numbers = bytes.split(|byte| !byte.is_ascii_digit());
        numbers.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).max().unwrap_or(0)
    }
}
