//! What a key of vmtest.toml is; the keys themselves are in [`crate::KEYS`].

use std::fmt;

use crate::table::KEYS;
use crate::value::{self, ValueError};

/// One key that a vmtest.toml may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands, such as `target.vm.memory`. A `*` is any name: `target.vm.mounts.*.host_path`.
    pub path: &'static str,
    /// What its value looks like.
    pub value: ValueType,
    /// What holds where it is left out.
    pub default: Default,
    /// The targets that it means something for.
    pub applies: Applies,
    /// Keys of which one must be given too, relative to the target.
    pub needs: &'static [&'static str],
    /// Keys that must not be given beside it, relative to the target.
    pub excludes: &'static [&'static str],
    /// Whether the original vmtest knows it; what it does not know it ignores.
    pub original: bool,
    /// Other names that people try.
    pub aliases: &'static [&'static str],
    /// A value as TOML, for examples and completion.
    pub example: &'static str,
    /// What it means: Markdown.
    pub doc: &'static str,
}

/// What the value of a key looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Any text.
    Text,
    /// Text for the kernel command line.
    KernelArgs,
    /// Name of a package.
    Package,
    /// Text that is not empty.
    NonEmptyText,
    /// Text of which these values are known.
    Choice(&'static [&'static str]),
    /// A place on the host; relative ones start at the directory of vmtest.toml.
    Path(PathKind),
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// Text such as `90s`.
    Duration,
    /// Text such as `4G`.
    Memory,
    /// Text that starts with `https://`, `http://` or `file://`.
    Url,
    /// 64 hexadecimal digits.
    Sha256,
    /// A list of strings.
    Strings,
    /// `true`, `false` or a list of names.
    BoolOrNames,
    /// A table with keys of its own.
    Table,
    /// A table whose keys are the user's: the row with `*` says what each holds.
    Map,
    /// A list of tables.
    Tables,
}

/// What must lie at a path of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A file or a directory.
    Any,
    /// A file, or a name to look up in `PATH`.
    Program,
}

/// What holds where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// It must be given.
    Required,
    /// Nothing: what it asks for does not happen.
    Absent,
    /// A value, as TOML.
    Value(&'static str),
    /// Something that depends on the rest, in words.
    Depends(&'static str),
}

/// The targets that a key means something for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// Every one.
    All,
    /// Those that boot a kernel.
    Kernel,
    /// Those that boot a disk image.
    Image,
}

/// The keys of which a target has exactly one.
pub const SYSTEM_KEYS: [&str; 5] = ["kernel", "kernel_url", "kernel_package", "image", "image_url"];

