//! The text in order.

use expect_test::{Expect, expect};

use crate::fixtures::files;
use crate::support::analysis;

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&analysis(text).format().unwrap_or_else(|| "(as it is)".to_owned()));
}

#[test]
fn blanks_are_put_in_order_and_comments_stay() {
    check(
        "# top\n[[target]]\nname=\"a\"   # why\nkernel   = \"k\"\ncommand = '''\n  as  it is\n'''\n\n\n\n\n[target.vm]\nextra_args=[\"a\",\"b\"]\nmemory='1G'",
        expect![[r##"
            # top
            [[target]]
            name = "a" # why
            kernel = "k"
            command = '''
              as  it is
            '''


            [target.vm]
            extra_args = ["a", "b"]
            memory = '1G'
        "##]],
    );
}

#[test]
fn inline_tables_of_several_lines_stay_and_the_rest_is_put_in_order() {
    check(
        "[[target]]\nname='a'\nvm = {\n  num_cpus=2, # why\n  memory = '1G',\n}\nkernel='k'\nx=[{\n a=1},{b=2}]\ncommand='c'\nenv={A='1',\nB={C=1,\nD=2}}\n",
        expect![[r#"
            [[target]]
            name = 'a'
            vm = {
              num_cpus=2, # why
              memory = '1G',
            }
            kernel = 'k'
            x = [{
             a=1}, { b = 2 }]
            command = 'c'
            env = {A='1',
            B={C=1,
            D=2}}
        "#]],
    );
}

#[test]
fn a_text_in_order_stays_as_it_is() {
    check("[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\n", expect!["(as it is)"]);
}

#[test]
fn a_broken_text_stays_as_it_is() {
    check("[[target]]\nname=\"a\nkernel  = 1\n", expect!["(as it is)"]);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_stay() {
    let formatted = analysis("\u{feff}[[target]]\r\nname=\"a\"\r\n").format();
    assert_eq!(formatted.as_deref(), Some("\u{feff}[[target]]\r\nname = \"a\"\r\n"));
}

#[test]
fn formatting_twice_changes_nothing_more() {
    for (path, text) in files("valid") {
        if let Some(once) = analysis(&text).format() {
            assert_eq!(analysis(&once).format(), None, "{}", path.display());
        }
    }
}
