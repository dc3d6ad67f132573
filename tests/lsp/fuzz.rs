//! Anything at all as input: the server answers afterwards, until its input ends.

use std::time::Duration;

use serde_json::{Value, json};
use vmtest_fuzz::{Choices, Fuzzer};

use crate::client::{Client, is_answer};

/// What the server may ever have in memory, in KiB: what it reads ahead, the longest message, and itself.
const MOST_MEMORY: u64 = 256 << 10;
const URI: &str = "file:///nonexistent/vmtest.toml";

/// Asks until an answer is heard: what came before may have announced a body, so that the first questions are taken for it.
#[track_caller]
fn answers(client: &mut Client, after: &[u8]) {
    for attempt in 0..200 {
        let padding = "x".repeat(if attempt == 0 { 0 } else { 64 << attempt.min(14) });
        let id = client.ask("vmtest/none", json!({ "padding": padding }));
        let patience = if attempt < 20 { Duration::from_millis(200) } else { Duration::from_secs(1) };
        if client.until_within(patience, |message| is_answer(message, id)).is_some() {
            client.seen.clear();
            return;
        }
    }
    panic!("the server does not answer after {}", String::from_utf8_lossy(after));
}

#[track_caller]
fn uses_little_memory(client: &mut Client) {
    let status = format!("/proc/{}/status", client.running().pid());
    let status = std::fs::read_to_string(status).expect("the server is there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("it is a number");
    assert!(kib < MOST_MEMORY, "{kib} KiB");
}

/// Pieces of the protocol. Neither a goodbye nor anything that could make the server run something.
const PIECES: [&str; 24] = [
    "Content-Length: ",
    "content-length:",
    "Content-Length",
    "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    ": ",
    "0",
    "2",
    "41",
    "4096",
    "100000",
    "67108865",
    "-1",
    "99999999999999999999",
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#,
    r#"{"jsonrpc":"2.0","method":"initialized","params":{}}"#,
    r#"{"jsonrpc":"2.0","id":"#,
    "[[[[{{{{",
    "\"\\ud800\"",
    "null",
    "😀",
];

/// Tries inputs on one server for all; after a failure on a new one.
fn on_a_server(fuzzer: Fuzzer, start: fn() -> Client, say: impl Fn(&mut Client, &[u8])) {
    let mut server = None;
    fuzzer.run(|input| {
        let mut client: Client = server.take().unwrap_or_else(start);
        say(&mut client, input);
        answers(&mut client, input);
        uses_little_memory(&mut client);
        server = Some(client);
    });
    let mut client = server.unwrap_or_else(start);
    client.close();
    client.ended();
}

// L2
#[test]
fn any_bytes_neither_hang_nor_end_the_server() {
    let fuzzer = Fuzzer::new("lsp-bytes").pieces(PIECES).longest(8 << 10);
    on_a_server(fuzzer, Client::start, Client::raw);
}

// L2
#[test]
fn any_bodies_neither_hang_nor_end_the_server() {
    let fuzzer = Fuzzer::new("lsp-bodies").pieces(&PIECES[17..]).longest(8 << 10);
    let fuzzer = session().iter().fold(fuzzer, |fuzzer, message| fuzzer.seed(message.to_string()));
    on_a_server(fuzzer, Client::ready, Client::body);
}

// L2
#[test]
fn any_disorder_of_messages_neither_hang_nor_end_the_server() {
    Fuzzer::new("lsp-sessions").run(|input| {
        let mut choices = Choices::new(input);
        let mut client = Client::start();
        let mut session = session();
        for _ in 0..choices.below(12) {
            let (one, other) = (choices.below(session.len()), choices.below(session.len()));
            match choices.below(4) {
                0 => session.swap(one, other),
                1 => session.push(session[one].clone()),
                _ => mutate(&mut session[one], &mut choices),
            }
        }
        for message in &session {
            client.send(message);
        }
        answers(&mut client, input);
        uses_little_memory(&mut client);
        client.close();
        client.ended();
    });
}

/// Changes something somewhere in a value.
fn mutate(value: &mut Value, choices: &mut Choices<'_>) {
    let count = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if count == 0 || choices.below(6) == 0 {
        *value = anything(choices);
        return;
    }
    let at = choices.below(count);
    match value {
        Value::Array(items) if choices.below(4) == 0 => drop(items.remove(at)),
        Value::Array(items) => mutate(&mut items[at], choices),
        Value::Object(fields) => {
            let key = fields.keys().nth(at).expect("there are so many").clone();
            if choices.below(4) == 0 {
                fields.remove(&key);
            } else {
                mutate(&mut fields[&key], choices);
            }
        }
        _ => {}
    }
}

fn anything(choices: &mut Choices<'_>) -> Value {
    let values = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(3),
        json!(4_294_967_295_u32),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("file:///"),
        json!("file:///%zz"),
        json!("untitled:x"),
        json!(URI),
        json!("\u{feff}[[target]]\r\nname='😀'\r"),
        json!("[".repeat(3000)),
        json!([]),
        json!({}),
        json!([[], {}, null]),
        json!({ "line": 4_294_967_295_u32, "character": 0 }),
        json!("textDocument/didChange"),
        json!("$/cancelRequest"),
    ];
    choices.of_all(&values).clone()
}

