//! The language server of vmtest: a shell around [`vmtest_ide`] and [`vmtest_vm`], for editors.
//!
//! [`stdio`] is `vmtest lsp`; [`serve`] is the same over any two streams.
#![forbid(unsafe_code)]

mod capabilities;
mod checker;
mod convert;
mod diagnostics;
mod documents;
mod environment;
mod framing;
#[cfg(test)]
mod fuzz;
mod handlers;
mod lifecycle;
mod outbox;
mod position;
mod protocol;
mod runs;
mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod trust;
mod uri;
mod warming;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use vmtest_vm::event::RunId;
use vmtest_vm::executor::Executor;
use vmtest_vm::logs::Logs;

use crate::lifecycle::{Lifecycle, Reason};
use crate::runs::MakeLogs;
use crate::server::Server;
use crate::transport::Transport;

/// Longest time that the machines of unfinished runs get to end by themselves; the kernel ends the rest with us.
const MACHINES_LIMIT: Duration = Duration::from_millis(1500);
/// Longest time that a client gets to take the last messages.
const WRITE_LIMIT: Duration = Duration::from_millis(300);

/// What a server is made with.
#[derive(Clone)]
pub struct Options {
    executor: Arc<dyn Executor>,
    cache: PathBuf,
    make_logs: MakeLogs,
    /// How long a text must stay as it is before the disk is looked at.
    pause: Duration,
}

impl Options {
    /// A server whose targets `executor` carries out; what can be made again is kept in `cache`.
    pub fn new(executor: Arc<dyn Executor>, cache: PathBuf) -> Self {
        let make_logs = Arc::new(|run_id: &RunId, targets| Logs::create_default(&run_id.0, targets));
        Self { executor, cache, make_logs, pause: Duration::from_millis(200) }
    }
}

/// Serves on standard input and output, until the client says goodbye, is gone, or a signal comes. Returns the status to
/// exit with; do that at once, with `std::process::exit`, because a read of standard input cannot be ended otherwise.
pub fn stdio(options: Options) -> std::io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Standard input, standard output, and looks at a disk that may hang.
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    let status = runtime.block_on(async {
        let lifecycle = Arc::new(Lifecycle::default());
        let signals = Arc::clone(&lifecycle);
        tokio::spawn(async move { signals.leave(Reason::Signal(lifecycle::signalled().await)) });
        serve_until(lifecycle, tokio::io::stdin(), tokio::io::stdout(), options).await
    });
    runtime.shutdown_background();
    Ok(status)
}

/// Serves one client; returns the status to exit with.
pub async fn serve(
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    options: Options,
) -> u8 {
    serve_until(Arc::default(), input, output, options).await
}

async fn serve_until(
    lifecycle: Arc<Lifecycle>,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    options: Options,
) -> u8 {
    let (service, socket) = Server::service(options, Arc::clone(&lifecycle));
    let server = service.inner().clone();
    let transport = Transport::start((service, socket), input, output, &lifecycle);
    let reason = lifecycle.leaving().await;
    tracing::info!(?reason, "leaving");
    let (runs, warming) =
        tokio::join!(server.runs.shutdown(MACHINES_LIMIT), server.warming.shutdown(MACHINES_LIMIT));
    if !runs || !warming {
        tracing::warn!("not every machine has ended by itself");
    }
    transport.finish(WRITE_LIMIT).await;
    lifecycle.exit_status(reason)
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}
