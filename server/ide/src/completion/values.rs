//! Values: those that a key can have, and those that people use.

use std::ops::Range;

use vmtest_config::{Default, Key, ValueType};

use super::{Completion, CompletionKind, snippets};
use crate::analysis::Analysis;
use crate::edit::Edit;
use crate::model::Value;
use crate::surroundings::Surroundings;

/// What a value at the cursor would replace, and how it must be written there.
#[derive(Debug)]
pub(crate) struct Slot<'t> {
    /// What goes: the content of a string, or a bare word.
    pub(super) range: Range<usize>,
    /// As much of it as stands before the cursor, as it is written.
    pub(super) typed: &'t str,
    /// All of it.
    pub(super) written: &'t str,
    quotes: Quotes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// None yet.
    Missing,
    /// `"`.
    Basic,
    /// `'`, in which nothing can be escaped.
    Literal,
    /// As the two above, without the one at the end.
    OpenBasic,
    OpenLiteral,
}

impl Slot<'_> {
    /// A string as it must be written here; none where it cannot be.
    pub(super) fn string(&self, text: &str) -> Option<String> {
        if text.chars().any(char::is_control) {
            return None;
        }
        let basic = || text.replace('\\', "\\\\").replace('"', "\\\"");
        match self.quotes {
            Quotes::Missing => Some(format!("\"{}\"", basic())),
            Quotes::Basic => Some(basic()),
            Quotes::OpenBasic => Some(format!("{}\"", basic())),
            Quotes::Literal if !text.contains('\'') => Some(text.to_owned()),
            Quotes::OpenLiteral if !text.contains('\'') => Some(format!("{text}'")),
            Quotes::Literal | Quotes::OpenLiteral => None,
        }
    }

    /// The beginning of a string, with the cursor where it goes on; and whether that is a snippet.
    pub(super) fn beginning(&self, text: &str) -> Option<(String, bool)> {
        let whole = self.string(text)?;
        Some(match self.quotes {
            Quotes::Missing => {
                let content = whole.strip_suffix('"').unwrap_or(&whole);
                (format!("{}$0\"", snippets::escape(content)), true)
            }
            Quotes::Basic | Quotes::Literal => (whole, false),
            Quotes::OpenBasic => (whole.strip_suffix('"').unwrap_or(&whole).to_owned(), false),
            Quotes::OpenLiteral => (whole.strip_suffix('\'').unwrap_or(&whole).to_owned(), false),
        })
    }

    /// What stands before the cursor, as it is meant; none where it has escapes.
    pub(super) fn meant(&self) -> Option<&str> {
        let escaped =
            !matches!(self.quotes, Quotes::Literal | Quotes::OpenLiteral) && self.typed.contains('\\');
        (!escaped).then_some(self.typed)
    }

    pub(super) fn is_bare(&self) -> bool {
        self.quotes == Quotes::Missing
    }
}

impl Analysis {
    pub(super) fn value_completions(
        &self,
        row: &'static Key,
        value: Option<&Value>,
        in_list: bool,
        offset: usize,
        surroundings: &Surroundings,
    ) -> Vec<Completion> {
        let Some(slot) = self.slot(value, offset).filter(|_| !in_list) else { return Vec::new() };
        let mut items = Vec::new();
        match row.value {
            ValueType::KernelArgs => items.extend(self.kernel_args(&slot, offset)),
            kind if kind.is_string() => {
                let fits = match row.in_target() {
                    "command" => matches!(slot.written, "" | "-"),
                    // With a `/` it is a path.
                    "qemu_command" => !slot.typed.contains('/'),
                    _ => true,
                };
                let known = known(row).filter(|_| fits);
                items.extend(known.enumerate().filter_map(|(at, (value, detail))| {
                    let item = Completion {
                        edit: Edit::replace(slot.range.clone(), slot.string(value)?),
                        ..Completion::plain(CompletionKind::Value, value, slot.range.clone(), '0')
                    };
                    Some(ordered(noted(item, row, value, detail), at))
                }));
            }
            _ if slot.is_bare() => {
                items.extend(bare(row).enumerate().map(|(at, (value, snippet))| {
                    let mut item = Completion::plain(CompletionKind::Value, value, slot.range.clone(), '0');
                    if let Some(snippet) = snippet {
                        item.edit.text = snippet;
                        item.snippet = true;
                        item.kind = CompletionKind::Snippet;
                    }
                    ordered(noted(item, row, value, ""), at)
                }));
            }
            _ => {}
        }
        items.extend(self.path_completions(row, &slot, surroundings));
        items
    }

