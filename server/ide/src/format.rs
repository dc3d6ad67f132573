//! The text as taplo would write it.

use std::ops::Range;

use taplo::formatter::{Options, format};
use vmtest_config::Document;

use crate::analysis::Analysis;
use crate::model::{Entry, Part, Table, Value, ValueKind};
use crate::scan::Piece;

/// Stands for an inline table of several lines, with its number: nobody writes it.
const MARK: char = '\u{f8ff}';

impl Analysis {
    /// The text in order; none where its syntax is wrong or it is in order already.
    ///
    /// Comments, the order of keys, and inline tables of several lines stay as they are. What the file says must be the same
    /// after it as before, or nothing is done.
    pub fn format(&self) -> Option<String> {
        // A formatter that reads something else than the loader would could destroy what somebody wrote.
        Document::parse(self.text(), self.base()).ok()?;
        // What we do not read we do not write either: the formatter's parser is the same.
        self.pieces().iter().all(|piece| piece.parsable(self.text()).is_some()).then_some(())?;
        let bom = if self.text().starts_with('\u{feff}') { "\u{feff}" } else { "" };
        let options = Options {
            column_width: 120,
            array_auto_collapse: false,
            align_comments: false,
            // As the file has it.
            crlf: self.text().contains("\r\n"),
            ..Options::default()
        };
        let tables = self.tables_of_lines();
        let formatted = format(&self.marked(bom.len(), &tables)?, options);
        let formatted = format!("{bom}{}", self.unmarked(&formatted, &tables)?);
        let same = formatted == self.text() || !self.says_the_same(&formatted);
        (!same).then_some(formatted)
    }

    /// The inline tables of several lines, none of them in another. TOML 1.1 has them, the formatter does not.
    fn tables_of_lines(&self) -> Vec<Range<usize>> {
        let mut tables = Vec::new();
        for (piece, section) in self.pieces().iter().zip(self.sections()) {
            let entries = section.tables.iter().flat_map(|table| &table.entries);
            for value in entries.filter_map(|entry| entry.value.as_ref()) {
                find_tables_of_lines(piece, value, &mut tables);
            }
        }
        tables
    }

    /// The text from `start` with marks in place of `tables`; none where it has such marks already.
    fn marked(&self, start: usize, tables: &[Range<usize>]) -> Option<String> {
        if !tables.is_empty() && self.text().contains(MARK) {
            return None;
        }
        let (mut text, mut at) = (String::with_capacity(self.text().len()), start);
        for (number, table) in tables.iter().enumerate() {
            text.push_str(&self.text()[at..table.start]);
            text.push_str(&mark(number));
            at = table.end;
        }
        text.push_str(&self.text()[at..]);
        Some(text)
    }

    /// A text with `tables` in place of their marks.
    fn unmarked(&self, marked: &str, tables: &[Range<usize>]) -> Option<String> {
        let (mut text, mut rest) = (String::with_capacity(self.text().len()), marked);
        for (number, table) in tables.iter().enumerate() {
            let (before, after) = rest.split_once(&mark(number))?;
            text.push_str(before);
            text.push_str(&self.text()[table.clone()]);
            rest = after;
        }
        text.push_str(rest);
        Some(text)
    }

    fn says_the_same(&self, other: &str) -> bool {
        let other = Self::new(other, self.base());
        let meaning = |analysis: &Self| {
            analysis
                .sections()
                .flat_map(|section| &section.tables)
                .map(|table| analysis.meaning(table))
                .collect::<Vec<_>>()
        };
        Document::parse(other.text(), self.base()).is_ok()
            && meaning(self) == meaning(&other)
            && self.comments().eq(other.comments())
    }

    /// A table's header, keys and values, without their places.
    fn meaning(&self, table: &Table) -> String {
        let header = table.header.as_ref().map(|header| (header.array, names(&header.path)));
        format!("{header:?}{:?}", self.entries(&table.entries))
    }

    fn entries<'m>(&self, entries: &'m [Entry]) -> Vec<(Vec<&'m str>, String)> {
        let value = |entry: &Entry| entry.value.as_ref().map(|value| self.value(value)).unwrap_or_default();
        entries.iter().map(|entry| (names(&entry.path), value(entry))).collect()
    }

    fn value(&self, value: &Value) -> String {
        match &value.kind {
            ValueKind::String(text) => format!("{:?}", text.value),
            ValueKind::Array(values) => {
                format!("{:?}", values.iter().map(|value| self.value(value)).collect::<Vec<_>>())
            }
            ValueKind::Table(entries) => format!("{:?}", self.entries(entries)),
            _ => self.text()[value.range.clone()].to_owned(),
        }
    }

    fn comments(&self) -> impl Iterator<Item = &str> {
        self.sections()
            .flat_map(|section| &section.comments)
            .map(|range| self.text()[range.clone()].trim_end())
    }
}

fn mark(number: usize) -> String {
    format!("'{MARK}{number}{MARK}'")
}

fn find_tables_of_lines(piece: &Piece, value: &Value, found: &mut Vec<Range<usize>>) {
    match &value.kind {
        ValueKind::Table(_) if piece.is_of_lines(&value.range) => found.push(value.range.clone()),
        ValueKind::Array(values) => {
            for value in values {
                find_tables_of_lines(piece, value, found);
            }
        }
        _ => {}
    }
}

fn names(path: &[Part]) -> Vec<&str> {
    path.iter().map(|part| part.name.as_str()).collect()
}
