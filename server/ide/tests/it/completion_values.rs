//! Completion of values.

use expect_test::{Expect, expect};

use crate::completion_keys::{labels, offered, taken};

fn check(text: &str, expected: Expect) {
    let line = |item: &vmtest_ide::Completion| match &item.detail {
        Some(detail) => format!("{}  ({detail})", item.label),
        None => item.label.clone(),
    };
    expected.assert_eq(&offered(text).iter().map(line).collect::<Vec<_>>().join("\n"));
}

#[test]
fn architectures_are_known() {
    for text in ["arch = \"$0\"", "arch = $0", "arch = \"$0", "arch = '$0'", "arch = x8$0", "arch=$0"] {
        assert_eq!(
            labels(&format!("[[target]]\n{text}")),
            ["x86_64", "aarch64", "riscv64", "s390x"],
            "{text}"
        );
    }
}

#[test]
fn truth_values_name_the_default() {
    check(
        "[[target]]\nuefi = $0",
        expect![[r#"
            true
            false  (the default)"#]],
    );
    check(
        "[[target]]\nfail_on_kernel_bug = $0",
        expect![[r#"
            true  (the default)
            false"#]],
    );
}

#[test]
fn sizes_times_and_numbers_are_proposed() {
    check(
        "[[target]]\n[target.vm]\nmemory = \"$0\"",
        expect![[r#"
            512M
            1G
            2G
            4G  (the default)
            8G
            16G"#]],
    );
    check(
        "[[target]]\nvm.num_cpus = $0",
        expect![[r#"
            1
            2  (the default)
            4
            8
            16"#]],
    );
    check(
        "[[target]]\ntimeout = $0",
        expect![[r#"
            30s
            1m
            5m
            15m
            1h"#]],
    );
    check(
        "[[target]]\nboot_timeout = \"$0",
        expect![[r#"
            30s
            1m
            2m
            5m"#]],
    );
}

#[test]
fn a_command_can_be_a_shell() {
    check("[[target]]\ncommand = $0", expect!["-  (an interactive shell)"]);
    check("[[target]]\ncommand = \"-$0\"", expect!["-  (an interactive shell)"]);
    check("[[target]]\ncommand = \"ls -$0\"", expect![""]);
    check("[[target]]\ncommand = '''\n-$0\n'''", expect![""]);
}

#[test]
fn processors_programs_and_packages_are_proposed() {
    check(
        "[[target]]\nkvm_cpu_args = \"$0\"",
        expect![[r#"
            host  (the default)
            max  (everything that can be had)
            host,-avx512f  (the host's without a feature)
            qemu64  (the oldest that there is)"#]],
    );
    check(
        "[[target]]\nkernel_package = $0",
        expect![[r#"
            linux-image-amd64  (Debian)
            linux-image-cloud-amd64  (Debian, for virtual machines)
            linux-image-arm64  (Debian)
            linux-image-generic  (Ubuntu)"#]],
    );
    check(
        "[[target]]\nqemu_command = \"$0\"",
        expect![[r#"
            qemu-kvm  (Fedora, RHEL)
            qemu-system-x86_64
            qemu-system-aarch64
            qemu-system-riscv64
            qemu-system-s390x"#]],
    );
}

#[test]
fn lists_and_tables_are_opened() {
    for (text, label, after) in [
        ("vm = $0", "{…}", "vm = { $1 }"),
        ("env = $0", "{…}", "env = { ${1:NAME} = \"$2\" }"),
        ("vm.mounts = $0", "{…}", "vm.mounts = { \"${1:/mnt/data}\" = { host_path = \"$2\" } }"),
        ("vm.mounts.\"/x\" = $0", "{…}", "vm.mounts.\"/x\" = { host_path = \"$1\" }"),
        ("vm.extra_args = $0", "[…]", "vm.extra_args = [\"$1\"]"),
        ("inherit_env = $0", "[…]", "inherit_env = [\"$1\"]"),
        ("inherit_env = $0", "false", "inherit_env = false"),
    ] {
        assert_eq!(taken(&format!("[[target]]\n{text}"), label), format!("[[target]]\n{after}"), "{text}");
    }
}

#[test]
fn quotes_are_added_where_there_are_none() {
    for (text, label, after) in [
        ("arch = $0", "x86_64", "arch = \"x86_64\""),
        ("arch =$0", "x86_64", "arch =\"x86_64\""),
        ("arch = x8$0", "x86_64", "arch = \"x86_64\""),
        ("arch = x$06 # x", "x86_64", "arch = \"x86_64\" # x"),
        ("arch = $0\nname = \"a\"", "x86_64", "arch = \"x86_64\"\nname = \"a\""),
        ("vm.memory = 4$0", "4G", "vm.memory = \"4G\""),
        ("vm.memory = 4G$0", "4G", "vm.memory = \"4G\""),
        ("vm = { memory = $0 }", "4G", "vm = { memory = \"4G\" }"),
        ("vm = { memory = 4$0, num_cpus = 1 }", "4G", "vm = { memory = \"4G\", num_cpus = 1 }"),
        ("vm = { memory = $0", "4G", "vm = { memory = \"4G\""),
        ("uefi = tr$0", "true", "uefi = true"),
        ("uefi = $0false", "true", "uefi = true"),
        ("uefi = true$0", "false", "uefi = false"),
        ("vm.num_cpus = 1$0", "16", "vm.num_cpus = 16"),
    ] {
        assert_eq!(taken(&format!("[[target]]\n{text}"), label), format!("[[target]]\n{after}"), "{text}");
    }
}

#[test]
fn within_quotes_only_the_content_is_replaced() {
    for (text, label, after) in [
        ("arch = \"$0\"", "x86_64", "arch = \"x86_64\""),
        ("arch = \"x8$0\"", "x86_64", "arch = \"x86_64\""),
        ("arch = \"x$08\"", "x86_64", "arch = \"x86_64\""),
        ("arch = 'x8$0'", "x86_64", "arch = 'x86_64'"),
        ("arch = \"$0aarch64\" # x", "x86_64", "arch = \"x86_64\" # x"),
        ("arch = \"\"\"$0\"\"\"", "x86_64", "arch = \"\"\"x86_64\"\"\""),
        ("vm = { memory = \"$0\" }", "4G", "vm = { memory = \"4G\" }"),
    ] {
        assert_eq!(taken(&format!("[[target]]\n{text}"), label), format!("[[target]]\n{after}"), "{text}");
    }
}

#[test]
fn a_string_without_its_end_is_closed() {
    for (text, label, after) in [
        ("arch = \"$0", "x86_64", "arch = \"x86_64\""),
        ("arch = \"x8$0\nname = \"a\"", "x86_64", "arch = \"x86_64\"\nname = \"a\""),
        ("arch = 'x8$0\r\n", "x86_64", "arch = 'x86_64'\r\n"),
        ("arch = \"x8$0 # c", "x86_64", "arch = \"x86_64\" # c"),
        ("vm = { memory = \"4$0 }", "4G", "vm = { memory = \"4G\" }"),
        ("vm = { memory = \"$0, num_cpus = 1 }", "4G", "vm = { memory = \"4G\", num_cpus = 1 }"),
    ] {
        assert_eq!(taken(&format!("[[target]]\n{text}"), label), format!("[[target]]\n{after}"), "{text}");
    }
}

#[test]
fn kernel_parameters_are_words_of_their_own() {
    for (text, label, after) in [
        ("kernel_args = $0", "ro", "kernel_args = \"ro\""),
        ("kernel_args = \"$0\"", "ro", "kernel_args = \"ro\""),
        ("kernel_args = \"quiet $0\"", "ro", "kernel_args = \"quiet ro\""),
        ("kernel_args = \"quiet r$0\"", "rw", "kernel_args = \"quiet rw\""),
        ("kernel_args = \"quiet r$0 x=1\"", "rw", "kernel_args = \"quiet rw x=1\""),
        ("kernel_args = \"log$0level=3 ro\"", "loglevel=7", "kernel_args = \"loglevel=7 ro\""),
        ("kernel_args = \"$0 ro\"", "quiet", "kernel_args = \"quiet ro\""),
    ] {
        assert_eq!(taken(&format!("[[target]]\n{text}"), label), format!("[[target]]\n{after}"), "{text}");
    }
}

#[test]
fn kernel_parameters_that_are_there_are_left_out() {
    for (text, label) in [
        ("kernel_args = \"ro $0\"", "ro"),
        ("kernel_args = \"$0 quiet\"", "quiet"),
        ("kernel_args = \"loglevel=3 $0\"", "loglevel=7"),
    ] {
        assert!(!labels(&format!("[[target]]\n{text}")).iter().any(|own| own == label), "{text}");
    }
}

#[test]
fn kernel_parameters_say_what_they_do() {
    let items = offered("[[target]]\nkernel_args = \"$0\"");
    assert_eq!(items[0].label, "ro");
    assert!(items.iter().all(|item| item.doc.is_some()));
}

#[test]
fn nothing_is_offered_in_what_is_the_users_own() {
    for text in [
        "name = \"$0\"",
        "name = $0",
        "kernel_url = \"$0\"",
        "kernel_sha256 = \"$0\"",
        "env.A = \"$0\"",
        "env = { A = $0 }",
        "inherit_env = [$0]",
        "inherit_env = [\"$0\"]",
        "inherit_env = [\"HOME\", $0",
        "vm.extra_args = [\"$0\"]",
        "vm.extra_args = [$0",
        "foo = \"$0\"",
        "foo = $0",
        "foo.bar = $0",
        "vm.foo = $0",
        "arch = \"\"\"\n$0\"\"\"",
    ] {
        assert_eq!(labels(&format!("[[target]]\n{text}")), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn nothing_is_offered_beside_a_value() {
    for text in [
        "arch = \"x86_64\"$0",
        "arch = $0\"x86_64\"",
        "arch = \"x86_64\" $0",
        "arch = x86_64 $0",
        "arch = # $0",
        "uefi = \"$0\"",
        "uefi = true $0",
        "arch = [$0]",
        "vm.memory = { $0 }",
    ] {
        assert_eq!(labels(&format!("[[target]]\n{text}")), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_was_typed_is_held_against_the_value_without_its_quotes() {
    for text in ["arch = $0", "arch = \"x$0\"", "arch = x$0", "vm.memory = \"$0\""] {
        for item in offered(&format!("[[target]]\n{text}")) {
            assert_eq!(item.filter, item.label, "{text}");
        }
    }
}
