//! `clean-run`, by which suites are checked that are not written in Rust.

use nix::sys::signal::Signal;
use vmtest_tests::{Invocation, Outcome, Project, machine};

use crate::alone;

fn clean_run<'p>(project: &'p Project, text: &str) -> Invocation<'p> {
    let program = machine::helper("clean-run");
    let words = [program.to_str().expect("paths of tests are text"), "--", "sh", "-c", text, "sh"];
    project.vmtest::<&str>([]).without_machine().inside_words(words)
}

fn ran(text: &str) -> Outcome {
    clean_run(&Project::new(""), text).run()
}

#[test]
fn a_suite_that_leaves_nothing_has_its_own_exit_status() {
    let _alone = alone();
    for status in [0, 3] {
        let run = ran(&format!("sleep 0.1 & wait; exit {status}"));
        run.expect_status(status).check(run.error_text().is_empty(), "it complains");
    }
    ran("kill -9 $$").expect_status(137);
}

#[test]
fn a_suite_that_leaves_something_fails_and_says_what() {
    let _alone = alone();
    let daemon = "env -i setsid sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 &'";
    ran(daemon).expect_status(1).expect_error_text("left behind: a process that left its parent: Process");
    ran(&format!("{daemon}; exit 3")).expect_status(3).expect_error_text("left behind: ");
    ran("sleep 1000 </dev/null >/dev/null 2>&1 &").expect_error_text("left behind: a process of the run");
    ran("echo >$TMPDIR/left").expect_status(1).expect_error_text("left behind: files in tmp");
    let staging = "mkdir -p $XDG_CACHE_HOME/vmtest/modules/.new-abcdef";
    ran(staging).expect_status(1).expect_error_text("left behind: a half-written entry of the cache");
}

#[test]
fn a_suite_has_directories_of_its_own() {
    let _alone = alone();
    let run =
        ran("for dir in $HOME $TMPDIR $XDG_RUNTIME_DIR $XDG_CACHE_HOME $XDG_CONFIG_HOME $XDG_DATA_HOME \
         $XDG_STATE_HOME; do test -d $dir && echo ${dir%/*}; done | sort -u");
    run.check(run.text().lines().count() == 1 && run.text().contains("/vmc-"), "they are not in one place");
}

#[test]
fn a_suite_hears_of_signals() {
    let _alone = alone();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let project = Project::new("");
        let text =
            format!("trap 'exit 7' {}; echo begun; while :; do sleep 0.05; done", &signal.as_str()[3..]);
        let mut running = clean_run(&project, &text).start();
        running.wait_for("begun");
        running.signal(signal);
        running.finish().expect_status(7);
    }
}
