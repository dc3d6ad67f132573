//! What stands over the targets.

use expect_test::{Expect, expect};
use vmtest_ide::{RunState, TargetRef};

use crate::support::{analysis, slice};

fn check(text: &str, state: &dyn Fn(&TargetRef) -> RunState, expected: Expect) {
    let lenses = analysis(text).lenses(state);
    let lines: Vec<_> = lenses
        .into_iter()
        .map(|lens| format!("{:?} {} {:?}\n", slice(text, &lens.range), lens.title, lens.action))
        .collect();
    expected.assert_eq(&lines.concat());
}

const TWO: &str = "[[target]]\nname = \"a\"\n[[target]]\nname = \"b\"\n";

#[test]
fn every_target_can_be_run_and_entered() {
    check(
        "# x\n[[target]]\nname = \"a\"\n",
        &|_| RunState::Idle,
        expect![[r#"
        "[[target]]" ▶ Run in VM Run(TargetRef { name: "a", index: 0 })
        "[[target]]" Shell Shell(TargetRef { name: "a", index: 0 })
    "#]],
    );
}

#[test]
fn several_targets_can_be_run_at_once() {
    check(
        TWO,
        &|_| RunState::Idle,
        expect![[r#"
        "[[target]]" ▶ Run all RunAll
        "[[target]]" ▶ Run in VM Run(TargetRef { name: "a", index: 0 })
        "[[target]]" Shell Shell(TargetRef { name: "a", index: 0 })
        "[[target]]" ▶ Run in VM Run(TargetRef { name: "b", index: 1 })
        "[[target]]" Shell Shell(TargetRef { name: "b", index: 1 })
    "#]],
    );
}

#[test]
fn an_interactive_shell_is_entered_and_not_run() {
    check(
        "[[target]]\nname = \"a\"\ncommand = '-'\n",
        &|_| RunState::Idle,
        expect![[r#"
        "[[target]]" Shell Shell(TargetRef { name: "a", index: 0 })
    "#]],
    );
}

#[test]
fn a_target_that_runs_can_be_stopped() {
    let state = |target: &TargetRef| match target.index {
        0 => RunState::Active { phase: "booting, 2 s".into() },
        _ => RunState::Idle,
    };
    check(
        TWO,
        &state,
        expect![[r#"
        "[[target]]" ▶ Run all RunAll
        "[[target]]" ■ Stop (booting, 2 s) Stop(TargetRef { name: "a", index: 0 })
        "[[target]]" ▶ Run in VM Run(TargetRef { name: "b", index: 1 })
        "[[target]]" Shell Shell(TargetRef { name: "b", index: 1 })
    "#]],
    );
}

#[test]
fn a_target_that_ran_shows_how_it_ended() {
    let state = |target: &TargetRef| RunState::Ended {
        passed: target.name == "a",
        summary: if target.name == "a" { "0.9 s".into() } else { "exit 3".into() },
        log: target.name == "b",
    };
    check(
        TWO,
        &state,
        expect![[r#"
        "[[target]]" ▶ Run all RunAll
        "[[target]]" ✓ 0.9 s Run(TargetRef { name: "a", index: 0 })
        "[[target]]" ▶ Run in VM Run(TargetRef { name: "a", index: 0 })
        "[[target]]" Shell Shell(TargetRef { name: "a", index: 0 })
        "[[target]]" ✗ exit 3 Log(TargetRef { name: "b", index: 1 })
        "[[target]]" ▶ Run in VM Run(TargetRef { name: "b", index: 1 })
        "[[target]]" Shell Shell(TargetRef { name: "b", index: 1 })
    "#]],
    );
}

#[test]
fn a_target_without_a_name_has_its_lenses() {
    check(
        "[[target\n",
        &|_| RunState::Idle,
        expect![[r#"
        "[[target" ▶ Run in VM Run(TargetRef { name: "", index: 0 })
        "[[target" Shell Shell(TargetRef { name: "", index: 0 })
    "#]],
    );
}
