//! Hundreds of runs under load: none may fail, leave something behind, or make vmtest grow. Prints a table for
//! docs/reliability.md; the status is not 0 when something of that is not so.
//!
//! usage: `soak [WARM [COLD [JOBS]]]`, 500, 100 and 8 where nothing else is said

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::Value;
use vmtest_tests::{Outcome, Project};

/// How often vmtest is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A run of everything takes an hour at most, on two emulated processors.
const LIMIT: Duration = Duration::from_secs(2 * 3600);
/// What vmtest's memory may grow by between the second quarter and the last: caches of the allocator, and no leak.
const GROWTH: f64 = 1.1;

fn main() -> ExitCode {
    let mut numbers =
        std::env::args().skip(1).map(|word| word.parse::<usize>().expect("usage: soak [WARM [COLD [JOBS]]]"));
    let warm = numbers.next().unwrap_or(500);
    let cold = numbers.next().unwrap_or(100);
    let jobs = numbers.next().unwrap_or(8);
    let load = Load::on_every_processor();
    let mut all_well = true;
    println!(
        "| | runs | did not pass | whole time | one run: median, 95 %, longest | vmtest's memory, early → late | its descriptors, early → late |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, count, options) in [("warm", warm, &[][..]), ("cold", cold, &["--cold"])] {
        let soaked = Soaked::of(count, jobs, options);
        println!("| {name} | {count}, {jobs} at a time | {} |", soaked.row());
        all_well &= soaked.is_well();
    }
    drop(load);
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A thread on every processor that has nothing to do and does it all the time.
struct Load(Arc<AtomicBool>);

impl Load {
    fn on_every_processor() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let over = over.clone();
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a look at a running vmtest tells.
#[derive(Debug, Clone, Copy)]
struct Look {
    kib: u64,
    descriptors: usize,
}

impl Look {
    /// None when it has ended.
    fn at(pid: Pid) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib = resident.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Self { kib, descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() })
    }
}

/// One vmtest with many targets, at its end. The harness has looked at what it left.
struct Soaked {
    count: usize,
    outcome: Outcome,
    looks: Vec<Look>,
}

impl Soaked {
    fn of(count: usize, jobs: usize, options: &[&str]) -> Self {
        let mut toml = String::new();
        for number in 0..count {
            let keys = "vm = { num_cpus = 1, memory = '256M' }";
            toml += &vmtest_tests::target(&format!("run {number}"), keys, "uname -r && touch /tmp/x");
        }
        let project = Project::new(&toml);
        let jobs = jobs.to_string();
        let words = ["--format", "json", "-j", &jobs].into_iter().chain(options.iter().copied());
        let running = project.vmtest(words).with_many_machines().may_take(LIMIT).start();
        let pid = running.pid();
        let looking = thread::spawn(move || {
            let mut looks = Vec::new();
            while let Some(look) = Look::at(pid) {
                looks.push(look);
                thread::sleep(LOOK);
            }
            looks
        });
        let outcome = running.finish();
        let looks = looking.join().expect("it does not panic");
        Self { count, outcome, looks }
    }

    fn ends(&self) -> Vec<Value> {
        self.outcome.events_named("finished")
    }

    fn not_passed(&self) -> Vec<Value> {
        self.ends().into_iter().filter(|end| end["verdict"] != "passed").collect()
    }

    /// The medians of the second and the last quarter of the looks.
    fn early_and_late(&self, figure: impl Fn(&Look) -> f64) -> (f64, f64) {
        let quarter = self.looks.len() / 4;
        let median = |looks: &[Look]| percentile(looks.iter().map(&figure).collect(), 50);
        (median(&self.looks[quarter..2 * quarter]), median(&self.looks[self.looks.len() - quarter..]))
    }

    fn memory(&self) -> (f64, f64) {
        self.early_and_late(|look| look.kib as f64 / 1024.0)
    }

    fn descriptors(&self) -> (f64, f64) {
        self.early_and_late(|look| look.descriptors as f64)
    }

    fn is_well(&self) -> bool {
        let ends = self.ends().len();
        let (memory, descriptors) = (self.memory(), self.descriptors());
        for end in self.not_passed() {
            eprintln!("soak: {end}");
        }
        ends == self.count
            && self.not_passed().is_empty()
            && memory.1 <= GROWTH * memory.0
            && descriptors.1 <= GROWTH * descriptors.0
    }

    fn row(&self) -> String {
        let seconds: Vec<f64> =
            self.ends().iter().filter_map(|end| end["durations"]["total_seconds"].as_f64()).collect();
        let mut row = String::new();
        let (memory, descriptors) = (self.memory(), self.descriptors());
        write!(
            row,
            "{} | {:.0} s | {:.1} s, {:.1} s, {:.1} s | {:.1} → {:.1} MB | {} → {}",
            self.not_passed().len(),
            self.outcome.elapsed.as_secs_f64(),
            percentile(seconds.clone(), 50),
            percentile(seconds.clone(), 95),
            percentile(seconds, 100),
            memory.0,
            memory.1,
            descriptors.0,
            descriptors.1,
        )
        .expect("a string takes everything");
        row
    }
}

/// The smallest value that so many of a hundred are not above; 0 of none.
fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((values.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
