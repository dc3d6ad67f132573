//! What an editor shows for the text of a `vmtest.toml`.
#![forbid(unsafe_code)]
