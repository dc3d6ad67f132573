//! What can be written at the cursor.

mod keys;
mod paths;
mod snippets;
mod tables;
mod values;

use std::ops::Range;
use std::path::PathBuf;

use crate::analysis::Analysis;
use crate::context::Context;
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
    pub fn completions(&self, offset: usize, surroundings: &Surroundings) -> Vec<Completion> {
        let offset = self.boundary(offset);
        match self.context(offset) {
            Context::Header { section, header, parent, part } => {
                self.header_completions(section, header, parent, &part, offset, surroundings)
            }
            Context::Key { section, table, parent, entry, part, inline } => {
                let place = keys::Place { section, table, parent, entry, part, inline };
                self.key_completions(&place, surroundings)
            }
            Context::Value { row: Some(row), value, list } => {
                self.value_completions(row, value, list.is_some(), offset, surroundings)
            }
            Context::Value { .. } | Context::Nothing => Vec::new(),
        }
    }

    /// The directory whose entries completion at an offset offers; none where no path is written.
    pub fn wanted_directory(&self, offset: usize) -> Option<PathBuf> {
        let offset = self.boundary(offset);
        let Context::Value { row: Some(row), value, list: None } = self.context(offset) else {
            return None;
        };
        let slot = self.slot(value, offset)?;
        Some(self.base().join(paths::typed_path(row, &slot)?.directory))
    }

    /// Where the line of an offset ends, without its line break.
    pub(crate) fn line_end(&self, offset: usize) -> usize {
        let line = self.text()[offset..].split('\n').next().unwrap_or_default();
        offset + line.strip_suffix('\r').unwrap_or(line).len()
    }
}

impl Completion {
    /// The same for an editor that knows no snippets: what stands in the places is written as it is.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        if std::mem::take(&mut self.snippet) {
            self.edit.text = snippets::plain(&self.edit.text);
        }
        self
    }

    /// Something that is written as it stands, in the `group` of the list that it belongs to.
    fn plain(kind: CompletionKind, label: &str, range: Range<usize>, group: char) -> Self {
        Self {
            label: label.to_owned(),
            kind,
            detail: None,
            doc: None,
            edit: Edit::replace(range, label),
            snippet: false,
            sort: format!("{group}{label}"),
            filter: label.to_owned(),
        }
    }
}
