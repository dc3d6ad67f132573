//! Machines that are stopped: by the user, and because nobody is there any more. None of them boots to its end, so none may
//! find a guest that was kept.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vmtest_tests::{Outcome, Project, target};

use crate::client::{Client, SOON, is_answer};
use crate::workspace::{self, click, event, is_event};

/// Never ends by itself.
const ENDLESS: &str = "sleep 1000";

/// Waits until the server's machines are gone; the server itself goes on.
#[track_caller]
pub(crate) fn machine_is_gone(client: &mut Client) {
    let deadline = Instant::now() + SOON;
    while !client.running().processes().is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", client.running().processes());
        // The end of another's child gives no event to wait for.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server whose only target boots.
fn booting(project: &Project, client: Client) -> Client {
    let mut client =
        workspace::open(client, project, &workspace::showing_runs(), &project.read("vmtest.toml"));
    client.result("vmtest/run", json!({ "uri": workspace::toml(project) }));
    client.until(|message| is_event(message, "t", "console"));
    // There is one to be left behind.
    client.running().qemu();
    client
}

/// The end of a server whose machine boots, after `leave`.
fn end_while_booting(inside: &[&str], leave: impl FnOnce(&mut Client)) -> Outcome {
    let project = Project::one(ENDLESS).without_snapshots();
    let server = Client::of(project.vmtest(["lsp"]).inside_words(inside));
    let mut client = booting(&project, server);
    leave(&mut client);
    client.ended()
}

// L1
#[test]
fn the_end_of_input_ends_the_server_and_its_machine() {
    end_while_booting(&[], Client::close).expect_status(1);
}

// L1
#[test]
fn exit_without_shutdown_ends_the_server_and_its_machine_as_a_failure() {
    end_while_booting(&[], |client| client.notify("exit", Value::Null)).expect_status(1);
}

#[test]
fn sigterm_ends_the_server_and_its_machine() {
    end_while_booting(&[], |client| client.signal(Signal::SIGTERM)).expect_status(143);
}

// L1
#[test]
fn the_clients_death_ends_the_server_and_its_machine() {
    // A shell is the client: the server is its child. The pipes stay open, so that only the death can be seen.
    let shell = ["sh", "-c", "exec 3<&0; \"$@\" <&3 & wait", "sh"];
    let run = end_while_booting(&shell, |client| client.signal(Signal::SIGKILL));
    run.check(run.signal == Some(9), "the client was not killed");
}

#[test]
fn the_button_of_the_progress_stops_a_run_that_boots() {
    let project = Project::one(ENDLESS).without_snapshots();
    let client = Client::of(project.vmtest(["lsp"]));
    let mut client = workspace::open(client, &project, &workspace::plain(), &project.read("vmtest.toml"));
    click(&mut client, &project, "▶ Run in VM");
    let create = client.until(|message| message["method"] == "window/workDoneProgress/create");
    client.reply(&create, Value::Null);
    client.until(|message| {
        let said = message["params"]["value"]["message"].as_str();
        message["method"] == "$/progress" && said.is_some_and(|said| said.starts_with("booting,"))
    });
    client.running().qemu();
    client.notify("window/workDoneProgress/cancel", json!({ "token": create["params"]["token"] }));
    let end = client
        .until(|message| message["method"] == "$/progress" && message["params"]["value"]["kind"] == "end");
    assert!(end.to_string().to_lowercase().contains("cancelled"), "{end}");
    machine_is_gone(&mut client);
    client.goodbye();
}

/// Two runs where one is the limit: the first is stopped by its lens, the second by `vmtest/cancel`.
struct Line {
    messages: Vec<Value>,
    /// How many of them had come when the first was stopped.
    until_stop: usize,
    second_while_first_booted: Value,
    second_after: Value,
    /// Of the second, after it was cancelled.
    still_answered: bool,
}

static LINE: LazyLock<Line> = LazyLock::new(|| {
    let both = target("first", "", ENDLESS) + &target("second", "", ENDLESS);
    let project = Project::new(&both).without_snapshots();
    let toml = workspace::toml(&project);
    let client = Client::of(project.vmtest(["lsp"]));
    let mut client =
        workspace::open(client, &project, &workspace::showing_runs(), &project.read("vmtest.toml"));
    client.result("vmtest/run", json!({ "uri": toml, "targets": ["first"] }));
    let second = client.result("vmtest/run", json!({ "uri": toml, "targets": ["second"] }));
    client.until(|message| is_event(message, "first", "console"));
    client.running().qemu();
    let state =
        |client: &mut Client| client.result("vmtest/targets", json!({ "uri": toml }))[1]["state"].clone();
    let second_while_first_booted = state(&mut client);
    let until_stop = client.seen.len();
    click(&mut client, &project, "■ Stop (booting");
    client.until(|message| is_event(message, "second", "console"));
    client.running().qemu();
    assert_eq!(client.result("vmtest/cancel", json!({ "runId": second["runId"] })), Value::Null);
    client.until(|message| is_event(message, "second", "finished"));
    machine_is_gone(&mut client);
    let second_after = state(&mut client);
    let id = client.ask("vmtest/none", json!({}));
    let still_answered = client.until(|message| is_answer(message, id))["error"].is_object();
    let messages = client.seen.clone();
    client.goodbye();
    Line { messages, until_stop, second_while_first_booted, second_after, still_answered }
});

/// When the first message of this event of a target came.
fn when(target: &str, name: &str) -> usize {
    let found = LINE.messages.iter().position(|message| is_event(message, target, name));
    found.unwrap_or_else(|| panic!("there was no {name} of {target}"))
}

#[test]
fn a_run_beyond_the_limit_is_queued() {
    assert_eq!(LINE.second_while_first_booted["phase"], "queued");
}

#[test]
fn a_queued_run_starts_when_the_one_before_it_is_over() {
    assert!(when("second", "queued") < LINE.until_stop);
    assert!(when("second", "preparing") > LINE.until_stop);
}

#[test]
fn the_lens_of_a_run_that_boots_stops_it() {
    let end = event(&LINE.messages[when("first", "finished")]).unwrap();
    assert_eq!(end["verdict"], "cancelled");
}

#[test]
fn cancel_stops_a_run_that_boots_and_the_server_goes_on() {
    let end = event(&LINE.messages[when("second", "finished")]).unwrap();
    assert_eq!(end["verdict"], "cancelled");
    assert_eq!(LINE.second_after["verdict"], "cancelled");
    assert!(LINE.still_answered);
}

#[test]
fn a_run_that_was_stopped_leaves_no_diagnostic() {
    let all =
        LINE.messages.iter().filter_map(|message| message["params"]["diagnostics"].as_array()).flatten();
    assert!(all.clone().all(|found| found["code"] != "cancelled"), "{:?}", all.collect::<Vec<_>>());
}
