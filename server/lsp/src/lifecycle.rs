//! When the server leaves: on `exit`, when its input ends, when it cannot answer any more, when its client is gone, and on
//! a signal.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why the server leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The client said `exit`.
    Exit,
    /// Standard input ended.
    InputEnded,
    /// Nobody takes what is written to standard output.
    OutputClosed,
    /// The client's process ended.
    ClientGone,
    /// A signal, by its number.
    Signal(i32),
}

/// Knows whether the client said goodbye, and tells once that it is time to leave.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    shut_down: AtomicBool,
    leave: watch::Sender<Option<Reason>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { shut_down: AtomicBool::new(false), leave: watch::Sender::new(None) }
    }
}

impl Lifecycle {
    /// The client asked for `shutdown`: from now on, leaving is no surprise.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(true, Ordering::SeqCst);
    }

    /// It is time to leave; the first reason counts.
    pub(crate) fn leave(&self, reason: Reason) {
        self.leave.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(reason);
            first
        });
    }

    /// Waits until it is time.
    pub(crate) async fn leaving(&self) -> Reason {
        let mut reason = self.leave.subscribe();
        let reason = reason.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        // `self` holds the sender, so there is always an answer.
        reason.unwrap_or(Reason::Exit)
    }

    /// The status that the process then ends with.
    pub(crate) fn exit_status(&self, reason: Reason) -> u8 {
        match reason {
            Reason::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
            _ => u8::from(!self.shut_down.load(Ordering::SeqCst)),
        }
    }
}

/// The client's process.
#[derive(Debug)]
pub(crate) struct ClientProcess(OwnedFd);

impl ClientProcess {
    /// Finds it by the number that the client sent; none when the number means nothing here.
    ///
    /// Only a process that we descend from counts. In a container, the number is one of another pid namespace: usually
    /// nobody has it here, and whoever has it is not the client, so its end must not be ours.
    pub(crate) fn find(process_id: u32) -> Option<Self> {
        let pid = i32::try_from(process_id).ok().and_then(Pid::from_raw)?;
        // Before the question, so that the number cannot be given to another process in between.
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        if !is_ancestor(pid) {
            tracing::debug!(
                process_id,
                "the client's process is none of ours; only the end of input is watched"
            );
            return None;
        }
        Some(Self(handle))
    }

    /// Calls `gone` when it has ended. A thread of its own waits, so that nothing here can keep it from being seen.
    pub(crate) fn watch(self, gone: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            while poll(&mut watched, None) == Err(Errno::INTR) {}
            gone();
        };
        std::thread::Builder::new().name("client".to_owned()).spawn(wait).map(drop)
    }
}

fn is_ancestor(pid: Pid) -> bool {
    let mut current = Some(getpid());
    while let Some(child) = current {
        current = parent_of(child);
        if current == Some(pid) {
            return true;
        }
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in the parentheses may hold anything; state and parent follow it.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
    Pid::from_raw(parent.parse().ok()?)
}

/// Waits for a signal that asks us to end.
pub(crate) async fn signalled() -> i32 {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    let waits = kinds.into_iter().filter_map(|kind| {
        let mut signals = signal(kind).ok()?;
        Some(Box::pin(async move {
            signals.recv().await;
            kind.as_raw_value()
        }))
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        // The system refuses handlers; its default action for each of them ends us, too.
        return std::future::pending().await;
    }
    futures::future::select_all(waits).await.0
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn the_first_reason_counts() {
        let lifecycle = Lifecycle::default();
        lifecycle.leave(Reason::ClientGone);
        lifecycle.leave(Reason::Exit);
        assert_eq!(lifecycle.leaving().await, Reason::ClientGone);
    }

    #[test]
    fn leaving_without_goodbye_is_a_failure() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.exit_status(Reason::Exit), 1);
        assert_eq!(lifecycle.exit_status(Reason::InputEnded), 1);
        lifecycle.shut_down();
        assert_eq!(lifecycle.exit_status(Reason::Exit), 0);
        assert_eq!(lifecycle.exit_status(Reason::Signal(15)), 143);
    }

    #[test]
    fn a_process_that_did_not_start_us_is_not_watched() {
        let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        assert!(ClientProcess::find(stranger.id()).is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(ClientProcess::find(stranger.id()).is_none());
        for number in [0, u32::MAX, i32::MAX as u32, std::process::id()] {
            assert!(ClientProcess::find(number).is_none(), "{number}");
        }
    }

    #[test]
    fn the_process_that_started_us_is_watched() {
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        assert!(ClientProcess::find(parent as u32).is_some());
    }
}
