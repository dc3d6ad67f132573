//! How fast runs of vmtest are, beside what they can be compared with.
//!
//! Everything is taken in rounds that go through all that is compared; medians are compared. It asserts no speed: the
//! budgets of the design stand beside the figures. `make bench` runs it, `make bench-docs` makes the page of documentation
//! from its results.

mod bench;
mod chart;
mod figure;
mod group;
mod page;
mod process;
mod results;
mod table;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};

use crate::bench::{Bench, Size};
use crate::group::Group;
use crate::results::{Measured, Results};

const ENVIRONMENT: &str = "\
Environment:
  VMTEST_BIN           the vmtest to measure
  VMTEST_KERNELS       the folder of kernels that scripts/kernels.sh makes
  VMTEST_BENCH_KERNEL  a kernel with 9p built in, to measure its start too
  VMTEST_BENCH_PEER    another vmtest, to measure its start too; vng is when it is on PATH";

/// Measures runs of vmtest.
#[derive(Debug, Parser)]
#[command(name = "bench-runs", after_help = ENVIRONMENT)]
struct Options {
    /// What to measure; everything when none is named
    groups: Vec<Group>,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// With less to do in each round
    #[arg(long)]
    quick: bool,
    /// The file of results, to which groups are added
    #[arg(long, value_name = "FILE", default_value = "target/bench/results.json")]
    results: PathBuf,
    /// Measure nothing; make performance.md and its chart in this folder from the results
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["groups", "rounds", "quick"])]
    docs: Option<PathBuf>,
}

/// An error is a sentence.
type Result<T> = std::result::Result<T, String>;

/// Says what failed.
trait Saying<T> {
    fn saying(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Saying<T> for std::result::Result<T, E> {
    fn saying(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.docs {
        Some(folder) => Results::read(&options.results)
            .map_err(|error| format!("{error}\nthere are results after `make bench`"))
            .and_then(|results| page::write(folder, &results)),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let bench = Bench::new(if options.quick { Size::QUICK } else { Size::FULL })?;
    let groups = if options.groups.is_empty() { Group::value_variants() } else { &options.groups };
    let rounds = usize::from(options.rounds);
    for group in groups {
        println!("{}: {} ({})", group.name(), group.title(), bench.machine.accelerator);
        let figures = group::take(rounds, &mut group.subjects(&bench)?, |round, sample| {
            let value = sample.unit.show(sample.samples[0]);
            println!("  {round}/{rounds}  {}: {}: {value}", sample.section, sample.name);
        })?;
        println!("{}", table::plain(&figures));
        // After each group, so that an interrupted benchmark has not been for nothing.
        let mut results = Results::read_of(&bench.machine, &options.results);
        results.set(Measured { name: group.name().to_owned(), rounds, quick: options.quick, figures });
        results.write(&options.results)?;
    }
    Ok(())
}
