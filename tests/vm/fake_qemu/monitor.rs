//! A monitor that does not keep to the protocol: a deadline, a limit, a sentence that says what it did.

use std::time::Duration;

use super::{expect_boot_failed, failing, most_memory, project, run};

/// vmtest itself with an initramfs, and one line as long as a line may be.
const MOST_MEMORY: u64 = 300;

// Q2
#[test]
fn a_greeting_that_has_no_end_is_waited_for_until_the_deadline() {
    let run = run("half-greeting");
    expect_boot_failed(&run, "monitor did not answer");
    run.check(run.elapsed < Duration::from_secs(60), "it was waited for too long");
}

// Q2
#[test]
fn a_gigabyte_in_one_line_is_a_failed_boot_and_takes_no_gigabyte() {
    let project = project();
    let running = failing(&project, "long-greeting").start();
    let most = most_memory(&running);
    let run = running.finish();
    expect_boot_failed(&run, "a line of over 48 MiB");
    run.check(most < MOST_MEMORY, &format!("it took {most} MiB"));
}

// Q2
#[test]
fn a_monitor_that_speaks_no_json_is_a_failed_boot() {
    expect_boot_failed(&run("no-json"), "expected value at line 1");
}

// Q2
#[test]
fn an_answer_to_another_question_is_a_failed_boot() {
    expect_boot_failed(&run("wrong-id"), "monitor makes no sense");
}

// Q2
#[test]
fn what_the_monitor_says_after_quit_changes_nothing() {
    run("event-after-quit").expect_status(0).expect_verdict("passed");
}

// Q2
#[test]
fn a_monitor_that_goes_away_does_not_change_the_commands_end() {
    run("closes-monitor").expect_status(0).expect_verdict("passed");
}

// Q2
#[test]
fn a_question_that_the_monitor_does_not_answer_does_not_keep_a_run_from_being_cancelled() {
    let project = project();
    let mut running = failing(&project, "stops-in-silence").start();
    running.wait_for("it boots");
    let sent = std::time::Instant::now();
    running.signal(nix::sys::signal::Signal::SIGINT);
    let run = running.finish();
    run.expect_status(130).expect_verdict("cancelled");
    run.check(sent.elapsed() < Duration::from_secs(15), "it was not cancelled soon");
}
