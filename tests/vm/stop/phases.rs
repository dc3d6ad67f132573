//! Each signal in each phase, once and twice. A fake QEMU holds a run where it is to be held.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vmtest_tests::{Project, Running};

use super::SOON;
use crate::fake_qemu::{failing, project};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Longest time from the second signal to the end: less than the four seconds that a QEMU which does not leave gets.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Where the fake QEMU can hold a run, and what the console or the command says there.
#[derive(Debug, Clone, Copy)]
struct Phase {
    held_by: &'static str,
    mark: &'static str,
}

const BOOT: Phase = Phase { held_by: "holds boot", mark: "it boots" };
const SET_UP: Phase = Phase { held_by: "holds set-up", mark: "it is being set up" };
const COMMAND: Phase = Phase { held_by: "holds command", mark: "begun" };
/// The command has passed, and QEMU does not leave.
const TEARDOWN: Phase = Phase { held_by: "stubborn", mark: LEAVING };

/// QEMU was told to leave.
const LEAVING: &str = "it is told to quit";

fn start(project: &Project, fault: &str, phase: Phase) -> Running {
    let running = failing(project, fault).start();
    running.wait_for(phase.mark);
    running
}

#[track_caller]
fn expect_cancelled_by_one(phase: Phase) {
    for signal in SIGNALS {
        let project = project();
        let mut running = start(&project, phase.held_by, phase);
        let sent = Instant::now();
        running.signal(signal);
        let run = running.finish();
        run.expect_status(128 + signal as i32).expect_verdict("cancelled");
        run.check(sent.elapsed() < SOON, &format!("it took {:?}", sent.elapsed()));
    }
}

/// QEMU does not leave after the first.
#[track_caller]
fn expect_the_second_at_once(phase: Phase) {
    for signal in SIGNALS {
        let project = project();
        // What is left to be said is not waited for, so the events may have no end.
        let fault = format!("stubborn {}", phase.held_by.trim_start_matches("stubborn"));
        let vmtest = project.vmtest(["-v"]).env("VMTEST_FAKE_QEMU", fault);
        let mut running = vmtest.without_machine().start();
        running.wait_for(phase.mark);
        running.signal(signal);
        running.wait_for(LEAVING);
        if phase.mark == LEAVING {
            running.wait_for_error("stopping");
        }
        let sent = Instant::now();
        running.signal(signal);
        let run = running.finish();
        run.expect_status(128 + signal as i32);
        run.check(sent.elapsed() < AT_ONCE, &format!("it took {:?}", sent.elapsed()));
    }
}

// H1
#[test]
fn each_signal_while_it_boots_cancels_the_run() {
    expect_cancelled_by_one(BOOT);
}

// H1
#[test]
fn each_signal_while_the_guest_is_set_up_cancels_the_run() {
    expect_cancelled_by_one(SET_UP);
}

// H1
#[test]
fn each_signal_while_the_command_runs_cancels_the_run() {
    expect_cancelled_by_one(COMMAND);
}

// H1
#[test]
fn a_signal_that_comes_when_qemu_is_leaving_changes_no_verdict() {
    for signal in SIGNALS {
        let project = project();
        let mut running = start(&project, TEARDOWN.held_by, TEARDOWN);
        running.signal(signal);
        running.finish().expect_status(0).expect_verdict("passed");
    }
}

// H1
#[test]
fn a_second_signal_while_it_boots_ends_it_at_once() {
    expect_the_second_at_once(BOOT);
}

// H1
#[test]
fn a_second_signal_while_the_guest_is_set_up_ends_it_at_once() {
    expect_the_second_at_once(SET_UP);
}

// H1
#[test]
fn a_second_signal_while_the_command_runs_ends_it_at_once() {
    expect_the_second_at_once(COMMAND);
}

// H1
#[test]
fn a_second_signal_when_qemu_is_leaving_ends_it_at_once() {
    expect_the_second_at_once(TEARDOWN);
}

/// Nothing of it lives, and the next run works.
#[track_caller]
fn expect_killed_in(phase: Phase) {
    let project = project();
    let mut running = start(&project, phase.held_by, phase);
    running.signal(Signal::SIGKILL);
    let run = running.finish();
    run.check(run.signal == Some(9), "it was not killed");
    failing(&project, "").run().expect_status(0);
}

// H2
#[test]
fn sigkill_while_the_guest_is_set_up_takes_qemu_along_and_the_next_run_works() {
    expect_killed_in(SET_UP);
}

// H2
#[test]
fn sigkill_when_qemu_does_not_leave_takes_it_along_and_the_next_run_works() {
    expect_killed_in(TEARDOWN);
}
