//! Places in a text, counted as the client counts: in bytes, UTF-16 code units or characters.

use serde_json::{Value, json};

use crate::client::Client;

const URI: &str = "file:///nonexistent/vmtest.toml";

/// Umlauts are two bytes, one unit, one character; the emoji are four, two and one. Lines end as on Windows.
const TEXT: &str = "# Größe: 😀😀\r\n[[target]]\r\nname = 'Ümläut 🐧'\r\nkernel = 'k'\r\ncommand = 'echo 🦀'\r\n\
    vm.mounts.\"/dä/😀😀\" = { host_path = \"/ö🐧\", wrong = 1, wri }\r\n";

const ENCODINGS: [&str; 3] = ["utf-8", "utf-16", "utf-32"];

/// A server that counts so.
fn counting(encoding: &str) -> Client {
    let mut client = Client::start();
    let capabilities = json!({
        "general": { "positionEncodings": [encoding] },
        "textDocument": { "completion": { "completionItem": { "snippetSupport": true } } },
    });
    let offer = client.initialize(json!({ "capabilities": capabilities }));
    assert_eq!(offer["capabilities"]["positionEncoding"], encoding);
    client
}

fn units(encoding: &str, text: &str) -> usize {
    match encoding {
        "utf-8" => text.len(),
        "utf-16" => text.encode_utf16().count(),
        _ => text.chars().count(),
    }
}

/// Where a byte of the text is.
fn position(encoding: &str, text: &str, byte: usize) -> Value {
    let start_of_line = text[..byte].rfind('\n').map_or(0, |at| at + 1);
    let line = text[..byte].matches('\n').count();
    json!({ "line": line, "character": units(encoding, &text[start_of_line..byte]) })
}

/// Where the only such words of the text are.
fn range(encoding: &str, text: &str, words: &str) -> Value {
    let start = text.find(words).expect("they are there");
    let end = position(encoding, text, start + words.len());
    json!({ "start": position(encoding, text, start), "end": end })
}

/// The byte at a position.
fn byte(encoding: &str, text: &str, position: &Value) -> usize {
    let found = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
    let mut found = found.filter(|at| self::position(encoding, text, *at) == *position);
    found.next().unwrap_or_else(|| panic!("{position} is no place of the text in {encoding}"))
}

/// The text after an edit.
fn applied(encoding: &str, text: &str, edit: &Value) -> String {
    let [start, end] = ["start", "end"].map(|side| byte(encoding, text, &edit["range"][side]));
    [&text[..start], edit["newText"].as_str().expect("it is text"), &text[end..]].concat()
}

// L4
#[test]
fn diagnostics_are_where_the_problem_is_in_every_encoding() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        client.open(URI, &TEXT.replace(", wri ", " "));
        let shown = client.until(|message| message["method"] == "textDocument/publishDiagnostics");
        let shown = shown["params"]["diagnostics"].as_array().unwrap();
        let [found] = shown.as_slice() else { panic!("{shown:#?}") };
        assert_eq!(found["code"], "unknown_key");
        assert_eq!(found["range"], range(encoding, TEXT, "wrong"), "{encoding}");
    }
}

#[test]
fn a_completion_changes_the_word_at_the_cursor_in_every_encoding() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        client.open(URI, TEXT);
        let cursor = TEXT.find("wri ").unwrap() + "wri".len();
        let at = json!({ "textDocument": { "uri": URI }, "position": position(encoding, TEXT, cursor) });
        let items = client.result("textDocument/completion", at);
        let items = items.as_array().unwrap();
        let writable = items.iter().find(|item| item["label"].as_str().unwrap().starts_with("writable"));
        let edit = &writable.unwrap_or_else(|| panic!("{encoding}: {items:#?}"))["textEdit"];
        assert_eq!(edit["range"], range(encoding, TEXT, "wri"), "{encoding}");
        let text = applied(encoding, TEXT, edit);
        assert!(text.contains("wrong = 1, writable"), "{encoding}: {text}");
        assert!(text.starts_with(&TEXT[..cursor - 3]) && text.ends_with(" }\r\n"), "{encoding}: {text}");
    }
}

