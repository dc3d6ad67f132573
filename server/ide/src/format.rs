//! The text as taplo would write it.

use crate::analysis::Analysis;

impl Analysis {
    /// The text in order; none where its syntax is wrong or it is in order already.
    pub fn format(&self) -> Option<String> {
        None
    }
}
