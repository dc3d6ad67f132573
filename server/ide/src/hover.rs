//! What a key or a value means.

pub(crate) mod markdown;

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use vmtest_config::value::{normalize_guest_path, parse_duration, parse_memory};
use vmtest_config::{Applies, Default, Key, RootAccess, ValueType, suggest};

use self::markdown::{code, list};
use crate::analysis::Analysis;
use crate::context::Context;
use crate::model::{Part, Value};
use crate::scope::Scope;
use crate::surroundings::Surroundings;

/// What to show beside the pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hover {
    /// What it is about.
    pub range: Range<usize>,
    /// The text: Markdown.
    pub markdown: String,
}

impl Analysis {
    /// What stands at an offset.
    pub fn hover(&self, offset: usize, surroundings: &Surroundings) -> Option<Hover> {
        match self.context(offset) {
            Context::Header { header, parent, part, .. } => of_key(&header.path, parent, &part),
            Context::Key { entry, parent, part, .. } => of_key(&entry?.path, parent, &part),
            Context::Value { row: Some(row), value: Some(value), list: None } => {
                let markdown = self.of_value(row, value, surroundings)?;
                Some(Hover { range: value.range.clone(), markdown })
            }
            Context::Value { .. } | Context::Nothing => None,
        }
    }

    /// A path of the text from the root of this machine.
    pub(crate) fn absolute(&self, path: &str) -> PathBuf {
        let joined = self.base().join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    fn of_value(&self, row: &Key, value: &Value, surroundings: &Surroundings) -> Option<String> {
        let text = &value.text()?.value;
        match row.value {
            ValueType::Memory => {
                let bytes = parse_memory(text).ok()?.bytes;
                Some(format!("{} = {} bytes", size(bytes), grouped(bytes)))
            }
            ValueType::Duration => {
                let time = parse_duration(text).ok()?;
                Some(words_of(time.as_millis()))
            }
            ValueType::KernelArgs => Some(
                match RootAccess::from_kernel_args(text) {
                    RootAccess::Overlay => "Writes to `rootfs` succeed in the guest and are thrown away.",
                    RootAccess::ReadOnly => "`ro`: writes to `rootfs` fail.",
                    RootAccess::Writable => "`rw`: writes to `rootfs` reach the host.",
                }
                .to_owned(),
            ),
            ValueType::Path(_) if row.in_target() == "kernel" => self.of_kernel(text, surroundings),
            ValueType::Path(kind) if !text.is_empty() => {
                let in_path = kind == vmtest_config::PathKind::Program && !text.contains('/');
                (!in_path).then(|| shown(&self.absolute(text)))
            }
            _ if row.in_target() == "command" && text == "-" => Some("An interactive shell.".to_owned()),
            _ => None,
        }
    }

    fn of_kernel(&self, text: &str, surroundings: &Surroundings) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        let path = self.absolute(text);
        let fact = surroundings.named_kernels.iter().find(|fact| fact.path == path);
        let Some(fact) = fact else { return Some(shown(&path)) };
        let mut markdown = match &fact.release {
            Ok(release) => format!("**Linux** {}", code(release)),
            Err(why) => format!("**Cannot be booted:** {}", code(why)),
        };
        for feature in &fact.features {
            // Writing into a string cannot fail.
            let _ = write!(markdown, "\n* {}", code(feature));
        }
        let _ = write!(markdown, "\n\n{}", shown(&path));
        Some(markdown)
    }
}

fn shown(path: &Path) -> String {
    code(&path.to_string_lossy())
}

fn of_key(path: &[Part], parent: Scope, part: &Range<usize>) -> Option<Hover> {
    let part = path.iter().find(|own| own.range == *part)?;
    let markdown = match (parent.child(&part.name), parent) {
        (Some(row), _) => known(row, &part.name),
        // All of that table is unknown: once is enough.
        (None, Scope::Unknown) => return None,
        (None, parent) => unknown(parent.row(), &part.name),
    };
    Some(Hover { range: part.range.clone(), markdown })
}

fn known(row: &Key, name: &str) -> String {
    let mut markdown = match (row.name(), row.in_target()) {
        ("*", "vm.mounts.*") => {
            format!("{} in the guest", code(&normalize_guest_path(name).to_string_lossy()))
        }
        ("*", _) => format!("The environment variable {}", code(name)),
        (_, "") => "`[[target]]`".to_owned(),
        (_, path) => {
            format!("`{}` · {}", path.replace("mounts.*", "mounts.\"<guest path>\""), row.value)
        }
    };
    match row.default {
        Default::Required if row.in_target().is_empty() => {}
        Default::Required => markdown.push_str(" · required"),
        Default::Absent => {}
        Default::Value(value) => markdown.extend([" · default `", value, "`"]),
        Default::Depends(words) => markdown.extend([" · default: ", words]),
    }
    markdown.push_str("\n\n");
    markdown.push_str(row.doc);
    let mut notes = Vec::new();
    match row.applies {
        Applies::All => {}
        Applies::Kernel => notes.push("Only for targets that boot a kernel.".to_owned()),
        Applies::Image => notes.push("Only for targets that boot an image.".to_owned()),
    }
    if !row.needs.is_empty() {
        notes.push(format!("Needs {}.", list(row.needs, "or")));
    }
    if !row.excludes.is_empty() {
        notes.push(format!("Not beside {}.", list(row.excludes, "or")));
    }
    if !row.original {
        notes.push("Not in the original vmtest, which ignores it.".to_owned());
    }
    if !notes.is_empty() {
        markdown.push_str("\n\n");
        markdown.push_str(&notes.join(" "));
    }
    markdown.extend(["\n\n```toml\n", &example(row), "\n```"]);
    markdown
}

/// A line that sets the key, or a table's header.
fn example(row: &Key) -> String {
    if row.example.starts_with("[target") || row.example.starts_with("[[") {
        return row.example.to_owned();
    }
    let name = match row.in_target() {
        "env.*" => "RUST_BACKTRACE",
        "vm.mounts.*" => "\"/mnt/data\"",
        _ => row.name(),
    };
    format!("{name} = {}", row.example)
}

fn unknown(parent: Option<&Key>, name: &str) -> String {
    let mut markdown = format!("{}: unknown key; it has no effect.", code(name));
    if let Some(meant) = suggest(parent, name) {
        let meant_here = meant.parent_path() == parent.map(|parent| parent.path);
        let text = match (meant_here, meant.in_target()) {
            (_, "") => " Did you mean `[[target]]`?".to_owned(),
            (true, _) => format!(" Did you mean `{}`?", meant.name()),
            (false, path) => {
                format!(" Did you mean `{}`? It belongs into `{}`.", path.replace('*', "…"), meant.header())
            }
        };
        markdown.push_str(&text);
    }
    markdown
}

/// A size in the largest unit that leaves no rest, or with two digits.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let hundredths = (u128::from(bytes) * 100) >> shift;
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number with a comma after every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the words of a clock: `1 min 30 s`.
fn words_of(millis: u128) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")];
    let mut rest = millis;
    let mut words = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            words.push(format!("{} {name}", rest / unit));
            rest %= unit;
        }
    }
    if words.is_empty() { "less than 1 ms".to_owned() } else { words.join(" ") }
}
