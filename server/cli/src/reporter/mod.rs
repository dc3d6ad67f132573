//! What becomes of a run's events: each listener is one [`Reporter`], and every one sees every event.

#[cfg(debug_assertions)]
pub(crate) mod fault;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod live;
pub(crate) mod plain;
#[cfg(test)]
pub(crate) mod testing;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_vm::event::{EventKind, Finished, RunEvent};
use vmtest_vm::logs::Logs;
use vmtest_vm::verdict::Verdict;

/// One listener.
pub(crate) trait Reporter: Send {
    /// Takes what happened. An error ends this reporter's part; the others go on.
    fn event(&mut self, event: &RunEvent) -> io::Result<()>;

    /// How often [`Reporter::tick`] wants to be called.
    fn tick_every(&self) -> Option<Duration> {
        None
    }

    /// Time has passed.
    fn tick(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The run is over.
    fn end(&mut self, summary: &Summary) -> io::Result<()>;
}

impl Reporter for Logs {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        self.event(event)
    }

    fn end(&mut self, _: &Summary) -> io::Result<()> {
        Ok(())
    }
}

/// A whole run, when it is over.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// In the order in which the targets finished.
    pub(crate) results: Vec<TargetResult>,
    /// From the run's start to its end.
    pub(crate) elapsed: Duration,
}

impl Summary {
    /// All the verdicts.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.results.iter().map(|result| &result.finished.verdict)
    }
}

/// How one target ended.
#[derive(Debug, Clone)]
pub(crate) struct TargetResult {
    /// Its place in the run.
    pub(crate) index: usize,
    /// Its name.
    pub(crate) name: String,
    /// The rest.
    pub(crate) finished: Finished,
}

/// Says how much time of the run has passed; tests bring their own.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A reporter and what its failure means.
pub(crate) struct Listener {
    /// It.
    pub(crate) reporter: Box<dyn Reporter>,
    /// What it writes, for the message when it cannot.
    pub(crate) writes: String,
    /// What its failure means for the run.
    pub(crate) on_failure: OnFailure,
}

/// What it means for the run that a reporter cannot write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Nobody would see what happens: stop.
    CancelRun,
    /// Go on; the exit status tells.
    FailAtEnd,
    /// Go on; nobody asked for it by name.
    Ignore,
}

/// What the listeners say about themselves when the run is over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The reader of standard output went away.
    pub(crate) reader_gone: bool,
    /// The run was stopped, because nobody would have seen it.
    pub(crate) unseen: bool,
    /// Something that was asked for is not written.
    pub(crate) incomplete: bool,
}

/// Hands every event to every listener until the run is over.
pub(crate) async fn drive(
    mut events: mpsc::Receiver<RunEvent>,
    listeners: Vec<Listener>,
    clock: Clock,
    cancel: CancellationToken,
) -> Trouble {
    let mut listeners = Listeners { all: listeners, trouble: Trouble::default(), cancel };
    let mut summary = Summary::default();
    let period = listeners.all.iter().filter_map(|listener| listener.reporter.tick_every()).min();
    let mut interval = period.map(|period| {
        let mut interval = tokio::time::interval(period);
        // After a stop (Ctrl-Z) or a slow terminal one redraw is enough.
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        interval
    });
    loop {
        let event = match &mut interval {
            None => events.recv().await,
            Some(interval) => tokio::select! {
                event = events.recv() => event,
                _ = interval.tick() => {
                    listeners.each(|reporter| reporter.tick());
                    continue;
                }
            },
        };
        let Some(event) = event else { break };
        if let EventKind::Finished(finished) = &event.kind {
            let (index, name, finished) = (event.index, event.target.clone(), finished.clone());
            summary.results.push(TargetResult { index, name, finished });
        }
        listeners.each(|reporter| reporter.event(&event));
    }
    summary.elapsed = clock();
    listeners.each(|reporter| reporter.end(&summary));
    listeners.trouble
}

struct Listeners {
    all: Vec<Listener>,
    trouble: Trouble,
    cancel: CancellationToken,
}

impl Listeners {
    fn each(&mut self, mut act: impl FnMut(&mut dyn Reporter) -> io::Result<()>) {
        let (trouble, cancel) = (&mut self.trouble, &self.cancel);
        self.all.retain_mut(|listener| {
            let Err(error) = act(&mut *listener.reporter) else { return true };
            match listener.on_failure {
                OnFailure::Ignore => return false,
                OnFailure::CancelRun => {
                    cancel.cancel();
                    trouble.unseen = true;
                    trouble.reader_gone |= error.kind() == io::ErrorKind::BrokenPipe;
                }
                OnFailure::FailAtEnd => {}
            }
            trouble.incomplete = true;
            if !trouble.reader_gone {
                crate::say(format_args!("cannot write {}: {error}", listener.writes));
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{self, Recorder};
    use super::*;

    struct Closed(io::ErrorKind);

    impl Reporter for Closed {
        fn event(&mut self, _: &RunEvent) -> io::Result<()> {
            Err(self.0.into())
        }

        fn end(&mut self, _: &Summary) -> io::Result<()> {
            unreachable!("a reporter that failed is not called again")
        }
    }

    fn drive_with_closed(kind: io::ErrorKind, on_failure: OnFailure) -> (Trouble, bool, usize) {
        let cancel = CancellationToken::new();
        let recorder = Recorder::default();
        let listeners = vec![
            Listener { reporter: Box::new(Closed(kind)), writes: "it".into(), on_failure },
            Listener { reporter: Box::new(recorder.clone()), writes: "it".into(), on_failure },
        ];
        let trouble = testing::drive_listeners(vec![testing::passing("a", b"")], listeners, &cancel);
        (trouble, cancel.is_cancelled(), recorder.ended())
    }

    #[test]
    fn a_reader_that_goes_away_cancels_the_run_and_the_other_reports_are_written() {
        let (trouble, cancelled, ended) = drive_with_closed(io::ErrorKind::BrokenPipe, OnFailure::CancelRun);
        assert_eq!(trouble, Trouble { reader_gone: true, unseen: true, incomplete: true });
        assert!(cancelled);
        assert_eq!(ended, 1);
    }

    #[test]
    fn a_report_that_cannot_be_written_is_remembered_and_the_run_goes_on() {
        let (trouble, cancelled, _) = drive_with_closed(io::ErrorKind::StorageFull, OnFailure::FailAtEnd);
        assert_eq!(trouble, Trouble { incomplete: true, ..Trouble::default() });
        assert!(!cancelled);
    }

    #[test]
    fn a_log_that_nobody_asked_for_may_fail() {
        let (trouble, cancelled, _) = drive_with_closed(io::ErrorKind::StorageFull, OnFailure::Ignore);
        assert_eq!(trouble, Trouble::default());
        assert!(!cancelled);
    }
}
