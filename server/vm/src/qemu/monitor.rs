//! QEMU's monitor (QMP).

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp::{
    self, BlockErrorAction, Event, MigrationCapability, MigrationCapabilityStatus, MigrationStatus, RunState,
};
use serde::{Deserialize, Serialize};
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use crate::clock::within;
use crate::line_limit::LineLimit;

/// QEMU greets at once when it has parsed its arguments; a loaded machine needs a while to get there.
const GREETING: Duration = Duration::from_secs(30);
/// It does what it is told within milliseconds; on a host with a hundred others it takes longer.
const ANSWER: Duration = Duration::from_secs(30);
/// A question whose answer a run can do without.
const HINT: Duration = Duration::from_secs(5);

type Writer = QmpStreamTokio<WriteHalf<UnixStream>>;

/// A connected monitor.
pub(crate) struct Monitor {
    service: QapiService<Writer>,
    reader: JoinHandle<()>,
    /// Why it does not listen any more.
    broken: Arc<OnceLock<String>>,
}

/// What the monitor says by itself that a run must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MonitorEvent {
    /// The machine stopped running.
    Stopped,
    /// The guest restarted.
    Restarted,
    /// QEMU cannot write what the guest writes to its disk, for this reason, and has stopped the guest.
    DiskFailed(String),
    /// The machine is ending, for this reason (QEMU's `ShutdownCause`).
    Shutdown(String),
    /// The state was saved or loaded; whether that worked.
    Migrated(bool),
}