impl ValueType {
    /// The kind of TOML value that it is written as, with its article: "a string".
    pub fn toml(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Integer(..) => "an integer",
            Self::Strings => "a list of strings",
            Self::BoolOrNames => "a boolean or a list of strings",
            Self::Table | Self::Map => "a table",
            Self::Tables => "an array of tables",
            _ => "a string",
        }
    }

    /// Whether it is written as one TOML string.
    pub fn is_string(self) -> bool {
        self.toml() == "a string"
    }

    /// Checks the text of a value that is written as one string; gives the code of the problem too.
    ///
    /// A [`ValueType::Choice`] accepts any text: what to think of an unknown one is its key's own rule.
    pub fn check(self, text: &str) -> Result<(), (&'static str, ValueError)> {
        let wrong = |code, message: &str, help: &str| {
            Err((code, ValueError { message: message.to_owned(), help: help.to_owned() }))
        };
        let with = |code: &'static str| move |error| (code, error);
        if text.contains('\0') {
            return wrong(
                "nul_character",
                "has a NUL character in it",
                "remove it: no program could be given it",
            );
        }
        match self {
            Self::NonEmptyText | Self::Path(_) if text.is_empty() => {
                wrong("empty_value", "is empty", "write something, or remove the key")
            }
            Self::KernelArgs => value::parse_kernel_args(text).map(drop).map_err(with("invalid_kernel_args")),
            Self::Package => value::check_package(text).map_err(with("invalid_package")),
            Self::Duration => value::parse_duration(text).map(drop).map_err(with("invalid_duration")),
            Self::Memory => value::parse_memory(text).map(drop).map_err(with("invalid_memory")),
            Self::Url => value::check_url(text).map_err(with("invalid_url")),
            Self::Sha256 => value::parse_sha256(text).map(drop).map_err(with("invalid_sha256")),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text | Self::KernelArgs => f.write_str("string"),
            Self::Package => f.write_str("name of a package"),
            Self::NonEmptyText => f.write_str("string, not empty"),
            Self::Choice(values) => write!(f, "string: {}", values.join(", ")),
            Self::Path(PathKind::File) => f.write_str("path of a file"),
            Self::Path(PathKind::Directory) => f.write_str("path of a directory"),
            Self::Path(PathKind::Any) => f.write_str("path"),
            Self::Path(PathKind::Program) => f.write_str("program"),
            Self::Bool => f.write_str("boolean"),
            Self::Integer(least, most) => write!(f, "integer, {least} to {most}"),
            Self::Duration => f.write_str("time"),
            Self::Memory => f.write_str("size"),
            Self::Url => f.write_str("URL"),
            Self::Sha256 => f.write_str("SHA-256"),
            Self::Strings => f.write_str("list of strings"),
            Self::BoolOrNames => f.write_str("boolean or list of names"),
            Self::Table | Self::Map => f.write_str("table"),
            Self::Tables => f.write_str("array of tables"),
        }
    }
}

impl Key {
    /// The row for a path, where a `*` of the table stands for any name.
    pub fn find(path: &[&str]) -> Option<&'static Self> {
        KEYS.iter().find(|key| {
            let mut parts = key.path.split('.');
            path.iter().all(|part| parts.next().is_some_and(|own| own == "*" || own == *part))
                && parts.next().is_none()
        })
    }

    /// The rows directly below this one.
    pub fn children(&self) -> impl Iterator<Item = &'static Self> + use<> {
        let path = self.path;
        KEYS.iter().filter(move |key| key.parent_path() == Some(path))
    }

    /// The row of one of this table's keys.
    pub fn child(&self, name: &str) -> Option<&'static Self> {
        // Asked for every key of a file, so it compares before it splits.
        KEYS.iter().find(|key| {
            let rest = key.path.strip_prefix(self.path).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| rest == "*" || (rest == name && !name.contains('.')))
        })
    }

    /// The path of the table that it stands in; none for `target` itself.
    pub fn parent_path(&self) -> Option<&'static str> {
        self.path.rsplit_once('.').map(|(parent, _)| parent)
    }

    /// The last part of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Its path as seen from the target: `vm.memory`. Empty for `target` itself.
    pub fn in_target(&self) -> &'static str {
        self.path.strip_prefix("target.").unwrap_or_default()
    }

    /// The header of the table that it stands in, as TOML: `[target.vm]`.
    pub fn header(&self) -> String {
        match self.parent_path() {
            None => String::new(),
            Some("target") => "[[target]]".to_owned(),
            Some(parent) => format!("[{}]", parent.replace(".*", ".\"…\"")),
        }
    }
}

/// The key that was probably meant, for a name that the table `parent` does not have.
///
/// A right name in another table comes before a slip of the pen in this one.
pub fn suggest(parent: Option<&Key>, name: &str) -> Option<&'static Key> {
    let parent_path = parent.map(|key| key.path);
    let siblings = || KEYS.iter().filter(|key| key.parent_path() == parent_path && key.name() != "*");
    let plain = name.to_ascii_lowercase().replace('-', "_");
    if let Some(same) = siblings().find(|key| key.name() == plain) {
        return Some(same);
    }
    let elsewhere = || KEYS.iter().filter(|key| key.parent_path().is_some() && key.name() != "*");
    elsewhere()
        .find(|key| key.name() == plain)
        .or_else(|| nearest(&plain, siblings()))
        .or_else(|| KEYS.iter().find(|key| key.aliases.contains(&plain.as_str())))
        .or_else(|| nearest(&plain, elsewhere()))
}

