//! A target as it will run: every default applied, every path absolute, every impossible combination gone.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

/// One thing to test: a system to boot and a command to run in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Shown everywhere; not necessarily unique in a file.
    pub name: String,
    /// What boots.
    pub system: System,
    /// What runs in it.
    pub command: Command,
    /// The guest's architecture.
    pub arch: Arch,
    /// QEMU's `-cpu` under KVM.
    pub kvm_cpu_args: String,
    /// The program to start; absolute when it was written with a `/`, else looked up in `PATH`.
    pub qemu_command: QemuCommand,
    /// Longest time the command may take; none means no limit.
    pub timeout: Option<Duration>,
    /// Longest time until the command starts; none leaves the choice to the accelerator.
    pub boot_timeout: Option<Duration>,
    /// Added to what the guest gets, in the order of names.
    pub env: BTreeMap<String, String>,
    /// Which of the host's variables the guest gets.
    pub inherit_env: InheritEnv,
    /// Whether a kernel bug on the console overrides the command's exit status.
    pub fail_on_kernel_bug: bool,
    /// The directory that vmtest.toml lies in; shared writable.
    pub project_dir: PathBuf,
    /// Whether what the guest writes to the project and to writable mounts is thrown away, as what it writes to the root is.
    pub discards_writes: bool,
    /// The machine.
    pub vm: Vm,
}

/// What a target boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// A kernel with a directory of the host as its root.
    Kernel(KernelSystem),
    /// A bootable disk image with its own agent.
    Image(ImageSystem),
}

/// A kernel and the directory that becomes its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSystem {
    /// Where the kernel comes from.
    pub source: KernelSource,
    /// Appended to the kernel command line verbatim; may be empty.
    pub args: String,
    /// Absolute path of the directory shared as the guest's `/`.
    pub rootfs: PathBuf,
    /// What the guest may do to that directory.
    pub root_access: RootAccess,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// A kernel file or a kernel build tree on this machine.
    Path(PathBuf),
    /// A download, verified when a checksum is given.
    Url(Download),
    /// A distribution's kernel package.
    Package(String),
}

/// A disk image and how its firmware starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSystem {
    /// Where the image comes from.
    pub source: ImageSource,
    /// What starts it.
    pub firmware: Firmware,
}

/// Where a disk image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A file on this machine.
    Path(PathBuf),
    /// A download, verified when a checksum is given.
    Url(Download),
}

/// Something fetched once and kept in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// `http`, `https` or `file`.
    pub url: String,
    /// Lower-case hexadecimal SHA-256 of the file as served.
    pub sha256: Option<String>,
}

/// The firmware that starts an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// The machine's own BIOS.
    Bios,
    /// OVMF: the given file, else the distribution's.
    Uefi {
        /// Absolute path of the firmware file.
        file: Option<PathBuf>,
    },
}

/// What the guest's root may do to the host's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootAccess {
    /// Writes succeed and are thrown away.
    Overlay,
    /// Writes fail (`ro` in `kernel_args`).
    ReadOnly,
    /// Writes reach the host (`rw` in `kernel_args`).
    Writable,
}

impl RootAccess {
    /// Reads the last `ro` or `rw` word of a kernel command line, as the kernel itself does.
    pub fn from_kernel_args(args: &str) -> Self {
        args.split_whitespace()
            .rev()
            .find_map(|word| match word {
                "ro" => Some(Self::ReadOnly),
                "rw" => Some(Self::Writable),
                _ => None,
            })
            .unwrap_or(Self::Overlay)
    }
}

/// What runs in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Text for `bash -c` (`sh` where there is no bash).
    Shell(String),
    /// An interactive shell (`-`).
    Interactive,
}

impl Command {
    /// What the key `command` means.
    pub fn new(text: &str) -> Self {
        match text {
            "-" => Self::Interactive,
            text => Self::Shell(text.to_owned()),
        }
    }
}

/// The program that is the virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QemuCommand {
    /// `qemu-system-<arch>` from `PATH`.
    Default,
    /// The user's own: a name for `PATH`, or an absolute path.
    Custom(PathBuf),
}

/// Which of the host's environment variables reach the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InheritEnv {
    /// Every one.
    All,
    /// None.
    None,
    /// Those named, where set.
    Only(Vec<String>),
}

/// The virtual machine's hardware and shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Number of virtual processors.
    pub num_cpus: NonZeroU8,
    /// Guest memory.
    pub memory: Memory,
    /// More shares, in the order of their guest paths, so that a parent is mounted before its child.
    pub mounts: Vec<Mount>,
    /// Appended to QEMU's arguments verbatim.
    pub extra_args: Vec<String>,
    /// Whether the guest gets a user-mode network card.
    pub network: bool,
}

/// A directory of the host at a place in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute, normalized path in the guest.
    pub guest_path: PathBuf,
    /// Absolute path on the host.
    pub host_path: PathBuf,
    /// Whether the guest's writes reach the host.
    pub writable: bool,
}

/// An amount of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// Size in bytes.
    pub bytes: u64,
}

/// A guest architecture, by QEMU's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit PC.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
    /// IBM Z.
    S390x,
}

impl Arch {
    /// Every architecture that vmtest knows.
    pub const ALL: [Self; 4] = [Self::X86_64, Self::Aarch64, Self::Riscv64, Self::S390x];

    /// The host's own.
    ///
    /// # Panics
    /// On an architecture outside [`Arch::ALL`], for which vmtest is not built.
    pub fn host() -> Self {
        std::env::consts::ARCH.parse().expect("vmtest is built for the architectures it knows")
    }

    /// QEMU's name, as in `qemu-system-<name>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of an architecture that vmtest knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{0}`: use one of x86_64, aarch64, riscv64, s390x")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|arch| arch.name() == text).ok_or_else(|| UnknownArch(text.to_owned()))
    }
}
