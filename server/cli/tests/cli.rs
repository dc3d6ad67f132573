//! The program as scripts see it: arguments, exit status, the two outputs. No VM.

use std::fs;

use vmtest_tests::{Invocation, Outcome, Project};

const GOOD: &str = r#"
[[target]]
name = "one"
kernel = "./bzImage"
command = "true"

[[target]]
name = "two.b"
kernel = "./bzImage"
command = "-"
"#;

/// A project with a vmtest.toml and a file that stands for a kernel.
fn project(text: &str) -> Project {
    let project = Project::new(text).with_own_cache();
    project.write("bzImage", "");
    project
}

fn vmtest<'p>(project: &'p Project, arguments: &[&str]) -> Invocation<'p> {
    project.vmtest(arguments).without_machine()
}

#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

fn ran(outcome: &Outcome) -> Ran {
    Ran { status: outcome.status, out: outcome.text(), err: outcome.error_text() }
}

fn run(project: &Project, arguments: &[&str]) -> Ran {
    ran(&vmtest(project, arguments).run())
}

#[test]
fn without_a_file_the_status_is_78_and_the_help_shows_one() {
    let folder = Project::new("");
    fs::remove_file(folder.dir().join("vmtest.toml")).unwrap();
    let ran = run(&folder, &[]);
    assert_eq!(ran.status, Some(78));
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("cannot read vmtest.toml") && ran.err.contains("[[target]]"), "{}", ran.err);
}

