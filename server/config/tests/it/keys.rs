//! Unknown keys; each text goes into a target that is right without it.

use expect_test::expect;

use crate::check_body;

#[test]
fn a_right_target_has_no_problem() {
    check_body("", &expect![[""]]);
}

#[test]
fn a_misspelt_key_is_a_warning() {
    check_body(
        "kernel_arg = 'ro'\n",
        &expect![[r#"
        warning[unknown_key] 5:1 "kernel_arg" unknown key `kernel_arg` in `[[target]]`; it has no effect / did you mean `kernel_args`?
            fix: Change it to `kernel_args`: "kernel_arg" -> "kernel_args"
    "#]],
    );
}

#[test]
fn a_dashed_key_is_led_to_its_underscore() {
    check_body(
        "kernel-args = 'ro'\n",
        &expect![[r#"
        warning[unknown_key] 5:1 "kernel-args" unknown key `kernel-args` in `[[target]]`; it has no effect / did you mean `kernel_args`?
            fix: Change it to `kernel_args`: "kernel-args" -> "kernel_args"
    "#]],
    );
}

#[test]
fn a_capital_key_is_led_to_its_small_letters() {
    check_body(
        "Timeout = '1s'\n",
        &expect![[r#"
        warning[unknown_key] 5:1 "Timeout" unknown key `Timeout` in `[[target]]`; it has no effect / did you mean `timeout`?
            fix: Change it to `timeout`: "Timeout" -> "timeout"
    "#]],
    );
}

#[test]
fn an_unknown_key_like_none_has_no_suggestion() {
    check_body(
        "description = 'x'\n",
        &expect![[r#"
        warning[unknown_key] 5:1 "description" unknown key `description` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
    "#]],
    );
}

#[test]
fn an_unknown_table_is_one_warning() {
    check_body(
        "[target.notes]
a = 1
b = 2
",
        &expect![[r#"
            warning[unknown_key] 5:9 "notes" unknown key `notes` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
        "#]],
    );
}

#[test]
fn a_vm_key_in_the_target_is_led_to_its_table() {
    check_body(
        "memory = '1G'\n",
        &expect![[r#"
        warning[misplaced_key] 5:1 "memory" unknown key `memory` in `[[target]]`; it has no effect / `memory` belongs into [target.vm]
    "#]],
    );
}

#[test]
fn a_target_key_in_vm_is_led_to_the_target() {
    check_body(
        "[target.vm]
kernel_args = 'ro'
",
        &expect![[r#"
            warning[misplaced_key] 6:1 "kernel_args" unknown key `kernel_args` in `vm`; it has no effect / `kernel_args` belongs into [[target]]
        "#]],
    );
}

#[test]
fn a_misspelt_vm_key_is_a_warning() {
    check_body(
        "vm.num_cpu = 1\n",
        &expect![[r#"
        warning[unknown_key] 5:4 "num_cpu" unknown key `num_cpu` in `vm`; it has no effect / did you mean `num_cpus`?
            fix: Change it to `num_cpus`: "num_cpu" -> "num_cpus"
    "#]],
    );
}

#[test]
fn another_programs_key_is_led_to_ours() {
    check_body(
        "[target.vm]
smp = 1
",
        &expect![[r#"
            warning[unknown_key] 6:1 "smp" unknown key `smp` in `vm`; it has no effect / did you mean `num_cpus`?
                fix: Change it to `num_cpus`: "smp" -> "num_cpus"
        "#]],
    );
}

#[test]
fn an_alias_of_another_table_is_led_there() {
    check_body(
        "cpus = 1\n",
        &expect![[r#"
        warning[misplaced_key] 5:1 "cpus" unknown key `cpus` in `[[target]]`; it has no effect / `num_cpus` belongs into [target.vm]
    "#]],
    );
}

#[test]
fn a_misspelt_mount_key_is_a_warning() {
    check_body(
        r#"[target.vm.mounts."/data"]
host_path = '/d'
writeable = true
"#,
        &expect![[r#"
            warning[unknown_key] 7:1 "writeable" unknown key `writeable` in `vm.mounts.…`; it has no effect / did you mean `writable`?
                fix: Change it to `writable`: "writeable" -> "writable"
        "#]],
    );
}

#[test]
fn a_key_with_a_dot_in_quotes_is_unknown() {
    check_body(
        r#""vm.memory" = '1G'
"#,
        &expect![[r#"
            warning[unknown_key] 5:1 "\"vm.memory\"" unknown key `vm.memory` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
        "#]],
    );
}

#[test]
fn a_star_is_no_key() {
    check_body(
        "'*' = 1\n",
        &expect![[r#"
            warning[unknown_key] 5:1 "'*'" unknown key `*` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
        "#]],
    );
}

#[test]
fn an_empty_key_is_unknown() {
    check_body(
        "'' = 1\n",
        &expect![[r#"
        warning[unknown_key] 5:1 "''" unknown key `` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
    "#]],
    );
}

#[test]
fn a_key_with_a_newline_is_shown_escaped() {
    check_body(
        r#""a\nb" = 1
"#,
        &expect![[r#"
            warning[unknown_key] 5:1 "\"a\\nb\"" unknown key `a\nb` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
        "#]],
    );
}

#[test]
fn a_very_long_key_is_shown_short() {
    check_body("kxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx = 1
", &expect![[r#"
    warning[unknown_key] 5:1 "kxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" unknown key `kxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` in `[[target]]`; it has no effect / see docs/config.md for the keys that there are
"#]]);
}
