//! What a run asks of a kernel, by the names that the kernel has for it.

use std::fmt;

/// Something that a kernel can do for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// The bus that every other device sits on.
    VirtioPci,
    /// Ports for the agent and the command's output.
    VirtioConsole,
    /// Directories over QEMU's own file server.
    NineP,
    /// Directories over virtiofsd.
    Virtiofs,
    /// A throw-away layer over the root.
    Overlay,
    /// A network card.
    VirtioNet,
    /// Randomness from the host.
    VirtioRng,
    /// A sign to the kernel that it was resumed from a snapshot.
    VmGenId,
    /// The console on the first serial port.
    SerialConsole,
    /// An initramfs.
    Initrd,
    /// Device nodes made by the kernel.
    Devtmpfs,
    /// Files in memory.
    Tmpfs,
    /// `/proc`.
    Proc,
    /// `/sys`.
    Sysfs,
    /// Loadable modules.
    Modules,
}

/// One option of the kernel behind a feature.
pub(super) struct Part {
    /// The option's name.
    pub(super) config: &'static str,
    /// The module's name when it is built as one; `None` for what can only be built in.
    pub(super) module: Option<&'static str>,
}

const fn module(config: &'static str, module: &'static str) -> Part {
    Part { config, module: Some(module) }
}

const fn builtin(config: &'static str) -> Part {
    Part { config, module: None }
}

impl Feature {
    /// The options that make it up; every one is needed.
    pub(super) fn parts(self) -> &'static [Part] {
        match self {
            Self::VirtioPci => const { &[module("CONFIG_VIRTIO_PCI", "virtio_pci")] },
            Self::VirtioConsole => const { &[module("CONFIG_VIRTIO_CONSOLE", "virtio_console")] },
            Self::NineP => {
                const { &[module("CONFIG_9P_FS", "9p"), module("CONFIG_NET_9P_VIRTIO", "9pnet_virtio")] }
            }
            Self::Virtiofs => const { &[module("CONFIG_VIRTIO_FS", "virtiofs")] },
            Self::Overlay => const { &[module("CONFIG_OVERLAY_FS", "overlay")] },
            Self::VirtioNet => const { &[module("CONFIG_VIRTIO_NET", "virtio_net")] },
            Self::VirtioRng => const { &[module("CONFIG_HW_RANDOM_VIRTIO", "virtio_rng")] },
            Self::VmGenId => const { &[module("CONFIG_VMGENID", "vmgenid")] },
            Self::SerialConsole => const { &[builtin("CONFIG_SERIAL_8250_CONSOLE")] },
            Self::Initrd => const { &[builtin("CONFIG_BLK_DEV_INITRD")] },
            Self::Devtmpfs => const { &[builtin("CONFIG_DEVTMPFS")] },
            Self::Tmpfs => const { &[builtin("CONFIG_TMPFS")] },
            Self::Proc => const { &[builtin("CONFIG_PROC_FS")] },
            Self::Sysfs => const { &[builtin("CONFIG_SYSFS")] },
            Self::Modules => const { &[builtin("CONFIG_MODULES")] },
        }
    }

    /// What it is for, as the end of "the kernel lacks …".
    pub fn purpose(self) -> &'static str {
        match self {
            Self::VirtioPci => "virtio devices on PCI",
            Self::VirtioConsole => "virtio serial ports",
            Self::NineP => "shared directories over 9p",
            Self::Virtiofs => "shared directories over virtiofs",
            Self::Overlay => "overlayfs",
            Self::VirtioNet => "the virtio network card",
            Self::VirtioRng => "the virtio random number generator",
            Self::VmGenId => "the virtual machine generation ID",
            Self::SerialConsole => "a console on the serial port",
            Self::Initrd => "an initramfs",
            Self::Devtmpfs => "devtmpfs",
            Self::Tmpfs => "tmpfs",
            Self::Proc => "/proc",
            Self::Sysfs => "/sys",
            Self::Modules => "loadable modules",
        }
    }

    /// The run cannot be without it.
    pub fn required(self) -> Need {
        Need { feature: self, required: true }
    }

    /// The run makes use of it where it is.
    pub fn optional(self) -> Need {
        Need { feature: self, required: false }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.purpose())
    }
}

/// A feature, and whether a run can be without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// What is asked for.
    pub feature: Feature,
    /// Whether its absence is an error.
    pub required: bool,
}
