//! What a vmtest.toml is promised: one test, one promise.

mod fixtures;
mod fuzz;
mod keys;
mod mounts;
mod options;
mod overrides;
mod paths;
mod rules;
mod select;
mod sources;
mod syntax;
mod targets;
mod types;
mod untrusted;
mod values;

use std::fmt::Write;
use std::path::Path;

use expect_test::Expect;
use vmtest_config::{Arch, Document, Loaded, Problem, Purpose, Source, line_column};

/// Loads a text as on an x86-64 host, from a directory that need not exist.
fn load(text: &str, purpose: Purpose) -> Result<Loaded, Vec<Problem>> {
    Document::parse(text, Path::new("/p"))?.with_host(Arch::X86_64).resolve(purpose)
}

/// Holds the problems of a text to what is expected.
#[track_caller]
fn check(text: &str, expected: &Expect) {
    let problems = match load(text, Purpose::Check) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|problem| !problem.is_error()));
            loaded.warnings
        }
        Err(problems) => {
            assert!(problems.iter().any(Problem::is_error), "refused without an error");
            problems
        }
    };
    expected.assert_eq(&render(text, &problems));
}

/// The same for keys of a target that is right without them.
#[track_caller]
fn check_body(body: &str, expected: &Expect) {
    let kernel = "[[target]]\nname = 't'\nkernel = 'k'\ncommand = 'c'\n";
    check(&format!("{kernel}{body}"), expected);
}

/// Problems as text: `severity[code] line:col message / help`, then related places and the fix.
fn render(file: &str, problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let (place, text) = match &problem.source {
            Source::File => (String::new(), file),
            Source::Argument { option, text } => (format!("{option} {text:?} "), text.as_str()),
        };
        let (line, column) = line_column(text, problem.span.start);
        let covered = &text[problem.span.clone()];
        let Problem { severity, code, message, .. } = problem;
        write!(out, "{severity}[{code}] {place}{line}:{column} {covered:?} {message}").unwrap();
        if let Some(help) = &problem.help {
            write!(out, " / {}", help.replace('\n', "⏎")).unwrap();
        }
        out.push('\n');
        for (span, note) in &problem.related {
            let (line, column) = line_column(file, span.start);
            writeln!(out, "    {line}:{column} {:?} {note}", &file[span.clone()]).unwrap();
        }
        if let Some(fix) = &problem.fix {
            let old = &text[fix.span.clone()];
            writeln!(out, "    fix: {}: {old:?} -> {:?}", fix.title, fix.replacement).unwrap();
        }
    }
    out
}
