//! The run's decisions, as pure functions: what comes after a boot that failed, and what the verdict is.

use std::fmt;
use std::time::Duration;

use vmtest_guest::wire::{Exit, ExitStatus};

use crate::console::{KernelBug, told_by_taint};
use crate::event::Accelerator;
use crate::verdict::{Failure, Verdict};

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

/// What was seen of a machine by the time it was gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The last lines of the console.
    pub(crate) console: Vec<String>,
    /// Whether the console said anything.
    pub(crate) console_seen: bool,
    /// Bugs of the kernel on the console, the first first.
    pub(crate) bugs: Vec<KernelBug>,
    /// The guest init's last words.
    pub(crate) fatal: Option<String>,
    /// A likely cause of what the console shows.
    pub(crate) cause: Option<String>,
    /// QEMU's standard error.
    pub(crate) qemu_stderr: Vec<String>,
    /// QEMU's reason for leaving (`ShutdownCause`).
    pub(crate) shutdown: Option<String>,
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

const DISK_FAILED: &str = "the host did not take what the guest wrote to its disk";
const MORE_SPACE: &str =
    "what a guest writes is kept in TMPDIR (else /var/tmp) while it runs: make room there, or set TMPDIR";

/// Decides after a failed boot. `retried` says that this was the second boot under TCG.
pub(crate) fn after_boot(end: &BootEnd, accelerator: Accelerator, retried: bool, report: &Report) -> Next {
    if *end == BootEnd::Cancelled {
        return Next::GiveUp(Verdict::Cancelled);
    }
    let explained = report.fatal.is_some() || report.cause.is_some();
    // A likely cause guesses from silence, which broken KVM makes as well; only the guest's own words are certain.
    if accelerator == Accelerator::Kvm && report.fatal.is_none() {
        let first_words = report.qemu_stderr.first().map_or(String::new(), |line| format!(": {line}"));
        match end {
            BootEnd::Died(how) if !report.console_seen => {
                return Next::FallBack(format!("QEMU ended at its start ({how}){first_words}"));
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
    if accelerator == Accelerator::Tcg && !retried && !explained {
        match end {
            BootEnd::Stalled(time) | BootEnd::Silent(time) => {
                return Next::Retry(format!("the guest stopped making progress for {} s", time.as_secs()));
            }
            BootEnd::KernelBug | BootEnd::Died(_) => {
                if let Some(bug) = report.bugs.first() {
                    return Next::Retry(format!("the kernel failed while it booted ({})", bug.title));
                }
            }
            _ => {}
        }
    }
    Next::GiveUp(boot_failed(end, report))
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

/// Whether a guest that was resumed has to boot instead. Nothing of the user's has run before its command began.
pub(crate) fn was_resumed_in_vain(end: &RunEnd, began: bool) -> bool {
    match end {
        RunEnd::SetupTimedOut(_) | RunEnd::Died(_) | RunEnd::Unreachable(_) => !began,
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
            let reason = match report.shutdown.as_deref() {
                Some("guest-reset") => RESTARTED.to_owned(),
                Some("guest-shutdown") => "the guest powered itself off before the command ended".to_owned(),
                _ => match report.bugs.first() {
                    Some(bug) => format!("the guest died: {}", bug.title),
                    None => format!("QEMU ended before the command did ({how})"),
                },
            };
            Verdict::Lost(report.failure(reason, None))
        }
        RunEnd::Unreachable(why) => {
            Verdict::Lost(report.failure(format!("the connection to the guest broke: {why}"), None))
        }
        RunEnd::Restarted => Verdict::Lost(report.failure(RESTARTED.to_owned(), None)),
        RunEnd::Halted => {
            Verdict::Lost(report.failure("the guest halted before the command ended".to_owned(), None))
        }
        RunEnd::Panicked => {
            let title = report.bugs.first().map_or("its kernel panicked", |bug| bug.title.as_str());
            Verdict::Lost(report.failure(format!("the guest died: {title}"), None))
        }
        RunEnd::DiskFailed(why) => {
            Verdict::Lost(report.failure(format!("{DISK_FAILED}: {why}"), Some(MORE_SPACE)))
        }
        RunEnd::Cancelled => Verdict::Cancelled,
    }
}

/// A guest that still answers must show the bug in its taint flags, because any program can write to the console.
fn is_believed(bug: &KernelBug, end: &RunEnd) -> bool {
    match end {
        RunEnd::Ended(exit) => bug.confirmed_by(exit.tainted_before, exit.tainted_after),
        _ => true,
    }
}

impl Report {
    fn failure(&self, reason: String, help: Option<&str>) -> Failure {
        Failure {
            reason,
            help: help.map(str::to_owned),
            console: self.console.clone(),
            qemu_stderr: self.qemu_stderr.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::BugKind;

    fn bug(kind: BugKind) -> KernelBug {
        KernelBug { title: "BUG: something".to_owned(), excerpt: Vec::new(), kind }
    }

    fn ended(status: ExitStatus, tainted_after: u64) -> RunEnd {
        RunEnd::Ended(Exit {
            status,
            tainted_before: 0,
            tainted_after,
            lost_paths: Vec::new(),
            lost_count: 0,
        })
    }

    #[test]
    fn a_resumed_guest_boots_instead_only_before_its_command_began_and_never_when_the_user_stops_it() {
        let in_vain: Vec<_> = ends()
            .into_iter()
            .filter(|end| was_resumed_in_vain(end, false))
            .map(|end| end.to_string())
            .collect();
        assert_eq!(in_vain, ["QEMU ended (signal: 9)", "it took longer than 3 s", "gone"]);
        assert!(ends().iter().all(|end| !was_resumed_in_vain(end, true)));
    }

    #[test]
    fn a_guest_whose_kernel_reported_a_bug_of_whatever_kind_is_not_kept() {
        assert_eq!(may_be_kept(&Report::default()), Ok(()));
        for kind in [BugKind::Other, BugKind::Panic] {
            let report = Report { bugs: vec![bug(kind)], ..Report::default() };
            assert!(may_be_kept(&report).unwrap_err().contains("BUG: something"));
        }
    }

    fn ends() -> Vec<RunEnd> {
        vec![
            ended(ExitStatus::Code(0), 0),
            ended(ExitStatus::Code(7), 0),
            ended(ExitStatus::Signal(11), 0),
            RunEnd::SetupFailed("no root".to_owned()),
            RunEnd::Died("signal: 9".to_owned()),
            RunEnd::TimedOut(Duration::from_secs(3)),
            RunEnd::SetupTimedOut(Duration::from_secs(3)),
            RunEnd::Unreachable("gone".to_owned()),
            RunEnd::Restarted,
            RunEnd::Panicked,
            RunEnd::Halted,
            RunEnd::DiskFailed("no space".to_owned()),
            RunEnd::Cancelled,
        ]
    }

    const OOPS: u64 = 1 << 7;

    #[test]
    fn only_an_exit_with_status_0_passes() {
        let statuses: Vec<u8> =
            ends().iter().map(|end| verdict(end, &Report::default(), true).exit_status()).collect();
        assert_eq!(statuses, [0, 7, 139, 69, 69, 124, 69, 69, 69, 69, 69, 69, 130]);
    }

    #[test]
    fn a_kernel_bug_overrules_the_command_in_every_end_but_a_cancel() {
        let report = Report { bugs: vec![bug(BugKind::Locking)], ..Report::default() };
        for end in ends() {
            let expected = if end == RunEnd::Cancelled { 130 } else { 70 };
            assert_eq!(verdict(&end, &report, true).exit_status(), expected, "{end:?}");
        }
    }

    #[test]
    fn a_kernel_bug_is_ignored_where_the_target_says_so() {
        let report = Report { bugs: vec![bug(BugKind::Oops)], ..Report::default() };
        assert_eq!(verdict(&ended(ExitStatus::Code(0), OOPS), &report, false), Verdict::Passed);
    }

    #[test]
    fn text_that_looks_like_an_oops_fails_no_command_when_the_kernel_is_not_tainted() {
        let report = Report { bugs: vec![bug(BugKind::Oops)], ..Report::default() };
        assert_eq!(verdict(&ended(ExitStatus::Code(0), 0), &report, true), Verdict::Passed);
        assert_eq!(verdict(&ended(ExitStatus::Code(0), OOPS), &report, true).exit_status(), 70);
    }

    #[test]
    fn a_joke_before_a_real_bug_does_not_hide_it() {
        let report = Report { bugs: vec![bug(BugKind::Panic), bug(BugKind::Oops)], ..Report::default() };
        assert_eq!(verdict(&ended(ExitStatus::Code(0), OOPS), &report, true).exit_status(), 70);
    }

    #[test]
    fn a_flag_that_only_a_bug_sets_tells_of_one_whatever_the_console_shows() {
        let joke = Report { bugs: vec![bug(BugKind::Panic)], ..Report::default() };
        for report in [Report::default(), joke] {
            for (flag, status) in [(OOPS, 70), (1 << 5, 70), (1 << 14, 70), (1 << 9, 0), (1 << 13, 0)] {
                let end = ended(ExitStatus::Code(0), flag);
                assert_eq!(verdict(&end, &report, true).exit_status(), status, "{flag}");
                assert_eq!(verdict(&end, &report, false).exit_status(), 0, "{flag}");
            }
        }
    }

    #[test]
    fn a_flag_from_before_the_command_is_none_of_its() {
        let RunEnd::Ended(exit) = ended(ExitStatus::Code(0), OOPS) else { unreachable!("as it is made") };
        let end = RunEnd::Ended(Exit { tainted_before: OOPS, ..exit });
        assert_eq!(verdict(&end, &Report::default(), true), Verdict::Passed);
    }

    #[test]
    fn kvm_that_dies_hangs_or_reports_an_error_falls_back() {
        let broken = [
            BootEnd::Died("signal: 6".to_owned()),
            BootEnd::AcceleratorFailed,
            BootEnd::Silent(Duration::from_secs(5)),
        ];
        for end in broken {
            let next = after_boot(&end, Accelerator::Kvm, false, &Report::default());
            assert!(matches!(next, Next::FallBack(_)), "{end:?}: {next:?}");
        }
    }

    #[test]
    fn a_guest_that_says_why_it_gave_up_is_believed_under_kvm_and_tcg() {
        let report = Report { fatal: Some("no virtio".to_owned()), ..Report::default() };
        for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
            let next = after_boot(&BootEnd::Died("exit status: 0".to_owned()), accelerator, false, &report);
            let Next::GiveUp(Verdict::BootFailed(failure)) = next else { panic!("{next:?}") };
            assert_eq!(failure.reason, "no virtio");
        }
    }

    #[test]
    fn an_emulated_boot_that_stalls_or_oopses_is_retried_exactly_once() {
        let report = Report { bugs: vec![bug(BugKind::Oops)], console_seen: true, ..Report::default() };
        let ends = [
            (BootEnd::Stalled(Duration::from_secs(60)), Report::default()),
            (BootEnd::KernelBug, report.clone()),
            (BootEnd::Died("exit status: 0".to_owned()), report),
        ];
        for (end, report) in ends {
            assert!(matches!(after_boot(&end, Accelerator::Tcg, false, &report), Next::Retry(_)), "{end:?}");
            assert!(matches!(after_boot(&end, Accelerator::Tcg, true, &report), Next::GiveUp(_)), "{end:?}");
        }
    }

    #[test]
    fn a_cancelled_boot_is_neither_retried_nor_blamed_on_kvm() {
        for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
            let next = after_boot(&BootEnd::Cancelled, accelerator, false, &Report::default());
            assert_eq!(next, Next::GiveUp(Verdict::Cancelled));
        }
    }

    #[test]
    fn qemu_that_dies_under_tcg_fails_the_boot_with_its_own_words() {
        let report = Report {
            qemu_stderr: vec!["invalid option".to_owned()],
            cause: Some("the kernel printed nothing".to_owned()),
            ..Report::default()
        };
        let next = after_boot(&BootEnd::Died("exit status: 1".to_owned()), Accelerator::Tcg, false, &report);
        let Next::GiveUp(Verdict::BootFailed(failure)) = next else { panic!("{next:?}") };
        assert!(failure.reason.contains("exit status: 1"));
        assert_eq!(failure.qemu_stderr, ["invalid option"]);
        assert_eq!(failure.help, None, "the kernel is not to blame for QEMU's end");
    }

    #[test]
    fn a_boot_that_took_too_long_says_so_also_when_a_cause_is_guessed() {
        let report = Report { cause: Some("no console".to_owned()), ..Report::default() };
        let end = BootEnd::TimedOut(Duration::from_secs(4));
        let Next::GiveUp(Verdict::BootFailed(failure)) = after_boot(&end, Accelerator::Tcg, false, &report)
        else {
            panic!("a boot over its limit is not tried again")
        };
        assert!(failure.reason.contains("4 s"), "{}", failure.reason);
        assert_eq!(failure.help.as_deref(), Some("no console"));
    }
}
