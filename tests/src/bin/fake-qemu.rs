//! A QEMU without a machine, for faults that the real one cannot be made to have. It takes vmtest's arguments, is monitor, agent
//! and guest init in one, and fails as `VMTEST_FAKE_QEMU` says.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Write};
use std::os::fd::FromRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, exit};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;

use base64::Engine as _;
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use serde_json::{Value, json};
use vmtest_guest::wire::{Exit, ExitStatus, Frame, to_bytes};

/// What it does otherwise than QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing: the command writes `begun` and passes.
    None,
    /// It ends, in this way.
    Dies(Phase, Death),
    /// The guest gets as far as this and no further.
    Holds(Phase),
    /// The monitor's greeting has no end.
    HalfGreeting,
    /// The monitor's greeting is a gigabyte long.
    LongGreeting,
    /// The monitor does not speak JSON.
    NoJson,
    /// The monitor answers a question that nobody asked.
    WrongId,
    /// The monitor announces something after it was told to quit.
    EventAfterQuit,
    /// The monitor goes away, and QEMU does not.
    ClosesMonitor,
    /// The processor fails, and the monitor does not say so when it is asked.
    StopsInSilence,
    /// The processor fails, under KVM.
    InternalError,
    /// QEMU aborts under KVM.
    Aborts,
    /// A guest does not say a word under KVM.
    Silent,
    /// The guest init's stream ends, and QEMU goes on.
    ClosesStream,
    /// A process that has left QEMU's group keeps all that QEMU had open.
    LeavesDaemon,
    /// The agent's answer is a gigabyte of base64 in one line.
    LongAnswer,
    /// The agent's answer is a list of millions of numbers.
    ManyValues,
    /// The agent answers with another number than it was given.
    ForeignId,
    /// The agent says that a program has exited, and not how.
    NoStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Boot,
    SetUp,
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Exit(i32),
    Signal(Signal),
}

fn phase(word: &str) -> Phase {
    match word {
        "start" => Phase::Start,
        "boot" => Phase::Boot,
        "set-up" => Phase::SetUp,
        "command" => Phase::Command,
        _ => panic!("there is no phase `{word}`"),
    }
}

fn death(word: &str) -> Death {
    let signal = || Death::Signal(word.parse().expect("it is the name of a signal"));
    word.parse().map_or_else(|_| signal(), Death::Exit)
}

fn fault(words: &[&str]) -> Fault {
    match *words {
        [] => Fault::None,
        ["dies", at, how] => Fault::Dies(phase(at), death(how)),
        ["holds", at] => Fault::Holds(phase(at)),
        ["half-greeting"] => Fault::HalfGreeting,
        ["long-greeting"] => Fault::LongGreeting,
        ["no-json"] => Fault::NoJson,
        ["wrong-id"] => Fault::WrongId,
        ["event-after-quit"] => Fault::EventAfterQuit,
        ["closes-monitor"] => Fault::ClosesMonitor,
        ["stops-in-silence"] => Fault::StopsInSilence,
        ["internal-error"] => Fault::InternalError,
        ["aborts"] => Fault::Aborts,
        ["silent"] => Fault::Silent,
        ["closes-stream"] => Fault::ClosesStream,
        ["leaves-daemon"] => Fault::LeavesDaemon,
        ["long-answer"] => Fault::LongAnswer,
        ["many-values"] => Fault::ManyValues,
        ["foreign-id"] => Fault::ForeignId,
        ["no-status"] => Fault::NoStatus,
        _ => panic!("there is no fault {words:?}"),
    }
}

fn main() {
    let scenario = std::env::var("VMTEST_FAKE_QEMU").unwrap_or_default();
    let mut words: Vec<&str> = scenario.split_whitespace().collect();
    // It follows neither `quit` nor SIGTERM.
    let is_stubborn = words.first() == Some(&"stubborn");
    if is_stubborn {
        words.remove(0);
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.expect("SIGTERM can be ignored");
    }
    let qemu = FakeQemu::new(fault(&words), is_stubborn);
    qemu.die_at(Phase::Start);
    if qemu.has_failing_kvm() && qemu.fault == Fault::Aborts {
        eprintln!("kvm_init_vcpu failed");
        raise(Signal::SIGABRT).expect("it can be raised");
    }
    if qemu.fault == Fault::LeavesDaemon {
        // What it inherits has no close-on-exec.
        let started = Command::new("setsid").args(["--fork", "sleep", "1000"]).status();
        assert!(started.expect("there is setsid").success());
    }
    let (monitor, agent) = (qemu.take("monitor"), qemu.take("agent"));
    thread::scope(|scope| {
        scope.spawn(|| qemu.be_agent(agent));
        if qemu.be_monitor(monitor).is_ok() {
            exit(0);
        }
        // It is still there when its monitor is not.
        loop {
            thread::park();
        }
    });
}