    /// What a value at the cursor would replace; none where none can be written.
    pub(crate) fn slot(&self, value: Option<&Value>, offset: usize) -> Option<Slot<'_>> {
        let text = self.text();
        let Some((value, string)) = value.and_then(|value| Some((value, value.text()?))) else {
            return self.bare_slot(offset);
        };
        let mut range = string.content.clone();
        if offset < range.start || range.end < offset || text[value.range.clone()].contains('\n') {
            return None;
        }
        let open = range.end == value.range.end;
        let literal = text[value.range.clone()].starts_with('\'');
        if open {
            // The rest of the line may well be something else.
            let rest = &text[offset..range.end];
            range.end = offset + rest.find([' ', '\t', ',', '}', ']', '#']).unwrap_or(rest.len());
        }
        let quotes = match (open, literal) {
            (false, false) => Quotes::Basic,
            (false, true) => Quotes::Literal,
            (true, false) => Quotes::OpenBasic,
            (true, true) => Quotes::OpenLiteral,
        };
        Some(Slot { typed: &text[range.start..offset], written: &text[range.clone()], range, quotes })
    }

    /// The bare word at the cursor: nothing but the `=` may stand before it.
    fn bare_slot(&self, offset: usize) -> Option<Slot<'_>> {
        let text = self.text();
        let ends =
            |c: char| c.is_whitespace() || matches!(c, '=' | ',' | '[' | ']' | '{' | '}' | '"' | '\'' | '#');
        let before = &text[self.line_start(offset)..offset];
        let start = offset - before.len()
            + before.rfind(ends).map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
        let after = &text[offset..self.line_end(offset)];
        let end = offset + after.find(ends).unwrap_or(after.len());
        if !text[..start].trim_end_matches([' ', '\t']).ends_with('=') {
            return None;
        }
        Some(Slot {
            range: start..end,
            typed: &text[start..offset],
            written: &text[start..end],
            quotes: Quotes::Missing,
        })
    }

    /// Words of the kernel command line: only the one at the cursor is replaced.
    fn kernel_args(&self, slot: &Slot<'_>, offset: usize) -> Vec<Completion> {
        let text = self.text();
        let start = slot.typed.rfind(' ').map_or(slot.range.start, |blank| slot.range.start + blank + 1);
        let rest = &text[offset..slot.range.end];
        let word = start..offset + rest.find(' ').unwrap_or(rest.len());
        let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
        let others: Vec<String> = [&text[slot.range.start..word.start], &text[word.end..slot.range.end]]
            .iter()
            .flat_map(|text| text.split_whitespace())
            .map(name)
            .collect();
        let new = KERNEL_ARGS.iter().filter(|(value, _)| !others.contains(&name(value)));
        new.enumerate()
            .map(|(at, (value, doc))| {
                let text = if slot.is_bare() { format!("\"{value}\"") } else { (*value).to_owned() };
                let item = Completion {
                    edit: Edit::replace(word.clone(), text),
                    doc: Some((*doc).to_owned()),
                    ..Completion::plain(CompletionKind::Value, value, word.clone(), '0')
                };
                ordered(item, at)
            })
            .collect()
    }
}

/// Parameters that tests use, with what they do.
const KERNEL_ARGS: &[(&str, &str)] = &[
    ("ro", "The guest's writes to `rootfs` fail."),
    ("rw", "The guest's writes to `rootfs` reach the host."),
    ("loglevel=7", "Everything but debug messages goes to the console."),
    ("ignore_loglevel", "Every message goes to the console."),
    ("quiet", "Only errors go to the console."),
    ("nokaslr", "The kernel lies at the same addresses in every boot, so that a debugger finds its symbols."),
    ("panic_on_warn=1", "A warning of the kernel is a panic."),
    ("kasan.fault=panic", "A KASAN report is a panic."),
    ("slub_debug=FZPU", "The SLUB allocator checks what it hands out and notes who had it."),
    ("init_on_alloc=1", "Memory is zeroed when it is handed out."),
    ("page_poison=1", "Freed pages are filled with a pattern."),
    ("mitigations=off", "No workarounds for flaws of the processor: faster."),
    ("cgroup_no_v1=all", "Control groups of version 2 only."),
];

/// Strings that a key can have, or that people use, with a word on each.
fn known(row: &Key) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let used: &[(&str, &str)] = match row.in_target() {
        "vm.memory" => &[("512M", ""), ("1G", ""), ("2G", ""), ("4G", ""), ("8G", ""), ("16G", "")],
        "timeout" => &[("30s", ""), ("1m", ""), ("5m", ""), ("15m", ""), ("1h", "")],
        "boot_timeout" => &[("30s", ""), ("1m", ""), ("2m", ""), ("5m", "")],
        "command" => &[("-", "an interactive shell")],
        "kvm_cpu_args" => &[
            ("host", "the host's processor"),
            ("max", "everything that can be had"),
            ("host,-avx512f", "the host's without a feature"),
            ("qemu64", "the oldest that there is"),
        ],
        "qemu_command" => &[
            ("qemu-kvm", "Fedora, RHEL"),
            ("qemu-system-x86_64", ""),
            ("qemu-system-aarch64", ""),
            ("qemu-system-riscv64", ""),
            ("qemu-system-s390x", ""),
        ],
        "kernel_package" => &[
            ("linux-image-amd64", "Debian"),
            ("linux-image-cloud-amd64", "Debian, for virtual machines"),
            ("linux-image-arm64", "Debian"),
            ("linux-image-generic", "Ubuntu"),
        ],
        _ => &[],
    };
    let choices = match row.value {
        ValueType::Choice(values) => values,
        _ => &[],
    };
    choices.iter().map(|value| (*value, "")).chain(used.iter().copied())
}

/// Values that are written without quotes; a snippet where there is something to fill in.
fn bare(row: &'static Key) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let of = |label| (label, Some(snippets::value(row)));
    let values = match row.value {
        ValueType::Bool => vec![("true", None), ("false", None)],
        ValueType::BoolOrNames => vec![("true", None), ("false", None), ("[…]", Some("[\"$1\"]".to_owned()))],
        ValueType::Integer(..) => ["1", "2", "4", "8", "16"].map(|number| (number, None)).to_vec(),
        ValueType::Strings => vec![of("[…]")],
        ValueType::Table | ValueType::Map => vec![of("{…}")],
        _ => Vec::new(),
    };
    values.into_iter()
}

/// Says which value is the default.
fn noted(item: Completion, row: &Key, value: &str, detail: &str) -> Completion {
    let is_default = matches!(row.default, Default::Value(default) if default.trim_matches('"') == value);
    let detail = if is_default { "the default" } else { detail };
    Completion { detail: (!detail.is_empty()).then(|| detail.to_owned()), ..item }
}

fn ordered(item: Completion, at: usize) -> Completion {
    Completion { sort: format!("0{at:02}"), ..item }
}
