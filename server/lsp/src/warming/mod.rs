//! Guests that are kept before anybody runs anything: for the targets of the open documents, one after the other, while the
//! workspace is trusted, the user has switched it on, and nothing runs.
//!
//! [`State`] knows what is wanted and decides; [`Warming::work`] carries out. Whatever changes what is wanted calls off what
//! is no longer, at once. The user sees none of it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower_lsp::lsp_types::Uri;
use vmtest_config::Target;
use vmtest_vm::executor::Executor;
use vmtest_vm::sanitize;

use crate::documents::Documents;
use crate::trust::Trust;

/// Keeps guests for what is open.
pub(crate) struct Warming {
    executor: Arc<dyn Executor>,
    documents: Arc<Documents>,
    trust: Arc<Trust>,
    state: Mutex<State>,
    /// There may be something to do.
    changed: Notify,
}

#[derive(Default)]
struct State {
    is_on: bool,
    /// In the order in which they were opened.
    open: Vec<Open>,
    /// Runs that go on.
    runs: usize,
    /// What is being done.
    current: Option<Arc<Attempt>>,
    is_leaving: bool,
}

/// An open document.
struct Open {
    uri: Uri,
    /// Its text was opened or saved, and has not been looked at since.
    is_new: bool,
    guests: Vec<Guest>,
}

/// A guest that a document's targets need.
struct Guest {
    /// One of these targets.
    target: Target,
    /// It was tried to keep one; that is not repeated, whatever came of it.
    is_tried: bool,
}

/// One try.
struct Attempt {
    target: Target,
    cancel: CancellationToken,
    /// Fires when nothing of it is left.
    gone: CancellationToken,
}

/// What to do next.
enum Step {
    /// Nothing, until something changes.
    Wait,
    /// Look at the targets of a document.
    Look(Uri),
    /// Keep a guest.
    Warm(Arc<Attempt>),
}

impl Warming {
    /// Switched off, with no document.
    pub(crate) fn new(executor: Arc<dyn Executor>, documents: Arc<Documents>, trust: Arc<Trust>) -> Self {
        Self { executor, documents, trust, state: Mutex::default(), changed: Notify::new() }
    }

    /// Carries out what is wanted. Forever.
    pub(crate) async fn work(self: Arc<Self>) {
        let mut trust = self.trust.watch();
        loop {
            let step = self.state().next(self.trust.is_granted());
            match step {
                Step::Wait => tokio::select! {
                    () = self.changed.notified() => {}
                    // The server lives as long as its trust.
                    _ = trust.changed() => self.change(|_| {}),
                },
                Step::Look(uri) => {
                    let targets = self.targets(&uri).await;
                    self.change(|state| state.look(&uri, targets));
                }
                // Beside this, so that texts that come meanwhile are looked at.
                Step::Warm(attempt) => drop(tokio::spawn(self.clone().carry_out(attempt))),
            }
        }
    }

    /// Switches it on or off.
    pub(crate) fn switch(&self, is_on: bool) {
        self.change(|state| state.is_on = is_on);
    }

    /// A document was opened.
    pub(crate) fn opened(&self, uri: Uri) {
        self.change(|state| {
            state.open.retain(|open| open.uri != uri);
            state.open.push(Open { uri, is_new: true, guests: Vec::new() });
        });
    }

    /// A document was saved.
    pub(crate) fn saved(&self, uri: &Uri) {
        self.change(|state| {
            for open in state.open.iter_mut().filter(|open| open.uri == *uri) {
                open.is_new = true;
            }
        });
    }

    /// A document was closed.
    pub(crate) fn closed(&self, uri: &Uri) {
        self.change(|state| state.open.retain(|open| open.uri != *uri));
    }

    /// A run begins. Until the result is dropped nothing is warmed up, and what is under way is called off: a run gets the
    /// whole machine, and may keep the guest itself.
    pub(crate) fn pause(self: &Arc<Self>) -> Pause {
        let gone = self.change(|state| {
            state.runs += 1;
            state.current.as_ref().map(|current| current.gone.clone())
        });
        Pause { warming: Arc::clone(self), gone }
    }

