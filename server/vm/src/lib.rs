//! One target from kernel to verdict.

pub mod event;
pub mod executor;
pub mod initramfs;
pub mod kernel;
pub mod modules;
pub mod runner;
pub mod verdict;
