//! The run's decisions, as pure functions: what a sign means in each phase, how long a phase may take, what comes after a boot
//! that failed, and what the verdict is.

mod boot;
mod limits;
mod run;
#[cfg(test)]
mod tests;

use crate::console::{Alarms, KernelBug};
use crate::qemu::monitor::MonitorEvent;
use crate::stream::Control;
use crate::verdict::Failure;

pub(crate) use boot::{BootEnd, Next, Watched, after_boot, while_booting};
pub(crate) use limits::Limits;
pub(crate) use run::{RunEnd, may_be_kept, verdict, was_resumed_in_vain, while_running};

/// What a machine, its guest, the clock or the user can do at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The user stops the run.
    Stop,
    /// The limit of the phase is over.
    LimitOver,
    /// No sign of life came for as long as one may be missing.
    Stalled,
    /// The kernel has not said a word for as long as it may need to.
    Silent,
    /// QEMU ended; how, in words.
    QemuEnded(String),
    /// The connection to monitor or agent broke.
    Unreachable(String),
    /// QEMU's monitor says something.
    Monitor(MonitorEvent),
    /// QEMU says, asked, that the processor failed.
    AcceleratorFailed,
    /// The console shows something.
    Console(Alarms),
    /// The agent answers.
    Answered,
    /// The guest does not answer, asked after its console had shown this.
    Dead(Alarms),
    /// The agent could not have the command started; one sentence.
    NotStarted(String),
    /// Word of the command.
    Command(Control),
}

/// What follows from a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<End> {
    /// Nothing.
    GoOn,
    /// Whether it is as bad as it looks is to be asked: QEMU in a boot, the agent later.
    Ask,
    /// The phase is over, as it should be.
    Next,
    /// The machine is to be ended, for this reason.
    End(End),
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
    /// Whether something of the user's may have run in the guest.
    pub(crate) may_have_run: bool,
}

const DISK_FAILED: &str = "the host did not take what the guest wrote to its disk";
const MORE_SPACE: &str =
    "what a guest writes is kept in TMPDIR (else /var/tmp) while it runs: make room there, or set TMPDIR";

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
