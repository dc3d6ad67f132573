//! Runs that end as none may.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::signal::Signal;
use vmtest_tests::clean::ending::{Circumstances, Stdout, problems};
use vmtest_tests::{Outcome, Project};

use crate::{alone, complaint, expect_complaint, script};

/// Lines of `--format json`.
fn events(kinds: &[&str]) -> String {
    let line = |(seq, kind): (usize, &&str)| {
        format!(r#"echo '{{"run_id":"r","target":"t","index":0,"seq":{seq},"event":{kind}}}';"#)
    };
    kinds.iter().enumerate().map(line).collect()
}

const QUEUED: &str = r#""queued""#;
const PASSED: &str = r#""finished","verdict":"passed""#;

#[track_caller]
fn expect_json_complaint(text: &str, words: &str) {
    let _alone = alone();
    let said = complaint(|| script(&Project::new(""), &["--format", "json"], text).run());
    assert!(said.contains(words), "the complaint is not `{words}`, but {said}");
}

#[test]
fn one_end_is_right() {
    let _alone = alone();
    script(&Project::new(""), &["--format", "json"], &events(&[QUEUED, PASSED])).run();
}

#[test]
fn two_ends_are_found() {
    expect_json_complaint(&events(&[QUEUED, PASSED, PASSED]), "target 0 has 2 ends");
}

#[test]
fn no_end_is_found() {
    expect_json_complaint(&events(&[QUEUED]), "target 0 has 0 ends");
}

#[test]
fn an_event_after_the_end_is_found() {
    expect_json_complaint(&events(&[PASSED, QUEUED]), "or more after its end");
}

#[test]
fn a_gap_in_the_numbers_is_found() {
    let text = events(&[QUEUED, PASSED]).replace("\"seq\":1", "\"seq\":2");
    expect_json_complaint(&text, "target 0 has a gap");
}

#[test]
fn a_log_without_the_end_of_its_target_is_found() {
    let _alone = alone();
    let write = "mkdir -p \"$XDG_STATE_HOME/vmtest/runs/r\"; echo \"$TEXT\" >\"$XDG_STATE_HOME/vmtest/runs/r/01-t.console.log\"";
    let run = |text: &str| script(&Project::new(""), &[], &format!("TEXT='{text}'; {write}")).run();
    let end = "vmtest: passed (boot 0.1 s, set-up 0.1 s, command 0.1 s)";
    run(&format!("Linux\n{end}"));
    for wrong in ["Linux".to_owned(), format!("{end}\n{end}"), format!("{end}\nLinux")] {
        let said = complaint(|| run(&wrong));
        assert!(said.contains("the log does not end with the target's end"), "{said}");
    }
}

/// As if `vmtest` had ended so, without a program around it.
fn ended(status: Option<i32>, signal: Option<i32>, of: &Circumstances, stdout: &str) -> Vec<String> {
    let project = Project::new("");
    let mut outcome = catch_unwind(AssertUnwindSafe(|| script(&project, &[], "true").run())).unwrap();
    (outcome.status, outcome.signal, outcome.stdout) = (status, signal, stdout.into());
    problems(&outcome, of)
}

#[test]
fn an_exit_status_that_the_events_do_not_tell_is_found() {
    let _alone = alone();
    let end =
        |fields: &str| format!(r#"{{"run_id":"r","index":0,"seq":0,"event":"finished","verdict":{fields}}}"#);
    let json = || Circumstances { stdout: Stdout::Events, ..Circumstances::default() };
    let right = [
        (0, r#""passed""#),
        (74, r#""passed""#),
        (3, r#""failed","exit_code":3"#),
        (139, r#""killed","signal":11"#),
        (124, r#""timed_out""#),
        (70, r#""kernel_bug""#),
        (69, r#""boot_failed""#),
        (69, r#""lost""#),
        (130, r#""cancelled""#),
    ];
    for (status, fields) in right {
        assert!(ended(Some(status), None, &json(), &end(fields)).is_empty(), "{status}: {fields}");
        for other in [1, 101, 141] {
            assert!(!ended(Some(other), None, &json(), &end(fields)).is_empty(), "{other}: {fields}");
        }
    }
    let stopped = Circumstances { sent: vec![Signal::SIGTERM], ..json() };
    assert!(ended(Some(143), None, &stopped, &end(r#""cancelled""#)).is_empty());
}

#[test]
fn a_signal_of_its_own_is_found() {
    let _alone = alone();
    for signal in [libc::SIGSEGV, libc::SIGABRT, libc::SIGPIPE, libc::SIGTERM] {
        let said = ended(None, Some(signal), &Circumstances::default(), "");
        assert_eq!(said, [format!("signal {signal} ended it")]);
    }
    // One that is sent is told by the status.
    let sent = |signal| Circumstances { sent: vec![signal], ..Circumstances::default() };
    assert!(!ended(None, Some(libc::SIGTERM), &sent(Signal::SIGTERM), "").is_empty());
    assert!(ended(None, Some(libc::SIGKILL), &sent(Signal::SIGKILL), "").is_empty());
}

#[test]
fn a_panic_is_found() {
    let _alone = alone();
    expect_complaint("echo \"thread 'main' panicked at x.rs:1:1\" >&2", "it panicked");
    assert!(!ended(Some(101), None, &Circumstances::default(), "").is_empty());
    // That is the command's own.
    let said = "Command failed with exit code: 101";
    assert!(ended(Some(101), None, &Circumstances::default(), said).is_empty());
}

#[test]
fn a_panic_that_the_test_makes_is_none() {
    let _alone = alone();
    let project = Project::new("");
    script(&project, &[], "echo \"thread 'main' panicked at x.rs:1:1\" >&2; exit 101").panics().run();
}

#[test]
fn a_panic_on_a_terminal_is_found() {
    let _alone = alone();
    let said = complaint(|| on_terminal("echo \"thread 'main' panicked at x.rs:1:1\" >&2"));
    assert!(said.contains("it panicked"), "{said}");
}

#[test]
fn changed_modes_of_the_terminal_are_found() {
    let _alone = alone();
    on_terminal("stty -echo; stty echo");
    for change in ["stty -echo", "stty raw", "stty -onlcr"] {
        let said = complaint(|| on_terminal(change));
        assert!(said.contains("the terminal is not as it was"), "{change}: {said}");
    }
}

fn on_terminal(text: &str) -> Outcome {
    script(&Project::new(""), &[], text).start_on_terminal(24, 80).finish()
}
