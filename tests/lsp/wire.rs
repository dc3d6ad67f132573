//! Messages that are none, and messages at the wrong time.

use serde_json::{Value, json};

use crate::client::Client;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const NOT_INITIALIZED: i64 = -32002;

/// A server that answers, after whatever was sent to it.
fn still_answers(client: &mut Client) {
    assert_eq!(client.request("vmtest/none", json!({}))["error"]["code"], METHOD_NOT_FOUND);
}

fn told(client: &mut Client) -> i64 {
    client.until(|message| message["id"].is_null() && message["error"].is_object())["error"]["code"]
        .as_i64()
        .unwrap()
}

// L2
#[test]
fn a_body_that_is_not_json_is_told_and_skipped() {
    let mut client = Client::ready();
    for body in [&b"{\"jsonrpc\":"[..], b"", b"\xff\xfe", b"[[[[", b"nul"] {
        client.body(body);
        assert_eq!(told(&mut client), PARSE_ERROR);
    }
    still_answers(&mut client);
}

// L2
#[test]
fn json_that_is_no_message_is_told_and_skipped() {
    let mut client = Client::ready();
    for message in [json!(1), json!([]), json!({}), json!({ "method": 3 }), json!({ "method": "x" })] {
        client.send(&message);
        assert_eq!(told(&mut client), INVALID_REQUEST, "{message}");
    }
    still_answers(&mut client);
}

// L2
#[test]
fn impossible_headers_are_told_and_skipped() {
    let mut client = Client::ready();
    for header in [
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "Content-Type: application/json\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        client.raw(header.as_bytes());
        assert_eq!(told(&mut client), PARSE_ERROR, "{header}");
        still_answers(&mut client);
    }
}

// L2, L5
#[test]
fn nesting_without_end_is_told_and_skipped() {
    let mut client = Client::ready();
    let body = "[".repeat(1 << 20);
    client.raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert_eq!(told(&mut client), PARSE_ERROR);
    still_answers(&mut client);
}

// L2
#[test]
fn requests_before_initialize_are_refused() {
    let mut client = Client::start();
    let answer = client.request("textDocument/hover", json!({}));
    assert_eq!(answer["error"]["code"], NOT_INITIALIZED);
    assert!(client.initialize(json!({ "capabilities": {} }))["capabilities"].is_object());
}

// L2
#[test]
fn requests_after_shutdown_are_refused() {
    let mut client = Client::ready();
    client.request("shutdown", Value::Null);
    assert_eq!(client.request("textDocument/hover", json!({}))["error"]["code"], INVALID_REQUEST);
}

#[test]
fn a_second_initialize_is_refused_and_the_first_holds() {
    let mut client = Client::ready();
    assert!(client.request("initialize", json!({ "capabilities": {} }))["error"].is_object());
    still_answers(&mut client);
}

#[test]
fn wrong_parameters_are_told() {
    let mut client = Client::ready();
    assert_eq!(client.request("textDocument/hover", json!({ "textDocument": 3 }))["error"]["code"], -32602);
    // A notification has no answer; it must not end the server either.
    client.notify("textDocument/didOpen", json!({ "textDocument": [] }));
    still_answers(&mut client);
}

// L5
#[test]
fn a_cancel_is_taken_before_and_after_the_reply() {
    let mut client = Client::ready();
    client.notify("$/cancelRequest", json!({ "id": 77 }));
    let id = client.ask("vmtest/none", json!({}));
    client.notify("$/cancelRequest", json!({ "id": id }));
    client.until(|message| message["id"] == id);
    client.notify("$/cancelRequest", json!({ "id": id }));
    still_answers(&mut client);
}

// L5
#[test]
fn each_of_a_thousand_requests_is_answered_once() {
    let mut client = Client::ready();
    let mut open: std::collections::BTreeSet<i64> =
        (0..1000).map(|_| client.ask("vmtest/none", json!({}))).collect();
    while !open.is_empty() {
        let answer = client.until(|_| true);
        assert!(open.remove(&answer["id"].as_i64().unwrap()), "{answer}");
    }
}
