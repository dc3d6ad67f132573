//! How long things may take. Time in which this process was stopped (Ctrl-Z, a suspended laptop) does not count.

use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::decide::RunEnd;
use crate::event::Durations;

/// Waiting is cut into pieces of this length, so that a stop between two of them is seen.
const SLICE: Duration = Duration::from_millis(500);
/// A piece that took this much longer was a stop, and not a busy host.
const STOPPED: Duration = Duration::from_secs(1);

/// Ends when `time` has passed, not counting what passed while this process was stopped.
pub async fn awake(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let slice = left.min(SLICE);
        let before = tokio::time::Instant::now();
        tokio::time::sleep(slice).await;
        let passed = before.elapsed();
        // A piece with a stop in it does not count at all: what the guest said meanwhile is heard in the next.
        if passed <= slice + STOPPED {
            left = left.saturating_sub(passed);
        }
    }
}

/// What comes of `future` within `time`, counted as [`awake`] does; none when that is over first.
pub(crate) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        result = future => Some(result),
        () = awake(time) => None,
    }
}

/// The limits on set-up and command, one after the other.
pub(crate) struct Clock {
    started: Instant,
    setup_limit: Duration,
    command_limit: Option<Duration>,
    command_started: Option<Instant>,
    /// The limit that runs now.
    running: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Clock {
    pub(crate) fn new(setup_limit: Duration, command_limit: Option<Duration>) -> Self {
        let running = Box::pin(awake(setup_limit));
        Self { started: Instant::now(), setup_limit, command_limit, command_started: None, running }
    }

    pub(crate) fn command_started(&mut self) {
        self.command_started = Some(Instant::now());
        self.running = match self.command_limit {
            Some(limit) => Box::pin(awake(limit)),
            None => Box::pin(std::future::pending()),
        };
    }

    /// Ends when the present limit is over; never where there is none.
    pub(crate) async fn expired(&mut self) {
        self.running.as_mut().await;
    }

    pub(crate) fn end(&self) -> RunEnd {
        match (self.command_started, self.command_limit) {
            (Some(_), Some(limit)) => RunEnd::TimedOut(limit),
            _ => RunEnd::SetupTimedOut(self.setup_limit),
        }
    }

    pub(crate) fn stop(&self, durations: &mut Durations) {
        durations.setup = self.command_started.unwrap_or_else(Instant::now) - self.started;
        durations.command = self.command_started.map(|started| started.elapsed()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_counts_while_this_process_runs() {
        let before = tokio::time::Instant::now();
        awake(Duration::from_secs(5)).await;
        let passed = before.elapsed();
        assert!(passed >= Duration::from_secs(5) && passed < Duration::from_secs(6), "{passed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_count() {
        let mut limit = Box::pin(awake(Duration::from_secs(5)));
        assert!(futures_are_pending(limit.as_mut()).await);
        // To the timers a stop is a jump of the clock.
        tokio::time::advance(Duration::from_secs(3600)).await;
        let before = tokio::time::Instant::now();
        limit.await;
        assert!(before.elapsed() >= Duration::from_secs(4), "{:?}", before.elapsed());
    }

    async fn futures_are_pending(future: Pin<&mut (impl Future + Send)>) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = std::future::ready(()) => true,
        }
    }
}
