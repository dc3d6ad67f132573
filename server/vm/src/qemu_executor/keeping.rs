//! Whether a guest is resumed or boots, and whether it is kept.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::task::JoinHandle;

use super::booting::NotUp;
use super::warming::Purpose;
use super::{Booted, Ran, Run};
use crate::clock::awake;
use crate::decide;
use crate::event::{Accelerator, EventKind};
use crate::live::{Beginning, Live, ParkError};
use crate::prepare::{Prepared, PreparedSystem};
use crate::qemu::machine::Machine;
use crate::snapshot::{Claim, FileId, Identity, Key, Snapshots, Strike, Template};

/// Why a guest is not kept where the machine is not all ours.
pub(super) const UNKNOWN_MACHINE: &str = "with `vm.extra_args` or `qemu_command` every guest boots";

/// Why no image's guest is kept: what it has on its disk is its own, and would be as old as its state.
pub(super) const IMAGES_BOOT: &str = "an image's guest always boots";

/// What one run knows of kept guests.
#[derive(Debug)]
pub(super) struct Keeping {
    /// None when this run's guest has to boot.
    snapshots: Option<Snapshots>,
    /// The kept guest that the machine was resumed from; its file, where it has one.
    resumed_from: Option<(Key, Option<FileId>)>,
    /// Why the kernel has to boot.
    cold_because: Option<String>,
    /// The guest that is being given its name.
    publishing: Option<JoinHandle<io::Result<()>>>,
}

/// Where a guest comes from.
pub(super) enum Source {
    /// It was kept.
    Snapshot(Template),
    /// It boots, and is kept.
    BootAndKeep(Keeper),
    /// It boots.
    Boot,
}

/// What it takes to keep a guest.
pub(super) struct Keeper {
    snapshots: Snapshots,
    pub(super) claim: Claim,
    /// The kernel's file when the key was made: QEMU reads it again by its path.
    kernel: Identity,
}

/// A guest that was parked, and resumed since.
struct ParkedGuest {
    template: Template,
    /// Whether it is on the disk. Where it cannot be, this run goes on with it in memory.
    written: io::Result<()>,
}

/// Why a guest was not resumed.
enum NotResumed {
    Cancelled,
    /// QEMU cannot take it, and never will.
    Refused(String),
    /// Perhaps it only took too long.
    Hung(String),
}

impl Keeping {
    pub(super) fn new(snapshots: Option<Snapshots>) -> Self {
        let switched_off = "snapshots are switched off for this run".to_owned();
        let cold_because = snapshots.is_none().then_some(switched_off);
        Self { snapshots, resumed_from: None, cold_because, publishing: None }
    }

    /// Whether the present guest was resumed, be it from a guest that this very run has kept.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed_from.is_some()
    }

    /// Why the kernel had to boot.
    pub(super) fn cold_because(&self) -> Option<String> {
        self.cold_because.clone()
    }

    /// Looks for a kept guest, and where there is none asks for the right to keep one.
    pub(super) async fn source(&mut self, machine: &Machine, prepared: &Prepared) -> Source {
        let Some(snapshots) = self.snapshots.clone() else { return Source::Boot };
        let PreparedSystem::Kernel(kernel) = &prepared.system else {
            self.cold_because = Some(IMAGES_BOOT.to_owned());
            return Source::Boot;
        };
        let (source, because) = if machine.sandbox {
            let (machine, qemu, file) = (machine.clone(), prepared.qemu.clone(), kernel.file.clone());
            let initramfs = kernel.initramfs.try_clone();
            let look = move || find_or_claim(snapshots, &machine, &file, &qemu, &initramfs?);
            let found = tokio::task::spawn_blocking(look).await.map_err(io::Error::other).flatten();
            let unknown = |error| (Source::Boot, Some(format!("what it depends on cannot be read: {error}")));
            found.unwrap_or_else(unknown)
        } else {
            (Source::Boot, Some(UNKNOWN_MACHINE.to_owned()))
        };
        self.cold_because = because;
        self.resumed_from = None;
        if let Source::Snapshot(template) = &source {
            self.resumed_from = Some((template.key.clone(), template.file));
        }
        source
    }

    /// Gives a guest that has proved itself its name, which takes as long as the disk does; not one that could not be written.
    fn publish(&mut self, keeper: Keeper, release: String, parked: ParkedGuest) {
        self.resumed_from = Some((keeper.claim.key().clone(), None));
        self.publishing = Some(tokio::task::spawn_blocking(move || {
            parked.written?;
            keeper.snapshots.publish(&keeper.claim, &release, &parked.template)
        }));
    }

    /// Waits until what is kept has its name, if there is something.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        match self.publishing.take() {
            Some(publishing) => publishing.await.map_err(io::Error::other).flatten(),
            None => Ok(()),
        }
    }

    /// Forgets a kept guest that is of no use.
    fn remove(&self, template: &Template) {
        if let (Some(snapshots), Some(file)) = (&self.snapshots, template.file) {
            snapshots.remove(&template.key, file);
        }
    }

    /// From here on this run's guest boots. Returns what it was resumed from.
    fn give_up(&mut self, sentence: String) -> Option<Suspect> {
        self.cold_because = Some(sentence);
        let (snapshots, (key, file)) = (self.snapshots.take()?, self.resumed_from.take()?);
        Some(Suspect { snapshots, key, file })
    }
}

