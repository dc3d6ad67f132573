//! A guest that is up: what is seen while its command is set up and runs, and the verdict.

use std::fmt;
use std::time::Duration;

use vmtest_guest::wire::{Exit, ExitStatus};

use super::{DISK_FAILED, MORE_SPACE, Report, Sign, Step};
use crate::console::{KernelBug, told_by_taint};
use crate::qemu::monitor::MonitorEvent;
use crate::stream::Control;
use crate::verdict::Verdict;

/// How a machine that had booted came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// The command ended.
    Ended(Exit),
    /// The guest init could not start it; one sentence.
    SetupFailed(String),
    /// QEMU ended; how, in words.
    Died(String),
    /// The command took longer than this.
    TimedOut(Duration),
    /// The set-up took longer than this.
    SetupTimedOut(Duration),
    /// The connection to the guest broke while QEMU was running.
    Unreachable(String),
    /// The guest restarted, and goes on without the command.
    Restarted,
    /// The kernel reports a panic, and the guest does not answer.
    Panicked,
    /// The kernel says that it stopped all processors, and the guest does not answer.
    Halted,
    /// The host did not take what the guest wrote to its disk, for this reason.
    DiskFailed(String),
    /// The user stopped it.
    Cancelled,
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(_) => f.write_str("its command ended"),
            Self::SetupFailed(sentence) | Self::Unreachable(sentence) => f.write_str(sentence),
            Self::Died(how) => write!(f, "QEMU ended ({how})"),
            Self::TimedOut(time) | Self::SetupTimedOut(time) => {
                write!(f, "it took longer than {} s", time.as_secs_f64())
            }
            Self::Restarted => f.write_str("the guest restarted"),
            Self::Panicked => f.write_str("the kernel panicked"),
            Self::Halted => f.write_str("the guest halted"),
            Self::DiskFailed(why) => write!(f, "{DISK_FAILED}: {why}"),
            Self::Cancelled => f.write_str("it was cancelled"),
        }
    }
}

/// What a sign means when the agent has answered. `limit_over` is the end that the present limit stands for.
pub(crate) fn while_running(sign: Sign, limit_over: RunEnd) -> Step<RunEnd> {
    Step::End(match sign {
        Sign::Stop => RunEnd::Cancelled,
        Sign::LimitOver => limit_over,
        Sign::QemuEnded(how) => RunEnd::Died(how),
        Sign::Unreachable(why) => RunEnd::Unreachable(why),
        Sign::Dead(alarms) if alarms.panics > 0 => RunEnd::Panicked,
        Sign::Dead(_) => RunEnd::Halted,
        Sign::NotStarted(sentence) | Sign::Command(Control::Failed(sentence)) => {
            RunEnd::SetupFailed(sentence)
        }
        Sign::Command(Control::Ended(exit)) => RunEnd::Ended(exit),
        Sign::Command(Control::Started) => return Step::Next,
        Sign::Monitor(MonitorEvent::Restarted) => RunEnd::Restarted,
        Sign::Monitor(MonitorEvent::DiskFailed(why)) => RunEnd::DiskFailed(why),
        // A panic or a halt on the console may be anybody's text: a guest that still answers has none.
        Sign::Console(alarms) if alarms.panics > 0 || alarms.halts > 0 => return Step::Ask,
        // Why QEMU leaves is known when it has left; and a command need not say anything, for as long as it may run.
        Sign::Monitor(MonitorEvent::Stopped | MonitorEvent::Shutdown(_) | MonitorEvent::Migrated(_))
        | Sign::Command(Control::Starting)
        | Sign::Console(_)
        | Sign::Answered
        | Sign::AcceleratorFailed
        | Sign::Silent
        | Sign::Stalled => return Step::GoOn,
    })
}

/// Whether a guest that was resumed has to boot instead. What the user wrote never runs twice.
pub(crate) fn was_resumed_in_vain(end: &RunEnd, may_have_run: bool) -> bool {
    match end {
        RunEnd::SetupTimedOut(_) | RunEnd::Died(_) | RunEnd::Unreachable(_) => !may_have_run,
        // What the guest init says is about the target, and would be said again.
        RunEnd::SetupFailed(_)
        | RunEnd::Ended(_)
        | RunEnd::TimedOut(_)
        | RunEnd::Restarted
        | RunEnd::Panicked
        | RunEnd::Halted
        | RunEnd::DiskFailed(_)
        | RunEnd::Cancelled => false,
    }
}

