//! Anything at all as input: the server answers afterwards, until its input ends. The seeds are fixed; how far into their
//! sequences a test comes is a matter of time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmtest_tests::pattern::Pattern;

use crate::client::{Client, is_answer};

/// How long each test goes on.
const TIME: Duration = Duration::from_secs(6);
/// What the server may ever have in memory, in KiB: what it reads ahead, the longest message, and itself.
const MOST_MEMORY: u64 = 256 << 10;
const URI: &str = "file:///nonexistent/vmtest.toml";

/// Choices that are the same every time.
struct Dice(Pattern);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Pattern::new(seed))
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        let bytes = self.0.bytes(8);
        usize::from_le_bytes(bytes.try_into().expect("there are eight")) % limit.max(1)
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

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

// L2
#[test]
fn bytes_that_mean_nothing_neither_hang_nor_end_the_server() {
    let mut dice = Dice::new(11);
    let mut client = Client::start();
    let started = Instant::now();
    while started.elapsed() < TIME {
        let mut bytes = Vec::new();
        for _ in 0..=dice.below(30) {
            match dice.below(4) {
                0 => {
                    let count = dice.below(300);
                    bytes.extend(dice.0.bytes(count));
                }
                _ => bytes.extend(dice.of(&PIECES).bytes()),
            }
        }
        client.raw(&bytes);
        answers(&mut client, &bytes);
    }
    uses_little_memory(&mut client);
    client.close();
    client.ended();
}

// L2
#[test]
fn bodies_that_mean_nothing_neither_hang_nor_end_the_server() {
    let mut dice = Dice::new(12);
    let mut client = Client::ready();
    let session: Vec<_> = session().iter().map(ToString::to_string).collect();
    let started = Instant::now();
    while started.elapsed() < TIME {
        let mut body = dice.of(&session).clone().into_bytes();
        for _ in 0..=dice.below(8) {
            let at = dice.below(body.len());
            match dice.below(4) {
                0 => body[at] = dice.below(256) as u8,
                1 => body.truncate(at),
                2 => {
                    let count = dice.below(20);
                    drop(body.splice(at..at, dice.0.bytes(count)));
                }
                _ => {
                    let end = (at + dice.below(40)).min(body.len());
                    drop(body.drain(at..end));
                }
            }
            if body.is_empty() {
                break;
            }
        }
        client.body(&body);
        answers(&mut client, &body);
    }
    uses_little_memory(&mut client);
    client.close();
    client.ended();
}

// L2 L4
#[test]
fn sessions_in_disorder_neither_hang_nor_end_the_server() {
    let mut dice = Dice::new(13);
    let started = Instant::now();
    while started.elapsed() < TIME {
        let mut client = Client::start();
        let mut sent = String::new();
        for _ in 0..4 {
            let mut session = session();
            for _ in 0..dice.below(10) {
                let (one, other) = (dice.below(session.len()), dice.below(session.len()));
                match dice.below(4) {
                    0 => session.swap(one, other),
                    1 => session.push(session[one].clone()),
                    _ => mutate(&mut session[one], &mut dice),
                }
            }
            for message in &session {
                client.send(message);
                sent.push_str(&message.to_string());
                sent.push('\n');
            }
            answers(&mut client, sent.as_bytes());
        }
        uses_little_memory(&mut client);
        client.close();
        client.ended();
    }
}

/// Changes something somewhere in a value.
fn mutate(value: &mut Value, dice: &mut Dice) {
    let count = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if count == 0 || dice.below(6) == 0 {
        *value = anything(dice);
        return;
    }
    let at = dice.below(count);
    match value {
        Value::Array(items) if dice.below(4) == 0 => drop(items.remove(at)),
        Value::Array(items) => mutate(&mut items[at], dice),
        Value::Object(fields) => {
            let key = fields.keys().nth(at).expect("there are so many").clone();
            if dice.below(4) == 0 {
                fields.remove(&key);
            } else {
                mutate(&mut fields[&key], dice);
            }
        }
        _ => {}
    }
}

fn anything(dice: &mut Dice) -> Value {
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
    dice.of(&values).clone()
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
