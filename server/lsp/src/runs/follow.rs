//! One target of a run, from its place in the line to its last word: who hears what, in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_lsp::lsp_types::Location;
use vmtest_vm::event::{EventKind, Finished, OutputStream, RunEvent};
use vmtest_vm::logs::Logs;

use super::attempt::Attempt;
use super::ended::{self, Ended, Tail};
use super::locations::{Place, Scanner};
use super::pipe::Pipe;
use super::places::Places;
use super::{Inner, TargetState, announce};
use crate::diagnostics::Diagnostics;
use crate::outbox::{Notice, Outbox};
use crate::protocol::RunEventParams;
use crate::uri::uri_of;

/// Diagnostics of a run that goes on are shown this often.
const BATCH: Duration = Duration::from_millis(100);
/// Bytes of output that are read before somebody else gets the thread.
const STRETCH: usize = 128 << 10;
/// Errors that the target's diagnostic leads to.
const RELATED: usize = 5;

/// Hears everything that one target does.
pub(super) struct Follower {
    inner: Arc<Inner>,
    attempt: Arc<Attempt>,
    pipe: Arc<Pipe>,
    logs: Option<Logs>,
    scanners: Scanners,
    places: Places,
    tail: Tail,
    bug: Option<(String, Vec<String>)>,
    /// When the download began that goes on.
    downloading: Option<Instant>,
    /// When the diagnostics that changed are shown.
    show_at: Option<Instant>,
}

impl Follower {
    /// Writes to `logs` and `pipe` and remembers in `attempt` what happens.
    pub(super) fn new(
        inner: Arc<Inner>,
        attempt: Arc<Attempt>,
        pipe: Arc<Pipe>,
        logs: Option<Logs>,
        places: Places,
    ) -> Self {
        let scanners = Scanners::default();
        let tail = Tail::default();
        Self {
            inner,
            attempt,
            pipe,
            logs,
            scanners,
            places,
            tail,
            bug: None,
            downloading: None,
            show_at: None,
        }
    }

    /// Follows until there are no more events, which is when the machine is gone.
    pub(super) async fn follow(mut self, mut events: mpsc::Receiver<RunEvent>) {
        let mut at_a_stretch = 0;
        loop {
            let event = match self.show_at {
                None => events.recv().await,
                Some(time) => tokio::select! {
                    event = events.recv() => event,
                    () = tokio::time::sleep_until(time) => {
                        self.show();
                        continue;
                    }
                },
            };
            let Some(event) = event else { return };
            self.hear(&event);
            if let EventKind::Output(output) = &event.kind {
                at_a_stretch += output.data.len();
            }
            self.pipe.push(event.kind);
            // Reading output is work, and the threads that do it also answer keystrokes.
            if at_a_stretch > STRETCH {
                at_a_stretch = 0;
                tokio::task::yield_now().await;
            }
            // Room for the client to catch up; a run that is being stopped waits for nobody.
            tokio::select! {
                biased;
                () = self.pipe.room() => {}
                () = self.attempt.cancel.cancelled() => {}
            }
            if self.show_at.is_some_and(|time| time <= Instant::now()) {
                self.show();
            }
        }
    }

    fn hear(&mut self, event: &RunEvent) {
        // The log of an editor's run is a convenience: a full disk does not stop the run.
        if self.logs.as_mut().is_some_and(|logs| logs.event(event).is_err()) {
            self.logs = None;
        }
        match &event.kind {
            EventKind::Queued | EventKind::Notice { .. } | EventKind::Booted { .. } => {}
            EventKind::Downloading { received, total, .. } => {
                let (received, total) = (*received, *total);
                let since = *self.downloading.get_or_insert_with(Instant::now);
                self.enter(|_| TargetState::Downloading { since, received, total });
            }
            EventKind::Preparing => self.enter(|since| TargetState::Preparing { since }),
            EventKind::Booting { .. } => self.enter(|since| TargetState::Booting { since }),
            EventKind::CommandStarted => self.enter(|since| TargetState::Running { since }),
            EventKind::Console { line } => {
                self.scan(|scanners, found| scanners.console(line, found));
            }
            EventKind::Output(output) => {
                self.tail.push(&output.data);
                self.scan(|scanners, found| scanners.of(output.stream).push(&output.data, found));
            }
            EventKind::KernelBug { title, excerpt } => {
                self.bug.get_or_insert_with(|| (title.clone(), excerpt.clone()));
            }
            EventKind::Finished(finished) => self.finished(finished),
        }
    }

    fn enter(&self, state: impl FnOnce(Instant) -> TargetState) {
        self.inner.enter(&self.attempt, state(Instant::now()));
    }

    fn scan(&mut self, scan: impl FnOnce(&mut Scanners, &mut dyn FnMut(Place))) {
        if self.places.is_full() {
            return;
        }
        let (places, mut changed) = (&mut self.places, false);
        scan(&mut self.scanners, &mut |place| changed |= places.add(&place));
        if changed {
            self.show_at.get_or_insert_with(|| Instant::now() + BATCH);
        }
    }

