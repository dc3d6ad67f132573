//! The promises of docs/reliability.md and the tests that hold them: a comment `// H1` in front of a test says which case it is of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use vmtest_tests::machine::repository;

use crate::page::read;

const PAGE: &str = "docs/reliability.md";
/// The cases of each kind.
const CASES: [(char, usize); 9] =
    [('H', 7), ('Q', 5), ('G', 6), ('S', 8), ('F', 2), ('N', 3), ('L', 5), ('E', 2), ('U', 2)];

/// A test: its file from the top of the repository, and its name.
type Test = (String, String);

/// The cases that a line names, if it is a comment that begins with some: `// H1, Q4: why`.
fn cases_of(line: &str) -> Vec<String> {
    let line = line.trim_start();
    let Some(text) = line.strip_prefix("// ").or_else(|| line.strip_prefix("-- ")) else { return Vec::new() };
    let words = text.split(':').next().unwrap_or_default().split(", ");
    let is_case = |word: &str| {
        CASES.iter().any(|(kind, count)| {
            word.strip_prefix(*kind)
                .and_then(|number| number.parse().ok())
                .is_some_and(|number| (1..=*count).contains(&number))
        })
    };
    let words: Vec<_> = words.map(|word| word.trim().to_owned()).collect();
    if words.iter().all(|word| is_case(word)) { words } else { Vec::new() }
}

/// The name of the test that a line begins, in Rust, Lua or TypeScript.
fn test_of(line: &str) -> Option<String> {
    let mut line = line.trim_start();
    for word in ["void ", "await ", "async "] {
        line = line.strip_prefix(word).unwrap_or(line);
    }
    if let Some(rest) = line.strip_prefix("fn ") {
        return rest.split('(').next().map(str::to_owned);
    }
    let rest = ["test((", "test(", "it(", "step("].iter().find_map(|start| line.strip_prefix(start))?;
    let quote = rest.chars().next().filter(|quote| ['\'', '"', '`'].contains(quote))?;
    rest[1..].split(quote).next().map(str::to_owned)
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["node_modules", "target", "out", "corpus"].contains(&name.as_str()) {
            sources(&path, found);
        } else if [".rs", ".lua", ".ts"].iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
}

/// The tests of each case, in the order of the files.
fn tests() -> BTreeMap<String, Vec<Test>> {
    let mut files = Vec::new();
    for part in ["server", "tests"] {
        sources(&repository().join(part), &mut files);
    }
    let mut tests: BTreeMap<String, Vec<Test>> = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned();
        let mut waiting = Vec::new();
        // A name too long for its line stands on the next.
        for line in text.replace("test(\n  '", "test('").lines() {
            waiting.extend(cases_of(line));
            let Some(name) = test_of(line).filter(|_| !waiting.is_empty()) else { continue };
            for case in waiting.drain(..) {
                tests.entry(case).or_default().push((file.clone(), name.clone()));
            }
        }
        assert!(waiting.is_empty(), "{file}: no test follows {waiting:?}");
    }
    tests
}

/// The page with the tests below each case's promise.
fn page_with(tests: &BTreeMap<String, Vec<Test>>) -> String {
    let mut page = String::new();
    let mut case = None;
    let finish = |page: &mut String, case: Option<String>| {
        for (file, name) in case.iter().flat_map(|case| tests.get(case).into_iter().flatten()) {
            writeln!(page, "* [{}](../{file})", name.replace('_', " ")).unwrap();
        }
        if case.is_some() {
            page.push('\n');
        }
    };
    for line in read(PAGE).lines().filter(|line| !line.starts_with("* [")) {
        if line.starts_with('#') {
            if page.ends_with("\n\n") && case.is_some() {
                page.pop();
                page.push('\n');
            }
            finish(&mut page, case.take());
            case = line.strip_prefix("### ").map(str::to_owned);
        }
        // Between the promise and its tests there is one empty line.
        if !(line.is_empty() && page.ends_with("\n\n")) {
            writeln!(page, "{line}").unwrap();
        }
    }
    if !page.ends_with("\n\n") {
        page.push('\n');
    }
    finish(&mut page, case);
    page.trim_end().to_owned() + "\n"
}

#[test]
fn every_case_has_its_tests_and_the_page_links_them() {
    let tests = tests();
    let without: Vec<_> = CASES
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number}")))
        .filter(|case| !tests.contains_key(case))
        .collect();
    assert!(without.is_empty(), "no test is marked with {without:?}");
    let page = page_with(&tests);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(repository().join(PAGE), &page).unwrap();
    }
    assert!(
        page == read(PAGE),
        "{PAGE} is not up to date: UPDATE_EXPECT=1 cargo test -p vmtest-tests --test docs"
    );
}

#[test]
fn every_case_on_the_page_is_one() {
    let page = read(PAGE);
    let found: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let expected: Vec<_> = CASES
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number}")))
        .collect();
    assert_eq!(found, expected);
}
