//! A disk image, opened once and never written, and the layer that takes what a guest writes to it.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::qemu::machine::DISK_NODE;

/// QEMU's sector.
const SECTOR: u64 = 512;

/// How an image's bytes are a disk. It is told by the file alone and then fixed: a guest that writes another header into its
/// disk does not change what QEMU takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    driver: Driver,
    is_device: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Raw,
    Qcow2,
}

impl Format {
    /// What QEMU's `-blockdev` is told, one value for each node: the image at `image`, for reading only, below the layer at
    /// `overlay`. Every driver is named, and nothing is followed that a file names.
    pub(crate) fn block_nodes(self, image: &str, overlay: &str) -> [Value; 4] {
        let protocol = if self.is_device { "host_device" } else { "file" };
        let mut base =
            json!({ "driver": "raw", "node-name": "image", "file": "image-file", "read-only": true });
        if self.driver == Driver::Qcow2 {
            base["driver"] = "qcow2".into();
            base["backing"] = Value::Null;
        }
        // What a crash of the host leaves of the layer matters to nobody.
        let cache = json!({ "no-flush": true });
        [
            json!({ "driver": protocol, "node-name": "image-file", "filename": image, "read-only": true }),
            base,
            json!({ "driver": "file", "node-name": "overlay-file", "filename": overlay, "cache": cache }),
            json!({
                "driver": "qcow2", "node-name": DISK_NODE, "file": "overlay-file", "backing": "image",
                "cache": cache, "discard": "unmap",
            }),
        ]
    }
}

/// An image that was looked at.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) file: File,
    pub(crate) format: Format,
    /// What the guest sees.
    size: u64,
}

/// Why an image cannot be booted, as a sentence about its path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("cannot read the image {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("the image {0} is {1}")]
    NotADisk(PathBuf, &'static str),
    #[error("the image {0} needs another file, {1}, and vmtest reads none that an image names: {2}")]
    NeedsAnother(PathBuf, String, String),
    #[error("the image {0} is a qcow2 file that {1}")]
    BadQcow2(PathBuf, &'static str),
}

impl Disk {
    /// Opens an image and tells its format by its first bytes.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let unreadable = |error| DiskError::Unreadable(path.to_owned(), error);
        // A pipe has no writer that would be waited for.
        let options = nix::libc::O_NONBLOCK;
        let mut file = File::options().read(true).custom_flags(options).open(path).map_err(unreadable)?;
        let kind = file.metadata().map_err(unreadable)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let what = if kind.is_dir() { "a directory" } else { "neither a file nor a disk" };
            return Err(DiskError::NotADisk(path.to_owned(), what));
        }
        let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut start = Vec::new();
        (&file).take(SECTOR).read_to_end(&mut start).map_err(unreadable)?;
        let (driver, size) = if start.starts_with(MAGIC) {
            let header = Header::parse(&start).map_err(|what| DiskError::BadQcow2(path.to_owned(), what))?;
            header.check_alone(path, &file)?;
            (Driver::Qcow2, header.size)
        } else {
            let is_bootable = start.get(510..512) == Some(&[0x55, 0xAA]);
            if !is_bootable {
                return Err(DiskError::NotADisk(path.to_owned(), what_else(&start)));
            }
            (Driver::Raw, length)
        };
        Ok(Self { file, format: Format { driver, is_device: kind.is_block_device() }, size })
    }

    /// A new layer over it.
    pub(crate) fn overlay(&self) -> io::Result<Overlay> {
        // A header may say any number.
        let size = self.size.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        Overlay::new(&place_for_overlays(), size)
    }
}

/// Why a file cannot be booted as a disk image, as its first bytes tell; one sentence.
pub fn unbootable(image: &Path) -> Option<String> {
    Disk::open(image).err().map(|error| error.to_string())
}

/// What a file is that a machine cannot boot from.
fn what_else(start: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 7] = [
        (b"\x1f\x8b", "compressed by gzip: unpack it first"),
        (b"\xfd7zXZ", "compressed by xz: unpack it first"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"),
        (b"BZh", "compressed by bzip2: unpack it first"),
        (b"KDMV", "in VMDK format: convert it by `qemu-img convert -O qcow2`"),
        (b"vhdxfile", "in VHDX format: convert it by `qemu-img convert -O qcow2`"),
        (b"conectix", "in VPC format: convert it by `qemu-img convert -O qcow2`"),
    ];
    if start.is_empty() {
        return "empty";
    }
    let known = KNOWN.iter().find(|(magic, _)| start.starts_with(magic));
    known.map_or(
        "neither a qcow2 file nor a raw disk that can be booted: its first sector does not end with 55 AA",
        |(_, what)| what,
    )
}

const MAGIC: &[u8] = b"QFI\xfb";
/// `docs/interop/qcow2.txt` of QEMU: a data file of its own.
const EXTERNAL_DATA: u64 = 1 << 2;
/// The extension of the header that names it.
const DATA_FILE_NAME: u32 = 0x4441_5441;

