//! A guest that is kept before anybody asks for one.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_config::{System, Target};

use super::keeping::{IMAGES_BOOT, UNKNOWN_MACHINE};
use super::{QemuExecutor, Run};
use crate::decide::Limits;
use crate::event::Accelerator;
use crate::executor::{TargetIo, Warmed};
use crate::prepare;
use crate::qemu::process::Priority;
use crate::sources;
use crate::verdict::Verdict;
use crate::wording;

/// How long a guest that is all but kept may take to get its name when it is no longer to be waited for: a run that comes now
/// is faster with it.
const LAST_STEP: Duration = Duration::from_secs(2);

/// What a guest is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The target's command, for which the user waits.
    Command,
    /// To be kept. Nobody waits for that.
    Keeping,
}

impl Purpose {
    pub(super) fn priority(self) -> Priority {
        match self {
            Self::Command => Priority::Normal,
            Self::Keeping => Priority::Low,
        }
    }

    pub(super) fn limits(self, target: &Target, accelerator: Accelerator) -> Limits {
        let limits = Limits::of(target, accelerator);
        match self {
            Self::Command => limits,
            Self::Keeping => limits.of_who_goes_last(),
        }
    }
}

/// Makes sure that a guest is kept for `target`.
pub(super) async fn warm(executor: &QemuExecutor, target: &Target, cancel: CancellationToken) -> Warmed {
    // Nobody listens, so what the user is to be told once is still to be told.
    let (events, _) = mpsc::channel(1);
    let unheard = executor.unheard();
    let io = TargetIo { events, cancel, terminal: None };
    // Nothing is fetched for a guest that nobody waits for.
    let sources = match sources::kept(target, &unheard.cache) {
        Ok(sources) => sources,
        Err(failure) => return Warmed::NotKept(failure.reason),
    };
    let mut run = Run::new(&unheard, &sources.target, io, Purpose::Keeping);
    match run.make_ready().await {
        Ok(warmed) => warmed,
        Err(Verdict::Cancelled) => Warmed::Cancelled,
        Err(verdict) => Warmed::NotKept(wording::headline(&verdict).unwrap_or_default()),
    }
}

impl Run<'_> {
    /// Everything, in order. An error is a verdict that was reached before there was a guest.
    async fn make_ready(&mut self) -> Result<Warmed, Verdict> {
        // Before anything else, so that nothing of what the user's own machine is made of is touched.
        if !prepare::is_ours_alone(self.target) {
            return Ok(Warmed::NotKept(UNKNOWN_MACHINE.to_owned()));
        }
        if let System::Image(_) = self.target.system {
            return Ok(Warmed::NotKept(IMAGES_BOOT.to_owned()));
        }
        prepare::supported(self.target).map_err(Verdict::BootFailed)?;
        let mut prepared = self.prepare().await?;
        // Nothing of the project is served, and what is kept does not depend on it.
        prepared.virtiofsd = None;
        let warmed = match self.get_up(&mut prepared).await {
            Ok(booted) => {
                booted.live.end(Some(booted.monitor)).await;
                self.name_what_is_kept().await?
            }
            Err(Verdict::Cancelled) if !self.io.cancel.is_cancelled() => match self.keeping.cold_because() {
                None => Warmed::AlreadyKept,
                Some(reason) => Warmed::NotKept(reason),
            },
            Err(verdict) => return Err(verdict),
        };
        // A run needs them besides its guest. Last, because what is cancelled before then has started no `depmod`.
        if let Some(links) = prepared.indexes().cloned()
            && let Ok(Err(sentence)) = self.make_indexes(links).made.await
        {
            // The run says so, where it matters.
            tracing::debug!(sentence, "no module indexes");
        }
        if self.io.cancel.is_cancelled() { Err(Verdict::Cancelled) } else { Ok(warmed) }
    }

    /// Waits for the name of the guest that was made.
    async fn name_what_is_kept(&mut self) -> Result<Warmed, Verdict> {
        if !self.keeping.is_resumed() {
            return Ok(Warmed::NotKept("the kernel was replaced while it booted".to_owned()));
        }
        let cancel = self.io.cancel.clone();
        let too_late = async {
            cancel.cancelled().await;
            tokio::time::sleep(LAST_STEP).await;
        };
        tokio::select! {
            named = self.keeping.settle() => Ok(match named {
                Ok(()) => Warmed::KeptNow,
                Err(error) => Warmed::NotKept(error.to_string()),
            }),
            () = too_late => Err(Verdict::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use vmtest_config as config;

    use super::*;
    use crate::executor::Executor as _;

    /// What comes of a target with these keys; nothing of the cache may be touched.
    async fn not_kept(keys: &str) -> String {
        let cache = tempfile::tempdir().unwrap();
        let text = format!("[[target]]\nname = 't'\ncommand = 'true'\n{keys}");
        let target = config::load(&text, "/project".as_ref()).unwrap().targets.remove(0).target;
        let executor = QemuExecutor::new(cache.path());
        let warmed = executor.warm(&target, CancellationToken::new()).await;
        assert_eq!(cache.path().read_dir().unwrap().count(), 0, "{warmed:?}");
        match warmed {
            Warmed::NotKept(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_machine_of_the_users_own_is_not_touched() {
        for keys in
            ["kernel = 'k'\nqemu_command = './q'", "kernel = 'k'\n[target.vm]\nextra_args = ['-name', 'x']"]
        {
            assert_eq!(not_kept(keys).await, UNKNOWN_MACHINE);
        }
    }

    #[tokio::test]
    async fn what_a_run_refuses_is_not_kept() {
        assert_eq!(not_kept("image = 'i'").await, IMAGES_BOOT);
        assert!(not_kept("kernel = 'k'\narch = 's390x'").await.contains("s390x"));
        assert!(not_kept("kernel = '/nonexistent/k'").await.starts_with("Boot failed: "));
    }
}
