//! Kernels of distributions: packages are fetched by the machine's own package client, which checks their signatures, and
//! unpacked into the cache. Nothing is installed, and root is not needed.

mod apt;
mod archive;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::apt::Stanza;
use self::archive::Unpacker;
use crate::download::Progress;
use crate::event::EventKind;
use crate::host::Manager;
use crate::kernel::{Kernel, ModuleSearch};
use crate::shelf::{About, Claim, Held, Shelf, Turn};
use crate::snapshot::{Identity, Key};
use crate::verdict::Failure;

/// What all unpacked packages may take on the disk; one is about half a gigabyte.
const ROOM: u64 = 10 << 30;
/// Where packages are while they are unpacked.
const PACKAGES: &str = ".packages";

/// A package with a kernel, or one that depends on one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offered {
    /// Its name, for `kernel_package`.
    pub package: String,
    /// The version that would be fetched.
    pub version: String,
    /// What it is.
    pub description: String,
}

/// Why there is no kernel of a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Another distribution.
    #[error("vmtest fetches kernel packages with apt, and this machine has another package client")]
    NoApt {
        /// The distribution's, where it is known.
        manager: Option<Manager>,
    },
    /// The client knows no such package.
    #[error("apt offers no package `{package}`")]
    NotOffered {
        /// Its name.
        package: String,
    },
    /// The client failed.
    #[error("{what} failed: {why}")]
    Client {
        /// What was started.
        what: String,
        /// What it said.
        why: String,
    },
    /// There is no kernel in it.
    #[error("the package `{package}` has no kernel that can be used: {why}")]
    NoKernel {
        /// Its name.
        package: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not an archive as packages are.
    #[error("cannot unpack the package `{package}`: {why}")]
    Archive {
        /// Its name.
        package: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cache.
    #[error("cannot keep the package in {}: {error}", folder.display())]
    Cache {
        /// Where it was to be kept.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The user stopped it.
    #[error("it was cancelled")]
    Cancelled,
}

impl PackageError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::NoApt { manager } => match manager {
                Some(Manager::Dnf) => by_hand("dnf download kernel-core kernel-modules-core", "rpm2cpio and cpio"),
                Some(Manager::Zypper) => by_hand("zypper download kernel-default", "rpm2cpio and cpio"),
                Some(Manager::Pacman) => by_hand("pacman -Sw linux", "tar"),
                Some(Manager::Apt) | None => by_hand("your package client", "its own tools"),
            },
            Self::NotOffered { .. } => {
                "`vmtest kernels` lists what there is; `sudo apt-get update` brings apt's lists up to date".to_owned()
            }
            Self::Client { .. } => "`sudo apt-get update` brings apt's lists up to date; check the network".to_owned(),
            Self::NoKernel { .. } => "`vmtest kernels` lists packages with kernels".to_owned(),
            Self::Archive { .. } => "fetch it again; a package that is damaged on its server is worth a report".to_owned(),
            Self::Cache { .. } => {
                "make room (`vmtest cache clear`), make the folder writable for your user alone, or set XDG_CACHE_HOME"
                    .to_owned()
            }
            Self::Cancelled => return None,
        };
        Some(help)
    }
}

fn by_hand(fetch: &str, tools: &str) -> String {
    format!("fetch one with `{fetch}`, unpack it with {tools}, and name its folder: `kernel = \"…\"`")
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        Self { reason: error.to_string(), help: error.help(), ..Self::default() }
    }
}

/// The unpacked packages under a cache directory, which need not exist.
pub fn shelf(cache: &Path) -> Shelf {
    Shelf::new(cache.join("packages/1"), ROOM)
}

/// The kernel of the package, when it was fetched before. Starts no package client.
pub(crate) fn kept(cache: &Path, package: &str) -> Option<Held> {
    shelf(cache).find(&key(package))
}

/// What this machine's package client offers, the newest version of each, in the order of names.
pub async fn offered(cancel: &CancellationToken) -> Result<Vec<Offered>, PackageError> {
    check_client()?;
    apt::offered(cancel).await
}

/// The kernel of the package: kept, or fetched now. May block its thread, so it needs one of its own.
pub(crate) async fn fetch(
    cache: &Path,
    package: &str,
    events: &mpsc::Sender<EventKind>,
    cancel: &CancellationToken,
) -> Result<Held, PackageError> {
    if let Some(held) = kept(cache, package) {
        return Ok(held);
    }
    check_client()?;
    let wanted = apt::resolve(package, cancel).await?;
    Fetch { cache, package, wanted, cancel }.run(&mut Progress::to(events)).await
}

