//! The process that enters the job's root and becomes the command.
//!
//! It has a mount namespace of its own, so that PID 1 and the agent keep working whatever the command does to its mounts.
//! The root is moved onto `/`: after a plain chroot the kernel refuses `unshare -U`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, chroot, setsid};
use vmtest_guest::wire::{Bind, CommandSpec, Job, RootAccess, Stdio};

use crate::sentence::{Result, Saying as _};
use crate::setup::{self, RESOLV_CONF, ROOT, share_point};

/// The argument that makes this program the session; [`OVERLAY`] or [`PLAIN`] and the status descriptor's number follow.
pub(crate) const ARGUMENT: &str = "session";
/// The root is an overlay: anything may be created in it.
pub(crate) const OVERLAY: &str = "overlay";
/// The root is the share itself.
pub(crate) const PLAIN: &str = "plain";

/// Where kernel modules are.
const MODULES: &str = "/lib/modules";

/// Enters the root and becomes the command; a sentence on the status descriptor says why that failed, its end without one
/// that it did not.
pub(crate) fn main(overlay: bool, status_fd: &str) {
    let Ok(number) = status_fd.parse() else { return };
    // SAFETY: PID 1 opened this descriptor for this process, and nothing else here owns it.
    let mut status = File::from(unsafe { OwnedFd::from_raw_fd(number) });
    let result = fcntl(&status, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .saying("cannot close the status descriptor at exec")
        .and_then(|_| become_command(overlay));
    if let Err(sentence) = result {
        let _ = status.write_all(sentence.as_bytes());
    }
}

fn become_command(overlay: bool) -> Result<()> {
    let job = setup::read_job()?;
    // First of all: the terminal that a process opens without being a session leader does not become its own.
    setsid().saying("cannot start a session")?;
    if let Stdio::Terminal { .. } = job.command.stdio {
        take_terminal()?;
    }
    unshare(CloneFlags::CLONE_NEWNS).saying("cannot make a mount namespace")?;
    // Descriptors are opened in the new namespace but before the root changes: they are how the shares are reached later.
    let sources = Sources::open(&job)?;
    enter_root(overlay)?;
    let root = NewRoot { access: job.root.access, overlay };
    root.cover_temporary_directories()?;
    root.mount_run()?;
    root.mount_shares(&job, &sources)?;
    if let Some(resolv_conf) = &sources.resolv_conf {
        root.cover_resolv_conf(resolv_conf)?;
    }
    if job.root.access == RootAccess::ReadOnly {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
            .saying("cannot make the root read-only")?;
    }
    exec(&job)
}

/// Standard input is the terminal's slave side; opening it as session leader makes it the controlling terminal.
fn take_terminal() -> Result<()> {
    let name = fs::read_link("/proc/self/fd/0").saying("cannot find the terminal")?;
    File::options().read(true).write(true).open(&name).map(drop).saying("cannot take the terminal")
}

/// Descriptors of what lies outside the new root.
struct Sources {
    shares: BTreeMap<String, OwnedFd>,
    resolv_conf: Option<OwnedFd>,
}

impl Sources {
    fn open(job: &Job) -> Result<Self> {
        let tags = job.shares.iter().map(|share| &share.tag);
        let shares = tags
            .map(|tag| Ok((tag.clone(), open_path(&share_point(tag))?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let resolv_conf = job.network.as_ref().map(|_| open_path(Path::new(RESOLV_CONF))).transpose()?;
        Ok(Self { shares, resolv_conf })
    }

    fn share(&self, tag: &str) -> Result<&OwnedFd> {
        self.shares.get(tag).ok_or_else(|| format!("there is no share `{tag}`"))
    }
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .saying(format_args!("cannot open {}", path.display()))
}

/// The path under which a descriptor can be mounted.
fn descriptor_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Takes the kernel's file systems along and moves the root onto `/`.
fn enter_root(may_create: bool) -> Result<()> {
    for dir in ["dev", "proc", "sys"] {
        let target = Path::new(ROOT).join(dir);
        if may_create {
            let _ = fs::create_dir_all(&target);
        }
        let from = Path::new("/").join(dir);
        mount(Some(&from), &target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .saying(format_args!("cannot mount /{dir}: the root has no directory for it"))?;
    }
    chdir(ROOT).saying("cannot enter the root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .saying("cannot move the root onto /")?;
    chroot(".").saying("cannot make the root /")?;
    chdir("/").saying("cannot enter the root")
}

/// The root as the command will see it.
struct NewRoot {
    access: RootAccess,
    /// Whether anything may be created in it without reaching the host.
    overlay: bool,
}

impl NewRoot {
    /// What must be writable but cannot be in this root becomes a tmpfs.
    fn cover_temporary_directories(&self) -> Result<()> {
        let directories: &[(&str, &str)] = match (self.access, self.overlay) {
            (_, true) => &[],
            // Mount points go here, never onto the host.
            (RootAccess::Writable, false) => &[("/mnt", "mode=0755")],
            (_, false) => &[("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/mnt", "mode=0755")],
        };
        for (directory, options) in directories {
            if *directory == "/mnt" || fs::exists(directory).unwrap_or(false) {
                mount_tmpfs(directory, options)?;
            }
        }
        Ok(())
    }

    /// An empty /run, but for what the rest of the root points to in it.
    fn mount_run(&self) -> Result<()> {
        self.create_dir(Path::new("/run"))?;
        let resolv_conf = fs::canonicalize("/etc/resolv.conf").ok().filter(|path| path.starts_with("/run"));
        let kept_text = resolv_conf.and_then(|path| Some((fs::read(&path).ok()?, path)));
        let links: Vec<(PathBuf, PathBuf)> = fs::read_dir("/run")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((fs::read_link(entry.path()).ok()?, entry.path())))
            .collect();
        mount_tmpfs("/run", "mode=0755")?;
        for (target, link) in links {
            let _ = symlink(target, link);
        }
        let _ = fs::DirBuilder::new().mode(0o1777).create("/run/lock");
        if let Some((text, path)) = kept_text {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).saying(parent.display())?;
            }
            fs::write(&path, text).saying(path.display())?;
        }
        Ok(())
    }

    fn mount_shares(&self, job: &Job, sources: &Sources) -> Result<()> {
        for Bind { tag, point, optional } in &job.binds {
            let source = descriptor_path(sources.share(tag)?);
            let point = Path::new(point);
            match self.create_dir(point).and_then(|()| bind(&source, point)) {
                Err(sentence) if !optional => return Err(sentence),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a mount point, where that does not change the host.
    fn create_dir(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if !self.overlay && path.starts_with(MODULES) && Path::new(MODULES).is_dir() {
            // The other kernels' modules are of no use in this guest.
            mount_tmpfs(MODULES, "mode=0755")?;
        }
        let on_tmpfs = ["/mnt", "/run", "/tmp", "/dev", MODULES].iter().any(|dir| path.starts_with(dir));
        match (self.overlay, self.access) {
            (false, RootAccess::Writable) if !on_tmpfs || path.starts_with("/tmp") => Err(format!(
                "the mount point {} does not exist, and with `rw` none is created outside /mnt, because that would be on the host",
                path.display()
            )),
            (false, _) if !on_tmpfs => Err(format!(
                "the mount point {} does not exist in the read-only root; use one under /mnt",
                path.display()
            )),
            _ => fs::create_dir_all(path)
                .saying(format_args!("cannot create the mount point {}", path.display())),
        }
    }

    fn cover_resolv_conf(&self, source: &OwnedFd) -> Result<()> {
        let target =
            fs::canonicalize("/etc/resolv.conf").unwrap_or_else(|_| PathBuf::from("/etc/resolv.conf"));
        if !target.is_file() && self.overlay {
            File::create(&target).saying("cannot create /etc/resolv.conf")?;
        }
        mount(Some(descriptor_path(source).as_str()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .saying("cannot set the name server in /etc/resolv.conf")
    }
}

fn mount_tmpfs(point: &str, options: &str) -> Result<()> {
    mount(Some("tmpfs"), point, Some("tmpfs"), MsFlags::empty(), Some(options))
        .saying(format_args!("cannot mount a tmpfs on {point}"))
}

fn bind(source: &str, point: &Path) -> Result<()> {
    mount(Some(source), point, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .saying(format_args!("cannot mount on {}", point.display()))
}

fn exec(job: &Job) -> Result<()> {
    let CommandSpec { script, cwd, env, stdio } = &job.command;
    chdir(Path::new(cwd))
        .saying(format_args!("cannot enter the working directory {}", Path::new(cwd).display()))?;
    // BPF programs and io_uring charge locked memory on older kernels; what the kernel gives PID 1 is far too little.
    let unlimited = nix::libc::RLIM_INFINITY;
    setrlimit(Resource::RLIMIT_MEMLOCK, unlimited, unlimited)
        .saying("cannot lift the limit on locked memory")?;
    // What systemd gives a service, and so what the user's programs know.
    setrlimit(Resource::RLIMIT_NOFILE, 1024, 1 << 19).saying("cannot set the limit on open files")?;
    umask(Mode::from_bits_truncate(job.umask));
    let path =
        env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let shell = find_program("bash", &path)
        .or_else(|| find_program("sh", &path))
        .ok_or_else(|| format!("the root has neither bash nor sh in PATH={}", path.to_string_lossy()))?;
    let mut command = Command::new(&shell);
    command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    match (script, stdio) {
        (Some(script), _) => drop(command.arg("-c").arg(script)),
        (None, Stdio::Terminal { .. }) => drop(command.arg("-i")),
        (None, _) => {}
    }
    let error = command.exec();
    Err(format!("cannot start {}: {error}", shell.display()))
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
