//! A run that goes on: what it has written so far, signals to it, its end and what it left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::clean::ending::{self, Circumstances, Stdout};
use super::clean::{self, Place, Process, Watch};
use super::project::Invocation;
use super::slots::Permit;
use super::{Outcome, machine};

/// Longest time for a run that asks for no other; one that takes more has hung.
pub const LIMIT: Duration = Duration::from_secs(180);

/// How long after its end something that a run wrote may come.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the run has written and how it ended, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) status: Option<ExitStatus>,
    pub(super) ended: Option<Instant>,
    open_streams: usize,
}

/// Shared with the threads that read.
pub(super) type Shared = Arc<(Mutex<Seen>, Condvar)>;

/// A `vmtest` that runs. Dropped before its end, it is killed with all that it started.
pub struct Running {
    pid: Pid,
    pub(super) check: Check,
    shared: Shared,
    started: Instant,
    limit: Duration,
    /// What was started, for who reads why a test failed.
    words: String,
    finished: bool,
    _permit: Option<Permit>,
}

/// What a run is held to when it has ended; made before it is started.
pub(super) struct Check {
    watch: Watch,
    pub(super) circumstances: Circumstances,
}

impl Check {
    pub(super) fn of(invocation: &Invocation<'_>) -> Self {
        let watch = Watch::begin(Place {
            base: invocation.project.base(),
            empty: vec!["tmp", "run", "home"],
            strangers: BTreeSet::new(),
            cache: invocation.project.cache().join("vmtest"),
            project: Some((invocation.project.dir().to_owned(), invocation.leaves.clone())),
        });
        Self { watch, circumstances: circumstances(invocation) }
    }
}

/// The command of an invocation, with a controlled environment.
pub(super) fn command(invocation: &Invocation<'_>, check: &Check) -> Command {
    let vmtest = machine::vmtest();
    let mut words = invocation.inside.iter().map(OsString::as_os_str).chain([vmtest.as_os_str()]);
    let program = words.next().expect("vmtest is one of them");
    let mut command = machine::as_test_user(Path::new(program));
    command.args(words);
    let base = invocation.project.base();
    command
        .args(&invocation.args)
        .current_dir(&invocation.cwd)
        .env_clear()
        .env("PATH", machine::PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", base.join("home"))
        .env("XDG_STATE_HOME", base.join("state"))
        .env("XDG_RUNTIME_DIR", base.join("run"))
        .env("XDG_CACHE_HOME", invocation.project.cache())
        .env("TMPDIR", base.join("tmp"))
        .env(clean::MARK, check.watch.mark())
        .envs(invocation.env.iter().map(|(name, value)| (name, value)));
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(hear_signals) };
    command
}

/// What started the tests may have ignored signals, as a shell does for its background jobs; vmtest would, too.
fn hear_signals() -> std::io::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTERM] {
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl)? };
    }
    Ok(())
}

/// Starts an invocation with pipes.
fn spawn(invocation: &Invocation<'_>) -> (Child, Check) {
    let check = Check::of(invocation);
    let mut command = command(invocation, &check);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = clean::start(&mut command)
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", machine::vmtest().display()));
    (child, check)
}

impl Running {
    pub(super) fn start(invocation: &Invocation<'_>, permit: Option<Permit>) -> Self {
        let (mut child, check) = spawn(invocation);
        let mut stdin = child.stdin.take().expect("it was asked for");
        let bytes = invocation.stdin.clone();
        // A thread, because it may be more than a pipe holds. One that ends early is no fault of the test.
        std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let (stdout, stderr) =
            (child.stdout.take().expect("as above"), child.stderr.take().expect("as above"));
        let streams: [Stream; 2] =
            [(Box::new(stdout), |seen| &mut seen.stdout), (Box::new(stderr), |seen| &mut seen.stderr)];
        Self::follow(invocation, permit, check, child, streams)
    }

