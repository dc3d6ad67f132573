//! Who says what about which file. The client sees one list for each file: the union of what all owners say.
//!
//! A change is made at once, under a lock that no `.await` is held across. One task publishes: it takes the union when
//! it is about to send it, so order holds, a slow client gets the newest state, and nothing piles up.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{Notify, watch};
use tower_lsp::lsp_types::{Diagnostic, PublishDiagnosticsParams, Uri};

use crate::outbox::{Notice, Outbox};
use crate::runs::TargetKey;

/// Whose word it is. A file's list is in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// What the text of a vmtest.toml says about itself.
    Static(Uri),
    /// What this machine lacks for it.
    Environment(Uri),
    /// How the last run of one of its targets went.
    Run {
        /// The vmtest.toml.
        uri: Uri,
        /// The target.
        target: TargetKey,
    },
}

impl Owner {
    /// The vmtest.toml that it speaks for.
    fn uri(&self) -> &Uri {
        match self {
            Self::Static(uri) | Self::Environment(uri) | Self::Run { uri, .. } => uri,
        }
    }
}

/// Diagnostics by file.
pub(crate) type ByFile = BTreeMap<Uri, Vec<Diagnostic>>;

/// All diagnostics of the server.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    state: Mutex<State>,
    changed: Notify,
    /// How many changes the client has been told of.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// How many changes there were.
    changes: u64,
    owners: BTreeMap<Owner, ByFile>,
    versions: HashMap<Uri, i32>,
    /// Files to look at, each once, in the order in which they changed.
    queue: VecDeque<Uri>,
    queued: BTreeSet<Uri>,
    /// What the client was told last, and of which version; no entry is an empty list.
    published: HashMap<Uri, (Vec<Diagnostic>, Option<i32>)>,
}

impl Diagnostics {
    /// Replaces everything that `owner` says.
    pub(crate) fn set(&self, owner: Owner, by_file: ByFile) {
        self.lock().set(owner, by_file);
        self.changed.notify_one();
    }

    /// Replaces what the text of this version says of itself. It is published also when it says the same, so that the
    /// client knows that this version was looked at.
    pub(crate) fn set_static(&self, uri: &Uri, version: i32, found: Vec<Diagnostic>) {
        let mut state = self.lock();
        if state.versions.insert(uri.clone(), version) != Some(version) {
            state.enqueue(uri);
        }
        state.set(Owner::Static(uri.clone()), ByFile::from([(uri.clone(), found)]));
        drop(state);
        self.changed.notify_one();
    }

    /// `owner` says nothing any more.
    pub(crate) fn clear(&self, owner: Owner) {
        self.set(owner, ByFile::new());
    }

    /// Nobody says anything any more that speaks for this vmtest.toml, in whatever file.
    pub(crate) fn clear_all_of(&self, uri: &Uri) {
        let owners: Vec<_> = self.lock().owners.keys().filter(|owner| owner.uri() == uri).cloned().collect();
        for owner in owners {
            self.clear(owner);
        }
    }

    /// The document is closed: what is still said of it belongs to no version.
    pub(crate) fn forget_version(&self, uri: &Uri) {
        let mut state = self.lock();
        state.versions.remove(uri);
        // Versions are counted anew when it is opened again.
        if let Some((_, version)) = state.published.get_mut(uri) {
            *version = None;
        }
    }

    /// Publishes what changes, forever.
    pub(crate) async fn publish(&self, outbox: &dyn Outbox) {
        loop {
            let changes = self.lock().changes;
            while let Some(params) = self.next() {
                outbox.notify(Notice::Diagnostics(params)).await;
            }
            self.told.send_replace(changes);
            self.changed.notified().await;
        }
    }

    /// Ends when the client has been sent everything that was said before.
    pub(crate) async fn settled(&self) {
        let changes = self.lock().changes;
        // The other end lives as long as we do.
        let _ = self.told.subscribe().wait_for(|told| *told >= changes).await;
    }

