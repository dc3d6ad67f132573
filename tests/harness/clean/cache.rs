//! What of `vmtest`'s cache is half-written. Everything that may lie there at the end of a run is named here.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::real;

/// Whether what has this name in a folder may stay there.
type IsWhole = fn(&Folder, &str) -> bool;

/// Entries that no run may leave.
pub(super) fn half_written(cache: &Path) -> BTreeSet<PathBuf> {
    let folders: [(&str, IsWhole); 5] = [
        ("snapshots/1", is_kept_guest),
        ("downloads/1", is_on_shelf),
        ("packages/1", is_on_shelf),
        ("modules", is_module_index),
        ("kvm-broken", is_kvm_memory),
    ];
    let mut found = BTreeSet::new();
    for (name, is_whole) in folders {
        // Several caches may share a folder, by a symbolic link.
        let folder = Folder::of(&real(&cache.join(name)));
        let broken = folder.names.iter().filter(|name| !is_whole(&folder, name));
        found.extend(broken.map(|name| folder.path.join(name)));
    }
    found
}

struct Folder {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Folder {
    fn of(path: &Path) -> Self {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        Self { path: path.to_owned(), names }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The line that describes the kept guest of a key.
    fn header(&self, key: &str) -> String {
        let mut line = Vec::new();
        if let Ok(file) = File::open(self.path.join(format!("{key}.state"))) {
            // What is damaged may have no lines.
            let _ = BufReader::new(file).take(4096).read_until(b'\n', &mut line);
        }
        String::from_utf8_lossy(&line).into_owned()
    }
}

/// A state, and the memory that it names. A lock stays: it holds no one up, and what was found out about its guest is in it; an
/// empty one goes when it is old. Not so the socket through which QEMU sends a state.
fn is_kept_guest(folder: &Folder, name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, "lock" | "state")) => true,
        Some((stem, "memory")) => {
            let key = stem.split('-').next().unwrap_or_default();
            folder.header(key).contains(&format!("\"{name}\""))
        }
        _ => false,
    }
}

/// An entry `K/` and its description `K.json`. A lock stays for as long as its entry may be made or used. `K.part` stays with its
/// description, for a download that goes on where it was cut. Not so `K.new/`, which is on its way to be an entry, and
/// `K.json.new`.
fn is_on_shelf(folder: &Folder, name: &str) -> bool {
    match name.split_once('.') {
        Some((_, "lock")) => true,
        Some((key, "part" | "part.json")) => {
            folder.has(&format!("{key}.part")) && folder.has(&format!("{key}.part.json"))
        }
        Some((key, "json")) => folder.has(key),
        None => folder.has(&format!("{name}.json")),
        Some(_) => false,
    }
}

/// `<tree>-<state>`, two numbers of 16 digits. Not so `.new-…`, in which indexes are made.
fn is_module_index(_: &Folder, name: &str) -> bool {
    name.split_once('-').is_some_and(|(tree, state)| is_number(tree) && is_number(state))
}

/// A number of 16 digits. Not so the file that is to get this name.
fn is_kvm_memory(_: &Folder, name: &str) -> bool {
    is_number(name)
}

fn is_number(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
