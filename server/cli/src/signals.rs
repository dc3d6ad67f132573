//! What the user's signals do, in whichever phase the run is: the first stops it, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vmtest_vm::awake;
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

    /// Takes a signal, of whichever kind.
    fn take(&self, number: i32) -> Effect {
        match self.0.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => Effect::Stop,
            Err(_) => Effect::Quit,
        }
    }
}

/// What a signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The run is stopped: machines are ended, reports are written.
    Stop,
    /// The process ends now.
    Quit,
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
                match received.take(number) {
                    Effect::Quit => quit(number),
                    Effect::Stop => {}
                }
                if announce {
                    crate::say(format_args!("stopping… (again to quit at once)"));
                }
                cancel.cancel();
                tokio::spawn(async move {
                    awake(GRACE).await;
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
    use vmtest_vm::event::{EventKind, RunEvent};
    use vmtest_vm::executor::{Script, ScriptEnd};

    use super::*;
    use crate::reporter::testing::{self, stdout};
    use crate::reporter::{Listener, OnFailure, Reporter, Summary};

    /// A user who sends a signal when the run has come to its `at`th event.
    struct User {
        at: usize,
        number: i32,
        received: Received,
        cancel: CancellationToken,
        ends: Arc<AtomicI32>,
    }

    impl Reporter for User {
        fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
            if self.at == 0 && self.received.take(self.number) == Effect::Stop {
                self.cancel.cancel();
            }
            self.at = self.at.wrapping_sub(1);
            if let EventKind::Finished(_) = event.kind {
                self.ends.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        }

        fn end(&mut self, _: &Summary) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The exit status of a run that gets a signal at its `at`th event.
    fn status_of_a_run_with(number: i32, at: usize, scripts: Vec<testing::Scripted>) -> u8 {
        let (received, cancel, ends) = (Received::default(), CancellationToken::new(), Arc::default());
        let user =
            User { at, number, received: received.clone(), cancel: cancel.clone(), ends: Arc::clone(&ends) };
        let listener =
            Listener { reporter: Box::new(user), writes: "it".into(), on_failure: OnFailure::FailAtEnd };
        let targets = scripts.len();
        let (trouble, verdicts) = testing::run(scripts, vec![listener], &cancel);
        assert_eq!(ends.load(Ordering::SeqCst), targets as i32, "each target has one end");
        exit_status(&verdicts, received.number(), &trouble)
    }

    /// The phases that a run tells of, one event each.
    fn phases() -> Vec<EventKind> {
        testing::booted().into_iter().chain([stdout(b"output")]).collect()
    }

    // H1
    #[test]
    fn a_signal_stops_the_run_in_every_phase_with_its_own_status() {
        // Of two targets the second waits; both are queued before the first phase.
        const QUEUED: usize = 2;
        for number in [1, 2, 3, 15] {
            for phase in 0..phases().len() {
                let mut events = phases();
                events.truncate(phase + 1);
                let end = ScriptEnd::WaitForCancel(testing::finished(Verdict::Cancelled));
                let scripts = vec![("one".to_owned(), Script { events, end }), testing::passing("two", b"")];
                let status = status_of_a_run_with(number, QUEUED + phase, scripts);
                assert_eq!(i32::from(status), 128 + number, "phase {phase}");
            }
        }
    }

    // H1
    #[test]
    fn a_signal_while_the_reports_are_written_leaves_the_verdict() {
        let last = 1 + phases().len();
        let scripts =
            vec![testing::scripted("one", vec![stdout(b"output")], Verdict::Failed { exit_code: 7 })];
        assert_eq!(status_of_a_run_with(2, last, scripts), 7);
    }

    // H1
    #[test]
    fn the_second_signal_ends_the_process_whatever_the_first_was() {
        for first in [1, 2, 3, 15] {
            for second in [1, 2, 3, 15] {
                let received = Received::default();
                assert_eq!([received.take(first), received.take(second)], [Effect::Stop, Effect::Quit]);
                assert_eq!(received.number(), Some(first), "the first says why the run ends");
            }
        }
    }

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
