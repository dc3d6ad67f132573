//! What the cursor is in: every feature that answers for a place starts here.

use std::ops::Range;

use vmtest_config::Key;

use crate::analysis::Analysis;
use crate::model::{Entry, Field, Header, Section, Table, Value, ValueKind};
use crate::scope::Scope;

/// What an offset lies in.
#[derive(Debug)]
pub(crate) enum Context<'m> {
    /// A header's brackets: `[target.v|m]`.
    Header {
        section: &'m Section,
        header: &'m Header,
        /// What is above the part at the cursor.
        parent: Scope,
        /// The part at the cursor; empty where it has yet to be typed.
        part: Range<usize>,
    },
    /// A key, or a line where one can be written.
    Key {
        section: &'m Section,
        table: &'m Table,
        /// The table that the key stands in.
        parent: Scope,
        /// The entry that is there already, or its beginning.
        entry: Option<&'m Entry>,
        /// The part at the cursor; empty where it has yet to be typed.
        part: Range<usize>,
        /// The keys that stand beside it in the same inline table or behind the same dotted parts.
        inline: Option<&'m [Entry]>,
    },
    /// What stands after a key's `=`.
    Value {
        /// The row of the key; none for an unknown one.
        row: Option<&'static Key>,
        /// The value, or the element of a list, at the cursor; none where it has yet to be typed.
        value: Option<&'m Value>,
        /// The values beside it in a list.
        list: Option<&'m [Value]>,
    },
    /// A comment, a place without a meaning.
    Nothing,
}

impl Analysis {
    /// What an offset lies in. Offsets past the end are the end; one inside a character is its start.
    pub(crate) fn context(&self, offset: usize) -> Context<'_> {
        let offset = self.boundary(offset);
        let section = self.section_at(offset);
        if section.comments.iter().any(|comment| comment.start < offset && offset <= comment.end) {
            return Context::Nothing;
        }
        let Some(table) = section.tables.iter().rfind(|table| table.range.start <= offset) else {
            return Context::Nothing;
        };
        if let Some(header) = &table.header
            && offset <= header.range.end
        {
            return if offset > header.range.start {
                self.in_header(section, header, offset)
            } else {
                Context::Nothing
            };
        }
        let entries = &table.entries;
        let at = entries.partition_point(|entry| entry.range.start <= offset);
        let before = at.checked_sub(1).map(|at| &entries[at]);
        if let Some(entry) = before
            && self.reaches(entry, offset)
        {
            return self.in_entry(section, table, entry, table.scope(), None, offset);
        }
        if !self.text()[self.line_start(offset)..offset].trim().is_empty() {
            return Context::Nothing;
        }
        Context::Key {
            section,
            table,
            parent: table.scope(),
            entry: None,
            part: offset..offset,
            inline: None,
        }
    }

    /// The offset, or the nearest before it that the text has.
    pub(crate) fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text().len());
        while !self.text().is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    pub(crate) fn line_start(&self, offset: usize) -> usize {
        self.text()[..offset].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Whether the cursor is still at an entry: in it, or behind it on its line where a value, or the end of a table, is
    /// yet to come.
    fn reaches(&self, entry: &Entry, offset: usize) -> bool {
        let is_open = match &entry.value {
            None => entry.equals.is_some(),
            Some(value) => {
                matches!(value.kind, ValueKind::Table(_)) && !self.text()[value.range.clone()].ends_with('}')
            }
        };
        offset <= entry.range.end || (is_open && !self.text()[entry.range.end..offset].contains('\n'))
    }

    fn in_header<'m>(&self, section: &'m Section, header: &'m Header, offset: usize) -> Context<'m> {
        if offset >= header.range.end && self.text()[header.range.clone()].ends_with(']') {
            return Context::Nothing;
        }
        let at = header.path.partition_point(|part| part.range.end < offset);
        let parent = Scope::File.descend(&header.path[..at]);
        let part = header.path.get(at).filter(|part| part.range.start <= offset);
        Context::Header {
            section,
            header,
            parent,
            part: part.map_or(offset..offset, |part| part.range.clone()),
        }
    }

    fn in_entry<'m>(
        &self,
        section: &'m Section,
        table: &'m Table,
        entry: &'m Entry,
        parent: Scope,
        inline: Option<&'m [Entry]>,
        offset: usize,
    ) -> Context<'m> {
        if entry.equals.is_none_or(|equals| offset <= equals) {
            let at = entry.path.partition_point(|part| part.range.end < offset);
            let parent = parent.descend(&entry.path[..at]);
            let part = entry.path.get(at).filter(|part| part.range.start <= offset);
            let part = part.map_or(offset..offset, |part| part.range.clone());
            return Context::Key { section, table, parent, entry: Some(entry), part, inline };
        }
        let row = parent.descend(&entry.path).row();
        let Some(value) = &entry.value else {
            return Context::Value { row, value: None, list: None };
        };
        if offset < value.range.start {
            return Context::Nothing;
        }
        match &value.kind {
            ValueKind::Table(entries) if offset > value.range.start => {
                if offset == value.range.end && self.text()[value.range.clone()].ends_with('}') {
                    return Context::Nothing;
                }
                let at = entries.partition_point(|entry| entry.range.start <= offset);
                let inner =
                    at.checked_sub(1).map(|at| &entries[at]).filter(|entry| self.reaches(entry, offset));
                let parent = Scope::of(row);
                match inner {
                    Some(entry) => self.in_entry(section, table, entry, parent, Some(entries), offset),
                    None => Context::Key {
                        section,
                        table,
                        parent,
                        entry: None,
                        part: offset..offset,
                        inline: Some(entries),
                    },
                }
            }
            ValueKind::Array(values) if offset > value.range.start => {
                if offset == value.range.end && self.text()[value.range.clone()].ends_with(']') {
                    return Context::Nothing;
                }
                let inner =
                    values.iter().find(|value| value.range.start <= offset && offset <= value.range.end);
                Context::Value { row, value: inner, list: Some(values) }
            }
            _ => Context::Value { row, value: Some(value), list: None },
        }
    }

    /// The key, known or not, whose name an offset is on.
    pub(crate) fn field_at(&self, offset: usize) -> Option<Field<'_>> {
        let offset = self.boundary(offset);
        let section = self.section_at(offset);
        section
            .fields()
            .into_iter()
            .find(|field| field.part.range.start <= offset && offset <= field.part.range.end)
    }
}
