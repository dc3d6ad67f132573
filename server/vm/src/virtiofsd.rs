//! virtiofsd: a process of its own for each share, beside QEMU. Two programs go by that name, the one in C that came with QEMU
//! until 7.2 and the one in Rust that took its place.

use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::host;
use crate::qemu::machine::{ROOT_TAG, ShareDevice};
use crate::qemu::process::{OwnMounts, Priority, Process, Start};

/// Where a daemon sees what it serves of `/`: it makes a directory its root, and fails when it is that already. It has no use
/// for what else is there, and is not there itself.
const ROOT_AT: &CStr = c"/sys";

/// Longest time to leave after QEMU.
const LEAVING: Duration = Duration::from_millis(300);
/// Longest time to say what it can do.
const HELP: Duration = Duration::from_secs(5);

/// A virtiofsd that can serve this user's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Virtiofsd {
    program: PathBuf,
    dialect: Dialect,
    /// Whether it runs as root.
    is_root: bool,
    /// Whether it can be told to go without a capability. It would not start when one that it wants is taken from it.
    can_go_without: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    C,
    Rust {
        /// Whether it knows the option to make one file system of a directory in which others are mounted.
        can_hide_submounts: bool,
    },
}

impl Virtiofsd {
    /// Finds this machine's, and asks it what it can do. The error is a clause that says why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let is_root = geteuid().is_root();
        // As in most containers.
        if is_root && !may_mount() {
            return Err("virtiofsd needs CAP_SYS_ADMIN".to_owned());
        }
        let program = host::find_virtiofsd().ok_or("there is no virtiofsd: install version 1.13 or newer")?;
        let found = help(&program)
            .map_err(|error| error.to_string())
            .and_then(|help| Ok((dialect(&help, is_root)?, help.contains("modcaps"))))
            .map_err(|why| format!("{} {why}", program.display()))?;
        let (dialect, can_go_without) = found;
        Ok(Self { program, dialect, is_root, can_go_without })
    }

    /// Whether the guest sees whose files are, as it does with 9p; else all that are not the user's are nobody's.
    pub(crate) fn shows_owners(&self) -> bool {
        self.is_root
    }

    fn mounts(&self, share: &ShareDevice) -> Option<OwnMounts> {
        let root_at = is_root(share).then_some(ROOT_AT);
        // An ordinary user's virtiofsd sees to that itself.
        let read_only = self.is_root && !share.writable();
        (root_at.is_some() || read_only).then_some(OwnMounts {
            in_user_namespace: !self.is_root,
            root_at,
            read_only,
        })
    }

    fn arguments(&self, share: &ShareDevice, listener: RawFd) -> Vec<OsString> {
        // What the guest cannot write is cached without asking the host again, as it is with 9p. Of what it can write, names,
        // sizes and times grow one second old at most, and contents are asked for whenever a file is opened.
        let cache = if share.writable() { "auto" } else { "always" };
        // An overlay does not let anybody into what is announced.
        let is_announced = share.writable() || share.tag != ROOT_TAG;
        // Neither can QEMU make any.
        let no_devices = self.is_root && self.can_go_without;
        let mut words: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: &str| words.extend([name.into(), value.into()]);
        match self.dialect {
            Dialect::C => {
                option("-o", &format!("cache={cache}"));
                for setting in ["xattr", "sandbox=namespace", "log_level=err"] {
                    option("-o", setting);
                }
                if is_announced {
                    option("-o", "announce_submounts");
                }
                if no_devices {
                    option("-o", "modcaps=-mknod");
                }
                words.extend([format!("--fd={listener}").into(), "-o".into()]);
                let mut source = OsString::from("source=");
                source.push(escaped(directory(share)));
                words.push(source);
            }
            Dialect::Rust { can_hide_submounts } => {
                option("--cache", cache);
                option("--sandbox", "namespace");
                option("--log-level", "error");
                option("--fd", &listener.to_string());
                words.push("--xattr".into());
                if no_devices {
                    words.push("--modcaps=-mknod".into());
                }
                if is_announced {
                    words.push("--announce-submounts".into());
                } else if can_hide_submounts {
                    words.push("--no-announce-submounts".into());
                }
                if !share.writable() && !self.is_root {
                    words.push("--readonly".into());
                }
                words.extend(["--shared-dir".into(), directory(share).into()]);
            }
        }
        words
    }
}

