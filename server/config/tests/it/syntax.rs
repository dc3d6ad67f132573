//! What is no TOML, or no list of targets.

use expect_test::expect;

use crate::check;

#[test]
fn an_empty_file_shows_a_minimal_example() {
    check(
        "",
        &expect![[r#"
        error[no_targets] 1:1 "" there is no target / write at least one:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
    "#]],
    );
}

#[test]
fn a_file_of_blanks_and_comments_is_empty() {
    check(
        "\n# nothing\n\n",
        &expect![[r#"
        error[no_targets] 1:1 "" there is no target / write at least one:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
    "#]],
    );
}

#[test]
fn a_byte_order_mark_alone_is_empty() {
    check(
        "\u{feff}",
        &expect![[r#"
        error[no_targets] 1:1 "" there is no target / write at least one:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
    "#]],
    );
}

#[test]
fn an_empty_list_of_targets_is_none() {
    check(
        "target = []\n",
        &expect![[r#"
        error[no_targets] 1:1 "target" there is no target / write at least one:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
    "#]],
    );
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    check(
        "\u{feff}[[target]]\nname = 1\n",
        &expect![[r#"
        error[missing_key] 1:1 "[[target]]" the target has no `command` / add command = "cargo test"
        error[missing_system] 1:1 "[[target]]" the target has nothing to boot / add one of `kernel`, `kernel_url`, `kernel_package`, `image` or `image_url`
        error[wrong_type] 2:8 "1" `name` must be a string, not an integer / write "1"
            fix: Write `"1"`: "1" -> "\"1\""
    "#]],
    );
}

#[test]
fn a_single_table_target_is_led_to_double_brackets() {
    check(
        "[target]
name = 't'
",
        &expect![[r#"
            error[target_not_array] 1:1 "[target]" `target` is a single table, but it must be a list of them / write `[[target]]` with double brackets, once for each target
                fix: Use double brackets: "[target]" -> "[[target]]"
        "#]],
    );
}

#[test]
fn a_single_inline_target_is_led_to_double_brackets() {
    check(
        "target = { name = 't' }\n",
        &expect![[r#"
        error[target_not_array] 1:10 "{ name = 't' }" `target` is a single table, but it must be a list of them / write `[[target]]` with double brackets, once for each target
    "#]],
    );
}

#[test]
fn a_dotted_target_is_led_to_double_brackets() {
    check(
        "target.name = 't'\n",
        &expect![[r#"
        error[target_not_array] 1:1 "target" `target` is a single table, but it must be a list of them / write `[[target]]` with double brackets, once for each target
    "#]],
    );
}

#[test]
fn a_target_that_is_a_string_is_refused() {
    check(
        "target = 'x'\n",
        &expect![[r#"
        error[wrong_type] 1:10 "'x'" `target` must be an array of tables, not a string / write:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
    "#]],
    );
}

#[test]
fn a_list_of_targets_has_only_tables() {
    check(
        "target = [1, 'x', {name = 't', kernel = 'k', command = 'c'}]\n",
        &expect![[r#"
        error[wrong_type] 1:11 "1" a target must be a table, not an integer / write a [[target]] section
        error[wrong_type] 1:14 "'x'" a target must be a table, not a string / write a [[target]] section
    "#]],
    );
}

#[test]
fn inline_targets_are_targets() {
    check("target = [{name = 't', kernel = 'k', command = 'c'}]\n", &expect![[""]]);
}

#[test]
fn a_table_before_its_target_is_explained() {
    check(
        "[target.vm]
num_cpus = 1
[[target]]
name = 't'
",
        &expect![[r#"
            error[duplicate_key] 3:3 "target" `target` is given a second time / write `[[target]]` with double brackets, before the `[target.…]` tables that belong to it
                1:2 "target" first given here
        "#]],
    );
}

#[test]
fn a_misspelt_target_is_no_target() {
    check(
        "[[targets]]
name = 't'
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            error[no_targets] 1:1 "" there is no target / write at least one:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
            warning[unknown_key] 1:3 "targets" unknown key `targets` outside every target; it has no effect / did you mean `target`?
                fix: Change it to `target`: "targets" -> "target"
        "#]],
    );
}

#[test]
fn a_capital_target_is_no_target() {
    check(
        "[[Target]]
name = 't'
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            error[no_targets] 1:1 "" there is no target / write at least one:⏎[[target]]⏎name = "my kernel"⏎kernel = "./bzImage"⏎command = "uname -r"⏎
            warning[unknown_key] 1:3 "Target" unknown key `Target` outside every target; it has no effect / did you mean `target`?
                fix: Change it to `target`: "Target" -> "target"
        "#]],
    );
}

#[test]
fn keys_above_every_target_are_led_below_one() {
    check(
        "name = 't'
[[target]]
name = 't'
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            warning[misplaced_key] 1:1 "name" unknown key `name` outside every target; it has no effect / `name` belongs into [[target]]
        "#]],
    );
}

#[test]
fn a_top_level_vm_is_led_to_its_table() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
command = 'c'
[vm]
memory = '1G'
",
        &expect![[r#"
            warning[misplaced_key] 5:2 "vm" unknown key `vm` outside every target; it has no effect / `vm` belongs into [[target]]
        "#]],
    );
}

#[test]
fn an_unquoted_string_is_put_in_quotes() {
    check(
        "[[target]]
name = my kernel
kernel = ./bzImage
",
        &expect![[r#"
            error[syntax] 2:8 "my kernel" a string must be in quotes / write "my kernel"
                fix: Put it in quotes: "my kernel" -> "\"my kernel\""
            error[syntax] 3:10 "./bzImage" a string must be in quotes / write "./bzImage"
                fix: Put it in quotes: "./bzImage" -> "\"./bzImage\""
        "#]],
    );
}

#[test]
fn every_syntax_error_is_said() {
    check(
        r#"[[target]]
name = t
uefi = True
kernel = "k
vm.extra_args = ["a"
"#,
        &expect![[r#"
            error[syntax] 2:8 "t" a string must be in quotes / write "t"
                fix: Put it in quotes: "t" -> "\"t\""
            error[syntax] 3:8 "True" a boolean is written in small letters / write true
                fix: Write `true`: "True" -> "true"
            error[syntax] 4:12 "" a string without its closing quote / close it on the same line; text of several lines goes between """ and """
            error[syntax] 5:21 "" a list without its closing `]` / write `]` after the last value
        "#]],
    );
}

#[test]
fn a_boolean_in_capitals_is_made_small() {
    check(
        "[[target]]
uefi = TRUE
",
        &expect![[r#"
            error[syntax] 2:8 "TRUE" a boolean is written in small letters / write true
                fix: Write `true`: "TRUE" -> "true"
        "#]],
    );
}

#[test]
fn a_truncated_boolean_is_refused() {
    check(
        "[[target]]
uefi = tru
",
        &expect![[r#"
            error[syntax] 2:8 "tru" a string must be in quotes / write true, or "tru" for a string
        "#]],
    );
}

#[test]
fn a_duplicate_key_shows_the_first() {
    check(
        "[[target]]
name = 'a'
kernel = 'k'
name = 'b'
",
        &expect![[r#"
            error[duplicate_key] 4:1 "name" `name` is given a second time / remove one of them
                2:1 "name" first given here
        "#]],
    );
}

#[test]
fn a_duplicate_key_of_the_second_target_shows_that_targets_first() {
    check(
        "[[target]]
name = 'a'
[[target]]
name = 'b'
name = 'c'
",
        &expect![[r#"
            error[duplicate_key] 5:1 "name" `name` is given a second time / remove one of them
                4:1 "name" first given here
        "#]],
    );
}

#[test]
fn a_duplicate_table_shows_the_first() {
    check(
        "[[target]]
[target.vm]
[target.vm]
",
        &expect![[r#"
            error[duplicate_key] 3:9 "vm" `vm` is given a second time / remove one of them
                2:1 "[target.vm]" first given here
        "#]],
    );
}

#[test]
fn an_open_string_ends_at_its_line() {
    check(
        r#"[[target]]
name = "t
kernel = "k"
"#,
        &expect![[r#"
            error[syntax] 2:10 "" a string without its closing quote / close it on the same line; text of several lines goes between """ and """
        "#]],
    );
}

#[test]
fn an_open_literal_string_ends_at_its_line() {
    check(
        "[[target]]
name = 't
kernel = 'k'
",
        &expect![[r#"
            error[syntax] 2:10 "" a string without its closing quote / close it on the same line; text of several lines goes between """ and """
        "#]],
    );
}

#[test]
fn an_open_multi_line_string_is_an_error() {
    check(
        "[[target]]
command = '''
make
",
        &expect![[r#"
            error[syntax] 4:1 "" text of several lines without its closing quotes / close it with the same three quotes that it starts with
        "#]],
    );
}

#[test]
fn an_open_list_is_an_error() {
    check(
        "[[target]]
vm.extra_args = ['a'
",
        &expect![[r#"
            error[syntax] 2:21 "" a list without its closing `]` / write `]` after the last value
        "#]],
    );
}

#[test]
fn an_open_inline_table_is_an_error() {
    check(
        "[[target]]
env = { A = '1'
",
        &expect![[r#"
            error[syntax] 2:16 "" an inline table without its closing `}` / write `}` after the last value
        "#]],
    );
}

#[test]
fn an_open_header_is_an_error() {
    check(
        "[[target]
name = 't'
",
        &expect![[r#"
            error[syntax] 1:10 "" a table header without its closing brackets / write `[[target]]` or `[target.vm]`
        "#]],
    );
}

#[test]
fn a_bare_word_is_an_error() {
    check(
        "[[target]]
kernel
name = 't'
",
        &expect![[r#"
            error[syntax] 2:7 "" a key without a value / write `key = value`
        "#]],
    );
}

#[test]
fn a_key_without_a_value_is_an_error() {
    check(
        "[[target]]
kernel =
name = 't'
",
        &expect![[r#"
            error[syntax] 2:9 "" a key without a value / write `key = value`
        "#]],
    );
}

#[test]
fn an_unknown_escape_is_an_error() {
    check(
        r#"[[target]]
command = "a\qb"
"#,
        &expect![[r#"
            error[syntax] 2:14 "" a backslash that escapes nothing / write `\\` for a backslash, or put the text in single quotes
        "#]],
    );
}

#[test]
fn a_backslash_path_is_led_to_single_quotes() {
    check(
        r#"[[target]]
kernel = "C:\kernel"
"#,
        &expect![[r#"
            error[syntax] 2:14 "" a backslash that escapes nothing / write `\\` for a backslash, or put the text in single quotes
        "#]],
    );
}

#[test]
fn a_control_character_is_an_error() {
    check(
        "[[target]]\nname = \"a\u{1}b\"\n",
        &expect![[r#"
            error[syntax] 2:10 "\u{1}" a control character in a string / write it as an escape, such as \u001b, in double quotes
        "#]],
    );
}

#[test]
fn a_lone_carriage_return_is_an_error() {
    check(
        "[[target]]\rname = 't'\n",
        &expect![[r#"
        error[syntax] 1:12 "" carriage return must be followed by newline / expected newline
    "#]],
    );
}

#[test]
fn windows_line_ends_are_fine() {
    check("[[target]]\r\nname = 't'\r\nkernel = 'k'\r\ncommand = 'c'\r\n", &expect![[""]]);
}

#[test]
fn two_keys_on_one_line_are_an_error() {
    check(
        "[[target]]
name = 't' kernel = 'k'
",
        &expect![[r#"
            error[syntax] 2:12 "" something more after the value / write each key on a line of its own
        "#]],
    );
}

#[test]
fn a_leading_zero_is_an_error() {
    check(
        "[[target]]
vm.num_cpus = 01
",
        &expect![[r#"
            error[syntax] 2:15 "0" a number that starts with a zero / write it without the zero
        "#]],
    );
}

#[test]
fn a_json_colon_is_an_error() {
    check(
        "[[target]]
name: 't'
",
        &expect![[r#"
            error[syntax] 2:5 ":" a `:` after a key / write `key = value`
        "#]],
    );
}

#[test]
fn a_file_that_is_json_is_an_error() {
    check(
        r#"{"target": []}"#,
        &expect![[r#"
            error[syntax] 1:1 "" a `{` where a key must be / if this is JSON, write it as TOML: `key = value`
        "#]],
    );
}

#[test]
fn columns_count_characters() {
    check(
        "[[target]]
name = 'äöü' kernel
",
        &expect![[r#"
            error[syntax] 2:14 "" something more after the value / write each key on a line of its own
        "#]],
    );
}
