//! What an editor is promised for a vmtest.toml: one test, one promise.

mod completion_keys;
mod completion_paths;
mod completion_tables;
mod completion_values;
mod fixes;
mod fixtures;
mod format;
mod lenses;
mod problems;
mod support;
mod typing;
