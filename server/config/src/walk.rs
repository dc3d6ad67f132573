//! Holds a target, as parsed, against the key table: unknown keys and wrong types leave it, with a problem each.
//!
//! What is left fits [`crate::file`].

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::key::{self, Default, Key, ValueType};
use crate::problem::Problem;
use crate::spans::{RawSpans, Texts};
use crate::syntax::quote;
use crate::value::{self, ValueError};

/// What reading one target against the table needs and gathers.
pub(crate) struct Walk<'w, 't> {
    pub(crate) texts: &'w Texts<'t>,
    pub(crate) spans: RawSpans,
    pub(crate) problems: &'w mut Vec<Problem>,
}

impl<'t> Walk<'_, 't> {
    /// Reads one table; gives back what of it is right.
    pub(crate) fn table(&mut self, row: &'static Key, name: Option<&str>, table: DeTable<'t>) -> DeTable<'t> {
        let mut right = DeTable::new();
        for (key, value) in table {
            let Some(child) = row.child(key.get_ref()) else {
                self.problems.push(unknown_key(Some(row), key.get_ref(), key.span()));
                continue;
            };
            if key.get_ref().contains('\0') {
                let problem = Problem::error("nul_character", key.span(), "a name has a NUL character in it");
                self.problems.push(problem.help("remove it"));
                continue;
            }
            let own_name = if child.name() == "*" { Some(key.get_ref().clone().into_owned()) } else { None };
            let name = own_name.as_deref().or(name);
            self.spans.record(child, name, key.span(), value.span());
            if let Some(value) = self.value(child, name, key.span(), value) {
                right.insert(key, value);
            }
        }
        right
    }

    fn value(
        &mut self,
        row: &'static Key,
        name: Option<&str>,
        key: Range<usize>,
        value: Spanned<DeValue<'t>>,
    ) -> Option<Spanned<DeValue<'t>>> {
        let span = value.span();
        let right = match (row.value, value.into_inner()) {
            (ValueType::Table | ValueType::Map, DeValue::Table(table)) => {
                DeValue::Table(self.table(row, name, table))
            }
            (ValueType::Bool | ValueType::BoolOrNames, DeValue::Boolean(value)) => DeValue::Boolean(value),
            (ValueType::Integer(least, most), DeValue::Integer(value)) => {
                if !integer(&value).is_some_and(|value| (least..=most).contains(&value)) {
                    self.out_of_range(row, &span, &value, least, most);
                    return None;
                }
                DeValue::Integer(value)
            }
            (ValueType::Strings | ValueType::BoolOrNames, DeValue::Array(list)) => {
                DeValue::Array(self.strings(row, list))
            }
            (kind, DeValue::String(text)) if kind.is_string() => {
                if let Err((code, mut error)) = kind.check(&text) {
                    if code == "empty_value" {
                        error.help = format!("write for example {} = {}", row.name(), row.example);
                    }
                    self.problems.push(value_problem(code, span, &label(row, name), error));
                    return None;
                }
                DeValue::String(text)
            }
            (_, value) => {
                self.wrong_type(row, name, key, &span, &value);
                return None;
            }
        };
        Some(Spanned::new(span, right))
    }

    fn strings(&mut self, row: &Key, list: DeArray<'t>) -> DeArray<'t> {
        let mut right = DeArray::new();
        for item in list {
            let span = item.span();
            let DeValue::String(text) = item.get_ref() else {
                let found = article(item.get_ref());
                let message = format!("`{}` has {found} in it, where only strings may be", row.in_target());
                let problem = Problem::error("wrong_type", span.clone(), message);
                let raw = self.texts.slice(&span);
                self.problems.push(if is_scalar(item.get_ref()) && !raw.is_empty() {
                    let quoted = quote(raw);
                    problem.help(format!("write {quoted}")).fix("Put it in quotes", span, quoted)
                } else {
                    problem.help(format!("write {} = {}", row.name(), row.example))
                });
                continue;
            };
            let checked = if row.value == ValueType::BoolOrNames {
                value::check_env_name(text).map_err(|error| ("invalid_env_name", error))
            } else {
                ValueType::Text.check(text)
            };
            match checked {
                Ok(()) => right.push(item),
                Err((code, error)) => {
                    let label = format!("a string of `{}`", row.in_target());
                    self.problems.push(value_problem(code, span, &label, error));
                }
            }
        }
        right
    }

    fn out_of_range(&mut self, row: &Key, span: &Range<usize>, value: &DeInteger<'_>, least: i64, most: i64) {
        let message = format!("`{}` is out of range: {value}", row.in_target());
        let problem = Problem::error("out_of_range", span.clone(), message);
        let help = match row.default {
            Default::Value(default) => {
                format!("write a number from {least} to {most}; the default is {default}")
            }
            _ => format!("write a number from {least} to {most}"),
        };
        self.problems.push(problem.help(help));
    }

    fn wrong_type(
        &mut self,
        row: &Key,
        name: Option<&str>,
        key: Range<usize>,
        span: &Range<usize>,
        found: &DeValue<'_>,
    ) {
        let raw = self.texts.slice(span);
        let message = format!("{} must be {}, not {}", label(row, name), row.value.toml(), article(found));
        let problem = Problem::error("wrong_type", span.clone(), message);
        if raw.starts_with("[[") {
            let single =
                raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).unwrap_or(raw).to_owned();
            self.problems.push(
                problem.help(format!("write `{single}` with single brackets: a target has only one")).fix(
                    "Use single brackets",
                    span.clone(),
                    single,
                ),
            );
            return;
        }
        let instead = match (row.value, found) {
            (ValueType::Duration, DeValue::Integer(_)) if is_plain(raw) => Some(format!("\"{raw}s\"")),
            (ValueType::Memory, DeValue::Integer(_)) if is_plain(raw) => Some(format!("\"{raw}M\"")),
            (kind, found) if kind.is_string() && is_scalar(found) && kind.check(raw).is_ok() => {
                Some(quote(raw))
            }
            (ValueType::Bool | ValueType::BoolOrNames, DeValue::String(text))
                if matches!(&**text, "true" | "false") =>
            {
                Some(text.clone().into_owned())
            }
            (ValueType::Integer(least, most), DeValue::String(text))
                if text.parse().is_ok_and(|value: i64| (least..=most).contains(&value)) =>
            {
                Some(text.clone().into_owned())
            }
            (ValueType::Strings | ValueType::BoolOrNames, DeValue::String(text)) => {
                Some(format!("[{}]", quote(text)))
            }
            (ValueType::Table, DeValue::String(text)) if row.name() == "*" => {
                Some(format!("{{ host_path = {} }}", quote(text)))
            }
            _ => None,
        };
        let problem = match instead {
            Some(instead) => problem.help(format!("write {instead}")).fix(
                format!("Write `{instead}`"),
                span.clone(),
                instead,
            ),
            None if row.example.starts_with('[') && row.value == ValueType::Table => {
                problem.help(format!("write the keys of it below {}", row.example))
            }
            None => {
                let name = if row.name() == "*" { self.texts.slice(&key) } else { row.name() };
                problem.help(format!("write for example {name} = {}", row.example))
            }
        };
        self.problems.push(problem);
    }
}

