//! The language server of vmtest.
#![forbid(unsafe_code)]
