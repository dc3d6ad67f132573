//! `vmtest`: tests under many Linux kernels.
#![forbid(unsafe_code)]

mod args;
mod command;
mod executor;
mod linebuf;
mod paint;
mod problems;
mod project;
mod reporter;
mod shell;
mod signals;
mod spool;
mod terminal;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::args::{Invocation, Sub};

fn main() -> ExitCode {
    terminal::restore_on_panic();
    log_to_stderr();
    let words: Vec<OsString> = std::env::args_os().collect();
    match args::parse(&words) {
        Ok(Invocation::Run(args)) => command::run::run(&args),
        Ok(Invocation::Sub(sub)) => subcommand(sub),
        Err(error) => {
            let _ = error.print();
            // An error on the command line is one of configuration; help and version are none.
            ExitCode::from(if error.use_stderr() { vmtest_vm::verdict::EXIT_CONFIG } else { 0 })
        }
    }
}

fn subcommand(sub: Sub) -> ExitCode {
    match sub {
        Sub::Check { file, config } => command::check::check(file.or(config).as_deref()),
        Sub::Fmt { file, check } => command::fmt::fmt(file.as_deref(), check),
        Sub::List(args) => command::list::list(&args),
        Sub::Shell(args) => command::run::run(&args.into_run()),
        Sub::Doctor => command::doctor::doctor(),
        Sub::Cache { action } => command::cache::cache(action),
        Sub::Kernels(args) => command::kernels::kernels(&args),
        Sub::Schema => command::schema::schema(),
        Sub::Lsp { .. } => command::lsp::lsp(),
        Sub::Completions { shell } => {
            let mut script = Vec::new();
            args::completions(shell, &mut script);
            print(format_args!("{}", String::from_utf8_lossy(&script)))
        }
    }
}

/// Writes to standard output; a reader that went away is no reason for a message.
fn print(text: fmt::Arguments<'_>) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            say(format_args!("cannot write to standard output: {error}"));
            ExitCode::from(74)
        }
    }
}

/// Tells the user something that is not the run's own output.
fn say(text: fmt::Arguments<'_>) {
    // One write, so that lines of several processes do not mix; standard error may be closed.
    let line = format!("vmtest: {text}{}", terminal::line_end());
    let _ = io::stderr().write_all(line.as_bytes());
}

fn log_to_stderr() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("VMTEST_LOG") {
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
    }
}
