//! A client with no manners of its own: it sends what a test says and keeps what comes. When a server has ended, nothing of
//! it may be left: no process, no socket, no temporary file.
#![expect(clippy::needless_pass_by_value, reason = "parameters are written where they are sent")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vmtest_tests::clean::GRACE;
use vmtest_tests::clean::descriptors::Descriptors;
use vmtest_tests::clean::ending::{Ends, problems_of_events};
use vmtest_tests::{Invocation, Outcome, Project, Running};

use crate::workspace::event;

/// How long anything may take, a boot included; what takes longer has hung.
const LIMIT: Duration = Duration::from_secs(120);

/// How long the server may outlive its reason to be there. The promise for a server without machines is 2 s, with them 3 s;
/// the rest is for a computer with other work.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A server, and the pipes to it.
pub(crate) struct Client {
    /// None when it has ended.
    running: Option<Running>,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    /// Everything that the server has said, in order.
    pub(crate) seen: Vec<Value>,
    next_id: i64,
    /// What the server had open before the first run.
    idle: Option<Descriptors>,
    /// Surroundings of a server that needs none in particular; they last until it has ended.
    _project: Option<Project>,
}

impl Client {
    /// Starts `vmtest lsp`.
    pub(crate) fn start() -> Self {
        let project = Project::new("");
        let started = project.vmtest(["lsp", "--stdio"]).without_machine().start_to_talk();
        Self::new(started, Some(project))
    }

    /// Starts it as this invocation says.
    pub(crate) fn of(invocation: Invocation<'_>) -> Self {
        Self::new(invocation.start_to_talk(), None)
    }

    fn new(started: (Running, ChildStdin, ChildStdout), project: Option<Project>) -> Self {
        let (running, input, output) = started;
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self {
            running: Some(running),
            input: Some(input),
            messages,
            seen: Vec::new(),
            next_id: 1,
            idle: None,
            _project: project,
        }
    }

    /// A server that is past `initialize`.
    pub(crate) fn ready() -> Self {
        let mut client = Self::start();
        client.initialize(json!({ "capabilities": {} }));
        client
    }

    /// Says hello; returns what the server offers.
    pub(crate) fn initialize(&mut self, params: Value) -> Value {
        let answer = self.request("initialize", params);
        self.notify("initialized", json!({}));
        answer["result"].clone()
    }

    /// Opens a document.
    pub(crate) fn open(&mut self, uri: &str, text: &str) {
        let document = json!({ "uri": uri, "languageId": "toml", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Replaces the text of a document.
    pub(crate) fn change(&mut self, uri: &str, version: i64, text: &str) {
        let params = json!({
            "textDocument": { "uri": uri, "version": version },
            "contentChanges": [{ "text": text }],
        });
        self.notify("textDocument/didChange", params);
    }

    /// The process that was started.
    pub(crate) fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it has not ended")
    }

    /// Sends the process that was started a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.running().signal(signal);
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("input was not closed");
        input.write_all(bytes).and_then(|()| input.flush()).expect("the server reads");
    }

    /// Sends a body with its header.
    pub(crate) fn body(&mut self, body: &[u8]) {
        let header = format!("Content-Length: {}\r\n\r\n", body.len());
        self.raw(&[header.as_bytes(), body].concat());
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Value) {
        self.body(message.to_string().as_bytes());
    }

    /// Sends a notification.
    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and does not wait; returns its id.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> i64 {
        if ["vmtest/run", "workspace/executeCommand"].contains(&method) && self.idle.is_none() {
            self.idle = Some(self.descriptors());
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        if !params.is_null() {
            message["params"] = params;
        }
        self.send(&message);
        id
    }

    /// Sends a request; returns its answer and passes over what comes before.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.until(|message| is_answer(message, id))
    }

    /// The result of a request that works.
    #[track_caller]
    pub(crate) fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Answers a request of the server.
    pub(crate) fn reply(&mut self, request: &Value, result: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }));
    }

    /// The next message that is wanted; others are passed over.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_within(LIMIT, wanted).unwrap_or_else(|| {
            let last = &self.seen[self.seen.len().saturating_sub(10)..];
            panic!("the server said nothing of the kind in {LIMIT:?}; the last it said: {last:#?}")
        })
    }

    /// The same; none when it does not come in time.
    #[track_caller]
    pub(crate) fn until_within(&mut self, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + limit;
        loop {
            match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) => {
                    self.seen.push(message.clone());
                    if wanted(&message) {
                        return Some(message);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the server closed its output; the last it said: {:#?}", self.seen.last())
                }
            }
        }
    }

    /// A message that is wanted, whether it came already or is to come.
    #[track_caller]
    pub(crate) fn whenever(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let known = self.seen.iter().find(|message| wanted(message)).cloned();
        known.unwrap_or_else(|| self.until(wanted))
    }

    /// Closes the server's input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Waits for the end of the server, which must be soon, and looks at what is left.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Outcome {
        let started = Instant::now();
        loop {
            match self.messages.recv_timeout(SOON.saturating_sub(started.elapsed())) {
                Ok(message) => self.seen.push(message),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the server is still there after {SOON:?}"),
            }
        }
        let outcome = self.running.take().expect("it ends once").finish();
        let took = started.elapsed();
        outcome.check(took < SOON, &format!("it took {took:?} until everything was gone"));
        let problems = problems_of_events(self.seen.iter().filter_map(event), Ends::AtMostOne);
        outcome.check(problems.is_empty(), &problems.join("\n"));
        outcome
    }

    fn descriptors(&mut self) -> Descriptors {
        Descriptors::of(self.running().pid().as_raw())
    }

    /// Fails unless all runs are over, and the server has no more open than before the first of them.
    #[track_caller]
    fn expect_idle(&mut self) {
        let Some(idle) = self.idle.take() else { return };
        let problems = problems_of_events(self.seen.iter().filter_map(event), Ends::One);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        let deadline = Instant::now() + GRACE;
        loop {
            let more = self.descriptors().more_than(&idle);
            if more.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "the server keeps open what runs needed: {more:#?}");
            // Another process's descriptors give no event to wait for.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Says goodbye as editors do; fails unless the server ends well, and without anything of its runs.
    #[track_caller]
    pub(crate) fn goodbye(mut self) {
        self.expect_idle();
        self.result("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        self.ended().expect_status(0);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A test that fails has said why; what it started is killed.
        if self.running.is_some() && !std::thread::panicking() {
            self.close();
            self.ended();
        }
    }
}

/// Whether a message answers the request with this id.
pub(crate) fn is_answer(message: &Value, id: i64) -> bool {
    message["id"] == id && message.get("method").is_none()
}

/// The diagnostics that a message publishes for a file.
pub(crate) fn diagnostics<'m>(message: &'m Value, uri: &str) -> Option<&'m Vec<Value>> {
    let is_published = message["method"] == "textDocument/publishDiagnostics";
    let params = &message["params"];
    if is_published && params["uri"] == uri { params["diagnostics"].as_array() } else { None }
}

fn read(output: &mut BufReader<impl Read>) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        output.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().ok(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length?];
    output.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).expect("the server writes JSON"))
}