    /// Calls off what is under way, for good, and waits until it is gone, at most so long; whether it is.
    pub(crate) async fn shutdown(&self, limit: Duration) -> bool {
        let gone = self.change(|state| {
            state.is_leaving = true;
            state.current.as_ref().map(|current| current.gone.clone())
        });
        match gone {
            Some(gone) => tokio::time::timeout(limit, gone.cancelled()).await.is_ok(),
            None => true,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Changes what is wanted.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        state.call_off_the_unwanted(self.trust.is_granted());
        drop(state);
        self.changed.notify_one();
        changed
    }

    /// What is open under this name now.
    async fn targets(&self, uri: &Uri) -> Vec<Target> {
        // What is no file has no project.
        let document = self.documents.get(uri).filter(|document| document.file.is_some());
        let Some(document) = document else { return Vec::new() };
        let look = async move { document.ask(|document| document.analysis.checked()).await };
        // A panic costs this look, and not all that follow.
        let resolved = tokio::spawn(look).await.unwrap_or_default();
        resolved.into_iter().map(|resolved| resolved.target).collect()
    }

    async fn carry_out(self: Arc<Self>, attempt: Arc<Attempt>) {
        // Also when something here panics: a run must not wait forever.
        let _gone = attempt.gone.clone().drop_guard();
        let (executor, tried) = (self.executor.clone(), attempt.clone());
        let warmed =
            tokio::spawn(async move { executor.warm(&tried.target, tried.cancel.clone()).await }).await;
        let target = sanitize::name(&attempt.target.name);
        match &warmed {
            Ok(warmed) => tracing::info!(%target, ?warmed, "warming up"),
            Err(error) => tracing::error!(%target, %error, "warming up"),
        }
        self.change(|state| state.end(&attempt));
    }
}

impl State {
    /// Decides what to do.
    fn next(&mut self, is_trusted: bool) -> Step {
        if !self.may_work(is_trusted) {
            return Step::Wait;
        }
        if let Some(open) = self.open.iter_mut().find(|open| open.is_new) {
            open.is_new = false;
            return Step::Look(open.uri.clone());
        }
        if self.current.is_some() {
            return Step::Wait;
        }
        let Some(guest) = self.open.iter().flat_map(|open| &open.guests).find(|guest| !guest.is_tried) else {
            return Step::Wait;
        };
        let (cancel, gone) = (CancellationToken::new(), CancellationToken::new());
        let attempt = Arc::new(Attempt { target: guest.target.clone(), cancel, gone });
        self.current = Some(attempt.clone());
        Step::Warm(attempt)
    }

    fn may_work(&self, is_trusted: bool) -> bool {
        self.is_on && is_trusted && self.runs == 0 && !self.is_leaving
    }

    fn call_off_the_unwanted(&self, is_trusted: bool) {
        let Some(current) = &self.current else { return };
        let mut guests = self.open.iter().flat_map(|open| &open.guests);
        if !self.may_work(is_trusted) || !guests.any(|guest| guest.is_for(&current.target)) {
            current.cancel.cancel();
        }
    }

    /// These are the targets of a document now.
    fn look(&mut self, uri: &Uri, targets: Vec<Target>) {
        let Some(open) = self.open.iter_mut().find(|open| open.uri == *uri) else { return };
        let before = std::mem::take(&mut open.guests);
        for target in targets {
            if !open.guests.iter().any(|guest| guest.is_for(&target)) {
                let is_tried = before.iter().any(|guest| guest.is_tried && guest.is_for(&target));
                open.guests.push(Guest { target, is_tried });
            }
        }
    }

    /// An attempt is over. One that was called off may be made again.
    fn end(&mut self, attempt: &Attempt) {
        self.current = None;
        if attempt.cancel.is_cancelled() {
            return;
        }
        let guests = self.open.iter_mut().flat_map(|open| &mut open.guests);
        for guest in guests.filter(|guest| guest.is_for(&attempt.target)) {
            guest.is_tried = true;
        }
    }
}

impl Guest {
    /// Whether a target's runs can resume it: what comes after the boot does not matter to it, nor does the project.
    fn is_for(&self, target: &Target) -> bool {
        let of = |target: &Target| {
            let Target { system, arch, kvm_cpu_args, qemu_command, vm, .. } = target.clone();
            (system, arch, kvm_cpu_args, qemu_command, vm)
        };
        of(&self.target) == of(target)
    }
}

/// While it is there, nothing is warmed up.
pub(crate) struct Pause {
    warming: Arc<Warming>,
    gone: Option<CancellationToken>,
}

impl Pause {
    /// Fires when what was under way is gone; none when nothing was.
    pub(crate) fn gone(&self) -> Option<CancellationToken> {
        self.gone.clone()
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.warming.change(|state| state.runs -= 1);
    }
}

#[cfg(test)]
mod tests;
