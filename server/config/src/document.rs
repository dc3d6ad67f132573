//! A configuration that is read but not yet resolved: its targets can still be chosen and changed.
//!
//! The way is [`Document::parse`] → [`Document::select`] → [`Document::set`] → [`Document::resolve`]. Overrides come
//! before rules, so that a rule sees what will really run.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::key::{self, Key};
use crate::problem::Problem;
use crate::spans::Texts;
use crate::walk::{article, unknown_key};
use crate::{Arch, syntax};

/// The smallest file that does something, for the help of who has an empty one.
pub const MINIMAL_EXAMPLE: &str =
    "[[target]]\nname = \"my kernel\"\nkernel = \"./bzImage\"\ncommand = \"uname -r\"\n";

/// A configuration whose syntax is right.
#[derive(Debug)]
pub struct Document<'t> {
    pub(crate) base: PathBuf,
    pub(crate) host: Arch,
    pub(crate) texts: Texts<'t>,
    pub(crate) targets: Vec<RawTarget<'t>>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) overrides: Vec<Override<'t>>,
}

/// One `[[target]]` as parsed.
#[derive(Debug)]
pub(crate) struct RawTarget<'t> {
    /// Where a problem of the whole target is shown.
    pub(crate) header: Range<usize>,
    pub(crate) table: DeTable<'t>,
    pub(crate) selected: bool,
}

/// How the value of an assignment is read.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// As TOML; as text where that is no string and the key takes one.
    Toml,
    /// As text, whatever it looks like.
    Text,
}

/// One `--set` or `--set-text`.
#[derive(Debug)]
pub(crate) struct Override<'t> {
    /// The parts of the key.
    path: Vec<Spanned<String>>,
    value: Spanned<DeValue<'t>>,
}

impl<'t> Document<'t> {
    /// Reads the text of a vmtest.toml; relative paths in it start at `base`, the directory that it lies in.
    ///
    /// Fails with every syntax error, or with what is wrong with `target` itself.
    pub fn parse(text: &'t str, base: &Path) -> Result<Self, Vec<Problem>> {
        let table = syntax::parse(text)?;
        let (mut document, mut errors) = Self::read(table, text, base);
        if errors.is_empty() {
            return Ok(document);
        }
        errors.append(&mut document.problems);
        errors.sort_by_key(|problem| problem.span.start);
        Err(errors)
    }

    /// Reads as much of a text as is right, for who must say something about the rest of a broken one; gives what is
    /// wrong with the syntax or with `target` itself, too.
    pub fn recover(text: &'t str, base: &Path) -> (Self, Vec<Problem>) {
        let (table, mut problems) = syntax::recover(text);
        let (document, errors) = Self::read(table, text, base);
        problems.extend(errors);
        (document, problems)
    }

    /// The document, and what is wrong with `target` itself.
    fn read(table: DeTable<'t>, text: &'t str, base: &Path) -> (Self, Vec<Problem>) {
        let mut document = Self::empty(text, base);
        let mut found = false;
        let mut errors = Vec::new();
        for (key, value) in table {
            if key.get_ref() == "target" {
                found = true;
                document.read_targets(key.span(), value, &mut errors);
            } else {
                document.problems.push(unknown_key(None, key.get_ref(), key.span()));
            }
        }
        if !found {
            let at = text.strip_prefix(crate::problem::BOM).map_or(0, |rest| text.len() - rest.len());
            errors.push(no_targets(at..at));
        }
        (document, errors)
    }

    pub(crate) fn empty(text: &'t str, base: &Path) -> Self {
        Self {
            base: absolute(Path::new("."), base),
            host: Arch::host(),
            texts: Texts::new(text),
            targets: Vec::new(),
            problems: Vec::new(),
            overrides: Vec::new(),
        }
    }

