//! `vmtest schema`: the JSON Schema of vmtest.toml.

use std::process::ExitCode;

/// Prints it.
pub(crate) fn schema() -> ExitCode {
    crate::print(format_args!("{:#}\n", vmtest_config::json_schema()))
}
