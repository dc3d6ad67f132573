//! Completion of paths, and of this machine's kernels.

use std::path::PathBuf;

use vmtest_ide::{Completion, CompletionKind, Surroundings};

use crate::support::{apply, expand, fixture, machine, with_entries};

fn offered(text: &str, surroundings: &Surroundings) -> Vec<Completion> {
    let fixture = fixture(&format!("[[target]]\n{text}"));
    let mut items = fixture.analysis.completions(fixture.cursor, surroundings);
    items.sort_by(|one, other| one.sort.cmp(&other.sort));
    items
}

fn labels(text: &str, entries: &[&str]) -> Vec<String> {
    let surroundings = Surroundings { kernels: Vec::new(), ..with_entries(entries) };
    offered(text, &surroundings).into_iter().map(|item| item.label).collect()
}

/// The line after taking `label`; the cursor is a `|` where a snippet says where it goes.
#[track_caller]
fn taken(text: &str, entries: &[&str], label: &str) -> String {
    let items = offered(text, &with_entries(entries));
    let Some(item) = items.into_iter().find(|item| item.label == label) else {
        panic!("no {label} in {text}")
    };
    let mut edit = item.edit;
    if item.snippet {
        edit.text = expand(&edit.text.replace("$0", "|$0"));
    }
    let after = apply(fixture(&format!("[[target]]\n{text}")).analysis.text(), &[edit]);
    after.strip_prefix("[[target]]\n").unwrap().to_owned()
}

fn directory(text: &str) -> Option<PathBuf> {
    let fixture = fixture(&format!("[[target]]\n{text}"));
    fixture.analysis.wanted_directory(fixture.cursor)
}

#[test]
fn the_directory_is_the_one_that_was_typed() {
    for (text, wanted) in [
        ("kernel = \"$0\"", "/project/"),
        ("kernel = $0", "/project/"),
        ("kernel = \"x$0\"", "/project/"),
        ("kernel = \"./$0\"", "/project/./"),
        ("kernel = \"./linux/ar$0\"", "/project/./linux/"),
        ("kernel = \"../$0\"", "/project/../"),
        ("kernel = \"/$0\"", "/"),
        ("kernel = \"/boot/vm$0\"", "/boot/"),
        ("kernel = /boot/vm$0", "/boot/"),
        ("kernel = \"/boot/vm$0", "/boot/"),
        ("kernel = '/boot/vm$0'", "/boot/"),
        ("kernel = '/bo\\ot/vm$0'", "/bo\\ot/"),
        ("kernel = \"/boot/$0/x/y\"", "/boot/"),
        ("kernel = \"a b/$0\"", "/project/a b/"),
        ("image = \"./$0\"", "/project/./"),
        ("rootfs = \"/$0\"", "/"),
        ("vm.bios = \"/usr/$0\"", "/usr/"),
        ("vm.mounts.\"/x\".host_path = \"./$0\"", "/project/./"),
        ("vm = { mounts = { \"/x\" = { host_path = \"./d$0\" } } }", "/project/./"),
        ("vm = { mounts = { \"/x\" = { host_path = \"./d$0 } } }", "/project/./"),
        ("[target.vm.mounts.\"/x\"]\nhost_path = \"data/$0\"", "/project/data/"),
        ("qemu_command = \"./$0\"", "/project/./"),
    ] {
        assert_eq!(directory(text), Some(PathBuf::from(wanted)), "{text}");
    }
}

#[test]
fn no_directory_is_asked_for_where_no_path_is_written() {
    for text in [
        "$0",
        "name = \"./$0\"",
        "command = \"./$0\"",
        "kernel_url = \"file:///$0\"",
        "qemu_command = \"qemu$0\"",
        "qemu_command = \"$0\"",
        "kernel = \"./x\"$0",
        "kernel = $0\"./x\"",
        "kernel = \"\"\"\n./$0\"\"\"",
        "kernel = \"a\\\\b/$0\"",
        "kernel = [\"./$0\"]",
        "kernel = \"./x\" # ./$0",
        "# kernel = \"./$0\"",
        "foo = \"./$0\"",
        "[target.vm.mounts.\"/$0\"]",
        "vm.extra_args = [\"/$0\"]",
    ] {
        assert_eq!(directory(text), None, "{text}");
    }
}

