//! Files from the network: fetched once, verified, unpacked, kept, and used again without any network.
//!
//! What breaks off is gone on with, within a run and by the next one. Two processes that want the same file fetch it once.

mod error;
mod http;
mod part;
mod progress;
#[cfg(test)]
mod tests;
mod unpack;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vmtest_config::Download;

pub(crate) use self::error::{DownloadError, Problem};
use self::http::Web;
use self::part::Part;
pub(crate) use self::progress::Progress;
use crate::clock::awake;
use crate::event::EventKind;
use crate::shelf::{About, Claim, Held, Shelf, Turn};
use crate::snapshot::{Identity, Key};

/// What all downloads may take on the disk.
const ROOM: u64 = 20 << 30;

/// Bytes that are read and written at once.
const PIECE: usize = 1 << 20;

/// How far a download may go.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Longest time to reach the server.
    pub(crate) connect: Duration,
    /// Longest time until it answers.
    pub(crate) answer: Duration,
    /// In such a time…
    pub(crate) pace: Duration,
    /// …so many bytes must come at least.
    pub(crate) least: u64,
    /// Longest time for everything.
    pub(crate) total: Duration,
    /// Attempts when the connection breaks.
    pub(crate) attempts: u32,
    /// Time between two of them.
    pub(crate) pause: Duration,
    /// Redirects that are followed.
    pub(crate) redirects: u32,
    /// Longest file as it is served.
    pub(crate) served: u64,
    /// Longest file when it is unpacked.
    pub(crate) unpacked: u64,
}

impl Limits {
    /// For a kernel.
    pub(crate) const KERNEL: Self = Self {
        connect: Duration::from_secs(20),
        answer: Duration::from_secs(30),
        pace: Duration::from_secs(30),
        least: 30 << 10,
        total: Duration::from_secs(3600),
        attempts: 5,
        pause: Duration::from_secs(1),
        redirects: 10,
        served: 2 << 30,
        unpacked: 2 << 30,
    };
    /// For a disk image.
    pub(crate) const IMAGE: Self =
        Self { total: Duration::from_secs(6 * 3600), served: 32 << 30, unpacked: 64 << 30, ..Self::KERNEL };
}

/// The downloads under a cache directory, which need not exist.
pub fn shelf(cache: &Path) -> Shelf {
    Shelf::new(cache.join("downloads/1"), ROOM)
}

/// The file, when it was fetched before. Touches no network, and nothing but the cache and a `file://` itself.
pub(crate) fn kept(cache: &Path, download: &Download) -> Option<Held> {
    shelf(cache).find(&key(download)).filter(|held| is_current(&held.about, download))
}

/// The file: kept, or fetched now. May block its thread, so it needs one of its own.
pub(crate) async fn fetch(
    cache: &Path,
    download: &Download,
    limits: &Limits,
    events: &mpsc::Sender<EventKind>,
    cancel: &CancellationToken,
) -> Result<Held, DownloadError> {
    if let Some(held) = kept(cache, download) {
        return Ok(held);
    }
    Fetch { cache, download, limits, cancel, web: Web::system }.run(&mut Progress::to(events)).await
}

/// A download that is under way.
struct Fetch<'a> {
    cache: &'a Path,
    download: &'a Download,
    limits: &'a Limits,
    cancel: &'a CancellationToken,
    /// Made only when it is needed: it reads the certificates of this machine.
    web: fn(&Limits) -> Result<Web, String>,
}