/// The same, but what was fetched before counts only when it is what the package client has now. Where the kernel is, and
/// whether it was there already.
pub async fn fetch_newest(
    cache: &Path,
    package: &str,
    events: &mpsc::Sender<EventKind>,
    cancel: &CancellationToken,
) -> Result<(PathBuf, bool), PackageError> {
    check_client()?;
    let fetch = Fetch { cache, package, wanted: apt::resolve(package, cancel).await?, cancel };
    if let Some(held) = kept(cache, package).filter(|held| held.about.what == fetch.versions()) {
        return Ok((held.path, true));
    }
    fetch.run(&mut Progress::to(events)).await.map(|held| (held.path, false))
}

fn check_client() -> Result<(), PackageError> {
    let has_apt = ["apt-get", "apt-cache", "dpkg-deb"]
        .iter()
        .all(|program| crate::host::in_path(program, &[]).is_some());
    if has_apt { Ok(()) } else { Err(PackageError::NoApt { manager: Manager::of_this_machine() }) }
}

/// A package that is under way.
struct Fetch<'a> {
    cache: &'a Path,
    package: &'a str,
    /// It, or those that it stands for.
    wanted: Vec<Stanza>,
    cancel: &'a CancellationToken,
}

impl Fetch<'_> {
    /// Everything, in order.
    async fn run(&self, progress: &mut Progress<'_>) -> Result<Held, PackageError> {
        progress.begin(format!("apt:{}", self.package));
        let usable = |about: &About| about.what == self.versions();
        let turn = shelf(self.cache)
            .take_turn(&key(self.package), usable, self.cancel, |part| progress.watch(part))
            .await;
        let claim = match turn {
            Ok(Turn::Make(claim)) => claim,
            Ok(Turn::Made(held)) => return Ok(held),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(PackageError::Cancelled),
            Err(error) => return Err(self.in_cache(error)),
        };
        let made = self.make(&claim, progress).await.inspect_err(|_| claim.discard_staging())?;
        claim.publish(&made).map_err(|error| self.in_cache(error))
    }

    async fn make(&self, claim: &Claim, progress: &mut Progress<'_>) -> Result<About, PackageError> {
        let staging = claim.staging().map_err(|error| self.in_cache(error))?;
        let packages = staging.join(PACKAGES);
        fs::create_dir(&packages).map_err(|error| self.in_cache(error))?;
        apt::download(&self.wanted, &packages, self.cancel, progress).await?;
        let mut unpacker = Unpacker::new(&staging, self.cancel);
        for file in fs::read_dir(&packages).map_err(|error| self.in_cache(error))?.flatten() {
            apt::unpack(&file.path(), &mut unpacker).map_err(|error| self.archive(&error))?;
        }
        let bytes = unpacker.finish().map_err(|error| self.archive(&error))?;
        fs::remove_dir_all(&packages).map_err(|error| self.in_cache(error))?;
        let no_kernel = |why: String| PackageError::NoKernel { package: self.package.to_owned(), why };
        // Its own modules are wanted, and no others of that release.
        let kernel = Kernel::read(&staging, &ModuleSearch { rootfs: staging.clone(), host: staging.clone() })
            .map_err(|error| no_kernel(error.to_string()))?;
        if kernel.modules.is_none() {
            return Err(no_kernel("it comes without modules".to_owned()));
        }
        let file = kernel.file.strip_prefix(&staging).unwrap_or(&kernel.file).to_string_lossy().into_owned();
        let identity = File::open(&kernel.file).and_then(|file| {
            // Thousands of files: after a loss of power all of them are there, or no description is.
            nix::unistd::syncfs(&file)?;
            Identity::of(&file)
        });
        let identity = identity.map_err(|error| self.in_cache(error))?;
        Ok(About {
            name: self.package.to_owned(),
            what: self.versions(),
            file,
            identity,
            origin: None,
            bytes,
        })
    }

    /// What exactly is fetched.
    fn versions(&self) -> String {
        let versions: Vec<_> =
            self.wanted.iter().map(|wanted| format!("{} {}", wanted.package, wanted.version)).collect();
        versions.join(", ")
    }

    fn archive(&self, error: &io::Error) -> PackageError {
        if self.cancel.is_cancelled() {
            return PackageError::Cancelled;
        }
        PackageError::Archive { package: self.package.to_owned(), why: error.to_string() }
    }

    fn in_cache(&self, error: io::Error) -> PackageError {
        PackageError::Cache { folder: shelf(self.cache).folder().to_owned(), error }
    }
}

fn key(package: &str) -> Key {
    Key::of(["package", package])
}
