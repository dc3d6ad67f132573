//! What machine QEMU is asked for.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use vmtest_guest::wire::{AGENT_PORT, INPUT_PORT, STREAM_PORT};

use super::arguments::{Arguments, Properties};
use crate::event::Accelerator;

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
    pub(crate) kernel: PathBuf,
    pub(crate) command_line: String,
    pub(crate) shares: Vec<ShareDevice>,
    pub(crate) network: bool,
    /// Off where the user's own arguments may need what it forbids.
    pub(crate) sandbox: bool,
    pub(crate) extra_args: Vec<String>,
}

/// QEMU rounds a machine's memory up to this, and takes only a file of exactly that size for it.
pub(crate) const MEMORY_UNIT: u64 = 8192;

/// Where a guest's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// In QEMU.
    Own,
    /// In a file, to be kept.
    Kept {
        memory: RawFd,
        /// The folder of the socket that takes the state of the devices.
        folder: RawFd,
    },
    /// A private view of a file that was kept: what the guest writes is its own.
    Resumed {
        memory: RawFd,
        /// The socket with the state of the devices.
        state: RawFd,
    },
}

/// A directory that QEMU's 9p server exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShareDevice {
    pub(crate) tag: String,
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
}

/// QEMU's ends of what connects it to us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    pub(crate) initramfs: RawFd,
    pub(crate) console: RawFd,
    pub(crate) monitor: RawFd,
    pub(crate) agent: RawFd,
    pub(crate) stream: RawFd,
    pub(crate) input: RawFd,
    pub(crate) memory: Memory,
}

impl Descriptors {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<RawFd> {
        let mut all = vec![self.initramfs, self.console, self.monitor, self.agent, self.stream, self.input];
        match self.memory {
            Memory::Own => {}
            Memory::Kept { memory, folder: other } | Memory::Resumed { memory, state: other } => {
                all.extend([memory, other]);
            }
        }
        all
    }

    /// For arguments that are looked at and not used.
    fn none() -> Self {
        let memory = Memory::Own;
        Self { initramfs: -1, console: -1, monitor: -1, agent: -1, stream: -1, input: -1, memory }
    }
}

impl Machine {
    /// QEMU's arguments.
    pub(crate) fn arguments(&self, descriptors: &Descriptors) -> Arguments {
        let mut args = Arguments::default();
        args.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
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
        args.raw("-kernel", &self.kernel);
        args.raw("-initrd", format!("/proc/self/fd/{}", descriptors.initramfs));
        args.raw("-append", &self.command_line);
        connect(&mut args, descriptors);
        for share in &self.shares {
            let export = Properties::new("local")
                .with("id", &share.tag)
                .with("path", &share.path)
                .with("security_model", "none")
                .with("multidevs", "remap")
                .switch("readonly", !share.writable);
            args.list("-fsdev", export);
            args.list(
                "-device",
                Properties::new("virtio-9p-pci").with("fsdev", &share.tag).with("mount_tag", &share.tag),
            );
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

    fn place_memory(&self, args: &mut Arguments, memory: Memory) {
        // Bytes: a bare number would be MiB.
        args.raw("-m", format!("{}B", self.memory_bytes));
        let (memory, state) = match memory {
            Memory::Own => {
                args.raw("-machine", "pc");
                return;
            }
            Memory::Kept { memory, .. } => (memory, None),
            Memory::Resumed { memory, state } => (memory, Some(state)),
        };
        args.raw("-machine", "pc,memory-backend=memory");
        let file = Properties::new("memory-backend-file")
            .with("id", "memory")
            .with("size", format!("{}B", self.memory_bytes))
            .with("mem-path", format!("/proc/self/fd/{memory}"))
            .switch("share", state.is_none());
        args.list("-object", file);
        if state.is_some() {
            // The monitor says where from.
            args.raw("-incoming", "defer");
        }
    }

    /// What of the arguments a kept state depends on: not where the shares lead to, and not who is connected.
    pub(crate) fn kept_arguments(&self) -> Arguments {
        let blank =
            |share: &ShareDevice| ShareDevice { path: PathBuf::new(), writable: true, ..share.clone() };
        let shares = self.shares.iter().map(blank).collect();
        let machine = Self { shares, kernel: PathBuf::new(), ..self.clone() };
        machine.arguments(&Descriptors::none())
    }
}

fn connect(args: &mut Arguments, descriptors: &Descriptors) {
    let mut socket = |id: &str, fd: RawFd| {
        args.list("-chardev", Properties::new("socket").with("id", id).with("fd", fd.to_string()));
    };
    socket("console", descriptors.console);
    socket("monitor", descriptors.monitor);
    socket("agent", descriptors.agent);
    socket("stream", descriptors.stream);
    socket("input", descriptors.input);
    args.raw("-serial", "chardev:console");
    args.list("-mon", Properties::new("").with("chardev", "monitor").with("mode", "control"));
    args.list("-device", Properties::new("virtio-serial-pci").with("id", "ports").with("max_ports", "8"));
    // Explicit numbers: a kept state names its ports by them.
    for (number, (id, name)) in
        [("agent", AGENT_PORT), ("stream", STREAM_PORT), ("input", INPUT_PORT)].iter().enumerate()
    {
        let port = Properties::new("virtserialport")
            .with("bus", "ports.0")
            .with("nr", (number + 1).to_string())
            .with("chardev", id)
            .with("name", name);
        args.list("-device", port);
    }
}
