//! The process that becomes the command.
//!
//! It has a mount namespace of its own, so that PID 1 keeps working whatever the command does to its mounts. Environment,
//! working directory, limits and standard streams are already as the command shall have them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::setsid;

use crate::sentence::{Result, Saying as _};

/// The argument that makes this program the session; the status descriptor's number and the [`Kind`] follow.
pub(crate) const ARGUMENT: &str = "session";

/// What the session becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A shell that runs the text in the next argument.
    Script,
    /// A shell that reads its standard input.
    Reading,
    /// A shell on the terminal that is its standard input.
    Terminal,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Script, Self::Reading, Self::Terminal];

    /// The argument that names it.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Reading => "reading",
            Self::Terminal => "terminal",
        }
    }
}

/// Becomes the command; a sentence on the status descriptor says why that failed, its end without one that it did not.
pub(crate) fn main(status_fd: &str, kind: &str, script: Option<&OsStr>) {
    let kind = Kind::ALL.into_iter().find(|known| known.argument() == kind);
    let (Ok(number), Some(kind)) = (status_fd.parse(), kind) else { return };
    // SAFETY: PID 1 opened this descriptor for this process, and nothing else here owns it.
    let mut status = File::from(unsafe { OwnedFd::from_raw_fd(number) });
    let result = fcntl(&status, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .saying("cannot close the status descriptor at exec")
        .and_then(|_| become_command(kind, script));
    if let Err(sentence) = result {
        let _ = status.write_all(sentence.as_bytes());
    }
}

fn become_command(kind: Kind, script: Option<&OsStr>) -> Result<()> {
    // First of all: a terminal becomes the controlling one only of a session leader.
    setsid().saying("cannot start a session")?;
    if kind == Kind::Terminal {
        take_terminal()?;
    }
    unshare(CloneFlags::CLONE_NEWNS).saying("cannot make a mount namespace")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let shell = find_program("bash", &path)
        .or_else(|| find_program("sh", &path))
        .ok_or_else(|| format!("the root has neither bash nor sh in PATH={}", path.to_string_lossy()))?;
    let mut command = Command::new(&shell);
    match kind {
        Kind::Script => drop(command.arg("-c").arg(script.unwrap_or_default())),
        Kind::Terminal => drop(command.arg("-i")),
        Kind::Reading => {}
    }
    let error = command.exec();
    Err(format!("cannot start {}: {error}", shell.display()))
}

/// Standard input is the terminal's slave side; opening it as session leader makes it the controlling terminal.
fn take_terminal() -> Result<()> {
    let name = std::fs::read_link("/proc/self/fd/0").saying("cannot find the terminal")?;
    File::options().read(true).write(true).open(&name).map(drop).saying("cannot take the terminal")
}

fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let standard: OsString = "/usr/local/bin:/usr/bin:/bin".into();
    [path, standard.as_os_str()]
        .into_iter()
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b':'))
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(OsStr::from_bytes(dir)).join(name))
        .find(|program| {
            nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).is_ok() && program.is_file()
        })
}
