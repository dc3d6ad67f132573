//! Values of the right type that are wrong all the same.

use expect_test::expect;

use crate::check_body;

#[test]
fn memory_without_a_number_is_refused() {
    check_body(
        "vm.memory = 'G'\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "'G'" `vm.memory` is not a memory size: "G" / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
    "#]],
    );
}

#[test]
fn memory_with_two_letters_is_refused() {
    check_body(
        "vm.memory = '4GB'\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "'4GB'" `vm.memory` is not a memory size: "4GB" / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
    "#]],
    );
}

// U1
#[test]
fn memory_that_smuggles_options_is_refused() {
    check_body(
        "vm.memory = '64M,maxmem=1G,slots=2'\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "'64M,maxmem=1G,slots=2'" `vm.memory` is not a memory size: "64M,maxmem=1G,slots=2" / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
    "#]],
    );
}

#[test]
fn memory_of_zero_is_refused() {
    check_body(
        "vm.memory = '0G'\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "'0G'" `vm.memory` is zero / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
    "#]],
    );
}

#[test]
fn too_little_memory_is_refused() {
    check_body(
        "vm.memory = '16M'\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "'16M'" `vm.memory` is too small for a guest to boot: "16M" / give it at least 32M; write a number with a unit, such as "512M" or "4G"; a bare number is MiB
    "#]],
    );
}

#[test]
fn a_bare_number_of_bytes_is_too_much_memory() {
    check_body(
        "vm.memory = '4294967296'\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "'4294967296'" `vm.memory` is more than a machine can have: "4294967296" / the most is 64T
    "#]],
    );
}

