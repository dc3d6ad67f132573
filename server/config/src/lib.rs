//! What a `vmtest.toml` says.
//!
//! [`KEYS`] is the one table of everything that may stand in it. [`load()`] reads a whole text; [`Document`] does it in
//! steps, so that targets can be chosen and changed in between; [`check_paths`] looks at the disk, which nothing else
//! here does; [`confine`] takes from a target what an untrusted project must not have. Every [`Problem`] says what is wrong,
//! where, and what to do.
#![forbid(unsafe_code)]

mod doc;
mod document;
mod file;
mod key;
mod load;
mod mounts;
mod paths;
mod problem;
#[cfg(test)]
mod record;
mod resolve;
mod rules;
mod schema;
mod spans;
mod syntax;
mod table;
mod target;
mod untrusted;
pub mod value;
mod walk;

pub use doc::markdown;
pub use document::{Document, MINIMAL_EXAMPLE};
pub use key::{Applies, Default, Key, PathKind, SYSTEM_KEYS, ValueType, suggest};
pub use load::{KernelOptions, load, load_bytes};
pub use paths::check_paths;
pub use problem::{Fix, LineIndex, Problem, Severity, Source, line_column};
pub use resolve::{Loaded, Purpose, Resolved};
pub use schema::json_schema;
pub use spans::{Place, Spans};
pub use syntax::{MAX_DEPTH, MAX_FILE_SIZE, decode};
pub use table::KEYS;
pub use target::*;
pub use untrusted::confine;
