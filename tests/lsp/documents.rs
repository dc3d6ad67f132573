//! Texts that come and go.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::client::Client;

const URI: &str = "file:///nonexistent/vmtest.toml";
const WRONG: &str = "[[target]]\nname = 'a'\nkernel = 'k'\ncommand = 'c'\nwrong = 1\n";

fn published(client: &mut Client) -> Value {
    client.until(|message| message["method"] == "textDocument/publishDiagnostics")["params"].clone()
}

fn codes(published: &Value) -> Vec<&str> {
    published["diagnostics"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap()).collect()
}

#[test]
fn a_problem_is_shown_when_a_document_is_opened() {
    let mut client = Client::ready();
    client.open(URI, WRONG);
    let shown = published(&mut client);
    assert_eq!(codes(&shown), ["unknown_key"]);
    assert_eq!((&shown["uri"], &shown["version"]), (&json!(URI), &json!(1)));
    assert_eq!(shown["diagnostics"][0]["range"]["start"], json!({ "line": 4, "character": 0 }));
}

#[test]
fn problems_are_taken_back_when_it_is_closed() {
    let mut client = Client::ready();
    client.open(URI, WRONG);
    published(&mut client);
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    let cleared = client.until(|message| message["params"]["diagnostics"] == json!([]));
    assert_eq!(cleared["params"]["uri"], URI);
}

// L4
#[test]
fn versions_never_go_back_in_a_storm_of_edits() {
    let mut client = Client::ready();
    client.open(URI, WRONG);
    let mut text = WRONG.to_owned();
    for version in 2..=301 {
        writeln!(text, "wrong{version} = 1").unwrap();
        client.change(URI, version, &text);
    }
    let mut last = 0;
    while last < 301 {
        let shown = published(&mut client);
        let version = shown["version"].as_i64().unwrap();
        assert!(version >= last, "{version} after {last}");
        assert_eq!(codes(&shown).len() as i64, version, "one more with each version");
        last = version;
    }
}

// L4
#[test]
fn the_last_text_counts_whatever_its_version() {
    let mut client = Client::ready();
    client.open(URI, WRONG);
    client.change(URI, 9, "not toml");
    client.change(URI, 3, &WRONG.replace("wrong = 1", "third = 1\nfourth = 1"));
    let shown = loop {
        let shown = published(&mut client);
        if shown["version"] == 3 {
            break shown;
        }
    };
    assert_eq!(codes(&shown), ["unknown_key", "unknown_key"]);
}

// L4
#[test]
fn a_change_of_what_was_never_opened_is_ignored() {
    let mut client = Client::ready();
    client.change(URI, 2, WRONG);
    client.open("file:///nonexistent/other/vmtest.toml", WRONG);
    assert_eq!(published(&mut client)["uri"], "file:///nonexistent/other/vmtest.toml");
}

#[test]
fn a_text_that_is_no_file_yet_is_checked() {
    let mut client = Client::ready();
    client.open("untitled:Untitled-1", WRONG);
    assert_eq!(codes(&published(&mut client)), ["unknown_key"]);
}

#[test]
fn cargos_file_is_left_alone() {
    let mut client = Client::ready();
    client.open("file:///nonexistent/Cargo.toml", WRONG);
    client.open(URI, WRONG);
    assert_eq!(published(&mut client)["uri"], URI);
}