#[test]
fn empty_memory_is_refused() {
    check_body(
        "vm.memory = ''\n",
        &expect![[r#"
        error[invalid_memory] 5:13 "''" `vm.memory` is not a memory size: "" / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
    "#]],
    );
}

#[test]
fn memory_of_every_form_is_fine() {
    check_body("vm.memory = '1.5g'\n", &expect![[""]]);
}

#[test]
fn a_bare_time_gets_its_unit() {
    check_body(
        "timeout = '90'\n",
        &expect![[r#"
        error[invalid_duration] 5:11 "'90'" `timeout` has no unit: "90" / write "90s" for seconds
    "#]],
    );
}

#[test]
fn a_time_in_words_is_refused() {
    check_body(
        "timeout = '5 minutes'\n",
        &expect![[r#"
        error[invalid_duration] 5:11 "'5 minutes'" `timeout` is not a time: "5 minutes" / write a number with a unit (ms, s, m, h, d), such as "90s", "5m" or "1h30m"
    "#]],
    );
}

#[test]
fn an_empty_time_is_refused() {
    check_body(
        "timeout = ''\n",
        &expect![[r#"
        error[invalid_duration] 5:11 "''" `timeout` is not a time: "" / write a number with a unit (ms, s, m, h, d), such as "90s", "5m" or "1h30m"
    "#]],
    );
}

#[test]
fn a_time_of_zero_is_refused() {
    check_body(
        "boot_timeout = '0s'\n",
        &expect![[r#"
        error[invalid_duration] 5:16 "'0s'" `boot_timeout` is zero / leave the key out for no limit of your own
    "#]],
    );
}

#[test]
fn a_time_of_years_is_refused() {
    check_body(
        "boot_timeout = '1000d'\n",
        &expect![[r#"
        error[invalid_duration] 5:16 "'1000d'" `boot_timeout` is too long: "1000d" / the most is 365d; leave the key out for no limit
    "#]],
    );
}

#[test]
fn a_time_of_several_units_is_fine() {
    check_body(
        "timeout = '1h30m'
boot_timeout = '500ms'
",
        &expect![[""]],
    );
}

#[test]
fn an_empty_rootfs_is_refused() {
    check_body(
        "rootfs = ''\n",
        &expect![[r#"
            error[empty_value] 5:10 "''" `rootfs` is empty / write for example rootfs = "./rootfs"
        "#]],
    );
}

#[test]
fn an_empty_qemu_command_is_refused() {
    check_body(
        "qemu_command = ''\n",
        &expect![[r#"
            error[empty_value] 5:16 "''" `qemu_command` is empty / write for example qemu_command = "qemu-kvm"
        "#]],
    );
}

#[test]
fn empty_kvm_cpu_args_are_refused() {
    check_body(
        "kvm_cpu_args = ''\n",
        &expect![[r#"
        error[empty_value] 5:16 "''" `kvm_cpu_args` is empty / write for example kvm_cpu_args = "host,-avx512f"
    "#]],
    );
}

#[test]
fn empty_kernel_args_are_fine() {
    check_body("kernel_args = ''\n", &expect![[""]]);
}

// U1
#[test]
fn a_nul_character_is_refused_in_any_string() {
    check_body(
        r#"rootfs = "a\u0000b"
"#,
        &expect![[r#"
            error[nul_character] 5:10 "\"a\\u0000b\"" `rootfs` has a NUL character in it / remove it: no program could be given it
        "#]],
    );
}

#[test]
fn a_nul_character_is_refused_in_a_list() {
    check_body(
        r#"vm.extra_args = ["a\u0000b"]
"#,
        &expect![[r#"
            error[nul_character] 5:18 "\"a\\u0000b\"" a string of `vm.extra_args` has a NUL character in it / remove it: no program could be given it
        "#]],
    );
}

// U1
#[test]
fn a_nul_character_is_refused_in_a_variable() {
    check_body(
        r#"env.A = "a\u0000b"
"#,
        &expect![[r#"
            error[nul_character] 5:9 "\"a\\u0000b\"" `env.A` has a NUL character in it / remove it: no program could be given it
        "#]],
    );
}

#[test]
fn a_nul_character_is_refused_in_a_variables_name() {
    check_body(
        r#"env."a\u0000b" = '1'
"#,
        &expect![[r#"
            error[nul_character] 5:5 "\"a\\u0000b\"" a name has a NUL character in it / remove it
        "#]],
    );
}

#[test]
fn a_nul_character_is_refused_in_kernel_args() {
    check_body(
        r#"kernel_args = "a\u0000b"
"#,
        &expect![[r#"
            error[nul_character] 5:15 "\"a\\u0000b\"" `kernel_args` has a NUL character in it / remove it: no program could be given it
        "#]],
    );
}

// U1
#[test]
fn a_line_break_in_kernel_args_is_refused() {
    check_body(
        "kernel_args = '''
ro
quiet
'''
",
        &expect![[r#"
            error[invalid_kernel_args] 5:15 "'''\nro\nquiet\n'''" `kernel_args` has a line break in it / write it as one line, with blanks between the parameters
        "#]],
    );
}

#[test]
fn line_breaks_around_kernel_args_are_fine() {
    check_body(
        "kernel_args = '''
ro quiet
'''
",
        &expect![[""]],
    );
}

// U1
#[test]
fn an_open_quote_in_kernel_args_is_refused() {
    check_body(
        r#"kernel_args = 'foo="a b'
"#,
        &expect![[r#"
            error[invalid_kernel_args] 5:15 "'foo=\"a b'" `kernel_args` has a `"` that is never closed / close it: the kernel would take everything that follows as one parameter
        "#]],
    );
}

#[test]
fn closed_quotes_in_kernel_args_are_fine() {
    check_body(
        r#"kernel_args = 'foo="a b" bar'
"#,
        &expect![[""]],
    );
}

#[test]
fn an_empty_variable_name_is_refused() {
    check_body(
        "env.'' = '1'\n",
        &expect![[r#"
        error[invalid_env_name] 5:5 "''" the name of an environment variable is empty / use letters, digits and underscores
    "#]],
    );
}

// U1
#[test]
fn a_variable_name_with_an_equals_sign_is_refused() {
    check_body(
        "env.'A=B' = '1'\n",
        &expect![[r#"
        error[invalid_env_name] 5:5 "'A=B'" the name of an environment variable has a `=` in it: "A=B" / use letters, digits and underscores
    "#]],
    );
}

#[test]
fn any_other_variable_name_is_fine() {
    check_body(
        "[target.env]
'with blank' = ''
_1 = 'é'
",
        &expect![[""]],
    );
}

#[test]
fn an_inherited_name_with_an_equals_sign_is_refused() {
    check_body(
        "inherit_env = ['PATH=/bin', '', 'HOME']\n",
        &expect![[r#"
        error[invalid_env_name] 5:16 "'PATH=/bin'" a string of `inherit_env` has a `=` in it: "PATH=/bin" / use letters, digits and underscores
        error[invalid_env_name] 5:29 "''" a string of `inherit_env` is empty / use letters, digits and underscores
    "#]],
    );
}

#[test]
fn inherit_env_may_be_a_boolean() {
    check_body("inherit_env = false\n", &expect![[""]]);
}

#[test]
fn an_unknown_arch_is_a_warning() {
    check_body(
        "arch = 'm68k'\n",
        &expect![[r#"
        warning[unknown_arch] 5:8 "'m68k'" unknown architecture "m68k" / write `x86_64`, `aarch64`, `riscv64` or `s390x`; as it is, the target cannot run
    "#]],
    );
}

#[test]
fn an_empty_arch_is_a_warning() {
    check_body(
        "arch = ''\n",
        &expect![[r#"
        warning[unknown_arch] 5:8 "''" unknown architecture "" / write `x86_64`, `aarch64`, `riscv64` or `s390x`; as it is, the target cannot run
    "#]],
    );
}

#[test]
fn an_arch_by_another_name_is_a_warning() {
    check_body(
        "arch = 'arm64'\n",
        &expect![[r#"
            warning[unknown_arch] 5:8 "'arm64'" unknown architecture "arm64" / write "aarch64", QEMU's name for it
                fix: Change it to `aarch64`: "'arm64'" -> "\"aarch64\""
        "#]],
    );
}

#[test]
fn a_known_arch_is_fine() {
    check_body("arch = 'riscv64'\n", &expect![[""]]);
}

#[test]
fn kvm_cpu_args_for_a_foreign_arch_have_no_effect() {
    check_body(
        "arch = 'aarch64'
kvm_cpu_args = 'host'
",
        &expect![[r#"
            warning[no_effect] 6:1 "kvm_cpu_args" `kvm_cpu_args` has no effect: a guest of a foreign architecture runs without KVM / remove `kvm_cpu_args`
        "#]],
    );
}

#[test]
fn kvm_cpu_args_for_the_hosts_arch_are_fine() {
    check_body(
        "arch = 'x86_64'
kvm_cpu_args = 'host,-avx'
",
        &expect![[""]],
    );
}
