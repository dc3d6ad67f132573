//! Fuzzers that run among the unit tests, so that they do not rot: a fixed seed, a time limit, and a corpus.
//!
//! A [`Fuzzer`] gives a reader ever new bytes and fails where it panics, hangs, takes memory without end, or breaks the law that
//! its test states. Every input is a slice of bytes, also where the test makes [`Choices`] of them: what was found is a file in
//! `tests/fuzz/corpus/<fuzzer>`, which is tried first from then on, and a seed for others.
//!
//! Not coverage-guided, which needs a nightly compiler; seeds and pieces that know the format make up for some of it.

#![expect(clippy::missing_panics_doc, reason = "to panic is how a fuzzer says that something is wrong")]

mod corpus;
mod memory;
mod mutate;
mod random;
mod watch;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

pub use random::{Choices, Random};

use corpus::Corpus;
use mutate::Mutator;
use watch::Watch;

/// Each fuzzer's time, unless `VMTEST_FUZZ_SECONDS` says another.
const TIME: Duration = Duration::from_secs(20);
/// The sequence of inputs, unless `VMTEST_FUZZ_SEED` says another.
const SEED: u64 = 0x5EED;
/// A fuzzer that tries fewer does nothing worth its name.
const FEWEST: u64 = 100;
/// The most processor time for one input: far above what any takes, far below what more than linear work does.
const SLOWEST: Duration = Duration::from_secs(2);
/// For a finding that is being made smaller.
const SHRINKING: Duration = Duration::from_secs(5);

/// A fuzzer that is being set up.
#[derive(Debug)]
pub struct Fuzzer {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    pieces: Vec<Vec<u8>>,
    longest: usize,
    memory: usize,
}

/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Panic(String),
    Slow(Duration),
    Memory(usize),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Panic(message) => f.write_str(message),
            Self::Slow(time) => write!(f, "it took {time:.1?} of the processor"),
            Self::Memory(bytes) => write!(f, "it took {} KiB of memory", bytes >> 10),
        }
    }
}

impl Fuzzer {
    /// A fuzzer whose corpus is the folder of this name.
    pub fn new(name: &'static str) -> Self {
        Self { name, seeds: Vec::new(), pieces: Vec::new(), longest: 16 << 10, memory: 64 << 20 }
    }

    /// One more good input to start from, beside those in the corpus.
    #[must_use]
    pub fn seed(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.seeds.push(bytes.into());
        self
    }

    /// What the format is made of: inserted, and strung together.
    #[must_use]
    pub fn pieces<P: AsRef<[u8]>>(mut self, pieces: impl IntoIterator<Item = P>) -> Self {
        self.pieces.extend(pieces.into_iter().map(|piece| piece.as_ref().to_vec()));
        self
    }

    /// The longest input; 16 KiB otherwise.
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// The most memory that the test's thread may take for one input; 64 MiB otherwise.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Tries the corpus, then new inputs until the time is up. `check` panics where an input breaks the promise.
    pub fn run(self, mut check: impl FnMut(&[u8])) {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        assert!(
            test.contains("::any_"),
            "{test}: a fuzzer's name begins with `any_`, by which `make fuzz` finds it"
        );
        let time = number("VMTEST_FUZZ_SECONDS").map_or(TIME, Duration::from_secs);
        let random = Random::new(number("VMTEST_FUZZ_SEED").unwrap_or(SEED)).apart(self.name);
        let corpus = Corpus::open(self.name);
        let mut watch = Watch::new(&corpus);
        let started = Instant::now();
        let mut seeds = self.seeds.clone();
        let mut broken = Vec::new();
        for (path, bytes) in corpus.files() {
            if let Err(fault) = self.tried(&bytes, &mut check, &mut watch) {
                broken.push(format!("{}: {fault}", path.display()));
            }
            seeds.push(bytes);
        }
        assert!(broken.is_empty(), "{}: the corpus has inputs that fail:\n{}", self.name, broken.join("\n"));

        let mut mutator = Mutator::new(random, &seeds, &self.pieces, self.longest);
        let mut count = 0_u64;
        while started.elapsed() < time || count < FEWEST && started.elapsed() < 10 * time.max(TIME) {
            let input = mutator.next();
            if let Err(fault) = self.tried(&input, &mut check, &mut watch) {
                let input = match fault {
                    Fault::Panic(_) => self.smaller(input, &mut check, &mut watch),
                    // Each try would take as long.
                    _ => input,
                };
                self.found(&corpus, &input, &fault);
            }
            count += 1;
        }
        let seconds = started.elapsed().as_secs_f64();
        // Not `println`, which is shown of failing tests only.
        let line = format!(
            "fuzz: {}: {count} inputs in {seconds:.0} s, {:.0} a second\n",
            self.name,
            count as f64 / seconds
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
        assert!(count >= FEWEST, "{}: only {count} inputs in {seconds:.0} s", self.name);
    }

    fn tried(&self, input: &[u8], check: &mut dyn FnMut(&[u8]), watch: &mut Watch) -> Result<(), Fault> {
        let fault = match self.tried_once(input, check, watch) {
            // Tables that are made once, and a page fault at a bad moment, are not the input's.
            Err(Fault::Slow(_) | Fault::Memory(_)) => self.tried_once(input, check, watch),
            result => result,
        };
        watch.rest();
        fault
    }

    fn tried_once(&self, input: &[u8], check: &mut dyn FnMut(&[u8]), watch: &mut Watch) -> Result<(), Fault> {
        watch.begin(input);
        let (before, started) = (memory::start(), watch::processor_time());
        let result = quietly(|| check(input));
        let (time, memory) = (watch::processor_time().saturating_sub(started), memory::peak(before));
        match result {
            Err(message) => Err(Fault::Panic(message)),
            Ok(()) if time > SLOWEST => Err(Fault::Slow(time)),
            Ok(()) if memory > self.memory => Err(Fault::Memory(memory)),
            Ok(()) => Ok(()),
        }
    }

    /// Takes away what the failure does not need, for a while.
    fn smaller(&self, mut input: Vec<u8>, check: &mut dyn FnMut(&[u8]), watch: &mut Watch) -> Vec<u8> {
        let end = Instant::now() + SHRINKING;
        let mut width = input.len() / 2;
        while width > 0 {
            let mut at = 0;
            while at < input.len() {
                if Instant::now() > end {
                    return input;
                }
                let mut less = input.clone();
                less.drain(at..(at + width).min(input.len()));
                if matches!(self.tried(&less, check, watch), Err(Fault::Panic(_))) {
                    input = less;
                } else {
                    at += width;
                }
            }
            width /= 2;
        }
        input
    }

    fn found(&self, corpus: &Corpus, input: &[u8], fault: &Fault) -> ! {
        let place = corpus.add(input);
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
        panic!(
            "{}: an input breaks the promise: {fault}\nit is now {}, {} bytes: {:?}\nthe corpus is tried first: cargo test -p {package} {test}",
            self.name,
            place.display(),
            input.len(),
            String::from_utf8_lossy(&input[..input.len().min(200)]),
        )
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

thread_local! {
    /// What the panic of an input said and where, and whether this thread is trying one.
    static PANIC: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Calls it; the error is what its panic said, which is printed once, at the end, and not at each try.
fn quietly(call: impl FnOnce()) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                PANIC.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(false);
    // One that something on the way caught, as a runtime does for its tasks, is one all the same.
    match (result, PANIC.take()) {
        (_, Some(message)) => Err(message),
        (result, None) => result.map_err(|_| "it panicked".to_owned()),
    }
}
