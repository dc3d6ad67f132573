//! Completion of headers and of whole targets.

use expect_test::{Expect, expect};
use vmtest_ide::Surroundings;

use crate::completion_keys::{labels, offered, taken};
use crate::support::{analysis, machine};

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&labels(text).join("\n"));
}

#[test]
fn an_empty_file_is_offered_a_target() {
    for text in ["", "\n$0", "$0\n\n", "# a comment\n$0", "ta$0", "t$0\n", "\u{feff}\n$0"] {
        assert_eq!(labels(text), ["[[target]]", "[[target]] image"], "{text:?}");
    }
}

#[test]
fn brackets_at_the_top_become_a_target() {
    for text in ["[$0", "[[$0", "[[tar$0", "[$0]", "[[$0]]", "[[target$0", "[[target$0]]", "# x\n[$0\n"] {
        assert_eq!(labels(text), ["[[target]]", "[[target]] image"], "{text:?}");
    }
}

#[test]
fn before_the_first_target_there_is_only_a_target() {
    for text in ["[foo]\n$0", "[foo]\n[$0", "x = 1\n$0", "[target.vm]\n$0\n"] {
        assert!(!labels(text).iter().any(|label| label == "[target.vm]"), "{text:?}");
        assert!(labels(text).iter().any(|label| label == "[[target]]"), "{text:?}");
    }
}

#[test]
fn a_target_is_written_whole() {
    let whole = "[[target]]\nname = \"${1:name}\"\nkernel = \"${2:/boot/vmlinuz-6.1.0-44-amd64}\"\n\
                 command = \"${3:uname -r}\"\n$0";
    for text in ["", "ta$0", "[$0", "[[$0", "[[$0]]", "[$0]", "[[tar$0", "[[target$0]]"] {
        assert_eq!(taken(text, "[[target]]"), whole, "{text:?}");
    }
}

