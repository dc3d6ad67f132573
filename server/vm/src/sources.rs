//! From what a target names, wherever that is, to files of this machine.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_config::{Download, ImageSource, KernelSource, System, Target};

use crate::distribution::{self, PackageError};
use crate::download::{self, Limits, Problem};
use crate::event::EventKind;
use crate::shelf::Held;
use crate::verdict::{Failure, Verdict};

/// A target that names only files of this machine.
#[derive(Debug)]
pub(crate) struct Sources<'t> {
    /// The same as it was, but for that.
    pub(crate) target: Cow<'t, Target>,
    /// Keeps what was fetched from being removed meanwhile.
    held: Option<Held>,
}

/// Something that is no file of this machine.
#[derive(Debug, Clone)]
enum Remote {
    Url { download: Download, limits: &'static Limits },
    Package(String),
}

impl Remote {
    /// What the target boots, unless it is here already.
    fn of(target: &Target) -> Option<Self> {
        let (download, limits) = match &target.system {
            System::Kernel(system) => match &system.source {
                KernelSource::Path(_) => return None,
                KernelSource::Package(package) => return Some(Self::Package(package.clone())),
                KernelSource::Url(download) => (download, &Limits::KERNEL),
            },
            System::Image(system) => match &system.source {
                ImageSource::Path(_) => return None,
                ImageSource::Url(download) => (download, &Limits::IMAGE),
            },
        };
        Some(Self::Url { download: download.clone(), limits })
    }

    fn kept(&self, cache: &Path) -> Option<Held> {
        match self {
            Self::Url { download, .. } => download::kept(cache, download),
            Self::Package(package) => distribution::kept(cache, package),
        }
    }

    async fn fetch(
        &self,
        cache: &Path,
        events: &mpsc::Sender<EventKind>,
        cancel: &CancellationToken,
    ) -> Result<Held, Verdict> {
        match self {
            Self::Url { download, limits } => download::fetch(cache, download, limits, events, cancel)
                .await
                .map_err(|error| match error.problem {
                    Problem::Cancelled => Verdict::Cancelled,
                    _ => Verdict::BootFailed(error.into()),
                }),
            Self::Package(package) => {
                distribution::fetch(cache, package, events, cancel).await.map_err(|error| match error {
                    PackageError::Cancelled => Verdict::Cancelled,
                    error => Verdict::BootFailed(error.into()),
                })
            }
        }
    }
}

/// Fetches what the target names and is not here. What was fetched before is used without any network.
pub(crate) async fn fetch<'t>(
    target: &'t Target,
    cache: &Path,
    events: &mpsc::Sender<EventKind>,
    cancel: &CancellationToken,
) -> Result<Sources<'t>, Verdict> {
    let Some(remote) = Remote::of(target) else { return Ok(Sources::local(target)) };
    let (cache, events, token) = (cache.to_owned(), events.clone(), cancel.clone());
    let runtime = Handle::current();
    // Unpacking is work, and a disk may be slow.
    let work = tokio::task::spawn_blocking(move || runtime.block_on(remote.fetch(&cache, &events, &token)));
    match work.await {
        Ok(held) => Ok(Sources::of(target, held?)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The same, only with what was fetched before.
pub(crate) fn kept<'t>(target: &'t Target, cache: &Path) -> Result<Sources<'t>, Failure> {
    let Some(remote) = Remote::of(target) else { return Ok(Sources::local(target)) };
    let held = remote.kept(cache).ok_or_else(|| Failure {
        reason: "what it boots was not fetched yet".to_owned(),
        help: Some("run the target once".to_owned()),
        ..Failure::default()
    })?;
    Ok(Sources::of(target, held))
}

impl<'t> Sources<'t> {
    fn local(target: &'t Target) -> Self {
        Self { target: Cow::Borrowed(target), held: None }
    }

    fn of(target: &Target, held: Held) -> Self {
        let mut target = target.clone();
        boot_from(&mut target.system, held.path.clone());
        Self { target: Cow::Owned(target), held: Some(held) }
    }
}

impl Sources<'_> {
    /// The same verdict; one about a file in the cache says where that came from.
    pub(crate) fn explain(&self, mut verdict: Verdict) -> Verdict {
        if let (Verdict::BootFailed(failure), Some(held)) = (&mut verdict, &self.held)
            && failure.console.is_empty()
            && failure.reason.contains(&*held.path.to_string_lossy())
        {
            let from = format!(
                "it was fetched from {}; `vmtest cache clear` makes the next run fetch it again",
                held.about.name
            );
            failure.help = Some(failure.help.take().map_or(from.clone(), |help| format!("{help}; {from}")));
        }
        verdict
    }
}

fn boot_from(system: &mut System, path: PathBuf) {
    match system {
        System::Kernel(system) => system.source = KernelSource::Path(path),
        System::Image(system) => system.source = ImageSource::Path(path),
    }
}
