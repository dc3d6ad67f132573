//! Targets that are spread over runners, and their reports.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use vmtest_tests::Project;
use vmtest_tests::machine::repository;

use crate::runner::Job;

/// Three targets whose kernel is none: each ends before a machine starts.
const TARGETS: &str = "
[[target]]\nname = 'a'\nkernel = 'none'\ncommand = 'true'
[[target]]\nname = 'b \"$(c)\"'\nkernel = 'none'\ncommand = 'true'
[[target]]\nname = 'left out'\nkernel = 'none'\ncommand = 'true'
";
const FILTER: &str = "^[ab]";

/// The jobs that GitHub would make of it.
fn matrix() -> Vec<Value> {
    let project = Project::new(TARGETS);
    let list =
        project.vmtest(["list", "--format", "github-matrix", "--filter", FILTER]).without_machine().run();
    let matrix: Value = serde_json::from_str(&list.expect_status(0).text()).unwrap();
    matrix["include"].as_array().unwrap().clone()
}

#[test]
fn every_job_of_the_matrix_runs_its_target_and_no_two_reports_share_a_suite() {
    let mut suites = Vec::new();
    for part in matrix() {
        let inputs = [
            ("config", "vmtest.toml"),
            ("filter", FILTER),
            ("partition", part["partition"].as_str().unwrap()),
            ("junit", "report.xml"),
        ];
        let mut job = Job::new(TARGETS, &inputs);
        job.project.write("none", "");
        let last = job.run(&["report.xml"]).pop().unwrap().outcome.unwrap();
        last.expect_status(69).expect_line(&format!("=> {}", part["target"].as_str().unwrap()));
        let report = job.project.read("report.xml");
        suites.extend(
            report
                .split("<testsuite name=\"")
                .skip(1)
                .map(|rest| rest.split("\" ").next().unwrap().to_owned()),
        );
    }
    assert_eq!(suites, ["vmtest.toml: a", "vmtest.toml: b &quot;$(c)&quot;"]);
}

#[test]
fn the_example_names_nothing_that_the_matrix_has_not() {
    let example = fs::read_to_string(repository().join("examples/github-workflow.yml")).unwrap();
    let word = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let named: BTreeSet<_> = example.split(" matrix.").skip(1).map(word).collect();
    let there: BTreeSet<_> = matrix()[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(named, there);
}
