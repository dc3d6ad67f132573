//! What vmtest adds to the language server protocol. `docs/protocol.md` describes it; a test holds the page to these
//! types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_lsp::lsp_types::{Range, Uri};
use vmtest_vm::event::{RunEvent, RunId};
use vmtest_vm::verdict::Verdict;

/// Request: the targets of a document and how they are.
pub(crate) const TARGETS: &str = "vmtest/targets";
/// Request: starts targets.
pub(crate) const RUN: &str = "vmtest/run";
/// Request: stops a run.
pub(crate) const CANCEL: &str = "vmtest/cancel";
/// Notification to the client: what happens in a run.
pub(crate) const RUN_EVENT: &str = "vmtest/runEvent";
/// Notification from the client: the user trusts the workspace, or does not any more.
pub(crate) const DID_CHANGE_TRUST: &str = "vmtest/didChangeTrust";

/// Runs one target; [`LensArguments`].
pub(crate) const COMMAND_RUN: &str = "vmtest.server.run";
/// Runs every target of a document; [`DocumentArguments`].
pub(crate) const COMMAND_RUN_ALL: &str = "vmtest.server.runAll";
/// Stops one target; [`LensArguments`].
pub(crate) const COMMAND_STOP: &str = "vmtest.server.stop";
/// Opens the log of a target's last run; [`LensArguments`].
pub(crate) const COMMAND_LOG: &str = "vmtest.server.log";
/// What `workspace/executeCommand` takes. A client must not register these ids itself.
pub(crate) const COMMANDS: [&str; 4] = [COMMAND_RUN, COMMAND_RUN_ALL, COMMAND_STOP, COMMAND_LOG];

/// Parameters of [`TARGETS`], and the argument of [`COMMAND_RUN_ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DocumentArguments {
    /// A vmtest.toml.
    pub(crate) uri: Uri,
}

/// One entry of the result of [`TARGETS`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetInfo {
    /// Its name; need not be unique.
    pub(crate) name: String,
    /// Its place in the file, from 0.
    pub(crate) index: usize,
    /// Whether its command is an interactive shell, which needs a terminal.
    pub(crate) interactive: bool,
    /// Its `[[target]]` header.
    pub(crate) range: Range,
    /// How it is.
    pub(crate) state: TargetStatus,
}

/// How a target is: what a lens shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum TargetStatus {
    /// It has not run since the document was opened.
    Idle,
    /// It waits for its turn.
    Queued {
        /// Its run.
        run_id: RunId,
    },
    /// What it boots is fetched.
    Downloading {
        /// Its run.
        run_id: RunId,
        /// For so long.
        seconds: f64,
    },
    /// Its kernel is read and the initramfs built.
    Preparing {
        /// Its run.
        run_id: RunId,
        /// For so long.
        seconds: f64,
    },
    /// Its machine starts, until the command does.
    Booting {
        /// Its run.
        run_id: RunId,
        /// For so long.
        seconds: f64,
    },
    /// Its command runs.
    Running {
        /// Its run.
        run_id: RunId,
        /// For so long.
        seconds: f64,
    },
    /// It has run.
    Finished {
        /// Its run.
        run_id: RunId,
        /// All of the run.
        seconds: f64,
        /// The whole output, where it could be written.
        log: Option<Uri>,
        /// How it ended, as in `finished`.
        #[serde(flatten)]
        verdict: Verdict,
    },
}

/// Parameters of [`RUN`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct RunParams {
    /// A vmtest.toml.
    pub(crate) uri: Uri,
    /// Which of its targets; none or an empty list is every one.
    #[serde(default)]
    pub(crate) targets: Option<Vec<TargetRef>>,
}

/// Names a target of a document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a target is a name, or an object with `name` and `index`")]
pub(crate) enum TargetRef {
    /// Every target of that name.
    Name(String),
    /// The target at a place of the file, if it still has that name.
    Place {
        /// Its name.
        name: String,
        /// Its place in the file, from 0.
        index: usize,
    },
}

/// Result of [`RUN`], and of the commands that run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunResult {
    /// For [`CANCEL`], and the `run_id` of the run's events.
    pub(crate) run_id: RunId,
}

/// Parameters of [`CANCEL`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CancelParams {
    /// The run; one that is over, or never was, is no error.
    pub(crate) run_id: String,
}

