//! What an editor is promised for a vmtest.toml: one test, one promise.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![expect(clippy::needless_pass_by_value, reason = "so that a table reads well")]

mod completion_keys;
mod completion_paths;
mod completion_tables;
mod completion_values;
mod fixes;
mod fixtures;
mod folds;
mod format;
mod hints;
mod hover;
mod lenses;
mod links;
mod problems;
mod support;
mod symbols;
mod tokens;
mod typing;
