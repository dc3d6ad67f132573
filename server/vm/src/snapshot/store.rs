//! The folder of kept guests.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, linkat, lseek};
use tokio::net::{UnixListener, UnixStream};

use super::Key;
use super::state::{self, Header, Identity, MemoryFile};
use crate::qemu::monitor::MemoryIs;
use crate::{host, private};

/// What all kept guests may take on the disk; the one that was used the longest time ago goes first.
const ROOM: u64 = 4 << 30;
/// Held while names are given and taken away.
const ORDER: &str = "order.lock";
/// Longest time to wait for that; it takes milliseconds.
const ORDER_LIMIT: Duration = Duration::from_secs(2);
/// So many attempts that hung are enough.
const STRIKES: u32 = 2;
/// What is this old was left by a process that is gone.
const OLD: Duration = Duration::from_secs(3600);

/// The kept guests of this user.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
    room: u64,
}

/// What QEMU has said of a guest that was parked.
#[derive(Debug)]
pub(crate) struct SavedState {
    pub(crate) bytes: Vec<u8>,
    pub(crate) memory: MemoryIs,
}

/// A parked guest that any number of machines can resume.
#[derive(Debug)]
pub(crate) struct Template {
    /// What it was kept under.
    pub(crate) key: Key,
    /// Its memory, to be mapped privately and never written; none where it is part of the state.
    pub(crate) memory: Option<File>,
    /// The state of its devices.
    pub(crate) state: Vec<u8>,
    /// The file that it was read from; none before it has a name.
    pub(crate) file: Option<FileId>,
}

impl Template {
    /// A copy of the file with its memory for one guest that shares it with other processes. Takes a tenth of a second.
    pub(crate) fn copy_memory(&self) -> io::Result<Option<OwnedFd>> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let copy = guest_memory(memory.metadata()?.size())?;
        copy_sparse(memory, &copy)?;
        Ok(Some(copy.into()))
    }
}

/// Tells the file of a state from one that has taken its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId(u64);

/// Why a guest that was kept cannot be used.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// In words.
    pub(crate) reason: String,
    /// The file that will never be of use again; none where it is only out of reach now.
    pub(crate) damaged: Option<FileId>,
}

/// The right to keep a guest under a key. One process has it at a time; the others boot and keep nothing.
#[derive(Debug)]
pub(crate) struct Claim {
    key: Key,
    _lock: File,
    /// None where files may not be as large as the guest's memory.
    memory: Option<ClaimedMemory>,
    /// For the guest's state.
    pub(crate) meeting_place: MeetingPlace,
}

/// For a guest's memory.
#[derive(Debug)]
struct ClaimedMemory {
    /// While it boots, without a disk: a full one does not stop the guest.
    live: File,
    /// When it is kept. Without a name: it is gone with us.
    copy: File,
}

impl Claim {
    /// What it is the right to.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The file for the guest's memory while it boots; none where the memory has to be part of its state.
    pub(crate) fn memory(&self) -> Option<&File> {
        self.memory.as_ref().map(|memory| &memory.live)
    }

    /// A parked guest as it is, with its memory where it was.
    pub(crate) fn template(&self, saved: SavedState) -> io::Result<Template> {
        let memory = self.memory().filter(|_| saved.memory == MemoryIs::InFile);
        let memory = memory.map(File::try_clone).transpose()?;
        Ok(Template { key: self.key.clone(), memory, state: saved.bytes, file: None })
    }

    /// Moves its memory to the disk. Takes fractions of a second; where it fails, the memory is still where it was.
    pub(crate) fn write(&self, template: &mut Template) -> io::Result<()> {
        if let (Some(memory), Some(claimed)) = (&mut template.memory, &self.memory) {
            claimed.copy.set_len(memory.metadata()?.size())?;
            copy_sparse(memory, &claimed.copy)?;
            *memory = claimed.copy.try_clone()?;
        }
        Ok(())
    }
}

/// How much an attempt that failed says of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// It will fail again.
    Refused,
    /// Perhaps the host was only busy.
    Hung,
}

/// Where QEMU can send the state of a guest's devices: it takes no descriptor for that, only the path of a socket. This one
/// leads through a descriptor of the folder, so that it is short wherever the folder is.
#[derive(Debug)]
pub(crate) struct MeetingPlace {
    folder: File,
    /// Of the guest's, so that who has the claim knows it for a dead run's.
    name: String,
}

