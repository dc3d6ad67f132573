//! A project that is open in an editor, and what a user does there.

use std::path::Path;

use serde_json::{Value, json};
use vmtest_tests::{Project, with_kernels};

use crate::client::{Client, diagnostics};

/// The URI of a file.
pub(crate) fn uri(path: &Path) -> String {
    // The harness' directories have nothing in their names that must be escaped.
    format!("file://{}", path.display())
}

/// The URI of a project's vmtest.toml.
pub(crate) fn toml(project: &Project) -> String {
    uri(&project.dir().join("vmtest.toml"))
}

/// What a client says that shows runs itself.
pub(crate) fn showing_runs() -> Value {
    json!({ "experimental": { "vmtest": { "runEvents": true } } })
}

/// What a client says that knows nothing of vmtest and has progress bars.
pub(crate) fn plain() -> Value {
    json!({ "window": { "workDoneProgress": true } })
}

/// Opens the project in an editor that can do this much; its vmtest.toml has this text there, in which kernels are replaced.
pub(crate) fn open(mut client: Client, project: &Project, capabilities: &Value, text: &str) -> Client {
    let process = client.running().pid().as_raw();
    client.initialize(json!({
        "processId": process,
        "capabilities": capabilities,
        "workspaceFolders": [{ "uri": uri(project.dir()), "name": "project" }],
        "initializationOptions": { "trusted": true, "jobs": 1 },
    }));
    client.open(&toml(project), &with_kernels(text));
    client
}

/// The lenses of the project's vmtest.toml.
pub(crate) fn lenses(client: &mut Client, project: &Project) -> Vec<Value> {
    let params = json!({ "textDocument": { "uri": toml(project) } });
    let lenses = client.result("textDocument/codeLens", params);
    lenses.as_array().expect("the document is open").iter().map(|lens| lens["command"].clone()).collect()
}

/// What the lenses say.
pub(crate) fn titles(client: &mut Client, project: &Project) -> Vec<String> {
    let lenses = lenses(client, project);
    lenses.iter().map(|command| command["title"].as_str().expect("a title is text").to_owned()).collect()
}

/// Clicks a lens.
#[track_caller]
pub(crate) fn click(client: &mut Client, project: &Project, title: &str) -> Value {
    let lenses = lenses(client, project);
    let wanted =
        lenses.iter().find(|command| command["title"].as_str().is_some_and(|is| is.starts_with(title)));
    let command = wanted.unwrap_or_else(|| panic!("no lens says {title}: {lenses:?}"));
    client.result(
        "workspace/executeCommand",
        json!({ "command": command["command"], "arguments": command["arguments"] }),
    )
}

/// Waits until a file has diagnostics of which this holds; they.
#[track_caller]
pub(crate) fn diagnosed(client: &mut Client, uri: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let message = client.until(|message| diagnostics(message, uri).is_some_and(|found| wanted(found)));
    diagnostics(&message, uri).expect("it was just looked at").clone()
}

/// The event that a message tells.
pub(crate) fn event(message: &Value) -> Option<&Value> {
    (message["method"] == "vmtest/runEvent").then(|| &message["params"])
}

/// Whether a message tells of this event of a target.
pub(crate) fn is_event(message: &Value, target: &str, name: &str) -> bool {
    event(message).is_some_and(|event| event["target"] == target && event["event"] == name)
}

/// The output of all targets so far.
pub(crate) fn output(client: &Client) -> String {
    let pieces = client.seen.iter().filter_map(event).filter(|event| event["event"] == "output");
    pieces.filter_map(|event| event["text"].as_str()).collect()
}

/// Waits until the output has this text.
#[track_caller]
pub(crate) fn printed(client: &mut Client, text: &str) {
    while !output(client).contains(text) {
        client.until(|message| event(message).is_some_and(|event| event["event"] == "output"));
    }
}