    fn read_targets(&mut self, key: Range<usize>, value: Spanned<DeValue<'t>>, errors: &mut Vec<Problem>) {
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(list) if list.is_empty() => errors.push(no_targets(key)),
            DeValue::Array(list) => {
                for item in list {
                    let header = item.span();
                    match item.into_inner() {
                        DeValue::Table(table) => {
                            self.targets.push(RawTarget { header, table, selected: true });
                        }
                        other => errors.push(
                            Problem::error(
                                "wrong_type",
                                header,
                                format!("a target must be a table, not {}", article(&other)),
                            )
                            .help("write a [[target]] section"),
                        ),
                    }
                }
            }
            DeValue::Table(_) => {
                let raw = self.texts.slice(&span);
                let problem = Problem::error(
                    "target_not_array",
                    span.clone(),
                    "`target` is a single table, but it must be a list of them",
                )
                .help("write `[[target]]` with double brackets, once for each target");
                errors.push(if raw == "[target]" {
                    problem.fix("Use double brackets", span, "[[target]]")
                } else {
                    problem
                });
            }
            other => errors.push(
                Problem::error(
                    "wrong_type",
                    span,
                    format!("`target` must be an array of tables, not {}", article(&other)),
                )
                .help(format!("write:\n{MINIMAL_EXAMPLE}")),
            ),
        }
    }

    /// Takes another architecture for the host's; for tests and for editors of another machine's files.
    #[must_use]
    pub fn with_host(mut self, host: Arch) -> Self {
        self.host = host;
        self
    }

    /// The directory that relative paths start at.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The names of all targets in the order of the file; empty where there is none.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(RawTarget::name)
    }

    /// The names of the targets that are selected; every one is before the first [`Document::select`].
    pub fn selected_names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter(|target| target.selected).map(RawTarget::name)
    }

    /// Keeps the targets selected whose name a regular expression matches anywhere.
    ///
    /// To match none is an error: a run of nothing must not look like a success.
    #[expect(
        clippy::result_large_err,
        reason = "a problem is the end of the work, so its size costs nothing"
    )]
    pub fn select(&mut self, pattern: &str) -> Result<(), Problem> {
        let problem = |code, message: String| {
            let mut problem = Problem::error(code, 0..pattern.len(), message);
            problem.source =
                crate::problem::Source::Argument { option: "--filter", text: pattern.to_owned() };
            problem
        };
        let regex = regex::Regex::new(pattern).map_err(|error| {
            // Its own rendering repeats the pattern over several lines; the last line is the reason.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            problem("invalid_filter", format!("the filter is not a regular expression: {reason}"))
                .help("escape characters that have a meaning of their own with a backslash")
        })?;
        let matching: Vec<bool> =
            self.targets.iter().map(|target| target.selected && regex.is_match(target.name())).collect();
        if !matching.contains(&true) {
            return Err(problem("no_match", format!("no target's name matches the filter {pattern:?}"))
                .help(format!("the targets are: {}", list(self.selected_names()))));
        }
        for (target, matching) in self.targets.iter_mut().zip(matching) {
            target.selected = matching;
        }
        Ok(())
    }

    /// Keeps the selected targets at which `keep` says so: it gets their index in the file and their name.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &str) -> bool) {
        for (index, target) in self.targets.iter_mut().enumerate() {
            target.selected = target.selected && keep(index, target.name());
        }
    }

    /// Sets a key of every selected target: `vm.memory=1G`.
    ///
    /// The key is relative to the target; the value is TOML, and plain text where the key takes a string.
    #[expect(
        clippy::result_large_err,
        reason = "a problem is the end of the work, so its size costs nothing"
    )]
    pub fn set(&mut self, assignment: &'t str) -> Result<(), Problem> {
        self.assign("--set", Reading::Toml, assignment).map_err(|problem| self.texts.localize(problem))
    }

    /// Sets a key that takes a string, to the very text after the `=`: for programs that pass on what they do not know.
    #[expect(
        clippy::result_large_err,
        reason = "a problem is the end of the work, so its size costs nothing"
    )]
    pub fn set_text(&mut self, assignment: &'t str) -> Result<(), Problem> {
        self.assign("--set-text", Reading::Text, assignment).map_err(|problem| self.texts.localize(problem))
    }

    #[expect(
        clippy::result_large_err,
        reason = "a problem is the end of the work, so its size costs nothing"
    )]
    fn assign(&mut self, option: &'static str, reading: Reading, assignment: &'t str) -> Result<(), Problem> {
        let start = self.texts.add(option, assignment);
        let whole = start..start + assignment.len();
        let Some(equals) = equals_sign(assignment) else {
            return Err(Problem::error("invalid_set", whole, "no `=` between a key and its value")
                .help(format!("write {option} KEY=VALUE, such as {option} vm.memory=1G")));
        };
        let (key_text, value_text) = (&assignment[..equals], &assignment[equals + 1..]);
        let key_span = start..start + equals;
        let Some(parts) = syntax::parse_key(key_text) else {
            return Err(Problem::error("invalid_set", key_span, format!("not a key: {key_text:?}")).help(
                "write the key with dots, such as vm.memory; a part with other characters goes in quotes",
            ));
        };
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let row = match find_row(&names) {
            Ok(row) => row,
            Err((at, parent)) => {
                let (name, span) = &parts[at];
                return Err(unknown_set_key(option, parent, name, span.start + start..span.end + start));
            }
        };
        let value_start = start + equals + 1;
        let value_span = value_start..value_start + value_text.len();
        let parsed = match reading {
            Reading::Toml => syntax::parse_value(value_text.trim()),
            Reading::Text => None,
        };
        let value = match parsed.map(Spanned::into_inner) {
            Some(value) if !row.value.is_string() || value.is_str() => {
                shift(value, value_start + leading(value_text))
            }
            _ if row.value.is_string() => DeValue::String(value_text.into()),
            _ => {
                let message =
                    format!("`{}` must be {}, not {value_text:?}", row.in_target(), row.value.toml());
                return Err(Problem::error("invalid_set", value_span, message)
                    .help(format!("write --set '{key_text}={}'", row.example)));
            }
        };
        let path = parts
            .into_iter()
            .map(|(name, span)| Spanned::new(span.start + start..span.end + start, name))
            .collect();
        self.overrides.push(Override { path, value: Spanned::new(value_span, value) });
        Ok(())
    }

    /// Adds a target that is made of nothing but options of the command line.
    pub(crate) fn push_target(&mut self) {
        let header = 0..0;
        self.targets.push(RawTarget { header, table: DeTable::new(), selected: true });
    }

    /// Gives a key of the only target a value that an option named.
    pub(crate) fn put(&mut self, option: &'static str, key: &'static str, text: &'t str, value: String) {
        let start = self.texts.add(option, text);
        let span = start..start + text.len();
        if let Some(target) = self.targets.first_mut() {
            if target.header == (0..0) {
                target.header = span.clone();
            }
            let value = Spanned::new(span.clone(), DeValue::String(value.into()));
            target.table.insert(Spanned::new(span, key.into()), value);
        }
    }
}