impl MeetingPlace {
    /// For QEMU to inherit.
    pub(crate) fn folder(&self) -> &File {
        &self.folder
    }

    /// Makes the socket, for as long as the result lives.
    pub(crate) fn open(&self) -> io::Result<Meeting> {
        let path = format!("/proc/self/fd/{}/{}", self.folder.as_raw_fd(), self.name);
        let listener = UnixListener::bind(&path)?;
        Ok(Meeting { path, listener })
    }
}

/// A socket at a [`MeetingPlace`].
#[derive(Debug)]
pub(crate) struct Meeting {
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

impl Snapshots {
    /// The kept guests under a cache directory, which need not exist.
    pub fn new(cache: &Path) -> Self {
        // A version that writes other files has a folder of its own.
        Self { dir: cache.join("snapshots/1"), room: ROOM }
    }

    /// The guest that was kept under `key`.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Template>, Unusable> {
        let out_of_reach = |reason: String| Unusable { reason, damaged: None };
        if !self.is_there().map_err(out_of_reach)? {
            return Ok(None);
        }
        let file = match private::open(&self.state_file(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(out_of_reach(error.to_string())),
        };
        let in_words = |error: io::Error| out_of_reach(error.to_string());
        let id = FileId(file.metadata().map_err(in_words)?.ino());
        let damaged = |reason: String| Unusable { reason, damaged: Some(id) };
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).map_err(in_words)?;
        let (header, state) = state::from_bytes(&bytes).map_err(damaged)?;
        if header.key != key.to_string() || !has_memory_of(key, &header) {
            return Err(damaged("it is another guest's".to_owned()));
        }
        let memory = match &header.memory {
            Some(MemoryFile { name, identity }) => {
                let memory = private::open(&self.dir.join(name)).map_err(|error| {
                    let reason = format!("its memory cannot be read: {error}");
                    let is_gone = error.kind() == io::ErrorKind::NotFound;
                    Unusable { reason, damaged: is_gone.then_some(id) }
                })?;
                if Identity::of(&memory).ok().as_ref() != Some(identity) {
                    return Err(damaged("its memory was changed".to_owned()));
                }
                Some(memory)
            }
            None => None,
        };
        // So that it is not the next to go.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(Template { key: key.clone(), memory, state: state.to_vec(), file: Some(id) }))
    }

    /// Takes the right to keep a guest with so much memory, and everything that may be missing for it; the error says what is.
    pub(crate) fn claim(&self, key: Key, memory_bytes: u64) -> Result<Claim, String> {
        let in_words = |error: io::Error| format!("nothing can be kept in {}: {error}", self.dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(in_words)?;
        self.is_there()?;
        let lock = self.lock_file(&format!("{key}.lock")).map_err(in_words)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err("another run is making the snapshot".to_owned()),
            Err(TryLockError::Error(error)) => return Err(in_words(error)),
        }
        let mut known = String::new();
        (&lock).read_to_string(&mut known).map_err(in_words)?;
        if let Some(reason) = struck_out(&known, &host::boot_id()) {
            return Err(format!("it cannot be kept: {reason} (found before, since this machine started)"));
        }
        // Asked for in any case: the state will be one, too.
        let copy = self.unnamed().map_err(in_words)?;
        let memory = if host::may_write(memory_bytes).is_ok() {
            let live = guest_memory(memory_bytes).map_err(|error| format!("it cannot be kept: {error}"))?;
            Some(ClaimedMemory { live, copy })
        } else {
            None
        };
        let name = format!("{key}.socket");
        // A run that was killed with the claim may have left one.
        let _ = fs::remove_file(self.dir.join(&name));
        let folder = File::open(&self.dir).map_err(in_words)?;
        let meeting_place = MeetingPlace { folder, name };
        Ok(Claim { key, _lock: lock, memory, meeting_place })
    }

    /// Remembers, until the host boots again, that a guest could not be kept: trying costs a boot.
    pub(crate) fn strike(&self, key: &Key, strike: Strike, reason: &str) {
        let weight = match strike {
            Strike::Refused => STRIKES,
            Strike::Hung => 1,
        };
        let line = format!("{} {weight} {}\n", host::boot_id(), reason.replace('\n', " "));
        let _ = self.lock_file(&format!("{key}.lock")).and_then(|mut lock| lock.write_all(line.as_bytes()));
    }

