//! Any edits, and any place of the text to every request.

use serde_json::{Value, json};
use vmtest_fuzz::{Choices, Fuzzer};

use crate::testing::{TestClient, URI, modern};

/// Most edits of one session, each followed by a question of every kind.
const EDITS: usize = 6;
/// What a handler that panicked answers.
const INTERNAL_ERROR: i64 = -32603;

/// Pieces that a vmtest.toml is made of, whole and broken.
const PIECES: [&str; 44] = [
    "[[target]]\n",
    "[[target]]\r\n",
    "[target.vm]\n",
    "[target.vm.mounts.\"/ü\"]\n",
    "[[target.vm]]\n",
    "[target",
    "]",
    "name = 'a'\n",
    "name = \"😀\\u00e4\\n\"\n",
    "name = '\n",
    "kernel = './k'\n",
    "kernel_url = \"https://example.org/k\"\n",
    "image = '/nonexistent/i.img'\n",
    "command = '''\ncat <<EOF\nbash -c \"$x\"\n'''\n",
    "command = \"\"\"\\\n",
    "command = '-'",
    "vm.memory = '4X'\n",
    "vm = { num_cpus = 2, ",
    "vm.mounts.\"/x\" = { host_path = '.', writable = tru",
    "vm.extra_args = ['-device', \"",
    "env = { A = \"1\" }\n",
    "timeout = '90s'\n",
    "inherit_env = [",
    "wrong = 1979-05-27\n",
    "a.b.c = 1\n",
    "# ümläut 😀\n",
    "#",
    "\r\n",
    "\r",
    "\n",
    "\t",
    " ",
    "=",
    ".",
    ",",
    "{",
    "}",
    "\"",
    "'",
    "'''",
    "\u{feff}",
    "\u{0}",
    "𝄞",
    "\u{301}",
];

/// A place in the text, at its edges, or far from it.
fn position(choices: &mut Choices<'_>, text: &str) -> Value {
    let lines = lines(text);
    let line = choices.below(lines.len() + 1);
    let width = lines.get(line).map_or(0, |(_, line)| line.len());
    match choices.below(20) {
        0 => json!({ "line": u32::MAX, "character": u32::MAX }),
        1 => json!({ "line": line, "character": u32::MAX }),
        _ => json!({ "line": line, "character": choices.below(width + 2) }),
    }
}

/// Two places, in any order.
fn range(choices: &mut Choices<'_>, text: &str) -> Value {
    json!({ "start": position(choices, text), "end": position(choices, text) })
}

/// The lines of a text, without their breaks, and where each starts: `\n`, `\r\n` and `\r` end one.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut start = 0;
    while let Some(length) = text[start..].find(['\n', '\r']) {
        let (line, rest) = text[start..].split_at(length);
        lines.push((start, line));
        start += length + if rest.starts_with("\r\n") { 2 } else { 1 };
    }
    lines.push((start, &text[start..]));
    lines
}

/// How wide a character is in an encoding of positions.
fn width(encoding: &str, character: char) -> usize {
    match encoding {
        "utf-8" => character.len_utf8(),
        "utf-16" => character.len_utf16(),
        _ => 1,
    }
}

/// The text as a client changes it; none where the range is none of the text.
fn replaced(encoding: &str, text: &str, range: &Value, by: &str) -> Option<String> {
    let lines = lines(text);
    let byte = |position: &Value| {
        let (start, line) = lines.get(usize::try_from(position["line"].as_u64()?).ok()?)?;
        let mut units = 0;
        for (at, c) in line.char_indices() {
            if position["character"] == units {
                return Some(start + at);
            }
            units += width(encoding, c);
        }
        (position["character"] == units).then_some(start + line.len())
    };
    let (start, end) = (byte(&range["start"])?, byte(&range["end"])?);
    (start <= end).then(|| [&text[..start], by, &text[end..]].concat())
}

/// Everything that the server shows of the text without being asked for a place.
async fn outline(client: &mut TestClient) -> Vec<Value> {
    let here = json!({ "textDocument": { "uri": URI } });
    let mut all = Vec::new();
    for method in [
        "textDocument/semanticTokens/full",
        "textDocument/documentSymbol",
        "textDocument/foldingRange",
        "textDocument/documentLink",
    ] {
        all.push(client.result(method, here.clone()).await);
    }
    all
}

async fn session(mut choices: Choices<'_>) {
    let encoding = *choices.of_all(&["utf-16", "utf-8", "utf-32"]);
    let mut capabilities = modern();
    capabilities["general"] = json!({ "positionEncodings": [encoding] });
    let mut client = TestClient::start(capabilities, json!({}), Vec::new()).await;
    let mut text = String::new();
    client.open(&text).await;
    let edits = 1 + choices.below(EDITS);
    for version in 2..edits + 2 {
        let new: String =
            (0..=choices.below(6)).map(|_| *choices.of_all(&PIECES)).collect::<Vec<_>>().concat();
        let range = range(&mut choices, &text);
        let change = if let Some(after) = replaced(encoding, &text, &range, &new) {
            text = after;
            json!({ "range": range, "text": new })
        } else {
            let boundary = |mut at: usize| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let start = boundary(choices.below(text.len() + 1));
            let end = boundary((start + choices.below(12)).min(text.len())).max(start);
            text.replace_range(start..end, &new);
            json!({ "text": text })
        };
        // A client may count anew.
        let version = if choices.below(8) == 0 { 1 } else { version };
        let params =
            json!({ "textDocument": { "uri": URI, "version": version }, "contentChanges": [change] });
        client.notify("textDocument/didChange", params).await;
        ask_everything(&mut client, &mut choices, &text).await;
    }
    // The server's text is ours: it has the same outline when all of it is sent again.
    let changed = outline(&mut client).await;
    let whole =
        json!({ "textDocument": { "uri": URI, "version": 99 }, "contentChanges": [{ "text": text }] });
    client.notify("textDocument/didChange", whole).await;
    assert_eq!(changed, outline(&mut client).await, "{encoding}: {text:?}");
    client.drain().await;
    client.end().await;
}

async fn ask_everything(client: &mut TestClient, choices: &mut Choices<'_>, text: &str) {
    let document = json!({ "uri": URI });
    let position = position(choices, text);
    let range = range(choices, text);
    for method in [
        "textDocument/hover",
        "textDocument/completion",
        "textDocument/documentSymbol",
        "textDocument/foldingRange",
        "textDocument/documentLink",
        "textDocument/semanticTokens/full",
        "textDocument/codeLens",
        "textDocument/inlayHint",
        "textDocument/codeAction",
        "textDocument/formatting",
        "vmtest/targets",
        "vmtest/run",
    ] {
        let params = json!({
            "uri": URI,
            "textDocument": document,
            "position": position,
            "range": range,
            "context": { "diagnostics": [], "triggerKind": 1 },
            "options": { "tabSize": 4, "insertSpaces": true },
        });
        let answer = client.request(method, params).await;
        let code = answer["error"]["code"].as_i64();
        assert!(code.is_none() || method == "vmtest/run", "{method}: {answer} for {text:?}");
        assert_ne!(code, Some(INTERNAL_ERROR), "{method}: {answer} for {text:?}");
    }
    client.drain().await;
}

// L4
#[test]
fn any_edit_and_any_place_are_answered_in_every_encoding_and_the_text_stays_the_clients() {
    Fuzzer::new("sessions").run(|input| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(session(Choices::new(input)));
    });
}
