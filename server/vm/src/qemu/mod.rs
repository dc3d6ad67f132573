//! QEMU: its arguments, its process, its monitor.

pub mod arguments;
pub(crate) mod machine;
pub(crate) mod monitor;
pub(crate) mod process;
