//! `vmtest list`: the targets of a vmtest.toml, for people, scripts and CI.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use vmtest_config::{Command, ImageSource, KernelSource, LineIndex, Resolved, System};

use crate::args::{ListArgs, ListFormat};
use crate::project::{Choice, File};
use vmtest_vm::sanitize;

/// Prints them.
pub(crate) fn list(args: &ListArgs) -> ExitCode {
    let choice = Choice { filter: args.filter.as_deref(), partition: args.partition, ..Choice::default() };
    let listed = File::read(args.config.as_deref()).and_then(|file| {
        let loaded = file.select(&choice)?;
        Ok((file, loaded.targets))
    });
    let (file, targets) = match listed {
        Ok(listed) => listed,
        Err(refused) => return refused.report(),
    };
    match args.format {
        ListFormat::Human => crate::print(format_args!("{}", human(&targets))),
        ListFormat::Json => crate::print(format_args!("{:#}\n", array(&targets, &file.text))),
        // One line: it becomes the value of a step's output.
        ListFormat::GithubMatrix => crate::print(format_args!("{}\n", matrix(&targets))),
    }
}

fn human(targets: &[Resolved]) -> String {
    let name = |resolved: &Resolved| sanitize::line(resolved.target.name.as_bytes());
    let width =
        targets.iter().map(|resolved| console::measure_text_width(&name(resolved))).max().unwrap_or(0);
    let mut text = String::new();
    for resolved in targets {
        let name = name(resolved);
        let gap = width - console::measure_text_width(&name);
        let (kind, source) = system(&resolved.target.system);
        let source = sanitize::line(source.as_bytes());
        let _ = writeln!(text, "{name}{:gap$}  {kind} {source}", "");
    }
    text
}

fn array(targets: &[Resolved], text: &str) -> Value {
    let lines = LineIndex::new(text);
    targets
        .iter()
        .map(|resolved| {
            let target = &resolved.target;
            let (kind, source) = system(&target.system);
            let command = match &target.command {
                Command::Shell(command) => command,
                Command::Interactive => "-",
            };
            json!({
                "name": target.name,
                "index": resolved.index,
                "line": lines.line_column(resolved.header.start).0,
                "system": kind,
                "source": source,
                "arch": target.arch,
                "command": command,
                "num_cpus": target.vm.num_cpus,
                "memory_bytes": target.vm.memory.bytes,
                "timeout_seconds": target.timeout.map(|time| time.as_secs_f64()),
            })
        })
        .collect()
}

/// What `strategy.matrix` takes: for each target its name, the part that runs it alone, also when names repeat, and what a
/// runner is chosen by.
fn matrix(targets: &[Resolved]) -> Value {
    let count = targets.len();
    let include: Value = targets
        .iter()
        .enumerate()
        .map(|(place, resolved)| {
            json!({
                "target": resolved.target.name,
                "partition": format!("{}/{count}", place + 1),
                "arch": resolved.target.arch,
            })
        })
        .collect();
    json!({ "include": include })
}

/// The key that names what boots, and its value.
fn system(system: &System) -> (&'static str, String) {
    match system {
        System::Kernel(kernel) => match &kernel.source {
            KernelSource::Path(path) => ("kernel", path.display().to_string()),
            KernelSource::Url(download) => ("kernel_url", download.url.clone()),
            KernelSource::Package(package) => ("kernel_package", package.clone()),
        },
        System::Image(image) => match &image.source {
            ImageSource::Path(path) => ("image", path.display().to_string()),
            ImageSource::Url(download) => ("image_url", download.url.clone()),
        },
    }
}
