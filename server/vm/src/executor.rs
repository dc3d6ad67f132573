//! Who carries out one target. The real one drives QEMU; the scripted one makes scheduler, reports and terminal UI
//! testable without a VM and without a clock.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Barrier, mpsc};
use tokio_util::sync::CancellationToken;
use vmtest_config::Target;

use crate::event::{EventKind, Finished};

/// Carries out one target.
pub trait Executor: Send + Sync {
    /// Runs `target` to its end, sending what happens to `events`. `Queued` and `Finished` are the runner's to send.
    /// Returns soon after `cancel` fires, with everything it started gone.
    fn execute<'a>(
        &'a self,
        target: &'a Target,
        io: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>>;

    /// Makes sure that a guest is kept for `target`, so that its runs need not boot: where there is none yet and one may be
    /// kept, one boots for that alone. Nothing of the project is mounted or runs. What is started lets everything else on
    /// the host go first. Returns soon after `cancel` fires, with all of it gone. An executor without guests has none to keep.
    fn warm<'a>(
        &'a self,
        _target: &'a Target,
        _cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Warmed> + Send + 'a>> {
        Box::pin(std::future::ready(Warmed::NotKept("there are no guests".to_owned())))
    }
}

/// What came of [`Executor::warm`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warmed {
    /// A guest was there already.
    AlreadyKept,
    /// One is there now.
    KeptNow,
    /// There is none, for this reason.
    NotKept(String),
    /// It was cancelled before it was known.
    Cancelled,
}

/// What one target's execution is connected to.
#[derive(Debug)]
pub struct TargetIo {
    /// Takes events; a full channel makes the guest wait.
    pub events: mpsc::Sender<EventKind>,
    /// Fires when the user stops the run.
    pub cancel: CancellationToken,
    /// What the user types, for an interactive shell; none for a command.
    pub terminal: Option<Terminal>,
}

/// The user's end of an interactive shell.
#[derive(Debug)]
pub struct Terminal {
    /// The window at the start; none when standard input is not a terminal, and the guest's shell reads a pipe.
    pub size: Option<WindowSize>,
    /// `TERM` of the user's terminal is passed by the environment; what is typed comes here.
    pub input: mpsc::Receiver<TerminalInput>,
}

/// What a terminal can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalInput {
    /// Typed bytes.
    Bytes(Vec<u8>),
    /// The window changed.
    Resize(WindowSize),
    /// No more input will come.
    End,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// An executor that plays prepared events and verdicts, in the order in which targets start.
#[derive(Debug, Default)]
pub struct ScriptedExecutor {
    scripts: Mutex<VecDeque<Script>>,
    playing: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// What a [`ScriptedExecutor`] plays for one target.
#[derive(Debug)]
pub struct Script {
    /// Sent one after the other.
    pub events: Vec<EventKind>,
    /// How it ends.
    pub end: ScriptEnd,
}

/// How a [`Script`] ends.
#[derive(Debug)]
pub enum ScriptEnd {
    /// With this.
    Finish(Finished),
    /// With this, when the run is cancelled.
    WaitForCancel(Finished),
    /// With this, when as many targets have come to this point as the barrier waits for.
    WaitForOthers(Arc<Barrier>, Finished),
    /// With a panic.
    Panic,
}

impl ScriptedExecutor {
    /// Plays `scripts`, the first for the target that starts first.
    pub fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self { scripts: Mutex::new(scripts.into_iter().collect()), ..Self::default() }
    }

    /// The most targets that ever ran at once.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

impl Executor for ScriptedExecutor {
    fn execute<'a>(
        &'a self,
        target: &'a Target,
        io: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        let script = self.scripts.lock().expect("no holder panics").pop_front();
        Box::pin(async move {
            let script = script.unwrap_or_else(|| panic!("no script is left for target `{}`", target.name));
            let playing = self.playing.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(playing, Ordering::SeqCst);
            for event in script.events {
                // A listener that is gone does not change what happened.
                let _ = io.events.send(event).await;
            }
            let finished = match script.end {
                ScriptEnd::Finish(finished) => finished,
                ScriptEnd::WaitForCancel(finished) => {
                    io.cancel.cancelled().await;
                    finished
                }
                ScriptEnd::WaitForOthers(barrier, finished) => {
                    barrier.wait().await;
                    finished
                }
                ScriptEnd::Panic => panic!("scripted panic of target `{}`", target.name),
            };
            self.playing.fetch_sub(1, Ordering::SeqCst);
            finished
        })
    }
}
