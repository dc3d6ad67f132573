//! The folder of kept guests.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::net::{UnixListener, UnixStream};

use nix::unistd::{Whence, geteuid, linkat, lseek};

use super::Key;
use super::state::{self, Header, Identity};
use crate::host;

/// What all kept guests may take on the disk; the one that was used the longest time ago goes first.
const ROOM: u64 = 4 << 30;
/// Held while names are given and taken away.
const ORDER: &str = "order.lock";
/// What is this old was left by a process that is gone.
const OLD: Duration = Duration::from_secs(3600);

/// The kept guests of this user.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
    room: u64,
}

/// A guest that is parked: all that is left of its machine.
#[derive(Debug)]
pub(crate) struct Parked {
    /// Its memory, in memory.
    pub(crate) memory: OwnedFd,
    /// The state of its devices.
    pub(crate) state: Vec<u8>,
}

/// A parked guest that any number of machines can resume.
#[derive(Debug)]
pub(crate) struct Template {
    /// Its memory: to be mapped privately, never written.
    pub(crate) memory: File,
    /// The state of its devices.
    pub(crate) state: Vec<u8>,
}

/// The right to keep a guest under a key. One process has it at a time; the others boot and keep nothing.
#[derive(Debug)]
pub(crate) struct Claim {
    key: Key,
    lock: File,
}

impl Claim {
    /// What it is the right to.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Remembers until the host boots again that this guest cannot be kept: trying costs a boot.
    pub(crate) fn give_up(&self, reason: &str) {
        let _ = (&self.lock).write_all(format!("{}\n{reason}", host::boot_id()).as_bytes());
    }
}

/// Where QEMU can send the state of a guest's devices: it takes no descriptor for that, only the path of a socket. This one
/// leads through a descriptor of the folder, so that it is short wherever the folder is.
#[derive(Debug)]
pub(crate) struct MeetingPlace(File);

impl MeetingPlace {
    /// For QEMU to inherit.
    pub(crate) fn folder(&self) -> &File {
        &self.0
    }

    /// Makes the socket, for as long as the result lives.
    pub(crate) fn open(self) -> io::Result<Meeting> {
        let path = format!("/proc/self/fd/{}/{:016x}.socket", self.0.as_raw_fd(), random()?);
        let listener = UnixListener::bind(&path)?;
        Ok(Meeting { _folder: self.0, path, listener })
    }
}

/// A socket at a [`MeetingPlace`].
#[derive(Debug)]
pub(crate) struct Meeting {
    _folder: File,
    path: String,
    listener: UnixListener,
}

impl Meeting {
    /// The path for a child that has inherited the folder, at our number.
    pub(crate) fn path_in_child(&self) -> &str {
        &self.path
    }

    /// Waits for QEMU.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A kept guest as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The release of its kernel.
    pub kernel: String,
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
    /// When it was last resumed, or made.
    pub used: SystemTime,
}

/// Memory for a guest that may be kept: a file without a name and without a disk, so a full disk does not stop the guest.
pub(crate) fn guest_memory(bytes: u64) -> io::Result<OwnedFd> {
    let memory = File::from(memfd_create("vmtest-guest-memory", MFdFlags::MFD_CLOEXEC)?);
    memory.set_len(bytes)?;
    Ok(memory.into())
}

impl Snapshots {
    /// The kept guests under a cache directory, which need not exist.
    pub fn new(cache: &Path) -> Self {
        Self { dir: cache.join("snapshots"), room: ROOM }
    }

