//! What can be folded away.

use std::ops::Range;

use crate::analysis::Analysis;

/// Lines that fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// From the line that stays to the last that goes.
    pub range: Range<usize>,
    /// Whether they are comments.
    pub comment: bool,
}

impl Analysis {
    /// Every target, table, list and text of several lines, and every block of comments.
    pub fn folds(&self) -> Vec<Fold> {
        Vec::new()
    }
}
