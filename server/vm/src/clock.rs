//! How long a booted guest may take.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::decide::RunEnd;
use crate::event::Durations;

/// The limits on set-up and command, one after the other.
pub(crate) struct Clock {
    started: Instant,
    setup_limit: Duration,
    command_limit: Option<Duration>,
    command_started: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(setup_limit: Duration, command_limit: Option<Duration>) -> Self {
        Self { started: Instant::now(), setup_limit, command_limit, command_started: None }
    }

    pub(crate) fn command_started(&mut self) {
        self.command_started = Some(Instant::now());
    }

    /// Ends when the present limit is over; never where there is none.
    pub(crate) async fn expired(&self) {
        let deadline = match self.command_started {
            None => Some(self.started + self.setup_limit),
            Some(started) => self.command_limit.map(|limit| started + limit),
        };
        match deadline {
            Some(deadline) => sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
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