#[test]
fn an_image_target_is_written_whole() {
    expect![[r#"
        [[target]]
        name = "${1:name}"
        image = "${2:./image.qcow2}"
        command = "${3:uname -r}"
        $0"#]]
    .assert_eq(&taken("[[$0", "[[target]] image"));
}

#[test]
fn a_target_after_another_is_written_whole() {
    let before = "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\n\n";
    for typed in ["$0", "ta$0", "[[$0"] {
        let after = taken(&format!("{before}{typed}"), "[[target]]");
        assert!(after.starts_with(&format!("{before}[[target]]\nname")), "{after}");
    }
}

#[test]
fn a_header_that_has_keys_is_not_given_them_twice() {
    assert_eq!(taken("[[tar$0\nname = \"a\"\n", "[[target]]"), "[[target]]\nname = \"a\"\n");
    assert_eq!(taken("[[target$0]]\nname = \"a\"\n", "[[target]]"), "[[target]]\nname = \"a\"\n");
}

#[test]
fn a_machine_without_kernels_gets_a_path_to_change() {
    let items = analysis("").completions(0, &Surroundings::default());
    assert!(items[0].edit.text.contains("kernel = \"${2:./bzImage}\""), "{}", items[0].edit.text);
}

#[test]
fn a_kernel_with_a_strange_name_is_text_in_the_snippet() {
    let mut machine = machine();
    machine.kernels[0].path = "/boot/${1:x}".into();
    let items = analysis("").completions(0, &machine);
    assert!(items[0].edit.text.contains(r#""${2:/boot/\${1:x\}}""#), "{}", items[0].edit.text);
}

#[test]
fn a_target_is_offered_the_tables_that_it_does_not_have() {
    check(
        "[[target]]\nname = \"a\"\n[$0",
        expect![[r#"
            [target.env]
            [target.vm.mounts."/mnt/data"]
            [target.vm]
            [[target]]
            [[target]] image"#]],
    );
}

#[test]
fn tables_that_are_there_are_left_out() {
    for (text, header) in [
        ("[[target]]\n[target.vm]\n[$0", "[target.vm]"),
        ("[[target]]\n[$0\n\n[target.vm]\n", "[target.vm]"),
        ("[[target]]\nvm.memory = \"1G\"\n[$0", "[target.vm]"),
        ("[[target]]\nvm = {}\n[$0", "[target.vm]"),
        ("[[target]]\nvm = {}\n[$0", "[target.vm.mounts.\"/mnt/data\"]"),
        ("[[target]]\nvm.mounts = {}\n[$0", "[target.vm.mounts.\"/mnt/data\"]"),
        ("[[target]]\nenv = {}\n[$0", "[target.env]"),
        ("[[target]]\nenv.A = \"1\"\n[$0", "[target.env]"),
        ("[[target]]\n[target.env]\n[target.e$0]", "[target.env]"),
    ] {
        assert!(!labels(text).iter().any(|label| label == header), "{header} in\n{text}");
    }
}

#[test]
fn the_header_under_the_cursor_is_offered() {
    for (text, header) in [
        ("[[target]]\n[target.vm$0]", "[target.vm]"),
        ("[[target]]\n[target.e$0nv]\n", "[target.env]"),
        ("[[target]]\n[target.vm.$0]\n", "[target.vm.mounts.\"/mnt/data\"]"),
        ("[[target]]\n[target.$0\n", "[target.vm]"),
        ("[[target]]\n[[target]]\n[target.$0", "[target.vm]"),
        ("[[target]]\n[target.vm]\n[[target]]\n[$0", "[target.vm]"),
    ] {
        assert!(labels(text).iter().any(|label| label == header), "{header} in\n{text}");
    }
}

#[test]
fn a_header_is_written_whole_whatever_was_typed_of_it() {
    for typed in ["[$0", "[$0]", "[tar$0", "[target.$0", "[target.v$0]", "[target.vm$0]", "vm$0", "$0"] {
        let text = format!("[[target]]\nname = \"a\"\n{typed}");
        assert_eq!(taken(&text, "[target.vm]"), "[[target]]\nname = \"a\"\n[target.vm]\n$0", "{typed}");
    }
    assert_eq!(
        taken("[[target]]\n[target.vm.m$0]\n", "[target.vm.mounts.\"/mnt/data\"]"),
        "[[target]]\n[target.vm.mounts.\"${1:/mnt/data}\"]\nhost_path = \"${2:./data}\"\n"
    );
}

#[test]
fn a_header_with_keys_below_it_gets_no_more_lines() {
    assert_eq!(
        taken("[[target]]\n[tar$0\nmemory = \"1G\"\n", "[target.vm]"),
        "[[target]]\n[target.vm]\nmemory = \"1G\"\n"
    );
    assert_eq!(
        taken("[[target]]\n[target.vm.m$0]\nhost_path = \"x\"\n", "[target.vm.mounts.\"/mnt/data\"]"),
        "[[target]]\n[target.vm.mounts.\"${1:/mnt/data}\"]\nhost_path = \"x\"\n"
    );
}

#[test]
fn a_comment_behind_a_header_stays() {
    assert_eq!(taken("[[target]]\n[tar$0 # x\n", "[target.vm]"), "[[target]]\n[target.vm] # x\n");
}

#[test]
fn a_second_mount_gets_a_place_of_its_own() {
    assert_eq!(
        taken("[[target]]\n[target.vm.mounts.\"/mnt/data\"]\n[$0", "[target.vm.mounts.\"/mnt/data2\"]"),
        "[[target]]\n[target.vm.mounts.\"/mnt/data\"]\n[target.vm.mounts.\"${1:/mnt/data2}\"]\nhost_path = \"${2:./data}\""
    );
}

#[test]
fn headers_are_held_against_the_brackets_that_were_typed() {
    for item in offered("[[target]]\n[$0") {
        assert!(item.filter.starts_with('['), "{item:?}");
    }
    for item in offered("[[target]]\n[[$0") {
        assert!(item.filter.starts_with("[["), "{item:?}");
    }
}

#[test]
fn double_brackets_are_for_targets_only() {
    assert_eq!(labels("[[target]]\nname = \"a\"\n[[$0"), ["[[target]]", "[[target]] image"]);
}

#[test]
fn no_header_is_offered_in_a_name_or_an_unknown_table() {
    for text in [
        "[[target]]\n[target.vm.mounts.\"/x$0\"]\n",
        "[[target]]\n[target.env.A$0]\n",
        "[[target]]\n[foo.$0]\n",
        "[[target]]\n[target.foo.$0]\n",
        "[[target]]\n[target.vm]$0\n",
        "[[target]]\n[target.vm] $0\n",
    ] {
        assert_eq!(labels(text), Vec::<String>::new(), "{text}");
    }
}
