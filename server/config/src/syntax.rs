//! From text to a TOML table: limits first, then syntax, with every error and not only the first.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use crate::problem::{Problem, floor_char_boundary};

/// The largest file that is read.
pub const MAX_FILE_SIZE: usize = 1 << 20;
/// The deepest nesting of tables and lists that is read. Parsers recurse, and a stack that overflows cannot be caught.
pub const MAX_DEPTH: usize = 128;

/// Reads a file's bytes as text: its size and encoding.
#[expect(clippy::result_large_err, reason = "a problem is the end of the work, so its size costs nothing")]
pub fn decode(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_FILE_SIZE {
        return Err(too_large(bytes.len()));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        Problem::error(
            "invalid_utf8",
            at..at,
            format!("the file is not UTF-8: byte {at} is 0x{:02x}", bytes[at]),
        )
        .help(if utf16 { "it looks like UTF-16: save it as UTF-8" } else { "save it as UTF-8" })
    })
}

fn too_large(size: usize) -> Problem {
    Problem::error("file_too_large", 0..0, format!("the file has {size} bytes, more than 1 MiB"))
        .help("split it into several files and run each with `vmtest -c FILE`")
}

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> Result<DeTable<'_>, Vec<Problem>> {
    let (table, problems) = recover(text);
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

/// Reads as much of a file as is right; empty where it is beyond the limits.
pub(crate) fn recover(text: &str) -> (DeTable<'_>, Vec<Problem>) {
    if text.len() > MAX_FILE_SIZE {
        return (DeTable::new(), vec![too_large(text.len())]);
    }
    if let Some(span) = too_deep(text) {
        let problem = Problem::error("too_deep", span, format!("nested deeper than {MAX_DEPTH} levels"))
            .help("no key of vmtest.toml needs more than five");
        return (DeTable::new(), vec![problem]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return (table.into_inner(), Vec::new());
    }
    let table = DeValue::Table(table.into_inner());
    let keys = Keys::of(&table);
    let mut problems: Vec<Problem> = Vec::new();
    let mut errors: Vec<_> =
        errors.iter().map(|error| (boundaries(text, error.span()), error.message())).collect();
    errors.sort_by_key(|(span, _)| (span.start, span.end));
    let mut last = None;
    for (span, message) in errors {
        // One slip makes the parser complain of what follows it on the line, too: the first complaint is the cause.
        if last.replace(span.start).is_none_or(|last| text[last..span.start].contains('\n')) {
            problems.push(problem(text, &keys, span, message));
        }
    }
    let DeValue::Table(table) = table else { return (DeTable::new(), problems) };
    (table, problems)
}

/// Reads one value, as after a `=`; none when it is not TOML.
pub(crate) fn parse_value(text: &str) -> Option<Spanned<DeValue<'_>>> {
    if text.len() > MAX_FILE_SIZE || too_deep(text).is_some() {
        return None;
    }
    DeValue::parse(text).ok()
}

/// Reads a dotted key; none when it is not one.
pub(crate) fn parse_key(text: &str) -> Option<Vec<(String, Range<usize>)>> {
    if text.len() > MAX_FILE_SIZE || text.contains('\n') {
        return None;
    }
    let line = format!("{text} = 0");
    if too_deep(&line).is_some() {
        return None;
    }
    let mut table = DeTable::parse(&line).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        let span = key.span();
        path.push((key.into_inner().into_owned(), span.start.min(text.len())..span.end.min(text.len())));
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Some(path),
            _ => return None,
        }
    }
}

