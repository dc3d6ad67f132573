//! `--set KEY=VALUE`.

use std::path::Path;

use expect_test::{Expect, expect};
use vmtest_config::{Arch, Document, Purpose, System, Target};

use crate::render;

const FILE: &str = "
[[target]]
name = 't'
kernel = 'k'
command = 'c'
[target.vm]
memory = '1G'
[target.vm.mounts.'/data']
host_path = 'd'
[[target]]
name = 'u'
image = 'i'
command = 'c'
";

/// Applies assignments to the first target.
fn set(assignments: &[&str]) -> Result<Target, String> {
    let mut document = Document::parse(FILE, Path::new("/p")).unwrap().with_host(Arch::X86_64);
    document.retain(|index, _| index == 0);
    for assignment in assignments {
        document.set(assignment).map_err(|problem| render(FILE, &[problem]))?;
    }
    let loaded = document.resolve(Purpose::Run).map_err(|problems| render(FILE, &problems))?;
    assert_eq!(loaded.warnings, []);
    Ok(loaded.targets[0].target.clone())
}

#[track_caller]
fn refused(assignments: &[&str], expected: &Expect) {
    expected.assert_eq(&set(assignments).unwrap_err());
}

#[test]
fn a_string_needs_no_quotes() {
    assert_eq!(
        set(&["command=make test"]).unwrap().command,
        vmtest_config::Command::Shell("make test".into())
    );
}

#[test]
fn a_string_may_have_quotes() {
    assert_eq!(set(&["kvm_cpu_args='max'"]).unwrap().kvm_cpu_args, "max");
    assert_eq!(set(&["kvm_cpu_args = \"max\" "]).unwrap().kvm_cpu_args, "max");
}

#[test]
fn a_number_for_a_string_is_a_string() {
    assert_eq!(set(&["vm.memory=512"]).unwrap().vm.memory.bytes, 512 << 20);
    assert_eq!(set(&["name=true"]).unwrap().name, "true");
}

#[test]
fn text_with_an_apostrophe_is_text() {
    assert_eq!(set(&["env.A=it's"]).unwrap().env["A"], "it's");
}

#[test]
fn a_value_may_have_equals_signs() {
    assert_eq!(set(&["env.A=b=c"]).unwrap().env["A"], "b=c");
}

#[test]
fn a_value_in_the_file_is_replaced() {
    assert_eq!(set(&["vm.memory=2G"]).unwrap().vm.memory.bytes, 2 << 30);
}

#[test]
fn a_table_that_is_not_there_is_made() {
    assert_eq!(set(&["env.A=1"]).unwrap().env.len(), 1);
}

#[test]
fn the_last_of_two_counts() {
    assert_eq!(set(&["vm.num_cpus=3", "vm.num_cpus=4"]).unwrap().vm.num_cpus.get(), 4);
}

#[test]
fn booleans_numbers_and_lists_are_toml() {
    let target = set(&["vm.network=true", "vm.num_cpus=8", "vm.extra_args=['-a', '-b']"]).unwrap();
    assert!(target.vm.network);
    assert_eq!(target.vm.num_cpus.get(), 8);
    assert_eq!(target.vm.extra_args, ["-a", "-b"]);
}

#[test]
fn a_mount_is_named_in_quotes() {
    let target = set(&["vm.mounts.\"/data\".writable=true", "vm.mounts.'/more'.host_path=m"]).unwrap();
    assert_eq!(target.vm.mounts.len(), 2);
    assert!(target.vm.mounts[0].writable);
    assert_eq!(target.vm.mounts[1].host_path, Path::new("/p/m"));
}

#[test]
fn a_whole_table_can_be_set() {
    let target = set(&["vm.mounts={ '/x' = { host_path = 'y' } }"]).unwrap();
    assert_eq!(target.vm.mounts.len(), 1);
    assert_eq!(target.vm.mounts[0].guest_path, Path::new("/x"));
}

#[test]
fn a_relative_path_starts_at_the_file() {
    let System::Kernel(kernel) = set(&["rootfs=./r"]).unwrap().system else { panic!() };
    assert_eq!(kernel.rootfs, Path::new("/p/r"));
}

/// The command of the first target, set to a text.
fn text(value: &str) -> String {
    let assignment = format!("command={value}");
    let mut document = Document::parse(FILE, Path::new("/p")).unwrap().with_host(Arch::X86_64);
    document.retain(|index, _| index == 0);
    document.set_text(&assignment).unwrap();
    match document.resolve(Purpose::Run).unwrap().targets[0].target.command.clone() {
        vmtest_config::Command::Shell(command) => command,
        vmtest_config::Command::Interactive => "-".into(),
    }
}

