//! A run as a client sees it that knows nothing of vmtest. One machine runs for all of these tests.

use std::sync::LazyLock;

use serde_json::{Value, json};
use vmtest_tests::{Project, target};

use crate::client::{Client, diagnostics};
use crate::workspace::{self, click, titles};

/// What was seen of it.
struct Story {
    /// Everything until the verdict.
    messages: Vec<Value>,
    of_source: Vec<Value>,
    lens_after: String,
    /// Of the source file and of vmtest.toml, after that was closed.
    after_close: (Vec<Value>, Vec<Value>),
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let text = target("t", "", "echo one; echo two >&2; echo 'main.py:1: error: oh no'; exit 4");
    let project = Project::new(&text);
    project.write("main.py", "x = 1\n");
    let (toml, source) = (workspace::toml(&project), workspace::uri(&project.dir().join("main.py")));
    let client = Client::of(project.vmtest(["lsp"]));
    let mut client = workspace::open(client, &project, &workspace::plain(), &text);
    click(&mut client, &project, "▶ Run in VM");
    let create = client.until(|message| message["method"] == "window/workDoneProgress/create");
    client.reply(&create, Value::Null);
    client.until(|message| message["method"] == "$/progress" && message["params"]["value"]["kind"] == "end");
    client.whenever(|message| {
        diagnostics(message, &toml).is_some_and(|found| found.iter().any(|found| found["code"] == "failed"))
    });
    client.whenever(|message| {
        let text = message["params"]["message"].as_str();
        message["method"] == "window/logMessage" && text.is_some_and(|text| text.contains("exit code: 4"))
    });
    let messages = client.seen.clone();
    let last_of_source = messages.iter().rev().find_map(|message| diagnostics(message, &source));
    let of_source = last_of_source.cloned().unwrap_or_default();
    let lens_after = titles(&mut client, &project).remove(0);
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": toml } }));
    let (mut closed_source, mut closed_toml) = (None, None);
    while closed_source.is_none() || closed_toml.is_none() {
        let message = client.until(|message| message["method"] == "textDocument/publishDiagnostics");
        closed_source = closed_source.or(diagnostics(&message, &source).cloned());
        closed_toml = closed_toml.or(diagnostics(&message, &toml).cloned());
    }
    client.goodbye();
    Story { messages, of_source, lens_after, after_close: (closed_source.unwrap(), closed_toml.unwrap()) }
});

fn progress() -> Vec<&'static Value> {
    let told = STORY.messages.iter().filter(|message| message["method"] == "$/progress");
    told.map(|message| &message["params"]["value"]).collect()
}

#[test]
fn the_output_of_a_run_is_in_the_clients_log() {
    let told = STORY.messages.iter().filter(|message| message["method"] == "window/logMessage");
    let log: Vec<_> = told.filter_map(|message| message["params"]["message"].as_str()).collect();
    let lines: Vec<_> = log.iter().flat_map(|text| text.lines()).collect();
    for line in ["t | one", "t | two", "t | main.py:1: error: oh no"] {
        assert!(lines.contains(&line), "{line} is not in {lines:#?}");
    }
}

#[test]
fn a_run_has_a_progress_with_a_button_to_cancel_and_one_end() {
    let progress = progress();
    let begin = progress.first().expect("there is progress");
    assert_eq!((&begin["kind"], &begin["cancellable"]), (&json!("begin"), &json!(true)), "{begin}");
    let ends = progress.iter().filter(|value| value["kind"] == "end").count();
    assert!(ends == 1 && progress.last().unwrap()["kind"] == "end", "{progress:#?}");
}

#[test]
fn the_progress_tells_the_phase() {
    let said: Vec<_> = progress().into_iter().filter_map(|value| value["message"].as_str()).collect();
    assert!(said.iter().any(|message| message.starts_with("booting")), "{said:?}");
    assert!(said.last().unwrap().contains("exit code: 4"), "{said:?}");
}

#[test]
fn a_client_that_did_not_ask_for_them_gets_no_events() {
    assert!(STORY.messages.iter().all(|message| message["method"] != "vmtest/runEvent"));
}

#[test]
fn a_place_that_the_output_names_is_shown() {
    let [found] = STORY.of_source.as_slice() else { panic!("{:?}", STORY.of_source) };
    assert_eq!((&found["range"]["start"]["line"], &found["message"]), (&json!(0), &json!("oh no")));
}

#[test]
fn the_lens_shows_the_result() {
    assert!(STORY.lens_after.starts_with("✗ exit 4"), "{}", STORY.lens_after);
}

#[test]
fn diagnostics_of_a_run_go_when_its_document_is_closed() {
    assert_eq!(STORY.after_close, (Vec::new(), Vec::new()));
}
