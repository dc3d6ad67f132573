//! The server leaves when it should, and not before.

use std::io::Write as _;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vmtest_tests::Project;

use crate::client::Client;

// L1
#[test]
fn exit_after_shutdown_is_success() {
    let mut client = Client::ready();
    assert_eq!(client.request("shutdown", Value::Null)["result"], Value::Null);
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().status, Some(0));
}

// L1
#[test]
fn exit_without_shutdown_is_failure() {
    let mut client = Client::ready();
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().status, Some(1));
}

#[test]
fn exit_before_initialize_ends_it_too() {
    let mut client = Client::start();
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().status, Some(1));
}

// L1
#[test]
fn the_end_of_input_is_the_end() {
    let mut client = Client::ready();
    client.close();
    assert_eq!(client.ended().status, Some(1));
}

#[test]
fn the_end_of_input_after_shutdown_is_success() {
    let mut client = Client::ready();
    client.request("shutdown", Value::Null);
    client.close();
    assert_eq!(client.ended().status, Some(0));
}

#[test]
fn what_came_before_the_end_of_input_is_answered() {
    let mut client = Client::start();
    let id = client.ask("initialize", json!({ "capabilities": {} }));
    client.close();
    assert!(client.until(|message| message["id"] == id)["result"]["capabilities"].is_object());
    client.ended();
}

// L1
#[test]
fn the_end_of_input_is_seen_while_nobody_reads_the_answers() {
    let project = Project::new("");
    let (server, mut input, output) = project.vmtest(["lsp"]).without_machine().start_to_talk();
    // More answers than a pipe and the server's queue hold.
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#;
    let frame = format!("Content-Length: {}\r\n\r\n{request}", request.len());
    input.write_all(frame.repeat(5000).as_bytes()).unwrap();
    drop(input);
    let run = server.finish();
    run.check(run.elapsed < crate::client::SOON, "it took too long");
    drop(output);
}

// L1
#[test]
fn the_clients_death_is_seen_while_another_process_keeps_the_pipes_open() {
    let project = Project::new("");
    let shell = ["sh", "-c", "exec 3<&0; \"$@\" <&3 & wait", "sh"];
    let mut client = Client::of(project.vmtest(["lsp"]).without_machine().inside_words(shell));
    let shell = client.running().pid().as_raw();
    client.initialize(json!({ "processId": shell, "capabilities": {} }));
    client.signal(Signal::SIGKILL);
    client.ended();
}

#[test]
fn a_client_outside_the_servers_pid_namespace_keeps_its_server() {
    // Where no namespace can be made, this is only a client whose number nobody has.
    let script = "for options in --pid '--user --pid'; do \
        if unshare $options --fork true 2>/dev/null; then exec unshare $options --fork --kill-child \"$@\"; fi; \
        done; exec \"$@\"";
    let project = Project::new("");
    let words = ["sh", "-c", script, "sh"];
    let mut client = Client::of(project.vmtest(["lsp"]).without_machine().inside_words(words));
    client.initialize(json!({ "processId": ended_process(), "capabilities": {} }));
    assert!(client.request("vmtest/none", json!({}))["error"].is_object());
    client.goodbye();
}

#[test]
fn a_process_id_that_nobody_has_here_is_no_reason_to_leave() {
    let mut client = Client::start();
    client.initialize(json!({ "processId": ended_process(), "capabilities": {} }));
    assert!(client.request("vmtest/none", json!({}))["error"].is_object());
}

#[test]
fn the_end_of_a_stranger_with_the_clients_number_is_no_reason_to_leave() {
    // In a container, the client's number may be that of any process.
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let mut client = Client::start();
    client.initialize(json!({ "processId": stranger.id(), "capabilities": {} }));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(client.request("vmtest/none", json!({}))["error"].is_object());
    assert!(client.request("vmtest/none", json!({}))["error"].is_object());
}

#[test]
fn a_signal_ends_it() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut client = Client::ready();
        client.signal(signal);
        assert_eq!(client.ended().status, Some(128 + signal as i32), "{signal}");
    }
}

/// The number of a process that was there and is not any more.
fn ended_process() -> u32 {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    ended.id()
}