struct FakeQemu {
    fault: Fault,
    is_stubborn: bool,
    under_kvm: bool,
    /// Where the agent waits for the boot.
    booted: Barrier,
    /// Our ends of the connections that have no owner yet, by their names.
    sockets: Mutex<HashMap<String, UnixStream>>,
}

impl FakeQemu {
    fn new(fault: Fault, is_stubborn: bool) -> Self {
        let words: Vec<String> = std::env::args().collect();
        let value_of = |name: &'static str| {
            words.windows(2).filter(move |pair| pair[0] == name).map(|pair| pair[1].clone())
        };
        let socket = |chardev: String| {
            let (id, fd) = chardev.strip_prefix("socket,id=")?.split_once(",fd=")?;
            let fd = fd.parse().expect("a descriptor is a number");
            // SAFETY: vmtest has opened it for us, and each is named once.
            Some((id.to_owned(), unsafe { UnixStream::from_raw_fd(fd) }))
        };
        let sockets = value_of("-chardev").filter_map(socket).collect();
        let under_kvm = value_of("-accel").next().as_deref() == Some("kvm");
        Self { fault, is_stubborn, under_kvm, booted: Barrier::new(2), sockets: Mutex::new(sockets) }
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<String, UnixStream>> {
        self.sockets.lock().expect("no holder panics")
    }

    fn take(&self, id: &str) -> UnixStream {
        self.sockets().remove(id).unwrap_or_else(|| panic!("there is no `{id}`"))
    }

    /// Writes to the console or the stream; a machine without one has nobody who listens.
    fn write(&self, id: &str, bytes: &[u8]) {
        if let Some(socket) = self.sockets().get_mut(id) {
            let _ = socket.write_all(bytes);
        }
    }

    fn send(&self, frame: &Frame) {
        self.write("stream", &to_bytes(frame));
    }

    fn has_failing_kvm(&self) -> bool {
        self.under_kvm && matches!(self.fault, Fault::Aborts | Fault::InternalError | Fault::Silent)
    }

    fn die_at(&self, now: Phase) {
        let Fault::Dies(at, how) = self.fault else { return };
        if at != now {
            return;
        }
        eprintln!("fake-qemu: these are the last words");
        match how {
            Death::Exit(status) => exit(status),
            Death::Signal(how) => {
                if how != Signal::SIGKILL {
                    // SAFETY: the default action runs no code of ours. Rust has handlers of its own.
                    unsafe { signal(how, SigHandler::SigDfl) }.expect("it has a default action");
                }
                raise(how).expect("it can be raised");
            }
        }
    }

    /// What its guest does before the agent is there.
    fn boot(&self, monitor: &mut impl Write) -> io::Result<()> {
        if self.has_failing_kvm() && self.fault == Fault::Silent {
            return Ok(());
        }
        self.write("console", b"[    0.000000] Linux version 6.0.0-fake\n[    0.100000] it boots\n");
        self.die_at(Phase::Boot);
        if self.has_failing_kvm() || self.fault == Fault::StopsInSilence {
            say(monitor, &event("STOP", &json!({})))?;
        }
        Ok(())
    }