/// Whether this process has `CAP_SYS_ADMIN`, number 21 of capabilities(7).
fn may_mount() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> 21 & 1 == 1)
}

/// The directory to serve, as the process sees it.
fn directory(share: &ShareDevice) -> &Path {
    if is_root(share) { Path::new(OsStr::from_bytes(ROOT_AT.to_bytes())) } else { &share.path }
}

fn is_root(share: &ShareDevice) -> bool {
    share.path == Path::new("/")
}

/// A backslash keeps `-o` from ending at a comma.
fn escaped(path: &Path) -> OsString {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    OsString::from_vec(escaped)
}

/// What a program says of itself; one that does not end is not waited for.
fn help(program: &Path) -> io::Result<String> {
    let mut command = Command::new(program);
    command.arg("--help").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let dies_with_us = || Ok(prctl::set_pdeathsig(Signal::SIGKILL)?);
    // SAFETY: between fork and exec only a system call is made; nothing allocates or takes a lock.
    unsafe { command.pre_exec(dies_with_us) };
    let mut child = command.spawn()?;
    let said = child.stdout.take().map(|pipe| read_within(pipe, HELP)).transpose();
    // It has no more to say.
    child.kill()?;
    child.wait()?;
    Ok(String::from_utf8_lossy(&said?.unwrap_or_default()).into_owned())
}

fn read_within(mut pipe: ChildStdout, limit: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Err(io::Error::other(format!(
                "does not say what it can do within {} s",
                limit.as_secs()
            )));
        }
        match pipe.read(&mut piece)? {
            0 => return Ok(said),
            count => said.extend_from_slice(&piece[..count]),
        }
    }
}

/// Tells one from the other by their help; the error is the end of a sentence.
fn dialect(help: &str, is_root: bool) -> Result<Dialect, &'static str> {
    let is_rust = help.contains("--shared-dir");
    if !is_rust && !help.contains("source=PATH") {
        return Err("is no virtiofsd that vmtest knows");
    }
    if is_root {
        // What is not to be written is read-only before it starts.
    } else if !is_rust {
        return Err("serves root only: install version 1.13 or newer");
    } else if !help.contains("--readonly") {
        return Err("cannot keep a directory from being written: install version 1.13 or newer");
    }
    let can_hide_submounts = help.contains("--no-announce-submounts");
    Ok(if is_rust { Dialect::Rust { can_hide_submounts } } else { Dialect::C })
}

/// This machine's virtiofsd, if it can serve this user's runs; the error is a clause that says why none can. Asks the program for
/// its help.
pub fn usable_virtiofsd() -> Result<PathBuf, String> {
    Virtiofsd::find().map(|found| found.program)
}

/// This machine's virtiofsd, when it has been found.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Option<Virtiofsd>>);

impl Known {
    /// Looks for one until there is one; the error is a clause that says why there is none.
    pub(crate) fn get(&self) -> Result<Virtiofsd, String> {
        let known = self.0.lock().expect("no holder panics").clone();
        let found = known.map_or_else(Virtiofsd::find, Ok)?;
        *self.0.lock().expect("no holder panics") = Some(found.clone());
        Ok(found)
    }
}

/// A running virtiofsd. It ends at the latest when this is dropped.
#[derive(Debug)]
pub(crate) struct FileServer {
    process: Process,
    /// The share's.
    pub(crate) tag: String,
}

impl FileServer {
    /// Starts one. With it comes QEMU's end of the connection.
    pub(crate) async fn start(
        virtiofsd: &Virtiofsd,
        share: &ShareDevice,
        priority: Priority,
    ) -> io::Result<(Self, OwnedFd)> {
        let (listener, connection) = meeting()?;
        let start = Start {
            program: virtiofsd.program.clone(),
            arguments: virtiofsd.arguments(share, listener.as_raw_fd()),
            descriptors: vec![listener.as_raw_fd()],
            mounts: virtiofsd.mounts(share),
            priority,
        };
        tracing::debug!(program = ?start.program, arguments = ?start.arguments, "starting virtiofsd");
        let process = Process::start(start).await?;
        Ok((Self { process, tag: share.tag.clone() }, connection))
    }

