//! What the user's signals do: the first stops the run, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vmtest_vm::verdict::{Verdict, run_exit_status};

use crate::reporter::Trouble;

/// Longest time between the first signal and the end of the process. Every machine is gone long before; a reader of
/// standard output that has stopped must not keep us.
const GRACE: Duration = Duration::from_secs(20);

/// The first signal that came, 0 for none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received(Arc<AtomicI32>);

impl Received {
    /// Its number.
    pub(crate) fn number(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|number| *number != 0)
    }
}

/// Listens from now on. `announce` says whether standard error is free for a line.
pub(crate) fn watch(cancel: &CancellationToken, announce: bool) -> std::io::Result<Received> {
    let received = Received::default();
    let ignored = ignored_signals();
    // SIGQUIT would leave a raw terminal behind, and a core.
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    for kind in kinds {
        let number = kind.as_raw_value();
        // `nohup vmtest` and background jobs of a shell ask for exactly this.
        if ignored & (1 << (number - 1)) != 0 {
            continue;
        }
        let mut signals = signal(kind)?;
        let (received, cancel) = (received.clone(), cancel.clone());
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if received.0.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                    quit(number);
                }
                if announce {
                    crate::say(format_args!("stopping… (again to quit at once)"));
                }
                cancel.cancel();
                tokio::spawn(async move {
                    tokio::time::sleep(GRACE).await;
                    quit(number);
                });
            }
        });
    }
    Ok(received)
}

/// Ends the process now. QEMU and the other children do not outlive it: that is their parent-death signal's work.
fn quit(number: i32) -> ! {
    crate::terminal::restore();
    std::process::exit(128 + number)
}

/// The signals that are ignored, as a mask; none where `/proc` is not there.
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// The process's exit status.
pub(crate) fn exit_status(verdicts: &[Verdict], received: Option<i32>, trouble: &Trouble) -> u8 {
    // 128 + SIGPIPE: what a program without a handler for it would have ended with.
    const READER_GONE: u8 = 141;
    // EX_IOERR of sysexits.h.
    const INCOMPLETE: u8 = 74;
    let cancelled = verdicts.contains(&Verdict::Cancelled);
    match received {
        Some(number) if cancelled => u8::try_from(128 + number).unwrap_or(u8::MAX),
        _ if trouble.reader_gone => READER_GONE,
        // Nobody stopped it but us: 130 would be a lie.
        _ if trouble.unseen && cancelled => INCOMPLETE,
        _ => match run_exit_status(verdicts) {
            0 if trouble.incomplete => INCOMPLETE,
            status => status,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Trouble = Trouble { reader_gone: false, unseen: false, incomplete: false };

    const UNSEEN: Trouble = Trouble { reader_gone: false, unseen: true, incomplete: true };

    #[test]
    fn a_cancelled_run_tells_the_signal() {
        assert_eq!(exit_status(&[Verdict::Cancelled], Some(2), &FINE), 130);
        assert_eq!(exit_status(&[Verdict::Passed, Verdict::Cancelled], Some(15), &FINE), 143);
        assert_eq!(exit_status(&[Verdict::Cancelled], Some(1), &FINE), 129);
    }

    #[test]
    fn a_signal_that_came_too_late_changes_nothing() {
        assert_eq!(exit_status(&[Verdict::Passed], Some(2), &FINE), 0);
        assert_eq!(exit_status(&[Verdict::Failed { exit_code: 7 }], Some(2), &FINE), 7);
    }

    #[test]
    fn cancelled_without_a_signal_is_130_alone_and_counted_among_several() {
        assert_eq!(exit_status(&[Verdict::Cancelled], None, &FINE), 130);
        assert_eq!(exit_status(&[Verdict::Failed { exit_code: 7 }, Verdict::Cancelled], None, &FINE), 2);
    }

    #[test]
    fn a_reader_that_went_away_is_told_like_sigpipe() {
        let trouble = Trouble { reader_gone: true, ..UNSEEN };
        assert_eq!(exit_status(&[Verdict::Cancelled], None, &trouble), 141);
    }

    #[test]
    fn a_pass_without_its_report_is_no_success() {
        let trouble = Trouble { incomplete: true, ..FINE };
        assert_eq!(exit_status(&[Verdict::Passed], None, &trouble), 74);
        assert_eq!(exit_status(&[Verdict::Failed { exit_code: 3 }], None, &trouble), 3);
    }

    #[test]
    fn a_run_that_could_not_be_shown_is_an_error_of_output_and_not_the_users_stop() {
        assert_eq!(exit_status(&[Verdict::Cancelled], None, &UNSEEN), 74);
        assert_eq!(exit_status(&[Verdict::Cancelled], Some(2), &UNSEEN), 130);
        assert_eq!(exit_status(&[Verdict::Failed { exit_code: 3 }], None, &UNSEEN), 3);
    }
}
