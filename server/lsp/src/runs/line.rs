//! The line of waiting targets. It is one for all runs, in the order in which they were started.

use std::future::Future;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use vmtest_config::Target;
use vmtest_vm::capacity;
use vmtest_vm::event::Finished;
use vmtest_vm::executor::{Executor, TargetIo};
use vmtest_vm::verdict::Verdict;

/// The machine in parts so small that any number of targets shares it evenly.
const MACHINE: u32 = 1 << 20;

/// Lets so many targets run at once.
#[derive(Debug)]
pub(crate) struct Line {
    parts: Arc<Semaphore>,
}

/// A place in the line; ready when it is this target's turn.
pub(crate) type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl Line {
    /// A line in which nobody waits.
    pub(crate) fn new() -> Self {
        Self { parts: Arc::new(Semaphore::new(MACHINE as usize)) }
    }

    /// Takes a place at the end. The target gets the share of the machine that lets `jobs` like it run at once; without a
    /// number as many as processors and memory allow.
    pub(crate) fn stand(&self, target: &Target, jobs: Option<usize>) -> Turn {
        let jobs = jobs.unwrap_or_else(|| capacity::auto(std::slice::from_ref(target)));
        let share =
            NonZero::new(u32::try_from(jobs).unwrap_or(MACHINE)).map_or(MACHINE, |jobs| MACHINE / jobs);
        let mut turn: Turn = Box::pin(self.parts.clone().acquire_many_owned(share.max(1)));
        // Places are taken when a turn is first asked for. That is here, so that tasks, which begin in any order, cannot
        // change the order; the answer is heard later.
        let early = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match early {
            std::task::Poll::Ready(permit) => Box::pin(std::future::ready(permit)),
            std::task::Poll::Pending => turn,
        }
    }
}

/// Carries out one target when its turn has come and what is in its way is gone.
pub(crate) struct InTurn {
    executor: Arc<dyn Executor>,
    turn: Mutex<Option<Turn>>,
    first: Vec<CancellationToken>,
}

impl InTurn {
    /// Each of `first` fires when something that must be gone first is gone.
    pub(crate) fn new(executor: Arc<dyn Executor>, turn: Turn, first: Vec<CancellationToken>) -> Self {
        Self { executor, turn: Mutex::new(Some(turn)), first }
    }
}

impl Executor for InTurn {
    fn execute<'a>(
        &'a self,
        target: &'a Target,
        io: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        let turn = self.turn.lock().expect("no holder panics").take();
        Box::pin(async move {
            let in_turn = async {
                for gone in &self.first {
                    gone.cancelled().await;
                }
                turn.expect("an execution of its own for each target").await
            };
            let permit = tokio::select! {
                biased;
                () = io.cancel.cancelled() => return Verdict::Cancelled.into(),
                permit = in_turn => permit,
            };
            let finished = self.executor.execute(target, io).await;
            drop(permit);
            finished
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::target;

    fn is_ready(turn: &mut Turn) -> bool {
        turn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn as_many_run_as_there_are_jobs() {
        for jobs in [1, 2, 3, 7, 1024] {
            let line = Line::new();
            let mut turns: Vec<_> = (0..=jobs).map(|_| line.stand(&target("a"), Some(jobs))).collect();
            // A permit that is dropped at once would let the next one in.
            let permits: Vec<_> = turns[..jobs].iter_mut().map(futures::FutureExt::now_or_never).collect();
            assert!(permits.iter().all(Option::is_some), "{jobs}");
            assert!(!is_ready(&mut turns[jobs]), "{jobs}");
        }
    }

    #[test]
    fn turns_come_in_the_order_of_standing_whoever_asks_first() {
        let line = Line::new();
        let [first, mut second, mut third] = [(); 3].map(|()| line.stand(&target("a"), Some(1)));
        let permit = futures::FutureExt::now_or_never(first).unwrap().unwrap();
        assert!(!is_ready(&mut third) && !is_ready(&mut second));
        drop(permit);
        assert!(!is_ready(&mut third));
        let permit = futures::FutureExt::now_or_never(second).unwrap().unwrap();
        drop(permit);
        assert!(is_ready(&mut third));
    }
}