    /// The same with standard input and output left to the caller.
    pub(super) fn start_to_talk(
        invocation: &Invocation<'_>,
        permit: Option<Permit>,
    ) -> (Self, ChildStdin, ChildStdout) {
        let (mut child, check) = spawn(invocation);
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("they were asked for");
        let stderr = child.stderr.take().expect("as above");
        let streams: [Stream; 1] = [(Box::new(stderr), |seen| &mut seen.stderr)];
        let mut running = Self::follow(invocation, permit, check, child, streams);
        // The caller reads what there is of it.
        running.check.circumstances.stdout = Stdout::Elsewhere;
        (running, stdin, stdout)
    }

    /// Follows a child whose streams are given.
    pub(super) fn follow<const N: usize>(
        invocation: &Invocation<'_>,
        permit: Option<Permit>,
        check: Check,
        mut child: Child,
        streams: [Stream; N],
    ) -> Self {
        let pid = Pid::from_raw(child.id() as i32);
        let shared: Shared = Arc::default();
        shared.0.lock().expect("no holder panics").open_streams = N;
        for (stream, place) in streams {
            let shared = shared.clone();
            std::thread::spawn(move || read(stream, place, &shared));
        }
        let waiting = shared.clone();
        std::thread::spawn(move || {
            // Not yet waited for: until its end is known here its number stays its own, and a signal to it arrives.
            let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let mut seen = waiting.0.lock().expect("no holder panics");
            seen.ended = Some(Instant::now());
            seen.status = child.wait().ok();
            waiting.1.notify_all();
        });
        let words: Vec<_> = invocation.args.iter().map(|word| word.to_string_lossy()).collect();
        Self {
            pid,
            check,
            shared,
            started: Instant::now(),
            limit: invocation.limit,
            words: format!("vmtest {}", words.join(" ")),
            finished: false,
            _permit: permit,
        }
    }

