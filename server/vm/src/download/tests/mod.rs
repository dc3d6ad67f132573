mod server;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use self::server::{Reply, Server};
use super::*;

/// Nothing of it is compressible, or repeats.
static KERNEL: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect());

/// What a test waits for comes at once or never.
const LIMITS: Limits = Limits { pause: Duration::ZERO, attempts: 2, redirects: 3, ..Limits::KERNEL };

/// A cache, and what a listener hears.
struct Cache {
    dir: tempfile::TempDir,
    events: mpsc::Sender<EventKind>,
    heard: mpsc::Receiver<EventKind>,
    cancel: CancellationToken,
    limits: Limits,
}

impl Cache {
    fn new() -> Self {
        let (events, heard) = mpsc::channel(64);
        let dir = tempfile::tempdir().unwrap();
        Self { dir, events, heard, cancel: CancellationToken::new(), limits: LIMITS }
    }

    fn limited(limits: Limits) -> Self {
        Self { limits, ..Self::new() }
    }

    async fn get(&self, download: &Download) -> Result<Held, DownloadError> {
        if let Some(held) = kept(self.dir.path(), download) {
            return Ok(held);
        }
        let fetch = Fetch {
            cache: self.dir.path(),
            download,
            limits: &self.limits,
            cancel: &self.cancel,
            web: Web::direct,
        };
        fetch.run(&mut Progress::to(&self.events)).await
    }

    #[track_caller]
    fn expect(&self, held: Result<Held, DownloadError>, content: &[u8]) -> PathBuf {
        let path = held.unwrap().path;
        assert!(path.starts_with(self.dir.path()));
        assert!(fs::read(&path).unwrap() == content, "{} is another file", path.display());
        path
    }

    /// Why there is no file, when nothing was kept either.
    #[track_caller]
    fn expect_nothing(&self, held: Result<Held, DownloadError>) -> String {
        let error = held.unwrap_err();
        assert_eq!(shelf(self.dir.path()).list(), [], "{error}");
        let failure = crate::verdict::Failure::from(error);
        format!("{} ({})", failure.reason, failure.help.unwrap_or_default())
    }
}

fn at(url: impl Into<String>) -> Download {
    Download { url: url.into(), sha256: None }
}

fn with_sha256(url: impl Into<String>, content: &[u8]) -> Download {
    Download { sha256: Some(sha256(content)), ..at(url) }
}

fn sha256(content: &[u8]) -> String {
    unpack::hex(&Sha256::digest(content))
}

fn redirect(to: &str) -> Reply {
    Reply::new("302 Found", &format!("location: {to}\ncontent-length: 0\n"), b"")
}

/// What has `Range` in it, of the requests so far.
fn ranges(server: &Server) -> Vec<Option<String>> {
    let range = |head: &String| {
        let line = head.lines().find(|line| line.starts_with("range:"))?;
        Some(line["range:".len()..].trim().to_owned())
    };
    server.asked().iter().map(range).collect()
}

// N3
#[tokio::test]
async fn what_was_fetched_is_used_again_without_the_server() {
    let mut cache = Cache::new();
    let server = Server::start([Reply::file(&KERNEL)]);
    for download in [at(server.url("/bzImage")), with_sha256(server.url("/bzImage"), &KERNEL)] {
        for _ in 0..3 {
            let path = cache.expect(cache.get(&download).await, &KERNEL);
            assert_eq!(path.file_name().unwrap(), "bzImage");
        }
    }
    assert_eq!(server.asked().len(), 2, "once for each of the two");
    let mut heard = Vec::new();
    while let Ok(EventKind::Downloading { url, received, total }) = cache.heard.try_recv() {
        assert_eq!(url, server.url("/bzImage"));
        heard.push((received, total));
    }
    let whole = KERNEL.len() as u64;
    assert_eq!(heard[0], (0, None));
    assert_eq!(heard.iter().filter(|reached| **reached == (whole, Some(whole))).count(), 2, "{heard:?}");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let cache = Cache::new();
    let server = Server::start([redirect("/elsewhere?x"), Reply::file(&KERNEL)]);
    cache.expect(cache.get(&at(server.url("/k"))).await, &KERNEL);
    assert!(server.asked()[1].starts_with("GET /elsewhere?x "), "{:?}", server.asked());
}

// N1
#[tokio::test]
async fn a_redirect_to_a_file_of_this_machine_is_refused() {
    let cache = Cache::new();
    let server = Server::start([redirect("file:///etc/passwd")]);
    let why = cache.expect_nothing(cache.get(&at(server.url("/k"))).await);
    assert!(why.contains("file:///etc/passwd") && why.contains("neither `http` nor `https`"), "{why}");
}

