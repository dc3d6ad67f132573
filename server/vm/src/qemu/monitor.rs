//! QEMU's monitor (QMP).

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp::{self, Event, MigrationCapability, MigrationCapabilityStatus, MigrationStatus, RunState};
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use crate::line_limit::LineLimit;

/// QEMU greets at once when it has parsed its arguments; a loaded machine needs a while to get there.
const GREETING: Duration = Duration::from_secs(30);

type Writer = QmpStreamTokio<WriteHalf<UnixStream>>;

/// A connected monitor.
pub(crate) struct Monitor {
    service: QapiService<Writer>,
    reader: JoinHandle<()>,
}

/// What the monitor says by itself that a run must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MonitorEvent {
    /// The machine stopped running.
    Stopped,
    /// The machine is ending, for this reason (QEMU's `ShutdownCause`).
    Shutdown(String),
    /// The state was saved or loaded; whether that worked.
    Migrated(bool),
}

impl Monitor {
    /// Waits for the greeting; events go to the returned receiver.
    pub(crate) async fn connect(
        socket: UnixStream,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<MonitorEvent>)> {
        let (read, write) = tokio::io::split(socket);
        let negotiate = async {
            let stream = QmpStreamTokio::open_split(LineLimit::new(read), write).await?;
            stream.negotiate().await
        };
        let stream = tokio::time::timeout(GREETING, negotiate)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "QEMU's monitor did not answer"))??;
        let (service, mut events) = stream.into_parts();
        let (sender, receiver) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                let event = match event {
                    Event::STOP { .. } => MonitorEvent::Stopped,
                    Event::SHUTDOWN { data, .. } => MonitorEvent::Shutdown(
                        serde_json::to_value(data.reason)
                            .ok()
                            .and_then(|reason| Some(reason.as_str()?.to_owned()))
                            .unwrap_or_default(),
                    ),
                    Event::MIGRATION { data, .. } => match data.status {
                        MigrationStatus::completed => MonitorEvent::Migrated(true),
                        MigrationStatus::failed | MigrationStatus::cancelled => MonitorEvent::Migrated(false),
                        _ => continue,
                    },
                    _ => continue,
                };
                // Nobody listens any more: the run is over.
                let _ = sender.send(event);
            }
        });
        Ok((Self { service, reader }, receiver))
    }

    /// Whether QEMU says that the processor itself failed.
    pub(crate) async fn internal_error(&self) -> bool {
        let status = self.service.execute(qmp::query_status {}).await;
        status.is_ok_and(|status| status.status == RunState::internal_error)
    }

    /// Stops the guest and has QEMU send the state of its devices to a socket; memory in a shared file stays there.
    /// [`MonitorEvent::Migrated`] says when it is done.
    pub(crate) async fn save(&self, socket: &str) -> io::Result<()> {
        self.execute(qmp::stop {}).await?;
        self.leave_memory_alone().await?;
        let uri = Some(format!("unix:{socket}"));
        self.execute(qmp::migrate { channels: None, detach: None, resume: None, uri }).await
    }

    /// Has QEMU take the state of its devices from the socket `state`, which it has inherited. [`MonitorEvent::Migrated`] says
    /// when it has.
    pub(crate) async fn load(&self, state: RawFd) -> io::Result<()> {
        self.leave_memory_alone().await?;
        let uri = Some(format!("fd:{state}"));
        self.execute(qmp::migrate_incoming { channels: None, exit_on_error: None, uri }).await
    }

    /// Memory in a shared file stays in its file; only the devices travel.
    async fn leave_memory_alone(&self) -> io::Result<()> {
        let on = |capability| MigrationCapabilityStatus { capability, state: true };
        let capabilities = vec![on(MigrationCapability::events), on(MigrationCapability::x_ignore_shared)];
        self.execute(qmp::migrate_set_capabilities { capabilities }).await
    }

    /// Lets the guest run.
    pub(crate) async fn resume(&self) -> io::Result<()> {
        self.execute(qmp::cont {}).await
    }

    async fn execute<C: qmp::QmpCommand<Ok = qapi::Empty>>(&self, command: C) -> io::Result<()> {
        self.service.execute(command).await.map(drop).map_err(io::Error::other)
    }

    /// Asks QEMU to leave.
    pub(crate) async fn quit(&self) {
        // It may leave before it answers.
        let _ = self.service.execute(qmp::quit {}).await;
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