#[test]
fn a_text_is_used_as_it_is() {
    for value in ["'a'", "\"a\"", "'''a'''", " a = b ", "a\nb\n", "$(x) `y` \\", "3", "[1]", "#"] {
        assert_eq!(text(value), value);
    }
}

#[test]
fn a_text_for_a_key_that_takes_none_is_an_error() {
    let mut document = Document::parse(FILE, Path::new("/p")).unwrap();
    let problem = document.set_text("vm.num_cpus=4").unwrap_err();
    assert_eq!(problem.help.as_deref(), Some("write --set 'vm.num_cpus=4'"));
}

#[test]
fn a_misspelt_key_is_an_error_with_the_right_one() {
    refused(
        &["vm.memroy=1G"],
        &expect![[r#"
            error[unknown_key] --set "vm.memroy=1G" 1:4 "memroy" unknown key `memroy` in `vm` / did you mean --set vm.memory=…?
        "#]],
    );
}

#[test]
fn a_key_of_another_table_is_an_error_with_the_right_one() {
    refused(
        &["memory=1G"],
        &expect![[r#"
            error[unknown_key] --set "memory=1G" 1:1 "memory" unknown key `memory` / did you mean --set vm.memory=…?
        "#]],
    );
}

#[test]
fn an_unknown_key_is_an_error() {
    refused(
        &["description=x"],
        &expect![[r#"
            error[unknown_key] --set "description=x" 1:1 "description" unknown key `description` / see `docs/config.md` for the keys that there are
        "#]],
    );
}

#[test]
fn a_key_with_target_before_it_is_explained() {
    refused(
        &["target.vm.memory=1G"],
        &expect![[r#"
            error[unknown_key] --set "target.vm.memory=1G" 1:1 "target" unknown key `target` / write the key without `target.`: it is set in every target that runs
        "#]],
    );
}

#[test]
fn a_key_below_a_value_is_an_error() {
    refused(
        &["vm.memory.size=1G"],
        &expect![[r#"
            error[unknown_key] --set "vm.memory.size=1G" 1:11 "size" unknown key `size` in `vm.memory` / see `docs/config.md` for the keys that there are
        "#]],
    );
}

#[test]
fn no_equals_sign_is_an_error() {
    refused(
        &["vm.memory"],
        &expect![[r#"
            error[invalid_set] --set "vm.memory" 1:1 "vm.memory" no `=` between a key and its value / write --set KEY=VALUE, such as --set vm.memory=1G
        "#]],
    );
}

#[test]
fn no_key_is_an_error() {
    refused(
        &["=1"],
        &expect![[r#"
            error[invalid_set] --set "=1" 1:1 "" not a key: "" / write the key with dots, such as vm.memory; a part with other characters goes in quotes
        "#]],
    );
}

#[test]
fn a_key_that_is_not_toml_is_an_error() {
    refused(
        &["vm..memory=1"],
        &expect![[r#"
            error[invalid_set] --set "vm..memory=1" 1:1 "vm..memory" not a key: "vm..memory" / write the key with dots, such as vm.memory; a part with other characters goes in quotes
        "#]],
    );
    refused(
        &["vm.mounts./x.host_path=1"],
        &expect![[r#"
            error[invalid_set] --set "vm.mounts./x.host_path=1" 1:1 "vm.mounts./x.host_path" not a key: "vm.mounts./x.host_path" / write the key with dots, such as vm.memory; a part with other characters goes in quotes
        "#]],
    );
}

#[test]
fn an_open_quote_in_the_key_leaves_no_equals_sign() {
    refused(
        &["vm.mounts.'/x.host_path=1"],
        &expect![[r#"
            error[invalid_set] --set "vm.mounts.'/x.host_path=1" 1:1 "vm.mounts.'/x.host_path=1" no `=` between a key and its value / write --set KEY=VALUE, such as --set vm.memory=1G
        "#]],
    );
}

#[test]
fn a_value_of_another_type_is_an_error_in_the_argument() {
    refused(
        &["vm.num_cpus=many"],
        &expect![[r#"
            error[invalid_set] --set "vm.num_cpus=many" 1:13 "many" `vm.num_cpus` must be an integer, not "many" / write --set 'vm.num_cpus=4'
        "#]],
    );
    refused(
        &["vm.num_cpus='4'"],
        &expect![[r#"
            error[wrong_type] --set "vm.num_cpus='4'" 1:13 "'4'" `vm.num_cpus` must be an integer, not a string / write 4
                fix: Write `4`: "'4'" -> "4"
        "#]],
    );
    refused(
        &["vm.network=1"],
        &expect![[r#"
            error[wrong_type] --set "vm.network=1" 1:12 "1" `vm.network` must be a boolean, not an integer / write for example network = true
        "#]],
    );
}

#[test]
fn a_wrong_value_is_an_error_in_the_argument() {
    refused(
        &["vm.memory=1X"],
        &expect![[r#"
            error[invalid_memory] --set "vm.memory=1X" 1:11 "1X" `vm.memory` is not a memory size: "1X" / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
        "#]],
    );
    refused(
        &["timeout="],
        &expect![[r#"
            error[invalid_duration] --set "timeout=" 1:9 "" `timeout` is not a time: "" / write a number with a unit (ms, s, m, h, d), such as "90s", "5m" or "1h30m"
        "#]],
    );
    refused(
        &["vm.num_cpus= 300"],
        &expect![[r#"
            error[out_of_range] --set "vm.num_cpus= 300" 1:13 " 300" `vm.num_cpus` is out of range: 300 / write a number from 1 to 255; the default is 2
        "#]],
    );
    refused(
        &["vm.extra_args=['-a', 5]"],
        &expect![[r#"
            error[wrong_type] --set "vm.extra_args=['-a', 5]" 1:22 "5" `vm.extra_args` has an integer in it, where only strings may be / write "5"
                fix: Put it in quotes: "5" -> "\"5\""
        "#]],
    );
}

#[test]
fn rules_hold_over_file_and_arguments_together() {
    refused(
        &["image=x"],
        &expect![[r#"
        error[several_systems] --set "image=x" 1:1 "image" the target has `kernel` and `image`, but it can boot only one thing / keep one and remove the rest
            4:1 "kernel" `kernel` is given here
    "#]],
    );
    refused(
        &["vm.mounts.'/data/'.host_path=x"],
        &expect![[r#"
        error[duplicate_mount] --set "vm.mounts.'/data/'.host_path=x" 1:11 "'/data/'" something else is mounted on /data too / give each mount a place of its own
            8:19 "'/data'" the other one
    "#]],
    );
    refused(
        &["uefi=true"],
        &expect![[r#"
        error[missing_companion] --set "uefi=true" 1:1 "uefi" `uefi` needs `image` or `image_url`: it is for targets that boot a disk image / add `image` or `image_url`, or remove `uefi`
    "#]],
    );
}

#[test]
fn an_override_can_complete_a_target() {
    let text = "[[target]]\nname = 't'\ncommand = 'c'\n";
    let mut document = Document::parse(text, Path::new("/p")).unwrap();
    document.set("kernel=/boot/vmlinuz").unwrap();
    assert_eq!(document.resolve(Purpose::Run).unwrap().targets.len(), 1);
}

#[test]
fn a_wrong_override_of_many_targets_is_said_once() {
    let mut document = Document::parse(FILE, Path::new("/p")).unwrap();
    document.set("vm.memory=0").unwrap();
    assert_eq!(document.resolve(Purpose::Run).unwrap_err().len(), 1);
}

#[test]
fn an_unselected_target_is_not_changed() {
    let mut document = Document::parse(FILE, Path::new("/p")).unwrap();
    document.retain(|index, _| index == 1);
    // `uefi` would be an error in the first target, which boots a kernel.
    document.set("uefi=true").unwrap();
    assert_eq!(document.resolve(Purpose::Run).unwrap().targets.len(), 1);
}

#[test]
fn a_place_in_an_argument_names_the_argument() {
    let mut document = Document::parse(FILE, Path::new("/p")).unwrap();
    document.set("vm.memory=2G").unwrap();
    let loaded = document.resolve(Purpose::Run).unwrap();
    let place = loaded.targets[0].spans.of("vm.memory").unwrap();
    let vmtest_config::Source::Argument { option, text } = &place.source else { panic!() };
    assert_eq!((*option, text.as_str()), ("--set", "vm.memory=2G"));
    assert_eq!((&text[place.key.clone()], &text[place.value.clone()]), ("memory", "2G"));
}
