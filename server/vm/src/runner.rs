//! Schedules targets on an executor and turns what happens into one ordered stream of events, in which every target
//! has exactly one `finished`, also when its execution panics.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
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
    let mut tasks: JoinSet<(usize, Verdict, Option<OwnedSemaphorePermit>)> = JoinSet::new();
    let mut verdicts: Vec<Verdict> = vec![Verdict::Cancelled; targets.len()];
    let mut reporters = Vec::with_capacity(targets.len());
    for (index, target) in targets.iter().enumerate() {
        let mut reporter = Reporter::new(run_id.clone(), index, target.name.clone(), events.clone());
        reporter.send(EventKind::Queued).await;
        reporters.push(reporter);
    }
    let mut waiting = targets.into_iter().enumerate().zip(reporters).peekable();
    loop {
        tokio::select! {
            biased;
            Some(joined) = tasks.join_next() => {
                // Its slot lives until here, so that with `fail_fast` no other target starts in between.
                let Ok((index, verdict, _slot)) = joined else { continue };
                if schedule.fail_fast && !verdict.passed() {
                    cancel.cancel();
                }
                verdicts[index] = verdict;
            }
            // A target has its slot before it becomes a task, because tasks begin in any order.
            slot = next_slot(&slots, &cancel), if waiting.peek().is_some() => {
                let Some(((index, target), reporter)) = waiting.next() else { continue };
                let (executor, cancel, terminal) = (executor.clone(), cancel.clone(), terminal.take());
                tasks.spawn(async move {
                    let may_run = slot.is_some();
                    (index, run_target(target, may_run, executor, cancel, terminal, reporter).await, slot)
                });
            }
            else => return verdicts,
        }
    }
}

/// The right to run; none when the run is cancelled.
async fn next_slot(slots: &Arc<Semaphore>, cancel: &CancellationToken) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        slot = slots.clone().acquire_owned() => slot.ok(),
    }
}

