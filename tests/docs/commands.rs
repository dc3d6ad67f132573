//! Commands and files that the documents show.

use vmtest_tests::Project;
use vmtest_tests::machine::repository;

use crate::page::{Page, documents, read};

/// The documents for users of vmtest.
const PAGES: [&str; 6] =
    ["README.md", "CONTRIBUTING.md", "docs/ci.md", "docs/faq.md", "docs/config.md", "examples/bpf/README.md"];

/// The lines of all blocks without a language, each with its page.
fn command_lines() -> Vec<(&'static str, String)> {
    let lines_of = |path: &'static str| {
        let blocks = Page::read(&repository().join(path)).blocks.into_iter();
        let shown = blocks.filter(|(language, _)| language.is_empty());
        let lines: Vec<_> =
            shown.flat_map(|(_, code)| code.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        // What stands after a `#` is a remark.
        lines
            .into_iter()
            .map(move |line| (path, line.split(" #").next().unwrap_or_default().trim().to_owned()))
    };
    PAGES.into_iter().flat_map(lines_of).collect()
}

fn help(arguments: &[&str]) -> String {
    let words = arguments.iter().chain(&["--help"]);
    let run = Project::new("").vmtest(words).without_machine().run();
    run.check(run.status == Some(0), &format!("vmtest has no {arguments:?}"));
    run.text()
}

#[test]
fn every_make_target_that_is_shown_is_there() {
    let makefile = read("Makefile");
    let lines = command_lines();
    let shown: Vec<_> =
        lines.iter().filter_map(|(page, line)| Some((page, line.strip_prefix("make ")?))).collect();
    assert!(shown.len() > 3, "{shown:?}");
    for (page, target) in shown {
        let Some(target) = target.split_whitespace().next().filter(|word| *word != "-C") else { continue };
        assert!(makefile.contains(&format!("\n{target}:")), "{page}: make has no {target}");
    }
}

#[test]
fn every_script_that_is_shown_is_there() {
    for (page, line) in command_lines() {
        for word in line.split_whitespace().filter(|word| word.starts_with("scripts/")) {
            assert!(repository().join(word).is_file(), "{page}: there is no {word}");
        }
    }
}

#[test]
fn every_option_and_subcommand_that_is_shown_is_there() {
    let general = help(&[]);
    let mut looked_at = 0;
    for (page, line) in command_lines() {
        for call in line.split("&&").flat_map(|part| part.split('|')).map(str::trim) {
            let Some(arguments) = call.strip_prefix("vmtest ") else { continue };
            let words: Vec<_> = arguments.split_whitespace().collect();
            let subcommand = words.first().filter(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            let help = subcommand.map_or_else(|| general.clone(), |name| help(&[name]));
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap();
                looked_at += 1;
                assert!(help.contains(option), "{page}: vmtest has no {option} in `{call}`");
            }
        }
    }
    assert!(looked_at > 5, "only {looked_at} options were found");
}

#[test]
fn every_whole_vmtest_toml_that_is_shown_is_right() {
    let mut looked_at = 0;
    for document in documents() {
        for (language, code) in Page::read(&repository().join(&document)).blocks {
            // Examples of single keys leave out what every target must have.
            if language != "toml"
                || !code.contains("[[target]]")
                || !code.contains("command =")
                || !code.contains("name =")
            {
                continue;
            }
            looked_at += 1;
            let run =
                Project::new("").vmtest(["list", "-c", "-"]).stdin(code.as_bytes()).without_machine().run();
            run.check(
                run.status == Some(0),
                &format!("{} shows a file that is wrong:\n{code}", document.display()),
            );
        }
    }
    assert!(looked_at >= 2, "only {looked_at} files were found");
}
