//! What is wrong with the text: what loading it says, and, while its syntax is broken somewhere, what can be said of each
//! target alone.

use std::collections::HashMap;
use std::ops::Range;

use vmtest_config::{Problem, Purpose};

use crate::analysis::Analysis;
use crate::facts::{lines_of, move_by};

/// More problems than anybody reads; a file of nothing else must not drown its editor.
const MOST: usize = 1000;

impl Analysis {
    /// Everything that is wrong, in the order of the text; the first thousand where there is more. There is an error in it
    /// exactly if the file cannot be loaded.
    pub fn problems(&self) -> Vec<Problem> {
        // Targets know nothing of each other but their names, so the file's problems are theirs, most of the time.
        let alone = self.pieces().len() > 1 && self.facts().all(|(_, facts)| !facts.entangled);
        let mut problems = if alone { self.of_pieces() } else { self.of_whole() };
        for (start, facts) in self.facts() {
            problems.extend(facts.lints.iter().map(|lint| moved(lint, start)));
        }
        if problems.len() > MOST {
            problems.sort_by_key(|problem| !problem.is_error());
            problems.truncate(MOST);
        }
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end, problem.severity));
        let invisible = |problem: &&mut Problem| problem.code == "syntax" && problem.span.is_empty();
        for problem in problems.iter_mut().filter(invisible) {
            problem.span = self.visible(problem.span.start);
        }
        problems
    }

    fn of_pieces(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut names: HashMap<&str, Range<usize>> = HashMap::new();
        for (start, facts) in self.facts() {
            problems.extend(facts.problems.iter().map(|problem| moved(problem, start)));
            let Some((name, span)) = facts.name.as_ref().filter(|(name, _)| !name.is_empty()) else {
                continue;
            };
            let span = span.start + start..span.end + start;
            match names.get(name.as_str()) {
                Some(first) => problems.push(Problem::duplicate_name(name, span, first.clone())),
                None => {
                    names.insert(name, span);
                }
            }
        }
        problems
    }

    fn of_whole(&self) -> Vec<Problem> {
        match self.load(Purpose::Check).map(|loaded| loaded.warnings) {
            Err(whole) if whole.iter().any(is_about_syntax) => {
                let pieces = self.of_pieces();
                // Something that only the pieces together have wrong.
                if pieces.iter().any(Problem::is_error) { pieces } else { whole }
            }
            Ok(problems) | Err(problems) => problems,
        }
    }

    /// What is written on the line of a place: something that is missing has no text of its own to underline.
    fn visible(&self, offset: usize) -> Range<usize> {
        // A string without its end is wrong where it starts.
        let offset = self.open_string(offset).map_or(offset, |open| open.start);
        let line = lines_of(self.text(), &(offset..offset));
        let text = &self.text()[line.clone()];
        let start = line.start + (text.len() - text.trim_start().len());
        start..(start + text.trim().len()).max(start)
    }

    /// The string without an end that reaches to a place.
    fn open_string(&self, offset: usize) -> Option<&Range<usize>> {
        let open_strings = &self.pieces()[self.piece_at(offset)].open_strings;
        let before = open_strings.partition_point(|open| open.start <= offset);
        open_strings[..before].last().filter(|open| offset <= open.end + 1)
    }
}

fn is_about_syntax(problem: &Problem) -> bool {
    matches!(problem.code, "syntax" | "duplicate_key")
}

fn moved(problem: &Problem, by: usize) -> Problem {
    let mut problem = problem.clone();
    move_by(&mut problem, |offset| offset + by);
    problem
}
