//! What happens once per boot: the kernel's own file systems and the modules that the machine needs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use vmtest_guest::wire::{JOB_DIR, MODULE_DIR};

use crate::sentence::{Result, Saying as _};

/// A file system of the kernel's own.
struct KernelFs {
    target: &'static str,
    kind: &'static str,
    options: &'static str,
    /// The option without which the guest cannot work, or none where it can.
    needed: Option<&'static str>,
}

const fn kernel_fs(target: &'static str, kind: &'static str, options: &'static str) -> KernelFs {
    KernelFs { target, kind, options, needed: None }
}

/// In this order: a parent before its child. The command sees them all, at the same places.
const FILESYSTEMS: &[KernelFs] = &[
    KernelFs { needed: Some("CONFIG_DEVTMPFS"), ..kernel_fs("/dev", "devtmpfs", "mode=0755") },
    KernelFs { needed: Some("CONFIG_PROC_FS"), ..kernel_fs("/proc", "proc", "") },
    KernelFs { needed: Some("CONFIG_SYSFS"), ..kernel_fs("/sys", "sysfs", "") },
    kernel_fs("/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"),
    kernel_fs("/dev/shm", "tmpfs", "mode=1777"),
    kernel_fs("/dev/mqueue", "mqueue", ""),
    kernel_fs("/dev/hugepages", "hugetlbfs", ""),
    kernel_fs("/sys/fs/cgroup", "cgroup2", "nsdelegate"),
    kernel_fs("/sys/kernel/debug", "debugfs", ""),
    kernel_fs("/sys/kernel/tracing", "tracefs", ""),
    kernel_fs("/sys/kernel/security", "securityfs", ""),
    kernel_fs("/sys/kernel/config", "configfs", ""),
    kernel_fs("/sys/fs/bpf", "bpf", "mode=0700"),
    kernel_fs("/sys/fs/fuse/connections", "fusectl", ""),
];

/// Mounts what the kernel has; fails only for what nothing works without.
pub(crate) fn mount_filesystems() -> Result<()> {
    for fs in FILESYSTEMS {
        // sysfs has its mount points already where the kernel has the feature, and allows no others.
        if !fs.target.starts_with("/sys/") {
            let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(fs.target);
        }
        let mounted = mount(Some(fs.kind), fs.target, Some(fs.kind), MsFlags::empty(), Some(fs.options));
        match (mounted, fs.needed) {
            // CONFIG_DEVTMPFS_MOUNT does not concern an initramfs, but a kernel may be patched so.
            (Ok(()) | Err(Errno::EBUSY), _) | (Err(_), None) => {}
            (Err(error), Some(option)) => {
                return Err(format!("cannot mount {}: {error}; the kernel needs {option}=y", fs.target));
            }
        }
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        // There already, if the kernel or a patched devtmpfs made it.
        let _ = symlink(target, link);
    }
    fs::create_dir_all(JOB_DIR).saying(format_args!("cannot create {JOB_DIR}"))?;
    fs::create_dir_all("/vm").saying("cannot create /vm")
}

/// Loads every file of [`MODULE_DIR`] in the order of names; returns a sentence for each that did not load.
pub(crate) fn load_modules() -> Vec<String> {
    let Ok(entries) = fs::read_dir(MODULE_DIR) else { return Vec::new() };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().filter_map(|file| load_module(file).err()).collect()
}

fn load_module(file: &Path) -> Result<()> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let module = fs::File::open(file).saying(format_args!("module {name}"))?;
    match finit_module(&module, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(Errno::ENOEXEC) => {
            return Err(format!("module {name} was not built for this kernel"));
        }
        Err(error) => return Err(format!("module {name} does not load: {error}")),
    }
    // Its memory is the guest's.
    let _ = fs::remove_file(file);
    Ok(())
}
