//! A folder of things that were fetched: one entry for each, made by one process while the others wait, used by any number,
//! and never touched while in use.
//!
//! An entry `K` is a folder `K/` and a description `K.json`, which is written last: without it there is no entry. Who makes
//! or removes one holds `K.lock` alone; who uses it holds it together with others. The kernel takes a lock from a process that
//! dies, so none is ever stale. `K.part` is what there is of a download, `K.new/` of an entry.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::private;
use crate::snapshot::{Identity, Key};

/// How often to look whether another process is done.
const LOOK: Duration = Duration::from_millis(50);
/// A download that nobody went on with for so long is given up.
const OLD: Duration = Duration::from_secs(7 * 86400);

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
    /// What all entries may take on the disk; the one that was used the longest time ago goes first.
    room: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// What the user calls it: a URL, a package.
    pub(crate) name: String,
    /// What exactly was fetched: a checksum, versions.
    pub(crate) what: String,
    /// Its main file, relative to the entry's folder.
    pub(crate) file: String,
    /// That file as it was made: another is not used.
    pub(crate) identity: Identity,
    /// The file of this machine that it is a copy of.
    pub(crate) origin: Option<Identity>,
    /// What it takes on the disk.
    pub(crate) bytes: u64,
}

/// An entry that stays as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    /// The main file.
    pub(crate) path: PathBuf,
    pub(crate) about: About,
    _lock: File,
}

/// The right to make an entry. One process has it at a time.
#[derive(Debug)]
pub(crate) struct Claim {
    shelf: Shelf,
    key: Key,
    _lock: File,
}

/// Whose turn it is to make an entry.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Ours.
    Make(Claim),
    /// Nobody's: another process has made it.
    Made(Held),
}

/// An entry as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A URL, a package.
    pub name: String,
    /// What exactly was fetched: a checksum, versions; none for what is not complete.
    pub what: Option<String>,
    /// Its main file, or what there is of it.
    pub path: PathBuf,
    /// What it takes on the disk.
    pub bytes: u64,
    /// When it was last used, or fetched.
    pub used: SystemTime,
}

/// What became of [`Shelf::clear`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// What that gave back.
    pub bytes: u64,
    /// Entries that are in use, and are still there.
    pub in_use: usize,
}

