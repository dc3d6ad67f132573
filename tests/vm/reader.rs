//! Whoever reads vmtest's output goes away, or stops reading.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use vmtest_tests::{LIMIT, Project, Running};

/// Longest time from the first signal to the end when nobody reads; the promise is 20 s.
const GRACE: Duration = Duration::from_secs(25);

#[track_caller]
fn expect_141(args: &[&str]) {
    let project = Project::one("echo begun; exec yes");
    let head = ["bash", "-c", r#""$@" | head -1; exit "${PIPESTATUS[0]}""#, "head"];
    let run = project.vmtest(args).inside_words(head).run();
    run.expect_status(141);
    run.check(run.text().lines().count() == 1, "more than one line was read");
    run.check(!run.error_text().contains("panicked"), "it panicked");
}

// H5
#[test]
fn a_reader_that_goes_away_ends_the_run_as_sigpipe_would() {
    expect_141(&[]);
}

// H5
#[test]
fn a_reader_of_json_that_goes_away_ends_the_run_as_sigpipe_would() {
    // Its one line would be the last of an object otherwise: `head` is no reader of all events.
    let project = Project::one("echo begun; exec yes");
    let head = ["bash", "-c", r#""$@" | head -1 >/dev/null; exit "${PIPESTATUS[0]}""#, "head"];
    let run = project.vmtest(["--format", "json"]).inside_words(head).run();
    run.expect_status(141);
    run.check(!run.error_text().contains("panicked"), "it panicked");
}

/// Waits for a file that the guest makes in the project's directory, and reads it.
#[track_caller]
fn wait_for_file(path: &Path) -> String {
    let begun = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return text;
        }
        assert!(begun.elapsed() < LIMIT, "{} does not come", path.display());
        // It comes over a share, which tells of nothing.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A run whose command writes 96 MiB, as far as it can; nobody reads them.
fn unread(project: &Project, args: &[&str]) -> (Running, ChildStdout) {
    let (running, _, stdout) = project.vmtest(args).leaves(["blocked"]).start_to_talk();
    let taken: usize = wait_for_file(&project.dir().join("blocked")).parse().unwrap();
    // What is under way: in the guest's pipe and ports, in QEMU, in the channels of the run.
    assert!(taken < 24 << 20, "{taken} bytes were taken although nobody reads");
    let peak = vmtest_tests::clean::peak_memory(running.pid());
    assert!(peak < 192 << 20, "vmtest took {peak} bytes of memory");
    (running, stdout)
}

fn flooding() -> Project {
    Project::one("./guest-probe flood 96; exit 3").with_probe()
}

#[track_caller]
fn expect_slowed(args: &[&str]) -> Vec<u8> {
    let project = flooding();
    let (running, mut stdout) = unread(&project, args);
    let pid = running.pid();
    let mut output = Vec::new();
    let mut piece = vec![0; 1 << 20];
    let mut peak = 0;
    while let Ok(count @ 1..) = stdout.read(&mut piece) {
        output.extend_from_slice(&piece[..count]);
        // After its last byte it has none.
        peak = peak.max(vmtest_tests::clean::peak_memory(pid));
    }
    assert!(peak < 192 << 20, "vmtest took {peak} bytes of memory");
    running.finish().expect_status(3);
    output
}

/// How many whole lines `flood` there are.
fn floods(output: &[u8]) -> usize {
    memchr::memmem::find_iter(output, b"flood").count()
}

/// What `guest-probe flood 96` writes: 512 of the lines in each 4 KiB.
const FLOODS: usize = (96 << 20) / 4096 * 512;

// H5
#[test]
fn a_reader_that_stops_slows_the_guest_and_loses_nothing() {
    let output = expect_slowed(&[]);
    assert_eq!(floods(&output), FLOODS);
    let end = String::from_utf8_lossy(&output[output.len() - 60..]);
    assert!(end.ends_with("Command failed with exit code: 3\nFAILED\n"), "{end}");
}

// H5
#[test]
fn a_reader_of_json_that_stops_slows_the_guest_and_loses_nothing() {
    let output = expect_slowed(&["--format", "json"]);
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    // A line may begin in one event and end in the next.
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(floods(text.as_bytes()), FLOODS);
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&"finished".into(), &3.into()));
}

// H5
#[test]
fn ctrl_c_ends_a_run_that_nobody_reads() {
    let project = flooding();
    let (mut running, stdout) = unread(&project, &["--format", "json"]);
    let sent = Instant::now();
    running.signal(Signal::SIGINT);
    let run = running.finish();
    run.check(sent.elapsed() < GRACE, &format!("it took {:?}", sent.elapsed()));
    run.expect_status(130);
    drop(stdout);
}

// H3
#[test]
fn the_grace_period_of_a_run_that_nobody_reads_ends_also_when_it_is_stopped_meanwhile() {
    let project = flooding();
    let (mut running, stdout) = unread(&project, &["--format", "json"]);
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGSTOP);
    let stop = Duration::from_secs(5);
    // The stop is what is tested.
    std::thread::sleep(stop);
    let resumed = Instant::now();
    running.signal(Signal::SIGCONT);
    let run = running.finish();
    run.check(resumed.elapsed() < GRACE, &format!("it took {:?}", resumed.elapsed()));
    run.expect_status(130);
    drop(stdout);
}
