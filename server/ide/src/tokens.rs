//! Colours, for editors that know no TOML.

use std::ops::Range;

use crate::analysis::Analysis;
use crate::model::{Entry, Section, Value, ValueKind};

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
        let mut tokens = Vec::new();
        for section in self.sections() {
            let own = tokens.len();
            self.color_section(section, &mut tokens);
            tokens[own..].sort_by_key(|token: &Token| (token.range.start, token.range.end));
        }
        // Whatever the parser made of a broken text: clients get confused by overlaps.
        let mut end = 0;
        tokens.retain(|token| {
            let is_free = token.range.start >= end;
            end = if is_free { token.range.end } else { end };
            is_free
        });
        tokens
    }

    fn color_section(&self, section: &Section, tokens: &mut Vec<Token>) {
        for comment in &section.comments {
            self.color(comment, TokenKind::Comment, tokens);
        }
        for table in &section.tables {
            for part in table.header.iter().flat_map(|header| &header.path) {
                self.color(&part.range, TokenKind::Table, tokens);
            }
            self.color_entries(&table.entries, tokens);
        }
    }

    fn color_entries(&self, entries: &[Entry], tokens: &mut Vec<Token>) {
        for entry in entries {
            for part in &entry.path {
                self.color(&part.range, TokenKind::Key, tokens);
            }
            if let Some(value) = &entry.value {
                self.color_value(value, tokens);
            }
        }
    }

    fn color_value(&self, value: &Value, tokens: &mut Vec<Token>) {
        let kind = match &value.kind {
            ValueKind::String(_) => TokenKind::String,
            ValueKind::Bool(_) => TokenKind::Bool,
            ValueKind::Number | ValueKind::Date => TokenKind::Number,
            ValueKind::Array(values) => {
                return values.iter().for_each(|value| self.color_value(value, tokens));
            }
            ValueKind::Table(entries) => return self.color_entries(entries, tokens),
            ValueKind::Invalid => return,
        };
        self.color(&value.range, kind, tokens);
    }

    /// One token for each line of a range.
    fn color(&self, range: &Range<usize>, kind: TokenKind, tokens: &mut Vec<Token>) {
        let mut start = range.start;
        for line in self.text()[range.clone()].split_inclusive('\n') {
            let end = start + line.trim_end_matches(['\r', '\n']).len();
            if start < end {
                tokens.push(Token { range: start..end, kind });
            }
            start += line.len();
        }
    }
}
