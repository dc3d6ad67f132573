//! What happens once per job, before the session: everything that a parked guest cannot know.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use vmtest_guest::wire::{Access, FileSystem, Frame, JOB_DIR, JOB_FILE, Job, Network, Share};

use crate::children::Children;
use crate::layers::{self, Layer};
use crate::ports::Stream;
use crate::sentence::{Result, Saying as _};
use crate::{ioctl, network};

/// Where the job's root is put together, before it is moved onto `/`.
pub(crate) const ROOT: &str = "/vm/root";
/// The name server file that covers the root's own.
pub(crate) const RESOLV_CONF: &str = "/vm/resolv.conf";
/// The root share, where it is covered.
const LOWER: &str = "/vm/lower";
const SHARES: &str = "/vm/shares";
/// Shares that are covered.
const LOWER_SHARES: &str = "/vm/lower-shares";

/// The directory in which the agent writes the job.
pub(crate) struct JobDirectory(Inotify);

impl JobDirectory {
    /// Notices a job from now on.
    pub(crate) fn watch() -> Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .saying("cannot watch for the job (the kernel needs CONFIG_INOTIFY_USER=y)")?;
        inotify.add_watch(JOB_DIR, AddWatchFlags::IN_CLOSE_WRITE).saying("cannot watch for the job")?;
        Ok(Self(inotify))
    }

    fn job_written(&self) -> bool {
        let events = self.0.read_events().unwrap_or_default();
        let name = Path::new(JOB_FILE).file_name();
        events.iter().any(|event| event.name.as_deref() == name)
    }
}

/// Parks: does nothing but reap, until a job is there.
pub(crate) fn wait_for_job(jobs: &JobDirectory, children: &mut Children) -> Result<Arrived> {
    loop {
        let mut fds = [
            PollFd::new(jobs.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(children.death(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("cannot wait for the job: {error}")),
        }
        children.reap(None);
        if jobs.job_written() {
            return read_job();
        }
    }
}

/// A job that the host has written.
pub(crate) struct Arrived {
    pub(crate) job: Job,
    /// When the host began to write it, by the guest's own clock.
    begun: SystemTime,
}

/// Reads the job that the host wrote.
fn read_job() -> Result<Arrived> {
    let mut file = File::open(JOB_FILE).saying(format_args!("cannot open {JOB_FILE}"))?;
    // A file's time of access is that of its creation until it is read.
    let begun = file.metadata().and_then(|data| data.accessed()).saying(JOB_FILE)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).saying(format_args!("cannot read {JOB_FILE}"))?;
    let job = Job::from_bytes(&bytes)
        .ok_or_else(|| "the job makes no sense: guest and host are of different versions".to_owned())?;
    Ok(Arrived { job, begun })
}

/// Makes this guest's random numbers its own.
pub(crate) fn seed_random(entropy: &[u8]) -> Result<()> {
    let random = File::options().write(true).open("/dev/urandom").saying("cannot open /dev/urandom")?;
    match ioctl::add_entropy(&random, entropy) {
        // The reseed request is newer than 4.17; a kernel without it reseeds by itself.
        Err(error) if error.raw_os_error() != Some(nix::libc::EINVAL) => {
            Err(error).saying("cannot seed the random numbers")
        }
        _ => Ok(()),
    }
}

/// Sets the wall clock to the host's. Writing the job takes a busy host longer than the clock may be wrong.
pub(crate) fn set_clock(Arrived { job, begun }: &Arrived) -> Result<()> {
    let since = begun.elapsed().unwrap_or_default();
    let time = TimeSpec::from_duration(Duration::from_nanos(job.realtime_ns) + since);
    clock_settime(ClockId::CLOCK_REALTIME, time).saying("cannot set the clock")
}

/// Gives the guest the host's name, so that it resolves as it does there.
pub(crate) fn set_host_name(name: &OsStr) -> Result<()> {
    nix::unistd::sethostname(name).saying("cannot set the host name")
}

/// Brings up `lo`, and the card where there is one.
pub(crate) fn bring_network_up(wanted: Option<&Network>, stream: &mut Stream) -> Result<()> {
    if let Err(sentence) = network::bring_loopback_up() {
        // A kernel without IP is a fine thing to test on.
        stream.send(&Frame::Notice(sentence))?;
    }
    let Some(wanted) = wanted else { return Ok(()) };
    network::configure_card(wanted)?;
    fs::write(RESOLV_CONF, network::resolv_conf(wanted)).saying("cannot write resolv.conf")
}

/// Limits and mask, which the command inherits.
pub(crate) fn set_limits(mask: u32) -> Result<()> {
    // BPF programs and io_uring charge locked memory on older kernels; what the kernel gives PID 1 is far too little.
    let unlimited = nix::libc::RLIM_INFINITY;
    setrlimit(Resource::RLIMIT_MEMLOCK, unlimited, unlimited)
        .saying("cannot lift the limit on locked memory")?;
    // What systemd gives a service, and so what the user's programs know.
    setrlimit(Resource::RLIMIT_NOFILE, 1024, 1 << 19).saying("cannot set the limit on open files")?;
    umask(Mode::from_bits_truncate(mask));
    Ok(())
}

/// The kernel's taint flags, readable also when the command hides /proc.
pub(crate) fn open_tainted() -> Result<File> {
    File::open("/proc/sys/kernel/tainted").saying("cannot see whether the kernel is tainted")
}

/// The shares that were mounted, and what became of the root.
pub(crate) struct Shares {
    /// Written through to the host at the end.
    pub(crate) writable: Vec<OwnedFd>,
    /// What the command writes to, and is gone.
    pub(crate) layers: Vec<Layer>,
    /// Whether the root is an overlay.
    pub(crate) overlay: bool,
}

/// Mounts every share, and the root with what covers it.
pub(crate) fn mount_shares(job: &Job, stream: &mut Stream) -> Result<Shares> {
    let is_root_late = job.root.file_system == FileSystem::Virtiofs;
    if is_root_late {
        find_late_devices()?;
    }
    layers::make_room()?;
    let root = mount_root(job, stream)?;
    let mut shares = Shares { writable: Vec::new(), layers: Vec::new(), overlay: root.is_some() };
    // Not sooner: while the root is mounted, the kernel may find them by itself.
    if !is_root_late && job.shares.iter().any(|share| share.file_system == FileSystem::Virtiofs) {
        find_late_devices()?;
    }
    for share in &job.shares {
        mount_one(job, share, &mut shares)?;
    }
    if job.root.access == Access::Writable {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        shares.writable.push(open(ROOT, flags, Mode::empty()).saying(ROOT)?);
    }
    shares.layers.extend(root.map(|upper| Layer { upper, point: "/".into() }));
    Ok(shares)
}

/// Mounts a share that is not the root.
fn mount_one(job: &Job, share: &Share, shares: &mut Shares) -> Result<()> {
    let Share { tag, file_system, access } = share;
    let point = share_point(tag);
    // What the root's overlay did not work for has been said, and holds for all of them.
    if *access == Access::Overlay && shares.overlay {
        let lower = Path::new(LOWER_SHARES).join(tag);
        mount_share(*file_system, tag, &lower, flags(job, false))?;
        let upper = layers::cover(tag, &lower, &point, flags(job, true))??;
        shares.layers.push(Layer { upper, point: layers::place(job, tag) });
        return Ok(());
    }
    let writable = *access == Access::Writable;
    mount_share(*file_system, tag, &point, flags(job, writable))?;
    if writable {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        shares.writable.push(open(&point, flags, Mode::empty()).saying(point.display())?);
    }
    Ok(())
}

/// Where a share is mounted before it is bound to its places.
pub(crate) fn share_point(tag: &str) -> PathBuf {
    Path::new(SHARES).join(tag)
}

/// Where the root share is mounted, before anything covers it.
pub(crate) fn root_point(access: Access) -> &'static Path {
    Path::new(if access == Access::Writable { ROOT } else { LOWER })
}

