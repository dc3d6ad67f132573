//! From a target to what QEMU shares and the guest init is told.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use vmtest_config::{Command, InheritEnv, KernelSystem, RootAccess, Target};
use vmtest_guest::wire::{self, Access, Bind, CommandSpec, FileSystem, Job, Network, Share, Stdio};

use crate::event::ShareKind;
use crate::executor::WindowSize;
use crate::image::CommandLine;
use crate::modules::Index;
use crate::qemu::machine::{ROOT_TAG, SERVED_AT_MOST, ShareDevice};

/// Where the project appears in every guest, as in the original vmtest.
const PROJECT_POINT: &str = "/mnt/vmtest";
/// QEMU's user-mode network as it is without options (docs/system/devices/net.rst).
const USER_NETWORK: Network =
    Network { address: [10, 0, 2, 15], prefix: 24, gateway: [10, 0, 2, 2], dns: [10, 0, 2, 3] };
/// Appended to `PATH`: the guest's user is root, the host's may not have these.
const SYSTEM_PATH: [&str; 8] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    // NixOS
    "/run/wrappers/bin",
    "/run/current-system/sw/bin",
];

/// What is shared with the guest, and where it appears there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shares {
    /// How they reach the guest.
    pub(crate) kind: ShareKind,
    /// What can be mounted; the root comes first.
    pub(crate) devices: Vec<ShareDevice>,
    /// Places in the guest, a parent before its child.
    pub(crate) binds: Vec<Bind>,
}

impl Shares {
    /// The shares of a kernel target. `project` is canonical.
    pub(crate) fn new(
        target: &Target,
        system: &KernelSystem,
        project: &Path,
        modules: Option<(&str, &Index)>,
        kind: ShareKind,
    ) -> Self {
        let mut shares = Self { kind, devices: Vec::new(), binds: Vec::new() };
        let root_is_host = system.rootfs == Path::new("/");
        let root_access = match system.root_access {
            RootAccess::Overlay => Access::Overlay,
            RootAccess::ReadOnly => Access::ReadOnly,
            RootAccess::Writable => Access::Writable,
        };
        shares.export(ROOT_TAG, &system.rootfs, root_access);
        // A project at / is the whole host: its writes are the root's, and only `rw` lets those through.
        let writable = project != Path::new("/") || system.root_access == RootAccess::Writable;
        shares.export("project", project, access(target, writable));
        shares.bind("project", Path::new(PROJECT_POINT));
        if root_is_host && project != Path::new("/") {
            shares.bind("project", project);
        }
        for mount in &target.vm.mounts {
            // By what was exported: a mount that needs no device does not make another machine.
            let tag = format!("mount{}", shares.devices.len() - 2);
            if mount.writable {
                shares.export(&tag, &mount.host_path, access(target, true));
                shares.bind(&tag, &mount.guest_path);
            } else {
                shares.show(system, &tag, &mount.host_path, Path::new(""), &mount.guest_path, false);
            }
        }
        if let Some((release, outcome)) = modules {
            shares.show_modules(release, outcome, system);
        }
        if shares.kind == ShareKind::Mixed && shares.served() == 0 {
            shares.kind = ShareKind::NineP;
        }
        // A parent sorts before its child; places at the same depth do not matter to each other.
        shares.binds.sort_by(|one, other| Path::new(&one.point).cmp(Path::new(&other.point)));
        shares
    }

    /// The shares of an image target, each by every file system of `by`: which of them its kernel has turns out in the guest.
    pub(crate) fn of_image(target: &Target, project: &Path, by: &[FileSystem]) -> Self {
        let mut shares = Self { kind: ShareKind::NineP, devices: Vec::new(), binds: Vec::new() };
        let mounts = target.vm.mounts.iter().enumerate().map(|(number, mount)| {
            (format!("mount{number}"), mount.host_path.as_path(), mount.guest_path.as_path(), mount.writable)
        });
        // A project at / is the whole host.
        let project = ("project".to_owned(), project, Path::new(PROJECT_POINT), project != Path::new("/"));
        for (tag, path, point, writable) in std::iter::once(project).chain(mounts) {
            for file_system in by.iter().copied() {
                shares.devices.push(ShareDevice {
                    tag: tag.clone(),
                    path: real(path),
                    file_system,
                    access: access(target, writable),
                });
            }
            shares.bind(&tag, point);
        }
        shares.binds.sort_by(|one, other| Path::new(&one.point).cmp(Path::new(&other.point)));
        shares
    }

