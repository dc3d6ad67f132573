//! The files under tests/fixtures/config: `valid` ones in the original's style, and `invalid` ones.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use vmtest_config::{Command, System, load_bytes};

use crate::render;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/config").join(name)
}

/// Every vmtest.toml of a directory by name, sorted.
pub(crate) fn files(name: &str) -> Vec<(PathBuf, String)> {
    let mut files: Vec<_> = fs::read_dir(directory(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_valid_file_loads_without_an_error_or_warning() {
    for (path, text) in files("valid") {
        let loaded = load_bytes(text.as_bytes(), Path::new("/p"));
        let problems = match &loaded {
            Ok(loaded) => &loaded.warnings,
            Err(problems) => problems,
        };
        assert_eq!(render(&text, problems), "", "{}", path.display());
        assert!(!loaded.unwrap().targets.is_empty());
    }
}

#[test]
fn every_invalid_file_has_its_problems() {
    for (path, text) in files("invalid") {
        let problems = load_bytes(text.as_bytes(), Path::new("/p")).unwrap_err();
        expect_file![path.with_extension("problems")].assert_eq(&render(&text, &problems));
    }
}

#[test]
fn triple_quoted_text_is_literal() {
    let text = fs::read_to_string(directory("valid/quotes.toml")).unwrap();
    let loaded = load_bytes(text.as_bytes(), Path::new("/p")).unwrap();
    let first = &loaded.targets[0].target;
    let wanted = r#"echo 'single' and "double" and \back\slash"#;
    assert_eq!(first.command, Command::Shell(wanted.into()));
    let System::Kernel(kernel) = &first.system else { panic!() };
    assert_eq!(kernel.args, "foo=\"a b\" bar=c");
    assert_eq!(loaded.targets[1].target.command, Command::Shell("set -e\nmake -j4\nmake test\n".into()));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    for (path, text) in files("valid") {
        if text.contains("\"\"\"") {
            continue;
        }
        let plain = load_bytes(text.as_bytes(), Path::new("/p")).unwrap();
        let other = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let other = load_bytes(other.as_bytes(), Path::new("/p")).unwrap();
        let plain: Vec<_> = plain.targets.into_iter().map(|resolved| resolved.target).collect();
        let other: Vec<_> = other.targets.into_iter().map(|resolved| resolved.target).collect();
        assert_eq!(plain, other, "{}", path.display());
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_at_their_offset() {
    let problems = load_bytes(b"# \xc3\xa4\n\xff\n", Path::new("/p")).unwrap_err();
    let rendered = render("# ä\n", &problems);
    assert_eq!(
        rendered,
        "error[invalid_utf8] 2:1 \"\" the file is not UTF-8: byte 5 is 0xff / save it as UTF-8\n"
    );
}

#[test]
fn utf_16_is_recognized() {
    let problems = load_bytes(b"\xff\xfe[\0[\0", Path::new("/p")).unwrap_err();
    assert_eq!(problems[0].help.as_deref(), Some("it looks like UTF-16: save it as UTF-8"));
}

// U2
#[test]
fn a_file_over_one_mebibyte_is_refused() {
    let most = " ".repeat(vmtest_config::MAX_FILE_SIZE);
    assert_eq!(load_bytes(most.as_bytes(), Path::new("/p")).unwrap_err()[0].code, "no_targets");
    let more = most + " ";
    assert_eq!(load_bytes(more.as_bytes(), Path::new("/p")).unwrap_err()[0].code, "file_too_large");
    assert_eq!(vmtest_config::load(&more, Path::new("/p")).unwrap_err()[0].code, "file_too_large");
}

// L5
#[test]
fn nesting_beyond_the_limit_is_refused_and_never_overflows_the_stack() {
    for depth in [129, 10_000, 300_000] {
        for text in [
            format!("a = {}", "[".repeat(depth)),
            format!("a = {}", "{a=".repeat(depth)),
            format!("{}a = 1", "a.".repeat(depth)),
            format!("[{}a]", "a.".repeat(depth)),
            format!("[[{}a]]", "a.".repeat(depth)),
        ] {
            if text.len() <= vmtest_config::MAX_FILE_SIZE {
                let problems = vmtest_config::load(&text, Path::new("/p")).unwrap_err();
                assert_eq!(problems[0].code, "too_deep");
            }
        }
    }
}
