//! The command's root: put together from the shares, then moved onto `/`.
//!
//! Moved, not only changed to: after a plain chroot the kernel refuses `unshare -U`. And by PID 1 itself, whose root is that
//! of the kernel's own helpers: `modprobe` for a file system or a protocol runs in what the user sees as `/`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot};
use vmtest_guest::wire::{Access, Bind, Job};

use crate::sentence::{Result, Saying as _};
use crate::setup::{RESOLV_CONF, ROOT, root_point, share_point};

/// Where kernel modules are.
const MODULES: &str = "/lib/modules";

/// Makes the job's root `/`, with every share in its place. `overlay` says that anything may be created in it.
pub(crate) fn enter(job: &Job, overlay: bool) -> Result<()> {
    // Descriptors from before: they are how the shares are reached later.
    let sources = Sources::open(job)?;
    move_root(overlay)?;
    let root = NewRoot { access: job.root.access, overlay };
    root.cover_temporary_directories()?;
    root.mount_run()?;
    root.mount_shares(job, &sources)?;
    if let Some(resolv_conf) = &sources.resolv_conf {
        root.cover_resolv_conf(resolv_conf)?;
    }
    if job.root.access == Access::ReadOnly {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
            .saying("cannot make the root read-only")?;
    }
    Ok(())
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
            .chain([Ok((job.root.tag.clone(), open_path(root_point(job.root.access))?))])
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
fn move_root(may_create: bool) -> Result<()> {
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
    access: Access,
    /// Whether anything may be created in it without reaching the host.
    overlay: bool,
}

impl NewRoot {
    /// What must be writable but cannot be in this root becomes a tmpfs.
    fn cover_temporary_directories(&self) -> Result<()> {
        let directories: &[(&str, &str)] = match (self.access, self.overlay) {
            (_, true) => &[],
            // Mount points go here, never onto the host.
            (Access::Writable, false) => &[("/mnt", "mode=0755")],
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
        for Bind { tag, inside, point, optional } in &job.binds {
            let source = Path::new(&descriptor_path(sources.share(tag)?)).join(inside);
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
            (false, Access::Writable) if !on_tmpfs || path.starts_with("/tmp") => Err(format!(
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

fn bind(source: &Path, point: &Path) -> Result<()> {
    mount(Some(source), point, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .saying(format_args!("cannot mount on {}", point.display()))
}
