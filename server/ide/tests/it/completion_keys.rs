//! Completion of keys.

use expect_test::{Expect, expect};
use vmtest_ide::Completion;

use crate::support::{apply, expand, fixture, machine};

/// What is offered, in the order of the list.
pub(crate) fn offered(text: &str) -> Vec<Completion> {
    let fixture = fixture(text);
    let mut items = fixture.analysis.completions(fixture.cursor, &machine());
    items.sort_by(|one, other| one.sort.cmp(&other.sort));
    items
}

pub(crate) fn labels(text: &str) -> Vec<String> {
    offered(text).into_iter().map(|item| item.label).collect()
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&labels(text).join("\n"));
}

/// The text after taking the item that is called `label`.
#[track_caller]
pub(crate) fn taken(text: &str, label: &str) -> String {
    let items = offered(text);
    let Some(item) = items.iter().find(|item| item.label == label) else {
        panic!("{label} is not among {:?}", labels(text))
    };
    apply(fixture(text).analysis.text(), std::slice::from_ref(&item.edit))
}

#[track_caller]
fn has(text: &str, label: &str) {
    let labels = labels(text);
    assert!(labels.iter().any(|own| own == label), "{label} is not among {labels:?} in\n{text}");
}

#[track_caller]
fn lacks(text: &str, label: &str) {
    let labels = labels(text);
    assert!(labels.iter().all(|own| own != label), "{label} is among {labels:?} in\n{text}");
}