/// What is written to the root, where that is an overlay.
fn mount_root(job: &Job, stream: &mut Stream) -> Result<Option<File>> {
    fs::create_dir_all(ROOT).saying(format_args!("cannot create {ROOT}"))?;
    let writable = job.root.access == Access::Writable;
    mount_share(job.root.file_system, &job.root.tag, root_point(job.root.access), flags(job, writable))?;
    if writable {
        return Ok(None);
    }
    match layers::cover(&job.root.tag, Path::new(LOWER), Path::new(ROOT), flags(job, true))? {
        Ok(upper) => Ok(Some(upper)),
        Err(why) => {
            let covered = job.shares.iter().any(|share| share.access == Access::Overlay);
            let others = if covered { "; the project and its mounts are read-only, too" } else { "" };
            stream.send(&Frame::Notice(format!(
                "{why}: the root is read-only, with a tmpfs on /tmp, /var/tmp, /run and /mnt{others}"
            )))?;
            Ok(None)
        }
    }
}

/// Finds the devices that came after the boot, or waits until the kernel has found them by itself (hot plug).
fn find_late_devices() -> Result<()> {
    fs::write("/sys/bus/pci/rescan", "1").saying("cannot look for new devices")
}

fn flags(job: &Job, writable: bool) -> MsFlags {
    let mut flags = MsFlags::empty();
    flags.set(MsFlags::MS_RDONLY, !writable);
    flags.set(MsFlags::MS_NOSUID, !job.honors_setuid);
    flags
}

/// Mounts the share `tag`.
fn mount_share(file_system: FileSystem, tag: &str, point: &Path, flags: MsFlags) -> Result<()> {
    fs::create_dir_all(point).saying(point.display())?;
    let mounted = match file_system {
        FileSystem::NineP => {
            // What the guest cannot write is cached without asking the host again; what it can is kept coherent.
            let cache = if flags.contains(MsFlags::MS_RDONLY) { "loose" } else { "mmap" };
            // 512000 is what the virtio transport carries at most.
            let options = format!("trans=virtio,version=9p2000.L,msize=512000,cache={cache}");
            mount(Some(tag), point, Some("9p"), flags, Some(options.as_str()))
        }
        // How much is cached is the daemon's decision.
        FileSystem::Virtiofs => mount(Some(tag), point, Some("virtiofs"), flags, None::<&str>),
    };
    mounted.map_err(|error| {
        let why = match (file_system, error) {
            (FileSystem::NineP, Errno::ENODEV) => ": the kernel has no 9p file system (CONFIG_9P_FS)",
            (FileSystem::NineP, Errno::ENOENT | Errno::EINVAL | Errno::EPROTONOSUPPORT) => {
                ": the kernel has no 9p transport over virtio (CONFIG_NET_9P_VIRTIO)"
            }
            (FileSystem::Virtiofs, Errno::ENODEV) => ": the kernel has no virtiofs (CONFIG_VIRTIO_FS)",
            (FileSystem::Virtiofs, Errno::EINVAL) => ": the kernel does not see its device",
            _ => "",
        };
        format!("cannot mount the share `{tag}`: {error}{why}")
    })
}
