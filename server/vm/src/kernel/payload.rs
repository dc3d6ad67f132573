//! The compressed vmlinux inside a `bzImage`.

use std::io::{self, BufRead, Read};

use super::bzimage::Header;

/// No kernel is larger than this when decompressed.
pub const PAYLOAD_LIMIT: u64 = 512 << 20;

/// Memory that an xz or lzma decoder may ask for; the kernel's own build uses a dictionary of at most 128 MiB.
const DECODER_LIMIT: u64 = 256 << 20;

/// Why a kernel's payload cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// No boot header, or one from before boot protocol 2.08.
    #[error("cannot find the compressed kernel: the file is no bzImage, or one from before Linux 2.6.25")]
    NotThere,
    /// bzip2, lzo, lz4, or nothing known.
    #[error("cannot decompress the kernel: its compression is none of gzip, xz, lzma, zstd")]
    UnknownCompression,
    /// The compressed bytes are damaged.
    #[error("cannot decompress the kernel: {0}; build or download it again")]
    Damaged(#[from] io::Error),
    /// More than [`PAYLOAD_LIMIT`].
    #[error("cannot decompress the kernel: it is larger than {} MiB", PAYLOAD_LIMIT >> 20)]
    TooLarge,
}

/// The vmlinux that a `bzImage` carries: an ELF file, followed by the kernel's relocations.
pub fn payload(bzimage: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let (start, len) =
        Header::parse(bzimage).and_then(|header| header.payload).ok_or(PayloadError::NotThere)?;
    let range = usize::try_from(start).ok().zip(usize::try_from(start + len).ok());
    let bytes = range.and_then(|(start, end)| bzimage.get(start..end)).ok_or(PayloadError::NotThere)?;
    let mut vmlinux = Vec::new();
    open(bytes)?.take(PAYLOAD_LIMIT + 1).read_to_end(&mut vmlinux)?;
    if vmlinux.len() as u64 > PAYLOAD_LIMIT { Err(PayloadError::TooLarge) } else { Ok(vmlinux) }
}

/// A reader of the decompressed payload. The kernel's build appends the length of the vmlinux to every format but gzip,
/// which has it anyway (`scripts/Makefile.lib`, `size_append`): each decoder has to stop at the end of its first stream.
pub(super) fn open<'data>(
    mut compressed: impl BufRead + 'data,
) -> Result<Box<dyn Read + 'data>, PayloadError> {
    let start = compressed.fill_buf()?;
    Ok(match start {
        [0x1F, 0x8B, ..] => Box::new(flate2::bufread::GzDecoder::new(compressed)),
        [0xFD, b'7', b'z', b'X', b'Z', ..] => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(DECODER_LIMIT, 0).map_err(io::Error::from)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
        }
        [0x5D, 0, 0, ..] => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(DECODER_LIMIT).map_err(io::Error::from)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
        }
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Box::new(zstd::Decoder::with_buffer(compressed)?.single_frame()),
        _ => return Err(PayloadError::UnknownCompression),
    })
}
