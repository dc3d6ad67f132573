//! A target that boots a disk image, with the image's own agent: its disk, its firmware, and what is done in its guest.

mod disk;
mod firmware;
mod guest;

pub use disk::unbootable;
pub(crate) use disk::{Disk, Format, place_for_overlays};
pub(crate) use firmware::Firmware;
pub use firmware::uefi_firmware;
pub(crate) use guest::{CommandLine, Guest, GuestError, mount};

/// Where the guest's command writes its standard output, the names of virtio-serial ports.
pub(crate) const STDOUT_PORT: &str = "org.vmtest.stdout";
/// The same for standard error.
pub(crate) const STDERR_PORT: &str = "org.vmtest.stderr";
/// What a shell without a terminal reads.
pub(crate) const INPUT_PORT: &str = "org.vmtest.stdin";
