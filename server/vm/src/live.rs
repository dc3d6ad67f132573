//! A running virtual machine: its process and everything that listens to it.

use std::convert::Infallible;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::agent_client::AgentClient;
use crate::clock::within;
use crate::console::{Alarms, BugKind, Console, ConsoleEvent, Heard};
use crate::decide::Report;
use crate::event::{EventKind, OutputStream};
use crate::executor::WindowSize;
use crate::image::{self, Guest};
use crate::prepare::{Prepared, PreparedSystem};
use crate::qemu::machine::{
    BootDescriptors, Descriptors, Machine, Memory, MemoryFile, file_server_id, plug_order,
};
use crate::qemu::monitor::{MemoryIs, Monitor, MonitorEvent};
use crate::qemu::process::{Priority, Process, Start};
use crate::snapshot::{Claim, SavedState, Template};
use crate::stream::{self, Control, PlainPhase, Progress};
use crate::typing::Keyboard;
use crate::virtiofsd::{FileServer, Virtiofsd};

/// How much of the console explains a failure; the whole of it is in the log.
const CONSOLE_LINES: usize = 25;
/// How long after one of its connections QEMU is gone, too.
const GOING: Duration = Duration::from_secs(2);
/// QEMU needs milliseconds to save or load a state.
const MIGRATION: Duration = Duration::from_secs(20);

/// A machine that was started. [`Live::end`] must be called to learn what was seen; dropping it kills it.
pub(crate) struct Live {
    pub(crate) process: Process,
    pub(crate) agent: AgentClient,
    /// What the guest init says.
    pub(crate) control: mpsc::UnboundedReceiver<Control>,
    /// Changes at every sign of life.
    pub(crate) progress: watch::Receiver<u64>,
    /// What the console has shown so far that ends a boot.
    pub(crate) alarms: watch::Receiver<Alarms>,
    /// Where what the user types can go.
    pub(crate) inputs: Option<Inputs>,
    /// Of an image: what it takes to run the command in its guest.
    pub(crate) guest: Option<Guest>,
    /// One for each share that needs a daemon. One that was not started is told of when the shares are plugged.
    file_servers: io::Result<Vec<FileServer>>,
    console: Arc<Mutex<Console>>,
    console_task: JoinHandle<()>,
    stream_tasks: Vec<JoinHandle<()>>,
    /// What those tasks read, to end it.
    read_ends: Vec<StdUnixStream>,
    monitor_socket: Option<UnixStream>,
    monitor: Option<Monitor>,
    /// Why QEMU leaves, as it says.
    pub(crate) shutdown: Option<String>,
    /// Whether something of the user's may have run in the guest.
    pub(crate) may_have_run: bool,
    parked: Option<Parked>,
}

/// Our ends of a guest's inputs.
pub(crate) enum Inputs {
    /// Our guest init's.
    Init(UnixStream),
    /// An image's.
    Image { port: UnixStream, line: UnixStream, sizes: mpsc::UnboundedSender<WindowSize> },
}

impl Inputs {
    /// The one that fits how the user is attached.
    pub(crate) fn keyboard(self, has_window: bool) -> Keyboard {
        match self {
            Self::Init(input) => Keyboard::Init(input),
            Self::Image { line, sizes, .. } if has_window => Keyboard::Line(line, sizes),
            Self::Image { port, .. } => Keyboard::Port(port),
        }
    }
}

/// What connects the command to the run.
struct Streams {
    /// QEMU's ends.
    descriptors: BootDescriptors,
    /// Kept open until QEMU has them.
    ends: Vec<OwnedFd>,
    control: mpsc::UnboundedReceiver<Control>,
    inputs: Inputs,
    guest: Option<Guest>,
    tasks: Vec<JoinHandle<()>>,
    /// What those tasks read.
    read_ends: Vec<StdUnixStream>,
}

