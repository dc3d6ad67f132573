//! Verdicts are true: each way in which a target can end.

use vmtest_tests::{Project, target};

#[test]
fn a_command_that_exits_with_0_passes() {
    let run = Project::one("true").run_json();
    run.expect_status(0).expect_verdict("passed");
}

#[test]
fn a_command_that_exits_with_12_fails_with_12() {
    let run = Project::one("exit 12").run_json();
    run.expect_status(12).expect_verdict("failed");
    run.check(run.finished()["exit_code"] == 12, "the exit code is not in the event");
}

#[test]
fn several_targets_exit_with_the_number_that_did_not_pass() {
    let all = target("a", "", "false") + &target("b", "", "true") + &target("c", "", "exit 7");
    let run = Project::new(&all).run_json();
    run.expect_status(2);
    let verdicts = ["a", "b", "c"].map(|name| run.finished_of(name)["verdict"].as_str().unwrap().to_owned());
    run.check(verdicts == ["failed", "passed", "failed"], &format!("{verdicts:?}"));
}

// G2
#[test]
fn a_command_that_kills_itself_was_killed() {
    let run = Project::one("kill -9 $$").run();
    run.expect_status(137).expect_line("Command killed by signal: 9 (SIGKILL)");
    run.expect_line("FAILED").expect_no_line("PASS");
}

#[test]
fn a_command_that_segfaults_was_killed() {
    let run = Project::one("exec ./guest-probe segfault").with_probe().run();
    run.expect_status(139).expect_line("Command killed by signal: 11 (SIGSEGV)");
    run.expect_line("FAILED").expect_no_line("PASS");
}

// G1, G2
#[test]
fn a_kernel_panic_is_a_kernel_bug_with_its_title() {
    let run = Project::one("echo c >/proc/sysrq-trigger").run_json();
    run.expect_status(70).expect_verdict("kernel_bug");
    let title = run.finished()["title"].as_str().unwrap().to_owned();
    run.check(title.contains("sysrq triggered crash"), &title);
    let bugs = run.events_named("kernel_bug");
    run.check(bugs.first().is_some_and(|bug| bug["title"] == title.as_str()), "no event says it");
}

#[test]
fn a_command_over_its_timeout_is_ended_within_2_seconds() {
    // Long enough for an emulated shell to have begun.
    let run = Project::new(&target("t", "timeout = '15s'", "echo begun; sleep 1000")).run_json();
    run.expect_status(124).expect_verdict("timed_out").expect_guest_text("begun\n");
    let finished = run.finished();
    let took = finished["durations"]["command_seconds"].as_f64().unwrap();
    run.check((15.0..17.0).contains(&took), &format!("the command ran for {took} s"));
    run.check(finished["limit_seconds"] == 15.0, "the limit is not in the event");
}
