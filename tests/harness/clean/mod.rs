//! What must hold when a run is over, however it ended.
//!
//! * no process of the run: `processes`, `children`;
//! * no socket, no temporary file, nothing beside vmtest.toml: `files`;
//! * no half-written entry of the cache: `cache`;
//! * exactly one `finished` for each target, the documented exit status, no panic: [`ending`];
//! * terminal modes as before: [`super::Pty`]; descriptors of a process that lives on: [`descriptors`].
//!
//! A [`Watch`] looks at the first three around each run. Runs go on beside each other, and some of what they can leave bears
//! no name of theirs: what appeared while several went on is the last one's to answer for, so that none is blamed for what
//! another still has in use.

mod cache;
mod children;
pub mod descriptors;
pub mod ending;
mod files;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use children::start;
pub use files::Files;
pub use processes::{MARK, Process, peak_memory, processes};

/// How long something may be there after `vmtest`: the promise is 1 s, the rest is for a machine with other work.
pub const GRACE: Duration = Duration::from_secs(2);

/// Where a run may write.
#[derive(Debug, Clone)]
pub struct Place {
    /// Holds everything else, and no socket afterwards.
    pub base: PathBuf,
    /// Directories that must be empty afterwards, by their names below `base`.
    pub empty: Vec<&'static str>,
    /// What programs that are not ours leave there all the same.
    pub strangers: BTreeSet<PathBuf>,
    /// Where `vmtest` caches, `$XDG_CACHE_HOME/vmtest`. Below `base`, it is for the runs of one project after each other: what
    /// one that was killed left half-written, the next must tidy.
    pub cache: PathBuf,
    /// The directory of vmtest.toml, where nothing may appear but what is named here.
    pub project: Option<(PathBuf, BTreeSet<PathBuf>)>,
}

/// What a run can leave where other runs are at work, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Orphan(Process),
    Temporary(PathBuf),
    HalfWritten(PathBuf),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orphan(process) => write!(f, "a process that left its parent: {process:?}"),
            Self::Temporary(path) => write!(f, "a temporary file: {}", path.display()),
            Self::HalfWritten(path) => write!(f, "a half-written entry of the cache: {}", path.display()),
        }
    }
}

/// A run that goes on.
#[derive(Debug)]
struct GoingOn {
    place: Place,
    /// What there was when it began.
    before: BTreeSet<Left>,
}

impl GoingOn {
    /// What there is now and was not then.
    fn new_ones(&self) -> BTreeSet<Left> {
        &look(&self.place) - &self.before
    }
}

fn look(place: &Place) -> BTreeSet<Left> {
    let orphans = children::orphans().into_iter().map(Left::Orphan);
    let temporary = files::temporary().into_iter().map(Left::Temporary);
    let half_written = cache::half_written(&place.cache).into_iter().map(Left::HalfWritten);
    orphans.chain(temporary).chain(half_written).collect()
}

static ALL: Mutex<BTreeMap<usize, GoingOn>> = Mutex::new(BTreeMap::new());

fn all() -> std::sync::MutexGuard<'static, BTreeMap<usize, GoingOn>> {
    ALL.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Looks at what a run leaves. Made before the run is started.
#[derive(Debug)]
pub struct Watch {
    id: usize,
    mark: String,
    place: Place,
    beside: Files,
}

impl Watch {
    /// Looks at what is there before the run.
    pub fn begin(place: Place) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{id}", std::process::id());
        let mut before = look(&place);
        if place.cache.starts_with(&place.base) {
            before.retain(|left| !matches!(left, Left::HalfWritten(_)));
        }
        let beside = place.project.as_ref().map(|(dir, _)| Files::of(dir)).unwrap_or_default();
        all().insert(id, GoingOn { place: place.clone(), before });
        Self { id, mark, place, beside }
    }

    /// The value of [`MARK`] in the environment of the run.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The processes of the run, but for that which was started.
    pub fn processes(&self, started: i32) -> Vec<Process> {
        processes(&self.mark, started)
    }

    /// What the run left when the process that was started has ended, in words. Processes are ended here. A run that was
    /// `killed` may leave staging behind; the next one must not.
    pub fn end(&self, started: i32, killed: bool) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        let (processes, others) = loop {
            let (processes, others) = (self.processes(started), self.to_answer_for(killed));
            if (processes.is_empty() && others.is_empty()) || Instant::now() > deadline {
                break (processes, others);
            }
            // A process of somebody else gives no event to wait for.
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said: Vec<_> =
            processes.iter().map(|process| format!("a process of the run: {process:?}")).collect();
        for process in &processes {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        for left in &others {
            said.push(left.to_string());
            if let Left::Orphan(process) = left {
                children::end(process);
            }
        }
        said.extend(self.own_files());
        said
    }

    fn to_answer_for(&self, killed: bool) -> BTreeSet<Left> {
        let mut all = all();
        let Some(mine) = all.get(&self.id) else { return BTreeSet::new() };
        let mut left = mine.new_ones();
        if killed {
            // Nor is it the fault of one that goes on beside it.
            let is_excused = |left: &Left| matches!(left, Left::HalfWritten(_));
            let excused: BTreeSet<_> = left.iter().filter(|left| is_excused(left)).cloned().collect();
            left = &left - &excused;
            for going_on in all.values_mut() {
                going_on.before.extend(excused.iter().cloned());
            }
        }
        if !left.is_empty() {
            let others = all.iter().filter(|(id, _)| **id != self.id);
            for (_, other) in others {
                left = &left - &other.new_ones();
            }
        }
        left
    }

    /// What lies where nobody else writes.
    fn own_files(&self) -> Vec<String> {
        let Place { base, empty, strangers, project, cache } = &self.place;
        let mut said = Vec::new();
        for name in empty {
            let files = Files::of(&base.join(name)).new_since(&Files::default(), strangers);
            if !files.is_empty() {
                said.push(format!("files in {name}: {files:?}"));
            }
        }
        if let Some((dir, leaves)) = project {
            let new = Files::of(dir).new_since(&self.beside, leaves);
            if !new.is_empty() {
                said.push(format!("files beside vmtest.toml: {new:?}"));
            }
        }
        let mut sockets = files::sockets_below(base);
        // Those of the cache are among what is half-written.
        let cache = real(cache);
        sockets.retain(|socket| !socket.starts_with(&cache));
        if !sockets.is_empty() {
            said.push(format!("sockets: {sockets:?}"));
        }
        said
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        all().remove(&self.id);
    }
}

/// The path by which everybody knows a file.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
