//! What machine QEMU is asked for.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use vmtest_guest::wire::{AGENT_PORT, Access, FileSystem, INPUT_PORT, STREAM_PORT};

use super::arguments::{Arguments, Properties};
use crate::event::Accelerator;
use crate::image::{Firmware, Format, INPUT_PORT as IMAGE_INPUT_PORT, STDERR_PORT, STDOUT_PORT};

/// Everything that decides QEMU's command line.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// None when the user's own arguments choose it.
    pub(crate) accelerator: Option<Accelerator>,
    /// QEMU's `-cpu`.
    pub(crate) cpu: String,
    pub(crate) cpus: u8,
    /// A multiple of [`MEMORY_UNIT`].
    pub(crate) memory_bytes: u64,
    pub(crate) boot: Boot,
    /// Those that daemons serve come after the boot: QEMU saves no state of theirs.
    pub(crate) shares: Vec<ShareDevice>,
    pub(crate) network: bool,
    /// Off where the user's own arguments may need what it forbids.
    pub(crate) sandbox: bool,
    pub(crate) extra_args: Vec<String>,
}

/// What the machine starts.
#[derive(Debug, Clone)]
pub(crate) enum Boot {
    /// A kernel with our initramfs, by QEMU itself.
    Kernel { file: PathBuf, command_line: String },
    /// What the firmware finds on a disk.
    Image {
        format: Format,
        /// None for the machine's own BIOS.
        firmware: Option<Firmware>,
    },
}

/// QEMU rounds a machine's memory up to this, and takes only a file of exactly that size for it.
pub(crate) const MEMORY_UNIT: u64 = 8192;

/// Where a guest's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// In QEMU.
    Own,
    /// To be kept.
    Kept {
        /// None where it will be part of the state.
        file: Option<RawFd>,
        /// The folder of the socket that takes the state.
        folder: RawFd,
    },
    /// What was kept.
    Resumed {
        /// None where it is part of the state.
        file: Option<MemoryFile>,
        /// The socket with the state.
        state: RawFd,
    },
}

/// What was kept of a guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryFile {
    /// What other guests are resumed from: mapped privately.
    Template(RawFd),
    /// A copy for this guest, which other processes see, too.
    Copy(RawFd),
}

impl MemoryFile {
    fn fd(self) -> RawFd {
        match self {
            Self::Template(fd) | Self::Copy(fd) => fd,
        }
    }
}

/// QEMU's name for the disk that an image's guest has.
pub(crate) const DISK_NODE: &str = "disk";

/// The share that becomes the guest's `/`.
pub(crate) const ROOT_TAG: &str = "root";

/// A directory that the guest can mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShareDevice {
    pub(crate) tag: String,
    pub(crate) path: PathBuf,
    pub(crate) file_system: FileSystem,
    pub(crate) access: Access,
}

impl ShareDevice {
    /// Whether the host takes writes. All others are refused here, whatever the guest does.
    pub(crate) fn writable(&self) -> bool {
        self.access == Access::Writable
    }
}

/// QEMU's ends of what connects it to us.
#[derive(Debug, Clone)]
pub(crate) struct Descriptors {
    pub(crate) boot: BootDescriptors,
    pub(crate) console: RawFd,
    pub(crate) monitor: RawFd,
    pub(crate) agent: RawFd,
    pub(crate) memory: Memory,
    /// To the daemons of virtiofs, one for each share; none where the machine has no use for them.
    pub(crate) file_servers: Vec<RawFd>,
}

/// Those that depend on what the machine starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BootDescriptors {
    /// With a guest init of ours.
    Kernel { initramfs: RawFd, stream: RawFd, input: RawFd },
    /// With the image's own agent.
    Image {
        /// The image itself, open for reading only.
        image: RawFd,
        /// Takes what the guest writes to its disk.
        overlay: RawFd,
        stdout: RawFd,
        stderr: RawFd,
        input: RawFd,
        /// A second serial line, for a shell.
        terminal: RawFd,
    },
}

impl Descriptors {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<RawFd> {
        let mut all = vec![self.console, self.monitor, self.agent];
        match self.boot {
            BootDescriptors::Kernel { initramfs, stream, input } => all.extend([initramfs, stream, input]),
            BootDescriptors::Image { image, overlay, stdout, stderr, input, terminal } => {
                all.extend([image, overlay, stdout, stderr, input, terminal]);
            }
        }
        all.extend(&self.file_servers);
        match self.memory {
            Memory::Own => {}
            Memory::Kept { file, folder } => all.extend(file.into_iter().chain([folder])),
            Memory::Resumed { file, state } => {
                all.extend(file.map(MemoryFile::fd).into_iter().chain([state]));
            }
        }
        all
    }