async fn run_target(
    target: Target,
    may_run: bool,
    executor: Arc<dyn Executor>,
    cancel: CancellationToken,
    terminal: Option<Terminal>,
    mut reporter: Reporter,
) -> Verdict {
    let finished = if may_run {
        execute(target, executor, cancel, terminal, &mut reporter).await
    } else {
        Finished::from(Verdict::Cancelled)
    };
    let verdict = finished.verdict.clone();
    reporter.send(EventKind::Finished(finished)).await;
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::executor::{Script, ScriptEnd, ScriptedExecutor};

    const COUNT: usize = 100;

    /// What a run of so many targets came to.
    struct Ran {
        /// In the order of the file.
        verdicts: Vec<Verdict>,
        /// The targets in the order in which they finished.
        finished: Vec<usize>,
        most_at_once: usize,
    }

    /// Runs `COUNT` targets; the first script is for the one that starts first. `watch` sees every event.
    async fn run_all(
        scripts: impl IntoIterator<Item = ScriptEnd>,
        schedule: Schedule,
        mut watch: impl FnMut(&RunEvent, &CancellationToken) + Send + 'static,
    ) -> Ran {
        let mut text = String::new();
        for number in 0..COUNT {
            write!(text, "[[target]]\nname = '{number}'\nkernel = 'k'\ncommand = 'c'\n").unwrap();
        }
        let loaded = vmtest_config::load(&text, Path::new("/")).unwrap();
        let targets = loaded.targets.into_iter().map(|resolved| resolved.target).collect();
        let script = |end| Script { events: vec![EventKind::Preparing], end };
        let executor = Arc::new(ScriptedExecutor::new(scripts.into_iter().map(script)));
        let (sender, mut events) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let watching = tokio::spawn(async move {
            let mut finished = Vec::new();
            while let Some(event) = events.recv().await {
                watch(&event, &stop);
                if matches!(event.kind, EventKind::Finished(_)) {
                    finished.push(event.index);
                }
            }
            finished
        });
        let verdicts = run(RunId::new(), targets, schedule, executor.clone(), sender, cancel, None).await;
        Ran { verdicts, finished: watching.await.unwrap(), most_at_once: executor.most_at_once() }
    }

    fn finish(verdict: Verdict) -> ScriptEnd {
        ScriptEnd::Finish(Finished::from(verdict))
    }

    const ONE_BY_ONE: Schedule = Schedule { jobs: 1, fail_fast: false };

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_at_a_time_is_in_the_order_of_the_file() {
        for _ in 0..20 {
            let scripts = (0..COUNT).map(|_| finish(Verdict::Passed));
            let ran = run_all(scripts, ONE_BY_ONE, |_, _| {}).await;
            assert_eq!(ran.finished, (0..COUNT).collect::<Vec<_>>());
            assert_eq!(ran.most_at_once, 1);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn as_many_run_at_once_as_there_are_jobs() {
        const JOBS: usize = 20;
        // Nobody gets past it before so many have come: with fewer at once the run would stand still.
        let barrier = Arc::new(tokio::sync::Barrier::new(JOBS));
        let script = |_| ScriptEnd::WaitForOthers(barrier.clone(), Finished::from(Verdict::Passed));
        let schedule = Schedule { jobs: JOBS, fail_fast: false };
        let run = run_all((0..COUNT).map(script), schedule, |_, _| {});
        let ran = tokio::time::timeout(std::time::Duration::from_secs(60), run).await;
        assert_eq!(ran.expect("the run stands still").most_at_once, JOBS);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_starts_after_the_failure_that_ends_the_run() {
        let failed = Verdict::Failed { exit_code: 3 };
        // A third target that starts would find no script, and be lost.
        let scripts = [finish(Verdict::Passed), finish(failed.clone())];
        let schedule = Schedule { fail_fast: true, ..ONE_BY_ONE };
        let Ran { verdicts, finished, .. } = run_all(scripts, schedule, |_, _| {}).await;
        assert_eq!(verdicts[..2], [Verdict::Passed, failed]);
        assert!(verdicts[2..].iter().all(|verdict| *verdict == Verdict::Cancelled), "{verdicts:?}");
        assert_eq!(finished.len(), COUNT);
    }

    // H1
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_stop_ends_what_runs_and_starts_nothing_more_and_each_target_has_one_end() {
        let cancelled = || ScriptEnd::WaitForCancel(Finished::from(Verdict::Cancelled));
        let scripts = [finish(Verdict::Passed), cancelled(), cancelled()];
        let schedule = Schedule { jobs: 2, fail_fast: false };
        let Ran { verdicts, mut finished, .. } = run_all(scripts, schedule, |event, cancel| {
            if event.index == 2 && matches!(event.kind, EventKind::Preparing) {
                cancel.cancel();
            }
        })
        .await;
        // Of the two that start at once either may be the first.
        let passed: Vec<_> = (0..COUNT).filter(|index| verdicts[*index] == Verdict::Passed).collect();
        assert!(passed == [0] || passed == [1], "{verdicts:?}");
        let cancelled = verdicts.iter().filter(|verdict| **verdict == Verdict::Cancelled).count();
        assert_eq!(cancelled, COUNT - 1, "{verdicts:?}");
        finished.sort_unstable();
        assert_eq!(finished, (0..COUNT).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_target_whose_execution_panics_is_lost_and_the_others_run() {
        let scripts = (0..COUNT).map(|index| match index {
            1 => ScriptEnd::Panic,
            _ => finish(Verdict::Passed),
        });
        let Ran { verdicts, finished, .. } = run_all(scripts, ONE_BY_ONE, |_, _| {}).await;
        let Verdict::Lost(failure) = &verdicts[1] else { panic!("{:?}", verdicts[1]) };
        assert!(failure.reason.contains("scripted panic of target `1`"), "{}", failure.reason);
        assert_eq!(verdicts.iter().filter(|verdict| verdict.passed()).count(), COUNT - 1);
        assert_eq!(finished, (0..COUNT).collect::<Vec<_>>());
    }
}
