//! What the guest finds at `/lib/modules/<release>`, so that `modprobe` works there.
//!
//! An installed tree with its indexes serves as it is. Any other gets a directory in the cache: links to the modules,
//! and the indexes that this machine's `depmod` makes. kmod reads only the binary ones (`modules.dep.bin`), busybox
//! only the text ones, and `depmod` writes both.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{ModuleTree, Origin};

/// Begins the name of a folder in which indexes are made.
const STAGING: &str = ".new-";
/// Indexes of a tree as it was this long ago are thrown away when new ones are made: a guest may still use younger ones.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be put at `/lib/modules/<release>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// The tree itself.
    AsIs {
        /// The tree's directory.
        dir: PathBuf,
    },
    /// A directory of links with indexes of its own; to be made, if it is not there yet.
    Links(Links),
    /// There will be no indexes; the modules that a run needs itself are loaded without.
    NotPossible {
        /// One sentence: why, and what would help.
        reason: String,
    },
}

/// A directory in the cache with indexes of its own, whose modules are symbolic links into the tree. Its place is known
/// before it is made, so that it can be made while the guest boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// A directory that exists already.
    pub share: PathBuf,
    /// What is to be `/lib/modules/<release>`, relative to `share`.
    pub inside: PathBuf,
    /// The directory that must be there in the guest, under this very path, for the links to lead somewhere.
    pub links_into: PathBuf,
    depmod: PathBuf,
    tree: ModuleTree,
    release: String,
}

/// Finds the indexes of a module tree, or where they are to be made.
pub fn index(tree: &ModuleTree, release: &str, cache: &Path) -> Index {
    if tree.origin != Origin::BuildTree && tree.dir.join("modules.dep.bin").is_file() {
        return Index::AsIs { dir: tree.dir.clone() };
    }
    let Some(depmod) = find_depmod(std::env::var_os("PATH")) else {
        return Index::NotPossible {
            reason: "modprobe will not work in the guest: its module tree has no indexes, and this machine has no \
                     `depmod` to make them; install kmod"
                .to_owned(),
        };
    };
    match Links::place(depmod, tree, release, cache) {
        Ok(links) => Index::Links(links),
        Err(reason) => Index::NotPossible { reason },
    }
}

impl Links {
    fn place(depmod: PathBuf, tree: &ModuleTree, release: &str, cache: &Path) -> Result<Self, String> {
        let share = cache.join("modules");
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&share);
        created.map_err(|error| not_possible(tree, &in_cache(&share, &error)))?;
        let (tree_key, state_key) = keys(tree, release);
        let inside =
            Path::new(&format!("{tree_key:016x}-{state_key:016x}")).join("lib/modules").join(release);
        let (tree, release) = (tree.clone(), release.to_owned());
        Ok(Self { share, inside, links_into: real(&tree.dir), depmod, tree, release })
    }

    /// Makes the indexes, if they are not there, with a `depmod` that `run` runs to its end. Any number of processes may do
    /// so at once. Takes up to seconds.
    ///
    /// # Errors
    /// One sentence: why there are none.
    pub fn make(&self, run: impl FnOnce(Command) -> io::Result<Output>) -> Result<(), String> {
        forget_abandoned(&self.share);
        if self.share.join(&self.inside).is_dir() {
            return Ok(());
        }
        let Self { share, inside, depmod, tree, release, .. } = self;
        let Some(entry) = inside.iter().next() else { return Ok(()) };
        let done = share.join(entry);
        make(run, depmod, tree, release, share, &done).map_err(|reason| not_possible(tree, &reason))?;
        let name = entry.to_string_lossy();
        forget_old(share, name.split_inclusive('-').next().unwrap_or_default(), &done);
        Ok(())
    }
}

fn not_possible(tree: &ModuleTree, reason: &str) -> String {
    format!("modprobe will not work in the guest: cannot index `{}`: {reason}", tree.dir.display())
}

fn in_cache(root: &Path, error: &io::Error) -> String {
    format!("writing below `{}` failed: {error}", root.display())
}

