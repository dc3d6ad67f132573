//! Cures for problems: edits that an editor offers on them.

use std::ops::Range;

use crate::analysis::Analysis;
use crate::edit::Edit;

/// An edit that cures a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuickFix {
    /// What it does, as a menu says it.
    pub title: String,
    /// The code of the problem.
    pub code: &'static str,
    /// Where the problem is.
    pub problem: Range<usize>,
    /// Changes of the text as it is: their ranges do not overlap.
    pub edits: Vec<Edit>,
    /// Whether it is the one sensible cure.
    pub preferred: bool,
}

impl Analysis {
    /// The cures of the problems that touch `span`.
    pub fn fixes(&self, _span: Range<usize>) -> Vec<QuickFix> {
        Vec::new()
    }
}
