//! The server leaves when it should, and not before.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vmtest_tests::machine;

use crate::client::Client;

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed())
}

#[test]
fn exit_after_shutdown_is_success() {
    let mut client = Client::ready();
    assert_eq!(client.request("shutdown", Value::Null)["result"], Value::Null);
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().code(), Some(0));
}

#[test]
fn exit_without_shutdown_is_failure() {
    let mut client = Client::ready();
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().code(), Some(1));
}

#[test]
fn exit_before_initialize_ends_it_too() {
    let mut client = Client::start();
    client.notify("exit", Value::Null);
    assert_eq!(client.ended().code(), Some(1));
}

#[test]
fn the_end_of_input_is_the_end() {
    let mut client = Client::ready();
    client.close();
    assert_eq!(client.ended().code(), Some(1));
}

#[test]
fn the_end_of_input_after_shutdown_is_success() {
    let mut client = Client::ready();
    client.request("shutdown", Value::Null);
    client.close();
    assert_eq!(client.ended().code(), Some(0));
}

#[test]
fn what_came_before_the_end_of_input_is_answered() {
    let mut client = Client::start();
    let id = client.ask("initialize", json!({ "capabilities": {} }));
    client.close();
    assert!(client.until(|message| message["id"] == id)["result"]["capabilities"].is_object());
    client.ended();
}

#[test]
fn the_end_of_input_is_seen_while_nobody_reads_the_answers() {
    let mut server = Command::new(machine::vmtest())
        .arg("lsp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    // More answers than a pipe and the server's queue hold.
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#;
    let frame = format!("Content-Length: {}\r\n\r\n{request}", request.len());
    std::io::Write::write_all(&mut input, frame.repeat(5000).as_bytes()).unwrap();
    drop(input);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while server.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > deadline {
            server.kill().unwrap();
            panic!("the server is still there");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_clients_death_is_seen_while_another_process_keeps_the_pipes_open() {
    let script = format!("exec 3<&0; '{}' lsp <&3 & wait", machine::vmtest().display());
    let mut client = Client::spawn(Command::new("sh").args(["-c", &script]));
    let shell = client.pid();
    client.initialize(json!({ "processId": shell, "capabilities": {} }));
    kill(pid(shell), Signal::SIGKILL).unwrap();
    client.gone_within(Duration::from_secs(3));
}

#[test]
fn a_process_id_that_nobody_has_here_is_no_reason_to_leave() {
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let mut client = Client::start();
    client.initialize(json!({ "processId": gone.id(), "capabilities": {} }));
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
        kill(pid(client.pid()), signal).unwrap();
        assert_eq!(client.ended().code(), Some(128 + signal as i32), "{signal}");
    }
}
