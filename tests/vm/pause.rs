//! vmtest is stopped and goes on, by signals and by the keys of a shell with job control.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use vmtest_tests::{Outcome, Project, Pty, Running, target};

/// Stops a run for so long; being stopped is what is tested.
fn pause(running: &mut Running, time: Duration) {
    running.signal(Signal::SIGSTOP);
    sleep(time);
    running.signal(Signal::SIGCONT);
}

/// Stops the run of a target when it has written `when`, for longer than any of its limits.
#[track_caller]
fn paused(keys: &str, command: &str, when: &str, time: u64) -> Outcome {
    // With a guest that is kept the limits can be short.
    Project::one("true").run_json().expect_status(0);
    let project = Project::new(&target("t", keys, command));
    let mut running = project.vmtest(["--format", "json"]).start();
    running.wait_for(when);
    pause(&mut running, Duration::from_secs(time));
    running.finish()
}

// H3
#[test]
fn a_stop_while_the_command_runs_does_not_count_for_its_timeout() {
    let run = paused("timeout = '4s'", "echo begun; sleep 1; exit 3", "begun\\n", 6);
    run.expect_status(3).expect_verdict("failed").expect_guest_text("begun\n");
}

// H3
#[test]
fn a_stop_while_the_guest_comes_up_does_not_count_for_its_limit() {
    let run = paused("boot_timeout = '20s'", "exit 3", "\"event\":\"booting\"", 22);
    run.expect_status(3).expect_verdict("failed");
}

// H3
#[test]
fn a_timeout_that_a_stop_has_interrupted_still_ends_the_command() {
    let run = paused("timeout = '8s'", "echo begun; sleep 1000", "begun\\n", 2);
    run.expect_status(124).expect_verdict("timed_out");
}

// H3
#[test]
fn a_cancelled_run_that_is_stopped_meanwhile_ends() {
    let project = Project::one("echo begun; sleep 1000");
    let mut running = project.vmtest(["--format", "json"]).start();
    running.wait_for("begun\\n");
    running.signal(Signal::SIGINT);
    pause(&mut running, Duration::from_secs(5));
    running.finish().expect_status(130).expect_verdict("cancelled");
}

/// A shell of this machine with job control, which starts vmtest and then does what is typed. What is typed is in two parts, so that what the terminal
/// echoes is not taken for an answer.
fn under_a_shell(project: &Project, args: &[&str]) -> Pty {
    let script = r#"set -m; "$@"; echo "status-$?"; while read -r line; do eval "$line"; done"#;
    let words = ["bash", "-c", script, "shell"];
    project.vmtest(args).inside_words(words).leaves(["go"]).start_on_terminal(24, 80)
}

// H3
#[test]
fn ctrl_z_stops_a_run_on_a_terminal_and_fg_goes_on_with_it() {
    let project = Project::new(&target(
        "t",
        "timeout = '20s'",
        "echo be''gun; until test -e go; do sleep 0.2; done; exit 3",
    ));
    let mut shell = under_a_shell(&project, &[]);
    shell.wait_for("begun");
    shell.keys("\x1a");
    // The shell has the terminal again, and it is one that echoes and edits.
    shell.wait_for("status-148");
    shell.keys("stty -a\r");
    shell.wait_for(" icanon");
    shell.wait_for(" echo ");
    project.write("go", "");
    shell.keys("fg; exit $?\r");
    let run = shell.finish();
    run.expect_status(3).expect_text("Command failed with exit code: 3");
}
