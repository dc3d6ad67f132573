//! Ends a try that does not end, and keeps its input.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::corpus::Corpus;

/// By the clock: what waits for something that never comes takes no time of the processor.
const HANG: Duration = Duration::from_secs(60);

/// Knows what is being tried, and since when.
pub(crate) struct Watch {
    epoch: Instant,
    /// In milliseconds since the epoch; 0 while nothing is tried.
    since: Arc<AtomicU64>,
    current: Option<(PathBuf, File, u64)>,
}

/// What this thread has used of the processor: other programs on the machine make no input slow.
pub(crate) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Watch {
    /// Watches the tries of a fuzzer, until it is dropped.
    pub(crate) fn new(corpus: &Corpus) -> Self {
        let path = corpus.current();
        let file = path.parent().map(fs::create_dir_all).and_then(|_| File::create(&path).ok());
        let (epoch, since) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let weak = Arc::downgrade(&since);
        let kept = path.clone();
        std::thread::spawn(move || {
            while let Some(since) = weak.upgrade() {
                let since = since.load(Ordering::Relaxed);
                let now = epoch.elapsed();
                if since > 0 && now > Duration::from_millis(since) + HANG {
                    give_up(&kept);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Self { epoch, since, current: file.map(|file| (path, file, 0)) }
    }

    /// This input is tried from now on.
    pub(crate) fn begin(&mut self, input: &[u8]) {
        if let Some((_, file, length)) = &mut self.current {
            let now = input.len() as u64;
            // It is a help where the process ends, no more.
            let _ = file.write_all_at(input, 0);
            if now < *length {
                let _ = file.set_len(now);
            }
            *length = now;
        }
        self.since.store(self.epoch.elapsed().as_millis().max(1) as u64, Ordering::Relaxed);
    }

    /// Nothing is tried.
    pub(crate) fn rest(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((path, ..)) = &self.current {
            let _ = fs::remove_file(path);
        }
    }
}

/// No thread can be ended from outside: the process goes.
fn give_up(path: &Path) -> ! {
    let input = fs::read(path).unwrap_or_default();
    let line = format!(
        "fuzz: no end after {} s; the input is {}, {} bytes: {}\n",
        HANG.as_secs(),
        path.display(),
        input.len(),
        input[..input.len().min(2000)].escape_ascii(),
    );
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::exit(101)
}
