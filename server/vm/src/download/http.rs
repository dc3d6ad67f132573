//! What is said to web servers. Redirects are followed by hand: where they may lead is ours to decide.

use std::pin::Pin;
use std::sync::Arc;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};

use super::error::Problem;
use super::part::Part;
use super::progress::EVERY;
use super::{Limits, Progress};
use crate::clock::{awake, within};

/// A client of web servers.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
}

/// What a server that sends only the rest of a file says of it: `bytes 5-9/10`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    total: Option<u64>,
}

impl Web {
    /// With the proxies that the environment names, and the certificates of this machine beside Mozilla's.
    pub(super) fn system(limits: &Limits) -> Result<Self, String> {
        Self::new(Client::builder(), limits)
    }

    /// Without proxies.
    #[cfg(test)]
    pub(super) fn direct(limits: &Limits) -> Result<Self, String> {
        Self::new(Client::builder().no_proxy(), limits)
    }

    fn new(builder: reqwest::ClientBuilder, limits: &Limits) -> Result<Self, String> {
        let client = builder
            .tls_backend_preconfigured(tls().map_err(|error| error.to_string())?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits.connect)
            .user_agent(concat!("vmtest/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| why(&error))?;
        Ok(Self { client })
    }

    /// Gets what is missing of a file; a connection that breaks is not the end of it.
    pub(super) async fn get(
        &self,
        url: &Url,
        part: &mut Part,
        limits: &Limits,
        progress: &mut Progress<'_>,
    ) -> Result<(), Problem> {
        let mut attempt = 1;
        while !part.is_complete() {
            let before = part.len();
            match self.attempt(url, part, limits, progress).await {
                Ok(()) => break,
                Err(problem) if problem.is_of_the_connection() && attempt < limits.attempts => {
                    tracing::debug!(%problem, attempt, "a download goes on");
                    // One that gets further may take as many attempts as it needs, within its time.
                    attempt = if part.len() > before { 1 } else { attempt + 1 };
                    tokio::time::sleep(limits.pause).await;
                }
                Err(problem) => return Err(problem),
            }
        }
        progress.done(part.len());
        Ok(())
    }

    async fn attempt(
        &self,
        url: &Url,
        part: &mut Part,
        limits: &Limits,
        progress: &mut Progress<'_>,
    ) -> Result<(), Problem> {
        let mut response = self.request(url, part, limits).await?;
        Self::prepare(&response, part)?;
        let total = part.total();
        if total.is_some_and(|total| total > limits.served) {
            return Err(Problem::TooLarge { limit: limits.served });
        }
        let mut pace = Pace::begin(limits);
        loop {
            progress.reached(part.len(), total);
            tokio::select! {
                biased;
                chunk = response.chunk() => match chunk {
                    Ok(Some(bytes)) => {
                        part.push(&bytes)?;
                        if part.len() > limits.served {
                            return Err(Problem::TooLarge { limit: limits.served });
                        }
                        pace.received += bytes.len() as u64;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        return Err(Problem::Broken { received: part.len(), total, why: why(&error) });
                    }
                },
                () = &mut pace.over => {
                    if pace.received < limits.least {
                        let (received, least, within) = (part.len(), limits.least, limits.pace);
                        return Err(Problem::Stalled { received, least, within });
                    }
                    pace = Pace::begin(limits);
                }
                // Also without news it is time to tell the last of them.
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        match total {
            Some(total) if total != part.len() => {
                let why = "the server closed the connection".to_owned();
                Err(Problem::Broken { received: part.len(), total: Some(total), why })
            }
            _ => Ok(()),
        }
    }

    /// Asks for what is missing, wherever that is.
    async fn request(&self, url: &Url, part: &Part, limits: &Limits) -> Result<Response, Problem> {
        let mut at = url.clone();
        for _ in 0..=limits.redirects {
            // The file as it is served is what has the checksum.
            let mut request = self.client.get(at.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(validator) = part.resumable() {
                request = request.header(RANGE, format!("bytes={}-", part.len())).header(IF_RANGE, validator);
            }
            let silent = || {
                let seconds = limits.answer.as_secs_f64();
                Problem::Unreachable(format!("{} did not answer in {seconds} s", host(&at)))
            };
            let response = within(limits.answer, request.send())
                .await
                .ok_or_else(silent)?
                .map_err(|error| Problem::Unreachable(why(&error)))?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            at = redirected(&at, response.headers())?;
        }
        Err(Problem::TooManyRedirects(limits.redirects))
    }

    /// Makes the part ready for the body of a response.
    fn prepare(response: &Response, part: &mut Part) -> Result<(), Problem> {
        let headers = response.headers();
        match response.status() {
            StatusCode::OK => Ok(part.restart(validator(headers), response.content_length())?),
            StatusCode::PARTIAL_CONTENT if continues(headers, part) => Ok(()),
            // What is there is of no use to the server; without it, the next attempt asks for everything.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if part.len() > 0 => {
                part.restart(None, None)?;
                let why = "the server has another version of the file".to_owned();
                Err(Problem::Broken { received: 0, total: None, why })
            }
            status => Err(Problem::Status { server: host(response.url()), status }),
        }
    }
}

/// How fast bytes come.
struct Pace {
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    received: u64,
}

impl Pace {
    fn begin(limits: &Limits) -> Self {
        Self { over: Box::pin(awake(limits.pace)), received: 0 }
    }
}

/// TLS without a library of the system.
fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // A company's own is only here. What cannot be read is left out; the server's certificate then says what is missing.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(config)
}

/// Where a redirect leads.
fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, Problem> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refuse = |why| Err(Problem::Redirect { to: location.chars().take(200).collect(), why });
    let Ok(to) = from.join(location) else { return refuse("which is no URL") };
    match (from.scheme(), to.scheme()) {
        _ if location.is_empty() => refuse("which is no URL"),
        ("https", "http") => refuse("which is not encrypted"),
        (_, "http" | "https") => Ok(to),
        _ => refuse("which is neither `http` nor `https`"),
    }
}

/// What tells this version of a file from another. A weak `ETag` does not, and a time only with a day's worth of trust.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(LAST_MODIFIED))
}

/// Whether the body is what follows on the part.
fn continues(headers: &HeaderMap, part: &Part) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(content_range);
    range.is_some_and(|range| {
        range.first == part.len() && (range.total.is_none() || range.total == part.total())
    })
}

fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some(ContentRange { first: first.parse().ok()?, total: total.parse().ok() })
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// The innermost cause: what is around it says only that a request failed.
fn why(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() && error.is_connect() {
        return "the server cannot be reached in time".to_owned();
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(from: &str, location: &str) -> Result<String, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        redirected(&Url::parse(from).unwrap(), &headers).map(Into::into)
    }

    // N1
    #[test]
    fn a_redirect_is_followed_to_the_web_and_nowhere_else() {
        assert_eq!(to("http://a/x/y", "../z").unwrap(), "http://a/z");
        assert_eq!(to("http://a/x", "https://b/").unwrap(), "https://b/");
        assert_eq!(to("https://a/x", "//b/y").unwrap(), "https://b/y");
        for refused in ["http://b/", "file:///etc/passwd", "ftp://b/", "data:,x", ""] {
            assert!(matches!(to("https://a/x", refused), Err(Problem::Redirect { .. })), "{refused}");
        }
    }

    #[test]
    fn a_weak_tag_tells_no_version() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "W/\"1\"".parse().unwrap());
        assert_eq!(validator(&headers), None);
        headers.insert(LAST_MODIFIED, "Mon, 01 Jan 2024 00:00:00 GMT".parse().unwrap());
        assert_eq!(validator(&headers).as_deref(), Some("Mon, 01 Jan 2024 00:00:00 GMT"));
        headers.insert(ETAG, "\"1\"".parse().unwrap());
        assert_eq!(validator(&headers).as_deref(), Some("\"1\""));
    }

    #[test]
    fn a_range_says_where_it_begins_and_how_long_the_whole_is() {
        assert_eq!(content_range("bytes 5-9/10"), Some(ContentRange { first: 5, total: Some(10) }));
        assert_eq!(content_range("bytes 5-9/*"), Some(ContentRange { first: 5, total: None }));
        for wrong in ["bytes */10", "items 5-9/10", "bytes 5/10", ""] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
