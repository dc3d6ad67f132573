//! `vmtest fmt`: puts a vmtest.toml in order, as an editor's *Format Document* does.

use std::path::Path;
use std::process::ExitCode;

use vmtest_config::{Document, Problem};
use vmtest_ide::Analysis;
use vmtest_vm::verdict::EXIT_CONFIG;

use crate::problems;
use crate::project::{File, eprint, stderr_paint};

/// Formats `file`, else ./vmtest.toml; with `check` only says whether it is in order. Standard input goes to standard
/// output.
pub(crate) fn fmt(file: Option<&Path>, check: bool) -> ExitCode {
    let file = match File::read(file) {
        Ok(file) => file,
        Err(refused) => return refused.report(),
    };
    let analysis = Analysis::new(file.text.as_str(), &file.base);
    let formatted = analysis.format();
    if formatted.is_none()
        && let Err(mut broken) = Document::parse(&file.text, &file.base)
    {
        broken.retain(Problem::is_error);
        eprint(&problems::render(&broken, &file.name, &file.text, stderr_paint()));
        crate::say(format_args!("{}: a broken file is left as it is", file.name));
        return ExitCode::from(EXIT_CONFIG);
    }
    match (file.path(), formatted) {
        (_, Some(_)) if check => {
            crate::say(format_args!("{} is not in order: run `vmtest fmt`", file.name));
            ExitCode::FAILURE
        }
        (_, None) if check => ExitCode::SUCCESS,
        (None, formatted) => crate::print(format_args!("{}", formatted.unwrap_or(file.text))),
        (Some(_), None) => ExitCode::SUCCESS,
        // In place, so that links, owner and permissions stay.
        (Some(path), Some(formatted)) => match std::fs::write(path, formatted) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                crate::say(format_args!("cannot write {}: {error}", file.name));
                ExitCode::from(74)
            }
        },
    }
}
