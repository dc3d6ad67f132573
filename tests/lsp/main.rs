//! The language server as an editor starts it: the real `vmtest lsp` over real pipes. No VM.

mod client;
mod documents;
mod leaving;
mod wire;
