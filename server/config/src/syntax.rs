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
    if text.len() > MAX_FILE_SIZE {
        return Err(vec![too_large(text.len())]);
    }
    if let Some(span) = too_deep(text) {
        return Err(vec![
            Problem::error("too_deep", span, format!("nested deeper than {MAX_DEPTH} levels"))
                .help("no key of vmtest.toml needs more than five"),
        ]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table.into_inner());
    }
    let table = DeValue::Table(table.into_inner());
    let keys = Keys::of(&table);
    let mut problems: Vec<Problem> = Vec::new();
    let mut errors: Vec<_> =
        errors.iter().map(|error| (boundaries(text, error.span()), error.message())).collect();
    errors.sort_by_key(|(span, _)| (span.start, span.end));
    for (span, message) in errors {
        // One slip makes the parser complain of what follows at the same place, too: the first complaint is the cause.
        if problems.last().is_none_or(|last| last.span.start != span.start) {
            problems.push(problem(text, &keys, span, message));
        }
    }
    Err(problems)
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
    let found = &text[span.clone()];
    // The parser lists what it could have gone on with; only where that is short does it help.
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let error = |message: &str| Problem::error("syntax", span.clone(), message);
    match what {
        "duplicate key" => {
            let problem =
                Problem::error("duplicate_key", span.clone(), format!("`{found}` is given a second time"));
            let problem = match keys.before(found, span.start) {
                Some(first) => problem.related(first, "first given here"),
                None => problem,
            };
            problem.help(if found == "target" {
                "write `[[target]]` with double brackets, before the `[target.…]` tables that belong to it"
            } else {
                "remove one of them"
            })
        }
        "string values must be quoted" => {
            let quoted = quote(found);
            error("a string must be in quotes").help(format!("write {quoted}")).fix(
                "Put it in quotes",
                span.clone(),
                quoted,
            )
        }
        "invalid boolean" => {
            let lower = found.to_ascii_lowercase();
            let problem = error("a boolean is `true` or `false`, in small letters");
            if lower == "true" || lower == "false" {
                problem.help(format!("write {lower}")).fix(format!("Write `{lower}`"), span.clone(), lower)
            } else {
                problem.help("write true or false, or put the text in quotes if it is a string")
            }
        }
        "key with no value" => error("a key without a value").help("write `key = value`"),
        "invalid basic string" | "invalid literal string"
            if expected.starts_with("`\"`") || expected.starts_with("`'`") =>
        {
            error("a string without its closing quote")
                .help("close it on the same line; text of several lines goes between \"\"\" and \"\"\"")
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
        _ if expected.is_empty() => error(what),
        _ => error(what).help(format!("expected {expected}")),
    }
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
