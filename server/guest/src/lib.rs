//! What the host and the guest init of a kernel target say to each other.

#![forbid(unsafe_code)]

pub mod wire;
