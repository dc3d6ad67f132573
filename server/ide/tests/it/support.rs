//! Fixtures: a text in which `$0` marks the cursor, held to what is expected of it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use vmtest_ide::{Analysis, DirectoryEntry, Edit, KernelFact, Surroundings};

/// The directory of every fixture; it does not exist.
pub(crate) const BASE: &str = "/project";

/// A text with a cursor.
pub(crate) struct Fixture {
    pub(crate) analysis: Analysis,
    pub(crate) cursor: usize,
}

/// Takes the `$0` out of a text; without one the cursor is at its end.
pub(crate) fn fixture(text: &str) -> Fixture {
    let cursor = text.find("$0").unwrap_or(text.len());
    Fixture { analysis: analysis(&text.replacen("$0", "", 1)), cursor }
}

/// A text without a cursor.
pub(crate) fn analysis(text: &str) -> Analysis {
    Analysis::new(text, Path::new(BASE))
}

/// A machine with two kernels, one that the fixtures name and one that cannot be booted.
pub(crate) fn machine() -> Surroundings {
    let kernel = |path: &str, release: Result<&str, &str>, features: &[&str]| KernelFact {
        path: PathBuf::from(path),
        release: release.map(str::to_owned).map_err(str::to_owned),
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
    };
    Surroundings {
        kernels: vec![
            kernel("/boot/vmlinuz-6.1.0-44-amd64", Ok("6.1.0-44-amd64"), &["bzImage"]),
            kernel("/boot/vmlinuz-5.10.0", Ok("5.10.0"), &[]),
            kernel("/boot/vmlinuz-broken", Err("it is not a kernel"), &[]),
        ],
        entries: Vec::new(),
        named_kernels: vec![
            kernel(
                "/project/bzImage",
                Ok("6.1.0-44-amd64"),
                &["bzImage", "modules in /lib/modules/6.1.0-44-amd64"],
            ),
            kernel("/project/broken", Err("it is an ELF file, but no kernel"), &[]),
        ],
    }
}

/// What lies in the directory that is asked for; a name that ends with `/` is a directory.
pub(crate) fn with_entries(names: &[&str]) -> Surroundings {
    let entry = |name: &&str| DirectoryEntry {
        name: name.trim_end_matches('/').to_owned(),
        directory: name.ends_with('/'),
    };
    Surroundings { entries: names.iter().map(entry).collect(), ..machine() }
}

/// A text with `edits` made: they must be in the text, on character boundaries, and must not overlap.
#[track_caller]
pub(crate) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<_> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut result = String::new();
    let mut at = 0;
    for edit in edits {
        assert!(at <= edit.range.start, "edits overlap: {edit:?}");
        result.push_str(slice(text, &(at..edit.range.start)));
        slice(text, &edit.range);
        result.push_str(&edit.text);
        at = edit.range.end;
    }
    result + slice(text, &(at..text.len()))
}

/// A piece of a text, which it must have.
#[track_caller]
pub(crate) fn slice<'t>(text: &'t str, range: &Range<usize>) -> &'t str {
    text.get(range.clone()).unwrap_or_else(|| panic!("{range:?} is no piece of the text"))
}

/// What a snippet becomes when all its places keep what stands in them.
pub(crate) fn expand(snippet: &str) -> String {
    let mut text = String::new();
    let mut rest = snippet.chars().peekable();
    let mut open = 0;
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.extend(rest.next()),
            '$' if rest.peek() == Some(&'{') => {
                rest.next();
                while rest.next_if(char::is_ascii_digit).is_some() {}
                match rest.next() {
                    Some('|') => {
                        let choices: String = rest.by_ref().take_while(|c| *c != '|').collect();
                        text.push_str(choices.split(',').next().unwrap_or_default());
                        assert_eq!(rest.next(), Some('}'), "{snippet}");
                    }
                    Some(':') => open += 1,
                    other => panic!("{other:?} in a place of {snippet}"),
                }
            }
            '$' => {
                assert!(rest.next_if(char::is_ascii_digit).is_some(), "a `$` that is no place: {snippet}");
            }
            '}' if open > 0 => open -= 1,
            c => text.push(c),
        }
    }
    assert_eq!(open, 0, "{snippet}");
    text
}