/// Whether a guest may be kept: what its kernel reported while it booted would be missing in every run that resumes it.
pub(crate) fn may_be_kept(report: &Report) -> Result<(), String> {
    match report.bugs.first() {
        Some(bug) => Err(format!("its kernel reported a bug while it booted ({})", bug.title)),
        None => Ok(()),
    }
}

const RESTARTED: &str = "the guest restarted before the command ended";

/// The truth about a target whose guest was up.
pub(crate) fn verdict(end: &RunEnd, report: &Report, fail_on_kernel_bug: bool) -> Verdict {
    if *end == RunEnd::Cancelled {
        return Verdict::Cancelled;
    }
    let mut believed = report.bugs.iter().filter(|bug| fail_on_kernel_bug && is_believed(bug, end));
    if let Some(bug) = believed.next() {
        return Verdict::KernelBug { title: bug.title.clone() };
    }
    if let RunEnd::Ended(exit) = end
        && let Some(words) = told_by_taint(exit.tainted_before, exit.tainted_after)
        && fail_on_kernel_bug
    {
        return Verdict::KernelBug { title: words.to_owned() };
    }
    // Also of a QEMU that has let go of its connections and not yet ended, which takes a loaded host a while.
    if matches!(end, RunEnd::Died(_) | RunEnd::Unreachable(_))
        && let Some(reason) = why_it_left(report)
    {
        return Verdict::Lost(report.failure(reason.to_owned(), None));
    }
    match end {
        RunEnd::Ended(exit) => match exit.status {
            ExitStatus::Code(0) => Verdict::Passed,
            ExitStatus::Code(exit_code) => Verdict::Failed { exit_code },
            ExitStatus::Signal(signal) => Verdict::Killed { signal },
        },
        RunEnd::TimedOut(limit) => Verdict::TimedOut { limit: *limit },
        RunEnd::SetupFailed(sentence) => Verdict::BootFailed(report.failure(sentence.clone(), None)),
        RunEnd::SetupTimedOut(limit) => Verdict::BootFailed(report.failure(
            format!("the guest was up, but not set up {} s after its start", limit.as_secs_f64()),
            Some("set `boot_timeout` if the machine is only slow"),
        )),
        RunEnd::Died(how) => {
            let reason = match report.bugs.first() {
                Some(bug) => format!("the guest died: {}", bug.title),
                None => format!("QEMU ended before the command did ({how})"),
            };
            Verdict::Lost(report.failure(reason, None))
        }
        RunEnd::Unreachable(why) => {
            Verdict::Lost(report.failure(format!("the connection to the guest broke: {why}"), None))
        }
        RunEnd::Restarted => Verdict::Lost(report.failure(RESTARTED.to_owned(), None)),
        RunEnd::Panicked => {
            let title = report.bugs.first().map_or("its kernel panicked", |bug| bug.title.as_str());
            Verdict::Lost(report.failure(format!("the guest died: {title}"), None))
        }
        RunEnd::Halted => {
            Verdict::Lost(report.failure("the guest halted before the command ended".to_owned(), None))
        }
        RunEnd::DiskFailed(why) => {
            Verdict::Lost(report.failure(format!("{DISK_FAILED}: {why}"), Some(MORE_SPACE)))
        }
        RunEnd::Cancelled => Verdict::Cancelled,
    }
}

/// What the guest itself did to end its machine, as QEMU says.
fn why_it_left(report: &Report) -> Option<&'static str> {
    match report.shutdown.as_deref()? {
        "guest-reset" => Some(RESTARTED),
        "guest-shutdown" => Some("the guest powered itself off before the command ended"),
        _ => None,
    }
}

/// A guest that still answers must show the bug in its taint flags, because any program can write to the console.
fn is_believed(bug: &KernelBug, end: &RunEnd) -> bool {
    match end {
        RunEnd::Ended(exit) => bug.confirmed_by(exit.tainted_before, exit.tainted_after),
        _ => true,
    }
}
