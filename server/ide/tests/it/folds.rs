//! What can be folded away.

use expect_test::{Expect, expect};

use crate::support::analysis;

/// Each fold as its first and last line, from 1.
fn folds(text: &str) -> String {
    let line = |offset: usize| text[..offset].matches('\n').count() + 1;
    let shown = |fold: &vmtest_ide::Fold| {
        let kind = if fold.comment { " comment" } else { "" };
        format!("{}-{}{kind}", line(fold.range.start), line(fold.range.end))
    };
    analysis(text).folds().iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&folds(text));
}

#[test]
fn targets_tables_values_and_comments_fold() {
    check(
        include_str!("rich.toml"),
        expect![
            "1-2 comment, 4-42, 12-18, 24-26, 28-35, 32-35, 37-39, 41-42, 44-54, 49-50, 56-60, 62-73, 66-73, 68-69 comment, 70-72"
        ],
    );
}

#[test]
fn a_target_folds_to_its_last_key_and_not_to_the_comment_of_the_next() {
    check("[[target]]\nname = \"a\"\n\n# the next\n[[target]]\nname = \"b\"\n\n\n", expect!["1-2, 5-6"]);
}

#[test]
fn a_table_folds_within_its_target() {
    check(
        "[[target]]\nname = \"a\"\n\n[target.vm]\nmemory = \"1G\"\n\n[target.env]\nA = \"1\"\n",
        expect!["1-8, 4-5, 7-8"],
    );
}

#[test]
fn texts_and_lists_of_several_lines_fold() {
    check("[[target]]\ncommand = '''\na\nb\n'''\n", expect!["1-5, 2-5"]);
    check("[[target]]\nvm.extra_args = [\n  \"a\",\n  \"b\",\n]\n", expect!["1-5, 2-5"]);
    check("[[target]]\nx = [\n  [\n  1\n  ],\n]\n", expect!["1-6, 2-6, 3-5"]);
    check("[[target]]\nvm.extra_args = [\"a\", \"b\"]\n", expect!["1-2"]);
}

#[test]
fn comments_fold_from_the_second_line_on() {
    for (text, expected) in [
        ("# a\n", ""),
        ("# a\n# b\n", "1-2 comment"),
        ("# a\n  # b\n#\n", "1-3 comment"),
        ("# a\r\n# b\r\n", "1-2 comment"),
        ("# a\n\n# b\n", ""),
        ("# a\n# b\n\n# c\n# d\n", "1-2 comment, 4-5 comment"),
        ("[[target]] # a\n# b\n", ""),
        ("[[target]]\n# a\n# b\nname = 1 # c\n# d\n", "1-4, 2-3 comment"),
        ("[[target]]\nx = [\n# a\n# b\n]\n", "1-5, 2-5, 3-4 comment"),
        ("[[target]]\nx = '''\n# a\n# b\n'''\n", "1-5, 2-5"),
    ] {
        assert_eq!(folds(text), expected, "{text:?}");
    }
}

#[test]
fn what_is_on_one_line_does_not_fold() {
    for text in
        ["", "[[target]]", "[[target]]\n", "[[target]]\n\n\n", "name = 1\n", "[[target]]\n[[target]]\n"]
    {
        assert_eq!(folds(text), "", "{text:?}");
    }
}

#[test]
fn a_broken_file_folds_where_it_can() {
    for (text, expected) in [
        ("[[target]]\nname = \"a\n[[target]]\nname = \"b\"\n", "1-2, 3-4"),
        ("[[target]]\ncommand = '''\na\nb\n[[target]]\nname = \"b\"\n", "1-4, 2-4, 5-6"),
        ("[[target]]\nx = [\n1,\n[[target]]\nname = 1\n", "1-3, 2-3, 4-5"),
        ("[[target\nname = 1\n", "1-2"),
    ] {
        assert_eq!(folds(text), expected, "{text:?}");
    }
}
