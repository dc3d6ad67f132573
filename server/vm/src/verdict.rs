//! How a target ended, and the exit statuses that say so.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The truth about a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The command exited with 0 and the kernel reported no bug.
    Passed,
    /// The command exited with another status.
    Failed {
        /// 1 to 255.
        exit_code: i32,
    },
    /// A signal ended the command.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// The command took longer than `timeout`.
    TimedOut {
        /// The limit, in seconds.
        #[serde(serialize_with = "as_secs", rename = "limit_seconds")]
        limit: Duration,
    },
    /// The kernel reported a bug, whatever the command said.
    KernelBug {
        /// The line that names it.
        title: String,
    },
    /// The command never started.
    BootFailed(Failure),
    /// The machine went away under the command.
    Lost(Failure),
    /// The user stopped it.
    Cancelled,
}

/// Why there is no answer from the command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// One sentence: what happened.
    pub reason: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    /// The last lines of the console.
    pub console: Vec<String>,
    /// What QEMU itself said.
    pub qemu_stderr: Vec<String>,
}

fn as_secs<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The file, an option or a name on the command line is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;
/// The user stopped the run (128 + SIGINT).
pub const EXIT_CANCELLED: u8 = 130;

impl Verdict {
    /// Whether the target did what it should.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// The status that `vmtest` exits with when this was the only target.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Passed => 0,
            // A status outside 1..=255 cannot come from wait(2); whatever came must not read as a pass.
            Self::Failed { exit_code } => {
                u8::try_from(*exit_code).ok().filter(|code| *code != 0).unwrap_or(1)
            }
            Self::Killed { signal } => u8::try_from(128 + *signal).unwrap_or(255),
            Self::TimedOut { .. } => 124,
            Self::KernelBug { .. } => 70,
            Self::BootFailed(_) | Self::Lost(_) => 69,
            Self::Cancelled => EXIT_CANCELLED,
        }
    }
}

/// The exit status of a run: the one target's own, else the number that did not pass, at most 125.
pub fn run_exit_status(verdicts: &[Verdict]) -> u8 {
    match verdicts {
        [only] => only.exit_status(),
        many => many.iter().filter(|verdict| !verdict.passed()).count().min(125) as u8,
    }
}
