//! Which modules a directory holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::module_name;

/// What a module's file name ends in.
const SUFFIXES: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// The deepest module of a distribution kernel lies nine directories down. Also the end of loops of symbolic links.
const MAX_DEPTH: usize = 16;

/// Directories that a search for modules in kernel sources need not see.
const NOT_IN_SOURCES: [&str; 5] = [".git", "Documentation", "include", "scripts", "LICENSES"];

/// The module that a file is, by its name.
pub(super) fn name_of(file: &str) -> Option<String> {
    SUFFIXES
        .iter()
        .find_map(|suffix| file.strip_suffix(suffix))
        .filter(|name| !name.is_empty())
        .map(module_name)
}

/// The modules of an installed tree, relative to it.
pub(super) fn installed(tree: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    // Links to the kernel's sources, with modules of their own in them.
    walk(tree, Path::new(""), &["build", "source"], MAX_DEPTH, &mut files);
    files
}

/// The modules of a build tree, relative to it: those of its last build, else every one that is there.
pub(super) fn build_tree(tree: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    if let Ok(order) = fs::read_to_string(tree.join("modules.order")) {
        for line in order.lines() {
            // Before 5.3 a line starts with `kernel/`; since 6.3 it ends in `.o`.
            let line = line.strip_prefix("kernel/").unwrap_or(line);
            let file = PathBuf::from(line).with_extension("ko");
            let inside = file.components().all(|part| matches!(part, Component::Normal(_)));
            let name = file.file_name().and_then(|name| name.to_str()).and_then(name_of);
            if let Some(name) = name.filter(|_| inside && tree.join(&file).is_file()) {
                files.entry(name).or_insert(file);
            }
        }
    }
    if files.is_empty() {
        walk(tree, Path::new(""), &NOT_IN_SOURCES, MAX_DEPTH, &mut files);
    }
    files
}

fn walk(tree: &Path, below: &Path, skip: &[&str], depth: usize, files: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = tree.join(below).read_dir() else { return };
    // An entry keeps its directory open, and a module that a lack of descriptors hid would be called missing.
    let entries: Vec<_> =
        entries.flatten().filter_map(|entry| Some((entry.file_name(), entry.file_type().ok()?))).collect();
    for (file_name, kind) in entries {
        let Some(name) = file_name.to_str() else { continue };
        let path = below.join(name);
        // NixOS puts trees together from symbolic links to directories.
        let is_dir = kind.is_dir() || (kind.is_symlink() && tree.join(&path).is_dir());
        if is_dir {
            if depth > 0 && !skip.contains(&name) {
                walk(tree, &path, skip, depth - 1, files);
            }
        } else if let Some(name) = name_of(name) {
            match files.entry(name) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(path);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    if rank(&path) < rank(entry.get()) {
                        entry.insert(path);
                    }
                }
            }
        }
    }
}

/// Which of two files of the same module counts: `updates` comes first (depmod.d(5)); then the kernel's own; then, so
/// that the answer never depends on the order of a directory, the smaller path.
fn rank(path: &Path) -> (u8, &Path) {
    let class = match path.components().next().and_then(|part| part.as_os_str().to_str()) {
        Some("updates") => 0,
        Some("kernel") => 1,
        _ => 2,
    };
    (class, path)
}

/// The names in `modules.builtin`, when that file is there.
pub(super) fn builtin(tree: &Path) -> Option<BTreeSet<String>> {
    let text = fs::read_to_string(tree.join("modules.builtin")).ok()?;
    Some(text.lines().filter_map(|line| name_of(line.rsplit('/').next()?.trim())).collect())
}
