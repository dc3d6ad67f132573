//! Runs from the editor: started, queued, followed, stopped and remembered.
//!
//! [`Runs::start`] returns at once, and so does everything that stops: what takes time is in tasks. One lock guards what
//! is known; nothing is awaited under it. A target that is started again while it runs is started over: the old machine is
//! stopped and gone before the new one starts.

mod announce;
mod attempt;
mod ended;
mod follow;
mod line;
mod locations;
mod pipe;
mod places;
mod select;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_lsp::lsp_types::{Diagnostic, Location, MessageType, Range, Uri};
use vmtest_vm::event::RunId;
use vmtest_vm::executor::Executor;
use vmtest_vm::logs::Logs;
use vmtest_vm::runner::{self, Schedule};
use vmtest_vm::sanitize;

use self::attempt::Attempt;
use self::follow::Follower;
use self::line::{InTurn, Line, Turn};
use self::pipe::Pipe;
use self::places::{Folders, Places};
pub(crate) use self::select::{Choice, Chosen, Request};
pub(crate) use self::state::{TargetKey, TargetState};
use self::tokens::Tokens;
use crate::diagnostics::{ByFile, Diagnostics, Owner};
use crate::outbox::{Notice, Outbox};
use crate::position::Encoding;
use crate::protocol::TargetStatus;
use crate::trust::{self, Answer, Trust};
use crate::uri::uri_of;
use crate::warming::{Pause, Warming};

/// Events between a target and who follows it; a full channel makes the guest wait.
const EVENTS: usize = 8;
/// Shortest time between two requests for new lenses.
const LENS_PACE: Duration = Duration::from_millis(250);
/// What is left of a second then: while something runs, lenses show the seconds.
const LENS_TICK: Duration = Duration::from_millis(750);
/// Log files that cannot be made within this time are done without.
const LOGS_LIMIT: Duration = Duration::from_secs(5);

/// What the client can do that matters to runs.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct ClientSupport {
    /// It takes `vmtest/runEvent`.
    pub(crate) run_events: bool,
    /// It shows progress that the server starts.
    pub(crate) progress: bool,
    /// It asks for lenses again when told to.
    pub(crate) lens_refresh: bool,
    /// It shows a diagnostic's related places.
    pub(crate) related_information: bool,
    /// It opens files when told to.
    pub(crate) show_document: bool,
    /// What its positions count.
    pub(crate) encoding: Encoding,
}

/// What is known after `initialize`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The client.
    pub(crate) client: ClientSupport,
    /// Its workspace folders.
    pub(crate) folders: Vec<PathBuf>,
    /// Targets that run at once; none leaves it to processors and memory.
    pub(crate) jobs: Option<usize>,
}

/// Why nothing was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The user has not said that the workspace is trusted.
    Untrusted,
    /// Anything else, for the user to read.
    Sentence(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted => f.write_str(trust::HOW_TO),
            Self::Sentence(sentence) => f.write_str(sentence),
        }
    }
}

/// Makes the log files of a run of so many targets.
pub(crate) type MakeLogs = Arc<dyn Fn(&RunId, usize) -> Option<Logs> + Send + Sync>;

/// All runs of the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Runs(Arc<Inner>);

/// What the tasks of runs share.
pub(crate) struct Inner {
    executor: Arc<dyn Executor>,
    outbox: Arc<dyn Outbox>,
    diagnostics: Arc<Diagnostics>,
    trust: Arc<Trust>,
    warming: Arc<Warming>,
    make_logs: MakeLogs,
    settings: RwLock<Arc<Settings>>,
    line: Line,
    /// Of the progress of targets that run.
    tokens: Arc<Tokens>,
    known: Mutex<Known>,
    /// Something that a lens shows has changed.
    changed: Notify,
    /// What must be over before the server leaves: machines and who follows them, but nobody who waits for the client.
    tasks: TaskTracker,
}

#[derive(Default)]
struct Known {
    /// Runs that go on, by their names.
    runs: HashMap<String, Vec<Arc<Attempt>>>,
    /// The last attempt of each target of each document.
    last: HashMap<Uri, BTreeMap<TargetKey, Last>>,
    /// The server leaves: nothing starts any more.
    leaving: bool,
}

struct Last {
    attempt: Arc<Attempt>,
    /// In other files and this one, as the output named them.
    places: ByFile,
    /// On the target's header.
    on_header: Option<Diagnostic>,
    /// The document is closed, or has no such target: the attempt ends unseen.
    hidden: bool,
}

