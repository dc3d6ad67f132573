//! A run as a client sees it that shows runs itself. One machine runs for all of these tests.

use std::sync::LazyLock;

use serde_json::{Value, json};
use vmtest_tests::{Project, target, with_kernels};

use crate::client::Client;
use crate::workspace::{self, click, diagnosed, event, is_event, printed, titles};

/// Says something, names a place, changes the file that it came from, and waits for a word of the host.
const SHOWN: &str = "echo shown
echo 'src/main.c:2:5: error: no such thing'
until test -e seen; do sleep 0.1; done
cat edited >vmtest.toml
echo edited
until test -e go; do sleep 0.1; done
echo last words
exit 3";

/// What was seen of it.
struct Story {
    run_id: Value,
    events: Vec<Value>,
    /// Of the source file, while the command ran.
    early: Vec<Value>,
    /// Whether the end was known by then.
    ended_before: bool,
    lens_while_it_ran: String,
    verdict: Value,
    lens_after: String,
    state_after: Value,
    /// Of the source file and of vmtest.toml, after the target was given another name.
    after_rename: (Vec<Value>, Vec<Value>),
    lens_after_rename: String,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let project = Project::new(&target("t", "", "echo saved; exit 1"));
    project.make_dir(&project.dir().join("src"));
    project.write("src/main.c", "int main(void) {\n    thing();\n}\n");
    let edited = with_kernels(&target("t", "", "echo from the guest; exit 9"));
    project.write("edited", &edited);
    let (toml, source) = (workspace::toml(&project), workspace::uri(&project.dir().join("src/main.c")));

    let client = Client::of(project.vmtest(["lsp"]).leaves(["seen", "go"]));
    let mut client = workspace::open(client, &project, &workspace::showing_runs(), &target("t", "", SHOWN));
    let run_id = click(&mut client, &project, "▶ Run in VM")["runId"].clone();
    let early = diagnosed(&mut client, &source, |found| !found.is_empty());
    let ended_before = client.seen.iter().any(|message| is_event(message, "t", "finished"));
    let lens_while_it_ran = titles(&mut client, &project).remove(0);
    project.write("seen", "");

    printed(&mut client, "edited\n");
    // An editor takes over what has changed on the disk, and says so.
    client.notify("workspace/didChangeWatchedFiles", json!({ "changes": [{ "uri": toml, "type": 2 }] }));
    client.change(&toml, 2, &edited);
    client.notify("textDocument/didSave", json!({ "textDocument": { "uri": toml } }));
    client.until(|message| message["params"]["uri"] == toml && message["params"]["version"] == 2);
    project.write("go", "");
    client.until(|message| is_event(message, "t", "finished"));
    let on_target = |found: &Value| found["code"] == "failed";
    let told = client.whenever(|message| {
        crate::client::diagnostics(message, &toml).is_some_and(|found| found.iter().any(on_target))
    });
    let verdict = told["params"]["diagnostics"].as_array().unwrap().iter().find(|found| on_target(found));
    let verdict = verdict.unwrap().clone();
    let lens_after = titles(&mut client, &project).remove(0);
    let state_after = client.result("vmtest/targets", json!({ "uri": toml }))[0]["state"].clone();

    client.change(&toml, 3, &edited.replace("'t'", "'renamed'"));
    let (mut of_source, mut of_toml) = (None, None);
    while of_source.is_none() || of_toml.is_none() {
        let message = client.until(|message| message["method"] == "textDocument/publishDiagnostics");
        let params = &message["params"];
        let found = || params["diagnostics"].as_array().cloned();
        if params["uri"] == source {
            of_source = found();
        } else if params["version"] == 3 {
            of_toml = found();
        }
    }
    let lens_after_rename = titles(&mut client, &project).remove(0);
    let events = client.seen.iter().filter_map(event).cloned().collect();
    client.goodbye();
    Story {
        run_id,
        events,
        early,
        ended_before,
        lens_while_it_ran,
        verdict,
        lens_after,
        state_after,
        after_rename: (of_source.unwrap(), of_toml.unwrap()),
        lens_after_rename,
    }
});

fn output() -> String {
    STORY.events.iter().filter_map(|event| event["text"].as_str()).collect()
}

#[test]
fn the_command_of_a_lens_starts_a_run_whose_output_arrives() {
    assert_eq!(output(), "shown\nsrc/main.c:2:5: error: no such thing\nedited\nlast words\n");
}

#[test]
fn the_text_that_is_shown_runs_and_not_the_saved_one() {
    assert!(output().starts_with("shown\n"), "{}", output());
}

#[test]
fn the_phases_of_a_run_are_told_in_order() {
    let mut names: Vec<_> = STORY.events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    names.retain(|name| !matches!(*name, "console" | "notice"));
    names.dedup();
    let phases = ["queued", "preparing", "booting", "booted", "command_started", "output", "finished"];
    assert_eq!(names, phases);
}

#[test]
fn the_numbers_of_events_have_no_gap() {
    for (number, event) in STORY.events.iter().enumerate() {
        assert_eq!(event["seq"], number, "{event}");
    }
}

#[test]
fn a_place_that_the_output_names_is_shown_before_the_run_ends() {
    assert!(!STORY.ended_before);
    let [found] = STORY.early.as_slice() else { panic!("{:?}", STORY.early) };
    assert_eq!(found["range"]["start"], json!({ "line": 1, "character": 4 }));
    assert_eq!((&found["severity"], &found["message"]), (&json!(1), &json!("no such thing")));
}

#[test]
fn the_lens_of_a_run_that_goes_on_stops_it() {
    assert!(STORY.lens_while_it_ran.starts_with("■ Stop (running"), "{}", STORY.lens_while_it_ran);
}

#[test]
fn the_verdict_is_a_diagnostic_on_the_target() {
    let header = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 10 } });
    assert_eq!(STORY.verdict["range"], header);
    let message = STORY.verdict["message"].as_str().unwrap();
    assert!(message.contains("exit code: 3") && message.contains("last words"), "{message}");
}

#[test]
fn the_lens_shows_the_result() {
    assert_eq!(STORY.lens_after, "✗ exit 3");
}

#[test]
fn the_last_result_is_remembered() {
    let state = &STORY.state_after;
    assert_eq!(
        (&state["phase"], &state["verdict"], &state["exit_code"]),
        (&json!("finished"), &json!("failed"), &json!(3))
    );
    assert_eq!(state["runId"], STORY.run_id);
}

#[test]
fn diagnostics_of_a_run_go_when_its_target_is_renamed() {
    let (of_source, of_toml) = &STORY.after_rename;
    assert_eq!(of_source, &[] as &[Value]);
    assert!(of_toml.iter().all(|found| found["code"] != "failed"), "{of_toml:?}");
}

#[test]
fn a_renamed_target_has_not_run() {
    assert_eq!(STORY.lens_after_rename, "▶ Run in VM");
}

// F2
#[test]
fn a_file_that_the_guest_edits_changes_neither_this_run_nor_starts_another() {
    assert!(STORY.events.iter().all(|event| event["run_id"] == STORY.run_id));
    let ends: Vec<_> = STORY.events.iter().filter(|event| event["event"] == "finished").collect();
    assert!(ends.len() == 1 && ends[0]["exit_code"] == 3, "{ends:?}");
}