    fn show_modules(&mut self, release: &str, index: &Index, system: &KernelSystem) {
        let point = Path::new("/lib/modules").join(release);
        match index {
            Index::AsIs { dir } => {
                let there = [system.rootfs.join("lib/modules"), system.rootfs.join("usr/lib/modules")];
                if !there.iter().any(|place| dir == &place.join(release)) {
                    self.show(system, "modules", dir, Path::new(""), &point, true);
                }
            }
            Index::Links(links) => {
                self.show(system, "modules", &links.share, &links.inside, &point, true);
                let files = &links.links_into;
                self.show(system, "module-files", files, Path::new(""), files, true);
            }
            Index::NotPossible { .. } => {}
        }
    }

    /// Puts a directory that the guest cannot write in its place: by the root share, where that has it, because each device of
    /// its own takes a guest tenths of a second.
    fn show(
        &mut self,
        system: &KernelSystem,
        tag: &str,
        path: &Path,
        inside: &Path,
        point: &Path,
        optional: bool,
    ) {
        let in_root = if system.rootfs == Path::new("/") && system.root_access != RootAccess::Writable {
            // A symbolic link would lead elsewhere in the guest.
            std::fs::canonicalize(path).ok()
        } else {
            None
        };
        if let Some(in_root) = in_root.as_deref().and_then(|path| path.strip_prefix("/").ok()) {
            self.add_bind(ROOT_TAG, &in_root.join(inside), point, optional);
        } else {
            self.export(tag, path, Access::ReadOnly);
            self.add_bind(tag, inside, point, optional);
        }
    }

    fn export(&mut self, tag: &str, path: &Path, access: Access) {
        let is_served = match self.kind {
            ShareKind::NineP => false,
            ShareKind::Virtiofs => true,
            // The devices and inodes of several file systems are told apart by 9p only.
            ShareKind::Mixed => {
                access == Access::Writable && !has_mounts_below(path) && self.served() < SERVED_AT_MOST
            }
        };
        let file_system = if is_served { FileSystem::Virtiofs } else { FileSystem::NineP };
        self.devices.push(ShareDevice { tag: tag.to_owned(), path: real(path), file_system, access });
    }

    /// How many need a daemon.
    pub(crate) fn served(&self) -> usize {
        self.devices.iter().filter(|device| device.file_system == FileSystem::Virtiofs).count()
    }

    fn bind(&mut self, tag: &str, point: &Path) {
        self.add_bind(tag, Path::new(""), point, false);
    }

    fn add_bind(&mut self, tag: &str, inside: &Path, point: &Path, optional: bool) {
        let (tag, inside, point) = (tag.to_owned(), inside.into(), point.into());
        self.binds.push(Bind { tag, inside, point, optional });
    }
}

/// Where a directory really is: what was checked is what QEMU and virtiofsd are told, whatever becomes of the links on the way.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What becomes of writes to a share of the target's, other than the root.
fn access(target: &Target, writable: bool) -> Access {
    match (writable, target.discards_writes) {
        (false, _) => Access::ReadOnly,
        (true, false) => Access::Writable,
        (true, true) => Access::Overlay,
    }
}

/// Whether the host has mounted something below a directory; taken for granted where that cannot be known.
fn has_mounts_below(path: &Path) -> bool {
    let Ok(mounts) = std::fs::read("/proc/self/mountinfo") else { return true };
    has_mount_below(&mounts, path)
}

/// The fifth word of each line of `proc_pid_mountinfo(5)` is a mount point.
fn has_mount_below(mountinfo: &[u8], path: &Path) -> bool {
    let points =
        mountinfo.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(unescaped).any(|point| point != path && point.starts_with(path))
}

/// The kernel writes spaces, tabs, newlines and backslashes as three octal digits.
fn unescaped(point: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = point;
    while let Some((first, others)) = rest.split_first() {
        let octal = others.get(..3).filter(|_| *first == b'\\');
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[3..] } else { others };
    }
    OsString::from_vec(bytes).into()
}

/// The window of the user's terminal, for a target that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attached {
    /// A command: no input.
    No,
    /// Input without a terminal.
    Pipe,
    /// A terminal.
    Window(WindowSize),
}

