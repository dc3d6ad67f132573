//! The virtio-serial ports that connect guest and host.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use vmtest_guest::wire::{AGENT_PORT, Frame, INPUT_PORT, STREAM_PORT, to_bytes};

use crate::sentence::{Result, Saying as _};

/// A port is a message or two away once its driver is there; the host's own deadline is longer.
const APPEARS_WITHIN: Duration = Duration::from_secs(20);

/// The connected ports.
pub(crate) struct Ports {
    /// Device node for the agent.
    pub(crate) agent: PathBuf,
    /// Frames to the host.
    pub(crate) stream: Stream,
    /// Input from the host; never blocks.
    pub(crate) input: File,
}

/// The kernel's announcements of new devices.
pub(crate) struct Uevents(OwnedFd);

impl Uevents {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )
        .saying("cannot listen for devices (the kernel needs CONFIG_NET=y)")?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 1)).saying("cannot listen for devices")?;
        Ok(Self(fd))
    }

    /// Waits until something happened; false when the deadline passed first.
    fn wait(&self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let happened = poll(&mut fds, timeout).saying("cannot wait for devices")? > 0;
        let mut buffer = [0; 4096];
        // Overruns are no loss: the directory is read anew after every event.
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok() {}
        Ok(happened)
    }
}

/// Waits for all three ports. `module_failures` explain why one may never come.
pub(crate) fn wait(uevents: &Uevents, module_failures: &[String]) -> Result<Ports> {
    let deadline = Instant::now() + APPEARS_WITHIN;
    loop {
        if let (Some(agent), Some(stream), Some(input)) =
            (device(AGENT_PORT), device(STREAM_PORT), device(INPUT_PORT))
        {
            let stream = File::options().write(true).open(&stream).saying(stream.display())?;
            let input = File::options()
                .read(true)
                .custom_flags(nix::libc::O_NONBLOCK)
                .open(&input)
                .saying(input.display())?;
            return Ok(Ports { agent, stream: Stream(stream), input });
        }
        if !virtio_works() && module_failures.is_empty() {
            return Err("the kernel has no working virtio console: it needs CONFIG_VIRTIO_PCI and \
                        CONFIG_VIRTIO_CONSOLE, built in or as modules that vmtest can find"
                .to_owned());
        }
        if !uevents.wait(deadline)? {
            let mut why = module_failures.join("; ");
            if why.is_empty() {
                "the kernel needs CONFIG_VIRTIO_PCI and CONFIG_VIRTIO_CONSOLE".clone_into(&mut why);
            }
            return Err(format!("the ports to the host did not appear: {why}"));
        }
    }
}

/// Whether both drivers are there, so that waiting makes sense.
fn virtio_works() -> bool {
    ["/sys/bus/virtio/drivers/virtio_console", "/sys/bus/pci/drivers/virtio-pci"]
        .iter()
        .all(|driver| fs::exists(driver).unwrap_or(false))
}

/// The device node of the port with this name.
fn device(name: &str) -> Option<PathBuf> {
    fs::read_dir("/sys/class/virtio-ports").ok()?.flatten().find_map(|port| {
        let text = fs::read_to_string(port.path().join("name")).ok()?;
        (text.trim_end() == name).then(|| PathBuf::from("/dev").join(port.file_name()))
    })
}

/// Frames to the host. Only written, never polled; a slow host makes the writer wait.
pub(crate) struct Stream(File);

impl Stream {
    /// Sends one frame.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<()> {
        self.0.write_all(&to_bytes(frame)).saying("cannot send to the host")
    }
}