fn nearest(name: &str, keys: impl Iterator<Item = &'static Key>) -> Option<&'static Key> {
    keys.filter_map(|key| Some((distance(name, key.name())?, key)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// How many edits lie between two names; none when they are too many for a slip.
fn distance(given: &str, known: &str) -> Option<usize> {
    let most = (known.len() / 3).clamp(1, 3);
    // Cheap enough to ask for every unknown key of a hostile file: a name of another length is not even compared.
    if given.len().abs_diff(known.len()) > most {
        return None;
    }
    Some(strsim::osa_distance(given, known)).filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below<'k>(parent: Option<&str>, name: &str) -> Option<&'k str> {
        let parent = parent.map(|path| Key::find(&path.split('.').collect::<Vec<_>>()).unwrap());
        suggest(parent, name).map(|key| key.path)
    }

    #[test]
    fn a_slip_is_led_back_to_its_key() {
        for (given, meant) in [
            ("nmae", "target.name"),
            ("kernal", "target.kernel"),
            ("kernel-args", "target.kernel_args"),
            ("Command", "target.command"),
            ("comand", "target.command"),
            ("timeuot", "target.timeout"),
            ("rootFS", "target.rootfs"),
            ("evn", "target.env"),
        ] {
            assert_eq!(below(Some("target"), given), Some(meant), "{given}");
        }
    }

    #[test]
    fn a_key_of_another_table_is_led_to_its_place() {
        assert_eq!(below(Some("target"), "memory"), Some("target.vm.memory"));
        assert_eq!(below(Some("target.vm"), "kernel"), Some("target.kernel"));
        assert_eq!(below(None, "name"), Some("target.name"));
        assert_eq!(below(None, "targets"), Some("target"));
    }

    #[test]
    fn another_programs_name_is_led_to_ours() {
        assert_eq!(below(Some("target"), "cmdline"), Some("target.kernel_args"));
        assert_eq!(below(Some("target.vm"), "smp"), Some("target.vm.num_cpus"));
    }

    #[test]
    fn a_name_like_none_gets_no_suggestion() {
        assert_eq!(below(Some("target"), "description"), None);
        assert_eq!(below(Some("target"), ""), None);
        assert_eq!(below(Some("target"), &"k".repeat(100_000)), None);
    }

    #[test]
    fn every_path_is_there_once_and_after_its_parent() {
        for (at, key) in KEYS.iter().enumerate() {
            let before = &KEYS[..at];
            assert!(before.iter().all(|other| other.path != key.path), "{} twice", key.path);
            if let Some(parent) = key.parent_path() {
                assert!(before.iter().any(|other| other.path == parent), "{} without its table", key.path);
            }
        }
    }

    #[test]
    fn constraints_name_keys_that_exist() {
        for key in KEYS {
            for other in key.needs.iter().chain(key.excludes) {
                assert!(KEYS.iter().any(|key| key.in_target() == *other), "{} names {other}", key.path);
            }
            for other in key.excludes {
                let other = KEYS.iter().find(|key| key.in_target() == *other).unwrap();
                assert!(other.excludes.contains(&key.in_target()), "{} is not excluded back", key.path);
            }
        }
    }

    #[test]
    fn aliases_are_no_keys_and_belong_to_one_key() {
        let mut seen = std::collections::HashSet::new();
        for alias in KEYS.iter().flat_map(|key| key.aliases) {
            assert!(seen.insert(alias), "{alias} twice");
            assert!(KEYS.iter().all(|key| key.name() != *alias), "{alias} is a key");
        }
    }

    #[test]
    fn docs_are_whole_sentences() {
        for key in KEYS {
            assert!(key.doc.ends_with('.') || key.doc.ends_with("```"), "{}", key.path);
            assert!(!key.doc.contains("  "), "{} has two blanks", key.path);
        }
    }
}
