//! Mistakes in a `command` that pass silently: bash says nothing, or nothing that anybody reads, and the target passes.
//!
//! Each finding must be worth a warning in somebody's working file, so the checks look away where they are not sure.

mod lex;
mod nested;
mod script;

use std::ops::Range;

use script::{Script, Statement};

/// One mistake in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Stable name of the kind of mistake.
    pub(crate) code: &'static str,
    /// Where it is in the script.
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) cure: Option<Cure>,
}

/// A small change of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cure {
    /// Put this before everything.
    Begin(&'static str),
    /// Put a backslash before this place.
    Escape(usize),
    /// Put this line after everything.
    End(String),
}

/// Looks for mistakes in a script for bash; linear in its length.
pub(crate) fn lint(script: &str) -> Vec<Finding> {
    if !["\n", ";", "|", "<<", "-c"].iter().any(|sign| script.contains(sign)) {
        return Vec::new();
    }
    let parsed = Script::read(script);
    let mut findings: Vec<Finding> =
        parsed.heredocs.iter().filter_map(|heredoc| unclosed(script, heredoc)).collect();
    findings.extend(lost_status(script, &parsed));
    findings.extend(lost_in_pipe(script, &parsed));
    findings.extend(nested::expanded_too_early(script, &parsed));
    findings.sort_by_key(|finding| finding.span.start);
    findings
}

fn unclosed(script: &str, heredoc: &lex::Heredoc) -> Option<Finding> {
    let body = heredoc.unclosed_from?;
    let end = &heredoc.delimiter;
    let indented = script[body..].lines().any(|line| line.trim() == end);
    let help = match (indented, heredoc.strips_tabs) {
        (true, false) => format!(
            "the line `{end}` must start at the first column; with `<<-{end}` tabs may stand before it"
        ),
        (true, true) => format!("only tabs may stand before `{end}`, and nothing after it"),
        (false, _) => format!("add a line with nothing but `{end}`"),
    };
    Some(Finding {
        code: "unclosed_here_document",
        span: heredoc.operator.clone(),
        message: format!(
            "the here-document has no end: no line is `{end}`, so everything that follows is its text"
        ),
        help,
        // An end that is there, but wrong, is the user's to mend.
        cure: (!indented).then(|| Cure::End(end.clone())),
    })
}

/// An earlier command whose failure nothing notices.
fn lost_status(script: &str, parsed: &Script) -> Option<Finding> {
    let (last, earlier) = parsed.statements.split_last()?;
    if parsed.traps_errors(script) || (last.runs(script, "exit") && last.text(script).contains('$')) {
        return None;
    }
    let unguarded = earlier.len().min(parsed.first_that_stops(script));
    for (at, statement) in earlier[..unguarded].iter().enumerate() {
        if parsed.is_asked_about(script, at) || !statement.decides(script) {
            continue;
        }
        return Some(Finding {
            code: "lost_exit_status",
            span: statement.span.clone(),
            message: format!(
                "a failure of `{}` is not noticed: the last command alone decides whether the target passes",
                short(statement.text(script))
            ),
            help: "start the command with `set -e`, or join its parts with `&&`".to_owned(),
            cure: Some(Cure::Begin("set -e")),
        });
    }
    None
}

/// A pipeline that ends in something that never fails.
fn lost_in_pipe(script: &str, parsed: &Script) -> Option<Finding> {
    const COPIERS: [&str; 3] = ["tee", "cat", "ts"];
    if parsed.has_option(script, "pipefail") {
        return None;
    }
    let count = parsed.statements.len();
    let guarded = parsed.first_that_stops(script);
    let counts = |(at, _): &(usize, &Statement)| *at + 1 == count || *at > guarded;
    let mut lines = parsed.statements.iter().enumerate().filter(counts);
    lines.find_map(|(at, statement)| {
        let [.., source, sink] = statement.last_pipeline()? else { return None };
        let copies = sink.program(script).is_some_and(|program| COPIERS.contains(&program));
        let handled = statement.handles_failure() || parsed.is_asked_about(script, at);
        if !copies || handled || source.is_harmless(script) {
            return None;
        }
        Some(Finding {
            code: "lost_exit_status",
            span: source.span(),
            message: format!(
                "a failure of `{}` is not noticed: a pipeline ends as its last command, `{}`, does",
                short(&script[source.span()]),
                sink.program(script).unwrap_or_default()
            ),
            help: "start the command with `set -o pipefail`".to_owned(),
            cure: Some(Cure::Begin("set -o pipefail")),
        })
    })
}

/// The beginning of a command, for a message.
fn short(text: &str) -> String {
    const MOST: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= MOST && line.len() == text.trim_end().len() {
        return line.to_owned();
    }
    format!("{}…", line.chars().take(MOST).collect::<String>().trim_end())
}

#[cfg(test)]
mod tests;
