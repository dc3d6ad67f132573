//! From the bytes that were served to the file that is used.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use liblzma::stream::Stream;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::PIECE;
use super::error::Problem;
use super::part::Part;
use crate::private;

/// Memory that unpacking xz may take: more than its highest level needs.
const XZ_MEMORY: u64 = 256 << 20;
/// Where a web page says that it is one.
const HEAD: usize = 1024;
/// Zeros of this length that start at a multiple of it need no room on the disk.
const BLOCK: usize = 64 << 10;

/// How a file is packed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    Gz,
    Xz,
    Zst,
}

impl Packed {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gz),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zst),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gz => "gzip",
            Self::Xz => "xz",
            Self::Zst => "zstd",
        }
    }

    fn reader(self, file: File) -> io::Result<Box<dyn Read>> {
        let file = BufReader::with_capacity(BLOCK, file);
        Ok(match self {
            Self::Gz => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Self::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
            }
            Self::Zst => Box::new(zstd::Decoder::with_buffer(file)?),
        })
    }
}

/// Checks that the bytes are the file that is wanted; its SHA-256.
pub(super) fn verify(
    part: &Part,
    wanted: Option<&str>,
    cancel: &CancellationToken,
) -> Result<String, Problem> {
    let mut file = part.read()?;
    let mut buffer = vec![0; PIECE];
    let mut hasher = Sha256::new();
    let mut at_start = true;
    loop {
        let count = read_full(&mut file, &mut buffer)?;
        if at_start && is_web_page(&buffer[..count.min(HEAD)]) {
            return Err(Problem::WebPage);
        }
        at_start = false;
        hasher.update(&buffer[..count]);
        if cancel.is_cancelled() {
            return Err(Problem::Cancelled);
        }
        if count < buffer.len() {
            break;
        }
    }
    let got = hex(&hasher.finalize());
    match wanted {
        Some(expected) if expected != got => {
            Err(Problem::Checksum { expected: expected.to_owned(), got, received: part.len() })
        }
        _ => Ok(got),
    }
}

/// As `sha256sum` prints it.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes the file at `to` of the bytes, unpacked when they are packed. They may be moved.
pub(super) fn unpack(part: &Part, to: &Path, limit: u64, cancel: &CancellationToken) -> Result<(), Problem> {
    let mut file = part.read()?;
    let mut head = [0; 6];
    let count = read_full(&mut file, &mut head)?;
    let Some(packed) = Packed::of(&head[..count]) else {
        part.rename(to)?;
        return Ok(());
    };
    file.rewind()?;
    let damaged = |error: io::Error| Problem::Damaged { format: packed.name(), why: error.to_string() };
    let mut reader = packed.reader(file).map_err(damaged)?;
    let mut out = private::create(to)?;
    let mut buffer = vec![0; BLOCK];
    let mut length = 0;
    loop {
        let count = read_full(&mut reader, &mut buffer).map_err(damaged)?;
        length += count as u64;
        if cancel.is_cancelled() {
            return Err(Problem::Cancelled);
        }
        if length > limit {
            return Err(Problem::Bomb { limit });
        }
        // A disk image is mostly zeros.
        let written = if count == BLOCK && buffer.iter().all(|byte| *byte == 0) {
            out.seek(SeekFrom::Current(BLOCK as i64)).map(|_| ())
        } else {
            out.write_all(&buffer[..count])
        };
        written?;
        if count < BLOCK {
            break;
        }
    }
    Ok(out.set_len(length)?)
}

/// Fills the buffer, unless there is no more.
fn read_full(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether a file begins as only web pages do.
fn is_web_page(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins =
        |start: &str| head.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
    ["<!doctype html", "<html", "<head", "<body"].iter().any(|start| begins(start))
        || (begins("<?xml") || begins("<!--")) && contains(head, b"<html")
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}
