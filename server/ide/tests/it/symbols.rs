//! The outline.

use std::fmt::Write;

use expect_test::{Expect, expect};
use vmtest_ide::Symbol;

use crate::support::{analysis, slice};

fn check(text: &str, expected: Expect) {
    let mut tree = String::new();
    write(&mut tree, text, 0, &analysis(text).symbols());
    expected.assert_eq(&tree);
}

fn write(tree: &mut String, text: &str, depth: usize, symbols: &[Symbol]) {
    for symbol in symbols {
        let detail = symbol.detail.as_ref().map(|detail| format!(" = {detail}")).unwrap_or_default();
        let selection = slice(text, &symbol.selection);
        let lines = slice(text, &symbol.range).lines().count();
        writeln!(
            tree,
            "{}{:?} {}{detail}  <{selection}> {lines}",
            "  ".repeat(depth),
            symbol.kind,
            symbol.name
        )
        .unwrap();
        write(tree, text, depth + 1, &symbol.children);
    }
}

#[test]
fn targets_keys_and_tables_are_nested_as_they_are_written() {
    check(
        include_str!("rich.toml"),
        expect![[r#"
            Target ein Kernel für alles = ./bzImage  <[[target]]> 39
              Text name = ein Kernel für alles  <name> 1
              Text kernel = ./bzImage  <kernel> 1
              Text kernel_args = loglevel=7 ro "x y"  <kernel_args> 1
              Text rootfs = /  <rootfs> 1
              Text arch = x86_64  <arch> 1
              Text kvm_cpu_args = host,-avx512f  <kvm_cpu_args> 1
              Text qemu_command = ./qemu-kvm  <qemu_command> 1
              Text command = set -e # not a comment cat <<END [[target]] END  <command> 7
              Text timeout = 1h30m  <timeout> 1
              Text boot_timeout = 2m  <boot_timeout> 1
              List inherit_env = ["HOME", 'CI']  <inherit_env> 1
              Bool fail_on_kernel_bug = false  <fail_on_kernel_bug> 1
              Table env  <[target.env]> 3
                Text RUST_BACKTRACE = 1  <RUST_BACKTRACE> 1
                Text "QUOTED NAME" = a "quoted" value with \ and ä  <"QUOTED NAME"> 1
              Table vm  <[target.vm]> 8
                Number num_cpus = 4  <num_cpus> 1
                Text memory = 2G  <memory> 1
                Bool network = true  <network> 1
                List extra_args = [ "-device", # the first "virtio-rng-pci", ]  <extra_args> 4
              Table vm.mounts."/mnt/data"  <[target.vm.mounts."/mnt/data"]> 3
                Text host_path = ./data  <host_path> 1
                Bool writable = true  <writable> 1
              Table vm.mounts  <[target.vm.mounts]> 2
                Table "/mnt/more"  <"/mnt/more"> 1
                  Text host_path = ../more  <host_path> 1
                  Bool writable = false  <writable> 1
            Target an image = https://example.org/fedora38.qcow2  <[[target]]> 11
              Text name = an image  <name> 1
              Text image_url = https://example.org/fedora38.qcow2  <image_url> 1
              Text image_sha256 = 7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded9…  <image_sha256> 1
              Bool uefi = true  <uefi> 1
              Text command = cd /mnt/vmtest && make test  <command> 2
              Table env  <env> 1
                Text A = 1  <A> 1
                Text B = 2  <B> 1
              Text vm.bios = /usr/share/OVMF/OVMF_CODE.fd  <vm.bios> 1
              Text vm.memory = 512M  <vm.memory> 1
              Text vm.mounts."/a b".host_path = ./a b  <vm.mounts."/a b".host_path> 1
            Target dotted = linux-image-amd64  <[[target]]> 5
              Text name = dotted  <name> 1
              Table vm  <vm> 1
                Number num_cpus = 1  <num_cpus> 1
                Table mounts  <mounts> 1
                  Table "/x"  <"/x"> 1
                    Text host_path = x  <host_path> 1
              Text kernel_package = linux-image-amd64  <kernel_package> 1
              Text command = -  <command> 1
            Target an inline table of several lines = https://example.org/bzImage  <[[target]]> 12
              Text name = an inline table of several lines  <name> 1
              Text kernel_url = https://example.org/bzImage  <kernel_url> 1
              Text command = true  <command> 1
              Table vm  <vm> 8
                Number num_cpus = 1  <num_cpus> 1
                Table mounts  <mounts> 3
                  Table "/x"  <"/x"> 1
                    Text host_path = x  <host_path> 1
        "#]],
    );
}

#[test]
fn a_target_without_a_name_has_its_number() {
    check(
        "[[target]]\n[[target]]\nname = \"\"\n[[target]]\nname = \" \"\n[[target]]\nname = 1\n[[target]]\nname = \"a\\n\\tb\"\n",
        expect![[r#"
            Target target 1  <[[target]]> 1
            Target target 2  <[[target]]> 2
              Text name  <name> 1
            Target target 3  <[[target]]> 2
              Text name  <name> 1
            Target target 4  <[[target]]> 2
              Number name = 1  <name> 1
            Target a b  <[[target]]> 2
              Text name = a b  <name> 1
        "#]],
    );
}

#[test]
fn what_stands_outside_every_target_is_there_too() {
    check(
        "a = 1\n[foo]\nb = 2\n[target.vm]\nmemory = \"1G\"\n[[target]]\n",
        expect![[r#"
        Number a = 1  <a> 1
        Table foo  <[foo]> 2
          Number b = 2  <b> 1
        Table vm  <[target.vm]> 2
          Text memory = 1G  <memory> 1
        Target target 1  <[[target]]> 1
    "#]],
    );
}

#[test]
fn unknown_tables_are_there_under_their_names() {
    check(
        "[[target]]\n[target.foo]\na = 1\n[foo.\"b c\"]\n[[other]]\nx = 1\n",
        expect![[r#"
        Target target 1  <[[target]]> 6
          Table foo  <[target.foo]> 2
            Number a = 1  <a> 1
          Table foo."b c"  <[foo."b c"]> 1
          Table other  <[[other]]> 2
            Number x = 1  <x> 1
    "#]],
    );
}

#[test]
fn values_are_shown_short() {
    check(
        "[[target]]\ncommand = '''\nset -e\nmake\n'''\nvm.extra_args = [\n  \"a\",\n  \"b\",\n]\nwhen = 1979-05-27\nname = \"0123456789012345678901234567890123456789012345678901234567890123456789\"\n",
        expect![[r#"
            Target 012345678901234567890123456789012345678901234567890123456789…  <[[target]]> 11
              Text command = set -e make  <command> 4
              List vm.extra_args = [ "a", "b", ]  <vm.extra_args> 4
              Other when = 1979-05-27  <when> 1
              Text name = 012345678901234567890123456789012345678901234567890123456789…  <name> 1
        "#]],
    );
}

#[test]
fn a_broken_file_keeps_its_outline() {
    for (text, expected) in [
        (
            "[[target]]\nname = \"a\n[[target]]\nname = \"b\"\n",
            expect![[r#"
            Target a  <[[target]]> 2
              Text name = a  <name> 1
            Target b  <[[target]]> 2
              Text name = b  <name> 1
        "#]],
        ),
        (
            "[[target]]\nname = \"a\"\nkernel = \ncommand\n= 1\n. = 2\nvm.\n",
            expect![[r#"
            Target a  <[[target]]> 7
              Text name = a  <name> 1
              Other kernel  <kernel> 1
              Other command  <command> 1
              Other vm  <vm> 1
        "#]],
        ),
        (
            "[[target]]\n[target.\nname = \"a\"\n[\n[target.vm\nmemory = \"1G\"\n",
            expect![[r#"
            Target a  <[[target]]> 6
              Table target  <[target.> 2
                Text name = a  <name> 1
              Table vm  <[target.vm> 2
                Text memory = 1G  <memory> 1
        "#]],
        ),
        (
            "[[target]]\nvm = { memory = \"1G\nenv = { A = \n\nname = 'b'\n",
            expect![[r#"
            Target target 1  <[[target]]> 5
              Table vm  <vm> 1
                Text memory = 1G  <memory> 1
              Table env  <env> 3
                Other A  <A> 1
                Text name = b  <name> 1
        "#]],
        ),
        (
            "[[target]]\nextra = [\n\"a\",\n[[target]]\nname = \"b\"\n",
            expect![[r#"
            Target target 1  <[[target]]> 3
              List extra = [ "a",  <extra> 2
            Target b  <[[target]]> 2
              Text name = b  <name> 1
        "#]],
        ),
        (
            "[[target]]\n\"\" = 1\n'' = 2\n\"a\nb = 1\n",
            expect![[r#"
            Target target 1  <[[target]]> 5
              Number "" = 1  <""> 1
              Number '' = 2  <''> 1
              Other "a  <"a> 1
              Number b = 1  <b> 1
        "#]],
        ),
        (
            "[[target]]\r\nname = \"a\"\r\n[target.vm]\r\nmemory = \"1G\"\r\n",
            expect![[r#"
            Target a  <[[target]]> 4
              Text name = a  <name> 1
              Table vm  <[target.vm]> 2
                Text memory = 1G  <memory> 1
        "#]],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn an_empty_file_has_no_outline() {
    for text in ["", "\n", "# x\n", "\u{feff}"] {
        assert_eq!(analysis(text).symbols(), [], "{text:?}");
    }
}

#[test]
fn a_file_beyond_the_limits_has_none() {
    let large = "[[target]]\n".repeat(100_000);
    assert_eq!(analysis(&large).symbols(), []);
    let deep = format!("[[target]]\nname = \"a\"\nx = {}", "[".repeat(10_000));
    assert_eq!(analysis(&deep).symbols().len(), 1);
}
