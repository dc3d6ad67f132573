//! The server as a client sees it, without a process.

use serde_json::{Value, json};
use vmtest_vm::event::{EventKind, Finished, Output, OutputStream};
use vmtest_vm::executor::{Script, ScriptEnd};
use vmtest_vm::verdict::Verdict;

use crate::testing::{TestClient, URI, modern};

const TARGET: &str = "[[target]]\nname = 'a'\nkernel = './k'\ncommand = 'c'\n";

fn document() -> Value {
    json!({ "uri": URI })
}

fn at(line: u32, character: u32) -> Value {
    json!({ "textDocument": document(), "position": { "line": line, "character": character } })
}

fn whole() -> Value {
    json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 99, "character": 0 } })
}

fn played(end: Verdict) -> Script {
    let text = Output { stream: OutputStream::Stdout, data: "hello\n".into() };
    Script {
        events: vec![EventKind::Preparing, EventKind::CommandStarted, EventKind::Output(text)],
        end: ScriptEnd::Finish(Finished::from(end)),
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_of_itself_gets_plain_answers() {
    let mut client = TestClient::start(json!({}), json!({}), Vec::new()).await;
    client.open(TARGET).await;
    let symbols = client.result("textDocument/documentSymbol", json!({ "textDocument": document() })).await;
    assert!(symbols[0].get("location").is_some(), "{symbols}");
    let hover = client.result("textDocument/hover", at(2, 2)).await;
    assert_eq!(hover["contents"]["kind"], "plaintext");
    let items = client.result("textDocument/completion", at(4, 0)).await;
    assert!(items.as_array().unwrap().iter().all(|item| item["insertTextFormat"] != 2), "{items}");
    let params = json!({ "textDocument": document(), "range": whole(), "context": { "diagnostics": [] } });
    let actions = client.result("textDocument/codeAction", params).await;
    assert!(actions.as_array().unwrap().iter().all(|action| action["command"].is_string()), "{actions}");
    client.end().await;
}

#[tokio::test]
async fn every_feature_answers_for_a_good_document() {
    let mut client = TestClient::modern().await;
    client.open(TARGET).await;
    let here = json!({ "textDocument": document() });
    for (method, params) in [
        ("textDocument/completion", at(4, 0)),
        ("textDocument/hover", at(2, 2)),
        ("textDocument/documentSymbol", here.clone()),
        ("textDocument/foldingRange", here.clone()),
        ("textDocument/documentLink", here.clone()),
        ("textDocument/semanticTokens/full", here.clone()),
        ("textDocument/codeLens", here.clone()),
        ("textDocument/inlayHint", json!({ "textDocument": document(), "range": whole() })),
    ] {
        let result = client.result(method, params).await;
        let list = result.get("data").unwrap_or(&result);
        assert!(list.as_array().is_none_or(|list| !list.is_empty()) && !list.is_null(), "{method}: {result}");
    }
    client.end().await;
}

#[tokio::test]
async fn every_feature_answers_nothing_for_a_document_that_is_not_open() {
    let mut client = TestClient::modern().await;
    let here = json!({ "textDocument": document() });
    let format = json!({ "textDocument": document(), "options": { "tabSize": 4, "insertSpaces": true } });
    let action = json!({ "textDocument": document(), "range": whole(), "context": { "diagnostics": [] } });
    for (method, params) in [
        ("textDocument/completion", at(4, 0)),
        ("textDocument/hover", at(2, 2)),
        ("textDocument/documentSymbol", here.clone()),
        ("textDocument/foldingRange", here.clone()),
        ("textDocument/documentLink", here.clone()),
        ("textDocument/semanticTokens/full", here.clone()),
        ("textDocument/codeLens", here.clone()),
        ("textDocument/inlayHint", json!({ "textDocument": document(), "range": whole() })),
        ("textDocument/formatting", format),
        ("textDocument/codeAction", action),
    ] {
        assert_eq!(client.result(method, params).await, Value::Null, "{method}");
    }
    client.end().await;
}

#[tokio::test]
async fn a_client_without_snippets_is_offered_keys_too() {
    let mut client = TestClient::start(json!({}), json!({}), Vec::new()).await;
    client.open("[[target]]\n\n").await;
    let items = client.result("textDocument/completion", at(1, 0)).await;
    let item = &items[0];
    assert_eq!(
        (&item["label"], &item["textEdit"]["newText"]),
        (&json!("name"), &json!("name = \"\"")),
        "{item}"
    );
    assert!(!items.to_string().contains('$'), "{items}");
    client.end().await;
}

// E2
#[tokio::test]
async fn a_lens_names_a_target_and_carries_no_command_line() {
    let mut client = TestClient::modern().await;
    client.open(&TARGET.replace("'c'", "'rm -rf evil'")).await;
    let lenses = client.result("textDocument/codeLens", json!({ "textDocument": document() })).await;
    let commands: Vec<_> = lenses.as_array().unwrap().iter().map(|lens| lens["command"].clone()).collect();
    assert_eq!(
        commands[0],
        json!({
            "title": "▶ Run in VM",
            "command": "vmtest.server.run",
            "arguments": [{ "uri": URI, "name": "a", "index": 0 }],
        })
    );
    assert!(!lenses.to_string().contains("evil"), "{lenses}");
    client.end().await;
}

#[tokio::test]
async fn what_a_lens_does_is_a_code_action_of_its_target_too() {
    let mut client = TestClient::modern().await;
    client.open(&(TARGET.to_owned() + &TARGET.replace("'a'", "'b'"))).await;
    let line = json!({ "start": { "line": 5, "character": 0 }, "end": { "line": 5, "character": 0 } });
    let params = json!({ "textDocument": document(), "range": line, "context": { "diagnostics": [] } });
    let actions = client.result("textDocument/codeAction", params).await;
    let titles: Vec<_> =
        actions.as_array().unwrap().iter().map(|action| action["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["▶ Run in VM: b", "Shell: b", "▶ Run all"]);
    client.end().await;
}

// E2
#[tokio::test]
async fn a_name_in_a_menu_is_a_few_plain_words() {
    let mut client = TestClient::modern().await;
    let names = ["a\\nb\\rc\\u001b[2J", "", &"x".repeat(300)]
        .map(|name| TARGET.replace("'a'", &format!("\"{name}\"")));
    client.open(&names.concat()).await;
    let params = json!({
        "textDocument": document(),
        "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 99, "character": 0 } },
        "context": { "diagnostics": [], "only": ["vmtest.run"] },
    });
    let actions = client.result("textDocument/codeAction", params).await;
    let titles: Vec<_> =
        actions.as_array().unwrap().iter().filter_map(|action| action["title"].as_str()).collect();
    let long = format!("▶ Run in VM: {}…", "x".repeat(60));
    for title in ["▶ Run in VM: a b c", "▶ Run in VM: target 2", &long] {
        assert!(titles.contains(&title), "{title} is not among {titles:?}");
    }
    client.end().await;
}

#[tokio::test]
async fn a_shell_is_offered_only_to_a_client_with_a_terminal() {
    let mut client = TestClient::start(json!({}), json!({}), Vec::new()).await;
    client.open(TARGET).await;
    let lenses = client.result("textDocument/codeLens", json!({ "textDocument": document() })).await;
    assert_eq!(lenses.as_array().unwrap().len(), 1);
    client.end().await;
}

#[tokio::test]
async fn a_quick_fix_edits_the_version_it_was_made_for() {
    let mut client = TestClient::modern().await;
    let shown = client.open(&TARGET.replace("command", "comand")).await;
    let params = json!({
        "textDocument": document(),
        "range": shown["diagnostics"][0]["range"],
        "context": { "diagnostics": shown["diagnostics"], "only": ["quickfix"] },
    });
    let actions = client.result("textDocument/codeAction", params).await;
    let edit = &actions[0]["edit"]["documentChanges"][0];
    assert_eq!(edit["textDocument"], json!({ "uri": URI, "version": 1 }), "{actions}");
    assert!(actions[0]["diagnostics"].as_array().is_some_and(|cured| !cured.is_empty()), "{actions}");
    client.end().await;
}

#[tokio::test]
async fn untitled_texts_get_help_and_no_runs() {
    let mut client = TestClient::modern().await;
    let uri = "untitled:Untitled-1";
    let opened = json!({ "uri": uri, "languageId": "toml", "version": 1, "text": TARGET });
    client.notify("textDocument/didOpen", json!({ "textDocument": opened })).await;
    assert_eq!(client.expect("textDocument/publishDiagnostics").await["diagnostics"], json!([]));
    let here = json!({ "textDocument": { "uri": uri } });
    assert!(client.result("textDocument/documentSymbol", here.clone()).await[0].is_object());
    assert_eq!(client.result("textDocument/codeLens", here.clone()).await, json!([]));
    assert_eq!(client.result("textDocument/documentLink", here).await, json!([]));
    let refused = client.request("vmtest/run", json!({ "uri": uri })).await;
    assert_eq!(refused["error"]["code"], -32803);
    client.end().await;
}

#[tokio::test]
async fn a_run_is_refused_while_the_workspace_is_not_trusted() {
    let mut client = TestClient::start(modern(), json!({ "trusted": "yes" }), Vec::new()).await;
    assert!(client.expect("window/showMessage").await["message"].as_str().unwrap().contains("trusted"));
    client.open(TARGET).await;
    let refused = client.request("vmtest/run", json!({ "uri": URI })).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["data"]["reason"]),
        (&json!(-32803), &json!("untrusted"))
    );
    client.end().await;
}

/// Runs the target by its lens.
async fn click(client: &mut TestClient) -> Value {
    let target = json!({ "uri": URI, "name": "a", "index": 0 });
    client
        .request("workspace/executeCommand", json!({ "command": "vmtest.server.run", "arguments": [target] }))
        .await
}

/// Clicks, and takes the question about trust.
async fn asked(client: &mut TestClient) -> Value {
    assert_eq!(click(client).await["result"], Value::Null);
    let question = client.next().await;
    assert_eq!(question["method"], "window/showMessageRequest");
    question
}

fn yes() -> Value {
    json!({ "title": "Run once" })
}

#[tokio::test]
async fn a_question_that_is_never_answered_does_not_keep_the_next_run_from_asking() {
    let mut client = TestClient::start(json!({}), json!({}), vec![played(Verdict::Passed)]).await;
    client.open(TARGET).await;
    asked(&mut client).await;
    let second = asked(&mut client).await;
    client.reply(&second, Ok(yes())).await;
    assert_eq!(client.expect("window/logMessage").await["message"], "a | hello");
    assert_eq!(client.expect("window/logMessage").await["message"], "a: passed (0.0 s)");
    assert_eq!(client.expect("window/showMessage").await["message"], "a: passed (0.0 s)");
    client.end().await;
}

#[tokio::test]
async fn a_yes_to_a_question_that_was_replaced_runs_nothing_and_is_told_so() {
    let mut client = TestClient::start(json!({}), json!({}), Vec::new()).await;
    client.open(TARGET).await;
    let (first, second) = (asked(&mut client).await, asked(&mut client).await);
    client.reply(&first, Ok(yes())).await;
    let said = client.expect("window/showMessage").await;
    assert_eq!(
        (&said["type"], &said["message"]),
        (&json!(1), &json!("nothing was run: another run was asked for after this question"))
    );
    client.reply(&second, Ok(Value::Null)).await;
    client.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_know_the_question_is_told_how_to_grant_trust() {
    let mut client = TestClient::start(json!({}), json!({}), Vec::new()).await;
    client.open(TARGET).await;
    let question = asked(&mut client).await;
    client.reply(&question, Err(json!({ "code": -32601, "message": "Method not found" }))).await;
    assert_eq!(client.expect("window/showMessage").await["message"], crate::trust::HOW_TO);
    client.end().await;
}

#[tokio::test]
async fn a_question_that_is_dismissed_is_a_no_without_a_word() {
    let mut client = TestClient::start(json!({}), json!({}), Vec::new()).await;
    client.open(TARGET).await;
    let question = asked(&mut client).await;
    client.reply(&question, Ok(Value::Null)).await;
    client.end().await;
}

#[tokio::test]
async fn a_refusal_is_a_message_where_the_client_does_not_show_runs() {
    for (capabilities, is_shown) in [(json!({}), true), (modern(), false)] {
        let mut client = TestClient::start(capabilities, json!({ "trusted": true }), Vec::new()).await;
        client.open(&TARGET.replace("command", "comand")).await;
        let refused = click(&mut client).await["error"]["message"].clone();
        assert!(refused.as_str().unwrap().starts_with("nothing was run: line 1: "), "{refused}");
        if is_shown {
            let said = client.expect("window/showMessage").await;
            assert_eq!((&said["type"], &said["message"]), (&json!(1), &refused));
        }
        client.end().await;
    }
}

#[tokio::test]
async fn a_run_tells_its_events_and_is_remembered() {
    let script = played(Verdict::Failed { exit_code: 3 });
    let mut client = TestClient::start(modern(), json!({ "trusted": true }), vec![script]).await;
    client.open(TARGET).await;
    let run = client.result("vmtest/run", json!({ "uri": URI })).await;
    let mut kinds = Vec::new();
    let mut on_target = None;
    while !kinds.ends_with(&["finished".to_owned()]) || on_target.is_none() {
        let message = client.next().await;
        if message["method"] == "vmtest/runEvent" {
            assert_eq!(message["params"]["run_id"], run["runId"]);
            kinds.push(message["params"]["event"].as_str().unwrap().to_owned());
        } else {
            let codes = message["params"]["diagnostics"].as_array().unwrap().iter();
            on_target = on_target.or(codes.map(|found| found["code"].clone()).find(|code| code == "failed"));
        }
    }
    assert_eq!(kinds, ["queued", "preparing", "command_started", "output", "finished"]);
    let targets = client.result("vmtest/targets", json!({ "uri": URI })).await;
    assert_eq!(targets[0]["state"]["phase"], "finished");
    let lenses = client.result("textDocument/codeLens", json!({ "textDocument": document() })).await;
    assert_eq!(lenses[0]["command"]["title"], "✗ exit 3");
    client.drain().await;
    client.end().await;
}

#[tokio::test]
async fn the_end_of_input_stops_a_run() {
    let script =
        Script { events: Vec::new(), end: ScriptEnd::WaitForCancel(Finished::from(Verdict::Cancelled)) };
    let mut client = TestClient::start(modern(), json!({ "trusted": true }), vec![script]).await;
    client.open(TARGET).await;
    client.result("vmtest/run", json!({ "uri": URI })).await;
    client.close();
    assert_eq!(client.ended().await, 1);
    client.drain().await;
}

#[tokio::test]
async fn what_the_machine_lacks_follows_when_the_text_rests() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("file://{}/vmtest.toml", folder.path().display());
    let mut client = TestClient::looking().await;
    let opened = json!({ "uri": uri, "languageId": "toml", "version": 1, "text": TARGET });
    client.notify("textDocument/didOpen", json!({ "textDocument": opened })).await;
    assert_eq!(client.expect("textDocument/publishDiagnostics").await["diagnostics"], json!([]));
    let lacks = client.expect("textDocument/publishDiagnostics").await;
    let codes: Vec<_> = lacks["diagnostics"].as_array().unwrap().iter().map(|found| &found["code"]).collect();
    assert!(codes.contains(&&json!("missing_file")), "{lacks}");
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": uri } })).await;
    assert_eq!(client.expect("textDocument/publishDiagnostics").await["diagnostics"], json!([]));
    client.end().await;
}

#[tokio::test]
async fn what_the_machine_lacks_stays_with_its_words_while_they_move() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("file://{}/vmtest.toml", folder.path().display());
    let mut client = TestClient::looking().await;
    let opened = json!({ "uri": uri, "languageId": "toml", "version": 1, "text": TARGET });
    client.notify("textDocument/didOpen", json!({ "textDocument": opened })).await;
    client.expect("textDocument/publishDiagnostics").await;
    let line = |shown: &Value| {
        let list = shown["diagnostics"].as_array().unwrap();
        let missing = list.iter().find(|found| found["code"] == "missing_file").expect("it is still missing");
        missing["range"]["start"]["line"].as_u64().unwrap()
    };
    let before = line(&client.expect("textDocument/publishDiagnostics").await);
    let change = json!({
        "textDocument": { "uri": uri, "version": 2 },
        "contentChanges": [{ "text": format!("\n\n{TARGET}") }],
    });
    client.notify("textDocument/didChange", change).await;
    let mut version = Value::Null;
    while version != 2 {
        let shown = client.expect("textDocument/publishDiagnostics").await;
        assert_eq!(line(&shown), before + 2, "{shown}");
        version = shown["version"].clone();
    }
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": uri } })).await;
    assert_eq!(client.expect("textDocument/publishDiagnostics").await["diagnostics"], json!([]));
    client.end().await;
}
