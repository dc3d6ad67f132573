//! Paths, and kernels of this machine.

use std::path::Path;

use vmtest_config::{Key, PathKind, ValueType};

use super::values::Slot;
use super::{Completion, CompletionKind};
use crate::analysis::Analysis;
use crate::edit::Edit;
use crate::surroundings::{DirectoryEntry, Surroundings};

/// What has been typed of a path.
pub(super) struct TypedPath<'t> {
    /// Up to the last `/`.
    pub(super) directory: &'t str,
    /// After it.
    name: &'t str,
    kind: PathKind,
}

/// The path at the cursor; none where none is written, or one whose beginning cannot be told.
pub(super) fn typed_path<'t>(row: &Key, slot: &'t Slot<'_>) -> Option<TypedPath<'t>> {
    let ValueType::Path(kind) = row.value else { return None };
    let meant = slot.meant()?;
    let (directory, name) = meant.split_at(meant.rfind('/').map_or(0, |slash| slash + 1));
    // A program without a `/` is looked up in PATH.
    if (kind == PathKind::Program && directory.is_empty()) || meant.contains('\0') {
        return None;
    }
    Some(TypedPath { directory, name, kind })
}

impl Analysis {
    /// Files and directories that the typed path can go on with; kernels of this machine before them.
    pub(super) fn path_completions(
        &self,
        row: &Key,
        slot: &Slot<'_>,
        surroundings: &Surroundings,
    ) -> Vec<Completion> {
        let Some(path) = typed_path(row, slot) else { return Vec::new() };
        let mut items = Vec::new();
        let kernels = surroundings.kernels.iter().filter(|_| row.in_target() == "kernel");
        for (at, kernel) in kernels.enumerate() {
            let Some((file, release)) = kernel.path.to_str().zip(kernel.release.as_ref().ok()) else {
                continue;
            };
            let Some(text) = slot.string(file) else { continue };
            items.push(Completion {
                detail: Some(release.clone()),
                edit: Edit::replace(slot.range.clone(), text),
                sort: format!("0{at:03}"),
                ..Completion::plain(CompletionKind::File, file, slot.range.clone(), '0')
            });
        }
        let directory = self.base().join(path.directory);
        let offered = |entry: &&DirectoryEntry| {
            path.offers(entry)
                && !items.iter().any(|item| Path::new(&item.label) == directory.join(&entry.name))
        };
        let entries: Vec<_> = surroundings.entries.iter().filter(offered).collect();
        let up = DirectoryEntry { name: "..".to_owned(), directory: true };
        let up = Some(&up).filter(|_| path.goes_up());
        items.extend(
            entries.into_iter().chain(up).filter_map(|entry| self.entry_completion(&path, slot, entry)),
        );
        items
    }

    fn entry_completion(
        &self,
        path: &TypedPath<'_>,
        slot: &Slot<'_>,
        entry: &DirectoryEntry,
    ) -> Option<Completion> {
        let slash = if entry.directory { "/" } else { "" };
        let whole = format!("{}{}{slash}", path.directory, entry.name);
        // What follows the name at the cursor stays only where a directory takes the place of another.
        let mut range = slot.range.clone();
        let cursor = range.start + slot.typed.len();
        if entry.directory
            && let Some(after) = self.text()[cursor..range.end].find('/')
        {
            range.end = cursor + after + 1;
        }
        let (text, snippet) =
            if entry.directory { slot.beginning(&whole)? } else { (slot.string(&whole)?, false) };
        let kind = if entry.directory { CompletionKind::Directory } else { CompletionKind::File };
        Some(Completion {
            label: format!("{}{slash}", entry.name),
            edit: Edit::replace(range.clone(), text),
            snippet,
            filter: whole,
            ..Completion::plain(kind, &entry.name, range, '1')
        })
    }
}

impl TypedPath<'_> {
    /// Whether a file has a place in the list.
    fn offers(&self, entry: &DirectoryEntry) -> bool {
        let hidden = entry.name.starts_with('.') && !self.name.starts_with('.');
        let writable = !entry.name.is_empty()
            && !entry.name.contains(|c: char| c == '/' || c == char::REPLACEMENT_CHARACTER || c.is_control());
        let wanted = entry.directory || self.kind != PathKind::Directory;
        !hidden && writable && wanted && entry.name != "." && entry.name != ".."
    }

    /// Whether `../` can lead somewhere: at the start of a relative path, and after another.
    fn goes_up(&self) -> bool {
        let parts = self.directory.split('/').filter(|part| !part.is_empty());
        !self.directory.starts_with('/')
            && parts.clone().all(|part| part == "." || part == "..")
            && (self.name.starts_with('.') || parts.clone().any(|part| part == ".."))
    }
}
