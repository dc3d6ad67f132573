//! `clean-run -- COMMAND…`: the check around every run, for suites that are not written in Rust.
//!
//! The command gets a home, temporary, runtime and XDG directories of its own. It must leave no process, whatever that did to
//! hide, no socket, no temporary file and no half-written entry of vmtest's cache. Signals go on to it, and its exit status
//! is passed on; what it left is told on standard error and makes that 1 at least.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use vmtest_tests::clean::{self, MARK, Place, Watch};

/// Those that go on to the command.
const PASSED_ON: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// What the command may use, and the variables that say so.
const DIRS: [(&str, &str); 7] = [
    ("HOME", "home"),
    ("TMPDIR", "tmp"),
    ("XDG_RUNTIME_DIR", "run"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_DATA_HOME", "data"),
    ("XDG_STATE_HOME", "state"),
];

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).skip_while(|word| word == "--");
    let Some(program) = words.next() else {
        eprintln!("usage: clean-run -- COMMAND…");
        return ExitCode::from(2);
    };
    // Short: the paths of sockets may not be long.
    let base = tempfile::Builder::new().prefix("vmc-").tempdir().expect("there is a temporary directory");
    let path = base.path().canonicalize().expect("it was just made");
    let mut command = Command::new(program);
    command.args(words);
    for (variable, name) in DIRS {
        std::fs::create_dir(path.join(name)).expect("it is new");
        command.env(variable, path.join(name));
    }
    let watch = Watch::begin(Place {
        cache: path.join("cache/vmtest"),
        base: path,
        empty: vec!["tmp", "run"],
        // The browser's settings.
        strangers: ["dconf".into()].into(),
        project: None,
    });
    command.env(MARK, watch.mark());

    let mut waited_for: SigSet = PASSED_ON.into_iter().collect();
    waited_for.add(Signal::SIGCHLD);
    waited_for.thread_block().expect("they are signals");
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(move || Ok(waited_for.thread_unblock()?)) };
    let signals = SignalFd::new(&waited_for).expect("they are signals");
    let child = match clean::start(&mut command) {
        Ok(child) => Pid::from_raw(child.id() as i32),
        Err(error) => {
            eprintln!("clean-run: {}: {error}", command.get_program().display());
            return ExitCode::from(127);
        }
    };
    let status = wait(child, &signals);

    let left = watch.end(child.as_raw(), false);
    for line in &left {
        eprintln!("clean-run: left behind: {line}");
    }
    ExitCode::from(status.max(u8::from(!left.is_empty())))
}

/// Waits for the command, and passes on what comes; its exit status, as a shell tells it.
fn wait(child: Pid, signals: &SignalFd) -> u8 {
    loop {
        let Ok(Some(signal)) = signals.read_signal() else { continue };
        if signal.ssi_signo != Signal::SIGCHLD as u32 {
            // What the terminal sends, the command has got, too.
            let is_for_us_only = signal.ssi_code <= libc::SI_USER;
            if let (true, Ok(number)) = (is_for_us_only, Signal::try_from(signal.ssi_signo as i32)) {
                // It is our child, and was not waited for.
                let _ = kill(child, number);
            }
            continue;
        }
        // One signal may stand for several children.
        while let Ok(ended) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match ended {
                WaitStatus::Exited(pid, status) if pid == child => return status as u8,
                WaitStatus::Signaled(pid, signal, _) if pid == child => return 128 + signal as u8,
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
    }
}
