//! Changes of the text.

use std::ops::Range;

/// Puts a text in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What goes, in bytes.
    pub range: Range<usize>,
    /// What comes.
    pub text: String,
}

impl Edit {
    /// Replaces `range`.
    pub fn replace(range: Range<usize>, text: impl Into<String>) -> Self {
        Self { range, text: text.into() }
    }

    /// Adds at an offset.
    pub fn insert(offset: usize, text: impl Into<String>) -> Self {
        Self::replace(offset..offset, text)
    }

    /// Takes `range` away.
    pub fn delete(range: Range<usize>) -> Self {
        Self::replace(range, "")
    }
}
