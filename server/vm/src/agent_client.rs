//! The guest agent (QGA): knows that the guest is up, and hands the job over.

use std::io;

use qapi::futures::{QapiService, QgaStreamTokio};
use qapi::qga;
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use vmtest_guest::wire::{JOB_FILE, Job};

use crate::line_limit::LineLimit;

/// The agent decodes a piece at a time; this is well under its own limit.
const PIECE: usize = 48 * 1024;

/// A connection to the agent.
pub(crate) struct AgentClient {
    service: QapiService<QgaStreamTokio<WriteHalf<UnixStream>>>,
    reader: JoinHandle<()>,
}

impl AgentClient {
    /// Uses `socket`; the agent need not run yet.
    pub(crate) fn new(socket: UnixStream) -> Self {
        let (read, write) = tokio::io::split(socket);
        let (service, reader) = QgaStreamTokio::open_split(LineLimit::new(read), write).spawn_tokio();
        Self { service, reader }
    }

    /// Waits until the agent answers. The question waits in the port until the agent opens it, so it is asked once.
    pub(crate) async fn answer(&self) -> io::Result<()> {
        // The connection is new: nothing can be left in it from before, and the plain sync is enough.
        let id = i32::try_from(std::process::id() & 0x7fff_ffff).unwrap_or(1);
        self.service.guest_sync(id).await.map_err(io::Error::other)
    }

    /// Writes the job where the guest init waits for it.
    pub(crate) async fn hand_over(&self, job: &Job) -> io::Result<()> {
        let open = qga::guest_file_open { path: JOB_FILE.to_owned(), mode: Some("w".to_owned()) };
        let handle = self.service.execute(open).await.map_err(io::Error::other)?;
        for piece in job.to_bytes().chunks(PIECE) {
            let write = qga::guest_file_write { handle, buf_b64: piece.to_vec(), count: None };
            let written = self.service.execute(write).await.map_err(io::Error::other)?;
            if usize::try_from(written.count) != Ok(piece.len()) {
                return Err(io::Error::other("the guest has no room for the job"));
            }
        }
        let close = qga::guest_file_close { handle };
        self.service.execute(close).await.map_err(io::Error::other).map(drop)
    }
}

impl Drop for AgentClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
