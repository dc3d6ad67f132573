//! Messages in, messages out.
//!
//! The framework's own loop is not used: it ends at the first malformed message, waits for pending handlers after the end
//! of input, lets four slow handlers block everything, and falls with the first handler that panics. Here
//!
//! * every message is begun in the order in which it came, and runs up to its first `.await` before the next one is
//!   looked at, so a handler that changes state before that is in order;
//! * what is not done by then goes on in a task of its own, any number at once;
//! * of answers that take much room only a few exist at a time, see [`room_for_answer`];
//! * a panic becomes the reply to the one request that it happened in.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Sink as _, Stream, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_lsp::jsonrpc::{Error, Id, Request, Response};
use tower_lsp::{ClientSocket, ExitedError, LanguageServer, Loopback, LspService};
use tower_service::Service as _;

use crate::framing::{Frame, FrameReader};
use crate::lifecycle::{Lifecycle, Reason};

/// Bytes that may have been read and not yet been begun. Input is read ahead so that its end is seen while a client does
/// not take our answers.
const READ_AHEAD: usize = 128 << 20;
/// Messages that may wait for the client to read them; who has another one waits too.
const MOST_UNWRITTEN: usize = 64;
/// Large answers that are being made or wait for the client to read them. One may take megabytes, and a client may ask for
/// a thousand before it reads the first.
const MOST_LARGE: usize = 4;

/// How long what was read before the end of input may take to be begun.
const GRACE: Duration = Duration::from_millis(500);

/// A message for the client, and the room that it takes until it is written.
type Outgoing = (Vec<u8>, Option<OwnedSemaphorePermit>);

tokio::task_local! {
    /// The answer that is being made.
    static ANSWER: Room;
}

/// The room for large answers, and the share of it that this answer has.
struct Room {
    all: Arc<Semaphore>,
    own: RefCell<Option<OwnedSemaphorePermit>>,
}

/// Waits until there is room for a large answer to the request that is being handled.
pub(crate) async fn room_for_answer() {
    let all = ANSWER.try_with(|room| room.own.borrow().is_none().then(|| Arc::clone(&room.all)));
    let Ok(Some(all)) = all else { return };
    // Fails only when the semaphore is closed, which nobody does.
    let permit = all.acquire_owned().await.ok();
    let _ = ANSWER.try_with(|room| room.own.replace(permit));
}

/// The tasks that serve.
pub(crate) struct Transport {
    writer: JoinHandle<()>,
    close: CancellationToken,
}

impl Transport {
    /// Begins to serve. `lifecycle` is told of every reason to leave that is seen here.
    pub(crate) fn start<S: LanguageServer>(
        (service, socket): (LspService<S>, ClientSocket),
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        lifecycle: &Arc<Lifecycle>,
    ) -> Self {
        let (frames, received) = mpsc::unbounded_channel();
        let (outgoing, unwritten) = mpsc::channel(MOST_UNWRITTEN);
        let (requests, responses) = socket.split();
        tokio::spawn(read(input, frames, Arc::clone(lifecycle)));
        tokio::spawn(forward(requests, outgoing.clone()));
        tokio::spawn(
            Dispatch {
                service,
                responses,
                outgoing,
                room: Arc::new(Semaphore::new(MOST_LARGE)),
                lifecycle: Arc::clone(lifecycle),
            }
            .run(received),
        );
        let close = CancellationToken::new();
        let writer = tokio::spawn(write(output, unwritten, Arc::clone(lifecycle), close.clone()));
        Self { writer, close }
    }

    /// Writes what waits, for at most so long.
    pub(crate) async fn finish(self, limit: Duration) {
        self.close.cancel();
        let _ = tokio::time::timeout(limit, self.writer).await;
    }
}

/// A frame, and the right to keep its bytes.
type Received = (Frame, OwnedSemaphorePermit);

