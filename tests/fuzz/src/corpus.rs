//! The inputs that are kept.

use std::fs;
use std::path::{Path, PathBuf};

use crate::random::hash;

/// The folder of one fuzzer.
#[derive(Debug)]
pub(crate) struct Corpus {
    name: &'static str,
    folder: PathBuf,
}

impl Corpus {
    pub(crate) fn open(name: &'static str) -> Self {
        Self { name, folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name) }
    }

    /// Every file in it, in order of their names.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let read = |path: PathBuf| {
            let bytes =
                fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            (path, bytes)
        };
        paths.into_iter().map(read).collect()
    }

    /// Keeps an input; where it is.
    pub(crate) fn add(&self, input: &[u8]) -> PathBuf {
        let file = format!("found-{:016x}", hash(input));
        let kept = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(self.folder.join(&file), input))
            .map(|()| self.folder.join(&file));
        kept.unwrap_or_else(|error| {
            let other = std::env::temp_dir().join(format!("vmtest-{}-{file}", self.name));
            fs::write(&other, input).unwrap_or_else(|_| panic!("cannot keep what was found: {error}"));
            other
        })
    }

    /// Where the input is that is being tried: what ends the whole process leaves it there.
    pub(crate) fn current(&self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
        target.join("fuzz").join(self.name)
    }
}
