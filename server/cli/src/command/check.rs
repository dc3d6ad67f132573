//! `vmtest check`: what is wrong with a vmtest.toml, without running anything. The same as an editor shows.

use std::path::Path;
use std::process::ExitCode;

use vmtest_config::{Problem, check_paths};
use vmtest_ide::Analysis;
use vmtest_vm::verdict::EXIT_CONFIG;

use crate::problems;
use crate::project::{File, eprint, stderr_paint};

/// Checks `file`, else ./vmtest.toml.
pub(crate) fn check(file: Option<&Path>) -> ExitCode {
    let file = match File::read(file) {
        Ok(file) => file,
        Err(refused) => return refused.report(),
    };
    let (targets, problems) = problems(&file);
    eprint(&problems::render(&problems, &file.name, &file.text, stderr_paint()));
    let count = problems::count(&problems);
    if problems.iter().any(Problem::is_error) {
        crate::say(format_args!("{}: {}", file.name, count.unwrap_or_default()));
        return ExitCode::from(EXIT_CONFIG);
    }
    let targets = if targets == 1 { "1 target".to_owned() } else { format!("{targets} targets") };
    let count = count.map(|count| format!(", {count}")).unwrap_or_default();
    crate::print(format_args!("{}: {targets}{count}\n", file.name))
}

fn problems(file: &File) -> (usize, Vec<Problem>) {
    let analysis = Analysis::new(file.text.as_str(), &file.base);
    let targets = analysis.checked();
    let mut problems = analysis.problems();
    problems.extend(targets.iter().flat_map(check_paths));
    problems.sort_by_key(|problem| problem.span.start);
    (targets.len(), problems)
}
