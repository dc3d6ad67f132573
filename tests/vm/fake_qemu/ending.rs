//! A QEMU that does not want to leave: it is killed by the deadline, and the verdict stays what it was.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vmtest_tests::{Project, machine, target};

use super::{failing, project, reason, run};

/// Two seconds for `quit` and two for SIGTERM; the rest is for a machine with other work.
const DEADLINE: Duration = Duration::from_secs(4 + 4);

// Q4
#[test]
fn a_qemu_that_ignores_quit_and_sigterm_is_killed_by_the_deadline_and_the_command_has_passed() {
    let project = project();
    let running = failing(&project, "stubborn").start();
    running.wait_for("begun\\n");
    let begun = Instant::now();
    let run = running.finish();
    run.expect_status(0).expect_verdict("passed");
    run.check(begun.elapsed() < DEADLINE, &format!("it took {:?}", begun.elapsed()));
}

// Q4
#[test]
fn a_qemu_that_is_stopped_under_the_command_is_killed_by_the_deadline_when_the_user_stops_the_run() {
    let project = Project::one("echo begun; sleep 1000");
    let mut running = project.vmtest(["--format", "json"]).start();
    running.wait_for("begun\\n");
    kill(running.qemu(), Signal::SIGSTOP).unwrap();
    let sent = Instant::now();
    running.signal(Signal::SIGINT);
    let run = running.finish();
    run.expect_status(130).expect_verdict("cancelled");
    run.check(sent.elapsed() < DEADLINE, &format!("it took {:?}", sent.elapsed()));
}

// Q4
#[test]
fn a_qemu_that_is_stopped_is_ended_when_the_commands_time_is_over() {
    let project = Project::new(&target("t", "timeout = '3s'", "echo begun; sleep 1000"));
    let running = project.vmtest(["--format", "json"]).start();
    running.wait_for("begun\\n");
    kill(running.qemu(), Signal::SIGSTOP).unwrap();
    running.finish().expect_status(124).expect_verdict("timed_out");
}

// Q4
#[test]
fn a_whole_group_goes_with_a_wrapper_that_ignores_sigterm() {
    let project = Project::new("");
    // The shell has a child of its own in its group, as a wrapper with a helper would.
    let script = format!(
        "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\n'{}' \"$@\"\nwait\n",
        machine::helper("fake-qemu").display()
    );
    let wrapper = project.write_program("wrapper.sh", &script);
    let keys = format!("qemu_command = '{}'\n[target.vm]\nextra_args = ['-accel', 'tcg']", wrapper.display());
    project.write("vmtest.toml", &target("t", &keys, "the-command"));
    // The harness sees that nothing is left.
    failing(&project, "").run().expect_status(0).expect_verdict("passed");
}

// Q4
#[test]
fn a_daemon_that_keeps_qemus_connections_open_does_not_keep_the_run() {
    let project = project();
    let running = failing(&project, "leaves-daemon").start();
    running.wait_for("begun\\n");
    let begun = Instant::now();
    running.wait_for_end();
    let took = begun.elapsed();
    for daemon in running.processes() {
        kill(Pid::from_raw(daemon.pid), Signal::SIGKILL).unwrap();
    }
    let run = running.finish();
    run.expect_status(0).expect_verdict("passed");
    run.check(took < DEADLINE, &format!("it took {took:?}"));
}

// Q4
#[test]
fn a_stream_that_ends_while_qemu_goes_on_is_lost() {
    let run = run("closes-stream");
    run.expect_status(69).expect_verdict("lost");
    run.check(reason(&run).contains("the connection to the guest broke"), "the reason is another");
}
