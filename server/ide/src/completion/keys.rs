//! Keys.

use std::ops::Range;

use vmtest_config::{Applies, Default, KEYS, Key, SYSTEM_KEYS, ValueType};

use super::tables::target_completions;
use super::{Completion, CompletionKind, snippets};
use crate::analysis::Analysis;
use crate::edit::Edit;
use crate::model::{Entry, Field, Section, Table, ValueKind};
use crate::scope::Scope;
use crate::surroundings::Surroundings;

/// Where a key can be written.
pub(super) struct Place<'m> {
    pub(super) section: &'m Section,
    pub(super) table: &'m Table,
    /// The table.
    pub(super) parent: Scope,
    /// What is there already.
    pub(super) entry: Option<&'m Entry>,
    /// The part to write.
    pub(super) part: Range<usize>,
    /// The keys beside it in an inline table.
    pub(super) inline: Option<&'m [Entry]>,
}

/// What a target has already.
pub(super) struct Given<'m>(Vec<Field<'m>>);

impl<'m> Given<'m> {
    /// Everything but what stands in the line `except`: the one that is being written.
    pub(super) fn new(section: &'m Section, except: Option<&Entry>) -> Self {
        let mut fields = section.fields();
        if let Some(except) = except {
            fields.retain(|field| field.entry.is_none_or(|entry| !std::ptr::eq(entry, except)));
        }
        Self(fields)
    }

    /// Whether a key is given, by its path in the target.
    pub(super) fn has(&self, path: &str) -> bool {
        self.all(path).next().is_some()
    }

    pub(super) fn all(&self, path: &str) -> impl Iterator<Item = &Field<'m>> {
        self.0.iter().filter(move |field| field.row.is_some_and(|row| row.in_target() == path))
    }

    /// A place in the guest that no mount has yet.
    pub(super) fn free_mount(&self) -> String {
        let taken = |place: &str| self.0.iter().any(|field| field.map_name == Some(place));
        let more = (2..).map(|number| format!("{}{number}", snippets::MOUNT));
        std::iter::once(snippets::MOUNT.to_owned())
            .chain(more)
            .find(|place| !taken(place))
            .unwrap_or_default()
    }

    fn has_system(&self) -> bool {
        SYSTEM_KEYS.iter().any(|key| self.has(key))
    }

    /// Whether a key has no business in this target: it is excluded, or for targets of the other kind.
    fn rules_out(&self, row: &Key) -> bool {
        if row.excludes.iter().any(|other| self.has(other)) {
            return true;
        }
        let image = self.has("image") || self.has("image_url");
        match row.applies {
            Applies::Kernel if image => return true,
            Applies::Image if self.has_system() && !image => return true,
            _ => {}
        }
        // The checksum of a download that there is not.
        let of_system = row.needs.iter().any(|key| SYSTEM_KEYS.contains(key));
        of_system && self.has_system() && !row.needs.iter().any(|key| self.has(key))
    }
}

impl Place<'_> {
    /// The index of the part at the cursor in its dotted key.
    fn depth(&self) -> usize {
        let path = self.entry.map_or(&[][..], |entry| &entry.path);
        path.iter().take_while(|part| part.range.start < self.part.start).count()
    }

    /// Whether only the name goes: what follows is there already.
    fn only_name(&self) -> bool {
        self.entry.is_some_and(|entry| entry.equals.is_some() || self.depth() + 1 < entry.path.len())
    }

    /// Whether a line can start here: nothing but one word stands on it.
    fn is_line(&self) -> bool {
        self.inline.is_none()
            && self.entry.is_none_or(|entry| entry.equals.is_none() && entry.path.len() <= 1)
            && self.depth() == 0
    }

    /// Whether a header can stand here without taking keys away from this table.
    fn is_table_end(&self) -> bool {
        self.is_line() && self.table.entries.iter().all(|entry| entry.range.start <= self.part.start)
    }

    /// Whether nothing of the target follows.
    fn is_section_end(&self) -> bool {
        self.is_table_end() && self.section.tables.last().is_some_and(|last| std::ptr::eq(last, self.table))
    }

    /// Whether the table of the cursor has a key already.
    fn has(&self, row: &'static Key, given: &Given<'_>) -> bool {
        let prefix = self.entry.map_or(&[][..], |entry| &entry.path[..self.depth()]);
        if let Some(entries) = self.inline {
            return entries
                .iter()
                .filter(|entry| self.entry.is_none_or(|own| !std::ptr::eq(*entry, own)))
                .any(|entry| {
                    let path = entry.path.iter().map(|part| part.name.as_str());
                    path.take(prefix.len() + 1)
                        .eq(prefix.iter().map(|part| part.name.as_str()).chain(std::iter::once(row.name())))
                });
        }
        let header = self.table.header.iter().flat_map(|header| &header.path);
        let names: Vec<&str> = header.chain(prefix).map(|part| part.name.as_str()).collect();
        // What the user called the table that the key stands in, where it is one of several.
        let star = row.path.split('.').position(|name| name == "*");
        let name = star.and_then(|at| names.get(at).copied());
        given.all(row.in_target()).any(|field| field.map_name == name)
    }
}

