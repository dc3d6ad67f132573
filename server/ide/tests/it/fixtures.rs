//! The files that every reader of a vmtest.toml is tried on.

use std::fs;
use std::path::{Path, PathBuf};

/// Every vmtest.toml of tests/fixtures/config/`name`.
pub(crate) fn files(name: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/config").join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}
