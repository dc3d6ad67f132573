//! An initramfs: a cpio archive in the `newc` format (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Not compressed, because the kernel would only spend time on undoing that; and the same entries give the same bytes,
//! because a boot snapshot is kept under their hash.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use cpio::newc::{self, Builder, ModeFileType};

/// The longest file that the format can hold.
const FILE_LIMIT: usize = u32::MAX as usize;

/// An initramfs in the making. Paths are absolute guest paths; parent directories come by themselves; of two entries
/// with the same path the later one counts.
#[derive(Debug, Clone, Default)]
pub struct Initramfs<'a> {
    /// By path without the leading `/`: this order has every directory before its entries.
    entries: BTreeMap<String, Entry<'a>>,
}

#[derive(Debug, Clone)]
enum Entry<'a> {
    Dir { mode: u32 },
    File { mode: u32, bytes: Cow<'a, [u8]> },
    Symlink { target: String },
    CharDevice { mode: u32, major: u32, minor: u32 },
}

impl<'a> Initramfs<'a> {
    /// An archive with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.add(path, Entry::Dir { mode })
    }

    /// Adds a file; a borrowed one is not copied before the archive is written.
    ///
    /// # Panics
    /// When the file has 4 GiB or more, which the format cannot hold.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let bytes = bytes.into();
        assert!(bytes.len() <= FILE_LIMIT, "a file in an initramfs has less than 4 GiB");
        self.add(path, Entry::File { mode, bytes })
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.add(path, Entry::Symlink { target: target.to_owned() })
    }

    /// Adds a character device, such as `/dev/console` (5, 1): the kernel opens it for init before there is a devtmpfs.
    #[must_use]
    pub fn char_device(self, path: &str, mode: u32, major: u32, minor: u32) -> Self {
        self.add(path, Entry::CharDevice { mode, major, minor })
    }

    fn add(mut self, path: &str, entry: Entry<'a>) -> Self {
        let path = normalized(path);
        if path.is_empty() {
            // The root is always there.
            return self;
        }
        for (end, _) in path.match_indices('/') {
            let parent = self.entries.entry(path[..end].to_owned()).or_insert(Entry::Dir { mode: 0o755 });
            if matches!(parent, Entry::File { .. } | Entry::CharDevice { .. }) {
                *parent = Entry::Dir { mode: 0o755 };
            }
        }
        self.entries.insert(path, entry);
        self
    }

    /// The archive.
    ///
    /// # Panics
    /// Never: memory takes whatever is written to it.
    pub fn finish(&self) -> Vec<u8> {
        // Header, padding and a path of ordinary length.
        let content: usize = self.entries.values().map(|entry| entry.content().len() + 256).sum();
        let mut archive = Vec::with_capacity(content + 256);
        self.write_to(&mut archive).expect("writing to memory does not fail");
        archive
    }

    /// Writes the archive, file by file, without putting it together in memory.
    pub fn write_to(&self, mut out: &mut dyn Write) -> io::Result<()> {
        for (number, (path, entry)) in self.entries.iter().enumerate() {
            let (kind, mode) = match entry {
                Entry::Dir { mode } => (ModeFileType::Directory, *mode),
                Entry::File { mode, .. } => (ModeFileType::Regular, *mode),
                Entry::Symlink { .. } => (ModeFileType::Symlink, 0o777),
                Entry::CharDevice { mode, .. } => (ModeFileType::Char, *mode),
            };
            let mut header =
                Builder::new(path).ino(number as u32 + 1).mode(mode & 0o7777).set_mode_file_type(kind);
            if let Entry::CharDevice { major, minor, .. } = entry {
                header = header.rdev_major(*major).rdev_minor(*minor);
            }
            let content = entry.content();
            let mut writer = header.write(out, content.len() as u32);
            writer.write_all(content)?;
            out = writer.finish()?;
        }
        newc::trailer(out)?;
        Ok(())
    }
}

impl Entry<'_> {
    fn content(&self) -> &[u8] {
        match self {
            Self::File { bytes, .. } => bytes,
            Self::Symlink { target } => target.as_bytes(),
            Self::Dir { .. } | Self::CharDevice { .. } => &[],
        }
    }
}

/// The path as the archive has it: relative to the root, with no `.`, no `..`, no empty part.
fn normalized(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
#[path = "initramfs_tests.rs"]
mod tests;