#[test]
fn an_editor_without_snippets_gets_what_stands_in_their_places() {
    let snippets = ["$0", "[[target]]\n$0", "[[target]]\nname = 'a'\n[target.vm]\n$0", "[[target]]\n[$0"]
        .into_iter()
        .flat_map(offered)
        .filter(|item| item.snippet);
    let mut count = 0;
    for item in snippets {
        let plain = item.clone().without_places();
        assert_eq!((plain.edit.text, plain.snippet), (expand(&item.edit.text), false));
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn a_target_is_offered_what_it_must_have_first() {
    check(
        "[[target]]\n$0",
        expect![[r#"
            name
            kernel
            kernel_url
            kernel_package
            image
            image_url
            command
            kernel_sha256
            kernel_args
            rootfs
            image_sha256
            uefi
            arch
            kvm_cpu_args
            qemu_command
            timeout
            boot_timeout
            env
            inherit_env
            fail_on_kernel_bug
            vm
            vm.bios
            vm.extra_args
            vm.memory
            vm.network
            vm.num_cpus
            [target.env]
            [target.vm.mounts."/mnt/data"]
            [target.vm]
            [[target]]
            [[target]] image"#]],
    );
}

#[test]
fn the_table_of_the_machine_has_its_own_keys() {
    check(
        "[[target]]\nkernel = \"k\"\n[target.vm]\n$0",
        expect![[r#"
            num_cpus
            memory
            mounts
            extra_args
            network
            [target.env]
            [target.vm.mounts."/mnt/data"]
            [[target]]
            [[target]] image"#]],
    );
}

#[test]
fn a_mount_has_its_own_keys() {
    check(
        "[[target]]\n[target.vm.mounts.\"/x\"]\n$0\n",
        expect![[r#"
            host_path
            writable
            [target.env]
            [target.vm.mounts."/mnt/data"]
            [target.vm]
            [[target]]
            [[target]] image"#]],
    );
}

#[test]
fn keys_that_are_given_are_left_out() {
    for (text, key) in [
        ("[[target]]\nname = \"a\"\n$0", "name"),
        ("[[target]]\n$0\nname = \"a\"\n", "name"),
        ("[[target]]\nname\n$0", "name"),
        ("[[target]]\n\"name\" = 1\n$0", "name"),
        ("[[target]]\nvm.memory = \"1G\"\n[target.vm]\n$0", "memory"),
        ("[[target]]\nvm.memory = \"1G\"\nvm.$0", "memory"),
        ("[[target]]\nvm.memory = \"1G\"\n$0", "vm.memory"),
        ("[[target]]\nvm = { memory = \"1G\" }\nvm.$0", "memory"),
        ("[[target]]\nvm = { memory = \"1G\", $0 }", "memory"),
        ("[[target]]\nvm = { $0, memory = \"1G\" }", "memory"),
        ("[[target]]\nvm = { memory = \"1G\" }\n$0", "vm"),
        ("[[target]]\n$0\n[target.vm]\n", "vm"),
        ("[[target]]\n$0\n[target.vm]\nmemory = \"1G\"\n", "vm.memory"),
        ("[[target]]\n$0\n[target.env]\n", "env"),
        ("[[target]]\nenv = {}\n$0", "env"),
        ("[[target]]\n[target.vm]\nmemory = \"1G\"\n$0", "memory"),
        ("[[target]]\n[target.vm]\n$0\nmemory = \"1G\"\n", "memory"),
        ("[[target]]\n[target.vm]\n$0\n[target.vm.mounts]\n", "mounts"),
        ("[[target]]\n[target.vm.mounts.\"/x\"]\nhost_path = \"x\"\n$0", "host_path"),
        ("[[target]]\nvm.mounts.\"/x\".host_path = \"x\"\nvm.mounts.\"/x\".$0", "host_path"),
        ("[[target]]\nvm.mounts.\"/x\" = { host_path = \"x\", $0 }", "host_path"),
        ("[[target]]\nvm.mounts = { \"/x\".host_path = \"x\", \"/x\".$0 }", "host_path"),
        ("[[target]]\nname = \"a\r\n$0", "name"),
    ] {
        lacks(text, key);
    }
}

#[test]
fn what_another_target_or_mount_has_is_no_reason_to_leave_a_key_out() {
    for (text, key) in [
        ("[[target]]\nname = \"a\"\n[[target]]\n$0", "name"),
        ("[[target]]\n$0\n[[target]]\nname = \"a\"\n", "name"),
        ("[[target]]\n[target.vm]\nmemory = \"1G\"\n[[target]]\n[target.vm]\n$0", "memory"),
        (
            "[[target]]\n[target.vm.mounts.\"/x\"]\nhost_path = \"x\"\n[target.vm.mounts.\"/y\"]\n$0",
            "host_path",
        ),
        ("[[target]]\nvm.mounts.\"/x\".host_path = \"x\"\nvm.mounts.\"/y\".$0", "host_path"),
        ("[[target]]\nvm.mounts = { \"/x\" = { host_path = \"x\" }, \"/y\" = { $0 } }", "host_path"),
        ("[[target]]\nvm.mounts = { \"/x\".host_path = \"x\", \"/y\".$0 }", "host_path"),
    ] {
        has(text, key);
    }
}

#[test]
fn the_key_under_the_cursor_is_offered_whatever_it_is() {
    for (text, key) in [
        ("[[target]]\nname$0 = \"a\"\n", "name"),
        ("[[target]]\n$0name = \"a\"\n", "name"),
        ("[[target]]\nkernel$0 = \"a\"\n", "image"),
        ("[[target]]\nkernel$0", "kernel"),
        ("[[target]]\nvm.memory$0 = \"1G\"\n", "memory"),
        ("[[target]]\nvm = { memory$0 = \"1G\" }", "memory"),
    ] {
        has(text, key);
    }
}

#[test]
fn a_second_thing_to_boot_is_not_offered() {
    for system in ["kernel", "kernel_url", "kernel_package", "image", "image_url"] {
        for other in ["kernel", "kernel_url", "kernel_package", "image", "image_url"] {
            lacks(&format!("[[target]]\n{system} = \"x\"\n$0"), other);
        }
    }
}

#[test]
fn what_does_not_fit_the_kind_of_target_is_not_offered() {
    for (system, key) in [
        ("kernel", "uefi"),
        ("kernel", "kernel_sha256"),
        ("kernel", "image_sha256"),
        ("kernel", "vm.bios"),
        ("kernel_package", "uefi"),
        ("kernel_package", "kernel_sha256"),
        ("kernel_url", "image_sha256"),
        ("image", "kernel_args"),
        ("image", "rootfs"),
        ("image", "kernel_sha256"),
        ("image", "image_sha256"),
        ("image_url", "kernel_args"),
    ] {
        lacks(&format!("[[target]]\n{system} = \"x\"\n$0"), key);
    }
    for (system, key) in [
        ("kernel", "kernel_args"),
        ("kernel_url", "kernel_sha256"),
        ("kernel_package", "kernel_args"),
        ("image", "uefi"),
        ("image", "vm.bios"),
        ("image_url", "image_sha256"),
    ] {
        has(&format!("[[target]]\n{system} = \"x\"\n$0"), key);
    }
}

#[test]
fn a_new_key_comes_with_its_value_to_fill_in() {
    for (key, line) in [
        ("name", "name = \"$1\""),
        ("kernel", "kernel = \"$1\""),
        ("uefi", "uefi = ${1|true,false|}"),
        ("fail_on_kernel_bug", "fail_on_kernel_bug = ${1|false,true|}"),
        ("arch", "arch = \"${1|x86_64,aarch64,riscv64,s390x|}\""),
        ("timeout", "timeout = \"$1\""),
        ("env", "env.${1:NAME} = \"$2\""),
        ("inherit_env", "inherit_env = ${1|false,true|}"),
        ("vm", "vm = { $1 }"),
        ("vm.num_cpus", "vm.num_cpus = ${1:4}"),
        ("vm.memory", "vm.memory = \"$1\""),
        ("vm.extra_args", "vm.extra_args = [\"$1\"]"),
    ] {
        assert_eq!(taken("[[target]]\n$0\n", key), format!("[[target]]\n{line}\n"), "{key}");
    }
}

#[test]
fn what_has_been_typed_of_a_key_is_replaced() {
    for (text, label, after) in [
        ("[[target]]\nker$0", "kernel", "[[target]]\nkernel = \"$1\""),
        ("[[target]]\nke$0r", "kernel", "[[target]]\nkernel = \"$1\""),
        ("[[target]]\n  na$0", "name", "[[target]]\n  name = \"$1\""),
        ("[[target]]\nvm.me$0", "memory", "[[target]]\nvm.memory = \"$1\""),
        ("[[target]]\nvm.$0", "memory", "[[target]]\nvm.memory = \"$1\""),
        ("[[target]]\nvm.$0\nname = \"a\"\n", "memory", "[[target]]\nvm.memory = \"$1\"\nname = \"a\"\n"),
        ("[[target]]\nmem$0", "vm.memory", "[[target]]\nvm.memory = \"$1\""),
        ("[[target]]\nvm = { $0", "memory", "[[target]]\nvm = { memory = \"$1\""),
        ("[[target]]\nvm = {$0}", "memory", "[[target]]\nvm = {memory = \"$1\"}"),
        ("[[target]]\nvm = {\n  me$0\n}", "memory", "[[target]]\nvm = {\n  memory = \"$1\"\n}"),
        (
            "[[target]]\nvm = {\n  $0\n  num_cpus = 1,\n}",
            "memory",
            "[[target]]\nvm = {\n  memory = \"$1\",\n  num_cpus = 1,\n}",
        ),
        (
            "[[target]]\nvm = {\n  num_cpus = 1,\n  $0\n}",
            "memory",
            "[[target]]\nvm = {\n  num_cpus = 1,\n  memory = \"$1\"\n}",
        ),
        ("[[target]]\nvm = { me$0 }", "memory", "[[target]]\nvm = { memory = \"$1\" }"),
        ("[[target]]\nvm.mounts.\"/x\".$0", "host_path", "[[target]]\nvm.mounts.\"/x\".host_path = \"$1\""),
        (
            "[[target]]\nvm = { mounts = { \"/x\" = { $0 } } }",
            "writable",
            "[[target]]\nvm = { mounts = { \"/x\" = { writable = ${1|true,false|} } } }",
        ),
    ] {
        assert_eq!(taken(text, label), after, "{text}");
    }
}

#[test]
fn a_key_that_has_its_value_keeps_it() {
    for (text, label, after) in [
        ("[[target]]\nker$0 = \"x\"\n", "kernel", "[[target]]\nkernel = \"x\"\n"),
        ("[[target]]\n$0ker = \"x\"\n", "kernel", "[[target]]\nkernel = \"x\"\n"),
        ("[[target]]\nker$0=\n", "kernel", "[[target]]\nkernel=\n"),
        ("[[target]]\nvm.m$0 = \"x\"\n", "memory", "[[target]]\nvm.memory = \"x\"\n"),
        ("[[target]]\nv$0.memory = \"x\"\n", "vm", "[[target]]\nvm.memory = \"x\"\n"),
        ("[[target]]\nv$0.memory\n", "vm", "[[target]]\nvm.memory\n"),
        ("[[target]]\nvm = { m$0 = \"x\" }\n", "memory", "[[target]]\nvm = { memory = \"x\" }\n"),
    ] {
        assert_eq!(taken(text, label), after, "{text}");
    }
}

#[test]
fn a_list_of_mounts_goes_on_with_a_mount_that_is_not_there_yet() {
    for (text, label, after) in [
        (
            "[[target]]\n[target.vm.mounts]\n$0",
            "\"/mnt/data\"",
            "[[target]]\n[target.vm.mounts]\n\"${1:/mnt/data}\" = { host_path = \"$2\" }",
        ),
        (
            "[[target]]\n[target.vm.mounts]\n\"/mnt/data\".host_path = \"x\"\n$0",
            "\"/mnt/data2\"",
            "[[target]]\n[target.vm.mounts]\n\"/mnt/data\".host_path = \"x\"\n\"${1:/mnt/data2}\" = { host_path = \"$2\" }",
        ),
        (
            "[[target]]\nvm.mounts.$0",
            "\"/mnt/data\"",
            "[[target]]\nvm.mounts.\"${1:/mnt/data}\" = { host_path = \"$2\" }",
        ),
        (
            "[[target]]\n[target.vm]\nmou$0",
            "mounts",
            "[[target]]\n[target.vm]\nmounts.\"${1:/mnt/data}\" = { host_path = \"$2\" }",
        ),
    ] {
        assert_eq!(taken(text, label), after, "{text}");
    }
}

#[test]
fn nothing_is_offered_where_no_key_can_stand() {
    for text in [
        "[[target]] $0",
        "[[target]]$0",
        "$0[[target]]",
        "[[target]]\n# a comment $0",
        "[[target]]\n#$0",
        "[[target]]\nname = \"a\" $0",
        "[[target]]\nname = \"a\" # $0",
        "[[target]]\nname $0",
        "[[target]]\n$0 name = \"a\"",
        "[[target]]\nenv.$0",
        "[[target]]\nenv.RU$0",
        "[[target]]\nenv = { $0 }",
        "[[target]]\n[target.vm.mounts]\n\"/mn$0",
        "[[target]]\n[target.vm.mounts]\n\"/mn$0\" = {}",
        "[[target]]\n[target.foo]\n$0bar = 1",
        "[[target]]\nfoo.$0",
        "[[target]]\nfoo = { $0 }",
        "[[target]]\nvm = { memory = \"1G\" $0 }",
        "[[target]]\nvm = {}$0",
        "[[target]]\nvm = {\n  memory = \"1G\"\n  $0\n}",
        "[[target]]\nname.$0",
        "[[target]]\ncommand = '''\n$0\n'''",
        "[[target]]\n\"na$0\"",
        "x.$0",
    ] {
        assert_eq!(labels(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_header_is_not_offered_where_it_would_take_keys_away() {
    for label in ["[target.vm]", "[target.env]", "[[target]]", "[[target]] image"] {
        lacks("[[target]]\n$0\nname = \"a\"\n", label);
        has("[[target]]\nname = \"a\"\n$0\n", label);
    }
    lacks("[[target]]\n$0\n[target.env]\nA = \"1\"\n", "[[target]]");
    has("[[target]]\n$0\n[target.env]\nA = \"1\"\n", "[target.vm]");
}

#[test]
fn what_was_typed_is_the_beginning_of_what_is_offered() {
    for (text, label, filter) in [
        ("[[target]]\nker$0", "kernel", "kernel"),
        ("[[target]]\nvm.me$0", "memory", "memory"),
        ("[[target]]\nvm$0", "vm.memory", "vm.memory"),
        ("[[target]]\nvm$0", "[target.vm]", "vm"),
        ("ta$0", "[[target]]", "target"),
    ] {
        let items = offered(text);
        let item = items.iter().find(|item| item.label == label).unwrap();
        assert_eq!(item.filter, filter, "{text}");
    }
}

#[test]
fn a_key_says_its_type_and_what_it_means() {
    let items = offered("[[target]]\n$0");
    let item = items.iter().find(|item| item.label == "vm.num_cpus").unwrap();
    assert_eq!(item.detail.as_deref(), Some("integer, 1 to 255"));
    assert_eq!(item.doc.as_deref(), Some("How many processors the guest has."));
    assert!(items.iter().all(|item| item.detail.is_some() && item.doc.is_some()));
}
