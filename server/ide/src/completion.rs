//! What can be written at the cursor.

use std::path::PathBuf;

use crate::analysis::Analysis;
use crate::edit::Edit;
use crate::surroundings::Surroundings;

/// One thing that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What the list shows.
    pub label: String,
    /// What it is.
    pub kind: CompletionKind,
    /// A word beside the label: the type of a key, the version of a kernel.
    pub detail: Option<String>,
    /// What it means: Markdown.
    pub doc: Option<String>,
    /// What choosing it does.
    pub edit: Edit,
    /// Whether the edit's text has LSP's snippet syntax.
    pub snippet: bool,
    /// Where it stands in the list.
    pub sort: String,
    /// What the typed text is held against.
    pub filter: String,
}

/// What a completion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionKind {
    /// A key.
    Key,
    /// A table's name.
    Table,
    /// A value.
    Value,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Several lines with places to fill in.
    Snippet,
}

impl Analysis {
    /// What can be written at an offset.
    pub fn completions(&self, _offset: usize, _surroundings: &Surroundings) -> Vec<Completion> {
        Vec::new()
    }

    /// The directory whose entries completion at an offset offers; none where no path is written.
    pub fn wanted_directory(&self, _offset: usize) -> Option<PathBuf> {
        None
    }
}
