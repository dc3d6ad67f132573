//! Values of the wrong type; each text goes into a target that is right without it.

use expect_test::expect;

use crate::check_body;

#[test]
fn a_number_for_a_string_is_put_in_quotes() {
    check_body(
        "rootfs = 1\n",
        &expect![[r#"
        error[wrong_type] 5:10 "1" `rootfs` must be a string, not an integer / write "1"
            fix: Write `"1"`: "1" -> "\"1\""
    "#]],
    );
}

#[test]
fn a_float_for_a_string_is_put_in_quotes() {
    check_body(
        "arch = 1.5\n",
        &expect![[r#"
        error[wrong_type] 5:8 "1.5" `arch` must be a string, not a float / write "1.5"
            fix: Write `"1.5"`: "1.5" -> "\"1.5\""
    "#]],
    );
}

#[test]
fn a_date_for_a_string_is_put_in_quotes() {
    check_body(
        "kvm_cpu_args = 2024-01-01\n",
        &expect![[r#"
        error[wrong_type] 5:16 "2024-01-01" `kvm_cpu_args` must be a string, not a date / write "2024-01-01"
            fix: Write `"2024-01-01"`: "2024-01-01" -> "\"2024-01-01\""
    "#]],
    );
}

#[test]
fn a_boolean_for_a_string_is_put_in_quotes() {
    check_body(
        "qemu_command = true\n",
        &expect![[r#"
        error[wrong_type] 5:16 "true" `qemu_command` must be a string, not a boolean / write "true"
            fix: Write `"true"`: "true" -> "\"true\""
    "#]],
    );
}

#[test]
fn a_list_for_a_string_is_refused() {
    check_body(
        "kernel_args = ['ro', 'quiet']\n",
        &expect![[r#"
        error[wrong_type] 5:15 "['ro', 'quiet']" `kernel_args` must be a string, not a list / write for example kernel_args = "loglevel=7 ro"
    "#]],
    );
}

#[test]
fn a_table_for_a_string_is_refused() {
    check_body(
        "rootfs = {}\n",
        &expect![[r#"
        error[wrong_type] 5:10 "{}" `rootfs` must be a string, not a table / write for example rootfs = "./rootfs"
    "#]],
    );
}

#[test]
fn a_number_for_a_time_gets_its_unit() {
    check_body(
        "timeout = 90\n",
        &expect![[r#"
        error[wrong_type] 5:11 "90" `timeout` must be a string, not an integer / write "90s"
            fix: Write `"90s"`: "90" -> "\"90s\""
    "#]],
    );
}

#[test]
fn a_negative_number_for_a_time_is_refused() {
    check_body(
        "timeout = -90\n",
        &expect![[r#"
            error[wrong_type] 5:11 "-90" `timeout` must be a string, not an integer / write for example timeout = "5m"
        "#]],
    );
}

#[test]
fn a_number_for_a_size_gets_its_unit() {
    check_body(
        "vm.memory = 4096\n",
        &expect![[r#"
        error[wrong_type] 5:13 "4096" `vm.memory` must be a string, not an integer / write "4096M"
            fix: Write `"4096M"`: "4096" -> "\"4096M\""
    "#]],
    );
}

#[test]
fn a_quoted_boolean_loses_its_quotes() {
    check_body(
        "fail_on_kernel_bug = 'true'\n",
        &expect![[r#"
        error[wrong_type] 5:22 "'true'" `fail_on_kernel_bug` must be a boolean, not a string / write true
            fix: Write `true`: "'true'" -> "true"
    "#]],
    );
}

#[test]
fn a_number_for_a_boolean_is_refused() {
    check_body(
        "vm.network = 1\n",
        &expect![[r#"
        error[wrong_type] 5:14 "1" `vm.network` must be a boolean, not an integer / write for example network = true
    "#]],
    );
}

#[test]
fn a_word_for_a_boolean_is_refused() {
    check_body(
        "vm.network = 'yes'\n",
        &expect![[r#"
        error[wrong_type] 5:14 "'yes'" `vm.network` must be a boolean, not a string / write for example network = true
    "#]],
    );
}

#[test]
fn a_quoted_number_loses_its_quotes() {
    check_body(
        "vm.num_cpus = '4'\n",
        &expect![[r#"
        error[wrong_type] 5:15 "'4'" `vm.num_cpus` must be an integer, not a string / write 4
            fix: Write `4`: "'4'" -> "4"
    "#]],
    );
}

#[test]
fn a_quoted_number_out_of_range_is_refused() {
    check_body(
        "vm.num_cpus = '400'\n",
        &expect![[r#"
        error[wrong_type] 5:15 "'400'" `vm.num_cpus` must be an integer, not a string / write for example num_cpus = 4
    "#]],
    );
}

#[test]
fn a_float_for_a_number_is_refused() {
    check_body(
        "vm.num_cpus = 2.0\n",
        &expect![[r#"
        error[wrong_type] 5:15 "2.0" `vm.num_cpus` must be an integer, not a float / write for example num_cpus = 4
    "#]],
    );
}

#[test]
fn no_processor_is_out_of_range() {
    check_body(
        "vm.num_cpus = 0\n",
        &expect![[r#"
        error[out_of_range] 5:15 "0" `vm.num_cpus` is out of range: 0 / write a number from 1 to 255; the default is 2
    "#]],
    );
}

#[test]
fn too_many_processors_are_out_of_range() {
    check_body(
        "vm.num_cpus = 256\n",
        &expect![[r#"
        error[out_of_range] 5:15 "256" `vm.num_cpus` is out of range: 256 / write a number from 1 to 255; the default is 2
    "#]],
    );
}

#[test]
fn a_negative_number_is_out_of_range() {
    check_body(
        "vm.num_cpus = -1\n",
        &expect![[r#"
        error[out_of_range] 5:15 "-1" `vm.num_cpus` is out of range: -1 / write a number from 1 to 255; the default is 2
    "#]],
    );
}

#[test]
fn a_number_beyond_all_integers_is_out_of_range() {
    check_body(
        "vm.num_cpus = 99999999999999999999\n",
        &expect![[r#"
        error[out_of_range] 5:15 "99999999999999999999" `vm.num_cpus` is out of range: 99999999999999999999 / write a number from 1 to 255; the default is 2
    "#]],
    );
}

#[test]
fn a_hexadecimal_number_out_of_range_is_shown_as_written() {
    check_body(
        "vm.num_cpus = 0x1_00\n",
        &expect![[r#"
        error[out_of_range] 5:15 "0x1_00" `vm.num_cpus` is out of range: 0x100 / write a number from 1 to 255; the default is 2
    "#]],
    );
}

#[test]
fn a_hexadecimal_number_is_a_number() {
    check_body("vm.num_cpus = 0x10\n", &expect![[""]]);
}

#[test]
fn a_string_for_a_list_gets_its_brackets() {
    check_body(
        "vm.extra_args = '-snapshot'\n",
        &expect![[r#"
        error[wrong_type] 5:17 "'-snapshot'" `vm.extra_args` must be a list of strings, not a string / write ["-snapshot"]
            fix: Write `["-snapshot"]`: "'-snapshot'" -> "[\"-snapshot\"]"
    "#]],
    );
}

#[test]
fn a_number_in_a_list_of_strings_is_put_in_quotes() {
    check_body(
        "vm.extra_args = ['-smp', 2, true]\n",
        &expect![[r#"
        error[wrong_type] 5:26 "2" `vm.extra_args` has an integer in it, where only strings may be / write "2"
            fix: Put it in quotes: "2" -> "\"2\""
        error[wrong_type] 5:29 "true" `vm.extra_args` has a boolean in it, where only strings may be / write "true"
            fix: Put it in quotes: "true" -> "\"true\""
    "#]],
    );
}

#[test]
fn a_list_in_a_list_of_strings_is_refused() {
    check_body(
        "vm.extra_args = [['-smp']]\n",
        &expect![[r#"
        error[wrong_type] 5:18 "['-smp']" `vm.extra_args` has a list in it, where only strings may be / write extra_args = ["-device", "virtio-rng-pci"]
    "#]],
    );
}

#[test]
fn a_string_for_inherit_env_gets_its_brackets() {
    check_body(
        "inherit_env = 'PATH'\n",
        &expect![[r#"
        error[wrong_type] 5:15 "'PATH'" `inherit_env` must be a boolean or a list of strings, not a string / write ["PATH"]
            fix: Write `["PATH"]`: "'PATH'" -> "[\"PATH\"]"
    "#]],
    );
}

#[test]
fn a_quoted_boolean_for_inherit_env_loses_its_quotes() {
    check_body(
        "inherit_env = 'false'\n",
        &expect![[r#"
        error[wrong_type] 5:15 "'false'" `inherit_env` must be a boolean or a list of strings, not a string / write false
            fix: Write `false`: "'false'" -> "false"
    "#]],
    );
}

#[test]
fn a_number_for_inherit_env_is_refused() {
    check_body(
        "inherit_env = 1\n",
        &expect![[r#"
        error[wrong_type] 5:15 "1" `inherit_env` must be a boolean or a list of strings, not an integer / write for example inherit_env = ["HOME", "CI"]
    "#]],
    );
}

#[test]
fn a_vm_that_is_a_list_of_tables_is_led_to_single_brackets() {
    check_body(
        "[[target.vm]]
memory = '1G'
",
        &expect![[r#"
            error[wrong_type] 5:1 "[[target.vm]]" `vm` must be a table, not a list / write `[target.vm]` with single brackets: a target has only one
                fix: Use single brackets: "[[target.vm]]" -> "[target.vm]"
        "#]],
    );
}

#[test]
fn a_vm_that_is_a_string_is_refused() {
    check_body(
        "vm = '4G'\n",
        &expect![[r#"
        error[wrong_type] 5:6 "'4G'" `vm` must be a table, not a string / write the keys of it below [target.vm]
    "#]],
    );
}

#[test]
fn mounts_that_are_a_list_are_refused() {
    check_body(
        "vm.mounts = ['/a']\n",
        &expect![[r#"
        error[wrong_type] 5:13 "['/a']" `vm.mounts` must be a table, not a list / write for example mounts = { "/mnt/data" = { host_path = "./data" } }
    "#]],
    );
}

#[test]
fn a_mount_that_is_a_string_becomes_a_table() {
    check_body(
        "vm.mounts.'/data' = '/d'\n",
        &expect![[r#"
        error[wrong_type] 5:21 "'/d'" `vm.mounts."/data"` must be a table, not a string / write { host_path = "/d" }
            fix: Write `{ host_path = "/d" }`: "'/d'" -> "{ host_path = \"/d\" }"
    "#]],
    );
}

#[test]
fn a_mount_that_is_a_list_of_tables_is_led_to_single_brackets() {
    check_body(
        "[[target.vm.mounts.'/data']]
host_path = '/d'
",
        &expect![[r#"
            error[wrong_type] 5:1 "[[target.vm.mounts.'/data']]" `vm.mounts."/data"` must be a table, not a list / write `[target.vm.mounts.'/data']` with single brackets: a target has only one
                fix: Use single brackets: "[[target.vm.mounts.'/data']]" -> "[target.vm.mounts.'/data']"
        "#]],
    );
}

#[test]
fn a_mounts_host_path_is_a_string() {
    check_body(
        "vm.mounts.'/data'.host_path = 1\n",
        &expect![[r#"
        error[wrong_type] 5:31 "1" `vm.mounts."/data".host_path` must be a string, not an integer / write "1"
            fix: Write `"1"`: "1" -> "\"1\""
    "#]],
    );
}

#[test]
fn a_mounts_writable_is_a_boolean() {
    check_body(
        "vm.mounts.'/data' = { host_path = '/d', writable = 'true' }\n",
        &expect![[r#"
        error[wrong_type] 5:52 "'true'" `vm.mounts."/data".writable` must be a boolean, not a string / write true
            fix: Write `true`: "'true'" -> "true"
    "#]],
    );
}

#[test]
fn env_that_is_a_list_is_refused() {
    check_body(
        "env = ['A=1']\n",
        &expect![[r#"
        error[wrong_type] 5:7 "['A=1']" `env` must be a table, not a list / write for example env = { RUST_BACKTRACE = "1" }
    "#]],
    );
}

#[test]
fn a_number_in_env_is_put_in_quotes() {
    check_body(
        "env.RUST_BACKTRACE = 1\n",
        &expect![[r#"
            error[wrong_type] 5:22 "1" `env.RUST_BACKTRACE` must be a string, not an integer / write "1"
                fix: Write `"1"`: "1" -> "\"1\""
        "#]],
    );
}

#[test]
fn a_boolean_in_env_is_put_in_quotes() {
    check_body(
        "[target.env]
CI = true
",
        &expect![[r#"
            error[wrong_type] 6:6 "true" `env.CI` must be a string, not a boolean / write "true"
                fix: Write `"true"`: "true" -> "\"true\""
        "#]],
    );
}

#[test]
fn all_problems_are_said_at_once() {
    check_body(
        "timeout = 1
memroy = 2
uefi = 'x'
[target.vm]
num_cpus = 0
memory = 'x'
foo = 1
",
        &expect![[r#"
            error[wrong_type] 5:11 "1" `timeout` must be a string, not an integer / write "1s"
                fix: Write `"1s"`: "1" -> "\"1s\""
            warning[misplaced_key] 6:1 "memroy" unknown key `memroy` in `[[target]]`; it has no effect / `memory` belongs into [target.vm]
            error[wrong_type] 7:8 "'x'" `uefi` must be a boolean, not a string / write for example uefi = true
            error[out_of_range] 9:12 "0" `vm.num_cpus` is out of range: 0 / write a number from 1 to 255; the default is 2
            error[invalid_memory] 10:10 "'x'" `vm.memory` is not a memory size: "x" / write a number with a unit, such as "512M" or "4G"; a bare number is MiB
            warning[unknown_key] 11:1 "foo" unknown key `foo` in `vm`; it has no effect / see docs/config.md for the keys that there are
        "#]],
    );
}
