//! Much at once: what a client may send takes time in proportion to its length, and each question has one answer.
//!
//! Four times as much may take ten times as long and a little more: the computer has other work. What is quadratic takes
//! sixteen times as long.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, diagnostics};

const URI: &str = "file:///nonexistent/vmtest.toml";
/// What noise may cost, and what takes no longer is not worth a complaint.
const LITTLE: Duration = Duration::from_millis(100);

fn targets(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = write!(text, "[[target]]\nname = \"{number}\"\nkernel = \"k\"\ncommand = \"c\"\n");
        text
    })
}

/// The time from a text to its problems, and to the answers to all that an editor asks of it at once.
fn time(client: &mut Client, version: i64, text: &str) -> Duration {
    let started = Instant::now();
    client.change(URI, version, text);
    let here = json!({ "textDocument": { "uri": URI } });
    let end = json!({ "line": text.matches('\n').count(), "character": 0 });
    let at = json!({ "textDocument": { "uri": URI }, "position": end });
    for (method, params) in [
        ("textDocument/codeLens", &here),
        ("textDocument/documentSymbol", &here),
        ("textDocument/foldingRange", &here),
        ("textDocument/semanticTokens/full", &here),
        ("textDocument/completion", &at),
        ("textDocument/hover", &at),
        ("vmtest/targets", &json!({ "uri": URI })),
    ] {
        client.result(method, params.clone());
    }
    client.whenever(|message| {
        diagnostics(message, URI).is_some() && message["params"]["version"].as_i64() >= Some(version)
    });
    client.seen.clear();
    started.elapsed()
}

/// Whether four times as much takes about four times as long. A look that says no is repeated, and the fastest counts: it may
/// have met with other work of the computer.
#[track_caller]
fn expect_linear(what: &str, text: impl Fn(usize) -> String, most: usize) {
    let mut client = Client::ready();
    client.open(URI, "");
    let (mut small, mut large) = (Duration::MAX, Duration::MAX);
    for look in 0..3 {
        small = small.min(time(&mut client, 2 * look + 2, &text(most / 4)));
        large = large.min(time(&mut client, 2 * look + 3, &text(most)));
        if large < small * 10 + LITTLE {
            return;
        }
    }
    panic!("{what}: {small:?}, and four times as much takes {large:?}");
}

// L5
#[test]
fn ten_thousand_brackets_take_linear_time() {
    for piece in ["[", "x = [", "x = {a = ", "[x.", "]", "\"", "'''", "'"] {
        expect_linear(piece, |count| piece.repeat(count), 10_000);
        expect_linear(piece, |count| format!("x = {}", piece.repeat(count)), 10_000);
    }
}

// L5
#[test]
fn a_mebibyte_of_targets_takes_linear_time() {
    let most = (1 << 20) / (targets(100_000).len() / 100_000 + 1);
    assert!(targets(most).len() < 1 << 20);
    expect_linear("targets", targets, most);
}

// L5
#[test]
fn a_hundred_thousand_errors_take_linear_time() {
    expect_linear("keys without a value", |count| "a=\n".repeat(count), 100_000);
    for line in ["=\n", "[\n", "]x\n"] {
        expect_linear(line, |count| line.repeat(count), 20_000);
    }
    let unknown = |count: usize| {
        (0..count).fold("[[target]]\n".to_owned(), |mut text, number| {
            let _ = writeln!(text, "kernal{number}=1");
            text
        })
    };
    expect_linear("unknown keys", unknown, 10_000);
}

// L5
#[test]
fn each_of_a_thousand_questions_is_answered_once_whatever_is_cancelled_when() {
    let mut client = Client::ready();
    client.open(URI, &targets(100));
    let at = json!({ "textDocument": { "uri": URI }, "position": { "line": 2, "character": 3 } });
    let methods =
        ["textDocument/hover", "textDocument/completion", "textDocument/documentSymbol", "vmtest/none"];
    let mut answers: BTreeMap<i64, usize> = BTreeMap::new();
    for number in 0..1000 {
        let id = client.ask(methods[number % methods.len()], at.clone());
        answers.insert(id, 0);
        if number % 3 == 0 {
            client.notify("$/cancelRequest", json!({ "id": id }));
        }
    }
    let count = |answers: &mut BTreeMap<i64, usize>, message: &Value| {
        if let Some(times) = message["id"].as_i64().and_then(|id| answers.get_mut(&id)) {
            *times += 1;
        }
    };
    while answers.values().any(|times| *times == 0) {
        let message = client.until(|_| true);
        count(&mut answers, &message);
    }
    // Too late for all of them.
    for id in answers.keys() {
        client.notify("$/cancelRequest", json!({ "id": id }));
    }
    let last = client.ask("vmtest/none", json!({}));
    let message = client.until(|_| true);
    assert_eq!(message["id"], last, "an answer to nothing: {message}");
    assert!(answers.values().all(|times| *times == 1), "{answers:?}");
    client.goodbye();
}
