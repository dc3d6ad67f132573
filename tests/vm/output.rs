//! What the command writes reaches the user as it was written.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vmtest_tests::Project;
use vmtest_tests::pattern::Pattern;

const RUNNING: &[u8] = b"===> Running command\n";

/// What follows the last marker of a run without a verdict line.
fn after_the_marker(stdout: &[u8]) -> &[u8] {
    let start = stdout.windows(RUNNING.len()).position(|window| window == RUNNING).expect("the command ran");
    &stdout[start + RUNNING.len()..]
}

#[test]
fn a_hundred_megabytes_arrive_whole() {
    let project = Project::new("").with_probe();
    let run = project.vmtest(["-k", "{stable}", "./guest-probe", "pattern", "100"]).run();
    run.expect_status(0);
    let output = after_the_marker(&run.stdout);
    assert_eq!(output.len(), 100 << 20, "bytes are missing or too many");
    let mut pattern = Pattern::new(1);
    let mut wanted = vec![0; 1 << 20];
    for (number, piece) in output.chunks(1 << 20).enumerate() {
        pattern.fill(&mut wanted);
        assert!(piece == wanted, "MiB {number} differs");
    }
}

#[test]
fn binary_output_is_lossless_in_json() {
    let run = Project::one("./guest-probe pattern 1").with_probe().run_json();
    run.expect_status(0);
    assert!(run.output("stdout") == Pattern::new(1).bytes(1 << 20), "the bytes differ");
}

#[test]
fn output_without_a_final_newline_is_whole_and_the_verdict_has_a_line_of_its_own() {
    let run = Project::one("printf 'no newline'").run();
    run.expect_status(0).expect_line("no newline").expect_line("PASS");
}

#[test]
fn both_streams_are_told_apart() {
    let run = Project::one("for n in 1 2 3; do echo out $n; echo err $n >&2; done; printf end").run_json();
    run.expect_status(0).expect_guest_text("out 1\nout 2\nout 3\nend");
    assert_eq!(run.output("stderr"), b"err 1\nerr 2\nerr 3\n");
}

#[test]
fn a_command_of_the_command_line_writes_its_streams_to_vmtests_own() {
    let run = Project::new("").vmtest(["-k", "{stable}", "echo out; echo err >&2"]).run();
    run.expect_status(0);
    assert_eq!(String::from_utf8_lossy(after_the_marker(&run.stdout)), "out\n");
    run.check(run.error_text().lines().any(|line| line == "err"), "standard error is missing");
}

/// The command leaves a process behind; its own end is the run's.
#[track_caller]
fn expect_end(command: &str) {
    let run = Project::one(command).run_json();
    run.expect_status(3).expect_verdict("failed");
    run.check(run.guest_text().contains("the end\n"), "the output is missing");
    let took = run.finished()["durations"]["command_seconds"].as_f64().unwrap();
    run.check(took < 10.0, &format!("the command took {took} s"));
}

// G4
#[test]
fn a_silent_process_that_keeps_the_output_open_does_not_hold_the_end_up() {
    expect_end("sleep 1000 & echo the end; exit 3");
}

// G4
#[test]
fn a_process_that_writes_for_ever_does_not_hold_the_end_up() {
    expect_end("(while :; do echo noise; done) & echo the end; exit 3");
}

// G4
#[test]
fn a_process_that_left_the_session_and_writes_for_ever_does_not_hold_the_end_up() {
    expect_end("setsid -f yes noise; setsid -f yes more >&2; echo the end; exit 3");
}

// G4
#[test]
fn ctrl_c_ends_a_command_that_writes_for_ever() {
    let project = Project::one("setsid -f yes noise; echo begun; exec yes");
    let mut running = project.vmtest(["--format", "json"]).start();
    running.wait_for("begun\\n");
    let sent = Instant::now();
    running.signal(Signal::SIGINT);
    let run = running.finish();
    run.expect_status(130).expect_verdict("cancelled");
    run.check(sent.elapsed() < Duration::from_secs(5), &format!("it took {:?}", sent.elapsed()));
}
