//! `vmtest check`: what is wrong with a vmtest.toml, without running anything.

use std::path::Path;
use std::process::ExitCode;

use vmtest_config::{Document, Loaded, Problem, Purpose, check_paths};
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
    let loaded =
        Document::parse(&file.text, &file.base).and_then(|document| document.resolve(Purpose::Check));
    match loaded {
        Ok(Loaded { targets, mut warnings }) => {
            warnings.extend(targets.iter().flat_map(check_paths));
            warnings.sort_by_key(|problem| problem.span.start);
            (targets.len(), warnings)
        }
        Err(problems) => (0, problems),
    }
}
