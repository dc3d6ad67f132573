//! What is known of one piece of the text by itself: an edit elsewhere changes nothing of it, so it is kept.

use std::ops::Range;
use std::path::Path;

use vmtest_config::{Command, Document, Problem, Purpose};

use crate::model::Section;
use crate::scan::Piece;

/// What is known of a piece. Places count from its start.
#[derive(Debug)]
pub(crate) struct Facts {
    /// What the loader says of it when it is all there is.
    pub(crate) problems: Vec<Problem>,
    /// What its command has wrong.
    pub(crate) lints: Vec<Problem>,
    /// Whether what it has wrong depends on the rest of the file.
    pub(crate) entangled: bool,
    /// The target's name and where it stands.
    pub(crate) name: Option<(String, Range<usize>)>,
    /// Whether its command is an interactive shell.
    pub(crate) interactive: bool,
    /// The target's header.
    pub(crate) header: Range<usize>,
    /// Where the last thing in it ends.
    pub(crate) end: usize,
}

/// Problems that say that something is missing: a piece with broken syntax may well have it.
const OF_WHOLE_TARGETS: [&str; 4] = ["no_targets", "missing_key", "missing_system", "missing_companion"];

impl Facts {
    /// Looks at a piece of `text`.
    pub(crate) fn new(text: &str, piece: &Piece, section: &Section, base: &Path) -> Self {
        let start = piece.range.start;
        let back = |range: Range<usize>| range.start - start..range.end - start;
        let is_target = section.tables.first().is_some_and(|table| table.header.is_some());
        let problems = problems(&text[piece.range.clone()], base, is_target);
        let mut lints = section.lints(text);
        for lint in &mut lints {
            move_by(lint, |offset| offset - start);
        }
        Self {
            entangled: is_entangled(section, is_target)
                || problems.iter().any(|problem| matches!(problem.code, "too_deep" | "file_too_large")),
            problems,
            lints,
            name: section
                .value("name")
                .and_then(|value| Some((value.text()?.value.clone(), back(value.range.clone())))),
            interactive: section
                .string("command")
                .is_some_and(|text| Command::new(&text.value) == Command::Interactive),
            header: back(section.header_range()),
            end: section.end() - start,
        }
    }
}

/// Tables that other pieces may have too, which the whole file may not.
fn is_entangled(section: &Section, is_target: bool) -> bool {
    let mut headers = section.tables.iter().filter_map(|table| table.header.as_ref());
    if is_target {
        return headers.any(|header| header.path.first().is_none_or(|part| part.name != "target"));
    }
    let mut entries = section.tables.iter().flat_map(|table| &table.entries);
    headers.next().is_some()
        || entries.any(|entry| entry.path.first().is_none_or(|part| part.name == "target"))
}

/// What a piece has wrong when it is read alone.
fn problems(text: &str, base: &Path, is_target: bool) -> Vec<Problem> {
    let (document, mut problems) = Document::recover(text, base);
    if !is_target {
        problems.retain(|problem| problem.code != "no_targets");
    }
    let broken: Vec<Range<usize>> = problems.iter().map(|problem| lines_of(text, &problem.span)).collect();
    // Without its header the loader takes the target's keys for the file's own.
    let broken_header =
        |problem: &Problem| problem.code == "syntax" && lines_of(text, &problem.span).start == 0;
    if is_target && problems.iter().any(broken_header) {
        problems.retain(|problem| !matches!(problem.code, "no_targets" | "target_not_array"));
        return problems;
    }
    let meaning = match document.resolve(Purpose::Check) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems.extend(meaning.into_iter().filter(|problem| {
        let touches = |line: &Range<usize>| line.start <= problem.span.end && problem.span.start <= line.end;
        broken.is_empty() || !(OF_WHOLE_TARGETS.contains(&problem.code) || broken.iter().any(touches))
    }));
    problems
}

/// The lines that a range lies on.
pub(crate) fn lines_of(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline);
    start..end
}

/// Moves every place of a problem.
pub(crate) fn move_by(problem: &mut Problem, by: impl Fn(usize) -> usize) {
    let related = problem.related.iter_mut().map(|(span, _)| span);
    let fix = problem.fix.iter_mut().map(|fix| &mut fix.span);
    for span in std::iter::once(&mut problem.span).chain(related).chain(fix) {
        *span = by(span.start)..by(span.end);
    }
}