    /// Answers the monitor's commands until it is told to quit.
    fn be_monitor(&self, socket: UnixStream) -> io::Result<()> {
        let mut writer = socket.try_clone()?;
        match self.fault {
            Fault::HalfGreeting => writer.write_all(b"{\"QMP\": {\"version\"")?,
            Fault::LongGreeting => flood(&mut writer, b"", b"x")?,
            Fault::NoJson => writer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
            _ => say(&mut writer, &greeting())?,
        }
        for line in BufReader::new(socket).lines() {
            let command: Value = serde_json::from_str(&line?)?;
            let id = if self.fault == Fault::WrongId { json!(4711) } else { command["id"].clone() };
            let mut answer = |value: &Value| say(&mut writer, &json!({"return": value, "id": id}));
            match command["execute"].as_str() {
                Some("qmp_capabilities") => {
                    answer(&json!({}))?;
                    self.boot(&mut writer)?;
                    self.booted.wait();
                    if self.fault == Fault::ClosesMonitor {
                        break;
                    }
                }
                Some("query-status") if self.fault == Fault::StopsInSilence => {}
                Some("query-status") => {
                    let status = if self.has_failing_kvm() { "internal-error" } else { "running" };
                    answer(&json!({"running": true, "singlestep": false, "status": status}))?;
                }
                Some("quit") => {
                    self.write("console", b"it is told to quit\n");
                    if !self.is_stubborn {
                        answer(&json!({}))?;
                        if self.fault == Fault::EventAfterQuit {
                            say(&mut writer, &event("STOP", &json!({})))?;
                            say(
                                &mut writer,
                                &event("RESET", &json!({"guest": true, "reason": "guest-reset"})),
                            )?;
                        }
                        return Ok(());
                    }
                }
                _ => answer(&json!({}))?,
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Answers the agent's commands; one that writes the job makes the guest init run it.
    fn be_agent(&self, socket: UnixStream) {
        let _ = self.serve_agent(socket);
    }

    fn serve_agent(&self, socket: UnixStream) -> io::Result<()> {
        self.booted.wait();
        let mut writer = socket.try_clone()?;
        for line in BufReader::new(socket).lines() {
            let line = line?;
            let command: Value = serde_json::from_str(&line)?;
            let arguments = &command["arguments"];
            let is_up = self.fault != Fault::Holds(Phase::Boot) && !self.has_failing_kvm();
            let answer = match command["execute"].as_str().unwrap_or_default() {
                "guest-sync" if !is_up || self.fault == Fault::StopsInSilence => continue,
                "guest-sync" if self.fault == Fault::LongAnswer => {
                    flood(&mut writer, b"{\"return\": {\"out-data\": \"", b"QUFB")?;
                    continue;
                }
                "guest-sync" if self.fault == Fault::ManyValues => {
                    writer.write_all(b"{\"return\": [0")?;
                    (0..20).try_for_each(|_| writer.write_all(&b",0".repeat(1 << 20)))?;
                    writer.write_all(b"]}\n")?;
                    continue;
                }
                "guest-sync" if self.fault == Fault::ForeignId => json!(4711),
                "guest-sync" => arguments["id"].clone(),
                "guest-file-open" if self.fault == Fault::Holds(Phase::SetUp) => {
                    self.write("console", b"it is being set up\n");
                    continue;
                }
                "guest-file-open" => {
                    self.die_at(Phase::SetUp);
                    json!(1)
                }
                "guest-file-write" => {
                    let bytes = arguments["buf-b64"].as_str().unwrap_or_default();
                    let bytes = base64::engine::general_purpose::STANDARD.decode(bytes);
                    json!({"count": bytes.expect("it is base64").len(), "eof": false})
                }
                // The number of a program is where it was started: the last is the command of an image.
                "guest-exec" => json!({"pid": if line.contains("the-command") { 2 } else { 1 }}),
                "guest-exec-status" if arguments["pid"] == 2 && self.fault == Fault::NoStatus => {
                    json!({"exited": true})
                }
                "guest-exec-status" => json!({"exited": true, "exitcode": 0}),
                _ => json!({}),
            };
            say(&mut writer, &json!({"return": answer}))?;
            if command["execute"] == "guest-file-close" {
                self.run_command();
            }
        }
        Ok(())
    }

    fn run_command(&self) {
        self.send(&Frame::Starting);
        self.send(&Frame::Started);
        self.send(&Frame::Stdout(b"begun\n".to_vec()));
        self.die_at(Phase::Command);
        if self.fault == Fault::ClosesStream {
            self.sockets().remove("stream");
            return;
        }
        if self.fault != Fault::Holds(Phase::Command) {
            let status = ExitStatus::Code(0);
            let (tainted_before, tainted_after) = (0, 0);
            let (lost_paths, lost_count) = (Vec::new(), 0);
            self.send(&Frame::Exit(Exit { status, tainted_before, tainted_after, lost_paths, lost_count }));
        }
    }
}

fn greeting() -> Value {
    let version = json!({"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""});
    json!({"QMP": {"version": version, "capabilities": ["oob"]}})
}

fn event(name: &str, data: &Value) -> Value {
    json!({"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 0}})
}

fn say(to: &mut impl Write, what: &Value) -> io::Result<()> {
    to.write_all(format!("{what}\n").as_bytes())
}

/// A gigabyte without the end of a line.
fn flood(to: &mut impl Write, first: &[u8], piece: &[u8]) -> io::Result<()> {
    let pieces = piece.repeat((1 << 20) / piece.len());
    to.write_all(first)?;
    (0..1024).try_for_each(|_| to.write_all(&pieces))
}
