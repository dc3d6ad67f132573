//! `bash -c "… $x …"`: the outer shell expands `$x` before the inner one has run a word.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::lex::{Token, lex};
use super::script::{Script, Simple, is_name};
use super::{Cure, Finding};

const SHELLS: [&str; 6] = ["bash", "sh", "dash", "zsh", "ksh", "su"];

/// Variables that the inner shell sets and the outer one expands.
pub(super) fn expanded_too_early(script: &str, parsed: &Script) -> Vec<Finding> {
    let commands = parsed.statements.iter().flat_map(|statement| &statement.commands);
    commands
        .filter_map(|command| inner(script, command))
        .flat_map(|inner| in_script(script, &inner))
        .collect()
}

/// The text between the double quotes of a `-c "…"`.
fn inner(script: &str, command: &Simple) -> Option<Range<usize>> {
    let text = |word: &Range<usize>| &script[word.clone()];
    let shell = command.words.iter().position(|word| {
        let name = text(word);
        SHELLS.contains(&name.rsplit('/').next().unwrap_or(name))
    })?;
    let after = &command.words[shell + 1..];
    let option = after.iter().position(|word| {
        let word = text(word);
        word.starts_with('-') && !word.starts_with("--") && word.ends_with('c')
    })?;
    let word = after.get(option + 1)?;
    let quoted = text(word).starts_with('"') && text(word).ends_with('"') && word.len() >= 2;
    quoted.then(|| word.start + 1..word.end - 1)
}

fn in_script(script: &str, inner: &Range<usize>) -> Vec<Finding> {
    let own = &script[inner.clone()];
    let set = names_set_in(own);
    // What stands before, as in `PATH=/opt/bin:$PATH`, has a value of the outer shell, and that is meant.
    let set_before = |name: &str, at: usize| set.get(name).is_some_and(|end| *end <= at);
    let mut seen = HashSet::new();
    let early = expansions(own).into_iter().filter(|(name, span)| {
        let special = name.len() == 1 && !is_name(name) && *name != "0" && *name != "$" && *name != "-";
        (special || set_before(name, span.start)) && seen.insert(*name)
    });
    early
        .map(|(name, span)| Finding {
            code: "expanded_too_early",
            span: inner.start + span.start..inner.start + span.end,
            message: format!("`${name}` is expanded by the outer shell, before the inner one starts"),
            help: format!("put the inner script in single quotes, or write `\\${name}`"),
            cure: Some(Cure::Escape(inner.start + span.start)),
        })
        .collect()
}

/// The names that a script gives a value, and the end of the word that does so first.
fn names_set_in(script: &str) -> HashMap<&str, usize> {
    let mut names = HashMap::new();
    let mut before = "";
    for token in lex(script).tokens {
        let Token::Word(word) = token else { continue };
        let end = word.end;
        let word = &script[word];
        let assigned = word.split_once('=').map(|(name, _)| name);
        let given = if matches!(before, "for" | "read" | "-r" | "local") { Some(word) } else { None };
        if let Some(name) = assigned.or(given).filter(|name| is_name(name)) {
            names.entry(name).or_insert(end);
        }
        before = word;
    }
    names
}

/// Every `$name` and `${name` that no backslash stands before.
fn expansions(text: &str) -> Vec<(&str, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'$' => {
                let braces = usize::from(bytes.get(at + 1) == Some(&b'{'));
                let start = at + 1 + braces;
                let length = name_length(&bytes[start.min(bytes.len())..]);
                if length > 0 {
                    found.push((&text[start..start + length], at..start + length + braces.min(1)));
                }
                at = start + length;
            }
            _ => at += 1,
        }
    }
    for (_, span) in &mut found {
        span.end = span.end.min(text.len());
    }
    found
}

fn name_length(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => {
            bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
        }
        Some(b'0'..=b'9' | b'?' | b'@' | b'*' | b'#' | b'!') => 1,
        _ => 0,
    }
}
