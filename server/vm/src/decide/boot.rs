//! A guest that gets up: what is seen meanwhile, and what comes after a boot that failed.

use std::fmt;
use std::time::Duration;

use super::{DISK_FAILED, Limits, MORE_SPACE, Report, Sign, Step};
use crate::console::Heard;
use crate::event::Accelerator;
use crate::qemu::monitor::MonitorEvent;
use crate::verdict::Verdict;

/// Why a boot ended without an answer of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BootEnd {
    /// QEMU could not be started.
    NotStarted(String),
    /// QEMU ended; how, in words.
    Died(String),
    /// QEMU says that the processor failed (`internal-error`).
    AcceleratorFailed,
    /// The kernel did not say a word for this long.
    Silent(Duration),
    /// No sign of life came for this long.
    Stalled(Duration),
    /// The boot took longer than its limit.
    TimedOut(Duration),
    /// The console shows a bug, and the guest goes on somehow.
    KernelBug,
    /// The firmware found nothing to start.
    NothingBoots,
    /// The host did not take what the guest wrote to its disk, for this reason.
    DiskFailed(String),
    /// The guest is up, and cannot be made ready: one sentence, and what to do about it.
    NotSetUp(String, Option<&'static str>),
    /// The connection to monitor or agent broke.
    Unreachable(String),
    /// The user stopped it.
    Cancelled,
}

/// What comes after a boot that failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Boot under TCG; KVM is to be remembered as broken, for this reason, if that works.
    FallBack(String),
    /// Boot once more; why.
    Retry(String),
    /// It stays failed.
    GiveUp(Verdict),
}

impl fmt::Display for BootEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => write!(f, "QEMU cannot be started: {why}"),
            Self::Died(how) => write!(f, "QEMU ended ({how})"),
            Self::AcceleratorFailed => f.write_str("QEMU reports an internal error of its accelerator"),
            Self::Silent(time) | Self::Stalled(time) | Self::TimedOut(time) => {
                write!(f, "the guest did not answer within {} s", time.as_secs())
            }
            Self::KernelBug => f.write_str("the kernel reports a bug"),
            Self::NothingBoots => f.write_str("the firmware found nothing to start"),
            Self::DiskFailed(why) => write!(f, "{DISK_FAILED}: {why}"),
            Self::NotSetUp(why, _) | Self::Unreachable(why) => f.write_str(why),
            Self::Cancelled => f.write_str("it was cancelled"),
        }
    }
}

/// What a boot is watched by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) accelerator: Accelerator,
    /// Whether it is a disk image's, whose kernel need not speak to us.
    pub(crate) is_image: bool,
    pub(crate) limits: Limits,
}

impl Watched {
    /// Whether silence tells something: KVM that hangs is told from KVM that works by the kernel's first word.
    pub(crate) fn minds_silence(&self, heard: Heard) -> bool {
        self.accelerator == Accelerator::Kvm && heard < Heard::Kernel
    }

    /// Whether a pause tells something: our init speaks all the time, an image's may have nothing to say.
    pub(crate) fn minds_stalls(&self) -> bool {
        !self.is_image
    }
}

/// What a sign means before the agent has answered.
pub(crate) fn while_booting(sign: Sign, watched: &Watched) -> Step<BootEnd> {
    let limits = &watched.limits;
    Step::End(match sign {
        Sign::Answered => return Step::Next,
        Sign::Stop => BootEnd::Cancelled,
        Sign::LimitOver => BootEnd::TimedOut(limits.boot),
        Sign::Silent => BootEnd::Silent(limits.silence),
        Sign::Stalled => BootEnd::Stalled(limits.stall),
        Sign::QemuEnded(how) => BootEnd::Died(how),
        Sign::Unreachable(why) => BootEnd::Unreachable(why),
        Sign::AcceleratorFailed => BootEnd::AcceleratorFailed,
        Sign::Monitor(MonitorEvent::Stopped) => return Step::Ask,
        Sign::Monitor(MonitorEvent::DiskFailed(why)) => BootEnd::DiskFailed(why),
        // A firmware or a distribution may restart to get up; without our leave QEMU ends instead.
        Sign::Monitor(MonitorEvent::Restarted | MonitorEvent::Shutdown(_) | MonitorEvent::Migrated(_)) => {
            return Step::GoOn;
        }
        Sign::Console(alarms) if alarms.bug => BootEnd::KernelBug,
        Sign::Console(alarms) if alarms.nothing_boots => BootEnd::NothingBoots,
        // The command is not there yet: whatever speaks of it, QEMU's end or a limit will say more.
        Sign::Console(_) | Sign::Dead(_) | Sign::NotStarted(_) | Sign::Command(_) => return Step::GoOn,
    })
}

