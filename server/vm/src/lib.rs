//! One target from kernel to verdict.

pub mod accelerator;
pub mod agent;
mod agent_client;
pub mod capacity;
mod clock;
pub mod console;
mod decide;
pub mod distribution;
pub mod download;
pub mod event;
pub mod executor;
pub mod host;
mod image;
pub mod initramfs;
mod job;
pub mod kernel;
mod line_limit;
mod live;
pub mod logs;
pub mod modules;
mod prepare;
mod private;
pub mod qemu;
mod qemu_executor;
mod regular;
pub mod runner;
pub mod sanitize;
#[cfg(test)]
mod scripted_peer;
pub mod shelf;
pub mod snapshot;
mod sources;
mod stream;
mod typing;
pub mod verdict;
mod virtiofsd;
pub mod wording;

pub use clock::awake;
pub use image::{uefi_firmware, unbootable};
pub use prepare::unsuitable;
pub use qemu_executor::QemuExecutor;
pub use virtiofsd::usable_virtiofsd;
