//! What a key or a value means.

use std::ops::Range;

use crate::analysis::Analysis;
use crate::surroundings::Surroundings;

/// What to show beside the pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hover {
    /// What it is about.
    pub range: Range<usize>,
    /// The text: Markdown.
    pub markdown: String,
}

impl Analysis {
    /// What stands at an offset.
    pub fn hover(&self, _offset: usize, _surroundings: &Surroundings) -> Option<Hover> {
        None
    }
}
