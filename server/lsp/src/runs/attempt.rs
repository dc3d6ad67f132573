//! One execution of one target.

use std::sync::Mutex;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_lsp::lsp_types::{Range, Uri};
use vmtest_vm::event::RunId;

use super::{TargetKey, TargetState};

/// One execution of one target: what is known of it, and how to stop it. A new one replaces it, and does not change it.
#[derive(Debug)]
pub(super) struct Attempt {
    /// The vmtest.toml.
    pub(super) uri: Uri,
    /// The target.
    pub(super) key: TargetKey,
    /// The run that it belongs to.
    pub(super) run_id: RunId,
    /// Its place in that run.
    pub(super) index: usize,
    /// Stops it.
    pub(super) cancel: CancellationToken,
    /// Fires when its machine is gone, and those of the attempts that it replaced.
    pub(super) gone: CancellationToken,
    /// How it is.
    pub(super) state: watch::Sender<TargetState>,
    /// Where the target stands now.
    header: Mutex<Range>,
}

impl Attempt {
    /// One that waits for its turn.
    pub(super) fn new(
        uri: Uri,
        key: TargetKey,
        run_id: RunId,
        index: usize,
        cancel: CancellationToken,
        header: Range,
    ) -> Self {
        let state = watch::Sender::new(TargetState::Queued);
        let gone = CancellationToken::new();
        Self { uri, key, run_id, index, cancel, gone, state, header: Mutex::new(header) }
    }

    /// Where the target stands.
    pub(super) fn header(&self) -> Range {
        *self.header.lock().expect("no holder panics")
    }

    /// The target moved; whether it did.
    pub(super) fn move_to(&self, range: Range) -> bool {
        let mut header = self.header.lock().expect("no holder panics");
        std::mem::replace(&mut *header, range) != range
    }

    /// Its output is not wanted any more.
    pub(super) fn remove_log(&self) {
        if let TargetState::Finished { log: Some(log), .. } = &*self.state.borrow() {
            let _ = std::fs::remove_file(log);
            let _ = std::fs::remove_file(log.with_extension("console.log"));
            // Succeeds with the last file of the run.
            let _ = log.parent().map(std::fs::remove_dir);
        }
    }
}
