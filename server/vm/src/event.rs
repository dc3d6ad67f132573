//! What a run tells its listeners: one event type for the terminal, JSON lines, `JUnit` and the editors.
//!
//! `docs/protocol.md` describes the JSON form; a test holds it to these types.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::verdict::Verdict;
use crate::wording;

/// One thing that happened to one target of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunEvent {
    /// The run that it belongs to; the same for every target of it.
    pub run_id: RunId,
    /// The target's name.
    pub target: String,
    /// The target's place in the run, from 0: names need not be unique.
    pub index: usize,
    /// Counts this target's events from 0, without a gap.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Names a run; unique on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl RunId {
    /// A new name, from the time and the process.
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:x}-{:x}-{count}", now.as_millis(), std::process::id()))
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

/// What can happen to a target, in the order in which it happens. `Downloading`, `Notice`, `Console`, `Output` and
/// `KernelBug` repeat;
/// `Finished` is always the last and comes exactly once.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The target waits for its turn.
    Queued,
    /// What it boots is fetched, because it is not in the cache.
    Downloading {
        /// Where it comes from, without a password.
        url: String,
        /// Bytes that are there.
        received: u64,
        /// Bytes that there will be, where that is known.
        total: Option<u64>,
    },
    /// The kernel is read and the initramfs built.
    Preparing,
    /// QEMU starts.
    Booting {
        /// What runs the guest's instructions.
        accelerator: Accelerator,
        /// 1 for the first boot, 2 for a retry.
        attempt: u32,
    },
    /// A sentence that the user should read once: a fallback and its reason, something the kernel lacks.
    Notice {
        /// One sentence, without a final line break.
        message: String,
    },
    /// A line of the guest's console, without its line break; control sequences untouched.
    Console {
        /// The line; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// The agent answers; shares and mounts are set up next.
    Booted {
        /// From QEMU's start to the agent's first answer.
        seconds: f64,
        /// What runs the guest's instructions.
        accelerator: Accelerator,
        /// How the guest came to life.
        start: Start,
        /// Why its kernel had to boot; none when it had not.
        cold_because: Option<String>,
        /// How directories are shared.
        share: ShareKind,
    },
    /// The command's first process runs.
    CommandStarted,
    /// The command wrote something; bytes as they came, in order.
    Output(Output),
    /// The kernel reported a bug of its own.
    KernelBug {
        /// The line that names it.
        title: String,
        /// The console around it.
        excerpt: Vec<String>,
    },
    /// The target is done.
    Finished(Finished),
}

/// A piece of the command's output. In JSON `text` when it is UTF-8, else `base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where the command wrote it.
    pub stream: OutputStream,
    /// The bytes; a UTF-8 character is never split between two events.
    pub data: Bytes,
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("stream", &self.stream)?;
        match std::str::from_utf8(&self.data) {
            Ok(text) => map.serialize_entry("text", text)?,
            Err(_) => map.serialize_entry("base64", &BASE64.encode(&self.data))?,
        }
        map.end()
    }
}

/// One of the command's two outputs. A terminal has only `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// File descriptor 1, or the terminal.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// The name that QEMU's `-accel` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// How the guest came to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The kernel booted.
    Cold,
    /// A kept state was resumed.
    Snapshot,
}

/// How directories of the host reach the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ShareKind {
    /// QEMU's own 9p server.
    #[serde(rename = "9p")]
    NineP,
    /// A virtiofsd for each share.
    #[serde(rename = "virtiofs")]
    Virtiofs,
    /// By virtiofs what the guest can write, by 9p the rest.
    #[serde(rename = "mixed")]
    Mixed,
}

/// How a target ended. In JSON with a `headline` beside the verdict, so that all who show it say the same.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The truth about it.
    pub verdict: Verdict,
    /// Where the time went.
    pub durations: Durations,
    /// What the command wrote outside every writable share, and is gone.
    pub lost_writes: LostWrites,
}

impl Serialize for Finished {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            #[serde(flatten)]
            verdict: &'a Verdict,
            headline: Option<String>,
            durations: Durations,
            lost_writes: &'a LostWrites,
        }
        let Self { verdict, durations, lost_writes } = self;
        let headline = wording::headline(verdict);
        Json { verdict, headline, durations: *durations, lost_writes }.serialize(serializer)
    }
}

impl From<Verdict> for Finished {
    /// A target that came to its end before anything else was known about it.
    fn from(verdict: Verdict) -> Self {
        Self { verdict, durations: Durations::default(), lost_writes: LostWrites::default() }
    }
}

/// Seconds spent in each phase; 0 for one that was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Durations {
    /// Kernel read, initramfs built.
    #[serde(serialize_with = "seconds", rename = "prepare_seconds")]
    pub prepare: Duration,
    /// QEMU's start to the agent's first answer, failed attempts included.
    #[serde(serialize_with = "seconds", rename = "boot_seconds")]
    pub boot: Duration,
    /// The agent's first answer to the command's start.
    #[serde(serialize_with = "seconds", rename = "setup_seconds")]
    pub setup: Duration,
    /// The command's start to its end.
    #[serde(serialize_with = "seconds", rename = "command_seconds")]
    pub command: Duration,
    /// All of it, clean-up included.
    #[serde(serialize_with = "seconds", rename = "total_seconds")]
    pub total: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Milliseconds are all that the clock of a shared machine is worth.
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Files that the command wrote to the throw-away layer over the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LostWrites {
    /// How many there are.
    pub count: u64,
    /// The first of them, as absolute guest paths.
    pub paths: Vec<String>,
}
