//! The guest agent (QGA): knows that the guest is up, hands the job over to our guest init, and runs programs in a guest that has
//! none.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qapi::futures::{QapiService, QgaStreamTokio};
use qapi::qga::{self, GuestExecCaptureOutput, GuestExecStatus};
use qapi::{ErrorClass, ExecuteError};
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use vmtest_guest::wire::{JOB_FILE, Job};

use crate::line_limit::LineLimit;

/// The agent decodes a piece at a time; this is well under its own limit.
const PIECE: usize = 48 * 1024;

/// A program's end is asked for, soon after its start more often than later.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(200);

/// A connection to the agent.
pub(crate) struct AgentClient {
    service: QapiService<QgaStreamTokio<WriteHalf<UnixStream>>>,
    reader: JoinHandle<()>,
    /// Why it is not listened to any more.
    broken: Arc<OnceLock<String>>,
}

impl AgentClient {
    /// Uses `socket`; the agent need not run yet.
    pub(crate) fn new(socket: UnixStream) -> Self {
        let (read, write) = tokio::io::split(socket);
        let (service, mut answers) = QgaStreamTokio::open_split(LineLimit::new(read), write).into_parts();
        let broken = Arc::new(OnceLock::new());
        let why = broken.clone();
        let reader = tokio::spawn(async move {
            // Said before those who wait for an answer hear that there will be none.
            if let Err(error) = (&mut answers).await {
                let _ = why.set(format!("the guest agent makes no sense: {error}"));
            }
        });
        Self { service, reader, broken }
    }

    /// Waits until the agent answers. The question waits in the port until the agent opens it, so it is asked once.
    pub(crate) async fn answer(&self) -> io::Result<()> {
        // The connection is new: nothing can be left in it from before, and the plain sync is enough.
        let id = i32::try_from(std::process::id() & 0x7fff_ffff).unwrap_or(1);
        self.service.guest_sync(id).await.map_err(|error| self.explained(error))
    }

    /// Writes the job where the guest init waits for it.
    pub(crate) async fn hand_over(&self, job: &Job) -> io::Result<()> {
        let open = qga::guest_file_open { path: JOB_FILE.to_owned(), mode: Some("w".to_owned()) };
        let handle = self.service.execute(open).await.map_err(|error| self.explained(error))?;
        for piece in job.to_bytes().chunks(PIECE) {
            let write = qga::guest_file_write { handle, buf_b64: piece.to_vec(), count: None };
            let written = self.service.execute(write).await.map_err(|error| self.explained(error))?;
            if usize::try_from(written.count) != Ok(piece.len()) {
                return Err(io::Error::other("the guest has no room for the job"));
            }
        }
        let close = qga::guest_file_close { handle };
        self.service.execute(close).await.map_err(|error| self.explained(error)).map(drop)
    }

    /// The error itself, or why the connection broke.
    fn explained(&self, error: impl Into<io::Error>) -> io::Error {
        self.broken.get().map_or_else(|| error.into(), |why| io::Error::other(why.clone()))
    }
}

/// Why the agent did not run something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// It answered so.
    #[error("{0}")]
    Refused(String),
    /// It is not allowed to run programs.
    #[error("the image's guest agent does not run programs: {0}")]
    Forbidden(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] io::Error),
}

/// What `sh` is to run in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    pub(crate) arguments: Vec<String>,
}

impl AgentClient {
    /// Starts a script; with `keeps_output` the agent collects what it writes, up to 16 MiB. Returns its number.
    pub(crate) async fn start(&self, script: Script, keeps_output: bool) -> Result<i64, ExecError> {
        let words = ["-c", script.text, "vmtest"].map(str::to_owned).into_iter().chain(script.arguments);
        let exec = qga::guest_exec {
            path: "/bin/sh".to_owned(),
            arg: Some(words.collect()),
            env: None,
            input_data: None,
            capture_output: Some(GuestExecCaptureOutput::flag(keeps_output)),
        };
        Ok(self.execute(exec).await?.pid)
    }

    /// Waits for the end of what was started.
    pub(crate) async fn wait(&self, pid: i64) -> Result<GuestExecStatus, ExecError> {
        let mut pause = FIRST_LOOK;
        loop {
            let status = self.execute(qga::guest_exec_status { pid }).await?;
            if status.exited {
                return Ok(status);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Runs a script to its end, and returns what it wrote to standard output; the error is what it wrote to standard error.
    pub(crate) async fn run(&self, script: Script) -> Result<String, ExecError> {
        let pid = self.start(script, true).await?;
        let status = self.wait(pid).await?;
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        match (status.exitcode, status.signal) {
            (Some(0), _) => Ok(text(status.out_data)),
            (code, signal) => {
                let said = text(status.err_data).trim().to_owned();
                let ended = || format!("it ended with status {code:?}, signal {signal:?}");
                Err(ExecError::Refused(if said.is_empty() { ended() } else { said }))
            }
        }
    }

    /// Asks whether it is there.
    pub(crate) async fn ping(&self) -> Result<(), ExecError> {
        self.execute(qga::guest_ping {}).await.map(drop)
    }

    /// A question that nobody waits for any more is asked all the same, and the next waits for its answer.
    async fn execute<C: qga::QgaCommand + Send + 'static>(&self, command: C) -> Result<C::Ok, ExecError>
    where
        C::Ok: Send,
    {
        let answer = tokio::spawn(self.service.execute(command)).await.map_err(io::Error::from)?;
        answer.map_err(|error| match error {
            ExecuteError::Qapi(error) if matches!(error.class, ErrorClass::CommandNotFound) => {
                ExecError::Forbidden(error.desc)
            }
            ExecuteError::Qapi(error) => ExecError::Refused(error.desc),
            ExecuteError::Io(error) => ExecError::Broken(self.explained(error)),
        })
    }
}

impl Drop for AgentClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[cfg(test)]
#[path = "agent_client_fuzz.rs"]
mod fuzz;
