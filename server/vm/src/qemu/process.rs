//! A process of a machine (QEMU, virtiofsd): started so that it cannot outlive us, ended so that nothing of it stays.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long QEMU may take to follow `quit`, and again to follow SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is kept of QEMU's standard error.
const STDERR_LIMIT: usize = 16 * 1024;

/// What to start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Descriptors that it inherits, at their own numbers; no others.
    pub(crate) descriptors: Vec<RawFd>,
    /// None to see the host's mounts as they are.
    pub(crate) mounts: Option<OwnMounts>,
}

/// Mounts that only one process sees. Needs root, and Linux 5.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnMounts {
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
    stderr_task: JoinHandle<()>,
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
        if let Some(mounts) = start.mounts {
            // SAFETY: between fork and exec only system calls are made; nothing allocates or takes a lock.
            unsafe { command.pre_exec(move || mounts.enter()) };
        }
        let mut child = spawn_on_lasting_thread(command).await?;
        let group =
            child.id().map(|id| Pid::from_raw(id as i32)).ok_or_else(|| io::Error::other("no process id"))?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let pipe = child.stderr.take();
        let stderr_task = tokio::spawn(collect(pipe, stderr.clone()));
        Ok(Self { child, group, stderr, stderr_task, ended: false })
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
        // Whatever a wrapper script left in the group goes, too.
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait().await;
        self.ended = true;
        self.drain().await;
    }

    /// Reads what it has said to the end.
    async fn drain(&mut self) {
        // The pipe ends with the last process that holds it; one that left the group is not waited for.
        let _ = tokio::time::timeout(PATIENCE, &mut self.stderr_task).await;
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
        self.stderr_task.abort();
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
        // Some came from whoever started us, without close-on-exec. Before Linux 5.11 the call is not there, and ours
        // have the flag anyway.
        // SAFETY: the system call touches nothing but this process's descriptor flags.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
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

impl OwnMounts {
    fn enter(self) -> io::Result<()> {
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
