//! The action with real machines.

use nix::sys::signal::Signal;

use crate::runner::Job;

/// What every shell, every string of TOML and every runner would read otherwise than it is.
const HOSTILE: &str = r#"printf '%s\n' "it's" '"quoted"' "$((6 * 7))" `echo ticks`
cat <<'END'
''' """ $HOME ${{ inputs.name }} \n \ % ! * #
::error::from the guest
END
"#;

#[test]
fn a_command_reaches_the_guest_as_it_was_written() {
    let mut job = Job::new("", &[("kernel", "{stable}"), ("command", HOSTILE), ("name", "'it is \"$(a)\"'")]);
    let steps = job.run(&[]);
    let run = steps.last().unwrap().outcome.as_ref().unwrap();
    run.expect_status(0);
    for line in HOSTILE.lines().skip(2).take(2).chain(["it's", "\"quoted\"", "42", "ticks", "PASS"]) {
        run.expect_line(line);
    }
    run.expect_line("::group::'it is \"$(a)\"'").expect_line("::endgroup::");
}

#[test]
fn what_the_guest_writes_to_the_runners_files_reaches_the_runner() {
    let command = "
        echo answer=42 >>$GITHUB_OUTPUT
        printf 'lines<<END\\na\\nb\\nEND\\n' >>$GITHUB_OUTPUT
        echo FROM_GUEST=yes >>$GITHUB_ENV
        echo /from/guest >>$GITHUB_PATH
        echo '# written by the guest' >>$GITHUB_STEP_SUMMARY
        echo kept=1 >>$GITHUB_STATE
        echo \"$GREETING $PWD\" >result
    ";
    let inputs = [("kernel", "{stable}"), ("command", command), ("env", "GREETING=it's $HOME\n")];
    let mut job = Job::new("", &inputs);
    // The project is the workspace, and only what the command writes there is there afterwards.
    let steps = job.run(&["result"]);
    steps.last().unwrap().outcome.as_ref().unwrap().expect_status(0);
    let outputs: serde_json::Value = serde_json::from_str(&job.output("outputs")).unwrap();
    assert_eq!(outputs, serde_json::json!({ "answer": "42", "lines": "a\nb" }));
    assert_eq!(job.env("FROM_GUEST"), Some("yes"));
    assert!(job.added_to_path().ends_with("/from/guest\n"), "{}", job.added_to_path());
    assert!(job.summary().contains("# written by the guest\n"), "{}", job.summary());
    assert!(job.summary().contains("| vmtest-action target | passed |"), "{}", job.summary());
    assert_eq!(job.project.read("result"), format!("it's $HOME {}\n", job.project.dir().display()));
    assert_eq!(job.state(), "kept=1\n");
}

#[test]
fn targets_of_a_file_run_with_a_filter_and_fail_at_their_line() {
    let toml = vmtest_tests::target("other", "", "echo other")
        + &vmtest_tests::target("wanted", "", "echo $A; exit 3");
    let inputs = [
        ("config", "vmtest.toml"),
        ("filter", "^wanted$"),
        ("env", "A=b c"),
        ("timeout", "2m"),
        ("junit", "report.xml"),
    ];
    let mut job = Job::new(&toml, &inputs);
    let steps = job.run(&["report.xml"]);
    let run = steps.last().unwrap().outcome.as_ref().unwrap();
    run.expect_status(3).expect_line("b c").expect_no_line("other");
    run.expect_text(
        "::error file=vmtest.toml,line=7,title=vmtest%3A wanted::Command failed with exit code: 3",
    );
    assert!(job.summary().contains("| wanted | Command failed with exit code: 3 |"), "{}", job.summary());
    let report = job.project.read("report.xml");
    assert!(report.contains("<testsuite name=\"vmtest.toml: wanted\""), "{report}");
}

#[test]
fn a_job_that_is_cancelled_leaves_no_machine() {
    let mut job = Job::new("", &[("kernel", "{stable}"), ("command", "echo begun; sleep 1000")]);
    let mut run = job.run_to_last();
    run.wait_for("begun");
    run.signal(Signal::SIGINT);
    run.finish().expect_status(130);
}
