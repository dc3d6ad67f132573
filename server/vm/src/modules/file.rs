//! A module's file, decompressed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest module, decompressed, that is taken into an initramfs.
pub const MODULE_LIMIT: u64 = 64 << 20;

/// Memory that an xz decoder may ask for; modules are packed with dictionaries of at most 2 MiB.
const DECODER_LIMIT: u64 = 128 << 20;

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// Not there, not readable, or damaged.
    #[error("cannot read the kernel module `{path}`: {source}; install the kernel's modules again")]
    Unreadable {
        /// The module's file.
        path: PathBuf,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// More than [`MODULE_LIMIT`].
    #[error(
        "cannot use the kernel module `{path}`: it is larger than {} MiB; strip its debug information (`make \
         INSTALL_MOD_STRIP=1 modules_install`)",
        MODULE_LIMIT >> 20
    )]
    TooLarge {
        /// The module's file.
        path: PathBuf,
    },
    /// No `.modinfo`.
    #[error(
        "cannot use the kernel module `{path}`: it is no module of Linux; install the kernel's modules again"
    )]
    NotAModule {
        /// The module's file.
        path: PathBuf,
    },
}

/// The bytes that `finit_module` takes. Not every kernel decompresses modules itself, so this does, by the suffix.
pub fn module_image(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let unreadable = |source| ModuleError::Unreadable { path: path.to_owned(), source };
    let file = crate::regular::open(path).map_err(unreadable)?;
    let name = path.as_os_str().as_encoded_bytes();
    let reader: Box<dyn Read> = if name.ends_with(b".xz") {
        // Several streams in one file are one module (xz(1)).
        let flags = liblzma::stream::CONCATENATED;
        let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_LIMIT, flags)
            .map_err(io::Error::from)
            .map_err(unreadable)?;
        Box::new(liblzma::read::XzDecoder::new_stream(file, stream))
    } else if name.ends_with(b".zst") {
        Box::new(zstd::Decoder::new(file).map_err(unreadable)?)
    } else if name.ends_with(b".gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut image = Vec::new();
    reader.take(MODULE_LIMIT + 1).read_to_end(&mut image).map_err(unreadable)?;
    if image.len() as u64 > MODULE_LIMIT {
        return Err(ModuleError::TooLarge { path: path.to_owned() });
    }
    Ok(image)
}