impl Runs {
    /// No runs yet. `outbox` leads to the client.
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        outbox: Arc<dyn Outbox>,
        diagnostics: Arc<Diagnostics>,
        trust: Arc<Trust>,
        warming: Arc<Warming>,
        make_logs: MakeLogs,
    ) -> Self {
        Self(Arc::new(Inner {
            executor,
            outbox,
            diagnostics,
            trust,
            warming,
            make_logs,
            settings: RwLock::default(),
            line: Line::new(),
            tokens: Arc::default(),
            known: Mutex::default(),
            changed: Notify::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Takes note of what `initialize` or a change of the workspace folders said; for runs that start from now on.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.0.settings.write().expect("no holder panics");
        change(Arc::make_mut(&mut settings));
    }

    /// Starts targets; returns before anything happens. Refused when the workspace is not trusted.
    pub(crate) fn start(&self, request: Request) -> Result<RunId, Refusal> {
        if !self.0.trust.is_granted() {
            return Err(Refusal::Untrusted);
        }
        self.start_trusted(request)
    }

    /// The same for a client that cannot grant trust itself: where it is missing, the user is asked in a task, and the run
    /// starts with the answer. None when that happens.
    pub(crate) fn start_or_ask(&self, request: Request) -> Result<Option<RunId>, Refusal> {
        let Some(question) = self.0.trust.question(&request) else {
            return self.start_trusted(request).map(Some);
        };
        let runs = self.clone();
        tokio::spawn(async move {
            let started = match question.ask(&*runs.0.outbox).await {
                Answer::Yes => runs.start_trusted(request).map(drop),
                Answer::No => Ok(()),
                Answer::Late => Err(Refusal::Sentence(
                    "nothing was run: another run was asked for after this question".to_owned(),
                )),
                Answer::Unasked => Err(Refusal::Untrusted),
            };
            if let Err(refusal) = started {
                runs.0.outbox.notify(Notice::Message(MessageType::ERROR, refusal.to_string())).await;
            }
        });
        Ok(None)
    }

    /// Stops a run; one that is over, or never was, is nothing to stop.
    pub(crate) fn cancel(&self, run_id: &str) {
        for attempt in self.0.known().runs.get(run_id).into_iter().flatten() {
            attempt.cancel.cancel();
        }
    }

    /// Stops the last attempt of one target, and no other of its run.
    pub(crate) fn cancel_target(&self, uri: &Uri, target: &TargetKey) {
        if let Some(last) = self.0.known().last(uri, target) {
            last.attempt.cancel.cancel();
        }
    }

    /// `window/workDoneProgress/cancel`: stops the target that the progress was about.
    pub(crate) fn cancel_progress(&self, token: &str) {
        self.0.tokens.cancel(token);
    }

    /// How the targets of a document are; one that is missing is idle.
    pub(crate) fn states(&self, uri: &Uri) -> BTreeMap<TargetKey, TargetState> {
        let known = self.0.known();
        let targets = known.last.get(uri).into_iter().flatten();
        targets.map(|(key, last)| (key.clone(), last.attempt.state.borrow().clone())).collect()
    }

    /// How one target is, for the wire.
    pub(crate) fn status(&self, uri: &Uri, target: &TargetKey) -> TargetStatus {
        self.0.known().last(uri, target).map_or(TargetStatus::Idle, |last| {
            last.attempt.state.borrow().status(last.attempt.run_id.clone())
        })
    }

    /// Opens the log of a target's last run in the editor, or says where it is.
    pub(crate) fn open_log(&self, uri: &Uri, target: &TargetKey) -> Result<(), Refusal> {
        let state = self.0.known().last(uri, target).map(|last| last.attempt.state.borrow().clone());
        let name = sanitize::name(&target.name);
        let Some(TargetState::Finished { log: Some(log), .. }) = state else {
            return Err(Refusal::Sentence(format!("there is no log of target `{name}` yet")));
        };
        let (outbox, can_show) = (self.0.outbox.clone(), self.0.settings().client.show_document);
        tokio::spawn(async move {
            let shown = match uri_of(&log) {
                Some(uri) if can_show => outbox.show_document(uri).await,
                _ => false,
            };
            if !shown {
                let sentence = format!("the log of target `{name}` is {}", log.display());
                outbox.notify(Notice::Message(MessageType::INFO, sentence)).await;
            }
        });
        Ok(())
    }

    /// The text has changed: these are its targets now, in order, and their headers. What is remembered of others goes; a
    /// diagnostic stays with its target.
    pub(crate) fn document_changed(&self, uri: &Uri, targets: &[(&str, Range)]) {
        let keys = TargetKey::all(targets.iter().map(|(name, _)| *name));
        let headers: HashMap<_, _> =
            keys.iter().zip(targets).map(|(key, (_, range))| (key, *range)).collect();
        self.0.retain(uri, |key, last| {
            let was_hidden = std::mem::replace(&mut last.hidden, !headers.contains_key(key));
            let moved = headers.get(key).is_some_and(|range| last.attempt.move_to(*range));
            moved || last.hidden != was_hidden
        });
    }

    /// The document was closed. What still runs goes on; `vmtest/runEvent` tells of its end, and nothing else does.
    pub(crate) fn forget(&self, uri: &Uri) {
        self.0.retain(uri, |_, last| {
            last.hidden = true;
            true
        });
    }

    /// Stops everything and waits until the machines are gone, at most so long; whether they are.
    pub(crate) async fn shutdown(&self, limit: Duration) -> bool {
        let attempts: Vec<_> = {
            let mut known = self.0.known();
            known.leaving = true;
            known.runs.values().flatten().cloned().collect()
        };
        for attempt in attempts {
            attempt.cancel.cancel();
        }
        self.0.tasks.close();
        tokio::time::timeout(limit, self.0.tasks.wait()).await.is_ok()
    }

    /// Asks the client for new lenses when something that they show has changed, and as time passes. Forever.
    pub(crate) async fn refresh_lenses(&self) {
        loop {
            let is_active =
                self.0.known().runs.values().flatten().any(|one| one.state.borrow().phase().is_some());
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(LENS_TICK), if is_active => {}
            }
            if self.0.settings().client.lens_refresh {
                self.0.outbox.refresh_lenses().await;
                tokio::time::sleep(LENS_PACE).await;
            }
        }
    }

    fn start_trusted(&self, request: Request) -> Result<RunId, Refusal> {
        let (inner, settings) = (&self.0, self.0.settings());
        let run_id = RunId::new();
        let stop = CancellationToken::new();
        let count = request.targets.len();
        let mut started = Vec::with_capacity(count);
        let mut known = inner.known();
        if known.leaving {
            return Err(Refusal::Sentence("the server is about to end".to_owned()));
        }
        for (index, chosen) in request.targets.into_iter().enumerate() {
            let cancel = stop.child_token();
            let (uri, key) = (request.uri.clone(), chosen.key.clone());
            let attempt = Attempt::new(uri, key, run_id.clone(), index, cancel, chosen.header);
            let attempt = Arc::new(attempt);
            let before = known.replace(attempt.clone());
            if let Some(before) = &before {
                before.cancel.cancel();
            }
            inner.diagnostics.clear(attempt.owner());
            let turn = inner.line.stand(&chosen.target, settings.jobs);
            started.push(Started { chosen, attempt, before, turn });
        }
        known.runs.insert(run_id.0.clone(), started.iter().map(|one| one.attempt.clone()).collect());
        drop(known);
        inner.changed.notify_one();
        let pause = inner.warming.pause();
        inner.tasks.spawn(inner.clone().carry_out(run_id.clone(), started, settings, pause));
        Ok(run_id)
    }
}

/// A target that is about to run.
struct Started {
    chosen: Chosen,
    attempt: Arc<Attempt>,
    /// What it replaces.
    before: Option<Arc<Attempt>>,
    turn: Turn,
}

impl Attempt {
    fn owner(&self) -> Owner {
        Owner::Run { uri: self.uri.clone(), target: self.key.clone() }
    }
}

impl Known {
    fn last(&self, uri: &Uri, target: &TargetKey) -> Option<&Last> {
        self.last.get(uri)?.get(target)
    }

    /// Makes `attempt` the last of its target; returns the one before.
    fn replace(&mut self, attempt: Arc<Attempt>) -> Option<Arc<Attempt>> {
        let targets = self.last.entry(attempt.uri.clone()).or_default();
        let key = attempt.key.clone();
        let new = Last { attempt, places: ByFile::new(), on_header: None, hidden: false };
        targets.insert(key, new).map(|last| last.attempt)
    }

    /// The entry of an attempt, while it is the last of its target.
    fn entry(&mut self, attempt: &Arc<Attempt>) -> Option<&mut Last> {
        let last = self.last.get_mut(&attempt.uri)?.get_mut(&attempt.key)?;
        Arc::ptr_eq(&last.attempt, attempt).then_some(last)
    }
}

impl Inner {
    /// What is known of the client.
    fn settings(&self) -> Arc<Settings> {
        self.settings.read().expect("no holder panics").clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }

    /// One run, to its end.
    async fn carry_out(
        self: Arc<Self>,
        run_id: RunId,
        started: Vec<Started>,
        settings: Arc<Settings>,
        pause: Pause,
    ) {
        let (inner, id, count) = (self.clone(), run_id.clone(), started.len());
        let logs = tokio::task::spawn_blocking(move || (inner.make_logs)(&id, count));
        let logs = tokio::time::timeout(LOGS_LIMIT, logs).await.ok().and_then(Result::ok).flatten();
        let told = CancellationToken::new();
        if settings.client.run_events {
            let attempts = started.iter().map(|one| one.attempt.clone()).collect();
            tokio::spawn(follow::send_queued(self.outbox.clone(), attempts, told.clone()));
        }
        let mut targets = Vec::with_capacity(count);
        for one in started {
            let logs = logs.as_ref().map(Logs::for_another_listener);
            targets.push(tokio::spawn(self.clone().carry_out_target(
                one,
                logs,
                settings.clone(),
                told.clone(),
                pause.gone(),
            )));
        }
        for target in targets {
            // A panic of ours has been reported; the other targets go on.
            let _ = target.await;
        }
        self.known().runs.remove(&run_id.0);
    }

    /// One target of a run, from its place in the line until its machine is gone.
    async fn carry_out_target(
        self: Arc<Self>,
        started: Started,
        logs: Option<Logs>,
        settings: Arc<Settings>,
        told: CancellationToken,
        warmer: Option<CancellationToken>,
    ) {
        let Started { chosen, attempt, before, turn } = started;
        // Also when something here panics: what replaces it must not wait forever.
        let _gone = attempt.gone.clone().drop_guard();
        let client = settings.client;
        let location = Location::new(attempt.uri.clone(), chosen.header);
        let name = sanitize::name(&chosen.key.name);
        let printed_by = client.related_information.then_some((location, name.as_str()));
        let places =
            Places::new(Folders::new(&chosen.target, &settings.folders), client.encoding, printed_by);
        let pipe = Arc::new(Pipe::default());
        // Who talks to the client is on its own: it may wait for it longer than the server lives.
        if client.run_events {
            let (outbox, diagnostics) = (self.outbox.clone(), self.diagnostics.clone());
            tokio::spawn(follow::send_events(outbox, diagnostics, attempt.clone(), pipe.clone(), told));
        } else {
            let log = logs.as_ref().map(|logs| logs.output_file(attempt.index, &attempt.key.name));
            let outbox = self.outbox.clone();
            tokio::spawn(follow::send_log(outbox, attempt.clone(), pipe.clone(), log, client.progress));
            if client.progress {
                let (cancel, states) = (attempt.cancel.clone(), attempt.state.subscribe());
                let (outbox, tokens) = (self.outbox.clone(), self.tokens.clone());
                tokio::spawn(announce::progress(outbox, tokens, cancel, name, states));
            }
        }
        let first = before.iter().map(|before| before.gone.clone()).chain(warmer).collect();
        let executor = Arc::new(InTurn::new(self.executor.clone(), turn, first));
        let follower = Follower::new(self.clone(), attempt.clone(), pipe, logs, places);
        let (events, heard) = mpsc::channel(EVENTS);
        let following = tokio::spawn(follower.follow(heard));
        let schedule = Schedule { jobs: 1, fail_fast: false };
        let cancel = attempt.cancel.clone();
        let run_id = attempt.run_id.clone();
        runner::run(run_id, vec![chosen.target], schedule, executor, events, cancel, None).await;
        let _ = following.await;
        // One that was cancelled in the line has not waited for what it replaced.
        if let Some(before) = before {
            before.gone.cancelled().await;
            // One log for each target: a server lives long.
            before.remove_log();
        }
    }

    /// The attempt is in another state now.
    fn enter(&self, attempt: &Arc<Attempt>, state: TargetState) {
        let is_over = !state.is_active();
        attempt.state.send_replace(state);
        let mut known = self.known();
        if is_over && known.entry(attempt).is_some_and(|last| last.hidden) {
            known.last.get_mut(&attempt.uri).map(|targets| targets.remove(&attempt.key));
        }
        drop(known);
        self.changed.notify_one();
    }

    /// Shows what an attempt found, while it is the last of its target.
    fn show(&self, attempt: &Arc<Attempt>, places: ByFile, on_header: Option<Diagnostic>) {
        let mut known = self.known();
        if let Some(last) = known.entry(attempt) {
            last.places = places;
            last.on_header = on_header;
            self.publish(last);
        }
    }

    /// Called under the lock, so that an older state cannot overtake a newer one.
    fn publish(&self, last: &Last) {
        let mut by_file = ByFile::new();
        if !last.hidden {
            by_file.clone_from(&last.places);
            if let Some(on_header) = &last.on_header {
                let range = last.attempt.header();
                let moved = Diagnostic { range, ..on_header.clone() };
                by_file.entry(last.attempt.uri.clone()).or_default().insert(0, moved);
            }
        }
        self.diagnostics.set(last.attempt.owner(), by_file);
    }

    /// Lets `visit` change every entry of a document, publishes those that it says have changed, and drops those that are
    /// hidden and over.
    fn retain(&self, uri: &Uri, mut visit: impl FnMut(&TargetKey, &mut Last) -> bool) {
        let mut known = self.known();
        let Some(targets) = known.last.get_mut(uri) else { return };
        targets.retain(|key, last| {
            if visit(key, last) {
                self.publish(last);
            }
            !last.hidden || last.attempt.state.borrow().is_active()
        });
        if targets.is_empty() {
            known.last.remove(uri);
        }
    }
}