#[test]
fn files_are_offered_where_a_file_is_wanted_and_directories_everywhere() {
    let entries = ["bzImage", "linux/", "data/"];
    for (text, wanted) in [
        ("kernel = \"$0\"", &["bzImage", "data/", "linux/"][..]),
        ("image = \"./$0\"", &["bzImage", "data/", "linux/"]),
        ("vm.bios = \"$0\"", &["bzImage", "data/", "linux/"]),
        ("qemu_command = \"./$0\"", &["bzImage", "data/", "linux/"]),
        ("rootfs = \"$0\"", &["data/", "linux/"]),
        ("vm.mounts.\"/x\".host_path = \"$0\"", &["data/", "linux/"]),
        ("name = \"$0\"", &[]),
    ] {
        assert_eq!(labels(text, &entries), wanted, "{text}");
    }
}

#[test]
fn hidden_files_are_offered_after_a_dot() {
    let entries = [".config", ".git/", "x"];
    assert_eq!(labels("kernel = \"$0\"", &entries), ["x"]);
    assert_eq!(labels("kernel = \"./$0\"", &entries), ["x"]);
    assert_eq!(labels("kernel = \"./.$0\"", &entries), ["../", ".config", ".git/", "x"]);
    assert_eq!(labels("kernel = \"/.$0\"", &entries), [".config", ".git/", "x"]);
}

#[test]
fn the_way_up_is_offered_where_it_leads_somewhere() {
    for (text, offered) in [
        ("kernel = \".$0\"", true),
        ("kernel = \"..$0\"", true),
        ("kernel = \"../$0\"", true),
        ("kernel = \"../../$0\"", true),
        ("kernel = \"$0\"", false),
        ("kernel = \"x/$0\"", false),
        ("kernel = \"/$0\"", false),
        ("kernel = \"/.$0\"", false),
    ] {
        assert_eq!(labels(text, &[]).contains(&"../".to_owned()), offered, "{text}");
    }
}

#[test]
fn a_path_is_replaced_up_to_its_next_slash() {
    for (text, label, after) in [
        ("kernel = \"$0\"", "bzImage", "kernel = \"bzImage\""),
        ("kernel = \"./b$0\"", "bzImage", "kernel = \"./bzImage\""),
        ("kernel = \"./b$0x/y\"", "bzImage", "kernel = \"./bzImage\""),
        ("kernel = \"/boot/$0\"", "bzImage", "kernel = \"/boot/bzImage\""),
        ("kernel = \"./l$0\"", "linux/", "kernel = \"./linux/\""),
        ("kernel = \"./l$0/bzImage\"", "linux/", "kernel = \"./linux/bzImage\""),
        ("kernel = \"./l$0inox/bzImage\"", "linux/", "kernel = \"./linux/bzImage\""),
        ("kernel = 'l$0'", "linux/", "kernel = 'linux/'"),
        ("kernel = \"..$0\"", "../", "kernel = \"../\""),
        ("kernel = \"../.$0\"", "../", "kernel = \"../../\""),
        (
            "vm = { mounts = { \"/x\" = { host_path = \"l$0 } } }",
            "linux/",
            "vm = { mounts = { \"/x\" = { host_path = \"linux/ } } }",
        ),
    ] {
        assert_eq!(taken(text, &["bzImage", "linux/"], label), after, "{text}");
    }
}

