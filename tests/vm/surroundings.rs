//! What the machine and whoever starts vmtest give it: little room, long paths, few descriptors, or those of others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use vmtest_tests::{Invocation, Outcome, Project, target};

/// The target's command was carried out.
#[track_caller]
fn expect_works(run: &Outcome) {
    run.expect_status(3).expect_verdict("failed").expect_guest_text("fine\n");
}

const FINE: &str = "echo fine; exit 3";

/// Started by a shell that has done this before.
fn after<'p>(project: &'p Project, preparation: &str, args: &[&str]) -> Invocation<'p> {
    let script = format!(r#"{preparation}; exec "$@""#);
    project.vmtest(args).inside_words(["bash", "-c", &script, "shell"])
}

// H7
#[test]
fn twenty_machines_at_once_all_tell_their_ends() {
    let keys = "vm.memory = '192M'\nvm.num_cpus = 1";
    let first = Project::new(&target("t", keys, "true"));
    first.run_json().expect_status(0);
    let all: String =
        (0..20).map(|n| target(&format!("t{n}"), keys, &format!("echo fine; exit {n}"))).collect();
    let project = Project::new(&all);
    let run = project.vmtest(["-j", "20", "--format", "json"]).with_many_machines().run();
    run.expect_status(19);
    for n in 0..20 {
        let finished = run.finished_of(&format!("t{n}"));
        let wanted = if n == 0 { "passed" } else { "failed" };
        run.check(
            finished["verdict"] == wanted && (n == 0 || finished["exit_code"] == n),
            &finished.to_string(),
        );
    }
}

/// A folder whose path is longer than any address of a unix socket.
fn long_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix(&"long-".repeat(24)).tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

// H7
#[test]
fn folders_with_long_paths_hold_all_that_a_run_needs() {
    let folder = long_folder();
    // Cache, state, home, temporary and runtime folders are all in it.
    let project = Project::under(folder.path(), &target("t", "", FINE)).without_snapshots();
    for start in ["cold", "snapshot"] {
        let run = project.run_json();
        expect_works(&run);
        let booted = run.events_named("booted");
        run.check(booted[0]["start"] == start, &format!("it is not {start}: {booted:?}"));
    }
}

// H7
#[test]
fn with_64_descriptors_a_run_works() {
    let project = Project::one(FINE);
    expect_works(&after(&project, "ulimit -n 64", &["--format", "json"]).run());
}

// H7
#[test]
fn with_too_few_descriptors_for_a_run_there_is_one_error_and_nothing_begins() {
    let project = Project::one(FINE).with_own_cache();
    for allowed in [5, 12, 63] {
        let run = after(&project, &format!("ulimit -n {allowed}"), &["--format", "json"]).run();
        run.expect_status(78);
        run.check(run.stdout.is_empty(), "something is told of a run");
        let error = run.error_text();
        run.check(error.lines().count() == 1, "it is not one error");
        run.check(error.contains(&format!("no more than {allowed} files")), "it does not say what is wrong");
        run.check(!project.cache().join("vmtest").exists(), "something was begun");
    }
}

// H7
#[test]
fn what_vmtest_inherited_is_not_passed_on() {
    let project = Project::one("echo begun; until test -e go; do sleep 0.1; done");
    let secret = project.base().join("secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let open = format!("exec 9<'{0}' 42<'{0}'", secret.display());
    let running = after(&project, &open, &["--format", "json"]).leaves(["go"]).start();
    running.wait_for("begun\\n");
    let has_it = |pid: i32| -> bool {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|file: PathBuf| file == secret)
    };
    assert!(has_it(running.pid().as_raw()), "vmtest itself has not inherited it");
    let children = running.processes();
    assert!(!children.is_empty());
    let found: Vec<_> = children.iter().filter(|child| has_it(child.pid)).collect();
    assert!(found.is_empty(), "{found:?}");
    project.write("go", "");
    running.finish().expect_status(0);
}

/// Started with this done to its streams.
#[track_caller]
fn expect_status_with(streams: &str, status: i32) -> Outcome {
    let project = Project::one(FINE);
    let run = after(&project, &format!("exec {streams}"), &[]).run();
    run.expect_status(status);
    run.check(!run.error_text().contains("panicked"), "it panicked");
    run
}

// H7
#[test]
fn a_closed_standard_input_changes_nothing() {
    expect_status_with("<&-", 3).expect_line("fine").expect_line("FAILED");
}

// H7
#[test]
fn a_closed_standard_output_leaves_the_status_right() {
    expect_status_with(">&-", 3);
}

// H7
#[test]
fn a_closed_standard_error_changes_nothing() {
    expect_status_with("2>&-", 3).expect_line("fine").expect_line("FAILED");
}

// H7
#[test]
fn a_shell_whose_standard_input_is_closed_ends() {
    let project = Project::new("");
    let run = after(&project, "exec <&-", &["-k", "{stable}", "-"]).run();
    run.expect_status(0);
}

// H7
#[test]
fn a_run_that_may_write_nowhere_works_and_keeps_nothing() {
    let project = Project::one(FINE);
    // Nobody may write there, root neither.
    let nowhere = Path::new("/sys/kernel");
    let run = project
        .vmtest(["--format", "json"])
        .env("HOME", nowhere)
        .env("XDG_CACHE_HOME", nowhere)
        .env("XDG_STATE_HOME", nowhere)
        .env("XDG_RUNTIME_DIR", nowhere.join("none"))
        .env("TMPDIR", "/no/such/folder")
        .run();
    expect_works(&run);
}