impl Shelf {
    /// The entries in `dir`, which need not exist.
    pub(crate) fn new(dir: PathBuf, room: u64) -> Self {
        Self { dir, room }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The entry, when it is there, whole, and not being made again.
    pub(crate) fn find(&self, key: &Key) -> Option<Held> {
        if !private::is_folder(&self.dir).unwrap_or(false) {
            return None;
        }
        let lock = File::open(self.lock(key)).ok()?;
        lock.try_lock_shared().ok()?;
        let about = is_at(&lock, &self.lock(key)).then(|| self.about(key)).flatten()?;
        // So that it is not the next to go.
        let used =
            private::open(&self.description(key)).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = used {
            tracing::debug!(%error, "cannot note that an entry was used");
        }
        Some(Held { path: self.entry(key).join(&about.file), about, _lock: lock })
    }

    /// Takes the right to make an entry, unless there is one that is `usable`. Another process that makes it is waited for;
    /// `waiting` is called all the time then, with what there is of it. The error is `Interrupted` when `cancel` fires.
    pub(crate) async fn take_turn(
        &self,
        key: &Key,
        usable: impl Fn(&About) -> bool,
        cancel: &CancellationToken,
        mut waiting: impl FnMut(&Path),
    ) -> io::Result<Turn> {
        private::make_folder(&self.dir)?;
        loop {
            // Who has made it uses it now, and so holds the lock for as long as a run takes.
            if let Some(held) = self.find(key).filter(|held| usable(&held.about)) {
                return Ok(Turn::Made(held));
            }
            let lock = private::lock_file(&self.lock(key))?;
            match lock.try_lock() {
                Ok(()) if is_at(&lock, &self.lock(key)) => {
                    return Ok(Turn::Make(Claim { shelf: self.clone(), key: key.clone(), _lock: lock }));
                }
                // It was removed under its old holder.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => waiting(&self.part(key)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(io::ErrorKind::Interrupted.into()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Every entry, the one that was used last first.
    pub fn list(&self) -> Vec<Item> {
        let mut items: Vec<_> = self.keys().iter().filter_map(|key| self.item(key)).collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.used));
        items
    }

    /// Removes every entry that nobody uses or makes.
    pub fn clear(&self) -> io::Result<Cleared> {
        let (mut cleared, mut failed) = (Cleared::default(), None);
        for key in self.keys() {
            let bytes = self.item(&key).map_or(0, |item| item.bytes);
            match self.remove(&key) {
                Ok(true) => cleared.bytes += bytes,
                Ok(false) => cleared.in_use += 1,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(cleared), Err)
    }

    fn item(&self, key: &Key) -> Option<Item> {
        let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
        if let Some(about) = self.about(key) {
            let path = self.entry(key).join(&about.file);
            let used = modified(&self.description(key))?;
            return Some(Item { name: about.name, what: Some(about.what), path, bytes: about.bytes, used });
        }
        let (path, name) = (self.part(key), part_name(&self.part_description(key))?);
        let data = fs::metadata(&path).ok()?;
        Some(Item { name, what: None, bytes: data.len(), used: data.modified().ok()?, path })
    }

    /// What is said of the entry, when its main file is still the one that was made.
    fn about(&self, key: &Key) -> Option<About> {
        let mut text = String::new();
        private::open(&self.description(key)).ok()?.read_to_string(&mut text).ok()?;
        let about: About = serde_json::from_str(&text).ok()?;
        let file = File::open(self.entry(key).join(&about.file)).ok()?;
        (Identity::of(&file).ok()? == about.identity).then_some(about)
    }

    /// Removes an entry with all that belongs to it; false when somebody holds it.
    fn remove(&self, key: &Key) -> io::Result<bool> {
        let lock = private::lock_file(&self.lock(key))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_at(&lock, &self.lock(key)) {
            self.remove_entry(key)?;
            for file in [self.draft(key), self.part(key), self.part_description(key), self.lock(key)] {
                gone(fs::remove_file(file))?;
            }
        }
        Ok(true)
    }

    fn remove_entry(&self, key: &Key) -> io::Result<()> {
        // First what makes it an entry.
        gone(fs::remove_file(self.description(key)))?;
        gone(fs::remove_dir_all(self.entry(key)))?;
        gone(fs::remove_dir_all(self.staging(key)))
    }

    /// Removes what is beyond the room, and what was given up, but not `newest`.
    fn make_room(&self, newest: &Key) {
        let mut items: Vec<_> =
            self.keys().into_iter().filter_map(|key| self.item(&key).map(|item| (key, item))).collect();
        items.sort_by_key(|(_, item)| std::cmp::Reverse(item.used));
        let mut taken = 0;
        for (key, item) in items {
            taken += item.bytes;
            let is_given_up = item.what.is_none() && item.used.elapsed().is_ok_and(|age| age > OLD);
            if key != *newest && (taken > self.room || is_given_up) {
                // One that is in use stays.
                if let Err(error) = self.remove(&key) {
                    tracing::debug!(%error, "cannot make room");
                }
            }
        }
    }

    fn keys(&self) -> BTreeSet<Key> {
        if !private::is_folder(&self.dir).unwrap_or(false) {
            return BTreeSet::new();
        }
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        files.filter_map(|file| key_of(&file.file_name())).collect()
    }

    fn file(&self, key: &Key, extension: &str) -> PathBuf {
        self.dir.join(format!("{key}{extension}"))
    }

    fn entry(&self, key: &Key) -> PathBuf {
        self.file(key, "")
    }

    fn description(&self, key: &Key) -> PathBuf {
        self.file(key, ".json")
    }

    fn draft(&self, key: &Key) -> PathBuf {
        self.file(key, ".json.new")
    }

    fn lock(&self, key: &Key) -> PathBuf {
        self.file(key, ".lock")
    }

    fn part(&self, key: &Key) -> PathBuf {
        self.file(key, ".part")
    }

    fn part_description(&self, key: &Key) -> PathBuf {
        self.file(key, ".part.json")
    }

    fn staging(&self, key: &Key) -> PathBuf {
        self.file(key, ".new")
    }
}

impl Claim {
    /// Where there is room for the bytes of a download that are there, and for what is known of them.
    pub(crate) fn part_files(&self) -> (PathBuf, PathBuf) {
        (self.shelf.part(&self.key), self.shelf.part_description(&self.key))
    }

    /// An empty folder for what the entry shall be. What a process that died left of one is gone.
    pub(crate) fn staging(&self) -> io::Result<PathBuf> {
        let dir = self.shelf.staging(&self.key);
        gone(fs::remove_dir_all(&dir))?;
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// Removes what could not become an entry.
    pub(crate) fn discard_staging(&self) {
        let _ = fs::remove_dir_all(self.shelf.staging(&self.key));
    }

    /// Makes the folder that was filled the entry.
    pub(crate) fn publish(self, about: &About) -> io::Result<Held> {
        let Self { shelf: on, key, _lock: lock } = self;
        // What was there was not of use.
        gone(fs::remove_file(on.description(&key)))?;
        gone(fs::remove_dir_all(on.entry(&key)))?;
        fs::rename(on.staging(&key), on.entry(&key))?;
        let text = serde_json::to_vec(about).expect("a description is JSON");
        let draft = on.draft(&key);
        let mut file = private::create(&draft)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(draft, on.description(&key))?;
        for file in [on.part(&key), on.part_description(&key)] {
            gone(fs::remove_file(file))?;
        }
        on.make_room(&key);
        drop(lock);
        on.find(&key).ok_or_else(|| io::Error::other("another process removed it at once"))
    }
}

/// The key of the entry to which a file belongs, by the file's name.
fn key_of(name: &OsStr) -> Option<Key> {
    Key::of_name(name.to_str()?.split('.').next()?.as_ref())
}

/// What the description of a part calls it.
fn part_name(path: &Path) -> Option<String> {
    let description: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(description["name"].as_str()?.to_owned())
}

/// Whether the file that is open still has this path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// That something is not there is what was wanted.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
