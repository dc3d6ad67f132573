//! The outline of the file.

use std::ops::Range;

use vmtest_config::SYSTEM_KEYS;

use crate::analysis::Analysis;
use crate::model::{Entry, Field, Part, Section, Table, ValueKind};

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
        let text = self.text();
        let head = self.section(0).tables.iter().flat_map(|table| match &table.header {
            None => entries(text, &table.entries),
            Some(_) => table_symbol(text, table).into_iter().collect(),
        });
        let targets = self.target_sections().enumerate().map(|(index, section)| target(text, index, section));
        head.chain(targets).collect()
    }
}

fn target(text: &str, index: usize, section: &Section) -> Symbol {
    let name = shown(section.name());
    let boots = |field: &Field<'_>| field.row.is_some_and(|row| SYSTEM_KEYS.contains(&row.in_target()));
    let system = section.fields().into_iter().find(boots).and_then(|field| field.value?.text());
    let tables = section.tables.iter();
    let mut children = Vec::new();
    for (at, table) in tables.enumerate() {
        if at == 0 {
            children.extend(entries(text, &table.entries));
        } else {
            children.extend(table_symbol(text, table));
        }
    }
    let selection = section.header_range();
    Symbol {
        name: if name.is_empty() { format!("target {}", index + 1) } else { name },
        detail: system.map(|text| shown(&text.value)).filter(|detail| !detail.is_empty()),
        kind: SymbolKind::Target,
        range: selection.start..section.end().max(selection.end),
        selection,
        children,
    }
}

/// A table by its name in the target; none where it has no name yet.
fn table_symbol(text: &str, table: &Table) -> Option<Symbol> {
    let header = table.header.as_ref()?;
    let (first, rest) = header.path.split_first()?;
    let path = if first.name == "target" && !rest.is_empty() { rest } else { &header.path };
    Some(Symbol {
        name: written(text, path),
        detail: None,
        kind: SymbolKind::Table,
        range: header.range.start..table.end(),
        selection: header.range.clone(),
        children: entries(text, &table.entries),
    })
}

fn entries(text: &str, entries: &[Entry]) -> Vec<Symbol> {
    entries.iter().filter_map(|entry| symbol(text, entry)).collect()
}

/// A key with its value; none where it has no name yet.
fn symbol(text: &str, entry: &Entry) -> Option<Symbol> {
    let selection = entry.path.first()?.range.start..entry.path.last()?.range.end;
    let mut children = Vec::new();
    let (kind, detail) = match entry.value.as_ref().map(|value| (&value.kind, &value.range)) {
        None => (SymbolKind::Other, None),
        Some((ValueKind::String(text), _)) => (SymbolKind::Text, Some(shown(&text.value))),
        Some((ValueKind::Bool(value), _)) => (SymbolKind::Bool, Some(value.to_string())),
        Some((ValueKind::Number, range)) => (SymbolKind::Number, Some(shown(&text[range.clone()]))),
        Some((ValueKind::Array(_), range)) => (SymbolKind::List, Some(shown(&text[range.clone()]))),
        Some((ValueKind::Table(inner), _)) => {
            children = entries(text, inner);
            (SymbolKind::Table, None)
        }
        Some((ValueKind::Date | ValueKind::Invalid, range)) => {
            (SymbolKind::Other, Some(shown(&text[range.clone()])))
        }
    };
    Some(Symbol {
        name: written(text, &entry.path),
        detail: detail.filter(|detail| !detail.is_empty()),
        kind,
        range: entry.range.start.min(selection.start)..entry.range.end.max(selection.end),
        selection,
        children,
    })
}

/// A dotted key as it is written, without blanks around its dots.
fn written(text: &str, path: &[Part]) -> String {
    let parts: Vec<&str> = path.iter().map(|part| &text[part.range.clone()]).collect();
    shown(&parts.join("."))
}

/// A text on one short line.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    // No more is looked at than is shown: a value may be a whole script.
    let start: String = text.trim_start().chars().take(4 * MOST).collect();
    let words: Vec<&str> = start.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