    /// Gives a guest its name, when its memory is certainly on the disk; a state that a crash has cut is told by its hash. Takes
    /// as long as the disk does.
    pub(crate) fn publish(&self, claim: &Claim, kernel: &str, template: &Template) -> io::Result<()> {
        let key = &claim.key;
        let memory = match &template.memory {
            Some(file) => {
                file.sync_all()?;
                Some((file, format!("{key}-{:016x}.memory", random()?)))
            }
            None => None,
        };
        host::may_write(template.state.len() as u64)?;
        let file = self.unnamed()?;
        // Nobody waits here for a disk.
        let order = self.order()?;
        let named = self.give_names(key, kernel, template, memory.as_ref(), &file);
        if let (Err(_), Some((_, name))) = (&named, &memory) {
            let _ = fs::remove_file(self.dir.join(name));
        }
        self.make_room(key);
        drop(order);
        named.and_then(|()| file.sync_all())
    }

    /// Writes the state into `file`, and gives both files their names.
    fn give_names(
        &self,
        key: &Key,
        kernel: &str,
        template: &Template,
        memory: Option<&(&File, String)>,
        mut file: &File,
    ) -> io::Result<()> {
        let memory = match memory {
            Some((memory, name)) => {
                // A name changes its file's identity.
                give_name(memory, &self.dir.join(name))?;
                Some(MemoryFile { name: name.clone(), identity: Identity::of(memory)? })
            }
            None => None,
        };
        let header = Header {
            key: key.to_string(),
            kernel: kernel.to_owned(),
            memory,
            state_len: template.state.len(),
            state_hash: state::hash(&template.state),
        };
        file.write_all(&state::to_bytes(&header, &template.state))?;
        let state = self.state_file(key);
        // What was there could not be used.
        let _ = fs::remove_file(&state);
        give_name(file, &state)
    }

    /// Forgets a guest that is of no use, unless another has taken its place. Machines that resumed it go on. A run waits for
    /// this, so this waits for nobody: what is still there is of no use to the next run, either, which will say so.
    pub(crate) fn remove(&self, key: &Key, id: FileId) {
        let Ok(order) = self.lock_file(ORDER) else { return };
        if order.try_lock().is_err() {
            return;
        }
        let Ok(file) = private::open(&self.state_file(key)) else { return };
        if file.metadata().is_ok_and(|data| data.ino() == id.0) {
            if let Some(memory) = self.header(key).and_then(|header| header.memory) {
                let _ = fs::remove_file(self.dir.join(memory.name));
            }
            let _ = fs::remove_file(self.state_file(key));
        }
    }

    /// Every kept guest, the one that was used last first.
    pub fn list(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.keys().iter().filter_map(|key| self.entry(key)).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        entries
    }