/// What an editor says. The workspace is not trusted.
fn session() -> Vec<Value> {
    let text =
        "[[target]]\nname = 'a😀'\nkernel = './k'\ncommand = '''\necho ü\n'''\nvm.memory = '4X'\nwrong = 1\n";
    let document = json!({ "uri": URI });
    let here = json!({ "textDocument": document });
    let at = json!({ "textDocument": document, "position": { "line": 6, "character": 12 } });
    let range = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 7, "character": 0 } });
    let within = json!({ "textDocument": document, "range": range, "context": { "diagnostics": [] } });
    let format = json!({ "textDocument": document, "options": { "tabSize": 4, "insertSpaces": true } });
    let target = json!({ "uri": URI, "name": "a😀", "index": 0 });
    let requests = [
        (
            "initialize",
            json!({ "processId": null, "capabilities": {}, "initializationOptions": { "jobs": 1 } }),
        ),
        ("textDocument/hover", at.clone()),
        ("textDocument/completion", at),
        ("textDocument/documentSymbol", here.clone()),
        ("textDocument/foldingRange", here.clone()),
        ("textDocument/documentLink", here.clone()),
        ("textDocument/semanticTokens/full", here.clone()),
        ("textDocument/codeLens", here.clone()),
        ("textDocument/inlayHint", within.clone()),
        ("textDocument/codeAction", within),
        ("textDocument/formatting", format),
        ("vmtest/targets", document.clone()),
        ("vmtest/run", document),
        ("vmtest/cancel", json!({ "runId": "x" })),
        ("workspace/executeCommand", json!({ "command": "vmtest.server.stop", "arguments": [target] })),
    ];
    let edit = json!({ "range": range, "text": "x = [\n" });
    let notifications = [
        ("initialized", json!({})),
        (
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": URI, "languageId": "toml", "version": 1, "text": text } }),
        ),
        (
            "textDocument/didChange",
            json!({ "textDocument": { "uri": URI, "version": 2 }, "contentChanges": [edit, { "text": text }] }),
        ),
        ("textDocument/didSave", here.clone()),
        ("$/cancelRequest", json!({ "id": 1000 })),
        ("window/workDoneProgress/cancel", json!({ "token": "x" })),
        ("workspace/didChangeConfiguration", json!({ "settings": {} })),
        ("textDocument/didClose", here),
    ];
    // As an editor would: hello, the text, questions about it, goodbye to the text.
    let request = |(number, (method, params)): (usize, &(&str, Value))| json!({ "jsonrpc": "2.0", "id": 1_000_000 + number, "method": method, "params": params });
    let notification =
        |(method, params): &(&str, Value)| json!({ "jsonrpc": "2.0", "method": method, "params": params });
    let mut requests = requests.iter().enumerate().map(request);
    let hello = requests.next();
    let (open, close) = notifications.split_at(3);
    hello
        .into_iter()
        .chain(open.iter().map(notification))
        .chain(requests)
        .chain(close.iter().map(notification))
        .collect()
}