    /// For arguments that are looked at and not used.
    fn none() -> Self {
        Self {
            boot: BootDescriptors::Kernel { initramfs: -1, stream: -1, input: -1 },
            console: -1,
            monitor: -1,
            agent: -1,
            memory: Memory::Own,
            file_servers: Vec::new(),
        }
    }
}

impl Machine {
    /// QEMU's arguments.
    pub(crate) fn arguments(&self, descriptors: &Descriptors) -> Arguments {
        let mut args = Arguments::default();
        args.flag("-nodefaults").flag("-no-user-config");
        args.raw("-display", "none").raw("-monitor", "none");
        if self.sandbox {
            let denied = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];
            let sandbox = denied.iter().fold(Properties::new("on"), |list, what| list.with(what, "deny"));
            args.list("-sandbox", sandbox);
        }
        self.place_memory(&mut args, descriptors.memory);
        if let Some(accelerator) = self.accelerator {
            args.raw("-accel", accelerator.name());
        }
        args.raw("-cpu", &self.cpu);
        args.raw("-smp", self.cpus.to_string());
        self.start(&mut args, descriptors.boot);
        connect_ports(&mut args, descriptors);
        self.export(&mut args);
        for (number, fd) in descriptors.file_servers.iter().enumerate() {
            connect(&mut args, &file_server_id(number), *fd);
        }
        if self.network {
            args.list("-netdev", Properties::new("user").with("id", "network"));
            // No boot from the network: without its ROM the firmware has nothing to load.
            args.list(
                "-device",
                Properties::new("virtio-net-pci").with("netdev", "network").with("romfile", ""),
            );
        }
        args.verbatim(self.extra_args.iter().map(OsString::from));
        args
    }

    /// The shares that need a daemon each.
    pub(crate) fn served(&self) -> impl Iterator<Item = &ShareDevice> {
        self.shares.iter().filter(|share| share.file_system == FileSystem::Virtiofs)
    }

    /// What is there to be started, and by whom.
    fn start(&self, args: &mut Arguments, descriptors: BootDescriptors) {
        match (&self.boot, descriptors) {
            (Boot::Kernel { file, command_line }, BootDescriptors::Kernel { initramfs, .. }) => {
                args.flag("-no-reboot");
                args.raw("-kernel", file);
                args.raw("-initrd", in_proc(initramfs));
                args.raw("-append", command_line);
            }
            // It may restart while it boots, as distributions do after their first start.
            (Boot::Image { format, firmware }, BootDescriptors::Image { image, overlay, .. }) => {
                if let Some(firmware) = firmware {
                    firmware.plug(args);
                }
                for node in format.block_nodes(&in_proc(image), &in_proc(overlay)) {
                    args.raw("-blockdev", node.to_string());
                }
                args.list(
                    "-device",
                    Properties::new("virtio-blk-pci").with("drive", DISK_NODE).with("bootindex", "0"),
                );
            }
            _ => unreachable!("a machine is connected as what it starts needs it"),
        }
    }

    /// Shares by QEMU's own 9p server.
    fn export(&self, args: &mut Arguments) {
        for share in self.shares.iter().filter(|share| share.file_system == FileSystem::NineP) {
            let export = Properties::new("local")
                .with("id", &share.tag)
                .with("path", &share.path)
                .with("security_model", "none")
                .with("multidevs", "remap")
                .switch("readonly", !share.writable());
            args.list("-fsdev", export);
            args.list(
                "-device",
                Properties::new("virtio-9p-pci").with("fsdev", &share.tag).with("mount_tag", &share.tag),
            );
        }
    }

    fn place_memory(&self, args: &mut Arguments, memory: Memory) {
        // Bytes: a bare number would be MiB.
        args.raw("-m", format!("{}B", self.memory_bytes));
        let object = match memory {
            Memory::Kept { file: Some(fd), .. }
            | Memory::Resumed { file: Some(MemoryFile::Copy(fd)), .. } => in_file(fd).switch("share", true),
            Memory::Resumed { file: Some(MemoryFile::Template(fd)), .. } => {
                in_file(fd).switch("share", false)
            }
            Memory::Own | Memory::Kept { file: None, .. } | Memory::Resumed { file: None, .. }
                if self.served().next().is_some() =>
            {
                Properties::new("memory-backend-memfd").switch("share", true)
            }
            Memory::Own => {
                args.raw("-machine", self.kind());
                return;
            }
            // A kept state knows it by its name.
            Memory::Kept { .. } | Memory::Resumed { .. } => Properties::new("memory-backend-ram"),
        };
        args.raw("-machine", format!("{},memory-backend=memory", self.kind()));
        args.list("-object", object.with("id", "memory").with("size", format!("{}B", self.memory_bytes)));
        if matches!(memory, Memory::Resumed { .. }) {
            // The monitor says where from.
            args.raw("-incoming", "defer");
        }
    }

    /// QEMU's name for the kind of machine. The BIOS of one without graphics speaks on the serial line.
    fn kind(&self) -> &'static str {
        match self.boot {
            Boot::Kernel { .. } => "pc",
            Boot::Image { .. } => "pc,graphics=off",
        }
    }

    /// What of the arguments a kept state depends on: not where the shares lead to, and not who is connected.
    pub(crate) fn kept_arguments(&self) -> Arguments {
        let blank = |share: &ShareDevice| ShareDevice {
            path: PathBuf::new(),
            access: Access::Writable,
            ..share.clone()
        };
        let shares = self.shares.iter().map(blank).collect();
        let mut machine = Self { shares, ..self.clone() };
        if let Boot::Kernel { file, .. } = &mut machine.boot {
            *file = PathBuf::new();
        }
        machine.arguments(&Descriptors::none())
    }
}