async fn read(
    input: impl AsyncRead + Unpin,
    frames: mpsc::UnboundedSender<Received>,
    lifecycle: Arc<Lifecycle>,
) {
    let ahead = Arc::new(Semaphore::new(READ_AHEAD));
    let mut reader = FrameReader::new(input);
    loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "cannot read from the client");
                break;
            }
        };
        let size = if let Frame::Body(body) = &frame { body.len() } else { 0 };
        // Fails only when the semaphore is closed, which nobody does; no frame is larger than all of it.
        let Ok(permit) = Arc::clone(&ahead).acquire_many_owned(size as u32).await else { break };
        if frames.send((frame, permit)).is_err() {
            break;
        }
    }
    // The dispatcher leaves after the last message; unless it waits for a client that takes no answers.
    drop(frames);
    tokio::time::sleep(GRACE).await;
    lifecycle.leave(Reason::InputEnded);
}

/// Passes on what the server asks of the client and tells it.
async fn forward(mut requests: impl Stream<Item = Request> + Unpin, outgoing: mpsc::Sender<Outgoing>) {
    while let Some(request) = requests.next().await {
        if outgoing.send((encode(&request), None)).await.is_err() {
            break;
        }
    }
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut unwritten: mpsc::Receiver<Outgoing>,
    lifecycle: Arc<Lifecycle>,
    close: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            biased;
            message = unwritten.recv() => message,
            () = close.cancelled() => None,
        };
        let Some((mut body, _room)) = message else { return };
        let mut bytes = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.append(&mut body);
        let written = async {
            output.write_all(&bytes).await?;
            // Several messages that wait are flushed once.
            if unwritten.is_empty() { output.flush().await } else { Ok(()) }
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "cannot write to the client");
            lifecycle.leave(Reason::OutputClosed);
            return;
        }
    }
}

/// Begins what the client asks for.
struct Dispatch<S> {
    service: LspService<S>,
    responses: <ClientSocket as Loopback>::ResponseSink,
    outgoing: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    lifecycle: Arc<Lifecycle>,
}

impl<S: LanguageServer> Dispatch<S> {
    async fn run(mut self, mut received: mpsc::UnboundedReceiver<Received>) {
        while let Some((frame, _permit)) = received.recv().await {
            match parse(frame) {
                Ok(Incoming::Request(request)) if request.method() == "exit" => {
                    return self.lifecycle.leave(Reason::Exit);
                }
                Ok(Incoming::Request(request)) => self.begin(request).await,
                Ok(Incoming::Response(response)) => {
                    // Goes into a map; an answer that nobody waits for is dropped there.
                    let _ = Pin::new(&mut self.responses).start_send(response);
                }
                Err((id, error)) => {
                    tracing::warn!(%error, "the client sent a message that is none");
                    send(&self.outgoing, Response::from_error(id, error), None).await;
                }
            }
        }
        self.lifecycle.leave(Reason::InputEnded);
    }

    async fn begin(&mut self, request: Request) {
        let id = request.id().cloned();
        let mut answer = answer(id, self.service.call(request), Arc::clone(&self.room));
        if let Some((response, room)) = (&mut answer).now_or_never() {
            if let Some(response) = response {
                send(&self.outgoing, response, room).await;
            }
            return;
        }
        let outgoing = self.outgoing.clone();
        tokio::spawn(async move {
            let (response, room) = answer.await;
            if let Some(response) = response {
                send(&outgoing, response, room).await;
            }
        });
    }
}

/// Carries a call to its end, a panic included; gives the room that the answer takes, too.
fn answer(
    id: Option<Id>,
    call: BoxFuture<'static, Result<Option<Response>, ExitedError>>,
    room: Arc<Semaphore>,
) -> BoxFuture<'static, (Option<Response>, Option<OwnedSemaphorePermit>)> {
    let answer = AssertUnwindSafe(call).catch_unwind().map(|answer| {
        let response = match answer {
            Ok(response) => response.unwrap_or_default(),
            Err(panic) => {
                let message = crate::panic_message(&*panic);
                tracing::error!(message, "a handler panicked");
                let mut error = Error::internal_error();
                error.message = format!("vmtest itself failed: {message}; please report this").into();
                id.map(|id| Response::from_error(id, error))
            }
        };
        (response, ANSWER.with(|room| room.own.take()))
    });
    ANSWER.scope(Room { all: room, own: RefCell::default() }, answer).boxed()
}

