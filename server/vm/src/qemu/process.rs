//! A process of a machine (QEMU, virtiofsd): started so that it cannot outlive us, ended so that nothing of it stays.

use std::ffi::{CStr, OsString};
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getegid, geteuid};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long QEMU may take to follow `quit`, and again to follow SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is kept of QEMU's standard error.
const STDERR_LIMIT: usize = 16 * 1024;

/// How a process stands to all others of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// It is one of them.
    Normal,
    /// They go first.
    Low,
}

impl Priority {
    /// Gives it to what `command` will start, and so to all that comes of that.
    fn give(self, command: &mut std::process::Command) {
        if self == Self::Low {
            let prepare = || {
                go_last();
                Ok(())
            };
            // SAFETY: between fork and exec only system calls are made; nothing allocates or takes a lock.
            unsafe { command.pre_exec(prepare) };
        }
    }
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Descriptors that it inherits, at their own numbers; no others.
    pub(crate) descriptors: Vec<RawFd>,
    /// None to see the host's mounts as they are.
    pub(crate) mounts: Option<OwnMounts>,
    pub(crate) priority: Priority,
}

/// Mounts that only one process sees. Needs Linux 5.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnMounts {
    /// For a process that may not mount: it has a user namespace of its own, in which it is still the same user.
    pub(crate) in_user_namespace: bool,
    /// Where everything that is mounted below `/` appears once more.
    pub(crate) root_at: Option<&'static CStr>,
    /// Nothing of them can be written, whatever the process does.
    pub(crate) read_only: bool,
}

/// A running process in a group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Until it has ended.
    stderr_task: Option<JoinHandle<()>>,
    priority: Priority,
    ended: bool,
}

impl Process {
    /// Starts it. The descriptors must stay open until this returns.
    pub(crate) async fn start(start: Start) -> io::Result<Self> {
        let mut command = Command::new(&start.program);
        command
            .args(&start.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C of the terminal is ours to handle.
            .process_group(0)
            .kill_on_drop(true);
        tie_to_us(&mut command, start.descriptors);
        // SAFETY: between fork and exec only a system call is made; nothing allocates or takes a lock.
        unsafe {
            command.pre_exec(|| {
                forbid_devices();
                Ok(())
            })
        };
        if let Some(mounts) = start.mounts {
            // SAFETY: between fork and exec only system calls are made; nothing allocates or takes a lock.
            unsafe { command.pre_exec(move || mounts.enter()) };
        }
        start.priority.give(command.as_std_mut());
        let mut child = spawn_on_lasting_thread(command).await?;
        let group =
            child.id().map(|id| Pid::from_raw(id as i32)).ok_or_else(|| io::Error::other("no process id"))?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let pipe = child.stderr.take();
        let stderr_task = Some(tokio::spawn(collect(pipe, stderr.clone())));
        Ok(Self { child, group, stderr, stderr_task, priority: start.priority, ended: false })
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.ended = true;
        Ok(status)
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) {
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.wait().await;
        self.drain().await;
    }

    /// Ends it: `quit` was already asked for by the monitor; then SIGTERM, then SIGKILL for all of its group.
    pub(crate) async fn end(&mut self, quit: impl Future<Output = ()>) {
        // One that lets all others go first would take its time to follow, and somebody may wait for its end.
        if self.priority == Priority::Normal {
            self.ask_to_end(quit).await;
        }
        // Whatever a wrapper script left in the group goes, too.
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait().await;
        self.ended = true;
        self.drain().await;
    }

    /// Reads what it has said to the end.
    pub(crate) async fn drain(&mut self) {
        // The pipe ends with the last process that holds it; one that left the group is not waited for.
        if let Some(task) = self.stderr_task.take() {
            let abort = task.abort_handle();
            if tokio::time::timeout(PATIENCE, task).await.is_err() {
                abort.abort();
            }
        }
    }

    async fn ask_to_end(&mut self, quit: impl Future<Output = ()>) {
        let asked = async {
            quit.await;
            self.child.wait().await
        };
        if !matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(_))) {
            let _ = killpg(self.group, Signal::SIGTERM);
            // A stopped process takes no signal but this one and SIGKILL.
            let _ = killpg(self.group, Signal::SIGCONT);
            if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
                tracing::warn!("a process does not follow SIGTERM; killing it");
            }
        }
    }

    /// The lines it wrote to standard error, without the noise that QEMU makes at every end.
    pub(crate) fn stderr(&self) -> Vec<String> {
        let bytes = self.stderr.lock().expect("no holder panics");
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter(|line| !line.contains("terminating on signal"))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
        if let Some(task) = &self.stderr_task {
            task.abort();
        }
    }
}

/// Makes what `command` will start die with the thread that starts it, however that ends.
pub(crate) fn tie_to_thread(command: &mut std::process::Command) {
    // SAFETY: between fork and exec only a system call is made; nothing allocates or takes a lock.
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
}

/// Runs a program that is soon done, and kills it when `cancel` fires.
pub(crate) async fn output(
    mut command: std::process::Command,
    priority: Priority,
    cancel: &CancellationToken,
) -> io::Result<Output> {
    priority.give(&mut command);
    // SAFETY: between fork and exec only a system call is made; nothing allocates or takes a lock.
    unsafe {
        command.pre_exec(|| {
            close_inherited();
            Ok(())
        });
    }
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(io::ErrorKind::Interrupted.into()),
        output = command.output() => output,
    }
}

