//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong, or looks wrong, in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// Stable name of the kind of problem, such as `unknown_key`.
    pub code: &'static str,
    /// What is wrong: one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The text that `span` points into.
    pub source: Source,
    /// Byte range within that text, always on character boundaries.
    pub span: Range<usize>,
    /// Other places *of the file* that belong to it, each with a note.
    pub related: Vec<(Range<usize>, String)>,
    /// An edit of the same text that cures it, where there is exactly one sensible edit.
    pub fix: Option<Fix>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing can run until it is cured.
    Error,
    /// It runs, but probably not as meant.
    Warning,
}

/// The text that a place lies in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The configuration file.
    File,
    /// An argument of the command line, which is a text of its own.
    Argument {
        /// The option that it was given to, such as `--set`.
        option: &'static str,
        /// What was given.
        text: String,
    },
}

/// Replaces a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What to do, as an editor's menu would say it.
    pub title: String,
    /// The bytes to replace.
    pub span: Range<usize>,
    /// What to put there.
    pub replacement: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl Problem {
    /// Something that must be cured first, in the file.
    pub fn error(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            source: Source::File,
            span,
            related: Vec::new(),
            fix: None,
        }
    }

    /// Something that was probably not meant, in the file.
    pub fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(mut self, span: Range<usize>, note: impl Into<String>) -> Self {
        self.related.push((span, note.into()));
        self
    }

    pub(crate) fn fix(
        mut self,
        title: impl Into<String>,
        span: Range<usize>,
        replacement: impl Into<String>,
    ) -> Self {
        self.fix = Some(Fix { title: title.into(), span, replacement: replacement.into() });
        self
    }

    /// A name that an earlier target has too, at `first`.
    pub fn duplicate_name(name: &str, span: Range<usize>, first: Range<usize>) -> Self {
        Self::warning("duplicate_name", span, format!("another target is called {name:?} too"))
            .help("give each target a name of its own, so that their results can be told apart")
            .related(first, "the other one")
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Where a byte lies: line and column from 1, the column in characters.
///
/// Offsets past the end or inside a character are moved back to the nearest place that exists. A byte order mark
/// takes no column. For many offsets of one text, use [`LineIndex`].
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    LineIndex::new(text).line_column(offset)
}

/// Answers [`line_column`] for many offsets of one text without reading the text from the start each time.
#[derive(Debug, Clone)]
pub struct LineIndex<'t> {
    text: &'t str,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    /// Reads the text once.
    pub fn new(text: &'t str) -> Self {
        let first = if text.starts_with(BOM) { BOM.len_utf8() } else { 0 };
        let starts =
            std::iter::once(first).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, both from 1.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = floor_char_boundary(self.text, offset);
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts[line - 1].min(offset);
        (line, self.text[start..offset].chars().count() + 1)
    }
}

/// The mark that some editors put at the start of a UTF-8 file.
pub(crate) const BOM: char = '\u{feff}';

/// The nearest character boundary at or before `offset`.
pub(crate) fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(line_column("a\näöü = 1", 8), (2, 4));
    }

    #[test]
    fn the_first_byte_is_line_one_column_one() {
        assert_eq!(line_column("", 0), (1, 1));
        assert_eq!(line_column("abc", 0), (1, 1));
    }

    #[test]
    fn an_offset_past_the_end_is_the_end() {
        assert_eq!(line_column("ab\ncd", 900), (2, 3));
    }

    #[test]
    fn an_offset_inside_a_character_is_its_start() {
        assert_eq!(line_column("ä", 1), (1, 1));
    }

    #[test]
    fn a_newline_belongs_to_the_line_it_ends() {
        assert_eq!(line_column("ab\n", 2), (1, 3));
        assert_eq!(line_column("ab\n", 3), (2, 1));
    }

    #[test]
    fn a_byte_order_mark_takes_no_column() {
        assert_eq!(line_column("\u{feff}abc", 0), (1, 1));
        assert_eq!(line_column("\u{feff}abc", 3), (1, 1));
        assert_eq!(line_column("\u{feff}abc", 4), (1, 2));
        assert_eq!(line_column("\u{feff}a\nbc", 6), (2, 2));
    }
}
