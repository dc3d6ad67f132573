//! Drives reporters with scripted targets: no VM, no clock.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_config as config;
use vmtest_vm::event::{
    Accelerator, Durations, EventKind, Finished, LostWrites, Output, OutputStream, RunEvent, RunId,
    ShareKind, Start,
};
use vmtest_vm::executor::{Script, ScriptEnd, ScriptedExecutor};
use vmtest_vm::runner::{self, Schedule};
use vmtest_vm::verdict::Verdict;

use super::{Listener, OnFailure, Reporter, Summary, Trouble};

/// A name and what its target does.
pub(crate) type Scripted = (String, Script);

pub(crate) fn target(name: &str) -> config::Target {
    config::Target {
        name: name.to_owned(),
        system: config::System::Kernel(config::KernelSystem {
            source: config::KernelSource::Path(PathBuf::from("/boot/vmlinuz")),
            args: String::new(),
            rootfs: PathBuf::from("/"),
            root_access: config::RootAccess::Overlay,
        }),
        command: config::Command::Shell("true".into()),
        arch: config::Arch::X86_64,
        kvm_cpu_args: "host".into(),
        qemu_command: config::QemuCommand::Default,
        timeout: None,
        boot_timeout: None,
        env: std::collections::BTreeMap::default(),
        inherit_env: config::InheritEnv::None,
        fail_on_kernel_bug: true,
        project_dir: PathBuf::from("/project"),
        discards_writes: false,
        vm: config::Vm {
            num_cpus: 2.try_into().unwrap(),
            memory: config::Memory { bytes: 4 << 30 },
            mounts: Vec::new(),
            extra_args: Vec::new(),
            network: false,
        },
    }
}

pub(crate) fn finished(verdict: Verdict) -> Finished {
    let durations = Durations {
        prepare: Duration::from_millis(10),
        boot: Duration::from_millis(700),
        setup: Duration::from_millis(100),
        command: Duration::from_millis(90),
        total: Duration::from_millis(900),
    };
    Finished { verdict, durations, lost_writes: LostWrites::default() }
}

pub(crate) fn output(stream: OutputStream, data: &[u8]) -> EventKind {
    EventKind::Output(Output { stream, data: Bytes::copy_from_slice(data) })
}

pub(crate) fn stdout(data: &[u8]) -> EventKind {
    output(OutputStream::Stdout, data)
}

/// The events up to the command's start.
pub(crate) fn booted() -> Vec<EventKind> {
    let accelerator = Accelerator::Kvm;
    vec![
        EventKind::Preparing,
        EventKind::Booting { accelerator, attempt: 1 },
        EventKind::Console { line: "Linux version 6.1".into() },
        EventKind::Booted {
            seconds: 0.7,
            accelerator,
            start: Start::Cold,
            cold_because: None,
            share: ShareKind::NineP,
        },
        EventKind::CommandStarted,
    ]
}

/// A target whose command runs: `events` come after its start.
pub(crate) fn scripted(name: &str, events: Vec<EventKind>, verdict: Verdict) -> Scripted {
    let events = booted().into_iter().chain(events).collect();
    (name.to_owned(), Script { events, end: ScriptEnd::Finish(finished(verdict)) })
}

pub(crate) fn passing(name: &str, data: &[u8]) -> Scripted {
    scripted(name, vec![stdout(data)], Verdict::Passed)
}

/// All the events of a run, one target after the other.
pub(crate) fn events(targets: Vec<Scripted>) -> Vec<RunEvent> {
    let recorder = Recorder::default();
    let listeners = vec![Listener {
        reporter: Box::new(recorder.clone()),
        writes: "nothing".into(),
        on_failure: OnFailure::Ignore,
    }];
    drive_listeners(targets, listeners, &CancellationToken::new());
    let mut seen = recorder.seen.lock().unwrap();
    std::mem::take(&mut seen.0)
}

/// Runs `targets` through the real runner, the real driver and `listeners`.
pub(crate) fn drive_listeners(
    targets: Vec<Scripted>,
    listeners: Vec<Listener>,
    cancel: &CancellationToken,
) -> Trouble {
    run(targets, listeners, cancel).0
}

/// The same, with the verdicts in the order of the targets.
pub(crate) fn run(
    targets: Vec<Scripted>,
    listeners: Vec<Listener>,
    cancel: &CancellationToken,
) -> (Trouble, Vec<Verdict>) {
    let (names, scripts): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
    let targets = names.iter().map(|name| target(name)).collect();
    let executor = Arc::new(ScriptedExecutor::new(scripts));
    let (sender, receiver) = mpsc::channel(16);
    let schedule = Schedule { jobs: 1, fail_fast: false };
    let clock: super::Clock = Arc::new(|| Duration::from_millis(12_340));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let run_id = RunId("run".into());
        tokio::join!(
            super::drive(receiver, listeners, clock, cancel.clone()),
            runner::run(run_id, targets, schedule, executor, sender, cancel.child_token(), None),
        )
    })
}

/// Runs `targets` through one reporter.
pub(crate) fn report(targets: Vec<Scripted>, reporter: impl Reporter + 'static) -> Trouble {
    let listener =
        Listener { reporter: Box::new(reporter), writes: "it".into(), on_failure: OnFailure::FailAtEnd };
    drive_listeners(targets, vec![listener], &CancellationToken::new())
}

/// Gives `reporter` one target's events after the other in the order that `order` names, each entry being a target's place.
pub(crate) fn interleave(targets: Vec<Scripted>, order: &[usize], reporter: &mut dyn Reporter) {
    let mut queues: Vec<std::collections::VecDeque<RunEvent>> = Vec::new();
    for event in events(targets) {
        while queues.len() <= event.index {
            queues.push(std::collections::VecDeque::new());
        }
        queues[event.index].push_back(event);
    }
    for index in order {
        let event = queues[*index].pop_front().expect("the order names no more events than there are");
        reporter.event(&event).unwrap();
    }
}

/// A writer whose bytes the test can read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reporter that remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    seen: Arc<Mutex<(Vec<RunEvent>, usize)>>,
}

impl Recorder {
    pub(crate) fn ended(&self) -> usize {
        self.seen.lock().unwrap().1
    }
}

impl Reporter for Recorder {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        self.seen.lock().unwrap().0.push(event.clone());
        Ok(())
    }

    fn end(&mut self, _: &Summary) -> io::Result<()> {
        self.seen.lock().unwrap().1 += 1;
        Ok(())
    }
}
