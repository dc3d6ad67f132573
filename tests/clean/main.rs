//! The check around every run finds what it is there for: here a shell script runs in the place of `vmtest` and leaves things.

mod ending;
mod files;
mod processes;
mod suites;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmtest_tests::{Invocation, Outcome, Project};

/// What is left is blamed on nobody while another run that may have left it goes on, so these tests run one by one.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A script that is started as `vmtest` is.
fn script<'p>(project: &'p Project, args: &[&str], text: &str) -> Invocation<'p> {
    project.vmtest(args).without_machine().inside_words(["sh", "-c", text, "sh"])
}

/// What the check says of a run that must fail it.
#[track_caller]
fn complaint(run: impl FnOnce() -> Outcome) -> String {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => panic!("nothing was found\n{outcome}"),
        Err(payload) => *payload.downcast::<String>().expect("a check that fails says why"),
    }
}

/// A script as the only run of a project must fail the check, with these words.
#[track_caller]
fn expect_complaint(text: &str, words: &str) {
    let project = Project::new("").with_own_cache();
    let said = complaint(|| script(&project, &[], text).run());
    assert!(said.contains(words), "the complaint is not `{words}`, but {said}");
}