/// Where the memory of a guest is that was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryIs {
    /// In a shared file; only the devices travel.
    InFile,
    /// Among the devices.
    InState,
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
        let stream = within(GREETING, negotiate)
            .await
            .ok_or_else(did_not_answer)?
            .map_err(|error| nonsense(&error))?;
        let (service, mut events) = stream.into_parts();
        let (sender, receiver) = mpsc::unbounded_channel();
        let broken = Arc::new(OnceLock::new());
        let why = broken.clone();
        let reader = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    // Said before those who wait for an answer hear that there will be none.
                    Err(error) => {
                        let _ = why.set(nonsense(&error).to_string());
                        break;
                    }
                };
                let event = match event {
                    Event::STOP { .. } => MonitorEvent::Stopped,
                    Event::RESET { data, .. } if data.guest => MonitorEvent::Restarted,
                    Event::BLOCK_IO_ERROR { data, .. } if data.action == BlockErrorAction::stop => {
                        MonitorEvent::DiskFailed(data.reason)
                    }
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
        Ok((Self { service, reader, broken }, receiver))
    }

    /// Whether QEMU says that the processor itself failed.
    pub(crate) async fn internal_error(&self) -> bool {
        let status = within(HINT, self.execute(qmp::query_status {})).await;
        matches!(status, Some(Ok(status)) if status.status == RunState::internal_error)
    }

    /// How often the guest has read and written its disks; a number that changes is a sign of life.
    pub(crate) async fn disk_operations(&self) -> io::Result<i64> {
        let disks = self.execute(QueryDisks {});
        let disks = within(HINT, disks).await.ok_or_else(did_not_answer)??;
        let count = |disk: &Disk| disk.stats.rd_operations.wrapping_add(disk.stats.wr_operations);
        Ok(disks.iter().map(count).fold(0, i64::wrapping_add))
    }

    /// Stops the guest and has QEMU send its state to a socket. Memory that is `in_file` stays there, if QEMU can do that; returns
    /// where it is. [`MonitorEvent::Migrated`] says when it is done.
    pub(crate) async fn save(&self, socket: &str, in_file: bool) -> io::Result<MemoryIs> {
        self.execute(qmp::stop {}).await?;
        self.switch_on(MigrationCapability::events).await?;
        let memory = if in_file && self.switch_on(MigrationCapability::x_ignore_shared).await.is_ok() {
            MemoryIs::InFile
        } else {
            let max_bandwidth = Some(i64::MAX as u64);
            let unlimited = qmp::MigrateSetParameters { max_bandwidth, ..Default::default() };
            self.execute(qmp::migrate_set_parameters(unlimited)).await?;
            MemoryIs::InState
        };
        let uri = Some(format!("unix:{socket}"));
        self.execute(qmp::migrate { channels: None, detach: None, resume: None, uri }).await?;
        Ok(memory)
    }

    /// Has QEMU take a guest's state from the socket `state`, which it has inherited. [`MonitorEvent::Migrated`] says when it has.
    pub(crate) async fn load(&self, state: RawFd, memory: MemoryIs) -> io::Result<()> {
        self.switch_on(MigrationCapability::events).await?;
        if memory == MemoryIs::InFile {
            self.switch_on(MigrationCapability::x_ignore_shared).await?;
        }
        let uri = Some(format!("fd:{state}"));
        self.execute(qmp::migrate_incoming { channels: None, exit_on_error: None, uri }).await.map(drop)
    }

    async fn switch_on(&self, capability: MigrationCapability) -> io::Result<()> {
        let capabilities = vec![MigrationCapabilityStatus { capability, state: true }];
        self.execute(qmp::migrate_set_capabilities { capabilities }).await.map(drop)
    }

    /// Gives the guest a share that the daemon behind the connection `chardev` serves, at this place on its bus.
    pub(crate) async fn plug_share(&self, tag: &str, chardev: String, address: String) -> io::Result<()> {
        let text = |name: &str, value: String| (name.to_owned(), qapi::Any::String(value));
        let device = qmp::device_add {
            driver: "vhost-user-fs-pci".to_owned(),
            bus: Some("pci.0".to_owned()),
            id: Some(tag.to_owned()),
            arguments: [
                text("chardev", chardev),
                text("tag", tag.to_owned()),
                text("addr", address),
                ("multifunction".to_owned(), true.into()),
            ]
            .into_iter()
            .collect(),
        };
        self.execute(device).await.map(drop)
    }

    /// Lets the guest run.
    pub(crate) async fn resume(&self) -> io::Result<()> {
        self.execute(qmp::cont {}).await.map(drop)
    }

    /// A command that nobody waits for any more is carried out all the same, and the next one waits for its answer: QEMU takes
    /// one at a time, and `qapi` panics where there are two.
    async fn execute<C: qmp::QmpCommand + Send + 'static>(&self, command: C) -> io::Result<C::Ok>
    where
        C::Ok: Send,
    {
        let answer = within(ANSWER, tokio::spawn(self.service.execute(command)));
        answer.await.ok_or_else(did_not_answer)??.map_err(|error| match self.broken.get() {
            Some(why) => io::Error::other(why.clone()),
            None => io::Error::other(error),
        })
    }

    /// Asks QEMU to leave.
    pub(crate) async fn quit(&self) {
        // It may leave before it answers.
        let _ = self.execute(qmp::quit {}).await;
    }
}

fn did_not_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "QEMU's monitor did not answer")
}

/// It did not keep to the protocol.
fn nonsense(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("QEMU's monitor makes no sense: {error}"))
}

/// `query-blockstats`, of which `qapi` wants more than every QEMU has to tell.
#[derive(Debug, Serialize)]
struct QueryDisks {}

#[derive(Debug, Deserialize)]
struct Disk {
    stats: DiskStats,
}

#[derive(Debug, Deserialize)]
struct DiskStats {
    rd_operations: i64,
    wr_operations: i64,
}

impl qapi::Command for QueryDisks {
    const NAME: &'static str = "query-blockstats";
    const ALLOW_OOB: bool = false;
    type Ok = Vec<Disk>;
}

