//! Mistakes in commands, as problems of the file.

use vmtest_config::{Fix, Problem};

use crate::model::{Section, Text};
use crate::shell::{self, Cure, Finding};

impl Section {
    /// What its command has wrong; `file` is the whole text.
    pub(crate) fn lints(&self, file: &str) -> Vec<Problem> {
        let Some(value) = self.value("command") else { return Vec::new() };
        let Some(text) = value.text() else { return Vec::new() };
        // A string without an end is a problem enough.
        if text.content.end == value.range.end {
            return Vec::new();
        }
        shell::lint(&text.value).into_iter().map(|finding| problem(file, text, finding)).collect()
    }
}

fn problem(file: &str, text: &Text, finding: Finding) -> Problem {
    let start = text.content.start;
    // Where escapes stand between the two texts, only the whole is known.
    let span = if text.verbatim {
        start + finding.span.start..start + finding.span.end
    } else {
        text.content.clone()
    };
    let fix = finding.cure.filter(|_| text.verbatim).and_then(|cure| cure_of(file, text, cure));
    Problem { fix, ..Problem::warning(finding.code, span, finding.message).help(finding.help) }
}

fn cure_of(file: &str, text: &Text, cure: Cure) -> Option<Fix> {
    let content = &text.content;
    let after = &file[content.end..];
    let long = after.starts_with("\"\"\"") || after.starts_with("'''");
    let fix = |title: String, at: usize, replacement: String| Some(Fix { title, span: at..at, replacement });
    match cure {
        Cure::Begin(line) => {
            let joint = if long { "\n" } else { "; " };
            fix(format!("Begin with `{line}`"), content.start, format!("{line}{joint}"))
        }
        Cure::Escape(at) => {
            // In double quotes TOML takes one backslash for itself.
            let basic = after.starts_with('"');
            let backslash = if basic { "\\\\" } else { "\\" };
            fix("Leave it to the inner shell".to_owned(), content.start + at, backslash.to_owned())
        }
        Cure::End(_) if !long => None,
        Cure::End(delimiter) => {
            let before = if text.value.ends_with('\n') { "" } else { "\n" };
            fix(format!("End it with `{delimiter}`"), content.end, format!("{before}{delimiter}\n"))
        }
    }
}
