//! A run on a terminal of its own.

use std::fs::File;
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use nix::fcntl::OFlag;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{Termios, tcgetattr};

use super::clean::ending::Stdout;
use super::project::Invocation;
use super::running::{self, Running};
use super::slots::Permit;
use super::{Outcome, clean, machine};

/// A `vmtest` on a terminal. What the terminal shows is its standard output.
pub struct Pty {
    running: Running,
    master: File,
    slave: File,
    before: Termios,
}

impl Pty {
    pub(super) fn start(invocation: &Invocation<'_>, permit: Option<Permit>, rows: u16, cols: u16) -> Self {
        let (master, slave) = open_terminal();
        resize(&master, rows, cols);
        let before = tcgetattr(&slave).expect("it is a terminal");
        if let Some(user) = machine::test_user() {
            nix::unistd::fchown(slave.as_fd(), Some(user.uid), None).expect("root may");
        }
        let check = running::Check::of(invocation);
        let mut command = running::command(invocation, &check);
        let copy = || Stdio::from(slave.try_clone().expect("a descriptor can be copied"));
        command.stdin(copy()).stdout(copy()).stderr(copy()).env("TERM", "xterm");
        // As a terminal program starts it: in a session whose terminal this is.
        let take_terminal = || {
            nix::unistd::setsid()?;
            // SAFETY: the call takes two plain numbers; descriptor 0 is the terminal.
            if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(take_terminal) };
        let child = clean::start(&mut command).expect("vmtest can be started");
        let reader = master.try_clone().expect("a descriptor can be copied");
        let mut running = Running::follow(
            invocation,
            permit,
            check,
            child,
            [(Box::new(reader), |seen: &mut running::Seen| &mut seen.stdout)],
        );
        running.check.circumstances.stdout = Stdout::Terminal;
        Self { running, master, slave, before }
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Changes the window's size, as a user who drags its corner.
    pub fn resize(&self, rows: u16, cols: u16) {
        resize(&self.master, rows, cols);
    }

    /// Waits for the end; the terminal must be as it was before.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        let Self { running, master, slave, before } = self;
        running.wait_for_end();
        let after = tcgetattr(&slave).expect("it is a terminal");
        // The reader sees the end when nobody holds this side any more.
        drop(slave);
        let outcome = running.finish();
        drop(master);
        outcome.check(after == before, "the terminal is not as it was");
        outcome
    }
}

/// Both sides of a new terminal. Opened so that no run which another test starts meanwhile can inherit them: it would keep
/// the terminal from ending.
fn open_terminal() -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("a terminal can be made");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname_r(&master).expect("it has a name");
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name);
    (File::from(OwnedFd::from(master)), slave.expect("it is ours"))
}

fn resize(master: &File, rows: u16, cols: u16) {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads a `winsize` from a pointer that is valid for the call.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

impl Deref for Pty {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Pty {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}