/// Parameters of [`RUN_EVENT`].
#[derive(Debug, Serialize)]
pub(crate) struct RunEventParams<'a> {
    /// The vmtest.toml.
    pub(crate) uri: &'a Uri,
    /// As in `vmtest --format json`.
    #[serde(flatten)]
    pub(crate) event: &'a RunEvent,
}

/// Parameters of [`DID_CHANGE_TRUST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct TrustParams {
    /// Whether the user trusts the workspace.
    pub(crate) trusted: bool,
}

/// Argument of the commands of a lens. It names a target and never carries a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LensArguments {
    /// The vmtest.toml.
    pub(crate) uri: Uri,
    /// The target's name.
    pub(crate) name: String,
    /// Its place in the file, from 0.
    pub(crate) index: usize,
}

/// A command of `workspace/executeCommand`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerCommand {
    /// [`COMMAND_RUN`].
    Run(LensArguments),
    /// [`COMMAND_RUN_ALL`].
    RunAll(DocumentArguments),
    /// [`COMMAND_STOP`].
    Stop(LensArguments),
    /// [`COMMAND_LOG`].
    Log(LensArguments),
}

impl ServerCommand {
    /// Reads an id and its arguments; the error is a sentence.
    pub(crate) fn parse(id: &str, mut arguments: Vec<Value>) -> Result<Self, String> {
        if !COMMANDS.contains(&id) {
            return Err(format!("vmtest has no command `{id}`; it has {}", COMMANDS.join(", ")));
        }
        if arguments.len() != 1 {
            return Err(format!("`{id}` takes one argument, not {}", arguments.len()));
        }
        let argument = arguments.remove(0);
        let read = match id {
            COMMAND_RUN => serde_json::from_value(argument).map(Self::Run),
            COMMAND_RUN_ALL => serde_json::from_value(argument).map(Self::RunAll),
            COMMAND_STOP => serde_json::from_value(argument).map(Self::Stop),
            _ => serde_json::from_value(argument).map(Self::Log),
        };
        read.map_err(|error| format!("the argument of `{id}` is wrong: {error}"))
    }
}

/// `initializationOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether the user trusts the workspace; without it nothing runs.
    pub(crate) trusted: bool,
    /// How many targets run at once; none leaves it to processors and memory.
    pub(crate) jobs: Option<usize>,
    /// Whether guests are kept for open documents before anything runs.
    pub(crate) warm_snapshots: bool,
}

impl Options {
    /// Reads what the client sent. What is wrong is left at its default and said in a sentence each: a setting is no
    /// reason not to start, and a wrong type must not grant trust.
    pub(crate) fn read(value: Option<&Value>) -> (Self, Vec<String>) {
        let mut options = Self::default();
        let mut wrong = Vec::new();
        match value {
            None | Some(Value::Null) => {}
            Some(Value::Object(fields)) => options.read_fields(fields, &mut wrong),
            Some(other) => {
                wrong.push(format!("initializationOptions must be an object, not {}", kind(other)));
            }
        }
        (options, wrong)
    }

    fn read_fields(&mut self, fields: &Map<String, Value>, wrong: &mut Vec<String>) {
        match fields.get("trusted") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(trusted)) => self.trusted = *trusted,
            Some(other) => wrong.push(format!(
                "initializationOptions.trusted must be true or false, not {}; the workspace is not trusted",
                kind(other)
            )),
        }
        match fields.get("jobs") {
            None | Some(Value::Null) => {}
            Some(Value::Number(jobs)) if jobs.as_u64().is_some_and(|jobs| (1..=1024).contains(&jobs)) => {
                self.jobs = jobs.as_u64().and_then(|jobs| usize::try_from(jobs).ok());
            }
            Some(other) => wrong.push(format!(
                "initializationOptions.jobs must be a whole number from 1 to 1024, not {}",
                kind(other)
            )),
        }
        match fields.get("warmSnapshots") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(warm_snapshots)) => self.warm_snapshots = *warm_snapshots,
            Some(other) => wrong.push(format!(
                "initializationOptions.warmSnapshots must be true or false, not {}",
                kind(other)
            )),
        }
    }
}

/// A value's type, and the value where that is short.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Whether the client takes [`RUN_EVENT`]: `experimental.vmtest.runEvents` of its capabilities.
pub(crate) fn wants_run_events(experimental: Option<&Value>) -> bool {
    experimental.and_then(|value| value.pointer("/vmtest/runEvents")) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests;
