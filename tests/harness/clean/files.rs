//! Files and sockets that a run leaves.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::super::machine;

/// All files below a directory, by their paths relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeSet<PathBuf>);

impl Files {
    /// Those that are there now.
    pub fn of(dir: &Path) -> Self {
        let relative = |path: PathBuf| path.strip_prefix(dir).expect("it is below").to_owned();
        Self(walk(dir).into_iter().map(|(path, _)| relative(path)).collect())
    }

    /// Those that are here and neither in `before` nor expected, nor below one that is.
    pub fn new_since(&self, before: &Self, expected: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let is_expected = |path: &Path| expected.iter().any(|expected| path.starts_with(expected));
        self.0.difference(&before.0).filter(|path| !is_expected(path)).cloned().collect()
    }
}

fn walk(dir: &Path) -> Vec<(PathBuf, Option<fs::FileType>)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            // What git keeps is git's.
            if entry.file_name() == ".git" {
                continue;
            }
            let kind = entry.file_type().ok();
            if kind.is_some_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
            found.push((entry.path(), kind));
        }
    }
    found
}

/// Sockets in the file system below a directory, and those that were bound there and that somebody still has.
pub(super) fn sockets_below(dir: &Path) -> BTreeSet<PathBuf> {
    let files = walk(dir).into_iter();
    let files = files.filter(|(_, kind)| kind.is_some_and(|kind| kind.is_socket())).map(|(path, _)| path);
    let bound = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Num RefCount Protocol Flags Type St Inode Path
    let bound = bound.lines().filter_map(|line| line.split_whitespace().nth(7)).map(PathBuf::from);
    files.chain(bound.filter(|path| path.starts_with(dir))).collect()
}

/// What a `vmtest` that does not heed `TMPDIR` leaves: its name, and six characters that make it a new one.
pub(super) fn temporary() -> BTreeSet<PathBuf> {
    let user = machine::user().as_raw();
    let dirs = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/dev/shm".into()];
    let entries = dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let is_of_vmtest = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix("vmtest")?.strip_prefix(['-', '.']));
        rest.is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let is_of_user = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|data| data.uid() == user);
    entries.filter(is_of_vmtest).map(|entry| entry.path()).filter(is_of_user).collect()
}
