//! Problems of a vmtest.toml, shown the way rustc shows its own.

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use vmtest_config::{Problem, Severity, Source};

use crate::paint::Paint;

/// All of `problems` as text; `file` is what the user calls the file whose text is `text`.
pub(crate) fn render(problems: &[Problem], file: &str, text: &str, paint: Paint) -> String {
    let renderer = if paint.is_on() { Renderer::styled() } else { Renderer::plain() };
    let mut shown = String::new();
    for problem in problems {
        shown.push_str(&renderer.render(&report(problem, file, text)));
        shown.push_str("\n\n");
    }
    shown
}

/// `2 errors, 1 warning`; none when there is nothing to count.
pub(crate) fn count(problems: &[Problem]) -> Option<String> {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let counted = |count: usize, what: &str| {
        (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
    };
    let parts: Vec<_> = [counted(errors, "error"), counted(problems.len() - errors, "warning")]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn report<'a>(problem: &'a Problem, file: &'a str, text: &'a str) -> Vec<Group<'a>> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let (name, source) = match &problem.source {
        Source::File => (file, text),
        Source::Argument { option, text } => (*option, text.as_str()),
    };
    let span = clamp(problem.span.clone(), source);
    let snippet = Snippet::source(source).path(name).annotation(AnnotationKind::Primary.span(span));
    let mut group = level.primary_title(problem.message.as_str()).id(problem.code).element(snippet);
    if !problem.related.is_empty() {
        // The related places are the file's, also where the problem is an argument's.
        let notes = problem
            .related
            .iter()
            .map(|(span, note)| AnnotationKind::Context.span(clamp(span.clone(), text)).label(note.as_str()));
        group = group.element(Snippet::source(text).path(file).annotations(notes));
    }
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let mut groups = vec![group];
    if let Some(fix) = &problem.fix {
        let patch = Patch::new(clamp(fix.span.clone(), source), fix.replacement.as_str());
        groups.push(
            Level::HELP
                .secondary_title(fix.title.as_str())
                .element(Snippet::source(source).path(name).patch(patch)),
        );
    }
    groups
}

/// The renderer panics on a place that the text does not have.
fn clamp(span: std::ops::Range<usize>, text: &str) -> std::ops::Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(span.start);
    start..boundary(span.end).max(start)
}
