//! The open documents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tower_lsp::lsp_types::{Range, Uri};
use vmtest_ide::Analysis;

use crate::position::{Encoding, Lines};
use crate::transport::room_for_answer;
use crate::uri::file_of;

/// Files of other tools that a client with a too wide filter sends.
const OTHERS: [&str; 2] = ["Cargo.toml", "pyproject.toml"];

/// From this length on, a text is thought about on another thread; the way there costs as much as a shorter one.
const LONG: usize = 32 << 10;

/// One version of an open document.
pub(crate) struct Document {
    /// The client's name for it.
    pub(crate) uri: Uri,
    /// The client's count of its changes.
    pub(crate) version: i32,
    /// The file that it will be saved to; none for what is no file yet.
    pub(crate) file: Option<PathBuf>,
    /// What its text says.
    pub(crate) analysis: Analysis,
    lines: Lines,
}

impl Document {
    /// Takes a text.
    pub(crate) fn new(uri: Uri, version: i32, text: String, encoding: Encoding) -> Self {
        let file = file_of(&uri);
        let base = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
        let lines = Lines::new(&text, encoding);
        Self { analysis: Analysis::new(text, base), uri, version, file, lines }
    }

    /// The document with another text; what is known of the parts that did not change is kept.
    fn edited(&self, version: i32, text: String, encoding: Encoding) -> Self {
        let lines = Lines::new(&text, encoding);
        let analysis = self.analysis.edited(text);
        Self { analysis, uri: self.uri.clone(), version, file: self.file.clone(), lines }
    }

    /// Reads one that is not open; none when there is no such file, or nothing that could be a vmtest.toml.
    pub(crate) fn saved(uri: Uri, encoding: Encoding) -> Option<Self> {
        let file = file_of(&uri)?;
        let metadata = std::fs::metadata(&file).ok()?;
        // Opening a pipe would wait for its writer.
        let is_text = metadata.is_file() && metadata.len() <= vmtest_config::MAX_FILE_SIZE as u64;
        let text = is_text.then(|| std::fs::read_to_string(&file).ok())??;
        Some(Self::new(uri, 0, text, encoding))
    }

    /// The directory that relative paths start at.
    pub(crate) fn base(&self) -> &Path {
        self.analysis.base()
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        self.analysis.text()
    }

    /// The byte at a position of the client.
    pub(crate) fn offset(&self, position: tower_lsp::lsp_types::Position) -> usize {
        self.lines.offset(self.text(), position)
    }

    /// The client's position of a byte.
    pub(crate) fn position(&self, offset: usize) -> tower_lsp::lsp_types::Position {
        self.lines.position(self.text(), offset)
    }

    /// The client's range for bytes.
    pub(crate) fn range(&self, bytes: &std::ops::Range<usize>) -> Range {
        self.lines.range(self.text(), bytes)
    }

    /// The bytes of a client's range.
    pub(crate) fn bytes(&self, range: Range) -> std::ops::Range<usize> {
        self.lines.bytes(self.text(), range)
    }

    /// Answers a question about the text. A long text is thought about elsewhere, so that what comes meanwhile, a cancel
    /// for one, does not wait.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        if self.text().len() < LONG {
            return question(self);
        }
        // A long text has long answers.
        room_for_answer().await;
        let document = Arc::clone(self);
        match tokio::task::spawn_blocking(move || question(&document)).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The server leaves.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// How long a piece of text is in the client's units.
    pub(crate) fn units(&self, text: &str) -> u32 {
        self.lines.length(text) as u32
    }
}

/// All of them. No method returns a guard: one that lived across an `.await`, or into another call, would lock the server.
#[derive(Default)]
pub(crate) struct Documents {
    map: DashMap<Uri, Arc<Document>>,
}

impl Documents {
    /// Takes a document that was opened; false for a file of another tool.
    pub(crate) fn open(&self, document: Document) -> bool {
        let name = document.file.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        if name.is_some_and(|name| OTHERS.contains(&name)) {
            return false;
        }
        self.map.insert(document.uri.clone(), Arc::new(document));
        true
    }

    /// Takes a changed text; false when the document is not open.
    ///
    /// Messages arrive in the order in which they were sent, so the last text is the one on the screen, also when a client
    /// counts its versions anew.
    pub(crate) fn change(&self, uri: &Uri, version: i32, text: String, encoding: Encoding) -> bool {
        let Entry::Occupied(mut entry) = self.map.entry(uri.clone()) else { return false };
        let edited = entry.get().edited(version, text, encoding);
        entry.insert(Arc::new(edited));
        true
    }

    /// Forgets a document; false when it was not open.
    pub(crate) fn close(&self, uri: &Uri) -> bool {
        self.map.remove(uri).is_some()
    }

    /// The document as it is now.
    pub(crate) fn get(&self, uri: &Uri) -> Option<Arc<Document>> {
        self.map.get(uri).map(|entry| Arc::clone(entry.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(uri: &str, version: i32, text: &str) -> Document {
        Document::new(uri.parse().unwrap(), version, text.to_owned(), Encoding::default())
    }

    fn opened(uri: &str) -> (Documents, Uri) {
        let documents = Documents::default();
        assert!(documents.open(document(uri, 5, "five")));
        (documents, uri.parse().unwrap())
    }

    #[test]
    fn the_last_text_counts_whatever_its_version() {
        let (documents, uri) = opened("file:///p/vmtest.toml");
        assert!(documents.change(&uri, 7, "seven".to_owned(), Encoding::default()));
        assert!(documents.change(&uri, 1, "one".to_owned(), Encoding::default()));
        let document = documents.get(&uri).unwrap();
        assert_eq!((document.text(), document.version), ("one", 1));
    }

    #[test]
    fn a_change_of_what_is_not_open_is_dropped() {
        let (documents, uri) = opened("file:///p/vmtest.toml");
        assert!(documents.close(&uri));
        assert!(!documents.change(&uri, 9, "late".to_owned(), Encoding::default()));
        assert!(documents.get(&uri).is_none());
    }

    #[test]
    fn files_of_other_tools_are_refused() {
        let documents = Documents::default();
        assert!(!documents.open(document("file:///p/Cargo.toml", 1, "")));
        assert!(documents.open(document("file:///p/ci.toml", 1, "")));
        assert!(documents.open(document("untitled:Cargo.toml", 1, "")));
    }
}
