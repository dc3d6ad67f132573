//! The language server as an editor starts it: the real `vmtest lsp` over real pipes, and real machines.

mod client;
mod documents;
mod fuzz;
mod leaving;
mod load;
mod plain;
mod positions;
mod run;
mod stop;
mod trust;
mod warming;
mod wire;
mod workspace;