/// A kept guest that may be at fault.
pub(super) struct Suspect {
    snapshots: Snapshots,
    key: Key,
    file: Option<FileId>,
}

impl Suspect {
    /// It was: the same kernel has just booted and come further. Not kept again at once, nor for long.
    pub(super) fn convict(&self, reason: &str) {
        self.snapshots.strike(&self.key, Strike::Hung, reason);
        let published = || self.snapshots.find(&self.key).ok().flatten()?.file;
        if let Some(file) = self.file.or_else(published) {
            self.snapshots.remove(&self.key, file);
        }
    }
}

fn find_or_claim(
    snapshots: Snapshots,
    machine: &Machine,
    file: &Path,
    qemu: &Path,
    initramfs: &OwnedFd,
) -> io::Result<(Source, Option<String>)> {
    let kernel = Identity::of(&File::open(file)?)?;
    let key = Key::new(machine, file, qemu, initramfs)?;
    let because = match snapshots.find(&key) {
        Ok(Some(template)) => return Ok((Source::Snapshot(template), None)),
        Ok(None) => "there is no snapshot yet".to_owned(),
        Err(unusable) => {
            if let Some(file) = unusable.damaged {
                snapshots.remove(&key, file);
            }
            format!("the snapshot could not be used: {}", unusable.reason)
        }
    };
    let claim = match snapshots.claim(key.clone(), machine.memory_bytes) {
        Ok(claim) => claim,
        Err(reason) => return Ok((Source::Boot, Some(format!("{because}, and {reason}")))),
    };
    // Another run may have kept it between the look and the claim.
    if let Ok(Some(template)) = snapshots.find(&key) {
        return Ok((Source::Snapshot(template), None));
    }
    Ok((Source::BootAndKeep(Keeper { snapshots, claim, kernel }), Some(because)))
}

