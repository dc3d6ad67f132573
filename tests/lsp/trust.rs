//! A file of a stranger: looking at it executes nothing, and running it needs the user's word.

use serde_json::{Value, json};
use vmtest_tests::Project;

use crate::client::{Client, diagnostics};
use crate::workspace;

/// Everything in it that could be taken for a program or a command leaves a mark when it is.
const EVIL: &str = r#"[[target]]
name = "$(touch mark) `touch mark` [a](command:evil)\n;touch mark"
kernel = "{stable}"
qemu_command = "./evil"
command = "touch mark"
env = { A = "$(touch mark)" }

[[target]]
name = 'image'
image = './evil'
qemu_command = './evil'
command = './evil'

[[target]]
name = 'program'
kernel = './evil'
qemu_command = 'evil'
rootfs = '$(touch mark)'
command = '-'
"#;

/// The project of a stranger, open in an editor whose user has said nothing. It and its `evil` may not leave anything.
fn opened(project: &Project) -> Client {
    opened_by(project, &[])
}

/// The same, where these files may be left.
fn opened_by(project: &Project, leaves: &[&str]) -> Client {
    project.write_program("evil", "#!/bin/sh\ntouch \"${0%/*}/mark\"\n");
    let path = format!("{}:{}", project.dir().display(), vmtest_tests::machine::PATH);
    let mut client = Client::of(project.vmtest(["lsp"]).env("PATH", path).leaves(leaves).without_machine());
    client.initialize(json!({
        "capabilities": workspace::showing_runs(),
        "workspaceFolders": [{ "uri": workspace::uri(project.dir()), "name": "project" }],
    }));
    client.open(&workspace::toml(project), &project.read("vmtest.toml"));
    // What this machine lacks is looked at when the text rests.
    let toml = workspace::toml(project);
    client.until(|message| {
        let is_environment =
            |found: &Value| found["code"].as_str().is_some_and(|code| code.contains("kernel"));
        diagnostics(message, &toml).is_some_and(|found| found.iter().any(is_environment))
    });
    client
}

// E2
#[test]
fn looking_at_a_file_executes_nothing_that_it_names() {
    let project = Project::new(EVIL);
    let mut client = opened(&project);
    let document = json!({ "uri": workspace::toml(&project) });
    let text = project.read("vmtest.toml");
    for (number, line) in text.lines().enumerate() {
        for character in [0, line.find('=').map_or(0, |at| at + 3), line.len()] {
            let at =
                json!({ "textDocument": document, "position": { "line": number, "character": character } });
            client.result("textDocument/hover", at.clone());
            client.result("textDocument/completion", at);
        }
    }
    let whole = json!({
        "start": { "line": 0, "character": 0 },
        "end": { "line": text.lines().count(), "character": 0 },
    });
    for (method, more) in [
        ("textDocument/codeLens", json!({})),
        ("textDocument/documentSymbol", json!({})),
        ("textDocument/documentLink", json!({})),
        ("textDocument/foldingRange", json!({})),
        ("textDocument/semanticTokens/full", json!({})),
        ("textDocument/inlayHint", json!({ "range": whole })),
        ("textDocument/codeAction", json!({ "range": whole, "context": { "diagnostics": [] } })),
        ("textDocument/formatting", json!({ "options": { "tabSize": 4, "insertSpaces": true } })),
    ] {
        let mut params = more;
        params["textDocument"] = document.clone();
        client.result(method, params);
    }
    client.result("vmtest/targets", json!({ "uri": document["uri"] }));
    client.change(&workspace::toml(&project), 2, &text.replace("'image'", "'other'"));
    client.notify("textDocument/didSave", json!({ "textDocument": document }));
    client.until(|message| message["params"]["version"] == 2);
    // Fails when there is a mark, or a process.
    client.goodbye();
}

// E2
#[test]
fn a_run_is_refused_and_executes_nothing() {
    let project = Project::new(EVIL);
    let mut client = opened(&project);
    let refused = client.request("vmtest/run", json!({ "uri": workspace::toml(&project) }));
    assert_eq!(refused["error"]["code"], -32803, "{refused}");
    assert_eq!(refused["error"]["data"]["reason"], "untrusted");
    client.goodbye();
}

// E2
#[test]
fn the_same_file_leaves_its_mark_when_it_runs() {
    // Else the other tests of this page would prove nothing.
    let project = Project::new(EVIL);
    let mut client = opened_by(&project, &["mark"]);
    client.notify("vmtest/didChangeTrust", json!({ "trusted": true }));
    let target = json!({ "name": target_name(&mut client, &project), "index": 0 });
    client.result("vmtest/run", json!({ "uri": workspace::toml(&project), "targets": [target] }));
    client.until(|message| workspace::event(message).is_some_and(|event| event["event"] == "finished"));
    client.goodbye();
    assert!(project.dir().join("mark").exists());
}

fn target_name(client: &mut Client, project: &Project) -> Value {
    client.result("vmtest/targets", json!({ "uri": workspace::toml(project) }))[0]["name"].clone()
}

// E2
#[test]
fn a_lens_asks_first_and_a_no_executes_nothing() {
    let project = Project::new(EVIL);
    let mut client = opened(&project);
    assert_eq!(workspace::click(&mut client, &project, "▶ Run all"), Value::Null);
    let question = client.until(|message| message["method"] == "window/showMessageRequest");
    client.reply(&question, Value::Null);
    let targets = client.result("vmtest/targets", json!({ "uri": workspace::toml(&project) }));
    let is_idle = |target: &Value| target["state"]["phase"] == "idle";
    assert!(targets.as_array().unwrap().iter().all(is_idle), "{targets}");
    client.goodbye();
}

// E2
#[test]
fn a_command_line_cannot_be_smuggled_in_with_the_command_of_a_lens() {
    let project = Project::new(EVIL);
    let mut client = opened(&project);
    let argument = json!({
        "uri": workspace::toml(&project),
        "name": "x",
        "index": 0,
        "command": "touch mark",
        "qemu_command": "./evil",
        "trusted": true,
    });
    let params = json!({ "command": "vmtest.server.run", "arguments": [argument] });
    assert!(client.request("workspace/executeCommand", params)["error"].is_object());
    client.goodbye();
}