// N1
#[tokio::test]
async fn redirects_in_a_circle_come_to_an_end() {
    let cache = Cache::new();
    let server = Server::start([redirect("/k")]);
    let why = cache.expect_nothing(cache.get(&at(server.url("/k"))).await);
    assert!(why.contains("more than 3 times"), "{why}");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_with_its_url_and_asked_for_once() {
    let cache = Cache::new();
    let server = Server::start([Reply::new("404 Not Found", "content-length: 4\n", b"none")]);
    let url = server.url("/k");
    let why = cache.expect_nothing(cache.get(&at(&url)).await);
    assert!(why.contains(&url) && why.contains("404 Not Found") && why.contains("correct the URL"), "{why}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_clear_error() {
    let cache = Cache::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/k");
    let why = cache.expect_nothing(cache.get(&at(&url)).await);
    assert!(why.contains(&url) && why.contains("refused") && why.contains("check the network"), "{why}");
}

// N1, N3
#[tokio::test]
async fn a_connection_that_breaks_is_gone_on_with() {
    let cache = Cache::new();
    let half = KERNEL.len() / 2;
    let server = Server::start([Reply::file(&KERNEL).cut(half), Reply::rest(&KERNEL, half)]);
    cache.expect(cache.get(&with_sha256(server.url("/k"), &KERNEL)).await, &KERNEL);
    assert_eq!(ranges(&server), [None, Some(format!("bytes={half}-"))]);
    assert!(server.asked()[1].contains("if-range: \"1\"\r\n"), "{:?}", server.asked());
}

// N1, N3
#[tokio::test]
async fn the_next_run_goes_on_where_the_last_one_stopped() {
    let cache = Cache::limited(Limits { attempts: 1, ..LIMITS });
    let half = KERNEL.len() / 2;
    let server = Server::start([Reply::file(&KERNEL).cut(half), Reply::rest(&KERNEL, half)]);
    let download = at(server.url("/k"));
    // The first attempt that gets nowhere ends it; the server has closed only after half.
    let error = cache.get(&Download { url: download.url.clone(), sha256: None }).await;
    let held = match error {
        Err(error) => {
            assert!(error.to_string().contains("broke off after"), "{error}");
            let left = shelf(cache.dir.path()).list();
            assert_eq!((left.len(), left[0].bytes), (1, half as u64));
            cache.get(&download).await
        }
        Ok(_) => panic!("a half is no whole"),
    };
    cache.expect(held, &KERNEL);
    assert_eq!(ranges(&server), [None, Some(format!("bytes={half}-"))]);
}

#[tokio::test]
async fn a_file_that_was_replaced_meanwhile_is_not_mixed_with_the_old_one() {
    let new: Vec<u8> = KERNEL.iter().rev().copied().collect();
    for other in [
        Reply::file(&new),
        Reply::new("206 Partial Content", "content-range: bytes 7-9/10\ncontent-length: 3\n", b"abc"),
        Reply::new("416 Range Not Satisfiable", "content-length: 0\n", b""),
    ] {
        let cache = Cache::limited(Limits { attempts: 3, ..LIMITS });
        let server = Server::start([Reply::file(&KERNEL).cut(1000), other, Reply::file(&new)]);
        cache.expect(cache.get(&at(server.url("/k"))).await, &new);
    }
}

#[tokio::test]
async fn a_server_that_cannot_tell_versions_apart_is_asked_for_everything_again() {
    let cache = Cache::new();
    let whole = Reply::new("200 OK", &format!("content-length: {}\n", KERNEL.len()), &KERNEL);
    let server = Server::start([whole.clone().cut(1), whole]);
    cache.expect(cache.get(&at(server.url("/k"))).await, &KERNEL);
    assert_eq!(ranges(&server), [None, None]);
}

#[tokio::test]
async fn a_file_of_unknown_length_is_taken_as_it_comes() {
    let cache = Cache::new();
    let chunked = Reply::new("200 OK", "transfer-encoding: chunked\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    // Without its end it is none.
    let server = Server::start([chunked.clone().cut(5), chunked]);
    cache.expect(cache.get(&at(server.url("/k"))).await, b"abcde");
    assert_eq!(server.asked().len(), 2);
}

// N1
#[tokio::test]
async fn a_wrong_checksum_leaves_nothing_and_names_both() {
    let cache = Cache::new();
    let server = Server::start([Reply::file(&KERNEL)]);
    let url = server.url("/k");
    let why = cache.expect_nothing(cache.get(&with_sha256(&url, b"another")).await);
    for part in [&url, &sha256(&KERNEL), &sha256(b"another"), "write its new SHA-256"] {
        assert!(why.contains(part), "{why}");
    }
    cache.expect(cache.get(&with_sha256(&url, &KERNEL)).await, &KERNEL);
}

// N1
#[tokio::test]
async fn a_page_to_log_in_is_no_kernel() {
    for page in
        ["\n <!DOCTYPE html><p>", "<HTML>", "<?xml version='1.0'?>\n<html/>", "\u{feff}<!-- x -->\n<html>"]
    {
        let cache = Cache::new();
        let server = Server::start([Reply::file(page.as_bytes())]);
        let why = cache.expect_nothing(cache.get(&with_sha256(server.url("/k"), &KERNEL)).await);
        assert!(why.contains("web page"), "{page}: {why}");
    }
}

// N1
#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_its_bytes_are_kept() {
    let cache = Cache::limited(Limits { pace: Duration::from_millis(50), ..LIMITS });
    let server =
        Server::start([Reply::file(&KERNEL).cut(KERNEL.len() - 1000).and_hang(), Reply::rest(&KERNEL, 1000)]);
    let download = at(server.url("/k"));
    let error = cache.get(&download).await.unwrap_err();
    assert!(error.to_string().contains("less than 30 kB came in 0.05 s, after 1 kB"), "{error}");
    // Only the silence was to be short.
    let cache = Cache { limits: LIMITS, ..cache };
    cache.expect(cache.get(&download).await, &KERNEL);
}

// N1
#[tokio::test]
async fn a_server_that_sends_a_byte_now_and_then_is_given_up() {
    let cache = Cache::limited(Limits { pace: Duration::from_millis(100), ..LIMITS });
    let server = Server::start([Reply::file(&KERNEL).cut(KERNEL.len()).and_drip()]);
    let error = cache.get(&at(server.url("/k"))).await.unwrap_err();
    assert!(error.to_string().contains("less than 30 kB came in 0.1 s, after "), "{error}");
    // It was not that nothing came.
    assert!(!error.to_string().contains("after 0 B"), "{error}");
}

// N1
#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let cache = Cache::limited(Limits { answer: Duration::from_millis(50), ..LIMITS });
    let server = Server::start([Reply::file(b"").cut(20).and_hang()]);
    let why = cache.expect_nothing(cache.get(&at(server.url("/k"))).await);
    assert!(why.contains("did not answer in 0.05 s"), "{why}");
}

// N1
#[tokio::test]
async fn a_download_has_a_deadline_however_alive_it_is() {
    let cache = Cache::limited(Limits { total: Duration::from_millis(50), ..LIMITS });
    let server = Server::start([Reply::file(&KERNEL).cut(1).and_hang()]);
    let error = cache.get(&at(server.url("/k"))).await.unwrap_err();
    assert!(error.to_string().contains("it was not done after 0.05 s"), "{error}");
}

#[tokio::test]
async fn a_download_can_be_cancelled_at_any_time() {
    for reply in [Reply::file(&KERNEL).cut(1).and_hang(), Reply::file(b"").cut(20).and_hang()] {
        let cache = Cache::new();
        let server = Server::start([reply]);
        let cancel = cache.cancel.clone();
        let download = at(server.url("/k"));
        let waiting = tokio::task::spawn_blocking(move || {
            server.wait();
            cancel.cancel();
        });
        let error = cache.get(&download).await.unwrap_err();
        assert!(matches!(error.problem, Problem::Cancelled), "{error}");
        waiting.await.unwrap();
    }
}

#[tokio::test]
async fn who_waits_for_anothers_download_can_be_cancelled() {
    let cache = Cache::new();
    let download = at("http://127.0.0.1:1/k");
    let claim = shelf(cache.dir.path()).take_turn(&key(&download), |_| true, &cache.cancel, |_| ()).await;
    let cancel = cache.cancel.clone();
    let (error, ()) = tokio::join!(cache.get(&download), async { cancel.cancel() });
    assert!(matches!(error.unwrap_err().problem, Problem::Cancelled));
    assert!(matches!(claim, Ok(Turn::Make(_))));
}

// N3, S1
#[tokio::test]
async fn two_that_want_the_same_at_once_fetch_it_once() {
    let cache = Cache::new();
    let server = Server::start([Reply::file(&KERNEL)]);
    let download = at(server.url("/k"));
    let (one, two) = tokio::join!(cache.get(&download), cache.get(&download));
    assert_eq!(cache.expect(one, &KERNEL), cache.expect(two, &KERNEL));
    assert_eq!(server.asked().len(), 1);
}

fn packed(name: &str, content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    match name {
        "gz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        "xz" => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        "zst" => zstd::encode_all(content, 1).unwrap(),
        _ => unreachable!(),
    }
}

#[tokio::test]
async fn what_is_packed_is_unpacked_and_its_checksum_is_that_of_what_is_served() {
    // With a hole in the middle.
    let content = [&KERNEL[..], &vec![0; 1 << 20], &KERNEL[..]].concat();
    for end in ["gz", "xz", "zst"] {
        let cache = Cache::new();
        let archive = packed(end, &content);
        let server = Server::start([Reply::file(&archive)]);
        let download = with_sha256(server.url(&format!("/disk.img.{end}?download")), &archive);
        let path = cache.expect(cache.get(&download).await, &content);
        assert_eq!(path.file_name().unwrap(), "disk.img");
    }
}

// N2
#[tokio::test]
async fn a_bomb_is_not_unpacked_to_its_end() {
    for end in ["gz", "xz", "zst"] {
        let cache = Cache::limited(Limits { unpacked: 1 << 20, ..LIMITS });
        let server = Server::start([Reply::file(&packed(end, &vec![0; (1 << 20) + 1]))]);
        let why = cache.expect_nothing(cache.get(&at(server.url("/k"))).await);
        assert!(why.contains("unpacked it is larger than 1.0 MB"), "{why}");
    }
}

#[tokio::test]
async fn what_cannot_be_unpacked_leaves_nothing() {
    for end in ["gz", "xz", "zst"] {
        let cache = Cache::new();
        let mut archive = packed(end, &KERNEL);
        archive.truncate(archive.len() / 2);
        let server = Server::start([Reply::file(&archive)]);
        let why = cache.expect_nothing(cache.get(&at(server.url("/k"))).await);
        assert!(why.contains("cannot be unpacked"), "{why}");
    }
}

// N2
#[tokio::test]
async fn a_file_that_is_too_long_is_refused_by_its_header_and_by_its_bytes() {
    let chunked = "transfer-encoding: chunked\n";
    for reply in [Reply::file(b"abcd"), Reply::new("200 OK", chunked, b"4\r\nabcd\r\n0\r\n\r\n")] {
        let cache = Cache::limited(Limits { served: 3, ..LIMITS });
        let server = Server::start([reply]);
        let why = cache.expect_nothing(cache.get(&at(server.url("/k"))).await);
        assert!(why.contains("larger than 3 B"), "{why}");
    }
}

#[tokio::test]
async fn an_entry_that_somebody_changed_is_fetched_again() {
    let cache = Cache::new();
    let server = Server::start([Reply::file(&KERNEL)]);
    let download = at(server.url("/k"));
    let path = cache.expect(cache.get(&download).await, &KERNEL);
    fs::write(&path, "evil").unwrap();
    cache.expect(cache.get(&download).await, &KERNEL);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_file_of_this_machine_is_copied_again_only_when_it_changed() {
    let cache = Cache::new();
    let file = cache.dir.path().join("k e r n e l.gz");
    fs::write(&file, packed("gz", b"one")).unwrap();
    let download = at(Url::from_file_path(&file).unwrap());
    let first = cache.expect(cache.get(&download).await, b"one");
    let made = fs::metadata(&first).unwrap().ino();
    cache.expect(cache.get(&download).await, b"one");
    assert_eq!(fs::metadata(&first).unwrap().ino(), made);
    fs::write(&file, packed("gz", b"two")).unwrap();
    cache.expect(cache.get(&download).await, b"two");
    // A disk that is not there now is no reason to fail.
    fs::remove_file(&file).unwrap();
    cache.expect(cache.get(&download).await, b"two");
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_read() {
    for url in ["file:///dev/zero", "file:///", "file:///none/such", "file://elsewhere/x"] {
        let cache = Cache::new();
        let why = cache.expect_nothing(cache.get(&at(url)).await);
        assert!(why.contains(url), "{why}");
    }
}

#[tokio::test]
async fn a_password_in_a_url_goes_to_the_server_and_nowhere_else() {
    let mut cache = Cache::new();
    let server = Server::start([Reply::new("403 Forbidden", "content-length: 0\n", b"")]);
    let url = server.url("/k").replace("http://", "http://me:secret@");
    let why = cache.expect_nothing(cache.get(&at(url)).await);
    assert!(server.asked()[0].contains("authorization: Basic "), "{:?}", server.asked());
    let heard = format!("{:?}", cache.heard.try_recv().unwrap());
    assert!(!why.contains("secret") && !heard.contains("secret"), "{why} {heard}");
}

#[test]
fn the_name_of_the_file_is_the_urls_and_harmless() {
    let name = |url: &str| file_name(&Url::parse(url).unwrap());
    assert_eq!(name("https://a/b/bzImage-6.1"), "bzImage-6.1");
    assert_eq!(name("https://a/b/disk.qcow2.xz?x=/y"), "disk.qcow2");
    assert_eq!(name("https://a/"), "file");
    assert_eq!(name("https://a/..%2f..%2fx"), "_2f.._2fx");
    assert_eq!(name("https://a/.hidden"), "hidden");
    assert_eq!(name("https://a/.xz"), "file");
}
