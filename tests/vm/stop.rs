//! Signals to `vmtest`: the run is over soon, and nothing of it is left.

mod phases;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vmtest_tests::{Outcome, Project, Running};

/// Longest time from the signal to the end. QEMU follows at once; the rest is for a machine with other work.
const SOON: Duration = Duration::from_secs(5);
const BOOTING: &str = "\"event\":\"console\"";
const RUNNING: &str = "begun\\n";

fn start(project: &Project, phase: &str) -> Running {
    // A guest that is resumed does not boot.
    let running = project
        .vmtest(["--format", "json"].into_iter().chain((phase == BOOTING).then_some("--cold")))
        .start();
    running.wait_for(phase);
    // There is one to be left behind.
    running.qemu();
    running
}

#[track_caller]
fn stopped(phase: &str, signal: Signal) -> Outcome {
    let project = Project::one("echo begun; sleep 1000");
    let mut running = start(&project, phase);
    let sent = Instant::now();
    running.signal(signal);
    let run = running.finish();
    run.check(sent.elapsed() < SOON, &format!("it took {:?}", sent.elapsed()));
    run
}

#[track_caller]
fn expect_cancelled(phase: &str, signal: Signal, status: i32) {
    stopped(phase, signal).expect_status(status).expect_verdict("cancelled");
}

// H1
#[test]
fn sigint_while_it_boots_cancels_the_run() {
    expect_cancelled(BOOTING, Signal::SIGINT, 130);
}

// H1
#[test]
fn sigint_while_the_command_runs_cancels_the_run() {
    expect_cancelled(RUNNING, Signal::SIGINT, 130);
}

// H1
#[test]
fn sigterm_while_it_boots_cancels_the_run() {
    expect_cancelled(BOOTING, Signal::SIGTERM, 143);
}

// H1
#[test]
fn sigterm_while_the_command_runs_cancels_the_run() {
    expect_cancelled(RUNNING, Signal::SIGTERM, 143);
}

// H1
#[test]
fn sighup_while_it_boots_cancels_the_run() {
    expect_cancelled(BOOTING, Signal::SIGHUP, 129);
}

// H2
#[test]
fn sigkill_while_it_boots_takes_qemu_along() {
    let run = stopped(BOOTING, Signal::SIGKILL);
    run.check(run.signal == Some(9), "it was not killed");
}

// H2
#[test]
fn sigkill_while_the_command_runs_takes_qemu_and_virtiofsd_along_and_the_next_run_works() {
    let project = Project::one("test -e again || { echo begun; sleep 1000; }");
    let mut running = start(&project, RUNNING);
    // The harness sees that it goes along, too.
    let has_server = running.processes().iter().any(|process| process.name.starts_with("virtiofsd"));
    assert_eq!(has_server, !running.has_written("\"share\":\"9p\""), "{:?}", running.processes());
    running.signal(Signal::SIGKILL);
    let run = running.finish();
    run.check(run.signal == Some(9), "it was not killed");
    project.write("again", "");
    project.run_json().expect_status(0);
}

#[test]
fn a_cancelled_run_says_so_for_every_target_that_waits() {
    let all =
        vmtest_tests::target("a", "", "echo begun; sleep 1000") + &vmtest_tests::target("b", "", "true");
    let project = Project::new(&all);
    let mut running = start(&project, RUNNING);
    running.signal(Signal::SIGINT);
    let run = running.finish();
    run.expect_status(130);
    run.check(run.finished_of("b")["verdict"] == "cancelled", "the second target has another end");
}