    /// Shows what is known so far.
    fn show(&mut self) {
        self.show_at = None;
        self.inner.show(&self.attempt, self.places.by_file(), None);
    }

    fn finished(&mut self, finished: &Finished) {
        self.scan(Scanners::finish);
        self.show_at = None;
        let verdict = &finished.verdict;
        if verdict.passed() {
            self.places.keep_complaints();
        }
        let log = self.log();
        let settings = self.inner.settings();
        let mut related = Vec::new();
        if settings.client.related_information {
            related = self.places.errors(RELATED);
            let file = log.as_deref().and_then(uri_of);
            related.extend(file.map(|uri| {
                (
                    Location { uri, range: tower_lsp::lsp_types::Range::default() },
                    "the whole output".to_owned(),
                )
            }));
        }
        let ended = Ended { finished, bug: self.bug.as_ref(), tail: &mut self.tail, related };
        let on_header = ended::diagnostic(ended, self.attempt.header());
        self.inner.show(&self.attempt, self.places.by_file(), on_header);
        let took = finished.durations.total;
        self.inner.enter(&self.attempt, TargetState::Finished { verdict: verdict.clone(), took, log });
    }

    /// The file with the output, when there is one.
    fn log(&self) -> Option<PathBuf> {
        let logs = self.logs.as_ref()?;
        let file = logs.output_file(self.attempt.index, &self.attempt.key.name);
        file.exists().then_some(file)
    }
}

/// One scanner for each stream: what one says does not belong to what another does.
struct Scanners {
    stdout: Scanner,
    stderr: Scanner,
    console: Scanner,
}

impl Default for Scanners {
    fn default() -> Self {
        // Tracebacks of different streams have different numbers.
        Self { stdout: Scanner::new(0), stderr: Scanner::new(1 << 30), console: Scanner::new(2 << 30) }
    }
}

impl Scanners {
    fn of(&mut self, stream: OutputStream) -> &mut Scanner {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    fn console(&mut self, line: &str, found: &mut dyn FnMut(Place)) {
        self.console.push(line.as_bytes(), found);
        self.console.push(b"\n", found);
    }

    fn finish(&mut self, found: &mut dyn FnMut(Place)) {
        for scanner in [&mut self.stdout, &mut self.stderr, &mut self.console] {
            scanner.finish(found);
        }
    }
}

/// Sends the first event of every target of a run, before any other; `told` fires then.
pub(super) async fn send_queued(
    outbox: Arc<dyn Outbox>,
    attempts: Vec<Arc<Attempt>>,
    told: CancellationToken,
) {
    for attempt in attempts {
        send_event(&*outbox, &attempt, 0, EventKind::Queued).await;
    }
    told.cancel();
}

/// Sends the other events of a target, numbered as they are sent, after `told` has fired. What is said of its end stands in
/// the files before the last one is sent.
pub(super) async fn send_events(
    outbox: Arc<dyn Outbox>,
    diagnostics: Arc<Diagnostics>,
    attempt: Arc<Attempt>,
    pipe: Arc<Pipe>,
    told: CancellationToken,
) {
    told.cancelled().await;
    let (mut seq, mut last) = (1, None);
    while let Some(kind) = pipe.take(last).await {
        match &kind {
            EventKind::Queued => continue,
            EventKind::Output(_) => last = Some(Instant::now()),
            EventKind::Finished(_) => diagnostics.settled().await,
            _ => {}
        }
        send_event(&*outbox, &attempt, seq, kind).await;
        seq += 1;
    }
}

async fn send_event(outbox: &dyn Outbox, attempt: &Attempt, seq: u64, kind: EventKind) {
    let event = RunEvent {
        run_id: attempt.run_id.clone(),
        target: attempt.key.name.clone(),
        index: attempt.index,
        seq,
        kind,
    };
    match serde_json::to_value(RunEventParams { uri: &attempt.uri, event: &event }) {
        Ok(params) => outbox.notify(Notice::RunEvent(params)).await,
        Err(error) => tracing::error!(%error, "an event that is no JSON"),
    }
}

/// Sends lines for the log of a client that knows nothing of runs; where that is all that the client gets, also a message
/// at the end.
pub(super) async fn send_log(
    outbox: Arc<dyn Outbox>,
    attempt: Arc<Attempt>,
    pipe: Arc<Pipe>,
    log: Option<PathBuf>,
    has_progress: bool,
) {
    let mut lines = announce::LogLines::new(&attempt.key.name, log);
    let mut last = None;
    while let Some(event) = pipe.take(last).await {
        if matches!(event, EventKind::Output(_)) {
            last = Some(Instant::now());
        }
        for message in lines.messages(&event) {
            outbox.notify(message).await;
        }
        if let EventKind::Finished(finished) = &event
            && !has_progress
        {
            outbox.notify(announce::end(&attempt.key.name, finished)).await;
        }
    }
}