impl Streams {
    /// Opens them, and starts to listen. Output goes to `events`.
    fn open(
        system: &PreparedSystem,
        events: &mpsc::Sender<EventKind>,
        progress: &Progress,
    ) -> io::Result<Self> {
        let (control_sender, control) = mpsc::unbounded_channel();
        match system {
            PreparedSystem::Kernel(kernel) => {
                let (stream, stream_end) = socket_pair()?;
                let (input, input_end) = socket_pair()?;
                let descriptors = BootDescriptors::Kernel {
                    initramfs: kernel.initramfs.as_raw_fd(),
                    stream: stream_end.as_raw_fd(),
                    input: input_end.as_raw_fd(),
                };
                let read_ends = vec![second_handle(&stream)?];
                let pump = stream::pump(stream, events.clone(), control_sender, progress.clone());
                Ok(Self {
                    descriptors,
                    ends: vec![stream_end.into(), input_end.into()],
                    control,
                    inputs: Inputs::Init(input),
                    guest: None,
                    tasks: vec![tokio::spawn(pump)],
                    read_ends,
                })
            }
            PreparedSystem::Image(image) => {
                let overlay = image.disk.overlay().map_err(|error| no_overlay(&error))?;
                let (stdout, stdout_end) = socket_pair()?;
                let (stderr, stderr_end) = socket_pair()?;
                let (port, port_end) = socket_pair()?;
                let (line, line_end) = socket_pair()?;
                // Both directions of the line, each with an owner of its own.
                let line = line.into_std()?;
                let (shown, typed) = (line.try_clone()?, line);
                let (shown, typed) = (UnixStream::from_std(shown)?, UnixStream::from_std(typed)?);
                let descriptors = BootDescriptors::Image {
                    image: image.disk.file.as_raw_fd(),
                    overlay: overlay.file.as_raw_fd(),
                    stdout: stdout_end.as_raw_fd(),
                    stderr: stderr_end.as_raw_fd(),
                    input: port_end.as_raw_fd(),
                    terminal: line_end.as_raw_fd(),
                };
                let read_ends = [&stdout, &stderr, &shown].map(second_handle);
                let phase = watch::Sender::new(PlainPhase::Before);
                let (reading, emptied) = mpsc::channel::<Infallible>(1);
                let outputs = [
                    (stdout, OutputStream::Stdout),
                    (stderr, OutputStream::Stderr),
                    (shown, OutputStream::Stdout),
                ];
                let tasks = outputs.map(|(port, stream)| {
                    let pump = stream::pump_plain(port, stream, events.clone(), phase.subscribe());
                    let reading = reading.clone();
                    tokio::spawn(async move {
                        pump.await;
                        drop(reading);
                    })
                });
                let (sizes_sender, sizes) = mpsc::unbounded_channel();
                let guest = Guest { control: control_sender, events: events.clone(), phase, emptied, sizes };
                Ok(Self {
                    descriptors,
                    ends: vec![
                        overlay.file.into(),
                        stdout_end.into(),
                        stderr_end.into(),
                        port_end.into(),
                        line_end.into(),
                    ],
                    control,
                    inputs: Inputs::Image { port, line: typed, sizes: sizes_sender },
                    guest: Some(guest),
                    tasks: tasks.into(),
                    read_ends: read_ends.into_iter().collect::<io::Result<_>>()?,
                })
            }
        }
    }
}

/// The error names the folder, because the user has not chosen it.
fn no_overlay(error: &io::Error) -> io::Error {
    let folder = image::place_for_overlays();
    let what =
        format!("no file can be made in {} for what the guest writes to its disk: {error}", folder.display());
    io::Error::new(error.kind(), what)
}

