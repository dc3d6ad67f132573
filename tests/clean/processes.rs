//! Processes that are left.

use std::path::Path;

use nix::sys::signal::Signal;
use vmtest_tests::clean::descriptors::Descriptors;
use vmtest_tests::{Project, Running};

use crate::{alone, complaint, expect_complaint, script};

/// A child whose parent ends, with nothing that tells where it comes from.
const HIDDEN: &str = "env -i setsid sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 &'";
const UNTIL_GO: &str = "until test -e go; do sleep 0.05; done";

#[test]
fn a_run_that_leaves_nothing_passes() {
    let _alone = alone();
    script(&Project::new(""), &[], "echo fine; sleep 0.1").run().expect_status(0).expect_text("fine");
}

#[test]
fn a_process_with_the_environment_of_the_run_is_found() {
    let _alone = alone();
    expect_complaint("sleep 1000 </dev/null >/dev/null 2>&1 &", "a process of the run: Process");
}

#[test]
fn a_process_that_left_its_parent_its_session_and_its_environment_is_found_and_ended() {
    let _alone = alone();
    let said = complaint(|| script(&Project::new(""), &[], HIDDEN).run());
    let found = said.split("a process that left its parent: Process { pid: ").nth(1).expect(&said);
    let pid = found.split(',').next().unwrap();
    assert!(found.contains("sleep") && !Path::new("/proc").join(pid).exists(), "{said}");
}

#[test]
fn a_process_that_left_only_its_parent_and_its_environment_is_found() {
    let _alone = alone();
    expect_complaint(
        "env -i sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 &'",
        "a process that left its parent",
    );
}

#[test]
fn a_process_that_is_gone_soon_is_none_that_is_left() {
    let _alone = alone();
    script(&Project::new(""), &[], &HIDDEN.replace("1000", "0.2")).run();
}

#[test]
fn a_killed_runs_processes_are_found_too() {
    let _alone = alone();
    let project = Project::new("");
    let said = complaint(|| {
        let mut running = script(&project, &[], &format!("{HIDDEN}; echo begun; {UNTIL_GO}")).start();
        running.wait_for("begun");
        running.signal(Signal::SIGKILL);
        running.finish()
    });
    assert!(said.contains("a process that left its parent"), "{said}");
}

#[test]
fn what_appears_while_two_runs_go_on_is_the_last_ones_to_answer_for() {
    let _alone = alone();
    let (first, second) = (Project::new(""), Project::new(""));
    let running = waiting(&first);
    script(&second, &[], HIDDEN).run();
    // It began when there was that process already.
    script(&second, &[], "true").run();
    first.write("go", "");
    let said = complaint(|| running.finish());
    assert!(said.contains("a process that left its parent"), "{said}");
}

#[test]
fn a_program_that_a_test_starts_itself_is_nobodys_leftover() {
    let _alone = alone();
    let project = Project::new("");
    let running = waiting(&project);
    let mut own = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    project.write("go", "");
    running.finish();
    own.kill().unwrap();
    own.wait().unwrap();
}

/// A run that waits until there is a file.
fn waiting(project: &Project) -> Running {
    script(project, &[], UNTIL_GO).leaves(["go"]).start()
}

#[test]
fn a_descriptor_more_than_before_is_found_by_its_kind() {
    let _alone = alone();
    let us = std::process::id() as i32;
    let before = Descriptors::of(us);
    assert!(Descriptors::of(us).more_than(&before).is_empty());
    let _pair = std::os::unix::net::UnixStream::pair().unwrap();
    let more = Descriptors::of(us).more_than(&before);
    assert!(more.len() == 1 && more[0].starts_with("socket: "), "{more:?}");
}
