//! What the keys of a target must and must not have beside each other.

use expect_test::expect;

use crate::check;

#[test]
fn an_empty_target_lacks_everything() {
    check(
        "[[target]]\n",
        &expect![[r#"
        error[missing_key] 1:1 "[[target]]" the target has no `name` / add name = "linux 6.1"
        error[missing_key] 1:1 "[[target]]" the target has no `command` / add command = "cargo test"
        error[missing_system] 1:1 "[[target]]" the target has nothing to boot / add one of `kernel`, `kernel_url`, `kernel_package`, `image` or `image_url`
    "#]],
    );
}

#[test]
fn a_target_needs_a_name() {
    check(
        "[[target]]
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            error[missing_key] 1:1 "[[target]]" the target has no `name` / add name = "linux 6.1"
        "#]],
    );
}

#[test]
fn a_target_needs_a_command() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
",
        &expect![[r#"
            error[missing_key] 1:1 "[[target]]" the target "t" has no `command` / add command = "cargo test"
        "#]],
    );
}

#[test]
fn a_target_needs_something_to_boot() {
    check(
        "[[target]]
name = 't'
command = 'c'
",
        &expect![[r#"
            error[missing_system] 1:1 "[[target]]" the target has nothing to boot / add one of `kernel`, `kernel_url`, `kernel_package`, `image` or `image_url`
        "#]],
    );
}

#[test]
fn an_empty_name_is_refused() {
    check(
        "[[target]]
name = ''
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            error[empty_value] 2:8 "''" `name` is empty / write for example name = "linux 6.1"
        "#]],
    );
}

#[test]
fn an_empty_command_is_refused() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
command = ''
",
        &expect![[r#"
            error[empty_value] 4:11 "''" `command` is empty / write for example command = "cargo test"
        "#]],
    );
}

#[test]
fn an_empty_kernel_is_refused() {
    check(
        "[[target]]
name = 't'
kernel = ''
command = 'c'
",
        &expect![[r#"
            error[empty_value] 3:10 "''" `kernel` is empty / write for example kernel = "./bzImage"
        "#]],
    );
}

#[test]
fn an_empty_image_is_refused() {
    check(
        "[[target]]
name = 't'
image = ''
command = 'c'
",
        &expect![[r#"
            error[empty_value] 3:9 "''" `image` is empty / write for example image = "./fedora38.qcow2"
        "#]],
    );
}

#[test]
fn a_name_of_the_wrong_type_is_not_missing_too() {
    check(
        "[[target]]
name = 1
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            error[wrong_type] 2:8 "1" `name` must be a string, not an integer / write "1"
                fix: Write `"1"`: "1" -> "\"1\""
        "#]],
    );
}

#[test]
fn a_kernel_of_the_wrong_type_is_not_missing_too() {
    check(
        "[[target]]
name = 't'
kernel = 1
command = 'c'
",
        &expect![[r#"
            error[wrong_type] 3:10 "1" `kernel` must be a string, not an integer / write "1"
                fix: Write `"1"`: "1" -> "\"1\""
        "#]],
    );
}

#[test]
fn kernel_and_image_exclude_each_other() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
image = 'i'
command = 'c'
",
        &expect![[r#"
            error[several_systems] 4:1 "image" the target has `kernel` and `image`, but it can boot only one thing / keep one and remove the rest
                3:1 "kernel" `kernel` is given here
        "#]],
    );
}

#[test]
fn all_systems_at_once_are_all_named() {
    check(
        "[[target]]
name = 't'
image_url = 'https://a/b'
image = 'i'
kernel_package = 'p'
kernel_url = 'https://a/b'
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            error[several_systems] 7:1 "kernel" the target has `image_url`, `image`, `kernel_package`, `kernel_url` and `kernel`, but it can boot only one thing / keep one and remove the rest
                3:1 "image_url" `image_url` is given here
                4:1 "image" `image` is given here
                5:1 "kernel_package" `kernel_package` is given here
                6:1 "kernel_url" `kernel_url` is given here
        "#]],
    );
}

#[test]
fn an_image_is_enough() {
    check(
        "[[target]]
name = 't'
image = 'i'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn kernel_args_need_a_kernel() {
    check(
        "[[target]]
name = 't'
image = 'i'
kernel_args = 'ro'
command = 'c'
",
        &expect![[r#"
            error[missing_companion] 4:1 "kernel_args" `kernel_args` needs `kernel`, `kernel_url` or `kernel_package`: it is for targets that boot a kernel / add `kernel`, `kernel_url` or `kernel_package`, or remove `kernel_args`
        "#]],
    );
}

#[test]
fn kernel_args_without_any_system_are_not_a_problem_of_their_own() {
    check(
        "[[target]]
name = 't'
kernel_args = 'ro'
command = 'c'
",
        &expect![[r#"
            error[missing_system] 1:1 "[[target]]" the target has nothing to boot / add one of `kernel`, `kernel_url`, `kernel_package`, `image` or `image_url`
        "#]],
    );
}

#[test]
fn uefi_needs_an_image() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
uefi = true
command = 'c'
",
        &expect![[r#"
            error[missing_companion] 4:1 "uefi" `uefi` needs `image` or `image_url`: it is for targets that boot a disk image / add `image` or `image_url`, or remove `uefi`
        "#]],
    );
}

#[test]
fn uefi_off_needs_nothing() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
uefi = false
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn a_bios_needs_uefi() {
    check(
        "[[target]]
name = 't'
image = 'i'
command = 'c'
vm.bios = '/b'
",
        &expect![[r#"
            error[missing_companion] 5:4 "bios" `vm.bios` needs `uefi = true` / add `uefi = true`, or remove `vm.bios`
        "#]],
    );
}

#[test]
fn a_bios_needs_uefi_switched_on() {
    check(
        "[[target]]
name = 't'
image = 'i'
command = 'c'
uefi = false
vm.bios = '/b'
",
        &expect![[r#"
            error[missing_companion] 6:4 "bios" `vm.bios` needs `uefi = true` / add `uefi = true`, or remove `vm.bios`
        "#]],
    );
}

#[test]
fn a_bios_with_uefi_is_fine() {
    check(
        "[[target]]
name = 't'
image = 'i'
command = 'c'
uefi = true
vm.bios = '/b'
",
        &expect![[""]],
    );
}

#[test]
fn a_bios_with_uefi_of_the_wrong_type_is_one_problem() {
    check(
        "[[target]]
name = 't'
image = 'i'
command = 'c'
uefi = 'true'
vm.bios = '/b'
",
        &expect![[r#"
            error[wrong_type] 5:8 "'true'" `uefi` must be a boolean, not a string / write true
                fix: Write `true`: "'true'" -> "true"
        "#]],
    );
}

#[test]
fn a_rootfs_beside_an_image_has_no_effect() {
    check(
        "[[target]]
name = 't'
image = 'i'
rootfs = '/r'
command = 'c'
",
        &expect![[r#"
            warning[no_effect] 4:1 "rootfs" `rootfs` has no effect: an image brings its own root / remove `rootfs`
        "#]],
    );
}

#[test]
fn two_targets_of_one_name_are_a_warning() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
command = 'c'
[[target]]
name = 't'
image = 'i'
command = 'c'
",
        &expect![[r#"
            warning[duplicate_name] 6:8 "'t'" another target is called "t" too / give each target a name of its own, so that their results can be told apart
                2:8 "'t'" the other one
        "#]],
    );
}

#[test]
fn three_targets_of_one_name_are_two_warnings() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
command = 'c'
[[target]]
name = 't'
kernel = 'k'
command = 'c'
[[target]]
name = 't'
kernel = 'k'
command = 'c'
",
        &expect![[r#"
            warning[duplicate_name] 6:8 "'t'" another target is called "t" too / give each target a name of its own, so that their results can be told apart
                2:8 "'t'" the other one
            warning[duplicate_name] 10:8 "'t'" another target is called "t" too / give each target a name of its own, so that their results can be told apart
                2:8 "'t'" the other one
        "#]],
    );
}

#[test]
fn names_that_differ_in_case_are_two() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
command = 'c'
[[target]]
name = 'T'
kernel = 'k'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn every_targets_problems_are_said() {
    check(
        "[[target]]
name = 't'
command = 'c'
[[target]]
name = 'u'
kernel = 'k'
[[target]]
name = 'v'
kernel = 'k'
image = 'i'
command = 'c'
",
        &expect![[r#"
            error[missing_system] 1:1 "[[target]]" the target has nothing to boot / add one of `kernel`, `kernel_url`, `kernel_package`, `image` or `image_url`
            error[missing_key] 4:1 "[[target]]" the target "u" has no `command` / add command = "cargo test"
            error[several_systems] 10:1 "image" the target has `kernel` and `image`, but it can boot only one thing / keep one and remove the rest
                9:1 "kernel" `kernel` is given here
        "#]],
    );
}

#[test]
fn a_blank_name_is_a_name() {
    check(
        "[[target]]
name = ' '
kernel = 'k'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn a_dash_is_a_command() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
command = '-'
",
        &expect![[""]],
    );
}