/// A client's message.
enum Incoming {
    Request(Request),
    Response(Response),
}

/// What a frame says; else the error to reply, and to whom.
fn parse(frame: Frame) -> Result<Incoming, (Id, Error)> {
    let broken = |why: String| {
        let mut error = Error::parse_error();
        error.message = why.into();
        (Id::Null, error)
    };
    let body = match frame {
        Frame::Body(body) => body,
        Frame::Broken(why) => return Err(broken(format!("the headers of a message are wrong: {why}"))),
    };
    let message: Value =
        serde_json::from_slice(&body).map_err(|error| broken(format!("a message is not JSON: {error}")))?;
    let id = message.get("id").cloned().and_then(|id| serde_json::from_value(id).ok()).unwrap_or_default();
    let invalid = |error: serde_json::Error| {
        let mut reply = Error::invalid_request();
        reply.message = error.to_string().into();
        (id, reply)
    };
    if message.get("method").is_some_and(Value::is_string) {
        serde_json::from_value(message).map(Incoming::Request).map_err(invalid)
    } else {
        serde_json::from_value(message).map(Incoming::Response).map_err(invalid)
    }
}

async fn send(outgoing: &mpsc::Sender<Outgoing>, response: Response, room: Option<OwnedSemaphorePermit>) {
    let body = encode(&response);
    // As values it takes ten times the room.
    drop(response);
    // Nobody writes any more when the server leaves.
    let _ = outgoing.send((body, room)).await;
}

