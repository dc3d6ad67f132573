//! Schedules targets on an executor and turns what happens into one ordered stream of events, in which every target
//! has exactly one `finished`, also when its execution panics.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vmtest_config::Target;

use crate::event::{EventKind, Finished, RunEvent, RunId};
use crate::executor::{Executor, TargetIo, Terminal};
use crate::verdict::{Failure, Verdict};

/// Events that a target may be ahead of its listener; a full channel makes the guest wait, so memory stays bounded.
const EVENTS_AHEAD: usize = 64;

/// How a run is scheduled.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Targets that run at once; at least 1.
    pub jobs: usize,
    /// Whether the first target that does not pass cancels the others.
    pub fail_fast: bool,
}

/// Runs `targets` and sends what happens to `events`; returns the verdicts in the order of the targets.
///
/// `cancel` ends the run: what runs is stopped, what waits is never started. Both report `cancelled`. `terminal` goes to
/// the first target.
pub async fn run(
    run_id: RunId,
    targets: Vec<Target>,
    schedule: Schedule,
    executor: Arc<dyn Executor>,
    events: mpsc::Sender<RunEvent>,
    cancel: CancellationToken,
    mut terminal: Option<Terminal>,
) -> Vec<Verdict> {
    let cancel = cancel.child_token();
    let slots = Arc::new(Semaphore::new(schedule.jobs.max(1)));
    let mut tasks = JoinSet::new();
    let mut verdicts: Vec<Verdict> = vec![Verdict::Cancelled; targets.len()];
    let mut reporters = Vec::with_capacity(targets.len());
    for (index, target) in targets.iter().enumerate() {
        let mut reporter = Reporter::new(run_id.clone(), index, target.name.clone(), events.clone());
        reporter.send(EventKind::Queued).await;
        reporters.push(reporter);
    }
    for ((index, target), reporter) in targets.into_iter().enumerate().zip(reporters) {
        let (slots, executor, cancel) = (slots.clone(), executor.clone(), cancel.clone());
        let terminal = terminal.take();
        tasks.spawn(async move {
            let verdict = run_target(target, slots, executor, cancel, terminal, reporter).await;
            (index, verdict)
        });
    }
    while let Some(joined) = tasks.join_next().await {
        let Ok((index, verdict)) = joined else { continue };
        if schedule.fail_fast && !verdict.passed() {
            cancel.cancel();
        }
        verdicts[index] = verdict;
    }
    verdicts
}

async fn run_target(
    target: Target,
    slots: Arc<Semaphore>,
    executor: Arc<dyn Executor>,
    cancel: CancellationToken,
    terminal: Option<Terminal>,
    mut reporter: Reporter,
) -> Verdict {
    // Waiting targets queue up in file order: a tokio semaphore is fair, and tasks of one run are spawned in order.
    let slot = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        slot = slots.acquire_owned() => slot.ok(),
    };
    let finished = if slot.is_none() {
        Finished::from(Verdict::Cancelled)
    } else {
        execute(target, executor, cancel, terminal, &mut reporter).await
    };
    let verdict = finished.verdict.clone();
    reporter.send(EventKind::Finished(finished)).await;
    drop(slot);
    verdict
}

async fn execute(
    target: Target,
    executor: Arc<dyn Executor>,
    cancel: CancellationToken,
    terminal: Option<Terminal>,
    reporter: &mut Reporter,
) -> Finished {
    let (sender, mut receiver) = mpsc::channel(EVENTS_AHEAD);
    let io = TargetIo { events: sender, cancel, terminal };
    let task = tokio::spawn(async move { executor.execute(&target, io).await });
    while let Some(kind) = receiver.recv().await {
        reporter.send(kind).await;
    }
    task.await.unwrap_or_else(|error| {
        Finished::from(Verdict::Lost(Failure {
            reason: format!("vmtest itself failed: {}", panic_message(error)),
            help: Some("please report this with the message above; the target did not pass".to_owned()),
            ..Failure::default()
        }))
    })
}

fn panic_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned()),
        Err(error) => error.to_string(),
    }
}

/// Numbers one target's events.
struct Reporter {
    run_id: RunId,
    index: usize,
    target: String,
    seq: u64,
    events: mpsc::Sender<RunEvent>,
}

impl Reporter {
    fn new(run_id: RunId, index: usize, target: String, events: mpsc::Sender<RunEvent>) -> Self {
        Self { run_id, index, target, seq: 0, events }
    }

    async fn send(&mut self, kind: EventKind) {
        let event = RunEvent {
            run_id: self.run_id.clone(),
            target: self.target.clone(),
            index: self.index,
            seq: self.seq,
            kind,
        };
        self.seq += 1;
        // A listener that is gone does not stop the run: whoever wants that cancels it.
        let _ = self.events.send(event).await;
    }
}
