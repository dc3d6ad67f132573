//! The user's terminal when vmtest itself fails.

use vmtest_tests::{Outcome, Project, Pty, target};

/// It ends with its message on a terminal that is as it was; that it left no machine is looked at with every end.
#[track_caller]
fn expect_panic(shown: Pty) -> Outcome {
    let run = shown.finish();
    run.expect_status(101).expect_text("a panic on purpose at `command_started`");
    run
}

// H4
#[test]
fn a_panic_while_windows_are_drawn_ends_the_machine_and_leaves_the_terminal_as_it_was() {
    let project = Project::new(&target("t", "", "sleep 1000"));
    let run = project
        .vmtest::<&str>([])
        .env("VMTEST_PANIC_AT", "command_started")
        .panics()
        .start_on_terminal(24, 80);
    expect_panic(run);
}

// H4
#[test]
fn a_panic_while_a_shell_has_the_terminal_gives_it_back_before_the_message() {
    let project = Project::new("");
    let shell = project.vmtest(["-k", "{stable}", "-"]).env("VMTEST_PANIC_AT", "command_started").panics();
    let run = expect_panic(shell.start_on_terminal(24, 80));
    // On a raw terminal lines would not begin in the first column.
    run.expect_text("\r\nnote: run with `RUST_BACKTRACE=1`");
}