impl Run<'_> {
    /// The guest boots instead of being resumed or kept, and the user is told.
    pub(super) async fn boot_instead(&mut self, sentence: String) -> Option<Suspect> {
        self.say(EventKind::Notice { message: format!("{sentence}; booting instead") }).await;
        self.keeping.give_up(sentence)
    }

    /// Keeps a guest that has booted, and goes on with what was kept: so it is tried before it has a name.
    pub(super) async fn keep(
        &mut self,
        machine: &Machine,
        prepared: &Prepared,
        booted: Booted,
        keeper: Keeper,
    ) -> Result<Booted, NotUp> {
        let cancel = self.io.cancel.clone();
        let kept = tokio::select! {
            kept = self.park_and_resume(machine, prepared, booted, &keeper) => kept,
            () = cancel.cancelled() => return Err(NotUp::cancelled()),
        };
        match kept {
            Ok((parked, resumed)) => {
                if let PreparedSystem::Kernel(kernel) = &prepared.system
                    && File::open(&kernel.file)
                        .and_then(|file| Identity::of(&file))
                        .is_ok_and(|now| now == keeper.kernel)
                {
                    self.keeping.publish(keeper, kernel.release.clone(), parked);
                }
                Ok(resumed)
            }
            Err((strike, reason)) => {
                // Who lets others go first may seem to hang without a fault.
                let counts = |strike: &Strike| self.purpose == Purpose::Command || *strike != Strike::Hung;
                if let Some(strike) = strike.filter(counts) {
                    keeper.snapshots.strike(keeper.claim.key(), strike, &reason);
                }
                Err(NotUp::BootInstead(format!("the guest could not be kept: {reason}")))
            }
        }
    }

    /// Resumes a guest that was kept. One that QEMU refuses is kept no longer.
    pub(super) async fn resume_kept(
        &self,
        machine: &Machine,
        prepared: &Prepared,
        template: &Template,
    ) -> Result<Booted, NotUp> {
        let reason = match self.resume(machine, prepared, template).await {
            Ok(booted) => return Ok(booted),
            Err(NotResumed::Cancelled) => return Err(NotUp::cancelled()),
            Err(NotResumed::Refused(reason)) => {
                self.keeping.remove(template);
                reason
            }
            Err(NotResumed::Hung(reason)) => reason,
        };
        Err(NotUp::BootInstead(format!("the snapshot could not be used: {reason}")))
    }

    async fn park_and_resume(
        &self,
        machine: &Machine,
        prepared: &Prepared,
        booted: Booted,
        keeper: &Keeper,
    ) -> Result<(ParkedGuest, Booted), (Option<Strike>, String)> {
        let (state, report) = booted.live.park(&keeper.claim, booted.monitor).await;
        decide::may_be_kept(&report).map_err(|reason| (Some(Strike::Refused), reason))?;
        let state = state.map_err(|error| match error {
            ParkError::Refused(error) => (Some(Strike::Refused), error.to_string()),
            ParkError::Failed(error) => (None, error.to_string()),
        })?;
        let mut template = keeper.claim.template(state).map_err(|error| (None, error.to_string()))?;
        // A quarter of a gigabyte into the page cache, once for each kernel.
        let written = tokio::task::block_in_place(|| keeper.claim.write(&mut template));
        match self.resume(machine, prepared, &template).await {
            Ok(resumed) => Ok((ParkedGuest { template, written }, resumed)),
            Err(NotResumed::Refused(reason)) => Err((Some(Strike::Refused), reason)),
            Err(NotResumed::Hung(reason)) => Err((Some(Strike::Hung), reason)),
            Err(NotResumed::Cancelled) => Err((None, "it was cancelled".to_owned())),
        }
    }

    /// Starts QEMU with a guest that was kept, and waits for the agent's first answer.
    async fn resume(
        &self,
        machine: &Machine,
        prepared: &Prepared,
        template: &Template,
    ) -> Result<Booted, NotResumed> {
        let beginning = Beginning::Resume(template);
        let started = Live::start(prepared, machine, beginning, self.purpose.priority(), &self.io.events);
        let mut live =
            started.await.map_err(|error| NotResumed::Hung(format!("QEMU cannot be started: {error}")))?;
        let answered = async {
            let mut monitor = live.connect_monitor().await?;
            live.unpark(template, &mut monitor).await?;
            live.agent.answer().await?;
            Ok::<_, io::Error>(monitor)
        };
        let limit = self.limits(Accelerator::Tcg).resume;
        let answered = tokio::select! {
            () = self.io.cancel.cancelled() => Err(NotResumed::Cancelled),
            () = awake(limit) => {
                Err(NotResumed::Hung(format!("it did not answer within {} s", limit.as_secs_f64())))
            }
            answered = answered => answered.map_err(|error| NotResumed::Refused(error.to_string())),
        };
        match answered {
            Ok(monitor) => Ok(Booted { live, monitor }),
            Err(NotResumed::Refused(reason)) => {
                // QEMU's own words say more than that it is gone.
                let report = live.end(None).await;
                Err(NotResumed::Refused(report.qemu_stderr.first().cloned().unwrap_or(reason)))
            }
            Err(other) => {
                live.end(None).await;
                Err(other)
            }
        }
    }

    /// What a guest was resumed from that came to its end before its command could run: it may be at fault, so another boots.
    pub(super) async fn boots_after(&mut self, ran: &Ran) -> Option<Suspect> {
        let Ran { end, report } = ran;
        let in_vain = decide::was_resumed_in_vain(end, report.may_have_run);
        if !self.keeping.is_resumed() || !report.bugs.is_empty() || !in_vain {
            return None;
        }
        // One that this run has kept has its name then, by which it can be found.
        let _ = self.keeping.settle().await;
        self.boot_instead(format!("the snapshot could not be used: its guest was not set up ({end})")).await
    }
}
