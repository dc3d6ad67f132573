//! A client with no manners of its own: it sends what a test says and keeps what comes.
#![expect(clippy::needless_pass_by_value, reason = "parameters are written where they are sent")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmtest_tests::machine;

/// How long anything may take; what takes longer has hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A server, and the pipes to it.
pub(crate) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    next_id: i64,
}

impl Client {
    /// Starts `vmtest lsp`.
    pub(crate) fn start() -> Self {
        Self::spawn(Command::new(machine::vmtest()).args(["lsp", "--stdio"]))
    }

    /// Starts it by another program.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .env_remove("VMTEST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let (sender, messages) = channel();
        let output = child.stdout.take().expect("it is a pipe");
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, messages, next_id: 1 }
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

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("input was not closed");
        input.write_all(bytes).and_then(|()| input.flush()).expect("the server reads");
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &Value) {
        let body = message.to_string();
        self.raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    /// Sends a notification.
    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and does not wait; returns its id.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        if !params.is_null() {
            message["params"] = params;
        }
        self.send(&message);
        id
    }

    /// Sends a request; returns its answer and drops what comes before.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.until(|message| message["id"] == id && message.get("method").is_none())
    }

    /// The next message that is wanted; others are dropped.
    pub(crate) fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) if wanted(&message) => return message,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("the server said nothing of the kind in {LIMIT:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the server closed its output"),
            }
        }
    }

    /// Closes the server's input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Waits for the end of the server's output; fails when it takes longer than this.
    pub(crate) fn gone_within(&self, limit: Duration) {
        let started = Instant::now();
        loop {
            match self.messages.recv_timeout(limit.saturating_sub(started.elapsed())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the server is still there after {limit:?}"),
            }
        }
    }

    /// Waits for the end of the process, for no longer than the promise and slack.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.gone_within(Duration::from_secs(3));
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server closed its output and lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
