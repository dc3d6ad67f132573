//! What is wrong with the text: what loading it says, and, while its syntax is broken somewhere, what can be said of each
//! target alone.

use std::ops::Range;

use vmtest_config::{Document, Problem, Purpose};

use crate::analysis::Analysis;
use crate::scan::Piece;

/// Problems that say that something is missing: a piece with broken syntax may well have it.
const OF_WHOLE_TARGETS: [&str; 4] = ["no_targets", "missing_key", "missing_system", "missing_companion"];

/// More problems than anybody reads; a file of nothing else must not drown its editor.
const MOST: usize = 1000;

impl Analysis {
    /// Everything that is wrong, in the order of the text; the first thousand where there is more. There is an error in it exactly if
    /// the file cannot be loaded.
    pub fn problems(&self) -> Vec<Problem> {
        let loaded = Document::parse(self.text(), self.base())
            .and_then(|document| document.resolve(Purpose::Check).map(|loaded| loaded.warnings));
        let mut problems = match loaded {
            Ok(problems) => problems,
            Err(problems) if problems.iter().any(is_about_syntax) => self.piece_by_piece(problems),
            Err(problems) => problems,
        };
        problems.extend(self.lints());
        if problems.len() > MOST {
            problems.sort_by_key(|problem| !problem.is_error());
            problems.truncate(MOST);
        }
        problems.sort_by_key(|problem| problem.span.start);
        let invisible = |problem: &&mut Problem| problem.code == "syntax" && problem.span.is_empty();
        for problem in problems.iter_mut().filter(invisible) {
            problem.span = self.visible(problem.span.start);
        }
        problems
    }

    /// What is written on the line of a place: something that is missing has no text of its own to underline.
    fn visible(&self, offset: usize) -> Range<usize> {
        // A string without its end is wrong where it starts.
        let offset = self.open_string(offset).map_or(offset, |open| open.start);
        let line = line_of(self.text(), &(offset..offset));
        let text = &self.text()[line.clone()];
        let start = line.start + (text.len() - text.trim_start().len());
        start..(start + text.trim().len()).max(start)
    }

    /// The string without an end that reaches to a place.
    fn open_string(&self, offset: usize) -> Option<&Range<usize>> {
        let scan = self.scan();
        let before = scan.targets.partition_point(|piece| piece.range.start < offset);
        let piece = before.checked_sub(1).map_or(&scan.head, |index| &scan.targets[index]);
        let before = piece.open_strings.partition_point(|open| open.start <= offset);
        piece.open_strings[..before].last().filter(|open| offset <= open.end + 1)
    }

    /// What each piece has wrong when it is read alone, so that a slip in one does not hide what is wrong with the others.
    fn piece_by_piece(&self, whole: Vec<Problem>) -> Vec<Problem> {
        let scan = self.scan();
        let mut problems = Vec::new();
        for piece in std::iter::once(&scan.head).chain(&scan.targets) {
            let head = piece.range.start == scan.head.range.start;
            problems.extend(
                self.of_piece(piece).into_iter().filter(|problem| !(head && problem.code == "no_targets")),
            );
        }
        // Something that only the pieces together have wrong.
        if problems.iter().any(Problem::is_error) { problems } else { whole }
    }

    fn of_piece(&self, piece: &Piece) -> Vec<Problem> {
        let text = &self.text()[piece.range.clone()];
        let (document, mut problems) = Document::recover(text, self.base());
        let broken: Vec<Range<usize>> = problems.iter().map(|problem| line_of(text, &problem.span)).collect();
        let meaning = match document.resolve(Purpose::Check) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        problems.extend(meaning.into_iter().filter(|problem| {
            broken.is_empty()
                || !(OF_WHOLE_TARGETS.contains(&problem.code)
                    || broken
                        .iter()
                        .any(|line| line.start <= problem.span.end && problem.span.start <= line.end))
        }));
        problems.sort_by_key(|problem| problem.span.start);
        problems.iter_mut().for_each(|problem| shift(problem, piece.range.start));
        problems
    }
}

fn is_about_syntax(problem: &Problem) -> bool {
    matches!(problem.code, "syntax" | "duplicate_key")
}

/// The lines that a range lies on.
fn line_of(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline);
    start..end
}

/// Moves every place of a problem.
fn shift(problem: &mut Problem, by: usize) {
    let related = problem.related.iter_mut().map(|(span, _)| span);
    let fix = problem.fix.iter_mut().map(|fix| &mut fix.span);
    for span in std::iter::once(&mut problem.span).chain(related).chain(fix) {
        *span = span.start + by..span.end + by;
    }
}