/// The place where brackets and dots nest too deeply.
///
/// A dotted key nests like brackets do. The lexer does not recurse, so it can look before the parser does.
fn too_deep(text: &str) -> Option<Range<usize>> {
    let mut dots: usize = 0;
    let mut outer: Vec<usize> = Vec::new();
    let mut depth: usize = 0;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                outer.push(dots);
                depth += 1;
                dots = 0;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                depth = depth.saturating_sub(dots + usize::from(!outer.is_empty()));
                dots = outer.pop().unwrap_or(0);
            }
            TokenKind::Dot => {
                dots += 1;
                depth += 1;
            }
            TokenKind::Comma | TokenKind::Newline => {
                depth -= dots;
                dots = 0;
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

/// Brings a parser's span onto character boundaries of the text.
fn boundaries(text: &str, span: Option<Range<usize>>) -> Range<usize> {
    let span = span.unwrap_or(0..0);
    let start = floor_char_boundary(text, span.start);
    start..floor_char_boundary(text, span.end).max(start)
}

/// Says a syntax error in the words of someone who writes a vmtest.toml.
fn problem(text: &str, keys: &Keys<'_>, span: Range<usize>, message: &str) -> Problem {
    // The parser lists what it could have gone on with.
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    if what == "duplicate key" {
        return duplicate_key(text, keys, span);
    }
    if let Some(value) = bare_value(text, span.start) {
        return bare_value_problem(text, value);
    }
    let error = |message: &str| Problem::error("syntax", span.clone(), message);
    match what {
        "string values must be quoted" if !span.is_empty() => bare_value_problem(text, span),
        "key with no value" | "string values must be quoted" => {
            error("a key without a value").help("write `key = value`")
        }
        "invalid basic string" | "invalid literal string" if matches!(expected, "`\"`" | "`'`") => {
            error("a string without its closing quote")
                .help("close it on the same line; text of several lines goes between \"\"\" and \"\"\"")
        }
        "invalid multi-line basic string" | "invalid multi-line literal string" if span.is_empty() => {
            error("text of several lines without its closing quotes")
                .help("close it with the same three quotes that it starts with")
        }
        _ if what.ends_with("string") && text[span.clone()].chars().any(char::is_control) => {
            error("a control character in a string")
                .help("write it as an escape, such as \\u001b, in double quotes")
        }
        "missing escaped value" => error("a backslash that escapes nothing")
            .help("write `\\\\` for a backslash, or put the text in single quotes"),
        "unclosed array table" | "unclosed table" => {
            error("a table header without its closing brackets").help("write `[[target]]` or `[target.vm]`")
        }
        "unclosed array" => error("a list without its closing `]`").help("write `]` after the last value"),
        "unclosed inline table" => {
            error("an inline table without its closing `}`").help("write `}` after the last value")
        }
        "unexpected key or value" => {
            error("something more after the value").help("write each key on a line of its own")
        }
        "unexpected leading zero" => {
            error("a number that starts with a zero").help("write it without the zero")
        }
        "invalid unquoted key" if text[span.clone()].starts_with(':') => {
            error("a `:` after a key").help("write `key = value`")
        }
        "invalid key-value pair" if text[span.start..].starts_with('{') => {
            error("a `{` where a key must be").help("if this is JSON, write it as TOML: `key = value`")
        }
        _ if expected.is_empty() || expected == "nothing" => error(what),
        _ => error(what).help(format!("expected {expected}")),
    }
}

fn duplicate_key(text: &str, keys: &Keys<'_>, span: Range<usize>) -> Problem {
    let name = &text[span.clone()];
    let first = keys.before(name, span.start).or_else(|| same_header(text, span.start));
    let problem = Problem::error("duplicate_key", span, format!("`{name}` is given a second time"));
    let problem = match first {
        Some(first) => problem.related(first, "first given here"),
        None => problem,
    };
    problem.help(if name == "target" {
        "write `[[target]]` with double brackets, before the `[target.…]` tables that belong to it"
    } else {
        "remove one of them"
    })
}

/// An earlier line with the same table header as the line at an offset.
fn same_header(text: &str, offset: usize) -> Option<Range<usize>> {
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let header = text[start..].lines().next()?.trim();
    if !header.starts_with('[') {
        return None;
    }
    // A bound, or a file of nothing but duplicates would take quadratic time.
    let line = text[..start].lines().rev().take(1000).find(|line| line.trim() == header)?;
    // Lines are slices of the text, so the distance of their starts is an offset.
    let at = line.as_ptr().addr() - text.as_ptr().addr() + (line.len() - line.trim_start().len());
    Some(at..at + header.len())
}

/// The value on the line of an offset, where it starts like a word or a path that lacks its quotes.
fn bare_value(text: &str, offset: usize) -> Option<Range<usize>> {
    let line_start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[line_start..].find(['\n', '\r']).map_or(text.len(), |end| line_start + end);
    let equals = line_start + text[line_start..line_end].find('=')?;
    if equals >= offset.max(line_start + 1) {
        return None;
    }
    let rest = &text[equals + 1..line_end];
    let value = rest.split(" #").next().unwrap_or(rest);
    let start = equals + 1 + (value.len() - value.trim_start().len());
    let value = value.trim();
    let bare =
        value.starts_with(|c: char| c.is_alphabetic() || matches!(c, '.' | '/' | '~' | '$' | '*' | '<'));
    // What has quotes or brackets in it is something more than a value without quotes.
    (bare && !value.contains(['"', '\'', '[', ']', '{', '}', '='])).then(|| start..start + value.len())
}

fn bare_value_problem(text: &str, span: Range<usize>) -> Problem {
    let value = &text[span.clone()];
    let lower = value.to_ascii_lowercase();
    if lower == "true" || lower == "false" {
        return Problem::error("syntax", span.clone(), "a boolean is written in small letters")
            .help(format!("write {lower}"))
            .fix(format!("Write `{lower}`"), span, lower);
    }
    let quoted = quote(value);
    let boolean = ["true", "false"].into_iter().find(|known| lower.len() > 2 && known.starts_with(&lower));
    let help = match boolean {
        Some(boolean) => format!("write {boolean}, or {quoted} for a string"),
        None => format!("write {quoted}"),
    };
    let problem = Problem::error("syntax", span.clone(), "a string must be in quotes").help(help);
    if boolean.is_some() { problem } else { problem.fix("Put it in quotes", span, quoted) }
}

/// Text as a TOML string.
pub(crate) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Every key of a file by its name, in the order they stand.
struct Keys<'k>(HashMap<&'k str, Vec<Range<usize>>>);

