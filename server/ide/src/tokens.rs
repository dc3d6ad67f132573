//! Colours, for editors that know no TOML.

use std::ops::Range;

use crate::analysis::Analysis;

/// A coloured piece of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Where it is; never across a line break.
    pub range: Range<usize>,
    /// What it is.
    pub kind: TokenKind,
}

/// What is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A comment.
    Comment,
    /// The name of a table in its header.
    Table,
    /// A key.
    Key,
    /// A string.
    String,
    /// A number or a date.
    Number,
    /// `true` and `false`.
    Bool,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Comment, Self::Table, Self::Key, Self::String, Self::Number, Self::Bool];
}

impl Analysis {
    /// Every piece that has a colour, in the order of the text, without overlaps.
    pub fn semantic_tokens(&self) -> Vec<Token> {
        Vec::new()
    }
}
