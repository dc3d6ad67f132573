//! The text as taplo would write it.

use taplo::formatter::{Options, format};
use vmtest_config::Document;

use crate::analysis::Analysis;
use crate::model::{Entry, Part, Table, Value, ValueKind};

impl Analysis {
    /// The text in order; none where its syntax is wrong or it is in order already.
    ///
    /// Comments and the order of keys stay. What the file says must be the same after it as before, or nothing is done.
    pub fn format(&self) -> Option<String> {
        // A formatter that reads something else than the loader would could destroy what somebody wrote.
        Document::parse(self.text(), self.base()).ok()?;
        let bom = if self.text().starts_with('\u{feff}') { "\u{feff}" } else { "" };
        let options = Options {
            column_width: 120,
            array_auto_collapse: false,
            align_comments: false,
            // As the file has it.
            crlf: self.text().contains("\r\n"),
            ..Options::default()
        };
        let formatted = format!("{bom}{}", format(&self.text()[bom.len()..], options));
        let same = formatted == self.text() || !self.says_the_same(&formatted);
        (!same).then_some(formatted)
    }

    fn says_the_same(&self, other: &str) -> bool {
        let other = Self::new(other, self.base());
        let meaning = |analysis: &Self| {
            let sections = std::iter::once(analysis.head()).chain(analysis.sections());
            sections
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
        let sections = std::iter::once(self.head()).chain(self.sections());
        sections.flat_map(|section| &section.comments).map(|range| self.text()[range.clone()].trim_end())
    }
}

fn names(path: &[Part]) -> Vec<&str> {
    path.iter().map(|part| part.name.as_str()).collect()
}
