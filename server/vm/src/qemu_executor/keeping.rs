//! Whether a guest is resumed or boots, and whether it is kept.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Booted, Run};
use crate::clock::awake;
use crate::decide::BootEnd;
use crate::event::{EventKind, Start};
use crate::live::{Beginning, Live};
use crate::prepare::Prepared;
use crate::qemu::machine::Machine;
use crate::snapshot::{Claim, Key, Snapshots, Template};

/// A kept guest answers within a tenth of a second; on a host with a hundred others it takes longer.
const RESUME: Duration = Duration::from_secs(20);

/// What one run knows of kept guests.
#[derive(Debug)]
pub(super) struct Keeping {
    /// None when this run's guest has to boot.
    snapshots: Option<Snapshots>,
    /// The kept guest that the machine was resumed from.
    resumed_from: Option<Key>,
    /// Why the kernel has to boot.
    cold_because: Option<String>,
    /// The guest that is being given its name.
    publishing: Option<JoinHandle<()>>,
}

/// Where a guest comes from.
pub(super) enum Source {
    /// It was kept.
    Snapshot(Key, Template),
    /// It boots, and is kept.
    BootAndKeep(Claim, Snapshots),
    /// It boots.
    Boot,
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
        let (source, because) = if machine.sandbox {
            let (machine, qemu) = (machine.clone(), prepared.qemu.clone());
            let initramfs = prepared.initramfs.try_clone();
            let look = move || find_or_claim(snapshots, &machine, &qemu, &initramfs?);
            let found = tokio::task::spawn_blocking(look).await.map_err(io::Error::other).flatten();
            found.unwrap_or_else(|error| (Source::Boot, Some(error.to_string())))
        } else {
            let why = "with `vm.extra_args` or `qemu_command` every guest boots".to_owned();
            (Source::Boot, Some(why))
        };
        self.cold_because = because;
        if let Source::Snapshot(key, _) = &source {
            self.resumed_from = Some(key.clone());
        }
        source
    }

    /// Gives a kept guest that has proved itself its name, which takes as long as the disk does.
    fn publish(&mut self, snapshots: Snapshots, claim: Claim, release: String, template: Template) {
        self.resumed_from = Some(claim.key().clone());
        self.publishing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = snapshots.publish(&claim, &release, &template) {
                tracing::warn!(%error, "the guest is not kept");
            }
        }));
    }

    /// Waits until what is kept has its name.
    pub(super) async fn settle(&mut self) {
        if let Some(publishing) = self.publishing.take() {
            // A guest that is not kept boots again, no more.
            let _ = publishing.await;
        }
    }

    /// From here on this run's guest boots; what it was resumed from is removed. Returns the sentence that says so.
    async fn give_up(&mut self, reason: &str) -> String {
        self.settle().await;
        if let (Some(snapshots), Some(key)) = (self.snapshots.take(), self.resumed_from.take()) {
            snapshots.remove(&key);
        }
        let sentence = format!("the snapshot could not be used: {reason}");
        self.cold_because = Some(sentence.clone());
        sentence
    }
}

fn find_or_claim(
    snapshots: Snapshots,
    machine: &Machine,
    qemu: &Path,
    initramfs: &OwnedFd,
) -> io::Result<(Source, Option<String>)> {
    let key = Key::new(machine, qemu, initramfs)?;
    let because = match snapshots.find(&key) {
        Ok(Some(template)) => return Ok((Source::Snapshot(key, template), None)),
        Ok(None) => "there is no snapshot yet".to_owned(),
        Err(reason) => {
            snapshots.remove(&key);
            format!("the snapshot could not be used: {reason}")
        }
    };
    Ok(match snapshots.claim(key) {
        Ok(claim) => (Source::BootAndKeep(claim, snapshots), Some(because)),
        Err(reason) => (Source::Boot, Some(format!("{because}, and {reason}"))),
    })
}

impl Run<'_> {
    /// The guest boots instead of being resumed, and the user is told.
    pub(super) async fn give_up_snapshot(&mut self, reason: &str) {
        let sentence = self.keeping.give_up(reason).await;
        self.say(EventKind::Notice { message: format!("{sentence}; booting instead") }).await;
    }

    /// Keeps a guest that has booted, and goes on with what was kept: so it is tried before it has a name.
    pub(super) async fn keep(
        &mut self,
        machine: &Machine,
        prepared: &Prepared,
        booted: Booted,
        claim: Claim,
        snapshots: Snapshots,
    ) -> Result<Booted, BootEnd> {
        let kept = async {
            let unkept = |error: io::Error| BootEnd::Unreachable(error.to_string());
            let parked = booted.live.park(booted.monitor).await.map_err(unkept)?;
            let store = snapshots.clone();
            let written = tokio::task::spawn_blocking(move || store.write(parked)).await;
            let template = written.map_err(io::Error::other).flatten().map_err(unkept)?;
            let resumed = self.resume(machine, prepared, &template, Start::Cold).await?;
            Ok((template, resumed))
        };
        match kept.await {
            Ok((template, resumed)) => {
                self.keeping.publish(snapshots, claim, prepared.release.clone(), template);
                Ok(resumed)
            }
            Err(end) => {
                // A host that was too busy may be less so the next time.
                if !matches!(end, BootEnd::TimedOut(_) | BootEnd::Cancelled) {
                    claim.give_up(&end.to_string());
                }
                Err(end)
            }
        }
    }

    /// Starts QEMU with a guest that was kept, and waits for the agent's first answer.
    pub(super) async fn resume(
        &self,
        machine: &Machine,
        prepared: &Prepared,
        template: &Template,
        start: Start,
    ) -> Result<Booted, BootEnd> {
        let beginning = Beginning::Resume(template);
        let mut live = Live::start(&prepared.qemu, machine, &prepared.initramfs, beginning, &self.io.events)
            .await
            .map_err(|error| BootEnd::NotStarted(error.to_string()))?;
        let answered = async {
            let mut monitor = live.connect_monitor().await?;
            live.unpark(template, &mut monitor).await?;
            live.agent.answer().await?;
            Ok::<_, io::Error>(monitor)
        };
        let answered = tokio::select! {
            () = self.io.cancel.cancelled() => Err(BootEnd::Cancelled),
            () = awake(RESUME) => Err(BootEnd::TimedOut(RESUME)),
            answered = answered => answered.map_err(|error| BootEnd::Unreachable(error.to_string())),
        };
        match answered {
            Ok(monitor) => Ok(Booted { live, monitor, start, began: false }),
            Err(end) => {
                let report = live.end(None).await;
                tracing::debug!(?end, ?report, "a guest could not be resumed");
                Err(end)
            }
        }
    }
}
