//! Folders and files that are the user's alone: what is kept there is run later.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// Makes a folder with those above it, unless it is there.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    is_folder(dir).map(|_| ()).map_err(io::Error::other)
}

/// Whether there is such a folder. The error is a sentence: it is there, and others may write in it.
pub(crate) fn is_folder(dir: &Path) -> Result<bool, String> {
    match fs::symlink_metadata(dir) {
        Ok(folder) if folder.is_dir() && is_ours_alone(&folder) => Ok(true),
        Ok(_) => Err(not_ours(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Opens a file to read and write it. A symbolic link is none.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other(format!("{} is a symbolic link", path.display())),
        _ => error,
    })?;
    let data = file.metadata()?;
    if data.is_file() && is_ours_alone(&data) { Ok(file) } else { Err(io::Error::other(not_ours(path))) }
}

/// Makes a file, or empties the one that is there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

/// Opens a file to be locked, and makes it where there is none. What is noted in it must not get into another file.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

fn is_ours_alone(data: &fs::Metadata) -> bool {
    const OTHERS: u32 = 0o077;
    data.uid() == geteuid().as_raw() && data.mode() & OTHERS == 0
}

fn not_ours(path: &Path) -> String {
    format!(
        "{} is not this user's alone: it belongs to another, or others may read or write it",
        path.display()
    )
}