    /// Removes every kept guest; how many bytes that gave back. Machines that resumed one go on.
    pub fn clear(&self) -> io::Result<u64> {
        if !self.is_there().map_err(io::Error::other)? {
            return Ok(0);
        }
        let _order = self.order()?;
        let (mut freed, mut failed) = (0, None);
        for file in fs::read_dir(&self.dir)? {
            let file = file?;
            let is_claimed = || File::open(file.path()).is_ok_and(|lock| lock.try_lock().is_err());
            match kind_of(&file.file_name()) {
                Some(Kind::Lock) if is_claimed() => continue,
                Some(_) => {}
                None => continue,
            }
            let bytes = file.metadata().map_or(0, |data| data.blocks() * 512);
            match fs::remove_file(file.path()) {
                Ok(()) => freed += bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(freed), Err)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    fn keys(&self) -> Vec<Key> {
        if !self.is_there().unwrap_or(false) {
            return Vec::new();
        }
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let key = |file: fs::DirEntry| match kind_of(&file.file_name())? {
            Kind::State(key) => Some(key),
            Kind::Memory | Kind::Lock | Kind::Socket => None,
        };
        files.filter_map(key).collect()
    }

    fn entry(&self, key: &Key) -> Option<Entry> {
        let file = fs::metadata(self.state_file(key)).ok()?;
        let header = self.header(key)?;
        let blocks = match header.memory {
            Some(memory) => fs::metadata(self.dir.join(memory.name)).ok()?.blocks(),
            None => 0,
        };
        Some(Entry {
            name: key.to_string(),
            kernel: header.kernel,
            bytes: (file.blocks() + blocks) * 512,
            used: file.modified().ok()?,
        })
    }

    fn header(&self, key: &Key) -> Option<Header> {
        let mut bytes = Vec::new();
        private::open(&self.state_file(key)).ok()?.read_to_end(&mut bytes).ok()?;
        let (header, _) = state::from_bytes(&bytes).ok()?;
        has_memory_of(key, &header).then_some(header)
    }

    /// Called with the order's lock: what belongs to no entry was left by a process that died, and entries beyond the room
    /// go, but not `newest`. A socket is there for milliseconds and a claim for the length of a boot; an old one was left, too.
    fn make_room(&self, newest: &Key) {
        let mut used = 0;
        let mut owned = Vec::new();
        for entry in self.list() {
            used += entry.bytes;
            let Some(key) = Key::of_name(entry.name.as_ref()) else { continue };
            let Some(header) = self.header(&key) else { continue };
            if used > self.room && key != *newest {
                let _ = fs::remove_file(self.state_file(&key));
            } else {
                owned.extend(header.memory.map(|memory| memory.name));
            }
        }
        for file in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let data = file.metadata();
            let is_old = data.as_ref().is_ok_and(|data| {
                data.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > OLD))
            });
            let is_left = match kind_of(&file.file_name()) {
                Some(Kind::Memory) => !owned.iter().any(|name| *name == file.file_name().to_string_lossy()),
                Some(Kind::State(key)) => self.header(&key).is_none(),
                Some(Kind::Socket) => is_old,
                // One with a reason in it is still of use.
                Some(Kind::Lock) => is_old && data.is_ok_and(|data| data.len() == 0),
                None => false,
            };
            if is_left {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    fn state_file(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("{key}.state"))
    }

    /// Whether there is a folder. Nobody else may write what our guests run.
    fn is_there(&self) -> Result<bool, String> {
        private::is_folder(&self.dir)
    }

    /// Held while names are given and taken away, which is soon done: a process that was stopped with it is not waited for.
    fn order(&self) -> io::Result<File> {
        let order = self.lock_file(ORDER)?;
        let deadline = Instant::now() + ORDER_LIMIT;
        loop {
            match order.try_lock() {
                Ok(()) => return Ok(order),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let path = self.dir.join(ORDER);
                    return Err(io::Error::other(format!("another process holds {}", path.display())));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        private::lock_file(&self.dir.join(name))
    }

    /// A file that is gone with us until it is given a name.
    fn unnamed(&self) -> io::Result<File> {
        let flags = OFlag::O_TMPFILE.bits();
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(&self.dir)
    }
}

/// What a file of the folder is.
enum Kind {
    State(Key),
    Memory,
    Lock,
    Socket,
}

/// None for a file that is none of ours, and for the order's lock.
fn kind_of(name: &OsStr) -> Option<Kind> {
    let (stem, extension) = name.to_str()?.rsplit_once('.')?;
    let key = || Key::of_name(stem.as_ref());
    match extension {
        "state" => key().map(Kind::State),
        "lock" => key().map(|_| Kind::Lock),
        "memory" => {
            let key = Key::of_name(stem.split('-').next()?.as_ref())?;
            is_memory_of(&key, name.to_str()?).then_some(Kind::Memory)
        }
        "socket" => key().map(|_| Kind::Socket),
        _ => None,
    }
}

fn has_memory_of(key: &Key, header: &Header) -> bool {
    header.memory.as_ref().is_none_or(|memory| is_memory_of(key, &memory.name))
}

fn is_memory_of(key: &Key, name: &str) -> bool {
    let rest = name.strip_prefix(&key.to_string()).and_then(|rest| rest.strip_prefix('-'));
    rest.and_then(|rest| rest.strip_suffix(".memory")).is_some_and(is_random)
}

fn is_random(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The last reason of this boot of the host, when there are enough of them.
fn struck_out<'a>(known: &'a str, boot_id: &str) -> Option<&'a str> {
    let strikes = known.lines().filter_map(|line| {
        let (weight, reason) = line.strip_prefix(boot_id)?.strip_prefix(' ')?.split_once(' ')?;
        Some((weight.parse::<u32>().ok()?, reason))
    });
    let (weight, reason) = strikes.fold((0, None), |(sum, _), (weight, reason)| (sum + weight, Some(reason)));
    reason.filter(|_| weight >= STRIKES)
}

/// Memory for a guest that may be kept.
fn guest_memory(bytes: u64) -> io::Result<File> {
    host::may_write(bytes)?;
    let memory = File::from(memfd_create("vmtest-guest-memory", MFdFlags::MFD_CLOEXEC)?);
    memory.set_len(bytes)?;
    Ok(memory)
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
