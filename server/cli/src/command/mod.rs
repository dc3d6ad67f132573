//! The subcommands, and the run that there is without one.

pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod fmt;
pub(crate) mod kernels;
pub(crate) mod list;
pub(crate) mod lsp;
pub(crate) mod run;
pub(crate) mod schema;
