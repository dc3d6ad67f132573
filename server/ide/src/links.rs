//! Values that open something.

use std::ops::Range;
use std::path::PathBuf;

use crate::analysis::Analysis;

/// A value that opens something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The value without its quotes.
    pub range: Range<usize>,
    /// What it opens.
    pub target: LinkTarget,
}

/// What a link opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// A file of this machine: an absolute path.
    File(PathBuf),
    /// A page.
    Url(String),
}

impl Analysis {
    /// Every path and URL.
    pub fn links(&self) -> Vec<Link> {
        Vec::new()
    }
}
