//! What the command wrote to the throw-away layer, so that nobody looks for it on the host in vain.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use vmtest_guest::wire::MAX_LOST_PATHS;

use crate::layers::Layer;

/// Nobody misses what was written there.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp", "/run", "/var/run", "/var/log", "/var/cache", "/dev"];
/// A bound on the walk: a test may have unpacked a distribution.
const MAX_ENTRIES: usize = 50_000;

/// Files that are gone when the machine is.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// The first of them, as the command saw them.
    pub(crate) paths: Vec<OsString>,
    /// How many there are.
    pub(crate) count: u64,
}

/// Looks through the layers, which are open from before the root was changed.
pub(crate) fn find(layers: &[Layer]) -> Lost {
    let mut lost = Lost::default();
    for layer in layers {
        lost.add(layer);
    }
    lost
}

impl Lost {
    fn add(&mut self, Layer { upper, point }: &Layer) {
        let upper = PathBuf::from(format!("/proc/self/fd/{}", upper.as_raw_fd()));
        let mut directories = vec![PathBuf::new()];
        let mut seen = 0;
        while let Some(directory) = directories.pop() {
            let Ok(entries) = fs::read_dir(upper.join(&directory)) else { continue };
            for entry in entries.flatten() {
                seen += 1;
                if seen > MAX_ENTRIES {
                    return;
                }
                let inside = directory.join(entry.file_name());
                let path = point.join(&inside);
                let Ok(kind) = entry.file_type() else { continue };
                if is_temporary(&path) {
                    continue;
                }
                if kind.is_dir() {
                    directories.push(inside);
                } else if !kind.is_char_device() {
                    // A character device is overlayfs's mark for a deleted file.
                    self.count += 1;
                    if self.paths.len() < MAX_LOST_PATHS {
                        self.paths.push(path.into_os_string());
                    }
                }
            }
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    TEMPORARY.iter().any(|temporary| path == Path::new(temporary))
        || path.file_name().is_some_and(|name| name == ".cache")
}