impl<'k> Keys<'k> {
    fn of(value: &'k DeValue<'_>) -> Self {
        let mut keys = Self(HashMap::new());
        keys.collect(value);
        for spans in keys.0.values_mut() {
            spans.sort_by_key(|span| span.start);
        }
        keys
    }

    fn collect(&mut self, value: &'k DeValue<'_>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.0.entry(key.get_ref()).or_default().push(key.span());
                    self.collect(value.get_ref());
                }
            }
            DeValue::Array(list) => list.iter().for_each(|value| self.collect(value.get_ref())),
            _ => {}
        }
    }

    /// The nearest key of that name before an offset: where a duplicate was first given.
    fn before(&self, name: &str, offset: usize) -> Option<Range<usize>> {
        let spans = self.0.get(name)?;
        let at = spans.partition_point(|span| span.end <= offset);
        at.checked_sub(1).map(|at| spans[at].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_over_brackets_and_dots_together() {
        let text = |brackets: usize, dots: usize| {
            format!("{}a{} = {}1{}", "x.".repeat(dots), "", "[".repeat(brackets), "]".repeat(brackets))
        };
        assert_eq!(too_deep(&text(128, 0)), None);
        assert!(too_deep(&text(129, 0)).is_some());
        assert_eq!(too_deep(&text(0, 128)), None);
        assert!(too_deep(&text(0, 129)).is_some());
        assert!(too_deep(&text(100, 100)).is_some());
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        let many = "[".repeat(1000);
        assert_eq!(too_deep(&format!("a = \"{many}\"\nb = '''\n{many}'''\n# {many}\n")), None);
    }

    #[test]
    fn width_is_not_depth() {
        assert_eq!(too_deep(&"a = [1.5, 2.5]\n".repeat(1000)), None);
        assert_eq!(too_deep(&format!("a = [{}]", "{b.c = 1},".repeat(1000))), None);
        assert_eq!(too_deep(&"[[target]]\n[target.vm]\n".repeat(1000)), None);
    }

    #[test]
    fn a_dotted_key_is_read_with_the_places_of_its_parts() {
        let key = parse_key("vm.mounts.\"/a.b\".host_path").unwrap();
        let names: Vec<_> = key.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["vm", "mounts", "/a.b", "host_path"]);
        assert_eq!(key[2].1, 10..16);
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in [
            "",
            " ",
            "a.",
            ".a",
            "a b",
            "a = 1\nb",
            "a[0]",
            "[a]",
            "a = { b",
            &"a.".repeat(10_000),
            "a#",
            "é",
        ] {
            assert_eq!(parse_key(text), None, "{text}");
        }
    }
}
