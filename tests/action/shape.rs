//! The action, the workflows of this repository and the example, as far as they can be looked at without GitHub.

use std::fs;

use serde_json::Value;
use vmtest_tests::machine::repository;

use crate::runner::{text, yaml};

const ACTION: &str = ".github/actions/vmtest/action.yml";

/// The workflows, by their paths.
fn workflows() -> Vec<(String, Value)> {
    let own = fs::read_dir(repository().join(".github/workflows")).unwrap().flatten();
    let own = own.map(|entry| format!(".github/workflows/{}", entry.file_name().into_string().unwrap()));
    let all = own.chain(["examples/github-workflow.yml".to_owned()]);
    all.map(|path| (path.clone(), yaml(&repository().join(path)))).collect()
}

/// The steps of the action and of all workflows, each with where it is from.
fn steps() -> Vec<(String, Value)> {
    let action = yaml(&repository().join(ACTION));
    let of = |place: &str, steps: &Value| {
        let steps = steps.as_array().unwrap_or_else(|| panic!("{place} has no steps")).clone();
        steps.into_iter().map(|step| (place.to_owned(), step)).collect::<Vec<_>>()
    };
    let mut all = of(ACTION, &action["runs"]["steps"]);
    for (path, workflow) in workflows() {
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            all.extend(of(&format!("{path}, job {name}"), &job["steps"]));
        }
    }
    all
}

#[test]
fn a_workflow_says_when_it_runs_what_it_may_do_and_how_long_a_job_may_take() {
    for (path, workflow) in workflows() {
        assert!(!workflow["on"].is_null(), "{path}");
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{path}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["runs-on"].is_string(), "{path}: {name}");
            assert!(job["timeout-minutes"].is_u64(), "{path}: {name}");
            let needed = job.get("needs").map(text);
            assert!(needed.is_none_or(|other| workflow["jobs"][other].is_object()), "{path}: {name}");
        }
    }
}

#[test]
fn no_expression_is_part_of_a_script() {
    for (place, step) in steps() {
        if let Some(script) = step.get("run") {
            assert!(!text(script).contains("${{"), "{place}: {script}");
        }
    }
}

#[test]
fn a_step_runs_a_script_or_uses_an_action_of_github_or_of_this_repository() {
    for (place, step) in steps() {
        assert_ne!(step.get("run").is_some(), step.get("uses").is_some(), "{place}: {step}");
        if let Some(uses) = step.get("uses").map(text) {
            let own = uses == "./.github/actions/vmtest"
                || uses.starts_with("vmtest/vmtest/.github/actions/vmtest@");
            assert!(own || uses.starts_with("actions/"), "{place}: {uses}");
            assert!(uses.starts_with("./") || uses.contains('@'), "{place}: {uses} has no version");
        }
    }
}

#[test]
fn the_action_is_used_with_inputs_that_it_has() {
    let action = yaml(&repository().join(ACTION));
    let uses = steps()
        .into_iter()
        .filter(|(_, step)| step["uses"].as_str().is_some_and(|uses| uses.contains("vmtest")));
    for (place, step) in uses {
        for name in step["with"].as_object().unwrap().keys() {
            assert!(action["inputs"][name].is_object(), "{place}: the action has no input `{name}`");
        }
    }
}

#[test]
fn every_input_of_the_action_is_described_and_reaches_a_step() {
    let action = yaml(&repository().join(ACTION));
    let source = fs::read_to_string(repository().join(ACTION)).unwrap();
    let page = fs::read_to_string(repository().join("docs/ci.md")).unwrap();
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert!(input["description"].is_string(), "{name}");
        assert!(source.contains(&format!("${{{{ inputs.{name} }}}}")), "{name} reaches no step");
        assert!(page.contains(&format!("`{name}`")), "docs/ci.md does not mention `{name}`");
    }
}

#[test]
fn a_script_that_a_step_starts_is_there() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    for (place, step) in steps() {
        let script = step.get("run").map(text).unwrap_or_default();
        for word in script.split(|c: char| c.is_whitespace() || c == '"') {
            let file = match word.strip_prefix("$GITHUB_ACTION_PATH/") {
                Some(name) => format!(".github/actions/vmtest/{name}"),
                None if word.starts_with("scripts/") || word.starts_with(".ci/") => word.to_owned(),
                None => continue,
            };
            assert!(repository().join(&file).is_file(), "{place}: there is no {file}");
        }
        if let Some(target) = script.strip_prefix("make ") {
            assert!(makefile.contains(&format!("\n{target}:")), "{place}: make has no {target}");
        }
    }
}

#[test]
fn nothing_is_published_but_a_draft() {
    for (place, step) in steps() {
        let script = step.get("run").map(text).unwrap_or_default();
        assert!(!script.contains("publish"), "{place}: {script}");
        assert!(!script.contains("gh release") || script.contains("--draft"), "{place}: {script}");
    }
}

#[test]
fn the_action_downloads_the_archive_that_a_release_has() {
    let read = |path| fs::read_to_string(repository().join(path)).unwrap();
    let (install, release) = (read(".github/actions/vmtest/install.sh"), read("scripts/release.sh"));
    assert!(install.contains("name=vmtest-$(uname -m)-linux\n") && release.contains("arch=$(uname -m)\n"));
    assert!(release.contains("name=vmtest-$arch-linux ") && release.contains("\"$work/$name/vmtest\""));
    assert!(install.contains("$name.tar.gz") && release.contains("$name.tar.gz"));
}
