//! Colours.

use std::fmt::Write;

use expect_test::{Expect, expect};

use crate::support::{analysis, slice};

fn check(text: &str, expected: Expect) {
    let mut tokens = String::new();
    for token in analysis(text).semantic_tokens() {
        writeln!(tokens, "{:?} {}", token.kind, slice(text, &token.range)).unwrap();
    }
    expected.assert_eq(&tokens);
}

#[test]
fn everything_with_a_meaning_has_a_colour() {
    check(
        "# a\n[[target]] # b\nname = \"c\" # d\nvm.num_cpus = 4\nuefi = true\nwhen = 1979-05-27\nx = 1.5\n\n[target.vm.mounts.\"/x\"]\n",
        expect![[r#"
            Comment # a
            Table target
            Comment # b
            Key name
            String "c"
            Comment # d
            Key vm
            Key num_cpus
            Number 4
            Key uefi
            Bool true
            Key when
            Number 1979-05-27
            Key x
            Number 1.5
            Table target
            Table vm
            Table mounts
            Table "/x"
        "#]],
    );
}

#[test]
fn a_text_of_several_lines_is_a_token_on_each() {
    check(
        "[[target]]\ncommand = '''\nset -e\n\n  make\n'''\n",
        expect![[r#"
        Table target
        Key command
        String '''
        String set -e
        String   make
        String '''
    "#]],
    );
    check(
        "[[target]]\r\ncommand = \"\"\"\r\nmake\r\n\"\"\"\r\n",
        expect![[r#"
        Table target
        Key command
        String """
        String make
        String """
    "#]],
    );
}

#[test]
fn lists_and_tables_are_coloured_within() {
    check(
        "[[target]]\nvm = { num_cpus = 1, mounts = { \"/x\" = { writable = true } } }\nx = [\n  \"a\", # b\n  [1, false],\n]\n",
        expect![[r#"
            Table target
            Key vm
            Key num_cpus
            Number 1
            Key mounts
            Key "/x"
            Key writable
            Bool true
            Key x
            String "a"
            Comment # b
            Number 1
            Bool false
        "#]],
    );
}

#[test]
fn what_is_broken_is_coloured_as_far_as_it_goes() {
    for (text, expected) in [
        (
            "[[target]]\nname = \"a # b\nkernel = 'c'\n",
            expect![[r#"
            Table target
            Key name
            String "a # b
            Key kernel
            String 'c'
        "#]],
        ),
        (
            "[[target]]\ncommand = '''\na\n[[target]]\nname = \"b\"\n",
            expect![[r#"
            Table target
            Key command
            String '''
            String a
            Table target
            Key name
            String "b"
        "#]],
        ),
        (
            "[[target]]\nname = \nker\n= 1\nvm.\n",
            expect![[r#"
            Table target
            Key name
            Key ker
            Key vm
        "#]],
        ),
        (
            "[[target]]\n[target.\nname = \"a\"\n",
            expect![[r#"
            Table target
            Table target
            Key name
            String "a"
        "#]],
        ),
        (
            "[[target]]\narch = x86_64\n",
            expect![[r#"
            Table target
            Key arch
        "#]],
        ),
        (
            "\u{feff}[[target]]\n",
            expect![[r#"
            Table target
        "#]],
        ),
        (
            "[[target]]\n\"open = 1\n",
            expect![[r#"
            Table target
            Key "open = 1
        "#]],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn an_empty_file_has_no_colours() {
    for text in ["", "\n", "\r\n", " "] {
        assert_eq!(analysis(text).semantic_tokens(), [], "{text:?}");
    }
}
