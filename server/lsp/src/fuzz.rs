//! Any edits, and any place of the text to every request. The seed is fixed, so a failure comes again.

use serde_json::{Value, json};

use crate::testing::{TestClient, URI, modern};

/// Edits of one session, each followed by a question of every kind.
const EDITS: usize = 100;
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

/// Choices that are the same every time.
struct Dice(u64);

impl Dice {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64, Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }

    /// In the text, at its edges, or far from it.
    fn position(&mut self, text: &str) -> Value {
        let lines = lines(text);
        let line = self.below(lines.len() + 1);
        let width = lines.get(line).map_or(0, |(_, line)| line.encode_utf16().count());
        match self.below(20) {
            0 => json!({ "line": u32::MAX, "character": u32::MAX }),
            1 => json!({ "line": line, "character": u32::MAX }),
            _ => json!({ "line": line, "character": self.below(width + 2) }),
        }
    }

    /// Two places, in any order.
    fn range(&mut self, text: &str) -> Value {
        json!({ "start": self.position(text), "end": self.position(text) })
    }
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

/// The text as a client in UTF-16 changes it; none where the range is none of the text.
fn replaced(text: &str, range: &Value, by: &str) -> Option<String> {
    let lines = lines(text);
    let byte = |position: &Value| {
        let (start, line) = lines.get(usize::try_from(position["line"].as_u64()?).ok()?)?;
        let mut units = 0;
        for (at, c) in line.char_indices() {
            if position["character"] == units {
                return Some(start + at);
            }
            units += c.len_utf16();
        }
        (position["character"] == units).then_some(start + line.len())
    };
    let (start, end) = (byte(&range["start"])?, byte(&range["end"])?);
    (start <= end).then(|| [&text[..start], by, &text[end..]].concat())
}

async fn session(seed: u64, encoding: &str) {
    let mut dice = Dice(seed);
    let mut capabilities = modern();
    capabilities["general"] = json!({ "positionEncodings": [encoding] });
    let mut client = TestClient::start(capabilities, json!({}), Vec::new()).await;
    let mut text = String::new();
    client.open(&text).await;
    for version in 2..EDITS + 2 {
        let new: String =
            (0..=dice.below(3)).map(|_| PIECES[dice.below(PIECES.len())]).collect::<Vec<_>>().concat();
        let range = dice.range(&text);
        let partly = replaced(&text, &range, &new).filter(|_| encoding == "utf-16");
        let change = if let Some(after) = partly {
            text = after;
            json!({ "range": range, "text": new })
        } else {
            let boundary = |mut at: usize| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let start = boundary(dice.below(text.len() + 1));
            let end = boundary((start + dice.below(12)).min(text.len())).max(start);
            text.replace_range(start..end, &new);
            json!({ "text": text })
        };
        let params =
            json!({ "textDocument": { "uri": URI, "version": version }, "contentChanges": [change] });
        client.notify("textDocument/didChange", params).await;
        ask_everything(&mut client, &mut dice, &text, seed).await;
    }
    // The server's text is ours: it has the same outline when all of it is sent again.
    let here = json!({ "textDocument": { "uri": URI } });
    let tokens = client.result("textDocument/semanticTokens/full", here.clone()).await;
    let params =
        json!({ "textDocument": { "uri": URI, "version": EDITS + 2 }, "contentChanges": [{ "text": text }] });
    client.notify("textDocument/didChange", params).await;
    let again = client.result("textDocument/semanticTokens/full", here).await;
    assert_eq!(tokens, again, "seed {seed}, {encoding}: {text:?}");
    client.drain().await;
    client.end().await;
}

async fn ask_everything(client: &mut TestClient, dice: &mut Dice, text: &str, seed: u64) {
    let document = json!({ "uri": URI });
    let position = dice.position(text);
    let range = dice.range(text);
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
        assert!(code.is_none() || method == "vmtest/run", "seed {seed}: {method}: {answer} for {text:?}");
        assert_ne!(code, Some(INTERNAL_ERROR), "seed {seed}: {method}: {answer} for {text:?}");
    }
    client.drain().await;
}

#[tokio::test]
async fn any_edit_and_any_place_are_answered_in_every_encoding() {
    for (seed, encoding) in [(1, "utf-16"), (2, "utf-8"), (3, "utf-32"), (4, "utf-16")] {
        session(seed, encoding).await;
    }
}