async fn collect(pipe: Option<tokio::process::ChildStderr>, into: Arc<Mutex<Vec<u8>>>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let mut kept = into.lock().expect("no holder panics");
        kept.extend_from_slice(&buffer[..count]);
        // The end says why it died.
        let excess = kept.len().saturating_sub(STDERR_LIMIT);
        kept.drain(..excess);
    }
}

/// Makes the child die with us, and inherit the given descriptors and no others.
fn tie_to_us(command: &mut Command, descriptors: Vec<RawFd>) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // We may have died before the line above took effect.
        if nix::unistd::getppid() != parent {
            return Err(io::Error::from(nix::errno::Errno::ESRCH));
        }
        close_inherited();
        for fd in &descriptors {
            // SAFETY: the caller keeps these descriptors open, and F_SETFD takes a plain number.
            if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; nothing allocates or takes a lock.
    unsafe { command.pre_exec(prepare) };
}

/// What serves a guest makes no device on the host, whoever runs it: the guest's root could ask for the host's disk in a directory
/// that it shares. An ordinary user may not anyway, and the call fails.
fn forbid_devices() {
    /// Number 27 of capabilities(7).
    const CAP_MKNOD: libc::c_ulong = 27;
    // SAFETY: the call takes plain numbers and changes nothing but what this process may do.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0) };
}

/// Has the next program start without the descriptors that came from whoever started us. Before Linux 5.11 the call is not
/// there, and ours have the flag anyway.
fn close_inherited() {
    // SAFETY: the system call touches nothing but this process's descriptor flags.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

impl OwnMounts {
    fn enter(self) -> io::Result<()> {
        if self.in_user_namespace {
            let (user, group) = (geteuid().as_raw(), getegid().as_raw());
            unshare(CloneFlags::CLONE_NEWUSER)?;
            write_to(c"/proc/self/uid_map", format_args!("{user} {user} 1"))?;
            // Without this nobody but root may map a group.
            write_to(c"/proc/self/setgroups", format_args!("deny"))?;
            write_to(c"/proc/self/gid_map", format_args!("{group} {group} 1"))?;
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&CStr>, c"/", None::<&CStr>, private, None::<&CStr>)?;
        if let Some(point) = self.root_at {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(c"/"), point, None::<&CStr>, bind, None::<&CStr>)?;
        }
        if self.read_only { make_read_only() } else { Ok(()) }
    }
}

/// Writes to a file of the kernel's without allocating.
fn write_to(path: &CStr, text: fmt::Arguments<'_>) -> io::Result<()> {
    let mut buffer = [0; 64];
    let mut rest = buffer.as_mut_slice();
    rest.write_fmt(text)?;
    let left = rest.len();
    let file = nix::fcntl::open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(file, &buffer[..buffer.len() - left])?;
    Ok(())
}

fn make_read_only() -> io::Result<()> {
    // SAFETY: all zeros are a valid value of this plain structure.
    let mut change: libc::mount_attr = unsafe { std::mem::zeroed() };
    change.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: path and structure outlive the call, and the size is the structure's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts this process behind all others. Where the system refuses, it works all the same, and only gets more than it should.
fn go_last() {
    // As in linux/ioprio.h, which has no other binding here.
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_IDLE: libc::c_int = 3 << 13;
    // SAFETY: both system calls take plain numbers, and change nothing but this process's place.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The death signal comes when the *thread* that forked ends (prctl(2), `PR_SET_PDEATHSIG`), so a worker that the runtime
/// may retire must not fork.
async fn spawn_on_lasting_thread(mut command: Command) -> io::Result<Child> {
    static THREAD: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawn".to_owned())
            .spawn(move || receiver.into_iter().for_each(|job| job()))
            .expect("a thread can be started");
        sender
    });
    let (reply, answer) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let job: Job = Box::new(move || {
        let _entered = runtime.enter();
        // The caller may have been cancelled meanwhile; the child then dies with the dropped reply.
        let _ = reply.send(command.spawn());
    });
    thread.send(job).map_err(|_| io::Error::other("the spawning thread is gone"))?;
    answer.await.map_err(|_| io::Error::other("the spawning thread is gone"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> std::process::Command {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", text]).stdin(Stdio::null());
        command
    }

    async fn said(text: &str, priority: Priority) -> String {
        let output = output(shell(text), priority, &CancellationToken::new()).await.unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Its number in `ps`, which its own children inherit.
    const NICE: &str = "sh -c 'cut -d\" \" -f19 /proc/self/stat'";

    #[tokio::test]
    async fn what_lets_others_go_first_is_as_nice_as_can_be_with_all_that_it_starts() {
        assert_eq!(said(NICE, Priority::Low).await, "19");
        assert_ne!(said(NICE, Priority::Normal).await, "19");
    }

    // H7
    #[tokio::test]
    async fn a_program_that_is_soon_done_inherits_nothing_either() {
        let foreign = tempfile::tempfile().unwrap();
        let number = nix::fcntl::fcntl(&foreign, nix::fcntl::FcntlArg::F_DUPFD(100)).unwrap();
        assert_eq!(
            said(&format!("test -e /proc/self/fd/{number} || echo none"), Priority::Normal).await,
            "none"
        );
        nix::unistd::close(number).unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_called_off_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let program = shell(&format!("exec sleep 1000 >'{}'", pipe.display()));
        let cancel = CancellationToken::new();
        let call_off = cancel.clone();
        let seen = tokio::task::spawn_blocking(move || {
            let mut pipe = std::fs::File::open(pipe).unwrap();
            call_off.cancel();
            // It ends with the only program that could write to it.
            io::Read::read(&mut pipe, &mut [0]).unwrap()
        });
        let ended = output(program, Priority::Low, &cancel).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(seen.await.unwrap(), 0);
    }
}