/// How a machine begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beginning<'a> {
    /// Its kernel boots.
    Boot,
    /// Its kernel boots, and [`Live::park`] will be asked for.
    BootToBeKept(&'a Claim),
    /// It goes on where a guest was parked.
    Resume(&'a Template),
}

/// Carries the state of a guest that was parked.
#[derive(Debug)]
struct Parked {
    state: UnixStream,
    /// The other end's number in QEMU.
    state_in_qemu: RawFd,
}

impl Live {
    /// Starts QEMU and the tasks that listen to the guest. Console lines and output go to `events`.
    pub(crate) async fn start(
        prepared: &Prepared,
        machine: &Machine,
        beginning: Beginning<'_>,
        priority: Priority,
        events: &mpsc::Sender<EventKind>,
    ) -> io::Result<Self> {
        let (console, console_end) = socket_pair()?;
        let (monitor, monitor_end) = socket_pair()?;
        let (agent, agent_end) = socket_pair()?;
        let progress = watch::Sender::new(0);
        let streams = Streams::open(&prepared.system, events, &progress)?;
        let mut state_end = None;
        let mut own_memory = None;
        let (parked, memory) = match beginning {
            Beginning::Boot => (None, Memory::Own),
            Beginning::BootToBeKept(claim) => {
                let folder = claim.meeting_place.folder().as_raw_fd();
                (None, Memory::Kept { file: claim.memory().map(AsRawFd::as_raw_fd), folder })
            }
            Beginning::Resume(template) => {
                let (state, end) = socket_pair()?;
                if prepared.virtiofsd.is_some() && machine.served().next().is_some() {
                    own_memory = tokio::task::block_in_place(|| template.copy_memory())?;
                }
                let copy = own_memory.as_ref().map(|copy| MemoryFile::Copy(copy.as_raw_fd()));
                let file = || template.memory.as_ref().map(|file| MemoryFile::Template(file.as_raw_fd()));
                let placed = Memory::Resumed { file: copy.or_else(file), state: end.as_raw_fd() };
                let state_in_qemu = end.as_raw_fd();
                state_end = Some(end);
                (Some(Parked { state, state_in_qemu }), placed)
            }
        };
        let virtiofsd = prepared.virtiofsd.as_ref();
        // A guest that is to be kept is gone before it is to see a share.
        let virtiofsd = virtiofsd.filter(|_| !matches!(beginning, Beginning::BootToBeKept(_)));
        let (file_servers, file_server_ends) = match serve(virtiofsd, machine, priority).await {
            Ok(started) => {
                let (servers, ends) = started.into_iter().unzip();
                (Ok(servers), ends)
            }
            Err(error) => (Err(error), Vec::new()),
        };
        let descriptors = Descriptors {
            boot: streams.descriptors,
            console: console_end.as_raw_fd(),
            monitor: monitor_end.as_raw_fd(),
            agent: agent_end.as_raw_fd(),
            memory,
            file_servers: file_server_ends.iter().map(AsRawFd::as_raw_fd).collect(),
        };
        let arguments = machine.arguments(&descriptors).words().to_vec();
        tracing::debug!(qemu = ?prepared.qemu, ?arguments, "starting QEMU");
        let start = Start {
            program: prepared.qemu.clone(),
            arguments,
            descriptors: descriptors.all(),
            mounts: None,
            priority,
        };
        let process = Process::start(start).await?;
        // QEMU has its own copies; ours would keep the streams open after its end.
        drop((console_end, monitor_end, agent_end, streams.ends, state_end));
        drop((own_memory, file_server_ends));

        let mut read_ends = streams.read_ends;
        read_ends.push(second_handle(&console)?);
        let alarms = watch::Sender::new(Alarms::default());
        let shared_console = Arc::new(Mutex::new(match prepared.system {
            PreparedSystem::Kernel(_) => Console::new(),
            PreparedSystem::Image(_) => Console::of_image(),
        }));
        let progress_receiver = progress.subscribe();
        let alarms_receiver = alarms.subscribe();
        let console_task =
            tokio::spawn(listen(console, shared_console.clone(), events.clone(), alarms, progress));
        Ok(Self {
            process,
            agent: AgentClient::new(agent),
            control: streams.control,
            progress: progress_receiver,
            alarms: alarms_receiver,
            inputs: Some(streams.inputs),
            guest: streams.guest,
            file_servers,
            console: shared_console,
            console_task,
            stream_tasks: streams.tasks,
            read_ends,
            monitor_socket: Some(monitor),
            monitor: None,
            shutdown: None,
            may_have_run: false,
            parked,
        })
    }

    /// Stops a guest that booted to be kept, for good: its state, where it was to be had, and all that was seen.
    /// Its ports have been read to their ends, and nothing is on its way to it: what is in them would come out of every guest
    /// that is resumed.
    pub(crate) async fn park(
        mut self,
        claim: &Claim,
        mut events: mpsc::UnboundedReceiver<MonitorEvent>,
    ) -> (Result<SavedState, ParkError>, Report) {
        let mut state = Vec::new();
        let save = async {
            let monitor = self.monitor.as_ref().ok_or_else(|| io::Error::other("there is no monitor"))?;
            let meeting = claim.meeting_place.open()?;
            let saved = monitor.save(meeting.path_in_child(), claim.memory().is_some()).await;
            let memory = saved.map_err(ParkError::Refused)?;
            let read = async {
                meeting.accept().await?.read_to_end(&mut state).await?;
                Ok::<_, ParkError>(())
            };
            let migrated = async { migrated(&mut events).await.map_err(ParkError::Refused) };
            tokio::try_join!(read, migrated)?;
            Ok(memory)
        };
        let saved = within(MIGRATION, save).await;
        let saved = saved.unwrap_or_else(|| Err(ParkError::Failed(io::ErrorKind::TimedOut.into())));
        // Whatever it would still do with the ports would be seen in its memory.
        self.process.kill().await;
        (saved.map(|memory| SavedState { bytes: state, memory }), self.report(Some(events)).await)
    }

    /// Fills a machine that was started to be resumed, and lets its guest go on.
    pub(crate) async fn unpark(
        &mut self,
        template: &Template,
        events: &mut mpsc::UnboundedReceiver<MonitorEvent>,
    ) -> io::Result<()> {
        let (Some(Parked { mut state, state_in_qemu }), Some(monitor)) = (self.parked.take(), &self.monitor)
        else {
            return Err(io::Error::other("the machine was not started to be resumed"));
        };
        let memory = if template.memory.is_some() { MemoryIs::InFile } else { MemoryIs::InState };
        monitor.load(state_in_qemu, memory).await?;
        state.write_all(&template.state).await?;
        state.shutdown().await?;
        migrated(events).await?;
        monitor.resume().await
    }

    /// Gives the guest the shares that are served by daemons; it will look for them when it has its job.
    pub(crate) async fn plug_shares(&mut self) -> Result<(), String> {
        let Some(monitor) = &self.monitor else { return Err("there is no monitor".to_owned()) };
        let servers = self.file_servers.as_mut().map_err(|error| format!("it cannot be started: {error}"))?;
        for (number, address) in plug_order(servers.len()) {
            let tag = &servers[number].tag;
            if let Err(error) = monitor.plug_share(tag, file_server_id(number), address).await {
                let server = servers.swap_remove(number);
                let said = server.end().await;
                return Err(said.first().cloned().unwrap_or_else(|| error.to_string()));
            }
        }
        Ok(())
    }

    /// Waits for the monitor's greeting; its events go to the returned receiver.
    pub(crate) async fn connect_monitor(&mut self) -> io::Result<mpsc::UnboundedReceiver<MonitorEvent>> {
        let socket =
            self.monitor_socket.take().ok_or_else(|| io::Error::other("the monitor is connected already"))?;
        let (monitor, events) = Monitor::connect(socket).await?;
        self.monitor = Some(monitor);
        Ok(events)
    }

    /// Whether QEMU says that the processor itself failed.
    pub(crate) async fn accelerator_failed(&self) -> bool {
        match &self.monitor {
            Some(monitor) => monitor.internal_error().await,
            None => false,
        }
    }

    /// How often the guest has used its disks; none where that cannot be known.
    pub(crate) async fn disk_operations(&self) -> Option<i64> {
        let operations = self.monitor.as_ref()?.disk_operations().await;
        operations.inspect_err(|error| tracing::warn!("QEMU does not count disk operations: {error}")).ok()
    }

    /// Ends the machine if it still runs, waits until nothing of it is left, and tells what was seen.
    pub(crate) async fn end(
        mut self,
        monitor_events: Option<mpsc::UnboundedReceiver<MonitorEvent>>,
    ) -> Report {
        let monitor = self.monitor.take();
        let quit = async {
            if let Some(monitor) = &monitor {
                monitor.quit().await;
            }
        };
        self.process.end(quit).await;
        self.report(monitor_events).await
    }

    /// What was seen, when QEMU is gone.
    async fn report(mut self, monitor_events: Option<mpsc::UnboundedReceiver<MonitorEvent>>) -> Report {
        for server in self.file_servers.into_iter().flatten() {
            for line in server.end().await {
                tracing::warn!("virtiofsd: {line}");
            }
        }
        // With QEMU gone nothing more comes, whoever else has the other ends: a helper of a wrapper may. What is in them is read
        // first.
        for end in &self.read_ends {
            let _ = end.shutdown(Shutdown::Read);
        }
        let _ = (&mut self.console_task).await;
        // An image's command that was not told of its end is not waited for.
        self.guest = None;
        for task in self.stream_tasks.drain(..) {
            let _ = task.await;
        }
        while let Ok(word) = self.control.try_recv() {
            self.may_have_run |= word == Control::Starting;
        }
        if let Some(mut events) = monitor_events {
            while let Ok(event) = events.try_recv() {
                if let MonitorEvent::Shutdown(reason) = event {
                    self.shutdown = Some(reason);
                }
            }
        }
        let console = self.console.lock().expect("no holder panics");
        let mut lines = console.tail();
        lines.drain(..lines.len().saturating_sub(CONSOLE_LINES));
        Report {
            console: lines,
            console_seen: console.heard() > Heard::Nothing,
            bugs: console.bugs().cloned().collect(),
            fatal: console.guest_fatal().map(str::to_owned),
            cause: console.likely_cause().map(str::to_owned),
            qemu_stderr: self.process.stderr(),
            shutdown: self.shutdown.take(),
            may_have_run: self.may_have_run,
        }
    }
}

/// Starts a daemon for each share that needs one; each with QEMU's end of the connection.
async fn serve(
    virtiofsd: Option<&Virtiofsd>,
    machine: &Machine,
    priority: Priority,
) -> io::Result<Vec<(FileServer, OwnedFd)>> {
    let mut started = Vec::new();
    if let Some(virtiofsd) = virtiofsd {
        for share in machine.served() {
            started.push(FileServer::start(virtiofsd, share, priority).await?);
        }
    }
    Ok(started)
}

/// Why there is no state of a guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParkError {
    /// QEMU does not do it, now or ever.
    #[error("{0}")]
    Refused(io::Error),
    /// Something was in the way.
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// Waits until a state was saved or loaded.
async fn migrated(events: &mut mpsc::UnboundedReceiver<MonitorEvent>) -> io::Result<()> {
    loop {
        match events.recv().await {
            Some(MonitorEvent::Migrated(true)) => return Ok(()),
            Some(MonitorEvent::Migrated(false)) => return Err(io::Error::other("QEMU refused the state")),
            Some(_) => {}
            None => return Err(io::Error::other("QEMU is gone")),
        }
    }
}

/// How QEMU ended, in words, after one of its connections broke; none when it goes on without it.
pub(crate) async fn gone(process: &mut Process) -> Option<String> {
    within(GOING, process.wait()).await.map(in_words)
}

/// How a process ended, in words.
pub(crate) fn in_words(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

fn socket_pair() -> io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

fn second_handle(socket: &UnixStream) -> io::Result<StdUnixStream> {
    socket.as_fd().try_clone_to_owned().map(StdUnixStream::from)
}

/// Reads the console to its end.
async fn listen(
    mut socket: UnixStream,
    console: Arc<Mutex<Console>>,
    events: mpsc::Sender<EventKind>,
    alarms: watch::Sender<Alarms>,
    progress: Progress,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = socket.read(&mut buffer).await.unwrap_or(0);
        let (found, seen) = {
            let mut console = console.lock().expect("no holder panics");
            let found = if count == 0 { console.finish() } else { console.push(&buffer[..count]) };
            (found, (console.heard(), console.nothing_boots(), console.halts()))
        };
        stream::note_progress(&progress);
        alarms.send_if_modified(|alarms| {
            let before = *alarms;
            (alarms.heard, alarms.nothing_boots, alarms.halts) = seen;
            for event in &found {
                let ConsoleEvent::Bug(bug) = event else { continue };
                alarms.bug = true;
                alarms.panics += usize::from(bug.kind == BugKind::Panic);
            }
            *alarms != before
        });
        for event in found {
            let event = match event {
                ConsoleEvent::Line(line) => EventKind::Console { line },
                ConsoleEvent::Bug(bug) => EventKind::KernelBug { title: bug.title, excerpt: bug.excerpt },
            };
            // A listener that is gone does not change what happened.
            let _ = events.send(event).await;
        }
        if count == 0 {
            return;
        }
    }
}