impl qmp::QmpCommand for QueryDisks {}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;

    const GREETED: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}"#;

    /// A monitor that says these lines, whatever it is asked, and then nothing; it stays there.
    async fn scripted(lines: &[&str]) -> (io::Result<Monitor>, UnixStream) {
        let (ours, mut qemus) = UnixStream::pair().unwrap();
        for line in lines {
            qemus.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }
        (Monitor::connect(ours).await.map(|(monitor, _)| monitor), qemus)
    }

    // Q2
    #[tokio::test(start_paused = true)]
    async fn a_monitor_that_says_nothing_is_given_up() {
        let started = tokio::time::Instant::now();
        let (connected, _qemu) = scripted(&[]).await;
        assert_eq!(connected.err().unwrap().to_string(), "QEMU's monitor did not answer");
        assert_eq!(started.elapsed(), GREETING);
    }

    // Q2
    #[tokio::test(start_paused = true)]
    async fn a_command_that_is_not_answered_is_given_up() {
        let (connected, _qemu) = scripted(&[GREETED, r#"{"return": {}}"#]).await;
        let monitor = connected.unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(monitor.resume().await.unwrap_err().to_string(), "QEMU's monitor did not answer");
        assert_eq!(started.elapsed(), ANSWER);
    }

    // Q2
    #[tokio::test(start_paused = true)]
    async fn what_can_be_done_without_is_not_waited_for_long() {
        let (connected, _qemu) = scripted(&[GREETED, r#"{"return": {}}"#]).await;
        let started = tokio::time::Instant::now();
        assert!(!connected.unwrap().internal_error().await);
        assert_eq!(started.elapsed(), HINT);
    }

    // H3
    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_count_for_what_is_waited_for() {
        let (ours, mut qemus) = UnixStream::pair().unwrap();
        let qemu = async {
            // To the timers a stop is a jump of the clock.
            tokio::time::advance(10 * GREETING).await;
            qemus.write_all(format!("{GREETED}\n{{\"return\": {{}}}}\n").as_bytes()).await.unwrap();
        };
        let (connected, ()) = tokio::join!(Monitor::connect(ours), qemu);
        assert!(connected.is_ok());
    }

    // Q2
    #[tokio::test]
    async fn an_answer_that_makes_no_sense_is_said_to_whom_it_concerns() {
        for (answer, said) in [
            (r#"{"return": {}, "id": 4711}"#, "4711"),
            ("HTTP/1.1 400 Bad Request", "expected value"),
            (r#"{"return": "#, "EOF while parsing"),
        ] {
            let (connected, mut qemu) = scripted(&[GREETED, r#"{"return": {}}"#]).await;
            let monitor = connected.unwrap();
            qemu.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            let error = monitor.resume().await.unwrap_err().to_string();
            assert!(error.starts_with("QEMU's monitor makes no sense: ") && error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_that_was_given_up_does_not_get_in_the_way_of_the_next() {
        let (ours, qemus) = UnixStream::pair().unwrap();
        let (read, mut write) = qemus.into_split();
        let mut commands = BufReader::new(read).lines();
        let (taken, given_up) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let qemu = async {
            let mut answer =
                async |text: &str| write.write_all(format!("{text}\n").as_bytes()).await.unwrap();
            let mut command = async |name: &str| {
                let line = commands.next_line().await.unwrap().unwrap();
                assert!(line.contains(&format!("\"{name}\"")), "{line}");
            };
            answer(GREETED).await;
            command("qmp_capabilities").await;
            answer(r#"{"return": {}}"#).await;
            command("cont").await;
            taken.notify_one();
            given_up.notified().await;
            answer(r#"{"return": {}}"#).await;
            command("query-status").await;
            answer(r#"{"return": {"running": false, "singlestep": false, "status": "internal-error"}}"#)
                .await;
        };
        let vmtest = async {
            let (monitor, _events) = Monitor::connect(ours).await.unwrap();
            tokio::select! {
                _ = monitor.resume() => panic!("it was not answered"),
                () = taken.notified() => {}
            }
            given_up.notify_one();
            monitor.internal_error().await
        };
        let ((), internal_error) = tokio::join!(qemu, vmtest);
        assert!(internal_error);
    }
}

#[cfg(test)]
#[path = "monitor_fuzz.rs"]
mod fuzz;
