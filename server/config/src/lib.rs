//! What a `vmtest.toml` says.
#![forbid(unsafe_code)]

mod target;

pub use target::*;
