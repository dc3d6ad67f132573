//! How a target is, from the run's start to the last word that is remembered of it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use vmtest_vm::event::RunId;
use vmtest_vm::verdict::Verdict;

use crate::protocol::TargetStatus;
use crate::uri::uri_of;

/// Names a target of a document through edits of its other parts: by name, and among equal names by order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetKey {
    /// Its name.
    pub(crate) name: String,
    /// How many targets of that name come before it.
    pub(crate) nth: usize,
}

impl TargetKey {
    /// The only target of a name, or the first.
    pub(crate) fn first(name: &str) -> Self {
        Self { name: name.to_owned(), nth: 0 }
    }

    /// The keys of a file's targets, from their names in order.
    pub(crate) fn all<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut seen = std::collections::HashMap::<&str, usize>::new();
        let key = |name| {
            let count = seen.entry(name).or_default();
            *count += 1;
            Self { name: name.to_owned(), nth: *count - 1 }
        };
        names.into_iter().map(key).collect()
    }
}

/// How a target is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum TargetState {
    /// It has not run.
    #[default]
    Idle,
    /// It waits for its turn.
    Queued,
    /// What it boots is fetched.
    Downloading {
        /// From when on.
        since: Instant,
        /// Bytes that are there.
        received: u64,
        /// Bytes that there will be, where that is known.
        total: Option<u64>,
    },
    /// Its kernel is read.
    Preparing {
        /// From when on.
        since: Instant,
    },
    /// Its machine starts and is set up.
    Booting {
        /// From when on.
        since: Instant,
    },
    /// Its command runs.
    Running {
        /// From when on.
        since: Instant,
    },
    /// It has run.
    Finished {
        /// How it ended.
        verdict: Verdict,
        /// All of it.
        took: Duration,
        /// The whole output, where it could be written.
        log: Option<PathBuf>,
    },
}

impl TargetState {
    /// Whether it can be stopped.
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self, Self::Idle | Self::Finished { .. })
    }

    /// What it is doing, in a word, and for how long.
    pub(crate) fn phase(&self) -> Option<(&'static str, Option<Duration>)> {
        match self {
            Self::Idle | Self::Finished { .. } => None,
            Self::Queued => Some(("queued", None)),
            Self::Downloading { since, .. } => Some(("downloading", Some(since.elapsed()))),
            Self::Preparing { since } => Some(("preparing", Some(since.elapsed()))),
            Self::Booting { since } => Some(("booting", Some(since.elapsed()))),
            Self::Running { since } => Some(("running", Some(since.elapsed()))),
        }
    }

    /// The same for the wire.
    pub(crate) fn status(&self, run_id: RunId) -> TargetStatus {
        // Tenths are all that a lens shows.
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        match self {
            Self::Idle => TargetStatus::Idle,
            Self::Queued => TargetStatus::Queued { run_id },
            Self::Downloading { since, .. } => {
                TargetStatus::Downloading { run_id, seconds: seconds(since.elapsed()) }
            }
            Self::Preparing { since } => {
                TargetStatus::Preparing { run_id, seconds: seconds(since.elapsed()) }
            }
            Self::Booting { since } => TargetStatus::Booting { run_id, seconds: seconds(since.elapsed()) },
            Self::Running { since } => TargetStatus::Running { run_id, seconds: seconds(since.elapsed()) },
            Self::Finished { verdict, took, log } => TargetStatus::Finished {
                run_id,
                seconds: seconds(*took),
                log: log.as_deref().and_then(uri_of),
                verdict: verdict.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_told_apart_by_order() {
        let keys = TargetKey::all(["a", "b", "a"]);
        assert_eq!(keys[0], TargetKey::first("a"));
        assert_eq!(keys[2], TargetKey { name: "a".into(), nth: 1 });
    }
}