    /// Ends it, and returns what it had to say. It keeps nothing back of what a guest has written.
    pub(crate) async fn end(mut self) -> Vec<String> {
        // It leaves when QEMU has left. One that is killed leaves a child of its own to the system's first process, which does
        // not care for it in every container.
        if tokio::time::timeout(LEAVING, self.process.wait()).await.is_err() {
            self.process.kill().await;
        }
        self.process.drain().await;
        self.process.stderr()
    }
}

/// It takes a socket that listens, and nothing else. Ours is the first in its queue, and nobody else can reach it: its folder,
/// which was ours alone, is gone.
fn meeting() -> io::Result<(UnixListener, OwnedFd)> {
    let folder = tempfile::Builder::new().prefix("vmtest-").tempdir()?;
    // Through a descriptor the path is short wherever the folder is.
    let opened = std::fs::File::open(folder.path())?;
    let path = format!("/proc/self/fd/{}/socket", opened.as_raw_fd());
    let listener = UnixListener::bind(&path)?;
    let connection = UnixStream::connect(&path)?;
    folder.close()?;
    Ok((listener, connection.into()))
}

#[cfg(test)]
mod tests {
    use vmtest_guest::wire::{Access, FileSystem};

    use super::*;

    const C: &str = "    -o source=PATH             shared directory tree\n    -o modcaps=CAPLIST";
    const RUST: &str = "      --shared-dir <SHARED_DIR>\n      --readonly\n      --no-announce-submounts\n      --modcaps <MODCAPS>";

    fn share(writable: bool) -> ShareDevice {
        ShareDevice {
            tag: "project".into(),
            path: PathBuf::from("/a,b\\c"),
            file_system: FileSystem::Virtiofs,
            access: if writable { Access::Writable } else { Access::ReadOnly },
        }
    }

    fn line(virtiofsd: &Virtiofsd, writable: bool) -> String {
        let words = virtiofsd.arguments(&share(writable), 7);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn virtiofsd(help: &str, is_root: bool) -> Virtiofsd {
        let dialect = dialect(help, is_root).unwrap();
        Virtiofsd { program: "virtiofsd".into(), dialect, is_root, can_go_without: help.contains("modcaps") }
    }

    #[test]
    fn who_can_serve_whom_is_told_from_the_help() {
        assert_eq!(dialect(C, true), Ok(Dialect::C));
        assert_eq!(dialect(C, false), Err("serves root only: install version 1.13 or newer"));
        assert_eq!(dialect(RUST, false), Ok(Dialect::Rust { can_hide_submounts: true }));
        assert_eq!(dialect("--shared-dir", true), Ok(Dialect::Rust { can_hide_submounts: false }));
        assert!(dialect("--shared-dir", false).unwrap_err().contains("1.13"));
        assert!(dialect("usage: something else", true).is_err());
    }

    #[test]
    fn the_daemon_in_c_is_told_a_path_with_commas() {
        assert_eq!(
            line(&virtiofsd(C, true), true),
            "-o cache=auto -o xattr -o sandbox=namespace -o log_level=err -o announce_submounts -o \
             modcaps=-mknod --fd=7 -o source=/a\\,b\\\\c"
        );
        assert!(line(&virtiofsd(C, true), false).starts_with("-o cache=always -o xattr"));
    }

    #[test]
    fn the_daemon_in_rust_keeps_an_ordinary_users_directory_from_being_written() {
        assert_eq!(
            line(&virtiofsd(RUST, false), false),
            "--cache always --sandbox namespace --log-level error --fd 7 --xattr --announce-submounts --readonly \
             --shared-dir /a,b\\c"
        );
        assert!(!line(&virtiofsd(RUST, false), true).contains("--readonly"));
        assert!(!line(&virtiofsd(RUST, true), false).contains("--readonly"));
    }

    #[test]
    fn a_daemon_of_roots_makes_no_devices() {
        assert!(line(&virtiofsd(RUST, true), true).contains("--modcaps=-mknod"));
        assert!(!line(&virtiofsd(RUST, false), true).contains("modcaps"));
        assert!(!line(&virtiofsd("--shared-dir", true), true).contains("modcaps"));
    }

    #[test]
    fn a_meeting_leaves_no_file() {
        let (listener, connection) = meeting().unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!address.as_pathname().unwrap().exists());
        drop(connection);
        assert!(listener.accept().is_ok());
    }
}
