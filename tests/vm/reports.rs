//! What is written for people, scripts and CI.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::Uid;
use quick_xml::events::Event;
use vmtest_tests::{Project, target};

#[test]
fn every_marker_line_is_there_to_the_letter() {
    let all = target("first", "", "echo hello") + &target("second", "", "echo bye; exit 3");
    let run = Project::new(&all).run();
    run.expect_status(1);
    let wanted = "\
        => first\n===> Booting\n===> Setting up VM\n===> Running command\nhello\nPASS\n\
        => second\n===> Booting\n===> Setting up VM\n===> Running command\nbye\n\
        Command failed with exit code: 3\nFAILED\n";
    run.check(run.text() == wanted, &format!("standard output is not\n{wanted}"));
}

#[test]
fn a_command_of_the_command_line_has_no_verdict_line() {
    let run = Project::new("").vmtest(["-k", "{stable}", "echo hello; exit 3"]).run();
    run.expect_status(3);
    let wanted = "\
        => vmlinuz\n===> Booting\n===> Setting up VM\n===> Running command\nhello\n\
        Command failed with exit code: 3\n";
    run.check(run.text() == wanted, &format!("standard output is not\n{wanted}"));
}

#[test]
fn a_run_writes_its_junit_report_and_its_logs() {
    let all = target("good", "", "echo from good") + &target("bad", "", "echo from bad; exit 9");
    let project = Project::new(&all);
    // What a guest that was kept said at its boot is in another run's log.
    let args = ["--cold", "--junit", "out/junit.xml", "--log-dir", "out/logs"];
    project.vmtest(args).leaves(["out"]).run().expect_status(1);
    let report = project.read("out/junit.xml");
    let mut cases = Vec::new();
    let mut failures = Vec::new();
    let mut reader = quick_xml::Reader::from_str(&report);
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => {
                let attribute = |name: &str| {
                    let found = element.try_get_attribute(name).unwrap();
                    found.map(|value| String::from_utf8(value.value.to_vec()).unwrap()).unwrap_or_default()
                };
                match element.name().as_ref() {
                    b"testcase" => cases.push(attribute("name")),
                    b"failure" => failures.push(attribute("message")),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    assert_eq!(cases, ["good", "bad"], "{report}");
    assert_eq!(failures, ["Command failed with exit code: 9"], "{report}");
    assert_eq!(project.read("out/logs/01-good.log"), "from good\n");
    assert_eq!(project.read("out/logs/02-bad.log"), "from bad\n");
    assert!(project.read("out/logs/02-bad.console.log").contains("Linux version"));
}

// H6
#[test]
fn a_report_or_logs_that_cannot_be_written_are_refused_before_anything_runs() {
    let project = Project::one("true");
    // Nobody may write to /sys, root neither.
    let refused = [
        ("--junit", "/sys/kernel/junit.xml"),
        ("--junit", "vmtest.toml/junit.xml"),
        ("--junit", "."),
        ("--log-dir", "/sys/kernel/logs"),
        ("--log-dir", "vmtest.toml"),
    ];
    for (option, place) in refused {
        let run = project.vmtest([option, place]).without_machine().run();
        run.expect_status(78).expect_error_text(place);
        run.check(run.stdout.is_empty(), "it began");
    }
}

// H6
#[test]
fn a_report_that_finds_the_disk_full_leaves_the_run_alone_and_the_status_tells() {
    let project = Project::one("test ! -e fail || exit 3");
    let run = project.vmtest(["--junit", "/dev/full"]).run();
    run.expect_status(74).expect_line("PASS").expect_error_text("cannot write the JUnit report /dev/full");
    // A command that failed is the greater trouble.
    project.write("fail", "");
    project.vmtest(["--junit", "/dev/full"]).run().expect_status(3).expect_line("FAILED");
}

/// A file system with little room; only root can make one.
struct Small(PathBuf);

impl Small {
    fn mount(place: PathBuf) -> Self {
        fs::create_dir(&place).unwrap();
        let options = Some("size=64k,mode=1777");
        mount(Some("small"), &place, Some("tmpfs"), MsFlags::empty(), options).unwrap();
        Self(place)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

// H6
#[test]
fn a_report_and_logs_that_fill_the_disk_leave_the_run_alone_and_nothing_half_written() {
    if !Uid::effective().is_root() {
        println!("only root can mount a small file system: this test does nothing as another user");
        return;
    }
    let project = Project::one("head -c 1000000 /dev/zero | tr '\\0' x; exit 0");
    let small = Small::mount(project.base().join("small"));
    let (report, logs) = (small.0.join("junit.xml"), small.0.join("logs"));
    let run = project.vmtest([Path::new("--junit"), &report]).run();
    run.expect_status(74).expect_line("PASS").expect_error_text("cannot write the JUnit report");
    assert_eq!(fs::read_dir(&small.0).unwrap().count(), 0, "something is half written");
    let run = project.vmtest([Path::new("--log-dir"), &logs]).run();
    run.expect_status(74).expect_line("PASS").expect_error_text("cannot write the logs");
}

#[test]
fn the_logs_of_the_last_runs_are_kept_under_the_state_directory() {
    let project = Project::one("echo logged");
    project.run().expect_status(0);
    let runs: Vec<_> = fs::read_dir(project.base().join("state/vmtest/runs")).unwrap().flatten().collect();
    assert_eq!(runs.len(), 1);
    assert_eq!(fs::read_to_string(runs[0].path().join("01-t.log")).unwrap(), "logged\n");
}

#[test]
fn in_github_actions_a_run_has_groups_annotations_and_a_summary() {
    let project = Project::new(&target("t", "", "echo ::error::from the guest; exit 4"));
    let summary = project.base().join("summary.md");
    project.make_dir(&project.base());
    let run = project
        .vmtest::<&str>([])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_WORKSPACE", project.dir())
        .env("GITHUB_STEP_SUMMARY", &summary)
        .run();
    run.expect_status(4).expect_line("::group::t").expect_line("::endgroup::");
    let text = run.text();
    let annotation = "::error file=vmtest.toml,line=1,title=vmtest%3A t::Command failed with exit code: 4";
    run.expect_line(annotation);
    // The guest cannot annotate: commands are off while it writes.
    let off = text.find("::stop-commands::").expect("commands are switched off");
    let token = text[off..].lines().next().unwrap().trim_start_matches("::stop-commands::").to_owned();
    let on = text.find(&format!("\n::{token}::\n")).expect("commands are switched on again");
    let guest = text.find("::error::from the guest").expect("the output is there");
    run.check(off < guest && guest < on, "the guest's output is a command");
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.contains("1 failed") && summary.contains("| t |"), "{summary}");
}
