//! `vmtest kernels`: kernels that a target can boot, and where they come from.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_config::Arch;
use vmtest_vm::distribution::{self, Offered, PackageError};
use vmtest_vm::event::EventKind;
use vmtest_vm::kernel::{Kernel, ModuleSearch};
use vmtest_vm::verdict::EXIT_CANCELLED;
use vmtest_vm::{host, sanitize, wording};

use crate::args::{Format, KernelsAction, KernelsArgs};
use crate::{executor, signals};

/// Events that the eye may be behind.
const EVENTS: usize = 16;

/// Lists kernels, or fetches one.
pub(crate) fn kernels(args: &KernelsArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::say(format_args!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        if let Err(error) = signals::watch(&cancel, false) {
            crate::say(format_args!("cannot listen to signals: {error}"));
            return ExitCode::FAILURE;
        }
        match &args.action {
            Some(KernelsAction::Fetch { package }) => fetch(package, &cancel).await,
            None => list(args.format, &cancel).await,
        }
    })
}

/// All that is known.
#[derive(Debug, Serialize)]
struct Known {
    installed: Vec<Installed>,
    fetched: Vec<Fetched>,
    offered: Vec<Offered>,
    /// Why there is no list of what is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_offered_because: Option<String>,
}

/// A kernel of this machine.
#[derive(Debug, Serialize)]
struct Installed {
    path: PathBuf,
    /// None where it cannot be read.
    release: Option<String>,
}

/// A package in the cache.
#[derive(Debug, Serialize)]
struct Fetched {
    package: String,
    versions: String,
    path: PathBuf,
    bytes: u64,
}

async fn list(format: Format, cancel: &CancellationToken) -> ExitCode {
    let (offered, not_offered_because) = match distribution::offered(cancel).await {
        Ok(offered) => (offered, None),
        Err(PackageError::Cancelled) => return ExitCode::from(EXIT_CANCELLED),
        Err(error) => (Vec::new(), Some(in_words(&error))),
    };
    let known = Known {
        installed: host::kernel_files(Path::new("/")).into_iter().map(installed).collect(),
        fetched: fetched(),
        offered,
        not_offered_because,
    };
    match format {
        Format::Human => crate::print(format_args!("{}", human(&known))),
        Format::Json => {
            let text = serde_json::to_string_pretty(&known).expect("a list is JSON");
            crate::print(format_args!("{text}\n"))
        }
    }
}

fn installed(path: PathBuf) -> Installed {
    let kernel = Kernel::read_for(&path, Arch::host(), &ModuleSearch::new(Path::new("/")));
    Installed { path, release: kernel.ok().map(|kernel| kernel.release) }
}

fn fetched() -> Vec<Fetched> {
    let items = distribution::shelf(&executor::cache()).list();
    let whole = items.into_iter().filter_map(|item| {
        let versions = item.what?;
        Some(Fetched { package: item.name, versions, path: item.path, bytes: item.bytes })
    });
    whole.collect()
}

fn human(known: &Known) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "On this machine (`kernel = \"…\"`):");
    for Installed { path, release } in &known.installed {
        let release = release.as_deref().unwrap_or("not readable, or no kernel that can be started");
        let _ = writeln!(text, "  {}  {release}", path.display());
    }
    if known.installed.is_empty() {
        let _ = writeln!(text, "  none");
    }
    if !known.fetched.is_empty() {
        let _ = writeln!(text, "\nFetched (`kernel_package = \"…\"`, without a network):");
        for Fetched { package, versions, bytes, .. } in &known.fetched {
            let _ = writeln!(text, "  {package}  {versions}, {}", wording::bytes(*bytes));
        }
    }
    let _ = writeln!(text, "\nOffered by the distribution (`kernel_package = \"…\"`):");
    let width = known.offered.iter().map(|package| package.package.len()).max().unwrap_or(0);
    for Offered { package, version, description } in &known.offered {
        let description = sanitize::line(description.as_bytes());
        let _ = writeln!(text, "  {package:width$}  {version}  {description}");
    }
    if let Some(why) = &known.not_offered_because {
        let _ = writeln!(text, "  {why}");
    } else if known.offered.is_empty() {
        let _ = writeln!(text, "  none: `sudo apt-get update` brings apt's lists up to date");
    }
    text
}

async fn fetch(package: &str, cancel: &CancellationToken) -> ExitCode {
    let (events, heard) = mpsc::channel(EVENTS);
    let shown = tokio::spawn(show(heard));
    let (name, token) = (package.to_owned(), cancel.clone());
    let runtime = tokio::runtime::Handle::current();
    // Unpacking is work, and a disk may be slow.
    let work = tokio::task::spawn_blocking(move || {
        let cache = executor::cache();
        runtime.block_on(distribution::fetch_newest(&cache, &name, &events, &token))
    });
    let fetched = work.await;
    let _ = shown.await;
    match fetched {
        Ok(Ok((path, was_there))) => {
            if was_there {
                crate::say(format_args!("{package} is up to date"));
            }
            crate::print(format_args!("{}\n", path.display()))
        }
        Ok(Err(PackageError::Cancelled)) => ExitCode::from(EXIT_CANCELLED),
        Ok(Err(error)) => {
            crate::say(format_args!("{}", in_words(&error)));
            ExitCode::FAILURE
        }
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Says how far it is: four lines for each thing that is fetched.
async fn show(mut events: mpsc::Receiver<EventKind>) {
    let mut step = None;
    while let Some(event) = events.recv().await {
        let EventKind::Downloading { url, received, total } = event else { continue };
        let now = total.map(|total| received * 4 / total.max(1));
        if now.is_some() && now != step {
            step = now;
            crate::say(format_args!("{url}: {}", wording::progress(received, total)));
        }
    }
}

fn in_words(error: &PackageError) -> String {
    error.help().map_or_else(|| error.to_string(), |help| format!("{error}; {help}"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_list_says_where_each_kernel_is_and_which_key_names_it() {
        let known = Known {
            installed: vec![
                Installed { path: "/boot/vmlinuz-6.1".into(), release: Some("6.1".into()) },
                Installed { path: "/boot/vmlinuz-6.2".into(), release: None },
            ],
            fetched: vec![Fetched {
                package: "linux-image-a".into(),
                versions: "linux-image-6.1-a 6.1-2".into(),
                path: "/c/k".into(),
                bytes: 400_000_000,
            }],
            offered: vec![Offered {
                package: "linux-image-a".into(),
                version: "6.1-2".into(),
                description: "Linux".into(),
            }],
            not_offered_because: None,
        };
        expect![[r#"
            On this machine (`kernel = "…"`):
              /boot/vmlinuz-6.1  6.1
              /boot/vmlinuz-6.2  not readable, or no kernel that can be started

            Fetched (`kernel_package = "…"`, without a network):
              linux-image-a  linux-image-6.1-a 6.1-2, 400.0 MB

            Offered by the distribution (`kernel_package = "…"`):
              linux-image-a  6.1-2  Linux
        "#]]
        .assert_eq(&human(&known));
    }

    #[test]
    fn a_machine_without_anything_says_so() {
        let known = Known {
            installed: Vec::new(),
            fetched: Vec::new(),
            offered: Vec::new(),
            not_offered_because: Some("there is no apt".into()),
        };
        let text = human(&known);
        assert!(text.contains("  none\n") && text.ends_with("  there is no apt\n"), "{text}");
    }
}
