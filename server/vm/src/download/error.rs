//! Why there is no file, each with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::verdict::Failure;
use crate::wording::bytes;

/// A file that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot download {url}: {problem}")]
pub(crate) struct DownloadError {
    /// Without a password.
    pub(crate) url: String,
    pub(crate) problem: Problem,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{0}")]
    Url(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{server} answered {status}")]
    Status {
        /// The host that said so, which may be another than the URL's.
        server: String,
        status: reqwest::StatusCode,
    },
    #[error("it is redirected to {to}, {why}")]
    Redirect { to: String, why: &'static str },
    #[error("it is redirected more than {0} times")]
    TooManyRedirects(u32),
    #[error("what is there is a web page, and not the file; perhaps one to log in")]
    WebPage,
    #[error("it broke off after {}{}: {why}", bytes(*received), of(*total))]
    Broken { received: u64, total: Option<u64>, why: String },
    #[error("less than {} came in {} s, after {}", bytes(*least), within.as_secs_f64(), bytes(*received))]
    Stalled { received: u64, least: u64, within: Duration },
    #[error("it was not done after {} s, with {} received", limit.as_secs_f64(), bytes(*received))]
    Deadline { received: u64, limit: Duration },
    #[error("it is larger than {}, which no such file is", bytes(*limit))]
    TooLarge { limit: u64 },
    #[error("its SHA-256 is {got}, and not {expected} ({} received)", bytes(*received))]
    Checksum { expected: String, got: String, received: u64 },
    #[error("it cannot be unpacked as {format}: {why}")]
    Damaged { format: &'static str, why: String },
    #[error("unpacked it is larger than {}, which no such file is", bytes(*limit))]
    Bomb { limit: u64 },
    #[error("{} cannot be read: {why}", path.display())]
    Source { path: PathBuf, why: String },
    #[error("it cannot be kept in the cache: {0}")]
    Cache(#[from] io::Error),
    #[error("it was cancelled")]
    Cancelled,
}

impl Problem {
    /// Whether the bytes that came are of no use.
    pub(super) fn is_of_the_file(&self) -> bool {
        matches!(
            self,
            Self::WebPage
                | Self::TooLarge { .. }
                | Self::Checksum { .. }
                | Self::Damaged { .. }
                | Self::Bomb { .. }
        )
    }

    /// Whether another attempt may get further.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }

    fn help(&self) -> Option<String> {
        const AGAIN: &str = "run it again: it goes on where it stopped";
        let help = match self {
            Self::Url(_) => "correct the URL",
            Self::Unreachable(why) if why.contains("certificate") => {
                "a server's certificate must be signed by an authority that this machine or Mozilla trusts; the variable \
                 `SSL_CERT_FILE` names a file with others"
            }
            Self::Unreachable(_) => {
                "check the network and the URL; a proxy is taken from `https_proxy`, `http_proxy` and `no_proxy`. What was \
                 downloaded before needs no network"
            }
            Self::Status { status, .. } => match status.as_u16() {
                401 | 403 | 407 => {
                    "it needs a login or a right that vmtest does not have: download it yourself, and name the file"
                }
                404 | 410 => "correct the URL: the file is not there, or not there any more",
                500.. => "try again later",
                _ => "open the URL in a browser to see what it is",
            },
            Self::Redirect { .. } => "name the final URL in vmtest.toml, if you trust it",
            Self::TooManyRedirects(_) | Self::WebPage => {
                "open the URL in a browser, and take the link of the file itself"
            }
            Self::Broken { .. } | Self::Stalled { .. } | Self::Deadline { .. } => AGAIN,
            Self::TooLarge { .. } | Self::Bomb { .. } => "check that the URL is the right file's",
            Self::Checksum { .. } => {
                "if the file was replaced on purpose, write its new SHA-256 into vmtest.toml; otherwise do not use it"
            }
            Self::Damaged { .. } => "the file is damaged on the server: tell who offers it",
            Self::Source { .. } => "correct the path after `file://`",
            Self::Cache(error) if error.kind() == io::ErrorKind::StorageFull => {
                "make room: `vmtest cache clear` removes everything that can be made or fetched again"
            }
            Self::Cache(_) => "make that folder writable for your user alone, or set XDG_CACHE_HOME",
            Self::Cancelled => return None,
        };
        Some(help.to_owned())
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self { reason: error.to_string(), help: error.problem.help(), ..Self::default() }
    }
}

fn of(total: Option<u64>) -> String {
    total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default()
}