    /// The guest that was kept under `key`. The error says why there is one that cannot be used.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Template>, String> {
        let file = match open(&self.state_file(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        self.check_folder()?;
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let (header, state) = state::from_bytes(&bytes)?;
        if header.key != key.to_string() {
            return Err("it is another guest's".to_owned());
        }
        let memory = open(&self.dir.join(&header.memory))
            .map_err(|error| format!("its memory cannot be read: {error}"))?;
        if Identity::of(&memory).ok().as_ref() != Some(&header.identity) {
            return Err("its memory was changed".to_owned());
        }
        // So that it is not the next to go. A folder that cannot be written is no reason not to use it.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(Template { memory, state: state.to_vec() }))
    }

    /// Takes the right to keep a guest; the error says why it is not to be had.
    pub(crate) fn claim(&self, key: Key) -> Result<Claim, String> {
        let in_words = |error: io::Error| format!("nothing can be kept in {}: {error}", self.dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(in_words)?;
        self.check_folder()?;
        let lock = self.lock_file(&format!("{key}.lock")).map_err(in_words)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err("another run is making the snapshot".to_owned()),
            Err(TryLockError::Error(error)) => return Err(in_words(error)),
        }
        let mut known = String::new();
        (&lock).read_to_string(&mut known).map_err(in_words)?;
        match known.split_once('\n') {
            Some((boot_id, reason)) if boot_id == host::boot_id() => {
                Err(format!("it cannot be kept: {reason} (found before, since this machine started)"))
            }
            _ => {
                lock.set_len(0).map_err(in_words)?;
                Ok(Claim { key, lock })
            }
        }
    }

    /// Where a guest that is being kept can send its state. The folder must be there.
    pub(crate) fn meeting_place(&self) -> io::Result<MeetingPlace> {
        File::open(&self.dir).map(MeetingPlace)
    }

    /// Copies a parked guest's memory to the disk, where it has no name yet. Takes fractions of a second.
    pub(crate) fn write(&self, parked: Parked) -> io::Result<Template> {
        let memory = File::from(parked.memory);
        let copy = self.unnamed()?;
        copy.set_len(memory.metadata()?.size())?;
        copy_sparse(&memory, &copy)?;
        Ok(Template { memory: copy, state: parked.state })
    }

    /// Gives a guest its name, when all of it is certainly on the disk. Takes as long as the disk does.
    pub(crate) fn publish(&self, claim: &Claim, kernel: &str, template: &Template) -> io::Result<()> {
        template.memory.sync_all()?;
        let order = self.lock_file(ORDER)?;
        order.lock()?;
        let key = &claim.key;
        let name = format!("{key}-{:016x}.memory", random()?);
        give_name(&template.memory, &self.dir.join(&name))?;
        let header = Header {
            key: key.to_string(),
            kernel: kernel.to_owned(),
            memory: name,
            identity: Identity::of(&template.memory)?,
            state_len: template.state.len(),
            state_hash: state::hash(&template.state),
        };
        let file = self.unnamed()?;
        (&file).write_all(&state::to_bytes(&header, &template.state))?;
        file.sync_all()?;
        // What was there could not be used, or there would be no claim.
        let _ = fs::remove_file(self.state_file(key));
        give_name(&file, &self.state_file(key))?;
        self.make_room(key);
        Ok(())
    }

    /// Forgets a guest that turned out to be of no use. Machines that resumed it go on.
    pub(crate) fn remove(&self, key: &Key) {
        if let Some((header, _)) = self.read(key) {
            let _ = fs::remove_file(self.dir.join(header.memory));
        }
        let _ = fs::remove_file(self.state_file(key));
    }

    /// Every kept guest, the one that was used last first.
    pub fn list(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.keys().iter().filter_map(|key| self.entry(key)).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        entries
    }

    /// Removes every kept guest; how many bytes that gave back. Machines that resumed one go on.
    pub fn clear(&self) -> io::Result<u64> {
        let mut freed = 0;
        let files = match fs::read_dir(&self.dir) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        for file in files {
            let file = file?;
            let bytes = file.metadata().map_or(0, |data| data.blocks() * 512);
            match fs::remove_file(file.path()) {
                Ok(()) => freed += bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(freed)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    fn keys(&self) -> Vec<Key> {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        files
            .filter_map(|file| {
                let path = file.path();
                (path.extension()? == "state").then(|| Key::of_name(path.file_stem()?))?
            })
            .collect()
    }

    fn entry(&self, key: &Key) -> Option<Entry> {
        let file = fs::metadata(self.state_file(key)).ok()?;
        let (header, _) = self.read(key)?;
        let memory = fs::metadata(self.dir.join(header.memory)).ok()?;
        Some(Entry {
            name: key.to_string(),
            kernel: header.kernel,
            bytes: (file.blocks() + memory.blocks()) * 512,
            used: file.modified().ok()?,
        })
    }

    fn read(&self, key: &Key) -> Option<(Header, Vec<u8>)> {
        let bytes = fs::read(self.state_file(key)).ok()?;
        let (header, state) = state::from_bytes(&bytes).ok()?;
        Some((header, state.to_vec()))
    }

    /// Called with the order's lock: what belongs to no entry was left by a process that died, and entries beyond the room
    /// go, but not `newest`. A socket is there for milliseconds and a claim for the length of a boot; an old one was left, too.
    fn make_room(&self, newest: &Key) {
        let mut used = 0;
        for entry in self.list() {
            used += entry.bytes;
            if used > self.room
                && let Some(key) = Key::of_name(entry.name.as_ref()).filter(|key| key != newest)
            {
                self.remove(&key);
            }
        }
        let owned: Vec<_> =
            self.keys().iter().filter_map(|key| self.read(key)).map(|(header, _)| header.memory).collect();
        for file in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let age = || file.metadata().ok()?.modified().ok()?.elapsed().ok();
            let is_left = match name.rsplit_once('.') {
                Some((_, "memory")) => !owned.contains(&name),
                Some((_, "socket" | "lock")) => name != ORDER && age().is_some_and(|age| age > OLD),
                _ => false,
            };
            if is_left {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    fn state_file(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("{key}.state"))
    }

    /// Nobody else may write what our guests run.
    fn check_folder(&self) -> Result<(), String> {
        let folder = fs::symlink_metadata(&self.dir).map_err(|error| error.to_string())?;
        if folder.is_dir() && is_ours_alone(&folder) {
            Ok(())
        } else {
            Err(format!("{} is open to others", self.dir.display()))
        }
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(self.dir.join(name))
    }

    /// A file that is gone with us until it is given a name.
    fn unnamed(&self) -> io::Result<File> {
        let flags = OFlag::O_TMPFILE.bits();
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(&self.dir)
    }
}

fn is_ours_alone(data: &fs::Metadata) -> bool {
    const OTHERS: u32 = 0o077;
    data.uid() == geteuid().as_raw() && data.mode() & OTHERS == 0
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    let data = file.metadata()?;
    if data.is_file() && is_ours_alone(&data) {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{} is open to others", path.display())))
    }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn give_name(file: &File, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(())
}

/// Copies what is there of a file, and none of its holes.
fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    let mut at = 0;
    loop {
        let data = match lseek(from.as_fd(), at, Whence::SeekData) {
            Ok(data) => data,
            // No more data.
            Err(Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let hole = lseek(from.as_fd(), data, Whence::SeekHole)?;
        let (mut from, mut to) = (from, to);
        let start = SeekFrom::Start(u64::try_from(data).map_err(io::Error::other)?);
        from.seek(start)?;
        to.seek(start)?;
        let length = u64::try_from(hole - data).map_err(io::Error::other)?;
        if io::copy(&mut from.take(length), &mut to)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = hole;
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
