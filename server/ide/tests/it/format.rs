//! The text in order.

use expect_test::{Expect, expect};
use proptest::prelude::*;

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

proptest! {
    #[test]
    fn formatting_never_changes_what_a_file_says(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("[[target]]"), Just("[ target.vm ]"), Just("name=\"ä\\n\""), Just("  kernel = 'k' # c"), Just("# c"),
                Just(""), Just("vm.mounts.\"/x\" = {host_path='/y'}"), Just("env = {A='1', # c\nB='2'\n}"), Just("vm.extra_args = [\n'a', # x\n 'b' ]"),
                Just("command = '''\n x  \n\n'''"), Just("command=\"\"\"a \\\n  b\"\"\""), Just("x = 1979-05-27"), Just("y = 0x1F"),
            ],
            0..12,
        )
    ) {
        let text = lines.join("\n");
        let before = vmtest_config::load(&text, "/p".as_ref());
        if let Some(after) = analysis(&text).format() {
            let after = vmtest_config::load(&after, "/p".as_ref());
            let targets = |loaded: Result<vmtest_config::Loaded, _>| {
                loaded.ok().map(|loaded| loaded.targets.into_iter().map(|resolved| resolved.target).collect::<Vec<_>>())
            };
            prop_assert_eq!(targets(before), targets(after));
        }
    }
}