    fn next(&self) -> Option<PublishDiagnosticsParams> {
        let mut state = self.lock();
        while let Some(uri) = state.queue.pop_front() {
            state.queued.remove(&uri);
            let union: Vec<_> =
                state.owners.values().filter_map(|files| files.get(&uri)).flatten().cloned().collect();
            let version = state.versions.get(&uri).copied();
            let known = state.published.get(&uri);
            let is_looked_at = version.is_none() || known.is_some_and(|(_, known)| *known == version);
            if is_looked_at && known.map_or(&[][..], |(list, _)| list) == union {
                continue;
            }
            if union.is_empty() && version.is_none() {
                state.published.remove(&uri);
            } else {
                state.published.insert(uri.clone(), (union.clone(), version));
            }
            return Some(PublishDiagnosticsParams { uri, diagnostics: union, version });
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn set(&mut self, owner: Owner, mut by_file: ByFile) {
        by_file.retain(|_, list| !list.is_empty());
        let old = self.owners.remove(&owner).unwrap_or_default();
        for file in old.keys().chain(by_file.keys()).collect::<BTreeSet<_>>() {
            if old.get(file) != by_file.get(file) {
                self.enqueue(file);
            }
        }
        if !by_file.is_empty() {
            self.owners.insert(owner, by_file);
        }
    }

    fn enqueue(&mut self, file: &Uri) {
        self.changes += 1;
        if self.queued.insert(file.clone()) {
            self.queue.push_back(file.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(path: &str) -> Uri {
        format!("file://{path}").parse().unwrap()
    }

    fn run(target: &str) -> Owner {
        Owner::Run { uri: uri("/vmtest.toml"), target: TargetKey::first(target) }
    }

    fn says(file: &str, message: &str) -> ByFile {
        let diagnostic = Diagnostic { message: message.into(), ..Diagnostic::default() };
        ByFile::from([(uri(file), vec![diagnostic])])
    }

    /// What is published now: files with their messages, and versions.
    fn published(diagnostics: &Diagnostics) -> Vec<(String, Vec<String>, Option<i32>)> {
        std::iter::from_fn(|| diagnostics.next())
            .map(|params| {
                let messages = params.diagnostics.into_iter().map(|one| one.message).collect();
                (params.uri.path().as_str().to_owned(), messages, params.version)
            })
            .collect()
    }

    fn file(path: &str, messages: &[&str]) -> (String, Vec<String>, Option<i32>) {
        (path.into(), messages.iter().map(|text| (*text).to_owned()).collect(), None)
    }

    #[test]
    fn a_file_shows_the_union_of_its_owners_in_order() {
        let all = Diagnostics::default();
        all.set(run("a"), says("/vmtest.toml", "run"));
        all.set(Owner::Environment(uri("/vmtest.toml")), says("/vmtest.toml", "environment"));
        all.set(Owner::Static(uri("/vmtest.toml")), says("/vmtest.toml", "static"));
        assert_eq!(published(&all), [file("/vmtest.toml", &["static", "environment", "run"])]);
    }

    #[test]
    fn only_files_that_changed_are_published() {
        let all = Diagnostics::default();
        let mut both = says("/a.c", "1");
        both.extend(says("/b.c", "2"));
        all.set(run("a"), both.clone());
        assert_eq!(published(&all).len(), 2);
        both.extend(says("/b.c", "3"));
        all.set(run("a"), both.clone());
        assert_eq!(published(&all), [file("/b.c", &["3"])]);
        all.set(run("a"), both);
        assert_eq!(published(&all), []);
    }

    #[test]
    fn a_file_of_which_nothing_is_left_gets_an_empty_list_once() {
        let all = Diagnostics::default();
        all.set(run("a"), says("/a.c", "1"));
        published(&all);
        all.clear(run("a"));
        all.clear(run("a"));
        assert_eq!(published(&all), [file("/a.c", &[])]);
    }

    #[test]
    fn what_came_and_went_unseen_is_not_published() {
        let all = Diagnostics::default();
        all.set(run("a"), says("/a.c", "1"));
        all.clear(run("a"));
        assert_eq!(published(&all), []);
    }

    #[test]
    fn a_closed_file_takes_its_runs_words_in_other_files_along() {
        let all = Diagnostics::default();
        all.set(run("a"), says("/a.c", "1"));
        all.set(Owner::Static(uri("/other.toml")), says("/other.toml", "2"));
        published(&all);
        all.clear_all_of(&uri("/vmtest.toml"));
        assert_eq!(published(&all), [file("/a.c", &[])]);
    }

    #[test]
    fn each_version_that_was_looked_at_is_published() {
        let all = Diagnostics::default();
        let toml = uri("/vmtest.toml");
        for version in [1, 2] {
            all.set_static(&toml, version, Vec::new());
            assert_eq!(published(&all), [("/vmtest.toml".to_owned(), Vec::new(), Some(version))]);
        }
        all.set_static(&toml, 2, Vec::new());
        assert_eq!(published(&all), []);
    }

    #[test]
    fn a_closed_file_has_no_version() {
        let all = Diagnostics::default();
        let toml = uri("/vmtest.toml");
        all.set_static(&toml, 1, says("/vmtest.toml", "1").remove(&toml).unwrap());
        assert_eq!(published(&all)[0].2, Some(1));
        all.forget_version(&toml);
        all.clear_all_of(&toml);
        assert_eq!(published(&all), [file("/vmtest.toml", &[])]);
    }

    #[test]
    fn a_file_that_is_opened_again_is_published_again() {
        let all = Diagnostics::default();
        let toml = uri("/vmtest.toml");
        for _ in 0..2 {
            all.set_static(&toml, 1, Vec::new());
            assert_eq!(published(&all).len(), 1);
            all.forget_version(&toml);
            all.clear_all_of(&toml);
            assert_eq!(published(&all), []);
        }
    }

    #[tokio::test]
    async fn the_publisher_hears_of_every_change() {
        let all = std::sync::Arc::new(Diagnostics::default());
        let client = std::sync::Arc::new(crate::outbox::testing::Recorder::default());
        let (publisher, to) = (all.clone(), client.clone());
        tokio::spawn(async move { publisher.publish(&*to).await });
        for count in 1..4 {
            all.set(run("a"), says("/a.c", &count.to_string()));
            client.until(|notices| notices.len() == count).await;
        }
    }
}