impl Fetch<'_> {
    /// Everything, in order.
    async fn run(&self, progress: &mut Progress<'_>) -> Result<Held, DownloadError> {
        let url =
            Url::parse(&self.download.url).map_err(|error| self.error(Problem::Url(error.to_string())))?;
        progress.begin(shown(&url));
        let downloads = shelf(self.cache);
        let in_cache = |error| self.error(Problem::Cache(error));
        let usable = |about: &About| is_current(about, self.download);
        let turn =
            downloads.take_turn(&key(self.download), usable, self.cancel, |part| progress.watch(part)).await;
        let claim = match turn {
            Ok(Turn::Make(claim)) => claim,
            Ok(Turn::Made(held)) => return Ok(held),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return Err(self.error(Problem::Cancelled));
            }
            Err(error) => return Err(in_cache(error)),
        };
        let (file, description) = claim.part_files();
        let mut part = Part::open(&file, &description, &shown(&url)).map_err(in_cache)?;
        let got = self.get(&url, &mut part, progress).await;
        let made = got.and_then(|origin| self.make(&claim, &part, &url, origin));
        let about = made.map_err(|problem| {
            claim.discard_staging();
            // What is of no use is not gone on with.
            if part.len() == 0 || problem.is_of_the_file() {
                part.discard();
            }
            self.error(problem)
        })?;
        claim.publish(&about).map_err(in_cache)
    }

    /// Gets the bytes as they are served; a file of this machine says which it is.
    async fn get(
        &self,
        url: &Url,
        part: &mut Part,
        progress: &mut Progress<'_>,
    ) -> Result<Option<Identity>, Problem> {
        if url.scheme() == "file" {
            return self.copy(url, part).map(Some);
        }
        let web = (self.web)(self.limits).map_err(Problem::Unreachable)?;
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Problem::Cancelled),
            () = awake(self.limits.total) => {
                return Err(Problem::Deadline { received: part.len(), limit: self.limits.total });
            }
            got = web.get(url, part, self.limits, progress) => got?,
        }
        Ok(None)
    }

    fn copy(&self, url: &Url, part: &mut Part) -> Result<Identity, Problem> {
        let path =
            url.to_file_path().map_err(|()| Problem::Url("it names no file of this machine".to_owned()))?;
        let in_words = |error: io::Error| Problem::Source { path: path.clone(), why: error.to_string() };
        // Opening a pipe would wait for its writer.
        let kind = fs::metadata(&path).map_err(in_words)?;
        if !kind.is_file() {
            return Err(Problem::Source { path, why: "it is not a regular file".to_owned() });
        }
        let mut file = File::open(&path).map_err(in_words)?;
        let size = file.metadata().map_err(in_words)?.size();
        if size > self.limits.served {
            return Err(Problem::TooLarge { limit: self.limits.served });
        }
        let identity = Identity::of(&file).map_err(in_words)?;
        part.restart(None, Some(size))?;
        let mut buffer = vec![0; PIECE];
        loop {
            if self.cancel.is_cancelled() {
                return Err(Problem::Cancelled);
            }
            match file.read(&mut buffer).map_err(in_words)? {
                0 => return Ok(identity),
                count => part.push(&buffer[..count])?,
            }
        }
    }

    /// Makes the entry of the bytes.
    fn make(
        &self,
        claim: &Claim,
        part: &Part,
        url: &Url,
        origin: Option<Identity>,
    ) -> Result<About, Problem> {
        let sha256 = unpack::verify(part, self.download.sha256.as_deref(), self.cancel)?;
        let name = file_name(url);
        let path = claim.staging()?.join(&name);
        unpack::unpack(part, &path, self.limits.unpacked, self.cancel)?;
        let file = File::open(&path)?;
        file.sync_all()?;
        let (identity, bytes) = (Identity::of(&file)?, file.metadata()?.blocks() * 512);
        Ok(About { name: shown(url), what: sha256, file: name, identity, origin, bytes })
    }

    fn error(&self, problem: Problem) -> DownloadError {
        let url =
            Url::parse(&self.download.url).map_or_else(|_| self.download.url.clone(), |url| shown(&url));
        let problem = match problem {
            Problem::Cache(error) => {
                let downloads = shelf(self.cache);
                let folder = downloads.folder().display();
                Problem::Cache(io::Error::new(error.kind(), format!("{folder}: {error}")))
            }
            problem => problem,
        };
        DownloadError { url, problem }
    }
}

/// A file of this machine that was changed is another; what a server has is not asked again.
fn is_current(about: &About, download: &Download) -> bool {
    let Some(origin) = &about.origin else { return true };
    let path = Url::parse(&download.url).ok().and_then(|url| url.to_file_path().ok());
    let now = path.and_then(|path| fs::metadata(path).ok());
    now.is_none_or(|now| *origin == Identity::of_metadata(&now))
}

fn key(download: &Download) -> Key {
    Key::of([download.url.as_str(), download.sha256.as_deref().unwrap_or_default()])
}

/// The URL without the password that may be in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // It fails where there is no place for them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// The last part of the URL as the name of a file, so that messages about it say what it is.
fn file_name(url: &Url) -> String {
    let last = url.path().rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let plain: String = last.chars().map(|c| if is_plain(c) { c } else { '_' }).take(64).collect();
    let plain = [".gz", ".xz", ".zst"].iter().find_map(|end| plain.strip_suffix(end)).unwrap_or(&plain);
    let plain = plain.trim_start_matches(['.', '-']);
    if plain.is_empty() { "file".to_owned() } else { plain.to_owned() }
}
