//! What a run needs of this machine, where it is looked for, and how to get it: one truth for `vmtest doctor` and the
//! editor. Nothing here starts a program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit};
use vmtest_config::{Arch, QemuCommand, Target};

/// Whether this process may write a file of so many bytes. Beyond the limit the kernel sends a signal that would end it.
pub(crate) fn may_write(bytes: u64) -> io::Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if limit < bytes {
        return Err(io::Error::other(format!("files may have {limit} bytes at most (ulimit -f)")));
    }
    Ok(())
}

/// A package's names for apt, dnf, pacman and zypper.
pub type Package = [&'static str; 4];

/// The package with the guest agent.
pub const AGENT_PACKAGE: Package = ["qemu-guest-agent"; 4];

/// The package with UEFI firmware for `x86_64` guests.
pub const FIRMWARE_PACKAGE: Package = ["ovmf", "edk2-ovmf", "edk2-ovmf", "qemu-ovmf-x86_64"];

/// How to get UEFI firmware.
pub fn firmware_cure(manager: Option<Manager>) -> String {
    let commands = install_commands(&FIRMWARE_PACKAGE, manager);
    format!("install it ({}), or name its file by `vm.bios`", commands.join(" · "))
}

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian and Ubuntu.
    Apt,
    /// Fedora and Red Hat.
    Dnf,
    /// Arch.
    Pacman,
    /// SUSE.
    Zypper,
}

impl Manager {
    /// Every one, in the order of [`Package`].
    pub const ALL: [Self; 4] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Zypper];

    /// The one of this machine's distribution.
    pub fn of_this_machine() -> Option<Self> {
        Self::of(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// The one of the distribution that an `/etc/os-release` names.
    pub fn of(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let ids = format!("{} {}", value("ID"), value("ID_LIKE"));
        ids.split_whitespace().find_map(|id| match id {
            "debian" | "ubuntu" => Some(Self::Apt),
            "fedora" | "rhel" | "centos" => Some(Self::Dnf),
            "arch" => Some(Self::Pacman),
            _ if id.contains("suse") => Some(Self::Zypper),
            _ => None,
        })
    }

    /// The command that installs a package.
    pub fn install(self, package: &Package) -> String {
        let (command, name) = match self {
            Self::Apt => ("apt install", package[0]),
            Self::Dnf => ("dnf install", package[1]),
            Self::Pacman => ("pacman -S", package[2]),
            Self::Zypper => ("zypper install", package[3]),
        };
        format!("{command} {name}")
    }
}

/// The commands that install a package: this distribution's, or every known one's where it is unknown.
pub fn install_commands(package: &Package, manager: Option<Manager>) -> Vec<String> {
    match manager {
        Some(manager) => vec![manager.install(package)],
        None => Manager::ALL.iter().map(|manager| manager.install(package)).collect(),
    }
}

/// The program that is a machine of this architecture, unless a target names its own.
pub fn qemu_program(arch: Arch) -> String {
    format!("qemu-system-{arch}")
}

/// The package with that program.
pub fn qemu_package(arch: Arch) -> Package {
    match arch {
        Arch::X86_64 => ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-x86"],
        Arch::Aarch64 => ["qemu-system-arm", "qemu-system-aarch64-core", "qemu-system-aarch64", "qemu-arm"],
        Arch::Riscv64 => ["qemu-system-misc", "qemu-system-riscv-core", "qemu-system-riscv", "qemu-extra"],
        Arch::S390x => ["qemu-system-s390x", "qemu-system-s390x-core", "qemu-system-s390x", "qemu-s390x"],
    }
}

/// The program that is the target's machine; else the name that was looked for.
pub fn find_qemu(target: &Target) -> Result<PathBuf, PathBuf> {
    let program = match &target.qemu_command {
        QemuCommand::Default => PathBuf::from(qemu_program(target.arch)),
        QemuCommand::Custom(program) => program.clone(),
    };
    let found = if program.is_absolute() {
        Some(program.clone()).filter(|path| is_program(path))
    } else {
        in_path(&program, &[])
    };
    found.ok_or(program)
}

/// What to do about a missing one.
pub fn qemu_cure(target: &Target, manager: Option<Manager>) -> String {
    match target.qemu_command {
        QemuCommand::Default => {
            format!("install QEMU: {}", install_commands(&qemu_package(target.arch), manager).join(" · "))
        }
        QemuCommand::Custom(_) => "correct `qemu_command`, or leave it out to use QEMU from PATH".to_owned(),
    }
}

/// The server of files for guests.
pub(crate) fn find_virtiofsd() -> Option<PathBuf> {
    in_path("virtiofsd", &["/usr/libexec", "/usr/lib", "/usr/lib/qemu", "/usr/lib/kvm"])
}

/// The program in `PATH`, else in one of `places`, where daemons are.
pub fn in_path(program: impl AsRef<Path>, places: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .chain(places.iter().map(PathBuf::from))
        .map(|folder| folder.join(&program))
        .find(|file| is_program(file))
}

/// Names the time since this machine started; empty where it cannot be read.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Whether it is a file that may be executed.
pub fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Kernels where distributions put them below `root`, each once.
pub fn kernel_files(root: &Path) -> BTreeSet<PathBuf> {
    let entries = |folder: &str| fs::read_dir(root.join(folder)).into_iter().flatten().filter_map(Result::ok);
    let boot = entries("boot").map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ["vmlinuz", "bzImage", "Image", "vmlinux"].iter().any(|start| name.starts_with(start))
    });
    let modules = entries("lib/modules").map(|entry| entry.path().join("vmlinuz"));
    // Through links: /boot/vmlinuz is often another's name. A file that cannot be read is still there.
    boot.chain(modules).filter_map(|path| path.canonicalize().ok()).filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_manager_is_the_distributions() {
        let manager = |text: &str| Manager::of(text);
        assert_eq!(manager("NAME=x\nID=debian\n"), Some(Manager::Apt));
        assert_eq!(manager("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Some(Manager::Apt));
        assert_eq!(manager("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Some(Manager::Dnf));
        assert_eq!(manager("ID=arch\n"), Some(Manager::Pacman));
        assert_eq!(manager("ID=\"opensuse-leap\"\n"), Some(Manager::Zypper));
        assert_eq!(manager("ID=nixos\n"), None);
    }

    #[test]
    fn an_unknown_distribution_gets_every_package_name() {
        assert_eq!(
            install_commands(&["a", "b", "c", "d"], None),
            ["apt install a", "dnf install b", "pacman -S c", "zypper install d"]
        );
    }

    #[test]
    fn kernels_are_found_once_each_in_both_places() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("boot/grub")).unwrap();
        fs::create_dir_all(root.join("lib/modules/6.1")).unwrap();
        for file in ["boot/vmlinuz-6.1", "boot/config-6.1", "lib/modules/6.1/vmlinuz"] {
            fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("vmlinuz-6.1", root.join("boot/vmlinuz")).unwrap();
        let files: Vec<_> = kernel_files(&root).into_iter().collect();
        assert_eq!(files, [root.join("boot/vmlinuz-6.1"), root.join("lib/modules/6.1/vmlinuz")]);
    }
}
