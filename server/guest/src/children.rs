//! PID 1's children: the agent, the session, and every orphan of the guest.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use vmtest_guest::wire::{AGENT_PROGRAM, ExitStatus, JOB_DIR};

use crate::sentence::{Result, Saying as _};

/// Reaps whatever dies.
pub(crate) struct Children {
    died: UnixStream,
}

impl Children {
    /// Notices deaths from now on.
    pub(crate) fn watch() -> Result<Self> {
        let (died, notify) = UnixStream::pair().saying("cannot make a socket pair")?;
        died.set_nonblocking(true).saying("cannot make a socket non-blocking")?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, notify)
            .saying("cannot watch for children")?;
        Ok(Self { died })
    }

    /// Readable when a child died.
    pub(crate) fn death(&self) -> BorrowedFd<'_> {
        self.died.as_fd()
    }

    /// Reaps all that is dead; returns how `wanted` ended, if it is among them.
    pub(crate) fn reap(&mut self, wanted: Option<Pid>) -> Option<ExitStatus> {
        let _ = (&self.died).read(&mut [0; 64]);
        let mut found = None;
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::Signal(signal_number(signal))),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return found,
                Ok(_) | Err(_) => continue,
            };
            if Some(pid) == wanted {
                found = Some(status);
            }
        }
    }

    /// The end of the init's life.
    pub(crate) fn reap_for_ever(&mut self) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(self.died.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => drop(self.reap(None)),
                Err(error) => return Err(format!("cannot wait for children: {error}")),
            }
        }
    }
}

/// Starts qemu-ga on its port. It is needed until the job is there; later it only tells that the guest is alive.
pub(crate) fn start_agent(port: &Path) -> Result<()> {
    let program = fs::read_to_string(AGENT_PROGRAM).saying("cannot read the agent's path")?;
    // State and pid file directories differ by distribution (danobi/vmtest#101).
    let child = Command::new(&program)
        .args(["--method", "virtio-serial", "--statedir", JOB_DIR, "--pidfile", "/job/agent.pid", "--path"])
        .arg(port)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .spawn()
        .saying(format_args!("cannot start the guest agent {program}"))?;
    // A guest without memory must still answer. PID 1 itself is never chosen.
    let _ = fs::write(format!("/proc/{}/oom_score_adj", child.id()), "-1000");
    Ok(())
}

fn signal_number(signal: Signal) -> i32 {
    signal as i32
}
