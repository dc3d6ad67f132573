//! The outline of the file.

use std::ops::Range;

use crate::analysis::Analysis;

/// One line of the outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// What it is called.
    pub name: String,
    /// A word beside it: the value of a key.
    pub detail: Option<String>,
    /// What it is.
    pub kind: SymbolKind,
    /// All of it.
    pub range: Range<usize>,
    /// Where to jump; within `range`.
    pub selection: Range<usize>,
    /// What is in it.
    pub children: Vec<Symbol>,
}

/// What a symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// A `[[target]]`.
    Target,
    /// Another table.
    Table,
    /// A key that is set to a string.
    Text,
    /// A key that is set to a number.
    Number,
    /// A key that is set to true or false.
    Bool,
    /// A key that is set to a list.
    List,
    /// A key that is set to something else, or to nothing.
    Other,
}

impl Analysis {
    /// The outline, in the order of the text.
    pub fn symbols(&self) -> Vec<Symbol> {
        Vec::new()
    }
}
