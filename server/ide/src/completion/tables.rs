//! Headers of tables, and whole targets.

use std::ops::Range;

use vmtest_config::{Key, ValueType};

use super::keys::{Given, described, is_inline};
use super::{Completion, CompletionKind, snippets};
use crate::analysis::Analysis;
use crate::edit::Edit;
use crate::model::{Header, Section, Table};
use crate::scope::Scope;
use crate::surroundings::Surroundings;

impl Analysis {
    pub(super) fn header_completions(
        &self,
        section: &Section,
        header: &Header,
        parent: Scope,
        part: &Range<usize>,
        offset: usize,
        surroundings: &Surroundings,
    ) -> Vec<Completion> {
        let is_map = parent.row().is_some_and(|parent| parent.value == ValueType::Map);
        if matches!(parent, Scope::Unknown) || (is_map && !part.is_empty()) {
            return Vec::new();
        }
        // All of it is written anew, so that brackets match whatever was typed.
        let start = header.range.start.max(self.line_start(offset));
        let range = start..header.range.end.min(self.line_end(offset)).max(offset);
        let is_own = |table: &&Table| table.header.as_ref().is_some_and(|own| std::ptr::eq(own, header));
        let Some(table) = section.tables.iter().find(is_own) else { return Vec::new() };
        let mut items = Vec::new();
        if !header.array {
            items.extend(self.table_completions(section, Some(table), &range, &Given::new(section, None)));
        }
        let is_last = section.tables.last().is_some_and(|last| std::ptr::eq(last, table));
        if !table.entries.is_empty() || !is_last {
            let item = Completion::plain(CompletionKind::Table, "[[target]]", range, '5');
            items.push(Completion { detail: Some("another target".to_owned()), ..item });
        } else {
            items.extend(target_completions(&range, "[[target]]", surroundings));
        }
        items
    }

    /// The tables that a target does not have yet. `own` is the one whose header is being written; without it, a bare
    /// word becomes one.
    pub(super) fn table_completions(
        &self,
        section: &Section,
        own: Option<&Table>,
        range: &Range<usize>,
        given: &Given<'_>,
    ) -> Vec<Completion> {
        let is_own = |table: &Table| own.is_some_and(|own| std::ptr::eq(own, table));
        // Not before the first target, and not in place of its own header.
        let is_target = |first: &&Table| first.scope().row().is_some_and(|row| row.in_target().is_empty());
        if section.tables.first().filter(is_target).is_none_or(is_own) {
            return Vec::new();
        }
        let others = |path: &str| {
            let mut rows =
                section.tables.iter().filter(|table| !is_own(table)).filter_map(|table| table.scope().row());
            rows.any(|row| row.in_target() == path)
        };
        let is_empty = own.is_none_or(|own| own.entries.is_empty());
        let blank = is_empty && self.text()[range.end..self.line_end(range.end)].trim().is_empty();
        let mut items = Vec::new();
        for (path, header) in [("vm", "[target.vm]"), ("env", "[target.env]")] {
            let dotted = given.all(path).any(|field| field.entry.is_some());
            let Some(row) = Key::find(&["target", path]).filter(|_| !dotted && !others(path)) else {
                continue;
            };
            let text = if blank { format!("{header}\n$0") } else { header.to_owned() };
            items.push(described(table_item(header, path, own, range, text), row));
        }
        let inline = ["vm", "vm.mounts"].iter().any(|path| given.all(path).any(is_inline));
        if let Some(row) = Key::find(&["target", "vm", "mounts", "*"]).filter(|_| !inline) {
            let place = given.free_mount();
            let mut text = format!("[target.vm.mounts.\"${{1:{place}}}\"]");
            if blank {
                text.push_str("\nhost_path = \"${2:./data}\"");
            }
            items.push(described(
                table_item(&format!("[target.vm.mounts.\"{place}\"]"), "vm.mounts", own, range, text),
                row,
            ));
        }
        items
    }
}

/// Whole targets.
pub(super) fn target_completions(
    range: &Range<usize>,
    filter: &str,
    surroundings: &Surroundings,
) -> Vec<Completion> {
    let kernel = surroundings.kernels.iter().find(|kernel| kernel.release.is_ok());
    let plain = |path: &&str| !path.contains(|c: char| matches!(c, '"' | '\\') || c.is_control());
    let kernel = kernel.and_then(|kernel| kernel.path.to_str()).filter(plain);
    let kernel = snippets::escape(kernel.unwrap_or("./bzImage"));
    let target = |label: &str, detail: &str, system: &str| Completion {
        detail: Some(detail.to_owned()),
        doc: Key::find(&["target"]).map(|row| row.doc.to_owned()),
        edit: Edit::replace(
            range.clone(),
            format!("[[target]]\nname = \"${{1:name}}\"\n{system}\ncommand = \"${{3:uname -r}}\"\n$0"),
        ),
        snippet: true,
        filter: filter.to_owned(),
        ..Completion::plain(CompletionKind::Snippet, label, range.clone(), '5')
    };
    vec![
        target("[[target]]", "boots a kernel", &format!("kernel = \"${{2:{kernel}}}\"")),
        target("[[target]] image", "boots a disk image", "image = \"${2:./image.qcow2}\""),
    ]
}

fn table_item(
    label: &str,
    path: &str,
    own: Option<&Table>,
    range: &Range<usize>,
    text: String,
) -> Completion {
    Completion {
        edit: Edit::replace(range.clone(), text),
        snippet: true,
        // Held against what was typed: a header, or a bare word.
        filter: if own.is_some() { label.to_owned() } else { path.to_owned() },
        ..Completion::plain(CompletionKind::Table, label, range.clone(), '4')
    }
}