fn in_file(fd: RawFd) -> Properties {
    Properties::new("memory-backend-file").with("mem-path", in_proc(fd))
}

/// A path to what QEMU has inherited.
fn in_proc(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}

/// QEMU's name for the connection to a daemon of virtiofs.
pub(crate) fn file_server_id(number: usize) -> String {
    format!("file-server{number}")
}

/// Where the device of a virtiofs share is plugged, and in which order: a guest takes a slot's first function for the sign that
/// all of them are there. Eight share a slot, because each slot's interrupt takes an emulated guest a third of a second to set
/// up; that of these slots is set up already, for the ports.
pub(crate) fn plug_order(shares: usize) -> impl Iterator<Item = (usize, String)> {
    (0..shares).rev().map(|number| (number, format!("{:x}.{}", LAST_SLOT - 4 * (number / 8), number % 8)))
}

/// Six slots full; the next would be one that other devices may have.
pub(crate) const SERVED_AT_MOST: usize = 48;
/// The fourth slot from one has the same interrupt (the pins of `pc` go round); the ports are in slot 2.
const LAST_SLOT: usize = 30;

fn connect(args: &mut Arguments, id: &str, fd: RawFd) {
    args.list("-chardev", Properties::new("socket").with("id", id).with("fd", fd.to_string()));
}

fn connect_ports(args: &mut Arguments, descriptors: &Descriptors) {
    connect(args, "console", descriptors.console);
    connect(args, "monitor", descriptors.monitor);
    connect(args, "agent", descriptors.agent);
    args.raw("-serial", "chardev:console");
    args.list("-mon", Properties::new("").with("chardev", "monitor").with("mode", "control"));
    args.list("-device", Properties::new("virtio-serial-pci").with("id", "ports").with("max_ports", "8"));
    let ports: &[(&str, &str, RawFd)] = match descriptors.boot {
        BootDescriptors::Kernel { stream, input, .. } => {
            &[("stream", STREAM_PORT, stream), ("input", INPUT_PORT, input)]
        }
        BootDescriptors::Image { stdout, stderr, input, terminal, .. } => {
            connect(args, "terminal", terminal);
            args.raw("-serial", "chardev:terminal");
            &[
                ("stdout", STDOUT_PORT, stdout),
                ("stderr", STDERR_PORT, stderr),
                ("input", IMAGE_INPUT_PORT, input),
            ]
        }
    };
    plug_port(args, 1, "agent", AGENT_PORT);
    // Explicit numbers: a kept state names its ports by them.
    for (number, (id, name, fd)) in (2..).zip(ports) {
        connect(args, id, *fd);
        plug_port(args, number, id, name);
    }
}

fn plug_port(args: &mut Arguments, number: usize, id: &str, name: &str) {
    let port = Properties::new("virtserialport")
        .with("bus", "ports.0")
        .with("nr", number.to_string())
        .with("chardev", id)
        .with("name", name);
    args.list("-device", port);
}