/// Builds beside the final place and renames: `done` is complete as soon as it exists.
fn make(
    run: impl FnOnce(Command) -> io::Result<Output>,
    depmod: &Path,
    tree: &ModuleTree,
    release: &str,
    root: &Path,
    done: &Path,
) -> Result<(), String> {
    let in_cache = |error: io::Error| in_cache(root, &error);
    let (staging, _lock) = staging(root).map_err(in_cache)?;
    let dir = staging.path().join("lib/modules").join(release);
    link_modules(tree, &dir).map_err(in_cache)?;
    let mut command = Command::new(depmod);
    command.arg("-b").arg(staging.path()).arg(release).stdin(Stdio::null());
    let output = run(command).map_err(|error| format!("starting `{}` failed: {error}", depmod.display()))?;
    if !output.status.success() || !dir.join("modules.dep").is_file() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(format!("`{}` failed ({}): {said}", depmod.display(), output.status));
    }
    match fs::rename(staging.path(), done) {
        Ok(()) => {
            // Nothing is left under this name to clean up.
            drop(staging.keep());
            Ok(())
        }
        // Another process was faster.
        Err(_) if done.is_dir() => Ok(()),
        Err(error) => Err(in_cache(error)),
    }
}

/// A folder to build in. It is locked: the kernel takes the lock from a process that dies, so that what it leaves is known.
fn staging(root: &Path) -> io::Result<(TempDir, File)> {
    loop {
        let folder = tempfile::Builder::new().prefix(STAGING).tempdir_in(root)?;
        let lock = File::open(folder.path());
        if let Ok(lock) = lock.and_then(|lock| lock.lock().map(|()| lock))
            && folder.path().is_dir()
        {
            return Ok((folder, lock));
        }
        // Another process took it for abandoned before it was locked.
    }
}

/// Removes what processes that died had begun.
fn forget_abandoned(root: &Path) {
    let Ok(entries) = root.read_dir() else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(STAGING)) {
        if File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Lays a tree out as `lib/modules/<release>`, by links to what it has.
fn link_modules(tree: &ModuleTree, dir: &Path) -> io::Result<()> {
    let real = real(&tree.dir);
    fs::create_dir_all(dir)?;
    // What depmod and modinfo read besides the modules.
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        if tree.origin != Origin::BuildTree && real.join(name).is_file() {
            fs::copy(real.join(name), dir.join(name))?;
        }
    }
    if tree.origin != Origin::BuildTree {
        for entry in real.read_dir()?.flatten() {
            if entry.path().is_dir() {
                symlink(entry.path(), dir.join(entry.file_name()))?;
            }
        }
        return Ok(());
    }
    for name in ["modules.builtin", "modules.builtin.modinfo"] {
        if real.join(name).is_file() {
            fs::copy(real.join(name), dir.join(name))?;
        }
    }
    let mut order = String::new();
    for (_, file) in tree.files() {
        let link = Path::new("kernel").join(file);
        let place = dir.join(&link);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(real.join(file), place)?;
        order.push_str(&link.to_string_lossy());
        order.push('\n');
    }
    // depmod warns without one; the build tree's own has other paths, from 6.3 on.
    fs::write(dir.join("modules.order"), order)
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// One key for the tree's place, one for all that its indexes depend on.
fn keys(tree: &ModuleTree, release: &str) -> (u64, u64) {
    let mut place = DefaultHasher::new();
    real(&tree.dir).hash(&mut place);
    release.hash(&mut place);
    let mut state = DefaultHasher::new();
    let listed = ["modules.order", "modules.builtin", "modules.builtin.modinfo"].map(PathBuf::from);
    for file in tree.files().map(|(_, file)| file).chain(listed.iter().map(PathBuf::as_path)) {
        file.hash(&mut state);
        if let Ok(metadata) = tree.dir.join(file).metadata() {
            (metadata.size(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut state);
        }
    }
    (place.finish(), state.finish())
}

/// Removes this tree's indexes of earlier builds. Whatever fails here fails again next time, and harms nobody.
fn forget_old(root: &Path, prefix: &str, keep: &Path) {
    let Ok(entries) = root.read_dir() else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix);
        let old = || {
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > OLD))
        };
        if ours && entry.path() != keep && old() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// `depmod` is for root, so it is often not in a user's `PATH`.
fn find_depmod(path: Option<std::ffi::OsString>) -> Option<PathBuf> {
    let path = path.unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/run/current-system/sw/bin"].map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("depmod"))
        .find(|file| file.is_file())
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
