//! What a GitHub runner does with a composite action: the directory that it downloads it to, the environment and the files
//! of each step, conditions, outputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vmtest_tests::machine::{self, repository};
use vmtest_tests::{Outcome, Project, Running};

use crate::expression::{Contexts, fill, holds};

/// The files by which a step tells the runner something, and the names of their variables.
const COMMAND_FILES: [&str; 5] =
    ["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE"];

/// A file as YAML.
pub(crate) fn yaml(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A job on a runner, whose workspace is the directory of a project.
pub(crate) struct Job {
    pub(crate) project: Project,
    /// The action as it was downloaded: a copy of this repository, as far as the action needs it.
    pub(crate) download: PathBuf,
    /// Programs that are found before those of the machine.
    programs: Option<PathBuf>,
    action: Value,
    temp: PathBuf,
    env: BTreeMap<String, String>,
    contexts: Contexts,
    summary: String,
    added_to_path: String,
    state: String,
    count: usize,
}

/// A step that has run.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// Of a `run`.
    pub(crate) outcome: Option<Outcome>,
    /// Of a `uses`.
    pub(crate) with: Value,
}

impl Job {
    /// The action with these inputs, beside this vmtest.toml; the binary under test where no other is asked for.
    pub(crate) fn new(toml: &str, inputs: &[(&str, &str)]) -> Self {
        let project = Project::new(toml);
        let base = project.base();
        let (download, temp) = (base.join("download"), base.join("runner-temp"));
        for dir in [&download, &temp] {
            project.make_dir(dir);
        }
        for part in [".github/actions/vmtest", "scripts", "Cargo.toml", "Cargo.lock", "server/cli/Cargo.toml"]
        {
            copy(&repository().join(part), &download.join(part));
        }
        let action = yaml(&download.join(".github/actions/vmtest/action.yml"));
        let mut job = Self {
            contexts: Contexts::new(),
            project,
            download,
            programs: None,
            action,
            temp,
            env: BTreeMap::new(),
            summary: String::new(),
            added_to_path: String::new(),
            state: String::new(),
            count: 0,
        };
        job.contexts.insert("steps".into(), json!({}));
        job.contexts.insert("github".into(), json!({ "workspace": job.project.dir() }));
        job.contexts.insert("runner".into(), json!({ "os": "Linux", "arch": "X64", "temp": job.temp }));
        job.set_inputs(inputs);
        job
    }

    fn set_inputs(&mut self, given: &[(&str, &str)]) {
        let declared = self.action["inputs"].as_object().expect("the action has inputs");
        let mut inputs: Map<_, _> = declared
            .iter()
            .map(|(name, input)| (name.clone(), input.get("default").cloned().unwrap_or_else(|| json!(""))))
            .collect();
        for (name, value) in given {
            let known = inputs.insert((*name).to_owned(), json!(vmtest_tests::with_kernels(value)));
            assert!(known.is_some(), "the action has no input `{name}`");
        }
        if inputs["version"] == "" {
            inputs["binary"] = json!(machine::vmtest());
        }
        self.contexts.insert("inputs".into(), Value::Object(inputs));
    }

    /// The same with a directory of programs that are found before the machine's, and without a binary of its own.
    #[must_use]
    pub(crate) fn with_programs(mut self, dir: PathBuf) -> Self {
        self.programs = Some(dir);
        self.contexts["inputs"]["binary"] = json!("");
        self
    }

    /// Runs all steps; those after one that failed are left out.
    pub(crate) fn run(&mut self, leaves: &[&str]) -> Vec<Step> {
        let mut done: Vec<Step> = Vec::new();
        for step in self.steps() {
            let failed = |step: &Step| step.outcome.as_ref().is_some_and(|outcome| outcome.status != Some(0));
            if done.last().is_some_and(failed) {
                break;
            }
            if step.get("if").is_some_and(|condition| !holds(text(condition), &self.contexts)) {
                continue;
            }
            let name = text(&step["name"]).to_owned();
            let (outcome, with) = match step.get("run") {
                Some(_) => (Some(self.start(&step, leaves).finish()), Value::Null),
                None => (None, self.filled(&step["with"])),
            };
            self.read_command_files(&step);
            done.push(Step { name, outcome, with });
        }
        done
    }

    /// Runs all steps but the last to their ends, and starts that.
    pub(crate) fn run_to_last(&mut self) -> Running {
        let mut steps = self.steps();
        let last = steps.pop().expect("there are steps");
        for step in steps.iter().filter(|step| step.get("run").is_some()) {
            self.start(step, &[]).finish().expect_status(0);
            self.read_command_files(step);
        }
        self.start(&last, &[])
    }

