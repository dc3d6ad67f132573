//! What holds without being written.

use std::ops::Range;

use crate::analysis::Analysis;
use crate::surroundings::Surroundings;

/// A few words in the text that are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlayHint {
    /// Where they stand.
    pub offset: usize,
    /// The words.
    pub label: String,
    /// What they mean: Markdown.
    pub tooltip: Option<String>,
}

impl Analysis {
    /// Effective defaults and kernel versions of the targets that `range` touches.
    pub fn inlay_hints(&self, _range: Range<usize>, _surroundings: &Surroundings) -> Vec<InlayHint> {
        Vec::new()
    }
}
