//! The harness of the end to end tests: real QEMU, real distribution kernels, the real `vmtest`.
//!
//! A test writes a [`Project`], runs `vmtest` on it and looks at the [`Outcome`]. What every run must hold ([`clean`]) is
//! looked at around each of them, without being asked.

#![expect(clippy::missing_panics_doc, reason = "to panic is how a harness says that something is wrong")]

mod harness;

pub use harness::*;