    /// An output of the action.
    pub(crate) fn output(&self, name: &str) -> String {
        fill(text(&self.action["outputs"][name]["value"]), &self.contexts)
    }

    /// What later steps of the job have in their environment on top of the runner's.
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// What all steps wrote to the job's summary.
    pub(crate) fn summary(&self) -> &str {
        &self.summary
    }

    /// The directories that steps put on the `PATH` of later ones, one in a line.
    pub(crate) fn added_to_path(&self) -> &str {
        &self.added_to_path
    }

    /// What all steps wrote for the end of the job.
    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    /// Where the runner keeps what lives as long as a job.
    pub(crate) fn temp(&self) -> &Path {
        &self.temp
    }

    fn steps(&self) -> Vec<Value> {
        self.action["runs"]["steps"].as_array().expect("the action has steps").clone()
    }

    fn filled(&self, values: &Value) -> Value {
        let entries = values.as_object().into_iter().flatten();
        entries.map(|(name, value)| (name.clone(), json!(fill(text(value), &self.contexts)))).collect()
    }

    /// Where the command file of the current step lies.
    fn command_file(&self, name: &str) -> PathBuf {
        self.temp.join("_runner_file_commands").join(format!("{}_{}", name.to_lowercase(), self.count))
    }

    fn start(&mut self, step: &Value, leaves: &[&str]) -> Running {
        assert_eq!(step["shell"], "bash", "a step of a composite action names its shell: {step}");
        self.count += 1;
        self.project.make_dir(&self.temp.join("_runner_file_commands"));
        let script = self.temp.join(format!("{}.sh", self.count));
        let files = COMMAND_FILES.map(|name| (name, self.command_file(name)));
        fs::write(&script, fill(text(&step["run"]), &self.contexts))
            .expect("the runner's directory is writable");
        machine::give(&script);
        for (_, file) in &files {
            fs::write(file, "").expect("as above");
            machine::give(file);
        }
        let directory =
            step.get("working-directory").map(|dir| PathBuf::from(fill(text(dir), &self.contexts)));
        let words = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"].map(PathBuf::from);
        // What follows the script is its arguments, and it looks at none.
        let mut run = self
            .project
            .vmtest::<&str>([])
            .inside_words(words.into_iter().chain([script]))
            .cwd(&directory.unwrap_or_else(|| self.project.dir().to_owned()))
            .leaves(leaves)
            .env("PATH", self.path())
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", self.project.dir())
            .env("GITHUB_ACTION_PATH", self.download.join(".github/actions/vmtest"))
            .env("RUNNER_TEMP", &self.temp);
        for (name, file) in files {
            run = run.env(name, file);
        }
        for (name, value) in &self.env {
            run = run.env(name, value);
        }
        for (name, value) in self.filled(&step["env"]).as_object().into_iter().flatten() {
            run = run.env(name, text(value));
        }
        if step["id"] != "run" {
            run = run.without_machine();
        }
        run.start()
    }

    fn path(&self) -> String {
        match &self.programs {
            Some(dir) => format!("{}:{}", dir.display(), machine::PATH),
            None => machine::PATH.to_owned(),
        }
    }

    fn read_command_files(&mut self, step: &Value) {
        if step.get("run").is_none() {
            return;
        }
        let read =
            |name| fs::read_to_string(self.command_file(name)).expect("a step leaves the runner's files");
        let [output, env, path, summary, state] = COMMAND_FILES.map(read);
        if let Some(id) = step.get("id") {
            self.contexts["steps"][text(id)] = json!({ "outputs": assignments(&output) });
        }
        self.env.extend(assignments(&env));
        self.added_to_path += &path;
        self.summary += &summary;
        self.state += &state;
    }
}

/// The lines `name=value`, and `name<<END` with what follows up to the end.
fn assignments(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((name, end)) = line.split_once("<<") {
            let value: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
            found.insert(name.to_owned(), value.join("\n"));
        } else {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("the runner refuses: {line}"));
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

/// A string of the action.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("this is no string: {value}"))
}

fn copy(from: &Path, to: &Path) {
    let parent = to.parent().expect("it lies in the download");
    fs::create_dir_all(parent).expect("the download is writable");
    let copied =
        std::process::Command::new("cp").arg("-rT").arg(from).arg(to).status().expect("there is a cp");
    assert!(copied.success(), "cannot copy {}", from.display());
}