/// Decides after a failed boot. `retried` says that this was the second boot under TCG.
pub(crate) fn after_boot(end: &BootEnd, accelerator: Accelerator, retried: bool, report: &Report) -> Next {
    if *end == BootEnd::Cancelled {
        return Next::GiveUp(Verdict::Cancelled);
    }
    // A likely cause guesses from silence, which broken KVM makes as well; only the guest's own words are certain.
    if accelerator == Accelerator::Kvm && report.fatal.is_none() {
        let first_words = report.qemu_stderr.first().map_or(String::new(), |line| format!(": {line}"));
        match end {
            BootEnd::Died(how) if !report.console_seen => {
                return Next::FallBack(format!("QEMU ended at its start ({how}){first_words}"));
            }
            // A wrapper that stays when its QEMU has aborted keeps what it had open.
            BootEnd::Unreachable(_) if blames_kvm(report) => {
                return Next::FallBack(format!("QEMU does not answer{first_words}"));
            }
            BootEnd::AcceleratorFailed => {
                return Next::FallBack(format!("QEMU reports an internal error of KVM{first_words}"));
            }
            BootEnd::Silent(time) => {
                return Next::FallBack(format!("a guest did not come to life within {} s", time.as_secs()));
            }
            _ => {}
        }
    }
    if accelerator == Accelerator::Tcg && !retried && report.fatal.is_none() {
        match end {
            // Also where a cause is guessed from silence: an emulated guest may stand still before its kernel speaks.
            BootEnd::Stalled(time) | BootEnd::Silent(time) => {
                return Next::Retry(format!("the guest stopped making progress for {} s", time.as_secs()));
            }
            BootEnd::KernelBug | BootEnd::Died(_) if report.cause.is_none() => {
                if let Some(bug) = report.bugs.first() {
                    return Next::Retry(format!("the kernel failed while it booted ({})", bug.title));
                }
            }
            _ => {}
        }
    }
    Next::GiveUp(boot_failed(end, report))
}

/// Whether QEMU itself names KVM as what is wrong.
fn blames_kvm(report: &Report) -> bool {
    !report.console_seen && report.qemu_stderr.iter().any(|line| line.to_ascii_lowercase().contains("kvm"))
}

fn boot_failed(end: &BootEnd, report: &Report) -> Verdict {
    if let Some(sentence) = &report.fatal {
        return Verdict::BootFailed(report.failure(sentence.clone(), None));
    }
    // Silence explains nothing where QEMU itself left before there was a guest to speak.
    let never_ran = matches!(end, BootEnd::NotStarted(_) | BootEnd::Died(_)) && !report.console_seen;
    let cause = report.cause.as_deref().filter(|_| !never_ran);
    if let Some(bug) = report.bugs.first() {
        return match cause {
            Some(cause) => Verdict::BootFailed(report.failure(bug.title.clone(), Some(cause))),
            None => Verdict::KernelBug { title: bug.title.clone() },
        };
    }
    let quiet = "nothing came from the guest's console: is this a kernel for this machine, with CONFIG_SERIAL_8250_CONSOLE?";
    let slow = "set `boot_timeout` if the machine is only slow";
    let (reason, help) = match end {
        BootEnd::NotStarted(why) => (format!("QEMU cannot be started: {why}"), None),
        BootEnd::Died(how) if report.shutdown.as_deref() == Some("guest-reset") => {
            (format!("the guest restarted before it was up ({how})"), None)
        }
        BootEnd::Died(how) => (format!("QEMU ended before the guest was up ({how})"), None),
        BootEnd::AcceleratorFailed => ("QEMU reports an internal error of its accelerator".to_owned(), None),
        BootEnd::Silent(time) => {
            (format!("the kernel did not say a word within {} s", time.as_secs()), Some(quiet))
        }
        BootEnd::Stalled(time) => {
            let help = if report.console_seen { slow } else { quiet };
            (
                format!(
                    "the guest stopped making progress for {} s, before its agent answered",
                    time.as_secs()
                ),
                Some(help),
            )
        }
        BootEnd::TimedOut(time) => {
            (format!("the guest was not up after {} s", time.as_secs_f64()), Some(slow))
        }
        BootEnd::KernelBug => ("the kernel failed while it booted".to_owned(), None),
        BootEnd::NothingBoots => ("the firmware found nothing to start on the image".to_owned(), None),
        BootEnd::DiskFailed(why) => {
            return Verdict::BootFailed(report.failure(format!("{DISK_FAILED}: {why}"), Some(MORE_SPACE)));
        }
        BootEnd::NotSetUp(why, help) => return Verdict::BootFailed(report.failure(why.clone(), *help)),
        BootEnd::Unreachable(why) => (format!("the connection to QEMU or its guest broke: {why}"), None),
        BootEnd::Cancelled => return Verdict::Cancelled,
    };
    Verdict::BootFailed(report.failure(reason, cause.or(help)))
}
