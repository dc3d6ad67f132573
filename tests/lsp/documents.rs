//! Texts that come and go.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::client::Client;

const URI: &str = "file:///nonexistent/vmtest.toml";
const WRONG: &str = "[[target]]\nname = 'a'\nkernel = 'k'\ncommand = 'c'\nwrong = 1\n";

fn open(client: &mut Client, uri: &str, text: &str) {
    let document = json!({ "uri": uri, "languageId": "toml", "version": 1, "text": text });
    client.notify("textDocument/didOpen", json!({ "textDocument": document }));
}

fn change(client: &mut Client, version: i64, text: &str) {
    let params = json!({
        "textDocument": { "uri": URI, "version": version },
        "contentChanges": [{ "text": text }],
    });
    client.notify("textDocument/didChange", params);
}

fn published(client: &Client) -> Value {
    client.until(|message| message["method"] == "textDocument/publishDiagnostics")["params"].clone()
}

fn codes(published: &Value) -> Vec<&str> {
    published["diagnostics"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap()).collect()
}

#[test]
fn a_problem_is_shown_when_a_document_is_opened() {
    let mut client = Client::ready();
    open(&mut client, URI, WRONG);
    let shown = published(&client);
    assert_eq!(codes(&shown), ["unknown_key"]);
    assert_eq!((&shown["uri"], &shown["version"]), (&json!(URI), &json!(1)));
    assert_eq!(shown["diagnostics"][0]["range"]["start"], json!({ "line": 4, "character": 0 }));
}

#[test]
fn problems_are_taken_back_when_it_is_closed() {
    let mut client = Client::ready();
    open(&mut client, URI, WRONG);
    published(&client);
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    let cleared = client.until(|message| message["params"]["diagnostics"] == json!([]));
    assert_eq!(cleared["params"]["uri"], URI);
}

#[test]
fn versions_never_go_back_in_a_storm_of_edits() {
    let mut client = Client::ready();
    open(&mut client, URI, WRONG);
    let mut text = WRONG.to_owned();
    for version in 2..=301 {
        writeln!(text, "wrong{version} = 1").unwrap();
        change(&mut client, version, &text);
    }
    let mut last = 0;
    while last < 301 {
        let shown = published(&client);
        let version = shown["version"].as_i64().unwrap();
        assert!(version >= last, "{version} after {last}");
        assert_eq!(codes(&shown).len() as i64, version, "one more with each version");
        last = version;
    }
}

#[test]
fn an_older_version_changes_nothing() {
    let mut client = Client::ready();
    open(&mut client, URI, WRONG);
    change(&mut client, 9, &WRONG.replace("wrong = 1", "other = 1"));
    change(&mut client, 3, "not toml");
    change(&mut client, 10, &WRONG.replace("wrong = 1", "third = 1\nfourth = 1"));
    loop {
        let shown = published(&client);
        assert!(codes(&shown).iter().all(|code| *code == "unknown_key"), "{shown}");
        if shown["version"] == 10 {
            break;
        }
    }
}

#[test]
fn a_change_of_what_was_never_opened_is_ignored() {
    let mut client = Client::ready();
    change(&mut client, 2, WRONG);
    open(&mut client, "file:///nonexistent/other/vmtest.toml", WRONG);
    assert_eq!(published(&client)["uri"], "file:///nonexistent/other/vmtest.toml");
}

#[test]
fn a_text_that_is_no_file_yet_is_checked() {
    let mut client = Client::ready();
    open(&mut client, "untitled:Untitled-1", WRONG);
    assert_eq!(codes(&published(&client)), ["unknown_key"]);
}

#[test]
fn cargos_file_is_left_alone() {
    let mut client = Client::ready();
    open(&mut client, "file:///nonexistent/Cargo.toml", WRONG);
    open(&mut client, URI, WRONG);
    assert_eq!(published(&client)["uri"], URI);
}

#[test]
fn positions_count_what_was_agreed() {
    let text = r#"[[target]]
name = 'n'
kernel = 'k'
command = 'c'
vm.mounts."/😀😀" = { host_path = "/", wrong = 1 }
"#;
    for (offered, agreed, column) in [
        (json!(["utf-16", "utf-8"]), "utf-8", 43),
        (json!(["utf-32"]), "utf-32", 37),
        (json!(["x"]), "utf-16", 39),
    ] {
        let mut client = Client::start();
        let answer =
            client.initialize(json!({ "capabilities": { "general": { "positionEncodings": offered } } }));
        assert_eq!(answer["capabilities"]["positionEncoding"], agreed);
        open(&mut client, URI, text);
        let shown = published(&client);
        assert_eq!(codes(&shown), ["unknown_key"]);
        let start = json!({ "line": 4, "character": column });
        assert_eq!(shown["diagnostics"][0]["range"]["start"], start, "{agreed}");
    }
}
