//! What an editor is promised for a vmtest.toml: one test, one promise.

mod support;
