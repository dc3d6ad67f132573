//! What the agent of a guest that is up is sent to do: bring our guest init its job, or run the command itself.

use std::io;
use std::time::Duration;

use vmtest_config::{System, Target};
use vmtest_guest::wire::Job;

use crate::agent_client::AgentClient;
use crate::clock::within;
use crate::image::{CommandLine, Guest, GuestError};
use crate::job::{self, Attached};
use crate::prepare::Prepared;

/// How long a guest whose kernel seems to have panicked may take to show that it has not.
const PANIC_GRACE: Duration = Duration::from_secs(15);

/// What the agent is sent to do. The run hears of the command by [`crate::stream::Control`].
pub(super) enum Errand {
    /// Our guest init does the rest.
    Job(Job),
    /// The guest has nobody else.
    Image(Guest, CommandLine),
}

impl Errand {
    /// Reads the clock and random bytes for the job. `guest` is an image's.
    pub(super) fn new(
        target: &Target,
        prepared: &Prepared,
        guest: Option<Guest>,
        attached: Attached,
    ) -> io::Result<Self> {
        match (&target.system, guest) {
            (System::Image(_), Some(guest)) => Ok(Self::Image(guest, job::command_line(target, attached))),
            (System::Image(_), None) => Err(io::Error::other("the guest runs its command already")),
            (System::Kernel(system), _) => {
                let (project, shares) = (&prepared.project, &prepared.shares);
                job::job(target, system, project, shares, prepared.shows_owners(), attached).map(Self::Job)
            }
        }
    }

    /// Does it.
    pub(super) async fn run(self, agent: &AgentClient) -> Result<(), GuestError> {
        match self {
            Self::Job(job) => agent.hand_over(&job).await.map_err(GuestError::Lost),
            Self::Image(guest, command) => guest.carry_out(agent, &command).await,
        }
    }
}

/// The agent does not answer any more.
pub(super) struct Silence;

/// Whether the agent still answers.
pub(super) async fn answers(agent: &AgentClient) -> Result<(), Silence> {
    match within(PANIC_GRACE, agent.ping()).await {
        Some(Ok(())) => Ok(()),
        _ => Err(Silence),
    }
}
