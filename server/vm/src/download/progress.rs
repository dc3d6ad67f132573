//! How far a download is, for who waits for it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::event::EventKind;

/// Time between two events; they are for the eye.
pub(super) const EVERY: Duration = Duration::from_millis(200);

/// Tells the listeners of a run.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    events: &'a mpsc::Sender<EventKind>,
    url: String,
    told: Option<Instant>,
}

impl<'a> Progress<'a> {
    /// Tells these.
    pub(crate) fn to(events: &'a mpsc::Sender<EventKind>) -> Self {
        Self { events, url: String::new(), told: None }
    }

    /// Something new is fetched.
    pub(crate) fn begin(&mut self, url: String) {
        self.url = url;
        self.tell(0, None);
    }

    /// So much of it is there; not every call is worth an event.
    pub(crate) fn reached(&mut self, received: u64, total: Option<u64>) {
        if self.told.is_none_or(|told| told.elapsed() >= EVERY) {
            self.tell(received, total);
        }
    }

    /// It is there.
    pub(crate) fn done(&mut self, received: u64) {
        self.tell(received, Some(received));
    }

    /// Another process fetches it into this file.
    pub(crate) fn watch(&mut self, file: &Path) {
        self.reached(fs::metadata(file).map_or(0, |data| data.len()), None);
    }

    fn tell(&mut self, received: u64, total: Option<u64>) {
        self.told = Some(Instant::now());
        let event = EventKind::Downloading { url: self.url.clone(), received, total };
        // A listener that is slow, or gone, does not make the download wait.
        let _ = self.events.try_send(event);
    }
}