    /// Waits until `done` holds for what was written; panics when the run ends or hangs without it.
    #[track_caller]
    fn wait_until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let (lock, changed) = &*self.shared;
        let mut seen = lock.lock().expect("no holder panics");
        while !done(&seen) {
            let left = self.limit.saturating_sub(self.started.elapsed());
            // A terminal that somebody holds does not end with its program; what was written to it is there soon.
            let left = if seen.status.is_some() { left.min(LAST_WORDS) } else { left };
            let (changed_seen, waited) = changed.wait_timeout(seen, left).expect("no holder panics");
            seen = changed_seen;
            let over = seen.status.is_some() && (seen.open_streams == 0 || waited.timed_out());
            if !done(&seen) && (over || waited.timed_out()) {
                let why = if over { "ended" } else { "hung" };
                let text = outcome_text(&self.words, &seen);
                // A poisoned lock would hide what happened.
                drop(seen);
                panic!("the run {why} before {what}\n{text}");
            }
        }
    }

    /// Waits until standard output has `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(&format!("`{text}` came"), |seen| contains(&seen.stdout, text));
    }

    /// Waits until standard error has `text`.
    #[track_caller]
    pub fn wait_for_error(&self, text: &str) {
        self.wait_until(&format!("`{text}` was logged"), |seen| contains(&seen.stderr, text));
    }

    /// Waits until standard output has `text` so many times.
    #[track_caller]
    pub fn wait_for_times(&self, text: &str, times: usize) {
        self.wait_until(&format!("`{text}` came {times} times"), |seen| {
            seen.stdout.windows(text.len()).filter(|window| *window == text.as_bytes()).count() >= times
        });
    }

    /// Whether standard output has `text` by now.
    pub fn has_written(&self, text: &str) -> bool {
        contains(&self.shared.0.lock().expect("no holder panics").stdout, text)
    }

    /// Whether `vmtest` itself has ended by now.
    pub fn has_ended(&self) -> bool {
        self.shared.0.lock().expect("no holder panics").status.is_some()
    }

    /// Sends `vmtest` a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.check.circumstances.sent.push(signal);
        let seen = self.shared.0.lock().expect("no holder panics");
        if seen.status.is_none() {
            kill(self.pid, signal).expect("it is our child");
        }
    }

    /// The process that was started.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The processes that it started and that live.
    pub fn processes(&self) -> Vec<Process> {
        self.check.watch.processes(self.pid.as_raw())
    }

    /// Its QEMU.
    #[track_caller]
    pub fn qemu(&self) -> Pid {
        let all = self.processes();
        let found = all.iter().find(|process| process.name.starts_with("qemu"));
        Pid::from_raw(found.unwrap_or_else(|| panic!("there is no QEMU among {all:?}")).pid)
    }

    /// Waits for the end of `vmtest` itself.
    #[track_caller]
    pub fn wait_for_end(&self) {
        self.wait_until("its end", |seen| seen.status.is_some());
    }

    /// Waits for the end; fails unless the run was [`clean`].
    #[track_caller]
    pub fn finish(mut self) -> Outcome {
        self.wait_for_end();
        let killed = self.check.circumstances.sent.contains(&Signal::SIGKILL);
        let left = self.check.watch.end(self.pid.as_raw(), killed);
        if left.is_empty() {
            // With all processes gone, the streams end, too.
            self.wait_until("its streams ended", |seen| seen.open_streams == 0);
        }
        let outcome = self.outcome();
        self.finished = true;
        outcome.check(left.is_empty(), &format!("the run left\n  {}", left.join("\n  ")));
        let problems = ending::problems(&outcome, &self.check.circumstances);
        outcome.check(problems.is_empty(), &problems.join("\n"));
        outcome
    }

    fn outcome(&self) -> Outcome {
        let mut seen = self.shared.0.lock().expect("no holder panics");
        let status = seen.status.expect("it has ended");
        Outcome {
            words: self.words.clone(),
            stdout: std::mem::take(&mut seen.stdout),
            stderr: std::mem::take(&mut seen.stderr),
            status: status.code(),
            signal: status.signal(),
            elapsed: seen.ended.expect("it has ended") - self.started,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.signal(Signal::SIGKILL);
        for process in self.processes() {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

fn circumstances(invocation: &Invocation<'_>) -> Circumstances {
    let words = &invocation.args;
    // A subcommand, which is one only as the first word, has another format.
    let is_run = words.first().is_none_or(|word| word.to_string_lossy().starts_with('-'));
    let logs = invocation.project.base().join("state/vmtest/runs");
    Circumstances {
        stdout: if is_run && words.windows(2).any(|pair| pair == ["--format", "json"]) {
            Stdout::Events
        } else {
            Stdout::Text
        },
        logs: Some((logs.clone(), ending::logs(&logs))),
        sent: Vec::new(),
        inside: !invocation.inside.is_empty(),
        panics: invocation.panics,
    }
}

/// Something to read, and where its bytes go.
pub(super) type Stream = (Box<dyn Read + Send>, fn(&mut Seen) -> &mut Vec<u8>);

fn read(mut stream: Box<dyn Read + Send>, place: fn(&mut Seen) -> &mut Vec<u8>, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // A terminal whose other side is closed answers EIO.
        let count = stream.read(&mut buffer).unwrap_or(0);
        let mut seen = shared.0.lock().expect("no holder panics");
        if count == 0 {
            seen.open_streams -= 1;
            shared.1.notify_all();
            return;
        }
        place(&mut seen).extend_from_slice(&buffer[..count]);
        shared.1.notify_all();
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn outcome_text(words: &str, seen: &Seen) -> String {
    Outcome {
        words: words.to_owned(),
        stdout: seen.stdout.clone(),
        stderr: seen.stderr.clone(),
        status: seen.status.and_then(|status| status.code()),
        signal: seen.status.and_then(|status| status.signal()),
        elapsed: Duration::ZERO,
    }
    .to_string()
}