impl<'t> RawTarget<'t> {
    pub(crate) fn name(&self) -> &str {
        self.table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default()
    }

    pub(crate) fn apply(&mut self, change: &Override<'t>) {
        let Some((last, parents)) = change.path.split_last() else { return };
        let mut table = &mut self.table;
        for part in parents {
            if !table.contains_key(part.get_ref().as_str()) {
                let empty = Spanned::new(part.span(), DeValue::Table(DeTable::new()));
                table.insert(key(part), empty);
            }
            match table.get_mut(part.get_ref().as_str()).map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => table = inner,
                // A wrong type in the file: that is reported, and nothing can be set in it.
                _ => return,
            }
        }
        // Removed first, since inserting over a key would keep the old key with its old place.
        table.remove(last.get_ref().as_str());
        table.insert(key(last), change.value.clone());
    }
}

fn key<'t>(part: &Spanned<String>) -> Spanned<toml::de::DeString<'t>> {
    Spanned::new(part.span(), part.get_ref().clone().into())
}

/// The row of a path below the target; else the index of the first part that has none, and the table it is missed in.
fn find_row(names: &[&str]) -> Result<&'static Key, (usize, &'static Key)> {
    let mut row = &crate::KEYS[0];
    for (at, name) in names.iter().enumerate() {
        row = row.child(name).ok_or((at, row))?;
    }
    Ok(row)
}

fn unknown_set_key(option: &str, parent: &Key, name: &str, span: Range<usize>) -> Problem {
    let known = if parent.in_target().is_empty() {
        Problem::error("unknown_key", span, format!("unknown key `{name}`"))
    } else {
        Problem::error("unknown_key", span, format!("unknown key `{name}` in `{}`", parent.in_target()))
    };
    if name == "target" {
        return known.help("write the key without `target.`: it is set in every target that runs");
    }
    match key::suggest(Some(parent), name) {
        Some(meant) if !meant.in_target().is_empty() => {
            known.help(format!("did you mean {option} {}=…?", meant.in_target()))
        }
        _ => known.help("see `docs/config.md` for the keys that there are"),
    }
}

/// The `=` between key and value: the first outside quotes.
fn equals_sign(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(b'"'), _) if escaped => escaped = false,
            (Some(b'"'), b'\\') => escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'=') => return Some(at),
            _ => {}
        }
    }
    None
}

/// The base as it was given, from the root on. An empty one is the working directory, as the parent of a bare file name.
fn absolute(here: &Path, base: &Path) -> PathBuf {
    let base = if base.as_os_str().is_empty() { here } else { base };
    std::path::absolute(base).unwrap_or_else(|_| base.to_owned())
}

fn leading(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Moves every place in a value.
fn shift(value: DeValue<'_>, by: usize) -> DeValue<'_> {
    fn spanned(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
        let span = value.span();
        Spanned::new(span.start + by..span.end + by, shift(value.into_inner(), by))
    }
    match value {
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(|item| spanned(item, by)).collect()),
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let span = key.span();
                    (Spanned::new(span.start + by..span.end + by, key.into_inner()), spanned(value, by))
                })
                .collect(),
        ),
        scalar => scalar,
    }
}

fn no_targets(span: Range<usize>) -> Problem {
    Problem::error("no_targets", span, "there is no target")
        .help(format!("write at least one:\n{MINIMAL_EXAMPLE}"))
}

/// Names for a message: quoted, and no more than a screen holds.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const MOST: usize = 20;
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(MOST);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