#[test]
fn a_hover_covers_its_word_in_every_encoding() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        client.open(URI, TEXT);
        let middle = TEXT.find("host_path").unwrap() + 4;
        let at = json!({ "textDocument": { "uri": URI }, "position": position(encoding, TEXT, middle) });
        let hover = client.result("textDocument/hover", at);
        assert_eq!(hover["range"], range(encoding, TEXT, "host_path"), "{encoding}");
    }
}

#[test]
fn changes_of_a_part_are_applied_where_the_client_means_in_every_encoding() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        let text = TEXT.replace(", wri ", " ");
        client.open(URI, &text);
        let change = json!({ "range": range(encoding, &text, "wrong"), "text": "writable" });
        let also = json!({ "range": range(encoding, &text, "🦀"), "text": "ß🦀" });
        let fixed = text.replace("wrong = 1", "writable = true");
        let one =
            json!({ "range": range(encoding, &text.replace("wrong", "writable"), "= 1"), "text": "= true" });
        client.notify(
            "textDocument/didChange",
            json!({ "textDocument": { "uri": URI, "version": 2 }, "contentChanges": [change, one, also] }),
        );
        let shown = client.until(|message| message["params"]["version"] == 2);
        assert_eq!(shown["params"]["diagnostics"], json!([]), "{encoding}: {fixed}");
    }
}

// L4
#[test]
fn a_position_inside_a_character_or_past_the_end_is_answered() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        client.open(URI, TEXT);
        let line = 5;
        for character in (0..60).chain([u32::MAX]) {
            let at = json!({ "textDocument": { "uri": URI }, "position": { "line": line, "character": character } });
            client.result("textDocument/hover", at.clone());
            client.result("textDocument/completion", at);
        }
        let far = json!({ "line": u32::MAX, "character": u32::MAX });
        client.result("textDocument/hover", json!({ "textDocument": { "uri": URI }, "position": far }));
    }
}

// L4
#[test]
fn a_byte_order_mark_is_no_part_of_the_text_and_moves_no_place() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        let text = TEXT.replace(", wri ", " ");
        client.open(URI, &format!("\u{feff}{text}"));
        let shown = client.until(|message| message["method"] == "textDocument/publishDiagnostics");
        let [found] = shown["params"]["diagnostics"].as_array().unwrap().as_slice() else {
            panic!("{shown:#?}")
        };
        assert_eq!(found["range"], range(encoding, &text, "wrong"), "{encoding}");
        let at = json!({ "textDocument": { "uri": URI }, "position": { "line": 0, "character": 0 } });
        client.result("textDocument/hover", at);
    }
}

/// Edits at places that are none are taken somehow. The next whole text counts, and nothing of them is left.
// L4
#[test]
fn after_edits_at_places_that_are_none_the_problems_are_those_of_the_last_text() {
    for encoding in ENCODINGS {
        let mut client = counting(encoding);
        client.open(URI, TEXT);
        let smile = position(encoding, TEXT, TEXT.find('😀').unwrap());
        let inside = json!({ "line": smile["line"], "character": smile["character"].as_u64().unwrap() + 1 });
        let far = json!({ "line": u32::MAX, "character": u32::MAX });
        let start = json!({ "line": 0, "character": 0 });
        let behind_the_line = json!({ "line": 2, "character": 10_000 });
        let mut version = 1;
        for (from, to) in [
            (&inside, &inside),
            (&inside, &far),
            (&far, &far),
            (&far, &start),
            (&behind_the_line, &inside),
            (&behind_the_line, &behind_the_line),
        ] {
            version += 2;
            let edit = json!({ "range": { "start": from, "end": to }, "text": "x😀\r\n" });
            client.notify(
                "textDocument/didChange",
                json!({ "textDocument": { "uri": URI, "version": version - 1 }, "contentChanges": [edit] }),
            );
            client.change(URI, version, &TEXT.replace(", wri ", " "));
            let shown = client.until(|message| message["params"]["version"] == version);
            let [found] = shown["params"]["diagnostics"].as_array().unwrap().as_slice() else {
                panic!("{shown:#?}")
            };
            assert_eq!(found["range"], range(encoding, TEXT, "wrong"), "{encoding}: {from} {to}");
        }
        client.goodbye();
    }
}