impl Analysis {
    pub(super) fn key_completions(&self, place: &Place<'_>, surroundings: &Surroundings) -> Vec<Completion> {
        // A name in quotes is the user's own.
        let quoted = self.text()[place.part.clone()].contains(['"', '\'', '\n']);
        if quoted || (place.entry.is_none() && !self.is_free(place)) {
            return Vec::new();
        }
        let comma = self.missing_comma(place);
        let given = Given::new(place.section, place.entry);
        let mut items = Vec::new();
        match place.parent.row() {
            Some(parent) if parent.value == ValueType::Map => items.extend(map_line(parent, place, &given)),
            Some(parent) => {
                let rows = parent.children().filter(|row| !place.has(row, &given));
                items.extend(rows.filter(|row| !given.rules_out(row)).map(|row| key(row, place, &given)));
                if parent.in_target().is_empty() && place.inline.is_none() && !place.only_name() {
                    items.extend(of_vm(place, &given));
                }
            }
            None => {}
        }
        items.iter_mut().filter(|item| item.snippet).for_each(|item| item.edit.text.push_str(comma));
        if place.is_table_end() {
            items.extend(self.table_completions(place.section, None, &place.part, &given));
        }
        if place.is_section_end() {
            items.extend(target_completions(&place.part, "target", surroundings));
        }
        items
    }

    /// What must follow a new key in an inline table that goes on after it.
    fn missing_comma(&self, place: &Place<'_>) -> &'static str {
        let end = place.part.end;
        let goes_on = place.inline.is_some_and(|entries| entries.iter().any(|entry| entry.range.start > end));
        if goes_on && !self.text()[end..].trim_start().starts_with(',') { "," } else { "" }
    }

    /// Whether a key can be added where none is: on a blank line, or between the commas of an inline table.
    fn is_free(&self, place: &Place<'_>) -> bool {
        let at = place.part.start;
        let after = self.text()[place.part.end..].trim_start_matches([' ', '\t']);
        let ends = after.is_empty() || after.starts_with(['\n', '\r', '#']);
        if place.inline.is_none() {
            return ends;
        }
        let before = self.text()[..at].trim_end();
        before.ends_with(['{', ',']) && (ends || after.starts_with([',', '}']))
    }
}

/// The keys of `[target.vm]` as they are written in the target itself, where that table has not been opened.
fn of_vm<'m>(place: &'m Place<'_>, given: &'m Given<'_>) -> impl Iterator<Item = Completion> + use<'m> {
    let vm = Key::find(&["target", "vm"]);
    let closed = is_closed(place.section, given, "vm");
    let rows = vm.into_iter().filter(move |_| !closed && place.is_line()).flat_map(Key::children);
    rows.filter(|row| row.value != ValueType::Map && !given.has(row.in_target()) && !given.rules_out(row))
        .map(|row| {
            let name = row.in_target();
            let item = Completion {
                edit: Edit::replace(place.part.clone(), format!("{name} = {}", snippets::value(row))),
                snippet: true,
                ..Completion::plain(CompletionKind::Key, name, place.part.clone(), '3')
            };
            described(item, row)
        })
}

/// Whether a table has been written out somewhere, so that a dotted key cannot add to it.
pub(super) fn is_closed(section: &Section, given: &Given<'_>, path: &str) -> bool {
    given.all(path).any(|field| field.value.is_some())
        || section.tables.iter().any(|table| table.scope().row().is_some_and(|row| row.in_target() == path))
}

fn key(row: &'static Key, place: &Place<'_>, given: &Given<'_>) -> Completion {
    let name = row.name();
    let wanted =
        row.default == Default::Required || (SYSTEM_KEYS.contains(&row.in_target()) && !given.has_system());
    let order = KEYS.iter().position(|key| key.path == row.path).unwrap_or_default();
    let item = Completion {
        sort: format!("{}{order:02}", if wanted { '0' } else { '2' }),
        ..Completion::plain(CompletionKind::Key, name, place.part.clone(), '2')
    };
    let item = described(item, row);
    if place.only_name() {
        return item;
    }
    let text = match row.value {
        ValueType::Map => format!("{name}.{}", snippets::map_entry(row, &given.free_mount())),
        _ => format!("{name} = {}", snippets::value(row)),
    };
    Completion { edit: Edit::replace(place.part.clone(), text), snippet: true, ..item }
}

/// A line of a table whose keys are the user's: offered only where no name has been begun.
fn map_line(row: &'static Key, place: &Place<'_>, given: &Given<'_>) -> Option<Completion> {
    if !place.part.is_empty() || place.only_name() || row.in_target() != "vm.mounts" {
        return None;
    }
    let child = row.children().next()?;
    let label = format!("\"{}\"", given.free_mount());
    let item = Completion {
        edit: Edit::replace(place.part.clone(), snippets::map_entry(row, &given.free_mount())),
        snippet: true,
        ..Completion::plain(CompletionKind::Key, &label, place.part.clone(), '2')
    };
    Some(described(item, child))
}

pub(super) fn described(item: Completion, row: &Key) -> Completion {
    Completion { detail: Some(row.value.to_string()), doc: Some(row.doc.to_owned()), ..item }
}

/// Whether a value is a table that is written out.
pub(super) fn is_inline(field: &Field<'_>) -> bool {
    field.value.is_some_and(|value| matches!(value.kind, ValueKind::Table(_)))
}
