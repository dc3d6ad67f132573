//! How long each phase of a run may take.

use std::time::Duration;

use vmtest_config::{System, Target};

use crate::event::Accelerator;

/// A KVM guest's kernel speaks within a second; one that has not by then is not running, or crawling.
const KVM_SILENCE: Duration = Duration::from_secs(5);
/// An image's kernel may have no console, but then it reads its disk. Boot loaders wait for half a minute at most, for a choice.
const KVM_SILENCE_OF_IMAGE: Duration = Duration::from_secs(45);
/// An emulated guest may share its processor with many others.
const STALL: Duration = Duration::from_secs(60);
/// `boot_timeout` where the target has none.
const KVM_BOOT: Duration = Duration::from_secs(60);
const TCG_BOOT: Duration = Duration::from_secs(300);
/// A whole distribution, perhaps for the first time, with keys to make and a network to wait for.
const KVM_BOOT_OF_IMAGE: Duration = Duration::from_secs(300);
const TCG_BOOT_OF_IMAGE: Duration = Duration::from_secs(1200);
/// A kept guest answers within a tenth of a second; on a host with a hundred others it takes longer.
const RESUME: Duration = Duration::from_secs(20);
/// How long a guest that was resumed may take to be set up before it boots instead.
const RESUMED_SETUP: Duration = Duration::from_secs(60);

/// The limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From QEMU's start to the agent's first answer.
    pub(crate) boot: Duration,
    /// From QEMU's start to the kernel's first word, under KVM.
    pub(crate) silence: Duration,
    /// Between two signs of life in a boot.
    pub(crate) stall: Duration,
    /// From QEMU's start to the first answer of a kept guest.
    pub(crate) resume: Duration,
    /// From the agent's first answer to the command's start.
    pub(crate) setup: Duration,
    /// The same of a guest that was resumed.
    pub(crate) resumed_setup: Duration,
    /// The command itself; none where it may take as long as it likes.
    pub(crate) command: Option<Duration>,
}

impl Limits {
    /// Those of a target that somebody waits for.
    pub(crate) fn of(target: &Target, accelerator: Accelerator) -> Self {
        let is_image = matches!(target.system, System::Image(_));
        let (kvm, tcg) = if is_image { (KVM_BOOT_OF_IMAGE, TCG_BOOT_OF_IMAGE) } else { (KVM_BOOT, TCG_BOOT) };
        let asked = target.boot_timeout;
        let silence = if is_image { KVM_SILENCE_OF_IMAGE } else { KVM_SILENCE };
        Self {
            boot: asked.unwrap_or(match accelerator {
                Accelerator::Kvm => kvm,
                Accelerator::Tcg => tcg,
            }),
            // KVM that hangs must be noticed before the boot is over.
            silence: asked.map_or(silence, |limit| silence.min(limit / 2)),
            stall: STALL,
            resume: asked.map_or(RESUME, |limit| limit.min(RESUME)),
            setup: asked.unwrap_or(tcg),
            resumed_setup: asked.unwrap_or(RESUMED_SETUP),
            command: target.timeout,
        }
    }

    /// Those of a machine that lets all others go first: it may stand still for a while.
    pub(crate) fn of_who_goes_last(self) -> Self {
        let long = |limit: Duration| limit.saturating_mul(10);
        Self {
            boot: long(self.boot),
            silence: long(self.silence),
            stall: long(self.stall),
            resume: long(self.resume),
            setup: long(self.setup),
            resumed_setup: long(self.resumed_setup),
            command: self.command,
        }
    }
}