fn encode(message: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("a message made of JSON values can be written")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, DuplexStream};
    use tokio::sync::Notify;
    use tower_lsp::jsonrpc::Result;
    use tower_lsp::lsp_types::{
        DidCloseTextDocumentParams, Hover, HoverParams, InitializeParams, InitializeResult,
    };

    use super::*;

    /// Panics at a hover, never ends `test/hang`, and panics when a document is closed.
    #[derive(Default)]
    struct Rude {
        hanging: Notify,
    }

    /// Large answers that were made.
    static LARGE: AtomicUsize = AtomicUsize::new(0);

    impl LanguageServer for Rude {
        async fn initialize(&self, _: InitializeParams) -> Result<InitializeResult> {
            Ok(InitializeResult::default())
        }

        async fn shutdown(&self) -> Result<()> {
            Ok(())
        }

        async fn hover(&self, _: HoverParams) -> Result<Option<Hover>> {
            panic!("no such word")
        }

        async fn did_close(&self, _: DidCloseTextDocumentParams) {
            panic!("never heard of it")
        }
    }

    impl Rude {
        async fn hang(&self) -> Result<()> {
            self.hanging.notified().await;
            Ok(())
        }

        async fn large(&self) -> Result<String> {
            room_for_answer().await;
            LARGE.fetch_add(1, Ordering::SeqCst);
            Ok("x".repeat(1 << 20))
        }

        async fn panic_late(&self) -> Result<()> {
            tokio::task::yield_now().await;
            panic!("too late")
        }
    }

    struct Wire {
        input: Option<DuplexStream>,
        output: FrameReader<DuplexStream>,
        lifecycle: Arc<Lifecycle>,
    }

    impl Wire {
        async fn new() -> Self {
            let (input, server_input) = tokio::io::duplex(1 << 16);
            let (server_output, output) = tokio::io::duplex(1 << 16);
            let lifecycle = Arc::<Lifecycle>::default();
            let service = LspService::build(|_| Rude::default())
                .custom_method("test/hang", Rude::hang)
                .custom_method("test/panicLate", Rude::panic_late)
                .custom_method("test/large", Rude::large)
                .finish();
            Transport::start(service, server_input, server_output, &lifecycle);
            let mut wire = Self { input: Some(input), output: FrameReader::new(output), lifecycle };
            wire.send(json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "capabilities": {} } }))
                .await;
            assert_eq!(wire.receive().await["id"], 0);
            wire
        }

        async fn send(&mut self, message: Value) {
            let body = message.to_string();
            let frame = format!("Content-Length: {}\r\n\r\n{body}", body.len());
            self.input.as_mut().unwrap().write_all(frame.as_bytes()).await.unwrap();
        }

        async fn request(&mut self, id: i64, method: &str) {
            let position =
                json!({ "textDocument": { "uri": "file:///a" }, "position": { "line": 0, "character": 0 } });
            let params = if method.starts_with("test/") { Value::Null } else { position };
            let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
            if !params.is_null() {
                message["params"] = params;
            }
            self.send(message).await;
        }

        async fn receive(&mut self) -> Value {
            let frame = tokio::time::timeout(Duration::from_secs(10), self.output.next()).await;
            match frame.expect("an answer in time").unwrap() {
                Some(Frame::Body(body)) => serde_json::from_slice(&body).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    // L3
    #[tokio::test]
    async fn a_panic_costs_one_reply() {
        let mut wire = Wire::new().await;
        for (id, method) in [(1, "textDocument/hover"), (2, "test/panicLate"), (3, "textDocument/hover")] {
            wire.request(id, method).await;
            let answer = wire.receive().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32603)));
        }
    }

    // L3
    #[tokio::test]
    async fn a_panic_of_a_notification_costs_nothing() {
        let mut wire = Wire::new().await;
        let closed = json!({ "textDocument": { "uri": "file:///a" } });
        wire.send(json!({ "jsonrpc": "2.0", "method": "textDocument/didClose", "params": closed })).await;
        wire.request(1, "textDocument/hover").await;
        assert_eq!(wire.receive().await["id"], 1);
    }

    #[tokio::test]
    async fn a_cancel_is_heard_while_many_handlers_wait() {
        let mut wire = Wire::new().await;
        for id in 1..=100 {
            wire.request(id, "test/hang").await;
        }
        wire.send(json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": 42 } })).await;
        let answer = wire.receive().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(42), &json!(-32800)));
    }

    #[tokio::test]
    async fn the_end_of_input_is_seen_while_a_handler_waits() {
        let mut wire = Wire::new().await;
        wire.request(1, "test/hang").await;
        wire.input = None;
        assert_eq!(wire.lifecycle.leaving().await, Reason::InputEnded);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_any_more_is_a_reason_to_leave() {
        let mut wire = Wire::new().await;
        wire.output = FrameReader::new(tokio::io::duplex(1).0);
        wire.request(1, "textDocument/hover").await;
        assert_eq!(wire.lifecycle.leaving().await, Reason::OutputClosed);
    }

    #[tokio::test]
    async fn what_waits_is_written_before_the_end() {
        let (input, server_input) = tokio::io::duplex(1 << 16);
        let (server_output, mut output) = tokio::io::duplex(1 << 16);
        let lifecycle = Arc::<Lifecycle>::default();
        let transport =
            Transport::start(LspService::new(|_| Rude::default()), server_input, server_output, &lifecycle);
        let mut wire =
            Wire { input: Some(input), output: FrameReader::new(tokio::io::duplex(1).0), lifecycle };
        wire.request(1, "textDocument/hover").await;
        wire.input = None;
        wire.lifecycle.leaving().await;
        transport.finish(Duration::from_secs(10)).await;
        let mut written = String::new();
        output.read_to_string(&mut written).await.unwrap();
        assert!(written.contains("\"id\":1"), "{written}");
    }

    // L5
    #[tokio::test(start_paused = true)]
    async fn large_answers_are_made_as_the_client_reads_them() {
        let mut wire = Wire::new().await;
        for id in 1..=50 {
            wire.request(id, "test/large").await;
        }
        // All else has come to rest by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(LARGE.load(Ordering::SeqCst), MOST_LARGE);
        let mut ids = Vec::new();
        for _ in 1..=50 {
            ids.push(wire.receive().await["id"].as_i64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (1..=50).collect::<Vec<_>>());
    }
}
