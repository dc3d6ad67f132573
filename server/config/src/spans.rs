//! Where the things of a target were written.

use std::ops::Range;
use std::path::Path;

use crate::key::Key;
use crate::problem::{Problem, Source, floor_char_boundary};
use crate::value::normalize_guest_path;

/// Where one key of a target was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The text that the ranges point into.
    pub source: Source,
    /// The key, in bytes.
    pub key: Range<usize>,
    /// The value, in bytes; for a table its header.
    pub value: Range<usize>,
}

/// Where every key of a target was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: &'static str,
    name: Option<String>,
    place: Place,
}

impl Spans {
    /// Where a key was written, by its path in the target, such as `vm.memory`; none where its default holds.
    pub fn of(&self, path: &str) -> Option<&Place> {
        self.entries.iter().find(|entry| entry.path == path).map(|entry| &entry.place)
    }

    /// Where a key below a name of the user's was written: `of_entry("vm.mounts.*.host_path", "/mnt/data")`. The name
    /// is as written.
    pub fn of_entry(&self, path: &str, name: &str) -> Option<&Place> {
        let found =
            self.entries.iter().find(|entry| entry.path == path && entry.name.as_deref() == Some(name));
        found.map(|entry| &entry.place)
    }

    /// Where a key of the mount on a normalized guest path was written: `of_mount("vm.mounts.*.host_path", …)`.
    pub(crate) fn of_mount(&self, path: &str, guest_path: &Path) -> Option<&Place> {
        let found = self.entries.iter().find(|entry| {
            let name = entry.name.as_deref();
            entry.path == path && name.is_some_and(|name| normalize_guest_path(name) == guest_path)
        });
        found.map(|entry| &entry.place)
    }
}

/// The same while a target is being read: ranges that span all texts, so that they compare and sort.
#[derive(Debug, Default)]
pub(crate) struct RawSpans {
    entries: Vec<RawEntry>,
}

#[derive(Debug)]
struct RawEntry {
    row: &'static Key,
    name: Option<String>,
    key: Range<usize>,
    value: Range<usize>,
}

impl RawSpans {
    pub(crate) fn record(
        &mut self,
        row: &'static Key,
        name: Option<&str>,
        key: Range<usize>,
        value: Range<usize>,
    ) {
        self.entries.push(RawEntry { row, name: name.map(str::to_owned), key, value });
    }

    /// Where a key's name stands.
    pub(crate) fn key(&self, path: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|entry| entry.row.in_target() == path).map(|entry| entry.key.clone())
    }

    /// Whether a key is given, rightly or wrongly.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.key(path).is_some()
    }

    /// Whether a key below a name of the user's is given.
    pub(crate) fn has_entry(&self, path: &str, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.row.in_target() == path && entry.name.as_deref() == Some(name))
    }

    /// Every given key and where its name stands.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'static Key, Range<usize>)> {
        self.entries.iter().map(|entry| (entry.row, entry.key.clone()))
    }

    pub(crate) fn place(self, texts: &Texts<'_>) -> Spans {
        let entries = self.entries.into_iter().map(|entry| {
            let (source, key) = texts.locate(&entry.key);
            let (value_source, value) = texts.locate(&entry.value);
            // A table that both the file and an argument add to keeps the place of its key.
            let value = if value_source == source { value } else { key.clone() };
            Entry { path: entry.row.in_target(), name: entry.name, place: Place { source, key, value } }
        });
        Spans { entries: entries.collect() }
    }
}

/// The file and the arguments laid end to end: one range says both the text and the place in it.
#[derive(Debug)]
pub(crate) struct Texts<'t> {
    file: &'t str,
    arguments: Vec<Argument<'t>>,
}

#[derive(Debug)]
struct Argument<'t> {
    option: &'static str,
    text: &'t str,
    start: usize,
}

impl<'t> Texts<'t> {
    pub(crate) fn new(file: &'t str) -> Self {
        Self { file, arguments: Vec::new() }
    }

    /// Adds an argument; gives the offset at which its text starts.
    pub(crate) fn add(&mut self, option: &'static str, text: &'t str) -> usize {
        let end = self.arguments.last().map_or(self.file.len(), |last| last.start + last.text.len());
        // One byte apart, so that no offset belongs to two texts.
        self.arguments.push(Argument { option, text, start: end + 1 });
        end + 1
    }

    fn find(&self, offset: usize) -> Option<&Argument<'t>> {
        self.arguments.iter().rfind(|argument| argument.start <= offset)
    }

    pub(crate) fn is_file(&self, span: &Range<usize>) -> bool {
        self.find(span.start).is_none()
    }

    /// The text that a range covers.
    pub(crate) fn slice(&self, span: &Range<usize>) -> &'t str {
        let (text, start) =
            self.find(span.start).map_or((self.file, 0), |argument| (argument.text, argument.start));
        text.get(span.start - start..span.end.saturating_sub(start)).unwrap_or_default()
    }

    /// Which text a range lies in, and where there.
    pub(crate) fn locate(&self, span: &Range<usize>) -> (Source, Range<usize>) {
        let Some(argument) = self.find(span.start) else {
            return (Source::File, clamp(self.file, span.start, span.end));
        };
        let local =
            clamp(argument.text, span.start - argument.start, span.end.saturating_sub(argument.start));
        (Source::Argument { option: argument.option, text: argument.text.to_owned() }, local)
    }

    /// Brings a problem's ranges home to their texts.
    pub(crate) fn localize(&self, mut problem: Problem) -> Problem {
        let offset = problem.span.start;
        (problem.source, problem.span) = self.locate(&problem.span);
        problem.related.retain(|(span, _)| self.find(span.start).is_none());
        problem.fix = problem.fix.take().and_then(|mut fix| {
            let same_text = self.find(fix.span.start).map(|argument| argument.start)
                == self.find(offset).map(|argument| argument.start);
            fix.span = self.locate(&fix.span).1;
            same_text.then_some(fix)
        });
        problem
    }
}

fn clamp(text: &str, start: usize, end: usize) -> Range<usize> {
    let start = floor_char_boundary(text, start);
    start..floor_char_boundary(text, end).max(start)
}