#[test]
fn a_path_without_quotes_gets_them_and_the_cursor_stays_in_a_directory() {
    for (text, label, after) in [
        ("kernel = $0", "bzImage", "kernel = \"bzImage\""),
        ("kernel = ./b$0", "bzImage", "kernel = \"./bzImage\""),
        ("kernel = ./l$0", "linux/", "kernel = \"./linux/|\""),
        ("kernel = $0", "linux/", "kernel = \"linux/|\""),
        ("kernel = \"./b$0", "bzImage", "kernel = \"./bzImage\""),
        ("kernel = './b$0", "bzImage", "kernel = './bzImage'"),
        ("kernel = \"./l$0", "linux/", "kernel = \"./linux/"),
    ] {
        assert_eq!(taken(text, &["bzImage", "linux/"], label), after, "{text}");
    }
}

#[test]
fn names_are_written_as_toml_needs_them() {
    for (text, name, after) in [
        ("kernel = \"$0\"", "a\"b", "kernel = \"a\\\"b\""),
        ("kernel = \"$0\"", "a\\b", "kernel = \"a\\\\b\""),
        ("kernel = '$0'", "a\\b", "kernel = 'a\\b'"),
        ("kernel = '$0'", "a\"b", "kernel = 'a\"b'"),
        ("kernel = \"$0\"", "a'b", "kernel = \"a'b\""),
        ("kernel = \"$0\"", "${1:x}", "kernel = \"${1:x}\""),
        ("kernel = $0", "ä ö", "kernel = \"ä ö\""),
        ("kernel = $0", "${1:x}\\/", "kernel = \"${1:x}\\\\/|\""),
    ] {
        assert_eq!(taken(text, &[name], name), after, "{text}");
    }
}

#[test]
fn names_that_cannot_be_written_are_not_offered() {
    assert_eq!(labels("kernel = \"$0\"", &["a\nb", "\u{fffd}", "\u{7f}", "", "."]), Vec::<String>::new());
    assert_eq!(labels("kernel = '$0'", &["it's"]), Vec::<String>::new());
}

#[test]
fn kernels_of_this_machine_come_first_with_their_release() {
    for text in ["kernel = \"$0\"", "kernel = $0", "kernel = \"$0", "kernel = '/boot/$0'"] {
        let items = offered(text, &with_entries(&["bzImage"]));
        let first: Vec<_> =
            items.iter().take(2).map(|item| (item.label.as_str(), item.detail.as_deref())).collect();
        assert_eq!(
            first,
            [
                ("/boot/vmlinuz-6.1.0-44-amd64", Some("6.1.0-44-amd64")),
                ("/boot/vmlinuz-5.10.0", Some("5.10.0")),
            ],
            "{text}"
        );
        assert!(items.iter().all(|item| !item.label.contains("broken")), "{text}");
    }
}

#[test]
fn a_kernel_is_offered_once() {
    let items = offered("kernel = \"/boot/$0\"", &with_entries(&["vmlinuz-5.10.0", "config"]));
    let named = items.iter().filter(|item| item.label.contains("vmlinuz-5.10.0"));
    assert_eq!(named.count(), 1);
    assert!(items.iter().any(|item| item.label == "config"));
}

#[test]
fn kernels_of_this_machine_are_for_the_key_kernel_only() {
    for text in
        ["image = \"$0\"", "rootfs = \"$0\"", "vm.bios = \"$0\"", "name = \"$0\"", "kernel_args = \"$0\""]
    {
        assert!(offered(text, &machine()).iter().all(|item| !item.label.contains("vmlinuz")), "{text}");
    }
}

#[test]
fn a_path_is_held_against_all_of_what_was_typed() {
    let items = offered("kernel = \"./li$0\"", &with_entries(&["linux/", "bzImage"]));
    let filters: Vec<_> = items.iter().map(|item| item.filter.as_str()).collect();
    assert!(filters.contains(&"./linux/") && filters.contains(&"./bzImage"), "{filters:?}");
}

#[test]
fn files_and_directories_are_told_apart() {
    let items = offered("kernel = \"$0\"", &with_entries(&["linux/", "bzImage"]));
    let kind = |label: &str| items.iter().find(|item| item.label == label).unwrap().kind;
    assert_eq!(kind("linux/"), CompletionKind::Directory);
    assert_eq!(kind("bzImage"), CompletionKind::File);
}
