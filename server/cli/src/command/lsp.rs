//! `vmtest lsp`: the language server.

use std::process::ExitCode;

use vmtest_lsp::Options;

use crate::args::GuestArgs;
use crate::executor::{cache, executor};

/// Serves an editor until it says goodbye or is gone.
pub(crate) fn lsp() -> ExitCode {
    match vmtest_lsp::stdio(Options::new(executor(&GuestArgs::default()), cache())) {
        // Not by returning: a thread that waits for standard input would be waited for.
        Ok(status) => std::process::exit(status.into()),
        Err(error) => {
            crate::say(format_args!("cannot start the language server: {error}"));
            ExitCode::FAILURE
        }
    }
}