/// The job for the guest init, with the clock and the random bytes of this moment.
pub(crate) fn job(
    target: &Target,
    system: &KernelSystem,
    project: &Path,
    shares: &Shares,
    shows_owners: bool,
    attached: Attached,
) -> io::Result<Job> {
    let mut entropy = vec![0; 64];
    File::open("/dev/urandom")?.read_exact(&mut entropy)?;
    let (root, others) = shares.devices.split_first().expect("the root comes first");
    let cwd: OsString = if system.rootfs == Path::new("/") { project.into() } else { "/".into() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Job {
        realtime_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        entropy,
        hostname: nix::unistd::gethostname().unwrap_or_else(|_| "vmtest".into()),
        umask: umask(),
        honors_setuid: shows_owners,
        root: wire::Root { tag: root.tag.clone(), file_system: root.file_system, access: root.access },
        shares: others
            .iter()
            .map(|device| Share {
                tag: device.tag.clone(),
                file_system: device.file_system,
                access: device.access,
            })
            .collect(),
        binds: shares.binds.clone(),
        network: target.vm.network.then_some(USER_NETWORK),
        command: CommandSpec {
            script: match &target.command {
                Command::Shell(text) => Some(text.into()),
                Command::Interactive => None,
            },
            env: environment(target, std::env::vars_os(), &cwd),
            cwd,
            stdio: match attached {
                Attached::No => Stdio::Output,
                Attached::Pipe => Stdio::Pipe,
                Attached::Window(WindowSize { rows, cols }) => Stdio::Terminal { rows, cols },
            },
        },
    })
}

/// What runs in an image.
pub(crate) fn command_line(target: &Target, attached: Attached) -> CommandLine {
    let env = environment(target, std::env::vars_os(), OsStr::new("/"));
    CommandLine {
        script: match &target.command {
            Command::Shell(text) => Some(text.clone()),
            Command::Interactive => None,
        },
        // The agent takes text only, and a variable that is none could not be told from what it would become.
        env: env
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
            .collect(),
        attached,
    }
}

/// The command's whole environment, from what the host has and the target says.
fn environment(
    target: &Target,
    host: impl IntoIterator<Item = (OsString, OsString)>,
    cwd: &OsStr,
) -> Vec<(OsString, OsString)> {
    let mut env: BTreeMap<OsString, OsString> =
        [("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root"), ("SHELL", "/bin/sh")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    env.extend(host.into_iter().filter(|(name, _)| match &target.inherit_env {
        InheritEnv::All => true,
        InheritEnv::None => name == "TERM" && target.command == Command::Interactive,
        InheritEnv::Only(names) => names.iter().any(|wanted| name == wanted.as_str()),
    }));
    // The guest's root reads files of another user, which git refuses without this; only the environment is certain to
    // reach it, because /etc may be read-only.
    let count = env
        .get(OsStr::new("GIT_CONFIG_COUNT"))
        .and_then(|count| count.to_str()?.parse::<usize>().ok())
        .unwrap_or(0);
    env.insert(format!("GIT_CONFIG_KEY_{count}").into(), "safe.directory".into());
    env.insert(format!("GIT_CONFIG_VALUE_{count}").into(), "*".into());
    env.insert("GIT_CONFIG_COUNT".into(), (count + 1).to_string().into());
    // The project's mount must not hide the repository that it is a part of.
    env.insert("GIT_DISCOVERY_ACROSS_FILESYSTEM".into(), "1".into());
    // A path that leads to the working directory by another way (a symbolic link) is kept, as a shell keeps it.
    let same = |path: &OsString| std::fs::canonicalize(path).is_ok_and(|path| path == Path::new(cwd));
    if !env.get(OsStr::new("PWD")).is_some_and(same) {
        env.insert("PWD".into(), cwd.to_owned());
    }
    let path = env.entry("PATH".into()).or_default();
    *path = with_system_path(path);
    env.extend(target.env.iter().map(|(name, value)| (name.into(), value.into())));
    env.into_iter().collect()
}

fn with_system_path(path: &OsStr) -> OsString {
    let mut dirs: Vec<&[u8]> =
        path.as_bytes().split(|byte| *byte == b':').filter(|dir| !dir.is_empty()).collect();
    for dir in SYSTEM_PATH {
        if !dirs.contains(&dir.as_bytes()) {
            dirs.push(dir.as_bytes());
        }
    }
    OsStr::from_bytes(&dirs.join(&b':')).to_owned()
}

/// The process's file mode creation mask. umask(2) can only be read by changing it, for all threads.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            u32::from_str_radix(status.lines().find_map(|line| line.strip_prefix("Umask:"))?.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}

/// The project's directory as the guest sees it: without symbolic links, because the root's are the root's own.
pub(crate) fn canonical_project(target: &Target) -> io::Result<PathBuf> {
    std::fs::canonicalize(&target.project_dir)
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
