//! A client in this process, over a pipe in memory. It fails on every message that a test did not read: what a server says
//! unasked is as much its behaviour as what it answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vmtest_vm::executor::{Executor, Script, ScriptedExecutor};

use crate::Options;
use crate::framing::{Frame, FrameReader};

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(10);

/// The document that [`TestClient::open`] opens.
pub(crate) const URI: &str = "file:///nonexistent/vmtest.toml";

/// A client and its server.
pub(crate) struct TestClient {
    input: Option<DuplexStream>,
    messages: mpsc::UnboundedReceiver<Value>,
    /// Came while an answer was awaited.
    unread: Vec<Value>,
    server: Option<JoinHandle<u8>>,
    next_id: i64,
}

/// What a client of today can take.
pub(crate) fn modern() -> Value {
    json!({
        "textDocument": {
            "completion": { "completionItem": { "snippetSupport": true, "documentationFormat": ["markdown"] } },
            "hover": { "contentFormat": ["markdown"] },
            "documentSymbol": { "hierarchicalDocumentSymbolSupport": true },
            "publishDiagnostics": { "relatedInformation": true },
            "codeAction": {
                "codeActionLiteralSupport": { "codeActionKind": { "valueSet": [] } },
                "isPreferredSupport": true,
            },
        },
        "workspace": { "workspaceEdit": { "documentChanges": true } },
        "experimental": { "vmtest": { "runEvents": true, "shell": true } },
    })
}

impl TestClient {
    /// Starts a server that plays these scripts, and says hello with these capabilities.
    pub(crate) async fn start(capabilities: Value, options: Value, scripts: Vec<Script>) -> Self {
        Self::of(Arc::new(ScriptedExecutor::new(scripts)), capabilities, options).await
    }

    /// The same with any executor.
    pub(crate) async fn of(executor: Arc<dyn Executor>, capabilities: Value, options: Value) -> Self {
        Self::silent(executor, Duration::from_secs(3600)).hello(capabilities, options).await
    }

    /// A server with a modern client, which looks at the disk at once.
    pub(crate) async fn looking() -> Self {
        Self::silent(Arc::new(ScriptedExecutor::default()), Duration::ZERO).hello(modern(), json!({})).await
    }

    async fn hello(self, capabilities: Value, options: Value) -> Self {
        let mut client = self;
        let params = json!({ "capabilities": capabilities, "initializationOptions": options });
        let answer = client.request("initialize", params).await;
        assert!(answer["result"].is_object(), "{answer}");
        client.notify("initialized", json!({})).await;
        client
    }

    /// A server with a modern client.
    pub(crate) async fn modern() -> Self {
        Self::start(modern(), json!({}), Vec::new()).await
    }

    /// A server that has heard nothing yet.
    fn silent(executor: Arc<dyn Executor>, pause: Duration) -> Self {
        let (input, server_input) = tokio::io::duplex(1 << 16);
        let (server_output, output) = tokio::io::duplex(1 << 16);
        // Logs are the user's; what the machine lacks would come at any time.
        let options = Options {
            make_logs: Arc::new(|_, _| None),
            pause,
            ..Options::new(executor, PathBuf::from("/nonexistent"))
        };
        let server = tokio::spawn(crate::serve(server_input, server_output, options));
        let (sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut reader = FrameReader::new(output);
            while let Ok(Some(Frame::Body(body))) = reader.next().await {
                let message = serde_json::from_slice(&body).expect("the server writes JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self { input: Some(input), messages, unread: Vec::new(), server: Some(server), next_id: 1 }
    }

    async fn send(&mut self, message: Value) {
        let body = message.to_string();
        let frame = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.input
            .as_mut()
            .expect("input is open")
            .write_all(frame.as_bytes())
            .await
            .expect("the server reads");
    }

    /// Sends a notification.
    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    /// Sends a request; returns its id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        if !params.is_null() {
            message["params"] = params;
        }
        self.send(message).await;
        id
    }

    /// Sends a request; returns the whole answer. What comes before it stays to be read.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        self.answer(id).await
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self, id: i64) -> Value {
        loop {
            let message = self.receive().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.unread.push(message);
        }
    }

    /// The result of a request that works.
    pub(crate) async fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// Answers a request of the server with a result or an error.
    pub(crate) async fn reply(&mut self, request: &Value, answer: Result<Value, Value>) {
        let mut message = json!({ "jsonrpc": "2.0", "id": request["id"] });
        match answer {
            Ok(result) => message["result"] = result,
            Err(error) => message["error"] = error,
        }
        self.send(message).await;
    }

    /// The next message that is no answer.
    pub(crate) async fn next(&mut self) -> Value {
        if self.unread.is_empty() { self.receive().await } else { self.unread.remove(0) }
    }

    /// The next message, which must be of this method; its parameters.
    pub(crate) async fn expect(&mut self, method: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["method"], method, "{message}");
        message["params"].clone()
    }

    async fn receive(&mut self) -> Value {
        let message = tokio::time::timeout(LIMIT, self.messages.recv()).await;
        message.expect("the server says something in time").expect("the server is there")
    }

    /// Opens a document at [`URI`] and takes its diagnostics.
    pub(crate) async fn open(&mut self, text: &str) -> Value {
        let document = json!({ "uri": URI, "languageId": "toml", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document })).await;
        self.expect("textDocument/publishDiagnostics").await
    }

    /// Takes whatever came, where a test does not care.
    pub(crate) async fn drain(&mut self) {
        self.unread.clear();
        if self.server.is_some() {
            // An answer comes after what was said before it.
            self.request("vmtest/none", json!({})).await;
            self.unread.clear();
        } else {
            while self.messages.recv().await.is_some() {}
        }
    }

    /// Says goodbye; fails unless everything that the server said was read.
    pub(crate) async fn end(mut self) {
        let answer = self.request("shutdown", Value::Null).await;
        assert!(answer.get("error").is_none(), "{answer}");
        self.notify("exit", Value::Null).await;
        assert_eq!(self.ended().await, 0);
        while let Some(message) = self.messages.recv().await {
            self.unread.push(message);
        }
    }

    /// The status that the server ends with.
    pub(crate) async fn ended(&mut self) -> u8 {
        let server = self.server.take().expect("it ends once");
        tokio::time::timeout(LIMIT, server)
            .await
            .expect("the server ends in time")
            .expect("it does not panic")
    }

    /// Closes the server's input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        while let Ok(message) = self.messages.try_recv() {
            self.unread.push(message);
        }
        assert!(self.unread.is_empty(), "the test did not read {:#?}", self.unread);
    }
}
