//! A run on a terminal of its own.

use std::fs::File;
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::project::Invocation;
use super::running::{self, Running};
use super::slots::Permit;
use super::{Outcome, machine};

/// A `vmtest` on a terminal. What the terminal shows is its standard output.
pub struct Pty {
    running: Running,
    master: File,
    slave: OwnedFd,
    before: Termios,
}

impl Pty {
    pub(super) fn start(invocation: &Invocation<'_>, permit: Option<Permit>, rows: u16, cols: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal can be made");
        let before = tcgetattr(&pty.slave).expect("it is a terminal");
        if let Some(user) = machine::test_user() {
            nix::unistd::fchown(pty.slave.as_fd(), Some(user.uid), None).expect("root may");
        }
        let mark = running::new_mark();
        let mut command = running::command(invocation, &mark);
        let slave = || Stdio::from(pty.slave.try_clone().expect("a descriptor can be copied"));
        command.stdin(slave()).stdout(slave()).stderr(slave()).env("TERM", "xterm");
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
        let files = invocation.project.files();
        let child = command.spawn().expect("vmtest can be started");
        let master = File::from(pty.master);
        let reader = master.try_clone().expect("a descriptor can be copied");
        let running = Running::watch(
            invocation,
            permit,
            mark,
            files,
            child,
            [(Box::new(reader), |seen: &mut running::Seen| &mut seen.stdout)],
        );
        Self { running, master, slave: pty.slave, before }
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Changes the window's size, as a user who drags its corner.
    pub fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the kernel reads a `winsize` from a pointer that is valid for the call.
        let done = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
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