#[test]
fn a_bad_file_is_78_with_file_line_and_column() {
    let folder = project("[[target]]\nname = \"a\"\nkernel = 3\ncommand = \"x\"\n");
    for arguments in [&[] as &[&str], &["check"], &["list"], &["-f", "a"], &["shell"]] {
        let ran = run(&folder, arguments);
        assert_eq!(ran.status, Some(78), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("vmtest.toml:3:10"), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn a_broken_file_is_78_with_its_place() {
    let ran = run(&project("[[target]\n"), &[]);
    assert_eq!(ran.status, Some(78));
    assert!(ran.err.contains("vmtest.toml:1:"), "{}", ran.err);
}

#[test]
fn the_file_may_come_from_standard_input() {
    let folder = project("");
    let ran = ran(&vmtest(&folder, &["check", "-"]).stdin(GOOD).run());
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "<stdin>: 2 targets\n"));
}

#[test]
fn check_passes_a_good_file_and_runs_nothing() {
    let folder = project(GOOD);
    let ran = run(&folder, &["check"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (Some(0), "vmtest.toml: 2 targets\n", ""));
    assert_eq!(fs::read_dir(folder.base().join("state")).unwrap().count(), 0);
}

#[test]
fn check_names_a_file_that_is_missing() {
    let folder = project(GOOD);
    fs::remove_file(folder.dir().join("bzImage")).unwrap();
    let ran = run(&folder, &["check"]);
    assert_eq!(ran.status, Some(78));
    assert!(ran.err.contains("vmtest.toml:4:10"), "{}", ran.err);
}

#[test]
fn check_warns_of_a_command_that_hides_a_failure() {
    let folder = project(&GOOD.replacen("command = \"", "command = \"./a; ./b; ", 1));
    let ran = run(&folder, &["check"]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert!(ran.err.contains("lost_exit_status") || ran.err.contains("is not noticed"), "{}", ran.err);
}

const UNTIDY: &str = "[[target]]\nname=\"a\" # why\nkernel   = \"bzImage\"\ncommand = \"x\"\n";
const TIDY: &str = "[[target]]\nname = \"a\" # why\nkernel = \"bzImage\"\ncommand = \"x\"\n";

#[test]
fn fmt_puts_a_file_in_order() {
    let folder = project(UNTIDY);
    let ran = run(&folder, &["fmt"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    assert_eq!(folder.read("vmtest.toml"), TIDY);
}

#[test]
fn fmt_check_only_says_whether_a_file_is_in_order() {
    let folder = project(UNTIDY);
    let ran = run(&folder, &["fmt", "--check"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("vmtest.toml is not in order"), "{}", ran.err);
    assert_eq!(folder.read("vmtest.toml"), UNTIDY);
    assert_eq!(run(&project(TIDY), &["fmt", "--check"]).status, Some(0));
}

#[test]
fn fmt_leaves_a_broken_file_as_it_is_and_says_where() {
    let broken = "[[target]]\nname=\"a\nkernel  = 3\n";
    let folder = project(broken);
    let ran = run(&folder, &["fmt"]);
    assert_eq!(ran.status, Some(78));
    assert!(ran.err.contains("vmtest.toml:2:"), "{}", ran.err);
    assert_eq!(folder.read("vmtest.toml"), broken);
}

#[test]
fn fmt_writes_standard_input_to_standard_output() {
    let folder = project("");
    let ran = ran(&vmtest(&folder, &["fmt", "-"]).stdin(UNTIDY).run());
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), TIDY));
}

#[test]
fn a_filter_that_matches_nothing_is_78() {
    let ran = run(&project(GOOD), &["-f", "three"]);
    assert_eq!(ran.status, Some(78));
    assert!(ran.err.contains("no target's name matches"), "{}", ran.err);
}

#[test]
fn a_wrong_option_is_78() {
    for arguments in [&["--frobnicate"] as &[&str], &["-j", "0"], &["--partition", "3/2"], &["nonsense"]] {
        assert_eq!(run(&project(GOOD), arguments).status, Some(78), "{arguments:?}");
    }
}

#[test]
fn a_wrong_timeout_is_told_by_the_options_name() {
    let ran = run(&project(GOOD), &["-f", "one", "--timeout", "5 parsecs"]);
    assert_eq!(ran.status, Some(78));
    assert!(ran.err.contains("--timeout:1:"), "{}", ran.err);
}

#[test]
fn list_is_for_people_and_for_programs() {
    let folder = project(GOOD);
    let ran = run(&folder, &["list"]);
    assert_eq!(ran.status, Some(0));
    assert_eq!(
        ran.out.lines().map(|line| line.split("  ").next().unwrap()).collect::<Vec<_>>(),
        ["one", "two.b"]
    );
    let json: serde_json::Value =
        serde_json::from_str(&run(&folder, &["list", "--format", "json"]).out).unwrap();
    assert_eq!(json[1]["name"], "two.b");
    assert_eq!(json[1]["command"], "-");
    assert_eq!(json[0]["line"], 2);
}

#[test]
fn list_takes_the_filter_and_the_partition_of_a_run() {
    let folder = project(GOOD);
    assert!(run(&folder, &["list", "-f", "^two"]).out.starts_with("two.b"));
    assert!(run(&folder, &["list", "--partition", "2/2"]).out.starts_with("two.b"));
    assert_eq!(run(&folder, &["list", "--partition", "3/3"]).out, "");
}

#[test]
fn the_matrix_is_one_line_whose_parts_hold_one_target_each() {
    let folder = project(GOOD);
    let out = run(&folder, &["list", "--format", "github-matrix"]).out;
    assert_eq!(out.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    for entry in json["include"].as_array().unwrap() {
        let part =
            run(&folder, &["list", "--format", "json", "--partition", entry["partition"].as_str().unwrap()]);
        let part: serde_json::Value = serde_json::from_str(&part.out).unwrap();
        assert_eq!(part.as_array().unwrap().len(), 1);
        assert_eq!(part[0]["name"], entry["target"]);
        assert_eq!(part[0]["arch"], entry["arch"]);
    }
}

#[test]
fn the_matrix_of_a_filter_is_cut_by_the_same_filter() {
    let folder = project(GOOD);
    let matrix = run(&folder, &["list", "-f", "^two", "--format", "github-matrix"]).out;
    let json: serde_json::Value = serde_json::from_str(&matrix).unwrap();
    assert_eq!(json["include"].as_array().unwrap().len(), 1);
    let partition = json["include"][0]["partition"].as_str().unwrap();
    assert!(run(&folder, &["list", "-f", "^two", "--partition", partition]).out.starts_with("two.b"));
}

#[test]
fn a_text_for_a_key_reaches_the_target_as_it_is() {
    let folder = project("[[target]]\n");
    let arguments = ["--set-text", "kernel=./bzImage", "--set-text", "command=true", "--junit", "junit.xml"];
    let arguments = [&arguments as &[&str], &["--set-text", "name='a' \"b\" $(c)"]].concat();
    let ran = ran(&vmtest(&folder, &arguments).leaves(["junit.xml"]).run());
    assert_eq!(ran.status, Some(69), "{}", ran.err);
    assert!(ran.out.starts_with("=> 'a' \"b\" $(c)\n"), "{}", ran.out);
    let wrong = run(&folder, &["--set-text", "vm.num_cpus=4"]);
    assert_eq!(wrong.status, Some(78));
    assert!(wrong.err.contains("--set-text:1:"), "{}", wrong.err);
}

#[test]
fn the_schema_is_json() {
    let ran = run(&project(""), &["schema"]);
    assert_eq!(ran.status, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(schema["$schema"].is_string());
}

#[test]
fn completions_name_the_subcommands() {
    let ran = run(&project(""), &["completions", "bash"]);
    assert_eq!(ran.status, Some(0));
    assert!(ran.out.contains("doctor") && ran.out.contains("--partition"));
}

#[test]
fn help_and_version_succeed() {
    let folder = project("");
    assert!(run(&folder, &["--help"]).out.contains("Exit status"));
    assert_eq!(run(&folder, &["--version"]).status, Some(0));
}

#[test]
fn a_shell_wants_the_terminal_for_itself() {
    let ran = run(&project(GOOD), &[]);
    assert_eq!(ran.status, Some(78));
    assert!(ran.err.contains("two.b") && ran.err.contains("run it alone"), "{}", ran.err);
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_anything_runs() {
    let folder = project(GOOD);
    for arguments in [["--junit", "."], ["--junit", "bzImage/x.xml"], ["--log-dir", "bzImage/x"]] {
        let arguments = [&["-f", "one"] as &[&str], &arguments].concat();
        let ran = run(&folder, &arguments);
        assert_eq!(ran.status, Some(78), "{arguments:?}");
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn a_kernel_that_is_none_is_one_target_that_did_not_boot() {
    let folder = project(GOOD);
    let arguments = ["-f", "one", "--junit", "out/junit.xml", "--log-dir", "logs"];
    let ran = ran(&vmtest(&folder, &arguments).leaves(["out", "logs"]).run());
    assert_eq!(ran.status, Some(69), "{}", ran.err);
    assert!(ran.out.starts_with("=> one\n") && ran.out.ends_with("FAILED\n"), "{}", ran.out);
    let junit = folder.read("out/junit.xml");
    assert!(junit.contains("type=\"boot_failed\""), "{junit}");
}

#[test]
fn a_one_liner_has_no_verdict_line_and_the_kernels_name() {
    let ran = run(&project(""), &["-k", "./bzImage", "check"]);
    assert_eq!(ran.status, Some(69), "{}", ran.err);
    assert!(ran.out.starts_with("=> bzImage\n") && !ran.out.contains("FAILED"), "{}", ran.out);
}

#[test]
fn json_has_one_event_a_line_and_one_finished() {
    let ran = run(&project(GOOD), &["-f", "one", "--format", "json"]);
    let events: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().filter(|event| event["event"] == "finished").count(), 1);
    assert_eq!(events.last().unwrap()["verdict"], "boot_failed");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = project(GOOD);
    let (running, _stdin, stdout) = vmtest(&folder, &["-f", "one", "--format", "json"]).start_to_talk();
    drop(stdout);
    let ran = ran(&running.finish());
    assert_eq!((ran.status, ran.err.as_str()), (Some(141), ""));
}

#[test]
fn logs_of_a_run_go_to_the_state_directory() {
    let folder = project(GOOD);
    run(&folder, &["-f", "one"]);
    assert_eq!(fs::read_dir(folder.base().join("state/vmtest/runs")).unwrap().count(), 1);
}

#[test]
fn a_state_directory_that_cannot_be_written_changes_nothing() {
    let folder = project(GOOD);
    fs::remove_dir(folder.base().join("state")).unwrap();
    fs::write(folder.base().join("state"), "in the way").unwrap();
    let ran = run(&folder, &["-f", "one"]);
    assert_eq!(ran.status, Some(69), "{}", ran.err);
}

/// So many targets, in a file of a line for each key.
fn targets(count: usize, name: &str) -> String {
    format!("[[target]]\nname='{name}'\nkernel='k'\ncommand='c'\n").repeat(count)
}

// U2
#[test]
fn a_file_with_a_hundred_thousand_targets_is_refused_by_its_size() {
    let folder = project(&targets(100_000, "t"));
    for arguments in [&["list"][..], &["-f", "x"], &["check"]] {
        let ran = run(&folder, arguments);
        assert_eq!(ran.status, Some(78), "{arguments:?}");
        assert!(ran.err.contains("more than 1 MiB") && ran.err.contains("vmtest.toml"), "{}", ran.err);
    }
}

/// The fastest of three: the others met with other work of the computer.
fn time(folder: &Project, arguments: &[&str]) -> std::time::Duration {
    let look = |_| {
        let started = std::time::Instant::now();
        let ran = run(folder, arguments);
        assert_eq!(ran.status, Some(0), "{}", ran.err);
        started.elapsed()
    };
    (0..3).map(look).min().unwrap()
}

/// Four times as much takes less than ten times as long. What is quadratic takes sixteen times as long.
#[track_caller]
fn expect_linear(text: impl Fn(usize) -> String, arguments: &[&str]) {
    let [small, large] = [1, 4].map(|times| time(&project(&text(times)), arguments));
    assert!(
        large < small * 10 + std::time::Duration::from_millis(200),
        "{arguments:?}: {small:?}, {large:?}"
    );
}

// U2
#[test]
fn as_many_targets_as_a_file_may_have_are_listed_and_chosen_in_linear_time() {
    let text = |times| targets(times * 5_000, "t");
    assert!(text(4).len() < 1 << 20);
    expect_linear(text, &["list"]);
    expect_linear(text, &["list", "-f", "^t$"]);
}

/// An expression that looks back would try every way to cut the name into pieces, and not come to an end.
// U2
#[test]
fn a_hostile_filter_takes_linear_time() {
    let text = |times| targets(1, &"a".repeat(times * 20_000)) + &targets(1, "aab");
    for filter in ["^(a+)+b$", "^(a|a)*b$", "^(a|aa)+b$", "^(.*a){2}b$"] {
        expect_linear(text, &["list", "-f", filter]);
    }
}