/// What a message calls a key: `vm.memory`, or `vm.mounts."/data".host_path`.
pub(crate) fn label(row: &Key, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("`{}`", row.in_target().replace('*', &key_text(name))),
        None => format!("`{}`", row.in_target()),
    }
}

/// A name as a part of a dotted key.
fn key_text(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { name.to_owned() } else { quote(name) }
}

pub(crate) fn value_problem(
    code: &'static str,
    span: Range<usize>,
    label: &str,
    error: ValueError,
) -> Problem {
    Problem::error(code, span, format!("{label} {}", error.message)).help(error.help)
}

/// A key that the table does not have, with the one that was probably meant.
pub(crate) fn unknown_key(parent: Option<&Key>, name: &str, span: Range<usize>) -> Problem {
    let wherein = match parent {
        None => "outside every target".to_owned(),
        Some(parent) if parent.parent_path().is_none() => "in `[[target]]`".to_owned(),
        Some(parent) => format!("in `{}`", parent.in_target().replace('*', "…")),
    };
    let problem = |code| {
        Problem::warning(
            code,
            span.clone(),
            format!("unknown key {} {wherein}; it has no effect", shown(name)),
        )
    };
    let Some(meant) = key::suggest(parent, name) else {
        return problem("unknown_key").help("see docs/config.md for the keys that there are");
    };
    if meant.parent_path() == parent.map(|parent| parent.path) {
        let meant = meant.name();
        return problem("unknown_key").help(format!("did you mean `{meant}`?")).fix(
            format!("Change it to `{meant}`"),
            span.clone(),
            meant,
        );
    }
    let help = format!("`{}` belongs into {}", meant.name(), meant.header());
    problem("misplaced_key").help(help)
}

/// A name as a message shows it: whole, unless it is absurdly long.
fn shown(name: &str) -> String {
    const MOST: usize = 60;
    if name.chars().count() <= MOST {
        return format!("`{}`", name.escape_debug());
    }
    let start: String = name.chars().take(MOST).collect();
    format!("`{}…`", start.escape_debug())
}

fn integer(value: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(value.as_str(), value.radix()).ok()
}

fn is_plain(raw: &str) -> bool {
    !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_scalar(value: &DeValue<'_>) -> bool {
    !matches!(value, DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_))
}

/// The kind of a value, with its article.
pub(crate) fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