/// What matters of a qcow2 file's header.
struct Header {
    size: u64,
    /// Where the name of another image is, and its length; zeros where there is none.
    backing: (u64, u32),
    features: u64,
    length: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let cut = "ends in its header";
        let word =
            |at: usize| bytes.get(at..at + 4).map(|word| u32::from_be_bytes(word.try_into().expect("four")));
        let long = |at: usize| Some(u64::from(word(at)?) << 32 | u64::from(word(at + 4)?));
        let version = word(4).ok_or(cut)?;
        let (features, length) = match version {
            2 => (0, 72),
            3 => (long(72).ok_or(cut)?, u64::from(word(100).ok_or(cut)?)),
            _ => return Err("is of a version that vmtest does not know"),
        };
        if word(32).ok_or(cut)? != 0 {
            return Err("is encrypted, and vmtest has no key for it");
        }
        let backing = (long(8).ok_or(cut)?, word(16).ok_or(cut)?);
        Ok(Self { size: long(24).ok_or(cut)?, backing, features, length })
    }

    /// Refuses what is not all of its disk.
    fn check_alone(&self, path: &Path, file: &File) -> Result<(), DiskError> {
        let (at, length) = self.backing;
        let (name, cure) = if at != 0 {
            (text_at(file, at, length), "`qemu-img convert -O qcow2` makes one file of both")
        } else if self.features & EXTERNAL_DATA != 0 {
            (self.data_file(file), "`qemu-img convert -O qcow2` makes one file of both")
        } else {
            return Ok(());
        };
        Err(DiskError::NeedsAnother(path.to_owned(), name, cure.to_owned()))
    }

    /// The name in the header's extension, for the message only.
    fn data_file(&self, file: &File) -> String {
        let mut at = self.length;
        for _ in 0..16 {
            let mut head = [0; 8];
            if file.read_exact_at(&mut head, at).is_err() {
                break;
            }
            let [kind, length] = [0, 4]
                .map(|start| u32::from_be_bytes(head[start..start + 4].try_into().expect("four bytes")));
            match kind {
                DATA_FILE_NAME => return text_at(file, at + 8, length),
                0 => break,
                _ => at += 8 + u64::from(length).next_multiple_of(8),
            }
        }
        "which it does not name".to_owned()
    }
}

/// A name that a file holds; at most 1023 bytes, as QEMU has it.
fn text_at(file: &File, at: u64, length: u32) -> String {
    let mut bytes = vec![0; length.min(1023) as usize];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => "whose name cannot be read".to_owned(),
    }
}

/// Takes what a guest writes to its disk: a file without a name, gone with the last process that has it open, however that ends.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(crate) file: File,
}

/// Where layers are: they may grow to gigabytes, and the usual place for temporary files is often memory.
pub(crate) fn place_for_overlays() -> PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => "/var/tmp".into(),
    }
}

impl Overlay {
    /// An empty qcow2 file, as `docs/interop/qcow2.txt` of QEMU describes it: nothing of it is there yet, so all is read from the
    /// image below. What is below is not said in it, but by who opens it.
    fn new(folder: &Path, size: u64) -> io::Result<Self> {
        const CLUSTER_BITS: u32 = 16;
        const CLUSTER: u64 = 1 << CLUSTER_BITS;
        const HEADER_LENGTH: u32 = 104;
        // A table of the second level is a cluster of entries of eight bytes, one for each cluster.
        let entries = size.div_ceil(CLUSTER * (CLUSTER / 8));
        let table_clusters = (entries * 8).div_ceil(CLUSTER).max(1);
        // The header, the table of reference counts, one block of counts of two bytes, the table of the first level.
        let used = 3 + table_clusters;
        let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "the disk is too large");
        let used_entries = usize::try_from(used).ok().filter(|used| *used <= (CLUSTER / 2) as usize);
        let used_entries = used_entries.ok_or_else(too_large)?;
        let entries = u32::try_from(entries).map_err(|_| too_large())?;

        let mut header = MAGIC.to_vec();
        let mut word = |value: u32| header.extend(value.to_be_bytes());
        let long = |word: &mut dyn FnMut(u32), value: u64| {
            word((value >> 32) as u32);
            word(value as u32);
        };
        word(3);
        long(&mut word, 0); // no backing file
        word(0);
        word(CLUSTER_BITS);
        long(&mut word, size);
        word(0); // no encryption
        word(entries);
        long(&mut word, 3 * CLUSTER); // the table of the first level
        long(&mut word, CLUSTER); // the table of reference counts
        word(1); // its clusters
        word(0); // no snapshots
        long(&mut word, 0);
        long(&mut word, 0); // no features of any kind
        long(&mut word, 0);
        long(&mut word, 0);
        word(4); // reference counts of two bytes
        word(HEADER_LENGTH);

        let mut file = tempfile::tempfile_in(folder)?;
        file.write_all(&header)?;
        file.write_all_at(&(2 * CLUSTER).to_be_bytes(), CLUSTER)?;
        file.write_all_at(&[0, 1].repeat(used_entries), 2 * CLUSTER)?;
        file.set_len(used * CLUSTER)?;
        Ok(Self { file })
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
